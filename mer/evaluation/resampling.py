"""Bootstrap intervals and tests that respect groups of related clips.

Clips of one song are similar, so the song, not the clip, is the resampling unit
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

from copy import deepcopy
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
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


class Resampler:
    """Bootstrap resamples of whole groups of clips [2]_.

    As many groups are drawn as there are, with replacement, each with all its clips. Where every
    clip is a group of its own, this is the ordinary bootstrap [1]_. Resamplers of the same groups
    and seed draw the same resamples, so what two of them give may be subtracted.

    Parameters
    ----------
    groups : array_like, shape (n,)
        Group of each clip; groups are numbered in sorted order.
    n_resamples : int
    seed : int

    Attributes
    ----------
    codes : np.ndarray of int, shape (n,)
        Number of each clip's group.
    weights : np.ndarray of float, shape (n_resamples, n_groups)
        How often each resample has each group; read-only.
    sizes : np.ndarray of float, shape (n_resamples,)
        Number of clips of each resample.

    Raises
    ------
    ParameterError
        If there are no clips, `groups` is not one row, or `n_resamples` is not positive.
    """

    def __init__(self, groups: ArrayLike, *, n_resamples: int = 2000, seed: int = 0) -> None:
        names = np.asarray(groups)
        if names.ndim != 1 or not names.size:
            raise ParameterError(f"found groups of shape {names.shape}; expected one for each clip")
        if n_resamples < 1:
            raise ParameterError(f"n_resamples is {n_resamples}; expected 1 or more")
        self.codes = pd.factorize(names, sort=True, use_na_sentinel=False)[0]
        weights, rng = _draw(self.codes.max() + 1, n_resamples, seed)
        self.weights, self._rng = weights, deepcopy(rng)
        self.sizes = self.sums(np.ones(names.size))

    def sums(self, values: ArrayLike) -> np.ndarray:
        """Sums of values, shape (n, ...), over the clips of each resample, (n_resamples, ...)."""
        array = np.asarray(values, dtype=float)
        columns = array.reshape(len(array), -1).T
        by_group = np.stack([np.bincount(self.codes, column) for column in columns], axis=1)
        return (self.weights @ by_group).reshape(-1, *array.shape[1:])

    def means(self, values: ArrayLike) -> np.ndarray:
        """Means over the clips of each resample; shapes as in `sums`."""
        return (self.sums(values).T / self.sizes).T

    def seed_weights(self, n_seeds: int) -> np.ndarray:
        """Shares of training seeds drawn with replacement in this call, (n_resamples, n_seeds)."""
        return _multiplicities(self._rng, len(self.weights), n_seeds) / n_seeds

    def sums_over_seeds(self, values: ArrayLike) -> np.ndarray:
        """Sums over clips and means over training seeds, drawn in this call, of (n, n_seeds)."""
        summed = self.sums(values)
        return (self.seed_weights(summed.shape[1]) * summed).sum(axis=1)


@lru_cache(maxsize=4)
def _draw(n_groups: int, n_resamples: int, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    """Weights of a resampler, and the generator that drew them."""
    rng = np.random.default_rng(seed)
    weights = _multiplicities(rng, n_resamples, n_groups)
    weights.flags.writeable = False
    return weights, rng


def _multiplicities(rng: np.random.Generator, n_resamples: int, n: int) -> np.ndarray:
    """How often each of n is drawn in n draws, shape (n_resamples, n)."""
    drawn = rng.integers(n, size=(n_resamples, n))
    drawn += np.arange(n_resamples)[:, None] * n
    counts = np.bincount(drawn.ravel(), minlength=n_resamples * n)
    return counts.reshape(n_resamples, n).astype(float)


def interval(resampled: np.ndarray) -> Interval:
    """95 % percentile interval of bootstrap resamples, shape (n_resamples,), all of them finite."""
    if not np.isfinite(resampled).all():
        raise ParameterError("the metric of a resample is not finite; choose another metric")
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Interval(float(low), float(high))


def group_bootstrap(
    values: ArrayLike, groups: ArrayLike, *, n_resamples: int = 2000, seed: int = 0
) -> Interval:
    """95 % percentile bootstrap interval of a mean over clips, resampling whole groups.

    Parameters
    ----------
    values : array_like, shape (n,) or (n_seeds, n)
        One value a clip, such as correct (1) or not (0). With several training seeds, each
        clip's mean over seeds is taken first: the interval then belongs to the mean accuracy
        of these seeds.
    groups : array_like, shape (n,)
    n_resamples, seed : int

    Returns
    -------
    Interval
        In the unit of `values`. It is too short where groups are few (below about 30).

    Raises
    ------
    ParameterError
        If there are no values, one is not finite, lengths differ, there are fewer than two
        groups, or `n_resamples` is not positive.
    """
    per_clip = _per_clip(values)
    resampler = _resampler(groups, len(per_clip), n_resamples, seed)
    return interval(resampler.means(per_clip))


def difference(
    first: ArrayLike,
    second: ArrayLike,
    groups: ArrayLike,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Mean difference of two systems on the same clips, with a 95 % percentile interval.

    A resample draws groups, each with all its clips and for both systems, and training seeds, for
    each system by itself: a network that is trained again predicts differently, which groups alone
    do not show. From few seeds their spread comes out too small, from one not at all.

    Parameters
    ----------
    first, second : array_like, shape (n_clips, n_seeds)
        Values of both systems, such as right (1) or wrong (0); the numbers of seeds may differ.
    groups : array_like, shape (n_clips,)
    n_resamples, seed : int

    Raises
    ------
    ParameterError
        If the numbers of clips differ, or a value is not finite.
    """
    tables = [np.asarray(values, dtype=float) for values in (first, second)]
    _check_same_length(*tables)
    for table in tables:
        _check_finite(table)
    resampler = Resampler(groups, n_resamples=n_resamples, seed=seed)
    one, other = (resampler.sums_over_seeds(table) for table in tables)
    mean = float(tables[0].mean() - tables[1].mean())
    return Difference(mean, *interval((one - other) / resampler.sizes))


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
    owners = np.unique(np.asarray(models), return_inverse=True)[1]
    _check_same_length(true, given)
    _check_same_length(true, owners)
    for values in (true, given):
        _check_finite(values)
    resampler = _resampler(groups, len(true), n_resamples, seed)
    own = np.eye(owners.max() + 1)[owners]
    statistics = [np.ones(len(true)), (true - given) ** 2, true, true**2]
    summed = resampler.sums(np.concatenate([own * s[:, None] for s in statistics], axis=1))
    count, error, first, second = np.split(summed, len(statistics), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = second - first**2 / count
        usable = spread > 1e-12 * np.maximum(second, 1e-300)
        scores = {"rmse": np.sqrt(error / count), "r2": 1 - error / spread}
    scored = usable.any(axis=1)
    if scored.mean() <= _SMALLEST_USABLE_SHARE:
        raise ParameterError(
            f"found {resampler.weights.shape[1]} groups and {own.shape[1]} models: "
            f"{1 - scored.mean():.0%} of the resamples left no model with two different targets; "
            "expected more groups a model"
        )
    return {
        name: np.nanmean(np.where(usable, values, np.nan)[scored], axis=1)
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

    Returns
    -------
    np.ndarray, shape (n_resamples,)
    """
    true, given = np.asarray(target), np.asarray(predicted)
    _check_same_length(true, given)
    resampler = _resampler(groups, len(true), n_resamples, seed)
    classes = np.union1d(true, given) if positive is None else np.asarray([positive])
    of_class, answered = true[:, None] == classes, given[:, None] == classes
    # A clip counts twice where the class is both its label and the prediction
    both = resampler.sums(of_class.astype(float) + answered)
    scores = 2 * resampler.sums(of_class & answered) / np.where(both > 0, both, np.nan)
    return np.nan_to_num(scores[:, 0]) if positive is not None else np.nanmean(scores, axis=1)


def mcnemar_exact(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """Two-sided exact McNemar test that two systems err equally often on the same clips.

    Only clips about which one system alone is right count; under the null hypothesis either is
    the one with probability 1/2 [3]_. The test takes clips as independent: where groups hold
    several, prefer `difference`.

    Parameters
    ----------
    correct_a, correct_b : array_like of bool, shape (n,)
        Whether each system is right about each clip.

    Returns
    -------
    float
        p value, in (0, 1]; 1 where both are right about the same clips.
    """
    first, second = np.asarray(correct_a), np.asarray(correct_b)
    for correct in (first, second):
        if correct.ndim != 1 or not np.isin(correct, (0, 1)).all():
            raise ParameterError("expected one row of right (1) or wrong (0), one entry a clip")
        _check_finite(correct)
    _check_same_length(first, second)
    only_first, only_second = np.sum(first > second), np.sum(second > first)
    n = int(only_first + only_second)
    return float(binomtest(int(only_first), n).pvalue) if n else 1.0


def _per_clip(values: ArrayLike) -> np.ndarray:
    """Mean over seeds, shape (n,)."""
    array = np.asarray(values, dtype=float)
    if array.ndim not in (1, 2):
        raise ParameterError(f"found values of shape {array.shape}; expected (n,) or (n_seeds, n)")
    _check_finite(array)
    return np.atleast_2d(array).mean(axis=0)


def _resampler(groups: ArrayLike, n_clips: int, n_resamples: int, seed: int) -> Resampler:
    """A resampler of two groups or more, one for each clip."""
    names = np.asarray(groups)
    if names.shape != (n_clips,):
        raise ParameterError(f"found groups of shape {names.shape} for {n_clips} clips")
    resampler = Resampler(names, n_resamples=n_resamples, seed=seed)
    if resampler.weights.shape[1] == 1:
        raise ParameterError("all clips are of one group; expected two groups or more")
    return resampler


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
