"""Refined MIDI-like events: one event a note, with the *harmonic* attribute."""

from __future__ import annotations

import numpy as np

from mer.errors import ParameterError
from mer.features.notes import checked_midi, steps_from_first, transposed_pitches

REVISION = 1

PAD, MASK, START = 0, 1, 2
"""Special values, the same in every field; other values count from `FIRST`."""

FIRST = 3
FIELDS = ("pitch", "harmonic", "velocity", "shift", "duration")

STEP_SECONDS = 0.01
MAX_HARMONIC = 16
VELOCITY_BINS = 32
_FINE_STEPS = 50
_MAX_STEPS = 1000
_COARSE_BINS = 61
_COARSE = np.rint(np.geomspace(_FINE_STEPS, _MAX_STEPS, _COARSE_BINS + 1)[1:]).astype(np.int64)
_SHIFTS = np.concatenate([np.arange(_FINE_STEPS + 1), _COARSE])
_DURATIONS = _SHIFTS[1:]

SIZES: tuple[int, ...] = tuple(
    FIRST + n for n in (128, MAX_HARMONIC, VELOCITY_BINS, len(_SHIFTS), len(_DURATIONS))
)
"""Vocabulary of each field, special values included."""


def note_events(notes: np.ndarray) -> np.ndarray:
    """One event a note: pitch, harmonic, velocity, shift and duration.

    *Harmonic* is the number of notes that sound at the note's onset, itself included (more than
    16 count as 16); a note sounds until just before its offset, both to 10 ms. Velocity has 32
    bins. *Shift*, the time since the onset before, and duration have steps of 10 ms up to 500 ms,
    then 61 geometric bins (ratio 1.05) up to 10 s, all multiples of 10 ms. A shift is rounded
    against the decoded onset before it, so that rounding errors do not add up; notes of one onset
    stay together. Every note lasts at least one step; longer durations end at 10 s and longer
    silences are shortened to 10 s.

    Parameters
    ----------
    notes : np.ndarray, shape (n_notes, 4)
        As from `mer.features.notes.read_notes`, in any order.

    Returns
    -------
    np.ndarray, shape (5, 1 + n_notes), int64
        Rows as in `FIELDS`, values in [2, `SIZES`). Column 0 is `START` in every field; then
        the notes by onset (to 10 ms), then pitch. The first note's shift is 0.

    Raises
    ------
    ParameterError
        If a pitch or velocity is outside 0-127, or a time is not finite.

    References
    ----------
    Zhu et al.: Symbolic & Acoustic: Multi-domain music emotion modeling for instrumental music
    (2023), section 3.2 and figure 2. That a note is one event, and the steps, are our choice.
    """
    start = np.full((len(FIELDS), 1), START, dtype=np.int64)
    if not len(notes):
        return start
    onsets, offsets = steps_from_first(notes, STEP_SECONDS)
    offsets = np.maximum(offsets, onsets + 1)
    order = np.lexsort((notes[:, 2], onsets))
    onsets, offsets = onsets[order], offsets[order]
    pitches, velocities = checked_midi(notes[order, 2:].T, "pitch or velocity").astype(np.int64)
    values = [
        pitches,
        np.minimum(_sounding(onsets, offsets), MAX_HARMONIC) - 1,
        velocities * VELOCITY_BINS // 128,
        _shift_bins(onsets),
        _NEAREST[np.minimum(offsets - onsets, _MAX_STEPS)] - 1,
    ]
    return np.concatenate([start, FIRST + np.stack(values)], axis=1)


def select_events(events: np.ndarray, start: int, stop: int) -> np.ndarray:
    """A window of a sequence: its notes `start` to `stop` - 1 after a `START` column.

    A window that reaches beyond the last note is cut there. The values, shape (5, 1 + n), are
    unchanged: the first note keeps its shift from the note before the window.

    Raises
    ------
    ParameterError
        If `start` is negative or greater than `stop`.
    """
    if not 0 <= start <= stop:
        raise ParameterError(f"window is {start} to {stop}; expected 0 <= start <= stop")
    return np.concatenate([events[:, :1], events[:, 1 + start : 1 + stop]], axis=1)


def transposed_events(events: np.ndarray, semitones: int) -> np.ndarray:
    """Events, shape (5, n), with other pitches; see `mer.features.notes.transposed_pitches`."""
    events = events.copy()
    pitches = events[0]
    is_note = pitches >= FIRST
    pitches[is_note] = FIRST + transposed_pitches(pitches[is_note] - FIRST, semitones)
    return events


def _sounding(onsets: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    begun = np.searchsorted(np.sort(onsets), onsets, side="right")
    ended = np.searchsorted(np.sort(offsets), onsets, side="right")
    return begun - ended


def _shift_bins(onsets: np.ndarray) -> np.ndarray:
    """Bin of the shift before each note; onsets in steps, ascending."""
    bins = []
    # How far the decoded onset is behind the true one.
    behind = 0
    for gap in np.diff(onsets, prepend=onsets[0]).tolist():
        if gap == 0:
            # Not corrected here, so that notes of one onset stay together.
            bins.append(0)
            continue
        wanted = min(max(min(gap, _MAX_STEPS) + behind, 0), _MAX_STEPS)
        bins.append(_NEAREST_LIST[wanted])
        behind += min(gap, _MAX_STEPS) - _SHIFTS_LIST[bins[-1]]
    return np.asarray(bins, dtype=np.int64)


_NEAREST = np.abs(np.arange(_MAX_STEPS + 1)[:, None] - _SHIFTS).argmin(axis=1)
_NEAREST_LIST: list[int] = _NEAREST.tolist()
_SHIFTS_LIST: list[int] = _SHIFTS.tolist()
