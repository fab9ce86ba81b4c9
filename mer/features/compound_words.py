"""Compound words of MidiBERT-Piano: one token a note, with bar, position, pitch and duration."""

from __future__ import annotations

import numpy as np

from mer.features.notes import checked_midi, steps_from_first, transposed_pitches
from mer.features.tonality import key_strengths

REVISION = 1

PAD, MASK = 0, 1
"""Special values, the same in every field; other values count from `FIRST`."""

FIRST = 2
FIELDS = ("bar", "position", "pitch", "duration")

BAR_SECONDS = 2.0
POSITIONS = 16
LOWEST_PITCH, HIGHEST_PITCH = 22, 107
DURATIONS = 64

SIZES: tuple[int, ...] = tuple(
    FIRST + n for n in (2, POSITIONS, HIGHEST_PITCH - LOWEST_PITCH + 1, DURATIONS)
)
"""Vocabulary of each field, special values included: 4, 18, 88 and 66, as published."""

VELOCITY_CLASSES = 6
KEY_CLASSES = 24

_STEP_SECONDS = BAR_SECONDS / POSITIONS
_DURATION_SECONDS = _STEP_SECONDS / 2
_VELOCITY_EDGES = (32, 48, 64, 80, 96)


def compound_words(notes: np.ndarray) -> np.ndarray:
    """One word a note: whether a bar begins, position in the bar, pitch and duration.

    The grid is one of constant time. A bar is four beats of the nominal 120 beats per minute that
    the files of EMOPIA, MAESTRO and Pop1K7 state, which is 2 s, and begins at the first onset:
    these performances are not aligned with beats, and how fast they are shows in the number of
    words in a bar. Onsets are rounded to sixteenths of a bar (125 ms), durations to
    thirty-seconds, from 1 to 64 of them (62.5 ms to 4 s). Bars without notes leave no trace.
    Pitches outside 22-107 are moved by octaves into that range. Velocity and tempo have no field.

    Parameters
    ----------
    notes : np.ndarray, shape (n_notes, 4)
        As from `mer.features.notes.read_notes`, in any order.

    Returns
    -------
    np.ndarray, shape (4, n_notes), int64
        Rows as in `FIELDS`, values in [2, `SIZES`); by rounded onset, then pitch.

    Raises
    ------
    ParameterError
        If a pitch is outside 0-127, or a time is not finite.

    References
    ----------
    Chou et al.: MidiBERT-Piano: large-scale pre-training for symbolic music understanding. 2021.
    In its published code a bar is 1,920 ticks, whatever a beat has: 2.5 s in the files of EMOPIA.
    The paper does not say what happens to other pitches.
    """
    steps, order = _grid(notes)
    notes, steps = notes[order], steps[order]
    bars, positions = np.divmod(steps, POSITIONS)
    continued = np.diff(bars, prepend=-1) == 0
    lengths = np.rint((notes[:, 1] - notes[:, 0]) / _DURATION_SECONDS)
    values = [
        continued.astype(np.int64),
        positions,
        _folded(notes[:, 2]) - LOWEST_PITCH,
        np.clip(lengths, 1, DURATIONS).astype(np.int64) - 1,
    ]
    return FIRST + np.stack(values)


def velocity_classes(notes: np.ndarray) -> np.ndarray:
    """Dynamics of each note in six classes, from below 32, in bands of 16, to 96 and above.

    Shape (n_notes,), int64, in the order of `compound_words`: the classes of velocity prediction
    (pp to ff) of Chou et al. (2021). Parameters and errors as there.
    """
    _, order = _grid(notes)
    return np.searchsorted(_VELOCITY_EDGES, notes[order, 3], side="right").astype(np.int64)


def key_classes(words: np.ndarray) -> np.ndarray:
    """Key of windows of words: the best by pitch classes weighted by duration.

    Parameters
    ----------
    words : np.ndarray, shape (batch, 4, n)
        Without masks; words whose pitch is special do not count.

    Returns
    -------
    np.ndarray, shape (batch,), int64
        Tonic (C is 0) for major keys, 12 more for minor ones; 0 where no pitch class stands out.

    References
    ----------
    Krumhansl-Schmuckler, see `mer.features.tonality.key_strengths`.
    """
    pitch_classes = (words[:, 2] - FIRST + LOWEST_PITCH) % 12
    weights = np.where(words[:, 2] >= FIRST, words[:, 3] - FIRST + 1, 0)
    cells = pitch_classes + 12 * np.arange(len(words))[:, None]
    histograms = np.bincount(cells.ravel(), weights.ravel(), minlength=12 * len(words))
    strengths = key_strengths(histograms.astype(float).reshape(-1, 12))
    return strengths.reshape(-1, KEY_CLASSES).argmax(axis=1)


def transposed_words(words: np.ndarray, semitones: int) -> np.ndarray:
    """Words, shape (4 or more, n_notes), with other pitches; see `transposed_pitches`."""
    words = words.copy()
    pitches = words[2]
    is_note = pitches >= FIRST
    played = pitches[is_note] - FIRST + LOWEST_PITCH
    moved = transposed_pitches(played, semitones, LOWEST_PITCH, HIGHEST_PITCH)
    pitches[is_note] = moved - LOWEST_PITCH + FIRST
    return words


def _grid(notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Onsets in steps from the first, and the order of the words."""
    steps, _ = steps_from_first(notes, _STEP_SECONDS)
    return steps, np.lexsort((notes[:, 2], steps))


def _folded(pitches: np.ndarray) -> np.ndarray:
    known = checked_midi(pitches, "pitch").astype(np.int64)
    return transposed_pitches(known, 0, LOWEST_PITCH, HIGHEST_PITCH)
