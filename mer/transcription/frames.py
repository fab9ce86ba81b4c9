"""Input frames of the transcriber's network, and notes from the outputs of its heads.

The input is a log-frequency spectrogram, three bands a semitone, from A0 upwards: two spectra side
by side, one with a window short enough to locate an onset, one long enough to resolve low
notes. The heads give probabilities of onsets, offsets and sounding notes, and velocities.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
from scipy.sparse import csr_matrix

from mer.features.spectral import power_spectrogram
from mer.features.streaming import frame_blocks, with_context

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
"""Levels are stored as bytes: 0 is the floor, a step is 0.5 dB."""

FRAMES_PER_SECOND = SAMPLE_RATE / HOP_LENGTH
_HALF = max(WINDOWS) // 2
_TRIANGLE = 1.5
"""Frames from the peak of an onset's target to zero."""
_SPAN = 1 << 40
"""More frames than any recording has: pitch and time of an event in one sortable number."""

_ONSET, _OFFSET, _FRAME = 0.4, 0.5, 0.4
"""Least probabilities of onsets, offsets and sounding frames: chosen on validation performances."""


def band_frequencies() -> np.ndarray:
    """Centre of every band in Hz, shape (N_BANDS,); band 1 is A0, band 4 is A#0."""
    semitones = (np.arange(N_BANDS) - 1) / BANDS_PER_SEMITONE
    return 27.5 * 2.0 ** (semitones / 12)


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
    """`log_frequency_spectrogram` of audio in pieces, see `mer.features.streaming.frame_blocks`.

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
    return frame_blocks(
        blocks, n_frames, log_frequency_spectrogram, half=_HALF, hop_length=HOP_LENGTH
    )


def note_targets(notes: np.ndarray, n_frames: int) -> np.ndarray:
    """Targets of the heads.

    Onsets and offsets are triangles around the exact time, so that their position between frames
    can be learned [1]_; frames are 1 from onset to offset; the velocity is at the onset.

    Parameters
    ----------
    notes : np.ndarray, shape (n_notes, 4)
        As from `mer.features.notes.read_notes` with the pedal applied. Pitches that a piano does
        not have are left out.
    n_frames : int

    Returns
    -------
    np.ndarray, shape (4, N_PITCHES, n_frames), uint8
        Onset, offset, frame (0-255 for 0 to 1), velocity (1-127, 0 where there is no onset).

    References
    ----------
    .. [1] Kong et al.: High-Resolution Piano Transcription with Pedals by Regressing Onset and
       Offset Times. IEEE/ACM TASLP 29 (2021).
    """
    targets = np.zeros((4, N_PITCHES, n_frames), dtype=np.uint8)
    rows = notes[:, 2].astype(int) - LOWEST_PITCH
    playable = (rows >= 0) & (rows < N_PITCHES)
    rows = rows[playable]
    times = notes[playable, :2] * FRAMES_PER_SECOND
    velocities = notes[playable, 3].astype(np.uint8)
    for row, (onset, offset) in zip(rows, times, strict=True):
        first, last = round(onset), max(round(offset), round(onset) + 1)
        targets[2, row, first:last] = 255
    _triangles(targets[1], rows, times[:, 1])
    _triangles(targets[0], rows, times[:, 0])
    nearest = np.rint(times[:, 0]).astype(int)
    inside = (nearest >= 0) & (nearest < n_frames)
    targets[3, rows[inside], nearest[inside]] = velocities[inside]
    return targets


def _triangles(target: np.ndarray, rows: np.ndarray, times: np.ndarray) -> None:
    nearest = np.rint(times).astype(int)
    for shift in (-1, 0, 1):
        frames = nearest + shift
        inside = (frames >= 0) & (frames < target.shape[1])
        height = np.clip(1 - np.abs(frames - times) / _TRIANGLE, 0, 1)[inside]
        where = (rows[inside], frames[inside])
        np.maximum.at(target, where, np.rint(255 * height).astype(np.uint8))


def decode(pieces: Iterable[np.ndarray]) -> np.ndarray:
    """Notes of a recording.

    A note begins at a peak of the onset head, at the time between frames that the neighbours of
    the peak imply. It ends at the first of: a peak of the offset head, the end of the sounding
    frames, the next onset of the pitch. How the recording was cut into pieces makes no difference.

    Parameters
    ----------
    pieces : iterable of np.ndarray, shape (4, n_pitches, n_frames)
        Consecutive probabilities: onset, offset, frame and velocity (of 127).

    Returns
    -------
    np.ndarray, shape (n_notes, 4)
        As from `mer.features.notes.read_notes`.
    """
    events = [_events(window, first) for window, first in _windows(pieces)]
    if not events:
        return np.empty((0, 4))
    onsets, offsets, stops = (np.concatenate(parts) for parts in zip(*events, strict=True))
    keys = _keys(onsets)
    later = ((onsets, keys + 1), (offsets, keys + 2), (stops, keys + 1))
    end = np.minimum.reduce([_first_after(*events) for events in later])
    end = np.maximum(end, onsets[:, 2] + 0.5) / FRAMES_PER_SECOND
    start = np.maximum(onsets[:, 2], 0) / FRAMES_PER_SECOND
    notes = np.stack([start, end, onsets[:, 0] + LOWEST_PITCH, onsets[:, 3]], axis=1)
    return notes[np.lexsort((notes[:, 2], notes[:, 0]))]


def _keys(events: np.ndarray) -> np.ndarray:
    return events[:, 0].astype(np.int64) * _SPAN + events[:, 1].astype(np.int64)


def _first_after(events: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Time of the first event of the same pitch from each key on; infinite where there is none."""
    events = events[np.argsort(_keys(events))]
    own = np.append(_keys(events), _SPAN * _SPAN)
    index = np.searchsorted(own, keys)
    times = np.append(events[:, 2], np.inf)[index]
    return np.where(own[index] // _SPAN == keys // _SPAN, times, np.inf)


def _windows(pieces: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
    """Pieces with one frame more on each side, zeros at the ends; and number of the first frame."""
    first = 0
    for piece, before, length in with_context(pieces, 1):
        is_last = piece.shape[2] == before + length
        # The frame behind the last one is an inner one too: notes that still sound end there.
        yield np.pad(piece, ((0, 0), (0, 0), (1 - before, 2 if is_last else 0))), first
        first += length


def _events(window: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Onsets, offsets and ends of sounding at the inner frames of a window.

    Columns: row of the pitch, frame, time in frames; onsets have the velocity in addition.
    """
    onset, offset, frame, velocity = window.astype(np.float32)
    rows, frames = _peaks(onset, _ONSET)
    values = np.clip(np.rint(127 * velocity[:, 1:-1][rows, frames]), 1, 127)
    times = first + frames + _refinement(onset, rows, frames)
    onsets = np.stack([rows, first + frames, times, values], axis=1)
    rows, frames = _peaks(offset, _OFFSET)
    times = first + frames + _refinement(offset, rows, frames)
    offsets = np.stack([rows, first + frames, times], axis=1)
    # A frame with an onset counts as sounding in any case: so every note has an end.
    sounding = (frame >= _FRAME) | (onset >= _ONSET)
    rows, frames = np.nonzero(sounding[:, :-2] & ~sounding[:, 1:-1])
    stops = np.stack([rows, first + frames, first + frames], axis=1).astype(float)
    return onsets, offsets, stops


def _peaks(values: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Pitch and inner frame of local maxima; of two equal neighbours the first."""
    middle = values[:, 1:-1]
    is_peak = (middle >= least) & (middle > values[:, :-2]) & (middle >= values[:, 2:])
    rows, frames = np.nonzero(is_peak)
    return rows, frames


def _refinement(values: np.ndarray, rows: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Distance in frames from a peak to where the triangle through its neighbours has its top."""
    before, peak, after = (values[rows, frames + k] for k in (0, 1, 2))
    lower = np.minimum(before, after)
    return 0.5 * (after - before) / np.maximum(peak - lower, 1e-6)
