"""Overlapping segments of a clip: how many, where they start, and views of its frames.

Sun, Zhang, Zhou and Li (2024) cut clips to 30 s, take segments of 1 to 5 s whose overlap is one
second less, and pad nothing: only whole segments count, so what is left at the end is not used.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mer.errors import InvalidDataError, ParameterError

LONGEST = 30.0
"""Seconds of a clip that are used, from its beginning."""

SAMPLE_RATE, HOP_LENGTH = 22050, 512
"""Of the published mel spectrograms: librosa's default rate in Hz, samples between frames."""

_TICKS = 1_000_000


def segment_count(
    seconds: float, duration: float, overlap: float, *, longest: float = LONGEST
) -> int:
    """Number of segments of a clip (table 1 of Sun et al. is its sum over a dataset).

    It is 1 + floor((min(seconds, longest) - duration) / (duration - overlap)), or 0 for a clip that
    is shorter than a segment; computed in whole microseconds, so that a segment that just fits is
    counted. All are in seconds; `longest` is what is used of the clip.

    Raises
    ------
    ParameterError
        If the duration is not positive, or the overlap is negative or not below the duration.
    InvalidDataError
        If the length is negative or not a number.
    """
    if not duration > 0:
        raise ParameterError(f"duration is {duration!r} s; expected a positive number")
    if not 0 <= overlap < duration:
        raise ParameterError(f"overlap is {overlap!r} s; expected from 0 to below {duration!r} s")
    if math.isnan(seconds) or seconds < 0:
        raise InvalidDataError(f"a clip is {seconds!r} s long; expected 0 or more")
    used, window, shared = (
        round(value * _TICKS) for value in (min(seconds, longest), duration, overlap)
    )
    return 0 if used < window else 1 + (used - window) // (window - shared)


def frames_of(
    seconds: float, *, sample_rate: int = SAMPLE_RATE, hop_length: int = HOP_LENGTH
) -> int:
    """Frames that stand for a time, rounded to the nearest whole number.

    One second is 43 frames of the published spectrograms, 1.5 ms less than a second: after 30 s
    segments start 46 ms early, and a clip that lacks less than that has the last one too.

    Raises
    ------
    ParameterError
        If the time is shorter than half a frame.
    """
    frames = round(seconds * sample_rate / hop_length)
    if frames < 1:
        raise ParameterError(
            f"{seconds!r} s is no frame of {hop_length} samples at {sample_rate} Hz; "
            f"expected {hop_length / sample_rate:.3f} s or more"
        )
    return frames


def segment_starts(n_frames: int, window: int, hop: int) -> np.ndarray:
    """First frame of every whole segment, shape (n_segments,), int64.

    Empty for a clip shorter than a segment. `window` is the length of a segment and `hop` the
    distance between segments, in frames.

    Raises
    ------
    ParameterError
        If the window or the hop is not positive.
    """
    if window < 1 or hop < 1:
        raise ParameterError(f"window is {window} and hop is {hop}; expected positive numbers")
    return np.arange(0, max(n_frames - window + 1, 0), hop, dtype=np.int64)


def segments(array: np.ndarray, window: int, hop: int) -> np.ndarray:
    """All whole segments of a clip, shape (n_segments, n_bands, window), a read-only view.

    `array`, such as a logarithmic mel spectrogram, has shape (n_bands, n_frames); `segment_starts`
    gives the first frame of each segment.

    Raises
    ------
    ParameterError
        If the window or the hop is not positive.
    InvalidDataError
        If the array does not have two dimensions.
    """
    if array.ndim != 2:
        raise InvalidDataError(f"array has shape {array.shape}; expected (n_bands, n_frames)")
    n_bands, n_frames = array.shape
    if not len(segment_starts(n_frames, window, hop)):
        return np.empty((0, n_bands, window), dtype=array.dtype)
    return sliding_window_view(array, window, axis=1)[:, ::hop].swapaxes(0, 1)


def segment_times(
    starts: np.ndarray,
    window: int,
    *,
    sample_rate: int = SAMPLE_RATE,
    hop_length: int = HOP_LENGTH,
) -> np.ndarray:
    """Begin and end of segments in seconds, shape (n_segments, 2)."""
    return np.stack([starts, starts + window], axis=1) * (hop_length / sample_rate)
