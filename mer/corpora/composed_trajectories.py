"""The embedded corpus with clips whose emotion changes at known times.

A label of such a clip as a whole is wrong for some of its segments, and which is known:
`meta["segments"]` and `meta["change_times"]`, see `mer.composing.description.describe`.
"""

from __future__ import annotations

import numpy as np

from mer.clips import Clip, Corpus
from mer.corpora import composed
from mer.corpora.composed import CITATION, LICENCE
from mer.errors import InvalidDataError, MissingDataError

__all__ = ["CITATION", "LICENCE", "load", "quadrant_shares", "true_quadrants"]


def load(*, size: int = 160, seed: int = 0, duration: float = 30.0) -> Corpus:
    """Compose the corpus with trajectories for a piano, or find it composed already.

    Parameters, result and errors are those of `mer.corpora.composed.load` with `trajectories`;
    the corpus is named "composed_trajectories".
    """
    return composed.load(size=size, seed=seed, duration=duration, trajectories=True)


def quadrant_shares(clip: Clip, times: np.ndarray) -> np.ndarray:
    """How much of each piece of a composed clip is in each quadrant.

    Parameters
    ----------
    clip : Clip
        Of a composed corpus.
    times : np.ndarray, shape (n, 2)
        Begin and end of the pieces in seconds, as `mer.segments.segment_times` gives them. What
        lies beyond the clip's end, where the last notes fade, counts as its last emotion.

    Returns
    -------
    np.ndarray, shape (n, 4)
        Shares of Q1 to Q4, each row of sum 1.

    Raises
    ------
    MissingDataError
        If the clip does not tell its emotion over time.
    InvalidDataError
        If a piece does not end after it begins, or begins before the clip.
    """
    if "segments" not in clip.meta:
        raise MissingDataError(
            f"clip {clip.id!r} does not tell its emotion over time; take a composed corpus"
        )
    begin, end = np.asarray(times, dtype=float).reshape(-1, 2).T
    if not np.all((begin >= 0) & (end > begin)):
        raise InvalidDataError(
            "a piece begins before 0 s or does not end after it begins; expected rows of begin "
            "and end in seconds"
        )
    known = clip.meta["segments"]
    starts = np.array([segment["start"] for segment in known])
    ends = np.append(starts[1:], np.inf)
    shared = np.minimum.outer(end, ends) - np.maximum.outer(begin, starts)
    quadrants = np.eye(4)[[segment["quadrant"] - 1 for segment in known]]
    shares: np.ndarray = np.maximum(shared, 0.0) @ quadrants / (end - begin)[:, None]
    return shares


def true_quadrants(clip: Clip, times: np.ndarray) -> np.ndarray:
    """Quadrant of each piece of a composed clip, 1-4: the one that fills most of it.

    Of equals, the first. Parameters and errors are those of `quadrant_shares`.

    Returns
    -------
    np.ndarray, shape (n,), int64
    """
    return quadrant_shares(clip, times).argmax(axis=1) + 1
