"""What the transcriber's heads are to answer for known notes."""

from __future__ import annotations

import numpy as np

from mer.transcription.spectrogram import FRAMES_PER_SECOND, LOWEST_PITCH, N_PITCHES

_WIDTH = 1.5
"""Frames from the peak of an onset's target to zero."""


def note_targets(notes: np.ndarray, n_frames: int) -> np.ndarray:
    """Targets of the heads.

    Onsets and offsets are triangles around the exact time, so that their place between frames can
    be learned [1]_; frames are 1 from onset to offset; the velocity stands where the onset does.

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
    _triangles(targets[0], rows, times[:, 0], targets[3], velocities)
    return targets


def _triangles(
    target: np.ndarray,
    rows: np.ndarray,
    times: np.ndarray,
    marks: np.ndarray | None = None,
    values: np.ndarray | None = None,
) -> None:
    nearest = np.rint(times).astype(int)
    for shift in (-1, 0, 1):
        frames = nearest + shift
        inside = (frames >= 0) & (frames < target.shape[1])
        height = np.clip(1 - np.abs(frames - times) / _WIDTH, 0, 1)[inside]
        place = (rows[inside], frames[inside])
        np.maximum.at(target, place, np.rint(255 * height).astype(np.uint8))
        if marks is not None and values is not None and shift == 0:
            marks[place] = values[inside]
