"""Notes of a MIDI file, in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mer.errors import InvalidDataError, MissingDataError

REVISION = 1


def read_notes(midi: Path) -> np.ndarray:
    """All notes of a MIDI file, drums left out.

    Parameters
    ----------
    midi : Path

    Returns
    -------
    np.ndarray, shape (n_notes, 4), float64
        Onset and offset in seconds, MIDI pitch 0-127, velocity 1-127; sorted by onset, then
        pitch. Offsets are key releases: the pedal is not applied. No rows where the file has no
        notes.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidDataError
        If it is empty or not MIDI.
    """
    import symusic

    if not midi.is_file():
        raise MissingDataError(f"{midi} does not exist; expected a MIDI file")
    try:
        score = symusic.Score(midi, ttype="second")
    except Exception as error:  # symusic raises RuntimeError, ValueError and others by cause
        raise InvalidDataError(f"{midi} is not a readable MIDI file: {error}") from None
    tracks = [track.notes.numpy() for track in score.tracks if not track.is_drum]
    columns = ("time", "duration", "pitch", "velocity")
    if not tracks:
        return np.empty((0, 4))
    table = np.concatenate(
        [np.stack([track[c].astype(float) for c in columns], axis=1) for track in tracks]
    )
    table[:, 1] += table[:, 0]
    return table[np.lexsort((table[:, 2], table[:, 0]))]
