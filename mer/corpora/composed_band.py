"""The embedded corpus played by a band, whose sources carry the emotion unequally.

`meta["carrier"]` of a clip tells which source follows all of its valence and which all of its
arousal; see `mer.composing.planning`.
"""

from __future__ import annotations

from mer.clips import Corpus
from mer.corpora import composed
from mer.corpora.composed import CITATION, LICENCE

__all__ = ["CITATION", "LICENCE", "load"]


def load(*, size: int = 160, seed: int = 0, duration: float = 30.0) -> Corpus:
    """Compose the corpus for a band, or find it composed already.

    Parameters, result and errors are those of `mer.corpora.composed.load` with arrangement
    "band".
    """
    return composed.load(size=size, seed=seed, arrangement="band", duration=duration)
