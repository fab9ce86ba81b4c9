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

_HOLDOUT = (0.7, 0.15, 0.15)
"""Shares of train, validation and test."""

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

    The clips are cut into parts that keep the proportions of the strata, as far as the groups
    permit. Fold k tests on part k, validates on part (k + 1) mod `n_folds` and trains on the
    rest, so every clip is tested once. Groups stay together unless `grouped` is false: such folds,
    named "..._ungrouped" and marked leaky, serve to measure the effect of groups on both sides.

    Raises
    ------
    MissingDataError
        If the stratum of a clip is not known.
    ParameterError
        If there are fewer than three folds or, as in all splits below, too few groups or clips.
    """
    if n_folds < 3:
        raise ParameterError(f"n_folds is {n_folds}; expected at least 3 (train, valid, test)")
    groups = corpus.groups if grouped else corpus.ids
    part = _parts(_codes(groups), _strata(corpus, stratum), n_folds, seed)
    folds = tuple(_fold(corpus.ids, (part - number) % n_folds) for number in range(n_folds))
    return Split(f"cv{n_folds}{'' if grouped else '_ungrouped'}", folds, leaky=not grouped)


def holdout(corpus: Corpus, *, seed: int = 0, stratum: Stratum = quadrant) -> Split:
    """One group-disjoint, stratified partition (70/15/15 %), named "holdout".

    Groups are taken from the largest to the smallest, in random order among equals; each goes
    to the part that lacks the largest share of what it should hold of that group's strata.
    """
    codes, strata = _codes(corpus.groups), _strata(corpus, stratum)
    counts = np.zeros((codes.max() + 1, strata.max() + 1))
    np.add.at(counts, (codes, strata), 1)
    wanted = np.outer(_HOLDOUT, counts.sum(axis=0))
    missing = wanted.copy()
    part_of_group = np.empty(len(counts), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(counts))
    for group in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        part = int(np.argmax((missing / wanted) @ counts[group]))
        part_of_group[group] = part
        missing[part] -= counts[group]
    # _fold takes test as 0 and validation as 1
    return Split("holdout", (_fold(corpus.ids, 2 - part_of_group[codes]),))


def nested_cross_validation(
    corpus: Corpus, *, seed: int = 0, stratum: Stratum = unstratified
) -> Split:
    """Group-disjoint nested cross-validation, 5 x 5 folds, named "nested5x5".

    The clips are cut into outer parts, and what is left without part o into inner parts again.
    Fold 5 o + i tests on outer part o and validates on inner part i of the rest: the validation
    clips stop the training, the test clips are used once. Of each clip five models are
    tested that differ in their training clips.
    """
    strata = _strata(corpus, stratum)
    folds = _nested(tuple(corpus.ids), tuple(corpus.groups), tuple(strata.tolist()), seed)
    return Split(NESTED, folds)


# Takes a second or more, and is called once a run
@lru_cache(maxsize=8)
def _nested(
    ids: tuple[str, ...], groups: tuple[str, ...], strata: tuple[int, ...], seed: int
) -> tuple[Fold, ...]:
    codes, classes = _codes(groups), np.asarray(strata)
    outer = _parts(codes, classes, N_OUTER, seed)
    folds = []
    for tested in range(N_OUTER):
        rest = outer != tested
        part = np.zeros(len(ids), dtype=np.int64)
        inner = _parts(codes[rest], classes[rest], N_INNER, seed)
        for validated in range(N_INNER):
            # _fold takes test as 0 and validation as 1
            part[rest] = np.where(inner == validated, 1, 2)
            folds.append(_fold(ids, part))
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


def _strata(corpus: Corpus, stratum: Stratum) -> np.ndarray:
    """Number of the stratum of each clip, shape (n,)."""
    strata = [stratum(clip) for clip in corpus]
    known = [value for value in strata if value is not None]
    if len(known) < len(strata):
        what = getattr(stratum, "__name__", "stratum")
        raise MissingDataError(
            f"corpus {corpus.name!r}: {len(strata) - len(known)} clips have no {what}, which "
            "cross-validation needs for stratification"
        )
    return _codes(known)


def _codes(names: Sequence[str | int]) -> np.ndarray:
    """Number of each name among the sorted names, shape (n,)."""
    return np.unique(np.asarray(names), return_inverse=True)[1]


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


def _fold(ids: Sequence[str], part: np.ndarray) -> Fold:
    """Test where `part` is 0, validation where it is 1, training elsewhere."""
    names = np.asarray(ids)
    fold = Fold(
        train=tuple(names[part > 1].tolist()),
        valid=tuple(names[part == 1].tolist()),
        test=tuple(names[part == 0].tolist()),
    )
    for name in ("train", "valid", "test"):
        if not getattr(fold, name):
            raise ParameterError(
                f"the {name} part would be empty; take fewer folds, other fractions or more groups"
            )
    return fold
