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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mer.errors import ParameterError
from mer.models.vgg import VGG16
from mer.training.noisy_labels import Partition, interleave, mixup, partition, r_drop, sharpen
from mer.training.segment_set import (
    SegmentOptions,
    SegmentSet,
    clip_score,
    predict_segments,
    split_batches,
)
from mer.training.supervised import Score, train

REVISION = 1

_SMALLEST_PROBABILITY = 1e-30


class SelfLearningWarning(UserWarning):
    """Self-learning went on in another way than it should."""


@dataclass(frozen=True, kw_only=True)
class SelfLearningOptions(SegmentOptions):
    """How a network learns from segments whose labels may be wrong.

    Attributes
    ----------
    epochs, patience, batch_size, learning_rate, weight_decay, schedule, clip_norm
        As in `TrainingOptions`.
    segments_per_epoch : int or None
        As in `SegmentOptions`; the partition is one of these segments.
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
        for name in ("warm_up", "threshold", "temperature", "mixup"):
            if getattr(self, name) <= 0:
                raise ParameterError(f"{name} is {getattr(self, name)}; expected more than 0")
        if self.warm_up >= min(self.epochs, self.patience):
            raise ParameterError(
                f"warm_up is {self.warm_up}, epochs {self.epochs} and patience {self.patience}; "
                "expected fewer epochs of warm-up, or training can end within it"
            )
        if self.threshold >= 1 or self.kl_weight < 0:
            raise ParameterError(
                f"threshold is {self.threshold} and kl_weight {self.kl_weight}; expected a "
                "threshold below 1 and a weight of 0 or more"
            )


@dataclass(frozen=True)
class SelfLearningScore(Score):
    """Validation result of an epoch with what its partition was like.

    Any epoch after the warm-up is better than any of the warm-up.

    Attributes
    ----------
    diagnostics : mapping of str to float
        Empty in the warm-up.
    """

    diagnostics: Mapping[str, float] = field(default_factory=dict)

    @property
    def order(self) -> tuple[float, ...]:
        """What epochs are compared by."""
        accuracy, *rest = super().order
        return (accuracy if self.diagnostics else accuracy - 1, *rest)

    @property
    def row(self) -> dict[str, float]:
        """What the history keeps."""
        return {**super().row, **self.diagnostics}


@dataclass(frozen=True)
class SelfLearned:
    """What came out of self-learning.

    Attributes
    ----------
    epochs : list of dict
        A row an epoch: train_loss, valid_loss, valid_accuracy, learning_rate, and after the
        warm-up clean_fraction, clean_mean and noisy_mean (of the components, in nats),
        clean_weight (of the first component), collapsed (0 or 1), agreement and noisy_agreement
        (share of all segments and of the noisy ones whose most probable class is that of the
        clip; without noisy ones the latter is missing), largest_class (share of the segments that
        get the most frequent answer: 1 if the network answers all alike) and stability (share of
        the segments for which the decision is that of the last time; missing at first).
    best_epoch : int
        The one whose parameters were kept.
    clean_probability : np.ndarray, shape (n_epochs, n_segments), float32
        Posterior of being clean; NaN in the warm-up and for segments that an epoch did not take.
    """

    epochs: list[dict[str, float]]
    best_epoch: int
    clean_probability: np.ndarray


class Learner(nn.Module):
    """The network, and what an interrupted training has to know beside its parameters.

    Parameters
    ----------
    network : VGG16
    n_epochs, n_segments : int
        At most, and in training.

    Attributes
    ----------
    epoch : Tensor, shape ()
        Number of epochs begun.
    clean : Tensor, shape (n_epochs, n_segments)
        As in `SelfLearned`.
    """

    epoch: Tensor
    clean: Tensor

    def __init__(self, network: VGG16, n_epochs: int, n_segments: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.register_buffer("clean", torch.full((n_epochs, n_segments), torch.nan))

    def forward(self, mixed: Tensor, noisy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of mixed segments, and twice those of noisy ones.

        The convolutions have no dropout: both passes of R-Drop share them.
        """
        features = self.network.features(torch.cat([mixed, noisy]))
        of_mixed, of_noisy = features[: len(mixed)], features[len(mixed) :]
        classify = self.network.classifier
        return classify(of_mixed), classify(of_noisy), classify(of_noisy)


