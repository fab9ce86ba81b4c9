"""From the answers of the transcriber's heads, piece by piece, to notes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mer.transcription.spectrogram import FRAMES_PER_SECOND, LOWEST_PITCH

_SPAN = 1 << 40
"""More frames than any recording has: pitch and time of an event in one sortable number."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Least probability of an onset, an offset and a sounding frame.

    Chosen on validation performances.
    """

    onset: float = 0.4
    offset: float = 0.5
    frame: float = 0.4


def decode(pieces: Iterable[np.ndarray], thresholds: Thresholds) -> np.ndarray:
    """Notes of a recording.

    A note begins at a peak of the onset head, at the place between frames that the neighbours of
    the peak tell. It ends at the first of: a peak of the offset head, the end of the sounding
    frames, the next onset of the pitch. How the recording was cut into pieces makes no difference.

    Parameters
    ----------
    pieces : iterable of np.ndarray, shape (4, n_pitches, n_frames)
        Consecutive probabilities: onset, offset, frame and velocity (of 127).
    thresholds : Thresholds

    Returns
    -------
    np.ndarray, shape (n_notes, 4)
        As from `mer.features.notes.read_notes`.
    """
    found = [_events(window, first, thresholds) for window, first in _with_neighbours(pieces)]
    if not found:
        return np.empty((0, 4))
    onsets, offsets, stops = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(_keys(onsets))
    onsets = onsets[order]
    keys = _keys(onsets)
    again = np.append(keys[1:], _SPAN * _SPAN)
    again_times = np.append(onsets[1:, 2], np.inf)
    ends = [
        np.where(again < keys + _SPAN - keys % _SPAN, again_times, np.inf),
        _first_after(offsets, keys + 2),
        _first_after(stops, keys + 1),
    ]
    end = np.maximum(np.minimum.reduce(ends), onsets[:, 2] + 0.5)
    pitch = onsets[:, 0] + LOWEST_PITCH
    start = np.maximum(onsets[:, 2], 0)
    notes = np.stack(
        [start / FRAMES_PER_SECOND, end / FRAMES_PER_SECOND, pitch, onsets[:, 3]], axis=1
    )
    return notes[np.lexsort((notes[:, 2], notes[:, 0]))]


def _keys(events: np.ndarray) -> np.ndarray:
    keys: np.ndarray = events[:, 0].astype(np.int64) * _SPAN + events[:, 1].astype(np.int64)
    return keys


def _first_after(events: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Time of the first event of the same pitch from each key on; infinite where there is none."""
    events = events[np.argsort(_keys(events))]
    own = np.append(_keys(events), _SPAN * _SPAN)
    place = np.searchsorted(own, keys)
    times = np.append(events[:, 2], np.inf)[place]
    return np.where(own[place] // _SPAN == keys // _SPAN, times, np.inf)


def _with_neighbours(pieces: Iterable[np.ndarray]) -> Iterable[tuple[np.ndarray, int]]:
    """Pieces that overlap by one frame on each side; the ends are padded with zeros."""
    held: np.ndarray | None = None
    first = 0
    for piece in pieces:
        if held is None:
            held = np.zeros((*piece.shape[:2], 1), dtype=piece.dtype)
        held = np.concatenate([held, piece], axis=2)
        if held.shape[2] > 2:
            yield held, first
            first += held.shape[2] - 2
            held = held[:, :, -2:]
    if held is not None:
        # The frame behind the last one is an inner one too: notes that still sound end there.
        yield np.pad(held, ((0, 0), (0, 0), (0, 2))), first


def _events(
    window: np.ndarray, first: int, thresholds: Thresholds
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Onsets, offsets and ends of sounding at the inner frames of a window.

    Columns: row of the pitch, frame, time in frames; onsets have the velocity in addition.
    """
    onset, offset, frame, velocity = window.astype(np.float32)
    rows, frames = _peaks(onset, thresholds.onset)
    values = np.clip(np.rint(127 * velocity[:, 1:-1][rows, frames]), 1, 127)
    times = first + frames + _refinement(onset, rows, frames)
    onsets = np.stack([rows, first + frames, times, values], axis=1)
    rows, frames = _peaks(offset, thresholds.offset)
    times = first + frames + _refinement(offset, rows, frames)
    offsets = np.stack([rows, first + frames, times], axis=1)
    # An onset sounds, whatever the frame head says: so every note has an end.
    sounding = (frame >= thresholds.frame) | (onset >= thresholds.onset)
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
