"""Splits of a corpus and the partitions behind them: no group (song, artist) on two sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from mer.clips import Clip, Corpus, Fold, Split
from mer.errors import MissingDataError, ParameterError

N_OUTER, N_INNER = 5, 5
"""Parts of the nested cross-validation (de Berardinis, Cangelosi and Coutinho, ISMIR 2020)."""

NESTED = f"nested{N_OUTER}x{N_INNER}"

Stratum = Callable[[Clip], str | int | None]
"""What of a clip should be spread evenly over the parts; None where it is not known."""


def quadrant(clip: Clip) -> int | None:
    """The stratum of classification: the clip's quadrant."""
    return clip.labels.quadrant


def unstratified(clip: Clip) -> int:
    """One stratum for all: parts are random, of even sizes."""
    return 0


def cross_validation(
    corpus: Corpus,
    *,
    n_folds: int,
    seed: int = 0,
    stratum: Stratum = quadrant,
    grouped: bool = True,
) -> Split:
    """Stratified folds, named "cv" and the number of folds.

    Groups stay together unless `grouped` is false: such folds, named "..._ungrouped" and marked
    leaky, serve to measure the effect of groups on both sides.

    Raises
    ------
    MissingDataError
        If the stratum of a clip is not known.
    ParameterError
        If there are too few groups, as in all splits below.
    """
    ids, groups, strata = _stratified(corpus, stratum)
    folds = grouped_folds(ids, groups if grouped else ids, strata, n_folds, seed)
    name = f"cv{n_folds}" if grouped else f"cv{n_folds}_ungrouped"
    return Split(name, tuple(folds), leaky=not grouped)


def holdout(corpus: Corpus, *, seed: int = 0, stratum: Stratum = quadrant) -> Split:
    """One group-disjoint, stratified partition (70/15/15 %), named "holdout"."""
    return Split("holdout", (grouped_holdout(*_stratified(corpus, stratum), seed=seed),))


def nested_cross_validation(
    corpus: Corpus, *, seed: int = 0, stratum: Stratum = unstratified
) -> Split:
    """Group-disjoint nested cross-validation, 5 x 5 folds, named "nested5x5".

    Fold 5 o + i tests on outer part o and validates on inner part i of the rest: the validation
    clips stop the training, the test clips are used once. Of each clip five models are
    tested that differ in their training clips.
    """
    ids, groups, strata = _stratified(corpus, stratum)
    return Split(NESTED, _nested(tuple(ids), tuple(groups), tuple(strata), seed))


# Takes a second or more, and is called once a run
@lru_cache(maxsize=8)
def _nested(
    ids: tuple[str, ...], groups: tuple[str, ...], strata: tuple[int, ...], seed: int
) -> tuple[Fold, ...]:
    folds = nested_folds(ids, groups, strata, n_outer=N_OUTER, n_inner=N_INNER, seed=seed)
    return tuple(folds)


def classification_splits(stratum: Stratum) -> dict[str, Callable[[Corpus], Split]]:
    """Splits of a corpus with classes: "holdout", "cv10" and "cv10_ungrouped"."""
    ten_folds = partial(cross_validation, n_folds=10, stratum=stratum)
    return {
        "holdout": partial(holdout, stratum=stratum),
        "cv10": ten_folds,
        "cv10_ungrouped": partial(ten_folds, grouped=False),
    }


def regression_splits(stratum: Stratum) -> dict[str, Callable[[Corpus], Split]]:
    """Splits of a corpus with valence and arousal: "holdout", "cv10" and "nested5x5"."""
    return {
        "holdout": partial(holdout, stratum=stratum),
        "cv10": partial(cross_validation, n_folds=10, stratum=stratum),
        NESTED: partial(nested_cross_validation, stratum=stratum),
    }


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


def grouped_folds(
    ids: Sequence[str], groups: Sequence[str], labels: Sequence[int], n_folds: int, seed: int
) -> list[Fold]:
    """Folds of a group-disjoint, stratified cross-validation.

    The clips are cut into `n_folds` parts. Fold k tests on part k, validates on part
    (k + 1) mod `n_folds` and trains on the rest, so every clip is tested once.

    Parameters
    ----------
    ids : sequence of str, length n
        Unique clip ids.
    groups : sequence of str, length n
        What must not cross a split.
    labels : sequence of int, length n
        Classes whose proportions each part should keep, as far as the groups permit.
    n_folds : int
        At least 3.
    seed : int
        Shuffles the groups.

    Returns
    -------
    list of Fold, length n_folds
        Ids in each part keep their order in `ids`.

    Raises
    ------
    ParameterError
        If lengths differ, an id occurs twice, a label is not a whole number, or there are too
        few folds, groups or clips.
    """
    index, codes, classes = _checked(ids, groups, labels)
    if n_folds < 3:
        raise ParameterError(f"n_folds is {n_folds}; expected at least 3 (train, valid, test)")
    part = _parts(codes, classes, n_folds, seed)
    return [_fold(index, (part - number) % n_folds) for number in range(n_folds)]


