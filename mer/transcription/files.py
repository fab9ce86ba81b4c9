"""Notes as MIDI files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mer.errors import ParameterError
from mer.files import atomic_path

_TICKS_PER_QUARTER = 500
_QUARTERS_PER_MINUTE = 120
_TICKS_PER_SECOND = _TICKS_PER_QUARTER * _QUARTERS_PER_MINUTE / 60


def write_midi(notes: np.ndarray, path: Path) -> None:
    """Write notes as a standard MIDI file with one piano track.

    A tick is 1 ms, so times move by at most half of that. A note lasts at least one tick; one
    that still sounds when its pitch is struck again ends there, since a MIDI key cannot go down
    twice.

    Parameters
    ----------
    notes : np.ndarray, shape (n_notes, 4)
        Onset and offset in seconds, MIDI pitch 0-127, velocity 1-127; rounded to whole pitches
        and velocities. May have no rows.
    path : Path
        Takes its name only when it is whole.

    Raises
    ------
    ParameterError
        If the notes have another shape, or values out of range.
    """
    from symusic import Note, Score, Tempo, Track

    onset, duration, pitch, velocity = _ticks(notes).T
    score: Any = Score(_TICKS_PER_QUARTER)
    score.tempos.append(Tempo(time=0, qpm=_QUARTERS_PER_MINUTE))
    track: Any = Track(name="Piano", program=0)
    track.notes = Note.from_numpy(
        onset.astype("int32"),
        duration.astype("int32"),
        pitch.astype("int8"),
        velocity.astype("int8"),
    )
    score.tracks.append(track)
    with atomic_path(path) as temporary:
        temporary.write_bytes(score.dumps_midi())


def _ticks(notes: np.ndarray) -> np.ndarray:
    """Onset and duration in ticks, pitch and velocity; sorted by onset, then pitch."""
    if notes.ndim != 2 or notes.shape[1] != 4:
        raise ParameterError(f"notes have shape {notes.shape}; expected (n, 4)")
    table = np.rint(notes * [_TICKS_PER_SECOND, _TICKS_PER_SECOND, 1, 1])
    lowest, highest = [0, 0, 0, 1], [np.inf, np.inf, 127, 127]
    possible = np.isfinite(table) & (table >= lowest) & (table <= highest)
    if not possible.all():
        row = int(possible.all(axis=1).argmin())
        raise ParameterError(
            f"note {row} is {notes[row].tolist()}; expected an onset and an offset from 0 s on, "
            "a pitch of 0-127 and a velocity of 1-127"
        )
    return _without_overlap(table).astype(np.int64)


def _without_overlap(table: np.ndarray) -> np.ndarray:
    table = table[np.lexsort((table[:, 0], table[:, 2]))]
    struck_again = table[1:, 2] == table[:-1, 2]
    table[:-1, 1][struck_again] = np.minimum(table[:-1, 1], table[1:, 0])[struck_again]
    table[:, 1] = np.maximum(table[:, 1] - table[:, 0], 1)
    return table[np.lexsort((table[:, 2], table[:, 0]))]
