"""Partitions in which no group (song, artist) stands on two sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from mer.clips import Fold
from mer.errors import ParameterError


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
        If lengths differ, an id stands twice, a label is not a whole number, or there are too
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

    Parameters
    ----------
    ids, groups, labels
        As in `grouped_folds`.
    n_outer, n_inner : int
        At least 2.
    seed : int
        Shuffles the groups.

    Returns
    -------
    list of Fold, length n_outer * n_inner
        Ids in each part keep their order in `ids`.

    Raises
    ------
    ParameterError
        As in `grouped_folds`.
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

    Parameters
    ----------
    ids, groups, labels
        As in `grouped_folds`.
    fractions : tuple of float
        Share of train, validation and test; positive, sum 1. Met as far as the groups permit.
    seed : int
        Shuffles the groups.

    Returns
    -------
    Fold
        Ids in each part keep their order in `ids`.

    Raises
    ------
    ParameterError
        If lengths differ, an id stands twice, a label is not a whole number, the fractions are
        not shares of 1, or there are too few groups to give each part one.
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
    _check_parts(n_parts, len(np.unique(codes)), int(np.bincount(classes).max()))
    splitter = StratifiedGroupKFold(n_splits=n_parts, shuffle=True, random_state=seed)
    part = np.empty(len(codes), dtype=np.int64)
    for number, (_, members) in enumerate(splitter.split(codes, classes, codes)):
        part[members] = number
    return part


def _check_parts(n_folds: int, n_groups: int, largest_class: int) -> None:
    if n_groups < n_folds:
        raise ParameterError(
            f"found {n_groups} groups for {n_folds} folds; expected a group or more for each fold"
        )
    if largest_class < n_folds:
        raise ParameterError(
            f"the largest class has {largest_class} clips for {n_folds} folds; take fewer folds"
        )


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