def nested_folds(
    ids: Sequence[str],
    groups: Sequence[str],
    labels: Sequence[int],
    *,
    n_outer: int,
    n_inner: int,
    seed: int,
) -> list[Fold]:
    """Folds of a group-disjoint, stratified nested cross-validation.

    The clips are cut into `n_outer` parts, and what is left without part o into `n_inner` parts
    again. Fold `n_inner` o + i tests on outer part o, validates on inner part i and trains on
    the rest, so every clip is tested by `n_inner` models.

    Parameters and errors are those of `grouped_folds`; `n_outer` and `n_inner` are at least 2.
    """
    index, codes, classes = _checked(ids, groups, labels)
    if min(n_outer, n_inner) < 2:
        raise ParameterError(f"found {n_outer} x {n_inner} folds; expected at least 2 x 2")
    outer = _parts(codes, classes, n_outer, seed)
    folds = []
    for tested in range(n_outer):
        rest = outer != tested
        part = np.zeros(len(index), dtype=np.int64)
        inner = _parts(codes[rest], classes[rest], n_inner, seed)
        for validated in range(n_inner):
            # _fold takes test as 0 and validation as 1
            part[rest] = np.where(inner == validated, 1, 2)
            folds.append(_fold(index, part))
    return folds


def grouped_holdout(
    ids: Sequence[str],
    groups: Sequence[str],
    labels: Sequence[int],
    *,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int,
) -> Fold:
    """One group-disjoint, stratified train / validation / test partition.

    Groups are taken from the largest to the smallest, in random order among equals; each goes
    to the part that lacks the largest share of what it should hold of that group's classes.

    The fractions, of sum 1, are met as far as the groups permit. Other parameters and errors are
    those of `grouped_folds`.
    """
    index, codes, classes = _checked(ids, groups, labels)
    if min(fractions) <= 0 or not np.isclose(sum(fractions), 1):
        raise ParameterError(f"fractions are {fractions}; expected positive numbers with sum 1")
    counts = np.zeros((codes.max() + 1, classes.max() + 1))
    np.add.at(counts, (codes, classes), 1)
    wanted = np.outer(fractions, counts.sum(axis=0))
    missing = wanted.copy()
    part_of_group = np.empty(len(counts), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(counts))
    for group in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        part = int(np.argmax((missing / wanted) @ counts[group]))
        part_of_group[group] = part
        missing[part] -= counts[group]
    # _fold takes test as 0 and validation as 1
    return _fold(index, 2 - part_of_group[codes])


def _checked(
    ids: Sequence[str], groups: Sequence[str], labels: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids as an array, group codes and class codes, each of shape (n,)."""
    if not len(ids) == len(groups) == len(labels):
        raise ParameterError(
            f"found {len(ids)} ids, {len(groups)} groups and {len(labels)} labels; "
            "expected one group and one label for each id"
        )
    if not len(ids):
        raise ParameterError("there are no clips to split")
    if len(set(ids)) < len(ids):
        raise ParameterError("an id stands more than once; clip ids must be unique")
    if np.asarray(labels).dtype.kind not in "biu":
        raise ParameterError("a label is missing or not a whole number; expected class numbers")
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    classes = np.unique(np.asarray(labels), return_inverse=True)[1]
    return np.asarray(ids), codes, classes


def _parts(codes: np.ndarray, classes: np.ndarray, n_parts: int, seed: int) -> np.ndarray:
    """Number of each clip's part, shape (n,): no group in two, classes in proportion."""
    n_groups, largest = len(np.unique(codes)), int(np.bincount(classes).max())
    if n_groups < n_parts:
        raise ParameterError(
            f"found {n_groups} groups for {n_parts} folds; expected a group or more for each fold"
        )
    if largest < n_parts:
        raise ParameterError(
            f"the largest class has {largest} clips for {n_parts} folds; take fewer folds"
        )
    splitter = StratifiedGroupKFold(n_splits=n_parts, shuffle=True, random_state=seed)
    part = np.empty(len(codes), dtype=np.int64)
    for number, (_, members) in enumerate(splitter.split(codes, classes, codes)):
        part[members] = number
    return part


def _fold(ids: np.ndarray, part: np.ndarray) -> Fold:
    """Test where `part` is 0, validation where it is 1, training elsewhere."""
    fold = Fold(
        train=tuple(ids[part > 1].tolist()),
        valid=tuple(ids[part == 1].tolist()),
        test=tuple(ids[part == 0].tolist()),
    )
    for name in ("train", "valid", "test"):
        if not getattr(fold, name):
            raise ParameterError(
                f"the {name} part would be empty; take fewer folds, other fractions or more groups"
            )
    return fold
