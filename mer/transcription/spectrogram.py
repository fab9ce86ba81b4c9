"""The log-frequency spectrogram that the transcriber reads, for audio of any length.

Three bands a semitone, from A0 upwards: two spectra side by side, one with a window that is short
enough to place an onset, one that is long enough to tell low notes apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_matrix

from mer.errors import InvalidDataError
from mer.features.spectral import power_spectrogram

REVISION = 1
"""Raised whenever the values change."""

SAMPLE_RATE = 16000
HOP_LENGTH = 512
WINDOWS = (2048, 8192)
LOWEST_PITCH = 21
N_PITCHES = 88
BANDS_PER_SEMITONE = 3
N_BANDS = 294
FLOOR_DB = -100.0
STEPS_PER_DB = 2.0
"""Levels are kept as bytes: 0 is the floor, a step is 0.5 dB."""

FRAMES_PER_SECOND = SAMPLE_RATE / HOP_LENGTH
_HALF = max(WINDOWS) // 2


def band_frequencies() -> np.ndarray:
    """Centre of every band in Hz, shape (N_BANDS,); band 1 is A0, band 4 is A#0."""
    semitones = (np.arange(N_BANDS) - 1) / BANDS_PER_SEMITONE
    frequencies: np.ndarray = 27.5 * 2.0 ** (semitones / 12)
    return frequencies


@lru_cache(maxsize=4)
def _filters(n_fft: int) -> csr_matrix:
    """Triangles as wide as two bands, or as two bins where these are wider; each sums to 1."""
    bins = np.arange(1 + n_fft // 2) * SAMPLE_RATE / n_fft
    centres = band_frequencies()[:, None]
    reach = np.maximum(centres * (2 ** (1 / (12 * BANDS_PER_SEMITONE)) - 1), SAMPLE_RATE / n_fft)
    weights = np.clip(1 - np.abs(bins - centres) / reach, 0, None)
    # A full-scale sine gives 0 dB: its peak has a quarter of the window's length as magnitude.
    scale = (n_fft / 4) ** 2
    return csr_matrix(weights / weights.sum(axis=1, keepdims=True) / scale, dtype=np.float32)


def log_frequency_spectrogram(samples: np.ndarray) -> np.ndarray:
    """Levels of all bands.

    Parameters
    ----------
    samples : np.ndarray, shape (n,)
        Mono audio at `SAMPLE_RATE`, in [-1, 1].

    Returns
    -------
    np.ndarray, shape (len(WINDOWS), N_BANDS, 1 + n // HOP_LENGTH), uint8
        Level in steps of 0.5 dB above -100 dB; 200 is that of a full-scale sine. Frame `t` is
        centred on sample `t * HOP_LENGTH`.

    Raises
    ------
    InvalidDataError
        If there are no samples or some are not finite.
    """
    return np.stack([_levels(samples, n_fft) for n_fft in WINDOWS])


def _levels(samples: np.ndarray, n_fft: int) -> np.ndarray:
    power = power_spectrogram(samples, n_fft=n_fft, hop_length=HOP_LENGTH)
    bands = _filters(n_fft) @ power
    decibels = 10 * np.log10(np.maximum(bands, 1e-12))
    steps = np.rint((decibels - FLOOR_DB) * STEPS_PER_DB)
    return np.clip(steps, 0, 255).astype(np.uint8)


def spectrogram_blocks(blocks: Iterable[np.ndarray], n_frames: int) -> Iterator[np.ndarray]:
    """The spectrogram of audio that comes in pieces, in pieces of `n_frames` frames.

    Put together, the pieces are exactly `log_frequency_spectrogram` of the whole; no more than
    about two pieces are held in memory.

    Parameters
    ----------
    blocks : iterable of np.ndarray
        Consecutive mono samples at `SAMPLE_RATE`.
    n_frames : int
        Length of all pieces but the last.

    Yields
    ------
    np.ndarray, shape (len(WINDOWS), N_BANDS, n_frames), uint8
    """
    held = np.zeros(_HALF, dtype=np.float32)
    total = 0
    needed = (n_frames - 1) * HOP_LENGTH + 2 * _HALF
    done = 0
    for block in blocks:
        total += len(block)
        held = np.concatenate([held, block.astype(np.float32, copy=False)])
        while len(held) >= needed:
            yield _middle(held[:needed], n_frames)
            held = held[n_frames * HOP_LENGTH :]
            done += n_frames
    if not total:
        raise InvalidDataError("there are no samples to transcribe")
    left = 1 + total // HOP_LENGTH - done
    if left:
        end = (left - 1) * HOP_LENGTH + 2 * _HALF
        yield _middle(np.pad(held, (0, max(end - len(held), 0)))[:end], left)


def _middle(samples: np.ndarray, n_frames: int) -> np.ndarray:
    """Frames whose windows lie within `samples`, the first centred on sample `_HALF`."""
    first = _HALF // HOP_LENGTH
    return log_frequency_spectrogram(samples)[..., first : first + n_frames]
