"""Cross-validation splits of a corpus."""

from __future__ import annotations

from mer.clips import Corpus, Split
from mer.errors import MissingDataError
from mer.evaluation.splits import grouped_folds


def cross_validation(corpus: Corpus, *, n_folds: int, seed: int = 0) -> Split:
    """Group-disjoint folds, stratified by quadrant, named "cv" and the number of folds.

    Raises
    ------
    MissingDataError
        If a clip has no quadrant.
    """
    quadrants = [clip.labels.quadrant for clip in corpus]
    known = [quadrant for quadrant in quadrants if quadrant is not None]
    if len(known) < len(quadrants):
        raise MissingDataError(
            f"corpus {corpus.name!r}: {len(quadrants) - len(known)} clips have no quadrant, "
            "which cross-validation needs for stratification"
        )
    folds = grouped_folds(corpus.ids, corpus.groups, known, n_folds, seed)
    return Split(f"cv{n_folds}", tuple(folds))