class Trainer:
    """Partitions and batches, epoch by epoch.

    Parameters
    ----------
    learner : Learner
    segment_set : SegmentSet
    targets : np.ndarray, shape (n_clips,)
    n_classes : int
    options : SelfLearningOptions
    seed : int
    device : torch.device

    Attributes
    ----------
    diagnostics : dict of str to float
        Of the last partition.
    clean : np.ndarray or None
        Posteriors so far, as in `SelfLearned`; None before the first partition.
    """

    def __init__(
        self,
        learner: Learner,
        segment_set: SegmentSet,
        targets: np.ndarray,
        n_classes: int,
        options: SelfLearningOptions,
        seed: int,
        device: torch.device,
    ) -> None:
        self.learner = learner
        self.segments = segment_set
        self.labels = targets[segment_set.owners]
        self.one_hot = np.eye(n_classes, dtype=np.float32)[self.labels]
        self.options = options
        self.seed = seed
        self.device = device
        self.diagnostics: dict[str, float] = {}
        self.clean: np.ndarray | None = None

    def batches(self, rng: np.random.Generator) -> Iterator[tuple[tuple[Tensor, Tensor], Tensor]]:
        """One epoch.

        Yields
        ------
        inputs : tuple of Tensor, shapes (batch, n_mels, window) and (n_noisy, n_mels, window)
            Mixed segments and, where the consistency counts, the noisy ones among those mixed.
        targets : Tensor, shape (batch, n_classes)
            Labels, mixed likewise.
        """
        epoch = int(self.learner.epoch)
        self.learner.epoch += 1
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
        network, size = self.learner.network, 2 * self.options.batch_size
        predicted = predict_segments(
            network, self.segments, drawn, batch_size=size, device=self.device
        )
        network.train()
        own = predicted[np.arange(len(drawn)), self.labels[drawn]]
        seed = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        losses = -np.log(np.maximum(own, _SMALLEST_PROBABILITY))
        found = partition(losses, threshold=self.options.threshold, seed=seed)
        if found.collapsed:
            _warn(found, epoch)
        unlabelled = found.clean_probability <= self.options.threshold
        self.diagnostics = {
            **_diagnostics(found, unlabelled, predicted.argmax(axis=1), self.labels[drawn]),
            **self._stability(drawn, unlabelled, epoch),
        }
        self._keep(drawn, found.clean_probability, epoch)
        labels, noisy = self.one_hot.copy(), np.zeros(len(self.segments), dtype=bool)
        labels[drawn[unlabelled]] = sharpen(predicted[unlabelled], self.options.temperature)
        noisy[drawn] = unlabelled
        return labels, noisy

    def _stability(self, drawn: np.ndarray, unlabelled: np.ndarray, epoch: int) -> dict[str, float]:
        """Share of the segments for which the decision is that of the last time."""
        earlier = self.learner.clean[:epoch].cpu().numpy()[:, drawn]
        known = np.isfinite(earlier)
        seen = known.any(axis=0)
        if not seen.any():
            return {}
        last = epoch - 1 - known[::-1].argmax(axis=0)
        before = earlier[last, np.arange(len(drawn))] <= self.options.threshold
        return {"stability": float((before == unlabelled)[seen].mean())}

    def _keep(self, drawn: np.ndarray, clean_probability: np.ndarray, epoch: int) -> None:
        values = torch.from_numpy(clean_probability).to(self.learner.clean)
        self.learner.clean[epoch, torch.from_numpy(drawn)] = values
        self.clean = self.learner.clean.cpu().numpy().copy()


def _warn(found: Partition, epoch: int) -> None:
    warnings.warn(
        f"epoch {epoch}: the losses do not fall into two components (means {found.means[0]:.3f} "
        f"and {found.means[1]:.3f}, weights {found.weights[0]:.3f} and {found.weights[1]:.3f}); "
        "all segments count as clean",
        SelfLearningWarning,
        stacklevel=2,
    )


def _diagnostics(
    found: Partition, noisy: np.ndarray, answers: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    right = answers == labels
    values = {
        "clean_fraction": float((~noisy).mean()),
        "clean_mean": found.means[0],
        "noisy_mean": found.means[1],
        "clean_weight": found.weights[0],
        "collapsed": float(found.collapsed),
        "agreement": float(right.mean()),
        "largest_class": float(np.bincount(answers).max() / len(answers)),
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
    checkpoint: Path | None = None,
    progress: bool = False,
) -> SelfLearned:
    """Train a network on segments and leave it with the parameters of its best epoch.

    An epoch after the warm-up: losses of the segments without dropout; `partition`; soft labels
    for the noisy ones (`sharpen`, equations 4-5), from the same predictions; then batches in
    which clean and noisy segments are mixed (`mixup`, with one weight a batch). The loss is the
    cross-entropy of the mixed segments plus `kl_weight` times the divergence of two passes over
    the unmixed noisy ones (`r_drop`), both divided by the size of the batch (equations 7-9).

    Parameters
    ----------
    network : VGG16
        Trained in place.
    parts : tuple of SegmentSet
        To train on and to validate with.
    targets : tuple of np.ndarray, shapes (n_clips,)
        Classes of their clips.
    options : SelfLearningOptions
    n_classes, seed : int
    device : torch.device
    checkpoint, progress
        As for `mer.training.supervised.train`.

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
    learner = Learner(network, options.epochs, len(parts[0]))
    trainer = Trainer(learner, parts[0], targets[0], n_classes, options, seed, device)

    def validate(model: nn.Module) -> Score:
        found = clip_score(network, parts[1], targets[1], options, device)
        return SelfLearningScore(found.accuracy, found.loss, trainer.diagnostics)

    def loss(output: tuple[Tensor, Tensor, Tensor], wanted: Tensor) -> Tensor:
        mixed, first, second = output
        divergence = r_drop(first, second) / len(mixed)
        return functional.cross_entropy(mixed, wanted) + options.kl_weight * divergence

    history = train(
        learner,
        trainer.batches,
        validate,
        options,
        loss=loss,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )
    clean = learner.clean.cpu().numpy() if trainer.clean is None else trainer.clean
    return SelfLearned(history.epochs, history.best_epoch, clean[: len(history.epochs)])
