"""Semi-supervised self-learning from segments that inherit the label of their clip (SSSL).

Some of these labels are wrong, as the emotion of a clip is not constant. After a warm-up, the
losses of the segments are split at the start of every epoch by a mixture of two Gaussians; the
segments with large losses lose their labels and get soft ones from the network itself.

References
----------
Sun, Zhang, Zhou and Li: Semi-supervised self-learning enhanced music emotion recognition. 2024,
section 2.1. What the text leaves open is as in the methods that it builds on: warm-up, threshold,
temperature, mixture and the Beta distribution as in DivideMix (Li, Socher and Hoi, ICLR 2020) and
its code, the weight of the consistency term as R-Drop has it for images (Wu et al., NeurIPS 2021).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mer.errors import InvalidDataError, ParameterError
from mer.models.vgg import VGG16
from mer.training.supervised import History, Score, epoch_seed, train
from mer.training.windows import (
    SegmentOptions,
    SegmentSet,
    clip_score,
    predict_segments,
    split_batches,
)

REVISION = 1

_SMALLEST_PROBABILITY = 1e-30

# Of the mixture in the code of DivideMix, which also brings the losses to [0, 1] first.
_TOLERANCE, _VARIANCE_FLOOR = 1e-2, 5e-4
_LEAST_WEIGHT, _LEAST_DISTANCE = 0.01, 0.01


class SelfLearningWarning(UserWarning):
    """Self-learning went on in another way than it should."""


@dataclass(frozen=True, kw_only=True)
class SelfLearningOptions(SegmentOptions):
    """How a network learns from segments whose labels may be wrong; further fields of its parents.

    Attributes
    ----------
    warm_up : int
        Epochs in which all labels are believed: at least 1, fewer than `epochs` and `patience`.
    threshold : float
        tau: a segment is clean if the probability of that is larger; in (0, 1).
    temperature : float
        T of the sharpening, positive; below 1 it sharpens.
    mixup : float
        Both parameters of the Beta distribution of the mixing weight, positive.
    kl_weight : float
        lambda of equation 9; 0 leaves the consistency term out.
    """

    warm_up: int = 10
    threshold: float = 0.5
    temperature: float = 0.5
    mixup: float = 4.0
    kl_weight: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_up >= min(self.epochs, self.patience):
            raise ParameterError(
                f"warm_up is {self.warm_up}, epochs {self.epochs} and patience {self.patience}; "
                "expected fewer epochs of warm-up, or training can end within it"
            )
        if self.threshold >= 1:
            raise ParameterError(f"threshold is {self.threshold}; expected less than 1")


@dataclass(frozen=True)
class SelfLearningScore(Score):
    """Validation result of an epoch with what its partition was like, empty in the warm-up.

    Any epoch after the warm-up is better than any of the warm-up.
    """

    diagnostics: Mapping[str, float] = field(default_factory=dict)

    @property
    def order(self) -> tuple[float, ...]:
        accuracy, loss = super().order
        return (accuracy if self.diagnostics else accuracy - 1, loss)

    @property
    def row(self) -> dict[str, float]:
        return {**super().row, **self.diagnostics}


@dataclass
class SelfLearned(History):
    """What self-learning went through.

    Rows of the epochs after the warm-up also have clean_fraction, clean_mean and noisy_mean (of
    the components, in nats), clean_weight (of the first component), collapsed (0 or 1), agreement
    and noisy_agreement (share of all segments and of the noisy ones whose most probable class is
    that of the clip; without noisy ones the latter is missing), largest_class (share of the
    segments that get the most frequent class) and stability (share of the segments for which the
    decision is that of the last time; missing at first).

    Attributes
    ----------
    clean_probability : np.ndarray, shape (n_epochs, n_segments), float32
        Posterior of being clean; NaN in the warm-up and for segments that an epoch did not take.
    """

    clean_probability: np.ndarray


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
        Whether the losses do not separate into two components.
    """

    clean_probability: np.ndarray
    means: tuple[float, float]
    weights: tuple[float, float]
    collapsed: bool


