"""How well wrong labels are found, where it is known which are wrong.

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
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student

from mer.errors import ParameterError
from mer.evaluation.uncertainty import Difference

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
    clean_probability : array_like, shape (n,)
        In [0, 1].
    noisy : array_like of bool, shape (n,)
        Whether the label of a sample is wrong.
    clips : array_like, shape (n,)
        Clip of each sample.
    threshold : float
        A sample is called noisy if its probability is not larger.

    Raises
    ------
    ParameterError
        If there are no samples, lengths differ, or a probability is not in [0, 1].
    """
    clean, wrong, owners = _checked(clean_probability, noisy, clips)
    found = _weighted(clean, wrong, owners, np.ones((1, len(clean))), threshold)
    return NoiseDetection(len(clean), **{name: float(value[0]) for name, value in found.items()})


def _weighted(
    clean: np.ndarray, wrong: np.ndarray, clips: np.ndarray, weights: np.ndarray, threshold: float
) -> dict[str, np.ndarray]:
    """Fields of `NoiseDetection` but n, by name, for weights of shape (m, n); shape (m,) each."""
    flagged = clean <= threshold
    total, noisy, called, hits = (
        (weights * kind).sum(axis=1)
        for kind in (np.ones(len(clean)), wrong, flagged, flagged & wrong)
    )
    clip_weights, values = _auc_by_clip(clean, wrong, clips, weights)
    return {
        "noisy": _ratio(noisy, total),
        "flagged": _ratio(called, total),
        "precision": _ratio(hits, called),
        "recall": _ratio(hits, noisy),
        "auc": auc(-clean, wrong, weights),
        "auc_within": _ratio((clip_weights * values).sum(axis=1), clip_weights.sum(axis=1)),
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _auc_by_clip(
    clean: np.ndarray, wrong: np.ndarray, clips: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights, shape (m, k), and AUC, shape (k,), of the clips that have samples of both kinds."""
    members = _members(clips)
    values = np.asarray([float(auc(-clean[own], wrong[own])) for own in members])
    both = np.isfinite(values)
    first = np.asarray([own[0] for own in members])
    return weights[:, first[both]], values[both]


def auc(scores: ArrayLike, positive: ArrayLike, weights: ArrayLike | None = None) -> np.ndarray:
    """Area under the ROC curve for many weightings of the same samples at once.

    Parameters
    ----------
    scores : array_like, shape (n,)
        Larger for what is taken for positive.
    positive : array_like of bool, shape (n,)
    weights : array_like, shape (..., n), optional
        Of the samples, such as how often each stands in a bootstrap resample; 1 if None.

    Returns
    -------
    np.ndarray, shape (...)
        NaN where all the weight is on one kind of samples.
    """
    values, right = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    share = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=float)
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf) > 0)
    up, down = (
        np.add.reduceat((share * kind)[..., order], starts, axis=-1) for kind in (right, ~right)
    )
    below = np.cumsum(down, axis=-1) - down / 2
    pairs = up.sum(axis=-1) * down.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        area: np.ndarray = (up * below).sum(axis=-1) / np.where(pairs > 0, pairs, np.nan)
    return area


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
    clean_probability, noisy, clips : array_like, shape (n,)
        As in `noise_detection`; one entry a model and sample of it.
    groups, models : array_like, shape (n,)
        Group (song) of the sample's clip, and model that divided it.
    threshold : float
        As in `noise_detection`.
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
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    n_groups = codes.max() + 1
    drawn = np.random.default_rng(seed).integers(n_groups, size=(n_resamples, n_groups))
    counts = np.stack([np.bincount(row, minlength=n_groups) for row in drawn])
    weights = np.vstack([np.ones(n_groups), counts])[:, codes]
    by_model = [
        _weighted(clean[own], wrong[own], owners[own], weights[:, own], threshold)
        for own in _members(np.asarray(models))
    ]
    return {
        name: _over_models(np.stack([model[name] for model in by_model])) for name in by_model[0]
    }


def _over_models(values: np.ndarray) -> Difference:
    """Mean and interval of values, shape (n_models, 1 + n_resamples), the first one as found."""
    known = np.isfinite(values)
    means = _ratio(np.where(known, values, 0).sum(axis=0), known.sum(axis=0))
    usable = means[1:][np.isfinite(means[1:])]
    if not len(usable) or np.isnan(means[0]):
        return Difference(float(means[0]), np.nan, np.nan)
    low, high = np.quantile(usable, (0.025, 0.975))
    return Difference(float(means[0]), float(low), float(high))


def _members(names: np.ndarray) -> list[np.ndarray]:
    """Places of each name, names sorted."""
    codes = np.unique(names, return_inverse=True)[1]
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])


def fold_interval(values: ArrayLike) -> Difference:
    """Mean over folds with Student's 95 % interval; folds without a value (NaN) do not count.

    Folds share most of their training clips, so the interval is too narrow if anything. From
    fewer than three folds none is given, as it would tell nothing: its ends are NaN.

    Parameters
    ----------
    values : array_like, shape (n_folds,)
    """
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    if len(known) < _FEWEST_FOLDS:
        return Difference(float(known.mean()) if len(known) else np.nan, np.nan, np.nan)
    half = student.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    mean = float(known.mean())
    return Difference(mean, mean - float(half), mean + float(half))


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
