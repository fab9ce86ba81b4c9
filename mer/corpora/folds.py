"""Cross-validation splits of a corpus, and nested ones as stored files."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from mer.clips import Clip, Corpus, Fold, Split
from mer.errors import InvalidDataError, MissingDataError
from mer.evaluation.splits import grouped_folds, grouped_holdout, nested_folds
from mer.files import atomic_path

N_OUTER, N_INNER = 5, 5
"""Parts of the nested cross-validation (de Berardinis, Cangelosi and Coutinho, ISMIR 2020)."""

NESTED = f"nested{N_OUTER}x{N_INNER}"

Stratum = Callable[[Clip], str | int | None]
"""What of a clip should be spread evenly over the parts; None where it is not known."""


def quadrant(clip: Clip) -> int | None:
    """The stratum of classification: the clip's quadrant."""
    return clip.labels.quadrant


def unstratified(clip: Clip) -> int:
    """One stratum for all: parts differ at random, only their sizes are kept even."""
    return 0


def cross_validation(
    corpus: Corpus, *, n_folds: int, seed: int = 0, stratum: Stratum = quadrant
) -> Split:
    """Group-disjoint, stratified folds, named "cv" and the number of folds.

    Raises
    ------
    MissingDataError
        If the stratum of a clip is not known.
    """
    folds = grouped_folds(*_stratified(corpus, stratum), n_folds, seed)
    return Split(f"cv{n_folds}", tuple(folds))


def ungrouped_cross_validation(
    corpus: Corpus, *, n_folds: int, seed: int = 0, stratum: Stratum = quadrant
) -> Split:
    """Stratified folds that groups cross, named "cv", the number of folds, and "_ungrouped".

    Beside `cross_validation` it shows what it is worth to know the groups of the test clips.

    Raises
    ------
    MissingDataError
        If the stratum of a clip is not known.
    """
    ids, _, strata = _stratified(corpus, stratum)
    folds = grouped_folds(ids, ids, strata, n_folds, seed)
    return Split(f"cv{n_folds}_ungrouped", tuple(folds), leaky=True)


def holdout(corpus: Corpus, *, seed: int = 0, stratum: Stratum = quadrant) -> Split:
    """One group-disjoint, stratified partition (70/15/15 %), named "holdout".

    Raises
    ------
    MissingDataError
        If the stratum of a clip is not known.
    """
    return Split("holdout", (grouped_holdout(*_stratified(corpus, stratum), seed=seed),))


def nested_cross_validation(
    corpus: Corpus, *, seed: int = 0, stratum: Stratum = unstratified
) -> Split:
    """Group-disjoint nested cross-validation, 5 x 5 folds, named "nested5x5".

    Fold 5 o + i tests on outer part o and validates on inner part i of the rest: the validation
    clips stop the training, the test clips are looked at once. Of each clip five models are
    tested that differ in their training clips.

    Raises
    ------
    MissingDataError
        If the stratum of a clip is not known.
    ParameterError
        If there are too few groups.
    """
    ids, groups, strata = _stratified(corpus, stratum)
    return Split(NESTED, _nested(tuple(ids), tuple(groups), tuple(strata), seed))


# Takes a second or more, and is asked for once a run
@lru_cache(maxsize=8)
def _nested(
    ids: tuple[str, ...], groups: tuple[str, ...], strata: tuple[int, ...], seed: int
) -> tuple[Fold, ...]:
    folds = nested_folds(ids, groups, strata, n_outer=N_OUTER, n_inner=N_INNER, seed=seed)
    return tuple(folds)


def regression_splits(stratum: Stratum) -> dict[str, Callable[[Corpus], Split]]:
    """Splits of a corpus with valence and arousal: "holdout", "cv10" and "nested5x5"."""
    return {
        "holdout": partial(holdout, stratum=stratum),
        "cv10": partial(cross_validation, n_folds=10, stratum=stratum),
        NESTED: partial(nested_cross_validation, stratum=stratum),
    }


def fold_table(corpus: Corpus) -> pd.DataFrame:
    """The nested folds of a corpus as a table, one row a clip.

    Returns
    -------
    DataFrame
        `id`; `outer`, the number of the outer part that tests the clip; and `inner_0` ...
        `inner_4`, the number of the inner part that it has while outer part 0 ... 4 is the
        test, empty where it is a test clip itself.

    Raises
    ------
    ParameterError
        If the corpus has no such split.
    """
    place = {clip_id: row for row, clip_id in enumerate(corpus.ids)}
    outer = np.zeros(len(corpus), dtype=np.int64)
    inner = np.full((len(corpus), N_OUTER), -1)
    for number, fold in enumerate(corpus.split(NESTED).folds):
        tested, validated = divmod(number, N_INNER)
        outer[[place[clip_id] for clip_id in fold.test]] = tested
        inner[[place[clip_id] for clip_id in fold.valid], tested] = validated
    columns = {f"inner_{tested}": pd.array(inner[:, tested]) for tested in range(N_OUTER)}
    table = pd.DataFrame({"id": corpus.ids, "outer": pd.array(outer), **columns})
    return table.mask(table.isin([-1]))


def write_folds(corpus: Corpus, path: Path) -> None:
    """Store the nested folds of a corpus as a CSV file, see `fold_table`."""
    with atomic_path(path) as temporary:
        fold_table(corpus).to_csv(temporary, index=False)


def check_folds(corpus: Corpus, path: Path) -> None:
    """Compare the nested folds of a corpus with the stored ones, clip by clip.

    Clips that stand in the file alone, as their audio is missing here, are passed over.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidDataError
        On the first clip that is not in the file or has other parts there.
    """
    if not path.is_file():
        raise MissingDataError(f"{path} does not exist; expected the stored folds")
    stored = _parts_by_clip(pd.read_csv(path, dtype=str, keep_default_na=False))
    for clip_id, parts in _parts_by_clip(fold_table(corpus).astype("string").fillna("")).items():
        if clip_id not in stored:
            raise InvalidDataError(f"{path} has no clip {clip_id!r} of corpus {corpus.name!r}")
        if stored[clip_id] != parts:
            raise InvalidDataError(
                f"{path}: clip {clip_id!r} has parts {stored[clip_id]}; corpus {corpus.name!r} "
                f"gives {parts}"
            )


def _parts_by_clip(table: pd.DataFrame) -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in table.to_numpy().tolist()}


def _stratified(corpus: Corpus, stratum: Stratum) -> tuple[list[str], list[str], list[int]]:
    """Ids, groups and numbers of the strata of all clips."""
    strata = [stratum(clip) for clip in corpus]
    known = [value for value in strata if value is not None]
    if len(known) < len(strata):
        what = getattr(stratum, "__name__", "stratum")
        raise MissingDataError(
            f"corpus {corpus.name!r}: {len(strata) - len(known)} clips have no {what}, which "
            "cross-validation needs for stratification"
        )
    return corpus.ids, corpus.groups, np.unique(np.asarray(known), return_inverse=True)[1].tolist()
