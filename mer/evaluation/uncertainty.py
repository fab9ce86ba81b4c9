"""How sure a figure is: intervals and tests that respect groups of related clips.

Clips of one song are alike, so the song, not the clip, is the unit that is drawn again
(the cluster bootstrap [1]_, [2]_). Two systems are compared on the same clips: exactly, by
McNemar's test [3]_, [4]_, which takes clips as independent, or by a paired bootstrap over groups.

References
----------
.. [1] B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall, 1993.
.. [2] A. C. Cameron, J. B. Gelbach and D. L. Miller, "Bootstrap-based improvements for inference
   with clustered errors", Review of Economics and Statistics 90(3), 414-427, 2008.
.. [3] Q. McNemar, "Note on the sampling error of the difference between correlated proportions
   or percentages", Psychometrika 12(2), 153-157, 1947.
.. [4] T. G. Dietterich, "Approximate statistical tests for comparing supervised classification
   learning algorithms", Neural Computation 10(7), 1895-1923, 1998.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from mer.errors import ParameterError

_SMALLEST_USABLE_SHARE = 2 / 3


class Interval(NamedTuple):
    """Ends of a confidence interval."""

    low: float
    high: float


class Difference(NamedTuple):
    """Mean difference of two systems, and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def group_bootstrap(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a mean over clips, resampling whole groups.

    Parameters
    ----------
    values : array_like, shape (n,) or (n_seeds, n)
        One value a clip, such as correct (1) or not (0). With several training seeds, each
        clip's mean over seeds is taken first: the interval then belongs to the mean accuracy
        of these seeds.
    groups : array_like, shape (n,)
        Group of each clip.
    n_resamples : int
    level : float
        Coverage, in (0, 1).
    seed : int

    Returns
    -------
    Interval
        In the unit of `values`.

    Raises
    ------
    ParameterError
        If there are no values, one is not finite, lengths differ, there are fewer than two
        groups, or `level` or `n_resamples` is out of range.

    Notes
    -----
    As many groups are drawn as there are, with replacement, each with all its clips [2]_. Where
    every clip is a group of its own, this is the ordinary bootstrap [1]_. Intervals are too short
    where groups are few (below about 30).
    """
    per_clip = _per_clip(values)
    codes = _group_codes(groups, len(per_clip))
    sums = np.bincount(codes, weights=per_clip)
    sizes = np.bincount(codes)
    drawn = _draw_groups(len(sizes), n_resamples, seed)
    return _interval(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), level)


def group_bootstrap_metric(
    metric: Callable[..., float],
    arrays: Sequence[ArrayLike],
    groups: ArrayLike,
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of any metric, such as F1 or R2, resampling whole groups.

    Parameters
    ----------
    metric : callable
        Takes the resampled arrays in order and returns a number.
    arrays : sequence of array_like, each of shape (n, ...)
        Such as targets and predictions.
    groups, n_resamples, level, seed
        As in `group_bootstrap`, which is faster for means.

    Returns
    -------
    Interval

    Raises
    ------
    ParameterError
        As in `group_bootstrap`, or if the metric of a resample is not finite.
    """
    columns = [np.asarray(array) for array in arrays]
    if not columns or len({len(column) for column in columns}) > 1:
        raise ParameterError(
            f"found arrays of lengths {[len(column) for column in columns]}; "
            "expected one or more of equal length"
        )
    for column in columns:
        _check_finite(column)
    codes = _group_codes(groups, len(columns[0]))
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    resampled = []
    for drawn in _draw_groups(len(members), n_resamples, seed):
        clips = np.concatenate([members[code] for code in drawn])
        resampled.append(metric(*(column[clips] for column in columns)))
    return _interval(np.asarray(resampled, dtype=float), level)


def paired_bootstrap_difference(
    a: ArrayLike,
    b: ArrayLike,
    groups: ArrayLike,
    *,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Mean of `a` - `b` on the same clips, with its group bootstrap interval.

    Parameters
    ----------
    a, b : array_like, shape (n,) or (n_seeds, n)
        Values of two systems for the same clips in the same order; the numbers of seeds may
        differ, since each clip's mean over seeds is taken first.
    groups, n_resamples, level, seed
        As in `group_bootstrap`.

    Returns
    -------
    Difference
        In the unit of the values; the systems differ at this level if 0 is outside.

    Raises
    ------
    ParameterError
        As in `group_bootstrap`, or if `a` and `b` differ in their number of clips.
    """
    first, second = _per_clip(a), _per_clip(b)
    _check_same_length(first, second)
    gain = first - second
    interval = group_bootstrap(gain, groups, n_resamples=n_resamples, level=level, seed=seed)
    return Difference(float(gain.mean()), *interval)


def resampled_regression(
    target: ArrayLike,
    predicted: ArrayLike,
    groups: ArrayLike,
    models: ArrayLike,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """RMSE and R2, averaged over models, in bootstrap resamples of whole groups.

    A resample draws groups once for all models, and each model is scored on those of its own test
    clips that were drawn. Two systems that were tested on the same groups meet the same resamples,
    so their scores may be subtracted, resample by resample.

    Parameters
    ----------
    target, predicted : array_like of float, shape (n,)
        One entry a model and test clip of it.
    groups, models : array_like, shape (n,)
        Group of the clip, and model (such as the fold) that predicted it.
    n_resamples, seed : int
        As in `group_bootstrap`.

    Returns
    -------
    dict of str to np.ndarray, shape (n_resamples,) or shorter
        "rmse" and "r2".

    Raises
    ------
    ParameterError
        As in `group_bootstrap`, or if a third of the resamples or more leave no model with two
        different targets: there are too few groups.

    Notes
    -----
    Models that a resample leaves with fewer than two different targets do not enter its means, and
    resamples that leave no model are left out: the same ones for all systems that were tested on
    the same clips.
    """
    true, given = np.asarray(target, dtype=float), np.asarray(predicted, dtype=float)
    _check_same_length(true, given)
    for values in (true, given):
        _check_finite(values)
    codes = _group_codes(groups, len(true))
    owners = np.unique(np.asarray(models), return_inverse=True)[1]
    _check_same_length(true, owners)
    shape = (codes.max() + 1, owners.max() + 1)
    place = codes * shape[1] + owners
    drawn = _draw_groups(shape[0], n_resamples, seed)
    weights = np.stack([np.bincount(row, minlength=shape[0]) for row in drawn]).astype(float)

    def summed(values: np.ndarray) -> np.ndarray:
        by_group = np.bincount(place, weights=values, minlength=shape[0] * shape[1])
        return weights @ by_group.reshape(shape)

    count = summed(np.ones(len(true)))
    error, first, second = (summed(v) for v in ((true - given) ** 2, true, true**2))
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = second - first**2 / count
        usable = spread > 1e-12 * np.maximum(second, 1e-300)
        scores = {"rmse": np.sqrt(error / count), "r2": 1 - error / spread}
    kept = usable.any(axis=1)
    if kept.mean() <= _SMALLEST_USABLE_SHARE:
        raise ParameterError(
            f"found {shape[0]} groups and {shape[1]} models: {1 - kept.mean():.0%} of the "
            "resamples left no model with two different targets; expected more groups a model"
        )
    return {
        name: np.nanmean(np.where(usable, values, np.nan)[kept], axis=1)
        for name, values in scores.items()
    }


def resampled_f1(
    target: ArrayLike,
    predicted: ArrayLike,
    groups: ArrayLike,
    *,
    positive: int | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """F1 in bootstrap resamples of whole groups.

    Parameters
    ----------
    target, predicted : array_like of int, shape (n,)
        Classes of clips.
    groups : array_like, shape (n,)
    positive : int, optional
        Class whose F1 it is; if None, F1 is averaged over the classes of the resample (macro).
    n_resamples, seed : int
        As in `group_bootstrap`.

    Returns
    -------
    np.ndarray, shape (n_resamples,)
        Systems that were tested on the same groups meet the same resamples.

    Raises
    ------
    ParameterError
        As in `group_bootstrap`.
    """
    true, given = np.asarray(target), np.asarray(predicted)
    _check_same_length(true, given)
    codes = _group_codes(groups, len(true))
    classes = np.union1d(true, given) if positive is None else np.asarray([positive])
    drawn = _draw_groups(codes.max() + 1, n_resamples, seed)
    weights = np.stack([np.bincount(row, minlength=codes.max() + 1) for row in drawn]).astype(float)

    def summed(members: np.ndarray) -> np.ndarray:
        by_group = [np.bincount(codes, weights=member) for member in members]
        return np.asarray(weights @ np.stack(by_group, axis=1))

    of_class, answered = true == classes[:, None], given == classes[:, None]
    both = summed(of_class) + summed(answered)
    scores = 2 * summed(of_class & answered) / np.where(both > 0, both, np.nan)
    return np.nan_to_num(scores[:, 0]) if positive is not None else np.nanmean(scores, axis=1)


def interval(resampled: np.ndarray, level: float = 0.95) -> Interval:
    """Percentile interval of bootstrap resamples, shape (n_resamples,)."""
    return _interval(resampled, level)


def mcnemar_exact(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """Two-sided exact McNemar test that two systems err equally often on the same clips.

    Parameters
    ----------
    correct_a, correct_b : array_like of bool, shape (n,)
        Whether each system is right about each clip.

    Returns
    -------
    float
        p value, in (0, 1]; 1 where both are right about the same clips.

    Raises
    ------
    ParameterError
        If the arrays are empty, differ in length, or hold anything but 0 and 1.

    Notes
    -----
    Only clips about which one system alone is right count; under the null hypothesis either is
    the one with probability 1/2 [3]_. The test takes clips as independent: where groups hold
    several, prefer `paired_bootstrap_difference`.
    """
    first, second = np.asarray(correct_a), np.asarray(correct_b)
    for correct in (first, second):
        if correct.ndim != 1 or not np.isin(correct, (0, 1)).all():
            raise ParameterError("expected one row of right (1) or wrong (0), one entry a clip")
        _check_finite(correct)
    _check_same_length(first, second)
    only_first = int(np.sum(first > second))
    only_second = int(np.sum(second > first))
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


def _per_clip(values: ArrayLike) -> np.ndarray:
    """Mean over seeds, shape (n,)."""
    array = np.asarray(values, dtype=float)
    if array.ndim not in (1, 2):
        raise ParameterError(f"found values of shape {array.shape}; expected (n,) or (n_seeds, n)")
    _check_finite(array)
    return np.atleast_2d(array).mean(axis=0)


def _check_finite(array: np.ndarray) -> None:
    if not array.size:
        raise ParameterError("there are no values; expected one or more a clip")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ParameterError("a value is not finite; leave out clips without a value")


def _check_same_length(first: np.ndarray, second: np.ndarray) -> None:
    if len(first) != len(second):
        raise ParameterError(
            f"found {len(first)} and {len(second)} clips; expected two systems on the same clips"
        )


def _group_codes(groups: ArrayLike, n_clips: int) -> np.ndarray:
    names = np.asarray(groups)
    if names.shape != (n_clips,):
        raise ParameterError(f"found groups of shape {names.shape} for {n_clips} clips")
    codes = np.unique(names, return_inverse=True)[1]
    if codes.max() == 0:
        raise ParameterError("all clips are of one group; expected two groups or more")
    return codes


def _draw_groups(n_groups: int, n_resamples: int, seed: int) -> np.ndarray:
    """Group codes, shape (n_resamples, n_groups)."""
    if n_resamples < 1:
        raise ParameterError(f"n_resamples is {n_resamples}; expected 1 or more")
    return np.random.default_rng(seed).integers(n_groups, size=(n_resamples, n_groups))


def _interval(resampled: np.ndarray, level: float) -> Interval:
    if not 0 < level < 1:
        raise ParameterError(f"level is {level}; expected a number between 0 and 1, such as 0.95")
    if not np.isfinite(resampled).all():
        raise ParameterError("the metric of a resample is not finite; choose another metric")
    tail = (1 - level) / 2
    low, high = np.quantile(resampled, [tail, 1 - tail])
    return Interval(float(low), float(high))
