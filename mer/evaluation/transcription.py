"""Scores of a transcription against the notes that were played.

A note is correct if its pitch is right and its onset within 50 ms; with offsets, if it also
ends within 50 ms or 20 % of the played note's length, whichever is more (MIREX's note tracking
[1]_); with velocities, where also its velocity, fitted to the played ones by one line for the
whole recording, is within a tenth of their range [2]_. The matching is mir_eval's [3]_.

References
----------
.. [1] Bay, M., Ehmann, A. F., Downie, J. S.: Evaluation of Multiple-F0 Estimation and Tracking
   Systems. Proc. ISMIR (2009).
.. [2] Hawthorne, C. et al.: Onsets and Frames: Dual-Objective Piano Transcription. Proc. ISMIR
   (2018).
.. [3] Raffel, C. et al.: mir_eval: A Transparent Implementation of Common MIR Metrics. Proc.
   ISMIR (2014).
"""

from __future__ import annotations

import numpy as np

from mer.errors import ParameterError

_OFFSET_RATIO = 0.2
_VELOCITY_TOLERANCE = 0.1


def note_scores(reference: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    """Precision, recall and F1 of notes, by onset, offset and velocity.

    Pitches are matched one by one, so that time and memory stay small for an hour of music; since
    notes of different pitches never match, the counts are those of mir_eval for all at once.

    Parameters
    ----------
    reference, estimate : np.ndarray, shape (n, 4)
        Onset and offset in seconds, MIDI pitch, velocity: played and estimated notes.

    Returns
    -------
    dict of str to float
        `onset_precision`, `onset_recall`, `onset_f1`, and the same for `onset_offset` and
        `onset_offset_velocity`; in [0, 1]. All are 0 where only one side has notes, and NaN where
        neither has.

    Raises
    ------
    ParameterError
        If an array has another shape, values that are not finite, negative times, or a note that
        does not end after its onset.
    """
    _check(reference, "reference")
    _check(estimate, "estimate")
    with_offsets = matched_notes(reference, estimate, _OFFSET_RATIO)
    matches = {
        "onset": len(matched_notes(reference, estimate)),
        "onset_offset": len(with_offsets),
        "onset_offset_velocity": _count_with_velocity(reference, estimate, with_offsets),
    }
    scores = {}
    for name, count in matches.items():
        scores[f"{name}_precision"] = _ratio(count, len(estimate), len(reference))
        scores[f"{name}_recall"] = _ratio(count, len(reference), len(estimate))
        scores[f"{name}_f1"] = _ratio(2 * count, len(reference) + len(estimate))
    return scores


def _check(notes: np.ndarray, name: str) -> None:
    if notes.ndim != 2 or notes.shape[1] != 4:
        raise ParameterError(f"{name} has shape {notes.shape}; expected (n, 4)")
    if not np.isfinite(notes).all():
        raise ParameterError(f"{name} has values that are not finite; expected seconds and notes")
    wrong = (notes[:, 0] < 0) | (notes[:, 1] <= notes[:, 0])
    if wrong.any():
        onset, offset = notes[wrong.argmax(), :2].tolist()
        raise ParameterError(
            f"{name} has a note from {onset} s to {offset} s; expected an onset from 0 s on and "
            "an offset after it"
        )


def matched_notes(
    reference: np.ndarray, estimate: np.ndarray, offset_ratio: float | None = None
) -> np.ndarray:
    """Notes that belong together by pitch and onset and, with an `offset_ratio`, by offset.

    Returns
    -------
    np.ndarray, shape (n_matched, 2)
        Rows of `reference` and `estimate`.
    """
    from mir_eval.transcription import match_notes

    pairs = [np.empty((0, 2), dtype=np.int64)]
    for pitch in np.intersect1d(reference[:, 2], estimate[:, 2]):
        played = np.flatnonzero(reference[:, 2] == pitch)
        estimated = np.flatnonzero(estimate[:, 2] == pitch)
        matched = match_notes(
            reference[played, :2],
            np.ones(len(played)),
            estimate[estimated, :2],
            np.ones(len(estimated)),
            offset_ratio=offset_ratio,
        )
        rows = np.asarray(matched, dtype=np.int64).reshape(-1, 2)
        pairs.append(np.stack([played[rows[:, 0]], estimated[rows[:, 1]]], axis=1))
    return np.concatenate(pairs)


def _count_with_velocity(reference: np.ndarray, estimate: np.ndarray, pairs: np.ndarray) -> int:
    """Number of pairs whose velocities agree once the estimated ones are fitted to the played."""
    if not len(pairs):
        return 0
    low, high = reference[:, 3].min(), reference[:, 3].max()
    played = (reference[pairs[:, 0], 3] - low) / max(1, high - low)
    estimated = np.stack([estimate[pairs[:, 1], 3], np.ones(len(pairs))], axis=1)
    line = np.linalg.lstsq(estimated, played, rcond=None)[0]
    return int(np.count_nonzero(np.abs(estimated @ line - played) < _VELOCITY_TOLERANCE))


def _ratio(count: int, total: int, other: int = 0) -> float:
    if total:
        return count / total
    return 0.0 if other else float("nan")
