"""Quality of labels: reliability of averaged ratings, and detection of wrong labels.

A label is called noisy where the posterior probability that it is clean is at most a threshold, as
self-learning divides its training samples [1]_. The positive class is "noisy".

References
----------
.. [1] Sun, Zhang, Zhou and Li: Semi-supervised self-learning enhanced music emotion recognition.
   2024, section 2.1.2.
.. [2] J. A. Hanley and B. J. McNeil, "The meaning and use of the area under a receiver operating
   characteristic (ROC) curve", Radiology 143, 29-36, 1982.
.. [3] A. C. Cameron, J. B. Gelbach and D. L. Miller, "Bootstrap-based improvements for inference
   with clustered errors", Review of Economics and Statistics 90(3), 414-427, 2008.
.. [4] C. Spearman, "Correlation calculated from faulty data", British Journal of Psychology 3(3),
   271-295, 1910.
.. [5] W. Brown, "Some experimental results in the correlation of mental abilities", British
   Journal of Psychology 3(3), 296-322, 1910.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from mer.errors import ParameterError
from mer.evaluation.resampling import Difference, Resampler

_FEWEST_FOLDS = 3


class NoiseDetection(NamedTuple):
    """How well one division finds the wrong labels.

    Attributes
    ----------
    n : int
        Samples.
    noisy, flagged : float
        Share of the samples whose label is wrong, and of those that are called noisy.
    precision : float
        Share of those called noisy that are; NaN if there are none.
    recall : float
        Share of the noisy ones that are called so; NaN if there are none.
    auc : float
        Area under the ROC curve: how often a noisy sample has a lower probability of being clean
        than a clean one, ties counting half [2]_. NaN if all samples are of one kind.
    auc_within : float
        The same among the samples of one clip only, averaged over the clips that have both kinds;
        NaN if none has.
    """

    n: int
    noisy: float
    flagged: float
    precision: float
    recall: float
    auc: float
    auc_within: float


def noise_detection(
    clean_probability: ArrayLike, noisy: ArrayLike, clips: ArrayLike, *, threshold: float = 0.5
) -> NoiseDetection:
    """Scores of a division of samples into clean and noisy ones.

    Parameters
    ----------
    clean_probability, noisy, clips : array_like, shape (n,)
        Probability that the label of a sample is right, whether it is wrong, and its clip.
    threshold : float
        A sample is called noisy if its probability is not larger.

    Raises
    ------
    ParameterError
        If there are no samples, lengths differ, or a probability is not in [0, 1].
    """
    clean, wrong, owners = _checked(clean_probability, noisy, clips)
    scores = _scores(clean, wrong, owners, _one_group(clean), np.ones((1, 1)), threshold)
    return NoiseDetection(len(clean), **{name: float(value[0]) for name, value in scores.items()})


def _one_group(values: np.ndarray) -> np.ndarray:
    return np.zeros(len(values), dtype=int)


def _scores(
    clean: np.ndarray,
    wrong: np.ndarray,
    clips: np.ndarray,
    codes: np.ndarray,
    weights: np.ndarray,
    threshold: float,
) -> dict[str, np.ndarray]:
    """Fields of `NoiseDetection` but n, by name, shape (m,) each.

    Samples count as often as their group, `codes` of shape (n,), in `weights`, shape (m, n_groups).
    """
    flagged = clean <= threshold
    kinds = np.stack([np.ones(len(clean)), wrong, flagged, flagged & wrong], axis=1)
    total, noisy, called, hits = (weights @ _by_group(kind, codes, weights) for kind in kinds.T)
    clip_auc, clip_codes = _clip_auc(clean, wrong, clips, codes)
    values, count = (
        weights @ _by_group(v, clip_codes, weights) for v in (clip_auc, np.ones(len(clip_auc)))
    )
    return {
        "noisy": _ratio(noisy, total),
        "flagged": _ratio(called, total),
        "precision": _ratio(hits, called),
        "recall": _ratio(hits, noisy),
        "auc": _auc(-clean, wrong, codes, weights),
        "auc_within": _ratio(values, count),
    }


def _by_group(values: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.bincount(codes, values, weights.shape[1])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _clip_auc(
    clean: np.ndarray, wrong: np.ndarray, clips: np.ndarray, codes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUC and group of each clip that has samples of both kinds."""
    both = [own for own in _members(clips) if 0 < wrong[own].sum() < len(own)]
    one = np.ones((1, 1))
    values = [_auc(-clean[own], wrong[own], _one_group(own), one)[0] for own in both]
    return np.asarray(values, dtype=float), codes[[own[0] for own in both]]