def partition(losses: np.ndarray, *, threshold: float = 0.5, seed: int = 0) -> Partition:
    """Divide samples into clean and noisy ones by their losses (section 2.1.2, equation 3).

    The mixture, whose first guess is random, has collapsed if the losses are all equal, if one
    component has less than 1 % of the samples or both have the same mean (within 1 % of the
    range), or if no sample is clean.

    `losses`, shape (n,), are the cross-entropies of the samples with their labels; the threshold
    is that of `SelfLearningOptions`.

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
    (first, second), weights = mixture.means_[order, 0], mixture.weights_[order]
    clean = mixture.predict_proba(values)[:, order[0]]
    apart = weights.min() >= _LEAST_WEIGHT and second - first >= _LEAST_DISTANCE
    collapsed = not (apart and (clean > threshold).any())
    return Partition(
        np.ones(len(losses)) if collapsed else clean,
        (low + span * float(first), low + span * float(second)),
        (float(weights[0]), float(weights[1])),
        collapsed,
    )


def sharpen(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Soft labels from predictions, both of shape (n, n_classes): p^(1/T), divided by its sum.

    T of 1 changes nothing, towards 0 the most probable class gets all. Equation 4 is printed
    with another exponent, under which the least probable class would win; this is the formula of
    the literature.
    """
    # Divided by the largest first, so that a low temperature does not underflow.
    largest = probabilities.max(axis=1, keepdims=True)
    powers = (probabilities / largest) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def mixup(x: Tensor, y: Tensor, order: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """Convex combinations of samples, shape (n, ...), and labels, shape (n, n_classes).

    Equation 6: `order`, shape (n,), has the index of each sample's partner, and `weight` (delta)
    is the share of the sample itself.
    """
    return weight * x + (1 - weight) * x[order], weight * y + (1 - weight) * y[order]


def r_drop(first: Tensor, second: Tensor) -> Tensor:
    """Symmetric divergence of two predictions of the same samples, summed (equation 8).

    They are logits under two draws of the dropout, shape (n, n_classes); n may be 0.
    """
    p, q = functional.log_softmax(first, dim=1), functional.log_softmax(second, dim=1)
    return 0.5 * ((p.exp() - q.exp()) * (p - q)).sum()


def interleave(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Both in their order, so that every stretch has the same share of each, within one."""
    positions = [(np.arange(len(part)) + 0.5) / max(len(part), 1) for part in (first, second)]
    joined = np.concatenate([first, second])
    return joined[np.argsort(np.concatenate(positions), kind="stable")]


class SelfLearner(nn.Module):
    """The network, with the partitions and batches of every epoch.

    The state of an interrupted training beside the network's parameters is in buffers: `epoch`,
    the number of epochs begun, and `clean`, shape (n_epochs, n_segments), the posteriors up to the
    epoch of the parameters. `targets` has the class of each clip; `diagnostics` are those of the
    last partition.
    """

    epoch: Tensor
    clean: Tensor

    def __init__(
        self,
        network: VGG16,
        segment_set: SegmentSet,
        targets: np.ndarray,
        n_classes: int,
        options: SelfLearningOptions,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.segments = segment_set
        self.labels = targets[segment_set.owners]
        self.one_hot = np.eye(n_classes, dtype=np.float32)[self.labels]
        self.options = options
        self.seed = seed
        self.diagnostics: dict[str, float] = {}
        self._last_clean: np.ndarray | None = None
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        shape = (options.epochs, len(segment_set))
        self.register_buffer("clean", torch.full(shape, torch.nan))

    @property
    def clean_probability(self) -> np.ndarray:
        """As in `SelfLearned`: of all epochs, also those after the one of the parameters."""
        return self.clean.cpu().numpy() if self._last_clean is None else self._last_clean

    def forward(self, mixed: Tensor, noisy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of mixed segments, and twice those of noisy ones.

        The convolutions have no dropout: both passes of R-Drop share them.
        """
        features = self.network.features(torch.cat([mixed, noisy]))
        of_mixed, of_noisy = features[: len(mixed)], features[len(mixed) :]
        classify = self.network.classifier
        return classify(of_mixed), classify(of_noisy), classify(of_noisy)

    def loss(self, output: tuple[Tensor, Tensor, Tensor], targets: Tensor) -> Tensor:
        """Cross-entropy of the mixed segments and divergence of the noisy ones (equation 9)."""
        mixed, first, second = output
        divergence = r_drop(first, second) / len(mixed)
        return functional.cross_entropy(mixed, targets) + self.options.kl_weight * divergence

    def batches(self, rng: np.random.Generator) -> Iterator[tuple[tuple[Tensor, Tensor], Tensor]]:
        """One epoch: mixed segments, shape (batch, n_mels, window), and labels, mixed likewise.

        Where the consistency counts, the noisy ones among those mixed, shape (n_noisy, n_mels,
        window), are the second input. Labels have shape (batch, n_classes).
        """
        epoch = int(self.epoch)
        self.epoch += 1
        drawn = self.segments.draw(self.options.segments_per_epoch, rng)
        if epoch < self.options.warm_up:
            for chosen in split_batches(drawn, self.options.batch_size):
                x = self.segments.batch(chosen)
                yield (x, x[:0]), torch.from_numpy(self.one_hot[chosen])
            return
        labels, noisy = self._divide(drawn, epoch)
        order = interleave(drawn[~noisy[drawn]], drawn[noisy[drawn]])
        for chosen in split_batches(order, self.options.batch_size):
            x, y = self.segments.batch(chosen), torch.from_numpy(labels[chosen])
            weight = float(rng.beta(self.options.mixup, self.options.mixup))
            partners = torch.from_numpy(rng.permutation(len(chosen)))
            mixed, targets = mixup(x, y, partners, weight)
            unlabelled = torch.from_numpy(noisy[chosen] & (self.options.kl_weight > 0))
            yield (mixed, x[unlabelled]), targets

    def _divide(self, drawn: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Labels, soft for the noisy ones of some segments, and which are noisy; both of all."""
        options = self.options
        predicted = predict_segments(self.network, self.segments, drawn, options, self.epoch.device)
        self.network.train()
        own = predicted[np.arange(len(drawn)), self.labels[drawn]]
        losses = -np.log(np.maximum(own, _SMALLEST_PROBABILITY))
        seed = epoch_seed(self.seed, epoch)
        division = partition(losses, threshold=options.threshold, seed=seed)
        if division.collapsed:
            _warn_of_collapse(division, epoch)
        unlabelled = division.clean_probability <= options.threshold
        self.diagnostics = {
            **_diagnostics(division, unlabelled, predicted.argmax(axis=1), self.labels[drawn]),
            **self._stability(drawn, unlabelled, epoch),
        }
        values = torch.from_numpy(division.clean_probability).to(self.clean)
        self.clean[epoch, torch.from_numpy(drawn)] = values
        self._last_clean = self.clean.cpu().numpy().copy()
        labels, noisy = self.one_hot.copy(), np.zeros(len(self.segments), dtype=bool)
        labels[drawn[unlabelled]] = sharpen(predicted[unlabelled], options.temperature)
        noisy[drawn] = unlabelled
        return labels, noisy

    def _stability(self, drawn: np.ndarray, unlabelled: np.ndarray, epoch: int) -> dict[str, float]:
        """Share of the segments for which the decision is that of the last time."""
        earlier = self.clean[:epoch].cpu().numpy()[:, drawn]
        known = np.isfinite(earlier)
        seen = known.any(axis=0)
        if not seen.any():
            return {}
        last = epoch - 1 - known[::-1].argmax(axis=0)
        before = earlier[last, np.arange(len(drawn))] <= self.options.threshold
        return {"stability": float((before == unlabelled)[seen].mean())}


def _warn_of_collapse(division: Partition, epoch: int) -> None:
    means, weights = (
        " and ".join(f"{value:.3f}" for value in pair)
        for pair in (division.means, division.weights)
    )
    warnings.warn(
        f"epoch {epoch}: the losses do not fall into two components (means {means}, weights "
        f"{weights}); all segments count as clean",
        SelfLearningWarning,
        stacklevel=3,
    )


def _diagnostics(
    division: Partition, noisy: np.ndarray, predicted: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    right = predicted == labels
    values = {
        "clean_fraction": float((~noisy).mean()),
        "clean_mean": division.means[0],
        "noisy_mean": division.means[1],
        "clean_weight": division.weights[0],
        "collapsed": float(division.collapsed),
        "agreement": float(right.mean()),
        "largest_class": float(np.bincount(predicted).max() / len(predicted)),
    }
    return values | ({"noisy_agreement": float(right[noisy].mean())} if noisy.any() else {})


def self_learn(
    network: VGG16,
    parts: tuple[SegmentSet, SegmentSet],
    targets: tuple[np.ndarray, np.ndarray],
    options: SelfLearningOptions,
    *,
    n_classes: int,
    seed: int,
    device: torch.device,
    score: Callable[[], Score] | None = None,
    **more: Any,
) -> SelfLearned:
    """Train a network on segments and leave it with the parameters of its best epoch.

    An epoch after the warm-up: losses of the segments without dropout; `partition`; soft labels
    for the noisy ones (`sharpen`, equations 4-5), from the same predictions; then batches in
    which clean and noisy segments are mixed (`mixup`, with one weight a batch). The loss is the
    cross-entropy of the mixed segments plus `kl_weight` times the divergence of two passes over
    the unmixed noisy ones (`r_drop`), both divided by the size of the batch (equations 7-9).

    Segments are given to train on and to validate with, and targets, shapes (n_clips,), of their
    clips. `score` is of the network as it is, after the warm-up; if None, of the mean
    probabilities of some segments of each validation clip (`mer.training.windows.clip_score`).
    Other parameters are those of `mer.training.supervised.train`.

    Raises
    ------
    InvalidDataError
        If a loss is not finite. Where there is a checkpoint, it keeps the state of the epoch
        before.

    Warns
    -----
    SelfLearningWarning
        If the losses of an epoch do not fall into two components.
    """
    learner = SelfLearner(network, parts[0], targets[0], n_classes, options, seed)

    def validate(model: nn.Module) -> Score:
        decides = score if learner.diagnostics else None  # epochs of the warm-up are never chosen
        known = (network, parts[1], targets[1], options, device)
        found = decides() if decides else clip_score(*known)
        return SelfLearningScore(found.accuracy, found.loss, learner.diagnostics)

    settings = {"loss": learner.loss, "seed": seed, "device": device, **more}
    history = train(learner, learner.batches, validate, options, **settings)
    clean = learner.clean_probability[: len(history.epochs)]
    return SelfLearned(history.epochs, history.best_epoch, clean)
