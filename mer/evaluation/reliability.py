"""How reliable averaged ratings are: what limits the agreement of any model with them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mer.errors import ParameterError


class Reliability(NamedTuple):
    """Split-half reliability: mean and standard deviation over random halves."""

    mean: float
    std: float


def split_half_reliability(
    ratings: ArrayLike, items: ArrayLike, *, n_splits: int = 1000, seed: int = 0
) -> Reliability:
    """Reliability of items' mean ratings, by correlating random halves of their ratings.

    The ratings of each item are dealt at random into two halves (of an odd number, either half
    gets one more with equal chance). The items' means in the halves have correlation r; means
    over all ratings, twice as many, have reliability 2 r / (1 + r) [1]_, [2]_. That is averaged
    over `n_splits` random halvings.

    The reliability is the share of the variance of the mean ratings that would come back with
    other raters. A model that knew the expected rating of every item exactly would reach, on
    average, an R2 of that much: more is luck or leakage.

    Parameters
    ----------
    ratings : array_like of float, shape (n,)
        One value a rating.
    items : array_like, shape (n,)
        What was rated; two ratings or more for each item.
    n_splits : int
    seed : int

    Returns
    -------
    Reliability
        At most 1.

    Raises
    ------
    ParameterError
        If lengths differ, a rating is not finite, there are fewer than three items, an item has
        one rating only, `n_splits` is not positive, or all items have the same mean.

    References
    ----------
    .. [1] C. Spearman, "Correlation calculated from faulty data", British Journal of Psychology
       3(3), 271-295, 1910.
    .. [2] W. Brown, "Some experimental results in the correlation of mental abilities", British
       Journal of Psychology 3(3), 296-322, 1910.
    """
    values, codes = _checked(ratings, items)
    if n_splits < 1:
        raise ParameterError(f"n_splits is {n_splits}; expected 1 or more")
    rng = np.random.default_rng(seed)
    found = np.asarray([_corrected(*_half_means(values, codes, rng)) for _ in range(n_splits)])
    return Reliability(float(found.mean()), float(found.std()))


def _checked(ratings: ArrayLike, items: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Ratings sorted by item, and the number of each one's item."""
    values, names = np.asarray(ratings, dtype=float), np.asarray(items)
    if values.ndim != 1 or values.shape != names.shape:
        raise ParameterError(
            f"found ratings of shape {values.shape} and items of shape {names.shape}; "
            "expected two rows of equal length"
        )
    if not np.isfinite(values).all():
        raise ParameterError("a rating is not a finite number")
    unique, codes, counts = np.unique(names, return_inverse=True, return_counts=True)
    if len(unique) < 3:
        raise ParameterError(f"found {len(unique)} items; expected 3 or more")
    if counts.min() < 2:
        raise ParameterError(f"item {unique[counts.argmin()]!s} has one rating; expected 2 or more")
    order = np.argsort(codes, kind="stable")
    return values[order], codes[order]


def _half_means(
    values: np.ndarray, codes: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean rating of each item in two random halves, each of shape (n_items,)."""
    # Codes are sorted whole numbers: adding less than 1 shuffles within items only
    shuffled = values[np.argsort(codes + rng.random(len(codes)))]
    rank = np.arange(len(codes)) - np.searchsorted(codes, codes)
    first = rng.integers(0, 2, codes[-1] + 1)
    half = (rank + first[codes]) % 2
    means = [
        np.bincount(codes[half == side], shuffled[half == side]) / np.bincount(codes[half == side])
        for side in (0, 1)
    ]
    return means[0], means[1]


def _corrected(first: np.ndarray, second: np.ndarray) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        raise ParameterError("all items have the same mean rating; a correlation has no value")
    r = np.corrcoef(first, second)[0, 1]
    return float(2 * r / (1 + r))