def _auc(
    scores: np.ndarray, positive: np.ndarray, codes: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Area under the ROC curve for each row of group weights; NaN where one kind has no weight.

    It is the share of the pairs of a positive and a negative sample in which the positive one has
    the larger score, ties counting half. Pairs are counted once for each two groups.
    """
    levels = np.unique(scores, return_inverse=True)[1]
    shape = (levels.max() + 1, weights.shape[1])
    cells = levels * shape[1] + codes
    up, down = (
        np.bincount(cells, kind, shape[0] * shape[1]).reshape(shape)
        for kind in (positive, ~positive)
    )
    ordered = up.T @ (np.cumsum(down, axis=0) - down / 2)
    pairs = (weights @ up.sum(axis=0)) * (weights @ down.sum(axis=0))
    return _ratio(((weights @ ordered) * weights).sum(axis=1), pairs)


def detection_by_groups(
    clean_probability: ArrayLike,
    noisy: ArrayLike,
    clips: ArrayLike,
    groups: ArrayLike,
    models: ArrayLike,
    *,
    threshold: float = 0.5,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Scores of divisions by several models, with 95 % intervals that draw groups again.

    Each resample draws groups once for all models, which were trained on overlapping sets [3]_.

    Parameters
    ----------
    clean_probability, noisy, clips, threshold
        As in `noise_detection`; one entry a model and sample of it.
    groups, models : array_like, shape (n,)
        Group (song) of the sample's clip, and model that divided it.
    n_resamples, seed : int

    Returns
    -------
    dict of str to Difference
        By field of `NoiseDetection` but n: mean over models, and its interval. Models without a
        value do not count; without any it is NaN.

    Raises
    ------
    ParameterError
        As in `noise_detection`.
    """
    clean, wrong, owners = _checked(clean_probability, noisy, clips)
    resampler = Resampler(groups, n_resamples=n_resamples, seed=seed)
    codes, weights = resampler.codes, resampler.weights
    weights = np.vstack([np.ones(weights.shape[1]), weights])
    by_model = [
        _scores(clean[own], wrong[own], owners[own], codes[own], weights, threshold)
        for own in _members(np.asarray(models))
    ]
    return {
        name: _over_models(np.stack([model[name] for model in by_model])) for name in by_model[0]
    }


def _over_models(values: np.ndarray) -> Difference:
    """Mean and interval of values, shape (n_models, 1 + n_resamples), not resampled first."""
    known = np.isfinite(values)
    means = _ratio(np.where(known, values, 0).sum(axis=0), known.sum(axis=0))
    usable = means[1:][np.isfinite(means[1:])]
    if not len(usable) or np.isnan(means[0]):
        return Difference(float(means[0]), np.nan, np.nan)
    low, high = np.quantile(usable, (0.025, 0.975))
    return Difference(float(means[0]), float(low), float(high))


def _members(names: np.ndarray) -> list[np.ndarray]:
    """Indices of each name, names sorted."""
    codes = np.unique(names, return_inverse=True)[1]
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])


def fold_interval(values: ArrayLike) -> Difference:
    """Mean over folds with Student's 95 % interval; folds without a value (NaN) do not count.

    Folds share most of their training clips, so the interval is too narrow if anything. From
    fewer than three folds there is none: its ends are NaN.
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) < _FEWEST_FOLDS:
        return Difference(float(known.mean()) if len(known) else np.nan, np.nan, np.nan)
    mean = float(known.mean())
    half = float(student.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
    return Difference(mean, mean - half, mean + half)


def _checked(
    clean_probability: ArrayLike, noisy: ArrayLike, names: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    clean, wrong = np.asarray(clean_probability, dtype=float), np.asarray(noisy, dtype=bool)
    owners = np.asarray(names)
    if not len(clean) or not clean.shape == wrong.shape == owners.shape:
        raise ParameterError(
            f"found arrays of shapes {clean.shape}, {wrong.shape} and {owners.shape}; expected "
            "three rows of equal length, not empty"
        )
    # Written so that NaN fails
    if not np.all((clean >= 0) & (clean <= 1)):
        raise ParameterError("a probability of being clean is not in [0, 1]")
    return clean, wrong, owners


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
    over all ratings, twice as many, have reliability 2 r / (1 + r) [4]_, [5]_. That is averaged
    over `n_splits` random halvings.

    The reliability is the share of the variance of the mean ratings that would come back with
    other raters. A model that knew the expected rating of every item exactly would reach, on
    average, an R2 of that much: more is luck or leakage.

    Parameters
    ----------
    ratings, items : array_like, shape (n,)
        Each rating, and what it rates; two or more for each item.
    n_splits, seed : int

    Returns
    -------
    Reliability
        At most 1.

    Raises
    ------
    ParameterError
        If lengths differ, a rating is not finite, there are fewer than three items, an item has
        one rating only, `n_splits` is not positive, or all items have the same mean.
    """
    values, codes = _checked_ratings(ratings, items)
    if n_splits < 1:
        raise ParameterError(f"n_splits is {n_splits}; expected 1 or more")
    rng = np.random.default_rng(seed)
    coefficients = [_corrected(*_half_means(values, codes, rng)) for _ in range(n_splits)]
    return Reliability(float(np.mean(coefficients)), float(np.std(coefficients)))


def _checked_ratings(ratings: ArrayLike, items: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
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
    parts = [(codes[half == side], shuffled[half == side]) for side in (0, 1)]
    first_means, second_means = (np.bincount(*part) / np.bincount(part[0]) for part in parts)
    return first_means, second_means


def _corrected(first: np.ndarray, second: np.ndarray) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        raise ParameterError("all items have the same mean rating; a correlation has no value")
    r = np.corrcoef(first, second)[0, 1]
    return float(2 * r / (1 + r))
