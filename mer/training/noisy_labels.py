"""Labels that may be wrong: which to believe, and what to train on instead of the others.

References
----------
Sun, Zhang, Zhou and Li: Semi-supervised self-learning enhanced music emotion recognition. 2024,
sections 2.1.2 to 2.1.4.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional

from mer.errors import InvalidDataError

# Of the mixture in the code of DivideMix, which also brings the losses to [0, 1] first.
_TOLERANCE, _VARIANCE_FLOOR = 1e-2, 5e-4
_LEAST_WEIGHT, _LEAST_DISTANCE = 0.01, 0.01


@dataclass(frozen=True)
class Partition:
    """Training segments as a mixture of two Gaussians divides them by their losses.

    Attributes
    ----------
    clean_probability : np.ndarray, shape (n,)
        Posterior of the component with the smaller mean; 1 for all if it has collapsed.
    means, weights : tuple of float
        Of both components, the smaller mean first; means in nats.
    collapsed : bool
        Whether there are no two components to tell apart.
    """

    clean_probability: np.ndarray
    means: tuple[float, float]
    weights: tuple[float, float]
    collapsed: bool


def partition(losses: np.ndarray, *, threshold: float = 0.5, seed: int = 0) -> Partition:
    """Divide samples into clean and noisy ones by their losses (section 2.1.2, equation 3).

    The mixture has collapsed if the losses are all equal, if one component has less than 1 % of
    the samples or both have the same mean (within 1 % of the range), or if no sample is clean.

    Parameters
    ----------
    losses : np.ndarray, shape (n,)
        Cross-entropy of each sample with its label.
    threshold : float
        As in `SelfLearningOptions`.
    seed : int
        Of the first guess of the components.

    Raises
    ------
    InvalidDataError
        If a loss is not finite.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    if not np.isfinite(losses).all():
        raise InvalidDataError(
            f"{np.count_nonzero(~np.isfinite(losses))} of {len(losses)} segments have a loss that "
            "is not finite; expected numbers: lower the learning rate or check the features"
        )
    low, span = float(losses.min()), float(np.ptp(losses))
    if span < 1e-6 * max(abs(low), 1.0):
        return Partition(np.ones(len(losses)), (low, low), (1.0, 0.0), collapsed=True)
    values = ((losses - low) / span).reshape(-1, 1)
    mixture = GaussianMixture(2, tol=_TOLERANCE, reg_covar=_VARIANCE_FLOOR, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(values)
    order = np.argsort(mixture.means_[:, 0])
    means, weights = mixture.means_[order, 0], mixture.weights_[order]
    clean = mixture.predict_proba(values)[:, order[0]]
    collapsed = bool(
        weights.min() < _LEAST_WEIGHT
        or means[1] - means[0] < _LEAST_DISTANCE
        or not (clean > threshold).any()
    )
    return Partition(
        np.ones(len(losses)) if collapsed else clean,
        (low + span * float(means[0]), low + span * float(means[1])),
        (float(weights[0]), float(weights[1])),
        collapsed,
    )


def sharpen(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Soft labels from predictions: p^(1/T), divided by its sum.

    Equation 4 is printed with another exponent, under which the least probable class would win;
    this is the formula of the literature.

    Parameters
    ----------
    probabilities : np.ndarray, shape (n, n_classes)
    temperature : float
        T; 1 changes nothing, towards 0 the most probable class gets everything.

    Returns
    -------
    np.ndarray, shape (n, n_classes)
    """
    # Divided by the largest first, so that a low temperature does not underflow.
    largest = probabilities.max(axis=1, keepdims=True)
    powers = (probabilities / largest) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def mixup(x: Tensor, y: Tensor, order: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """Convex combinations of samples and of their labels (equation 6).

    Parameters
    ----------
    x, y : Tensor, shapes (n, ...) and (n, n_classes)
    order : Tensor, shape (n,)
        Index of the partner of each sample.
    weight : float
        delta, the share of the sample itself.
    """
    return weight * x + (1 - weight) * x[order], weight * y + (1 - weight) * y[order]


def r_drop(first: Tensor, second: Tensor) -> Tensor:
    """Symmetric divergence of two predictions of the same samples, summed (equation 8).

    Parameters
    ----------
    first, second : Tensor, shape (n, n_classes)
        Logits under two draws of the dropout; n may be 0.
    """
    p, q = functional.log_softmax(first, dim=1), functional.log_softmax(second, dim=1)
    return 0.5 * ((p.exp() - q.exp()) * (p - q)).sum()


def interleave(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Both in their order, so that every stretch has the same share of each, within one."""
    places = [(np.arange(len(part)) + 0.5) / max(len(part), 1) for part in (first, second)]
    joined = np.concatenate([first, second])
    return joined[np.argsort(np.concatenate(places), kind="stable")]
