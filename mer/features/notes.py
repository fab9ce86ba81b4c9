"""Notes of a MIDI file, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mer.errors import InvalidDataError, ParameterError
from mer.midi import read_score

REVISION = 1


def read_notes(midi: Path, *, pedal: bool = False) -> np.ndarray:
    """All notes of a MIDI file, drums left out.

    Parameters
    ----------
    midi : Path
    pedal : bool
        Whether a note sounds on while the sustain pedal is down (until the pedal goes up or the
        same pitch is struck again), as in a transcription.

    Returns
    -------
    np.ndarray, shape (n_notes, 4), float64
        Onset and offset in seconds, MIDI pitch 0-127, velocity 1-127; sorted by onset, then
        pitch. Offsets are key releases unless `pedal`. No rows where the file has no notes.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidDataError
        If it is empty or no MIDI file whose times can be believed; see `mer.midi.read_score`.
    """
    score, _ = read_score(midi)
    tables = [_sounding(track, pedal) for track in score.tracks if not track.is_drum]
    table = np.concatenate([np.empty((0, 4)), *tables])
    return table[np.lexsort((table[:, 2], table[:, 0]))]


def _sounding(track: Any, pedal: bool) -> np.ndarray:
    columns = track.notes.numpy()
    names = ("time", "duration", "pitch", "velocity")
    table = np.stack([columns[name].astype(float) for name in names], axis=1)
    table[:, 1] += table[:, 0]
    if pedal and len(track.pedals) and len(table):
        pedals = track.pedals.numpy()
        table[:, 1] = _sustained(table, pedals["time"], pedals["time"] + pedals["duration"])
    return table


def _sustained(table: np.ndarray, downs: np.ndarray, ups: np.ndarray) -> np.ndarray:
    """Offsets of notes whose keys are released between a pedal's down and up."""
    offsets = table[:, 1]
    last = np.searchsorted(downs, offsets, side="right") - 1
    held = (last >= 0) & (ups[last] > offsets)
    ends = np.where(held, ups[last], offsets)
    order = np.lexsort((table[:, 0], table[:, 2]))
    again = np.full(len(table), np.inf)
    same = np.diff(table[order, 2]) == 0
    again[order[:-1][same]] = table[order[1:][same], 0]
    return np.maximum(np.minimum(ends, again), offsets)


_LONGEST = 24 * 3600.0
"""Seconds; what counts steps of time takes no more than memory has for them."""


def check_span(notes: np.ndarray) -> None:
    """Raise an `InvalidDataError` if the times of notes are not within 24 hours."""
    if len(notes) and not (span := np.ptp(notes[:, :2])) <= _LONGEST:
        raise InvalidDataError(
            f"notes span {span:g} s; expected no more than {_LONGEST:,.0f} s: their times are "
            "damaged"
        )


def steps_from_first(notes: np.ndarray, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Onsets and offsets of notes, rounded to steps of some seconds from the first onset.

    Raises
    ------
    ParameterError
        If one is not finite.
    """
    if not np.isfinite(notes[:, :2]).all():
        raise ParameterError("a note has an onset or offset that is not a finite number")
    first = notes[:, 0].min() if len(notes) else 0.0
    onsets, offsets = np.rint((notes[:, :2].T - first) / seconds).astype(np.int64)
    return onsets, offsets


def relative_velocities(notes: np.ndarray) -> np.ndarray:
    """Notes, shape (n, 4), whose velocities have mean 64 and deviation 16.

    A recording's level then says nothing of them; without differences all are 64. A few may lie
    beyond 1 to 127.
    """
    moved = np.array(notes, dtype=float)
    if len(moved):
        velocity = moved[:, 3]
        deviation = velocity.std()
        moved[:, 3] = 64 + 16 * (velocity - velocity.mean()) / (deviation if deviation > 0 else 1)
    return moved


def transposed_pitches(
    pitches: np.ndarray, semitones: int, lowest: int = 0, highest: int = 127
) -> np.ndarray:
    """Pitches moved by some semitones; those that would leave the range, by octaves into it."""
    moved = pitches + semitones
    up = np.ceil(np.maximum(lowest - moved, 0) / 12)
    down = np.ceil(np.maximum(moved - highest, 0) / 12)
    return (moved + 12 * (up - down)).astype(pitches.dtype)


def checked_midi(values: np.ndarray, name: str) -> np.ndarray:
    """The values of a field, if all are from 0 to 127; ParameterError otherwise."""
    outside = values[~((values >= 0) & (values <= 127))]
    if outside.size:
        raise ParameterError(f"{name} is {outside[0]:g}; expected 0-127")
    return values
