"""SSSL (Sun et al. 2024), its ablation, and simpler ways to learn from segments.

Number of epochs, batch size and learning rate are ours, as the paper gives none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.svm import SVC

from mer.clips import Clip
from mer.errors import ParameterError
from mer.features import aggregation
from mer.features.aggregation import song_statistics
from mer.models import vgg
from mer.segments import LONGEST
from mer.systems.base import Context
from mer.systems.classical import class_values, select_classifier
from mer.systems.segmented import FittedSegments, SegmentClassifier
from mer.training import self_learning, supervised
from mer.training.segment_set import SegmentSet, clip_score, inherited_batches
from mer.training.self_learning import SelfLearned, SelfLearningOptions, self_learn
from mer.training.supervised import Score, resolve_device

_SILENCE = -100.0
"""In dB: the floor of the spectrograms."""


@dataclass(frozen=True, kw_only=True)
class SongStatisticsSVM(SegmentClassifier):
    """A support vector machine with a radial kernel decides on clips from song statistics.

    Attributes
    ----------
    c_grid : tuple of float
        Values of the inverse regularisation strength C of the support vector machine; the
        smallest of the best on validation clips is taken.
    """

    c_grid: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.c_grid or min(self.c_grid) <= 0:
            raise ParameterError(f"c_grid is {self.c_grid}; expected one or more positive numbers")

    @property
    def revisions(self) -> dict[str, int]:
        """Those of the network, and song statistics."""
        return {**super().revisions, "aggregation": aggregation.REVISION}

    def fit_song_classifier(
        self,
        fitted: FittedSegments,
        parts: tuple[SegmentSet, SegmentSet],
        targets: tuple[np.ndarray, np.ndarray],
    ) -> Any:
        """The support vector machine."""
        train, valid = (
            np.stack([song_statistics(own) for own in fitted.values(part)]) for part in parts
        )
        machines = {c: SVC(C=c, gamma="scale", break_ties=True) for c in self.c_grid}
        pipeline, _ = select_classifier(machines, (train, targets[0]), (valid, targets[1]))
        return pipeline

    def decide(self, values: Sequence[np.ndarray], song_classifier: Any) -> np.ndarray:
        """What the support vector machine says."""
        statistics = np.stack([song_statistics(own) for own in values])
        return class_values(song_classifier, statistics, values[0].shape[1])


@dataclass(frozen=True, kw_only=True)
class SSSL(SelfLearningOptions, SongStatisticsSVM):
    """The proposed system: self-learning, and a support vector machine on song statistics."""

    name: ClassVar[str] = "SSSL"

    @property
    def revisions(self) -> dict[str, int]:
        """Rendering, spectrum, model, self-learning and song statistics."""
        return {**super().revisions, "self_learning": self_learning.REVISION}

    def train(
        self,
        network: vgg.VGG16,
        parts: tuple[SegmentSet, SegmentSet],
        targets: tuple[np.ndarray, np.ndarray],
        context: Context,
    ) -> SelfLearned:
        """Self-learning."""
        return self_learn(
            network,
            parts,
            targets,
            self,
            n_classes=context.n_classes,
            seed=context.seed,
            device=resolve_device(context.device),
            checkpoint=context.checkpoint,
            progress=context.progress,
        )


@dataclass(frozen=True, kw_only=True)
class WithoutKL(SSSL):
    """Without the consistency of two passes (the paper's Proposed*)."""

    name: ClassVar[str] = "SSSL, no KL"
    kl_weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SegmentInheritance(SegmentClassifier):
    """Every segment has the label of its clip; a clip has the class that most segments get."""

    name: ClassVar[str] = "Segment inheritance"

    def train(
        self,
        network: vgg.VGG16,
        parts: tuple[SegmentSet, SegmentSet],
        targets: tuple[np.ndarray, np.ndarray],
        context: Context,
    ) -> SelfLearned:
        """Cross-entropy."""
        device = resolve_device(context.device)

        def validate(model: Any) -> Score:
            return clip_score(model, parts[1], targets[1], self, device)

        history = supervised.train(
            network,
            lambda rng: inherited_batches(parts[0], targets[0], self, rng),
            validate,
            self,
            seed=context.seed,
            device=device,
            checkpoint=context.checkpoint,
            progress=context.progress,
        )
        return SelfLearned(history.epochs, history.best_epoch, np.empty((0, len(parts[0]))))

    def decide(self, values: Sequence[np.ndarray], song_classifier: Any) -> np.ndarray:
        """Shares of the votes; the mean probability has one vote, which decides between equals."""
        return np.stack([majority_vote(own) for own in values])


def majority_vote(values: np.ndarray) -> np.ndarray:
    """Shares of the classes among the most probable ones of segments.

    The mean of the probabilities counts like one more segment. It cannot turn a majority, but of
    classes with equally many segments the more probable one wins.

    Parameters
    ----------
    values : np.ndarray, shape (n_segments, n_classes)
        Probabilities.

    Returns
    -------
    np.ndarray, shape (n_classes,)
    """
    votes = np.bincount(values.argmax(axis=1), minlength=values.shape[1])
    return (votes + values.mean(axis=0)) / (len(values) + 1)


@dataclass(frozen=True, kw_only=True)
class InheritanceSVM(SongStatisticsSVM, SegmentInheritance):
    """Segment inheritance with the decision of SSSL: what is left to differ is the learning."""

    name: ClassVar[str] = "Segment inheritance, SVM"


@dataclass(frozen=True, kw_only=True)
class WholeClip(SegmentInheritance):
    """VGG16 on whole clips: one segment of 30 s, with silence at the end of shorter clips."""

    name: ClassVar[str] = "VGG16, whole clip"
    duration: float = LONGEST

    def log_mel(self, clip: Clip) -> np.ndarray:
        """Spectrogram of exactly one segment in dB, shape (n_mels, window), float16."""
        log_mel = super().log_mel(clip)[:, : self.window]
        missing = self.window - log_mel.shape[1]
        return np.pad(log_mel, ((0, 0), (0, missing)), constant_values=_SILENCE)

    def decide(self, values: Sequence[np.ndarray], song_classifier: Any) -> np.ndarray:
        """What the network says."""
        return np.concatenate(values)
