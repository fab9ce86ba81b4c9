"""SSSL (Sun et al. 2024), its ablation, and simpler ways to learn from segments.

Number of epochs, batch size and learning rate are ours, as the paper gives none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from sklearn.svm import SVC
from torch import Tensor, nn

from mer.clips import Clip, Corpus
from mer.errors import InvalidDataError, ParameterError
from mer.features import aggregation, spectral
from mer.features.aggregation import song_statistics
from mer.models import vgg
from mer.models.multi_domain import Standardise
from mer.rendering import REVISION as RENDERING_REVISION
from mer.segments import LONGEST, frames_of, segment_times
from mer.sounds import varied
from mer.systems.base import (
    Context,
    Feature,
    Picture,
    added,
    clip_feature,
    probabilities,
    sound_picture,
)
from mer.systems.classical import check_grid, class_values, select_classifier
from mer.systems.network import FittedNetwork, WindowedNetwork, built
from mer.training import self_learning, supervised
from mer.training.self_learning import SelfLearned, SelfLearningOptions, self_learn
from mer.training.supervised import Batch, Score, resolve_device
from mer.training.windows import (
    SegmentOptions,
    SegmentSet,
    clip_score,
    inherited_batches,
    predict_segments,
)

HOP_SECONDS = 1.0
"""Between segments: the overlap is one second less than the duration."""

_SILENCE = -100.0
"""In dB: the floor of the spectrograms."""

Parts = tuple[SegmentSet, SegmentSet]
Targets = tuple[np.ndarray, np.ndarray]


def training_options(context: Context) -> dict[str, Any]:
    """What `mer.training.supervised.train` takes from a context."""
    return {
        **{"seed": context.seed, "device": resolve_device(context.device)},
        **{"checkpoint": context.checkpoint, "progress": context.progress},
    }


@dataclass(frozen=True, kw_only=True)
class SegmentNetwork(SegmentOptions, WindowedNetwork):
    """A network that hears a clip segment by segment; subclasses say what learns from them.

    Clips are cut to their first 30 s; nothing is padded. All `sound_copies` are trained and
    validated on in each epoch.

    Attributes
    ----------
    feature : callable
        Of samples and sample rate, and of those of `n_fft`, `hop_length` and `n_mels` that it
        takes, to an array of shape (n_bins, n_frames) with a frame each `hop_length` samples.
    duration : float
        Of a segment, in seconds.
    sample_rate, n_fft, hop_length : int
        In Hz, and in samples.
    """

    inputs: ClassVar[str] = "audio"
    feature: Feature = spectral.log_mel
    duration: float = 3.0
    sample_rate: int = 22050
    n_fft: int = 1024
    hop_length: int = 512
    n_mels: int = 128

    def frames(self, seconds: float) -> int:
        """Frames that stand for a time."""
        return frames_of(seconds, sample_rate=self.sample_rate, hop_length=self.hop_length)

    @property
    def window(self) -> int:
        """Frames of a segment."""
        return self.frames(self.duration)

    @property
    def hop(self) -> int:
        """Frames between segments."""
        return self.frames(HOP_SECONDS)

    @property
    def revisions(self) -> dict[str, int]:
        """Rendering and spectrum."""
        return {"rendering": RENDERING_REVISION, "spectral": spectral.REVISION}

    def item(self, clip: Clip) -> np.ndarray:
        """The feature of the first 30 s, shape (n_bins, n_frames), float16; by default in dB."""
        settings: Any = {"n_fft": self.n_fft, "hop_length": self.hop_length, "n_mels": self.n_mels}
        whole = clip_feature(self.feature, clip, self.sample_rate, **settings)
        return whole[:, : self.frames(LONGEST)].copy()

    def pictures(self, item: np.ndarray) -> dict[str, Picture]:
        """The feature."""
        return {"input": sound_picture(self.feature, item, self.sample_rate, self.hop_length)}

    def items(self, clips: Sequence[Clip], *, training: bool = False) -> list[np.ndarray]:
        """Features of some clips.

        Raises
        ------
        InvalidDataError
            If a clip is shorter than a segment.
        """
        items = [self.item(clip) for clip in clips]
        for clip, item in zip(clips, items, strict=True):
            if item.shape[1] < self.window:
                seconds = item.shape[1] * self.hop_length / self.sample_rate
                raise InvalidDataError(
                    f"clip {clip.id!r} has {seconds:.2f} s; expected at least one segment of "
                    f"{self.duration:g} s: take shorter segments or leave it out"
                )
        return items

    def segment_set(self, items: Sequence[np.ndarray]) -> SegmentSet:
        """Segments of the features of some clips."""
        return SegmentSet(items, self.window, self.hop)

    def segment_frame(self, ids: Sequence[str], segment_set: SegmentSet) -> pd.DataFrame:
        """One row a segment: id of its clip, segment (its number), start and end in seconds."""
        rates = {"sample_rate": self.sample_rate, "hop_length": self.hop_length}
        start, end = segment_times(segment_set.starts, self.window, **rates).T
        owners = np.asarray(ids)[segment_set.owners]
        place = {"id": owners, "segment": segment_set.numbers}
        return pd.DataFrame({**place, "start": start, "end": end})


class _Standardised(nn.Module):
    """A network of one's own behind a standardisation of its bins; it shares no convolutions."""

    def __init__(self, network: nn.Module, n_bins: int, n_classes: int) -> None:
        super().__init__()
        self.standardise = Standardise(n_bins)
        self.network = network
        self.n_classes = n_classes

    def fit_scale(self, items: Sequence[np.ndarray]) -> None:
        self.standardise.fit(items)

    def features(self, x: Tensor) -> Tensor:
        return self.standardise(x)

    def classifier(self, features: Tensor) -> Tensor:
        # Layers such as batch normalisation refuse an empty batch
        if not len(features):
            return features.new_zeros((0, self.n_classes))
        return self.network(features)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x))


@dataclass(frozen=True, kw_only=True)
class SegmentClassifier(SelfLearningOptions, SegmentNetwork):
    """A network that classifies segments, and a decision on the clip; by default SSSL.

    Attributes
    ----------
    learning : {"self", "inherited"}
        Self-learning, whose options are `warm_up`, `threshold`, `temperature`, `mixup` and
        `kl_weight`; or every segment keeps the label of its clip, whatever these are.
    decision : {"svm", "vote", "mean"}
        What decides on the clip: a support vector machine with a radial kernel on statistics of
        the segments' probabilities, the class of most segments, or their mean probabilities.
    whole_clip : bool
        Whether a clip is exactly one segment: longer ones are cut, shorter ones end in silence.
    model : callable
        Called with the number of classes, and with those of `n_mels`, `width`, `grid` and `dropout`
        that it takes; gives a network of features, shape (batch, n_bins, window), which are
        standardised first unless it is a `mer.models.vgg.VGG16`.
    width, grid, dropout
        As in `mer.models.vgg.VGG16`.
    c_grid : tuple of float
        Values of the inverse regularisation strength C of the support vector machine; the
        smallest of the best on validation clips is taken.
    epoch_by : {"mean", "decision"}
        What chooses the epoch of self-learning on the validation clips: the mean probabilities of
        some segments of each, or the decision on the clip, from all segments.
    """

    family: ClassVar[str] = "VGG16"
    learning: Literal["self", "inherited"] = "self"
    decision: Literal["svm", "vote", "mean"] = "svm"
    whole_clip: bool = False
    model: Callable[..., nn.Module] = vgg.VGG16
    width: float = 1.0
    grid: int = 7
    dropout: float = 0.5
    c_grid: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    epoch_by: Literal["mean", "decision"] = added("mean")

    def __post_init__(self) -> None:
        # Without self-learning its options do not matter, so they are not checked
        first = SegmentClassifier if self.learning == "self" else SelfLearningOptions
        super(first, self).__post_init__()
        check_grid(self.c_grid)
        if self.model is vgg.VGG16 and min(self.window, self.n_mels) < vgg.SMALLEST_INPUT:
            raise ParameterError(
                f"segments are {self.n_mels} bands x {self.window} frames; VGG16 needs at least "
                f"{vgg.SMALLEST_INPUT} of each: take longer segments, a shorter hop or more bands"
            )

    @property
    def revisions(self) -> dict[str, int]:
        """Rendering, spectrum and model; self-learning and song statistics where they count."""
        found = {**super().revisions, "vgg": vgg.REVISION}
        if self.decision == "svm":
            found["aggregation"] = aggregation.REVISION
        if self.learning == "self":
            found["self_learning"] = self_learning.REVISION
        return found

    def item(self, clip: Clip) -> np.ndarray:
        """As in `SegmentNetwork`, of exactly one segment if it is to be the whole clip."""
        item = super().item(clip)
        if not self.whole_clip:
            return item
        missing = max(self.window - item.shape[1], 0)
        return np.pad(item[:, : self.window], ((0, 0), (0, missing)), constant_values=_SILENCE)

    def network(self, n_classes: int, item: np.ndarray) -> Any:
        """A network with fresh parameters."""
        sizes = {name: getattr(self, name) for name in ("width", "grid", "dropout")}
        network = built(self.model, n_classes, n_classes, n_mels=len(item), **sizes)
        if isinstance(network, vgg.VGG16):
            return network
        return _Standardised(network, len(item), n_classes)

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedSegments:
        """Train the network, then what decides on clips.

        Raises
        ------
        InvalidDataError
            If the training clips have one class only, or a clip is shorter than a segment.
        """
        train, valid = varied(train, valid, self.sound_copies)
        targets = (context.several_classes(train), context.task.targets(valid))
        items = self.items(train)
        supervised.seed_everything(context.seed)
        network = self.network(context.n_classes, items[0])
        network.fit_scale(items)
        parts = (self.segment_set(items), self.segment_set(self.items(valid)))
        training = self._learn(network, parts, targets, context)
        segments = self.segment_frame(train.ids, parts[0])
        fitted = FittedSegments(self, network, context, training, segments)
        if self.decision == "svm":
            values = (fitted.values(parts[0]), fitted.values(parts[1]))
            fitted.song_classifier = self._song_classifier(values, targets)
        return fitted

    def _learn(self, network: Any, parts: Parts, targets: Targets, context: Context) -> SelfLearned:
        options = training_options(context)
        if self.learning == "self":
            n_classes = context.n_classes

            def score() -> Score:
                return self._decision_score(network, parts, targets, n_classes, options["device"])

            return self_learn(
                network,
                parts,
                targets,
                self,
                n_classes=n_classes,
                score=score if self.epoch_by == "decision" else None,
                **options,
            )

        def validate(model: Any) -> Score:
            return clip_score(model, parts[1], targets[1], self, options["device"])

        def batches(rng: np.random.Generator) -> Iterator[Batch]:
            return inherited_batches(parts[0], targets[0], self, rng)

        history = supervised.train(network, batches, validate, self, **options)
        return SelfLearned(history.epochs, history.best_epoch, np.empty((0, len(parts[0]))))

    def _decision_score(
        self, network: Any, parts: Parts, targets: Targets, n_classes: int, device: torch.device
    ) -> Score:
        """Score of the decision on validation clips, of the network as it is."""
        valid = segment_values(network, parts[1], self, device)
        if self.decision != "svm":
            return Score.of(self.decided(valid, None, n_classes), targets[1])
        train = segment_values(network, parts[0], self, device)
        machine = self._song_classifier((train, valid), targets)
        return Score.of(self.decided(valid, machine, n_classes), targets[1])

    def decided(self, values: Sequence[np.ndarray], machine: Any, n_classes: int) -> np.ndarray:
        """Decision on each clip, shape (n_clips, n_classes), from values of its segments."""
        if self.decision == "svm":
            return class_values(machine, statistics(values), n_classes)
        vote = self.decision == "vote"
        return np.stack([majority_vote(own) if vote else own.mean(axis=0) for own in values])

    def _song_classifier(
        self, values: tuple[Sequence[np.ndarray], Sequence[np.ndarray]], targets: Targets
    ) -> Any:
        train, valid = (statistics(part) for part in values)
        machines = {c: SVC(C=c, gamma="scale", break_ties=True) for c in self.c_grid}
        return select_classifier(machines, (train, targets[0]), (valid, targets[1]))[0]


def segment_values(
    network: nn.Module, segment_set: SegmentSet, options: SegmentOptions, device: torch.device
) -> list[np.ndarray]:
    """Probabilities of the segments of each clip, shapes (n_segments, n_classes)."""
    indices = np.arange(len(segment_set))
    found = predict_segments(network, segment_set, indices, options, device)
    return np.split(found, np.cumsum(segment_set.counts)[:-1])


def statistics(values: Sequence[np.ndarray]) -> np.ndarray:
    """Song statistics, shape (n_clips, 7 * n_classes), of the segments' probabilities."""
    return np.stack([song_statistics(own) for own in values])


def majority_vote(values: np.ndarray) -> np.ndarray:
    """Shares of the classes, shape (n_classes,), among the most probable ones of segments.

    The mean of the probabilities, shape (n_segments, n_classes), counts like one more segment. It
    cannot turn a majority, but of classes with equally many segments the more probable one wins.
    """
    votes = np.bincount(values.argmax(axis=1), minlength=values.shape[1])
    return (votes + values.mean(axis=0)) / (len(values) + 1)


class FittedSegments(FittedNetwork):
    """A trained network of segments and what decides on clips, with the system they belong to.

    Attributes
    ----------
    song_classifier : scikit-learn pipeline or None
        The support vector machine, where one decides.
    training_segments : DataFrame
        id, segment, start and end of each training segment, as `segment_probabilities` has them.
    clean_probability : np.ndarray, shape (n_epochs, n_segments), float32
        As in `SelfLearned`; without epochs where there was no self-learning.
    """

    system: SegmentClassifier

    def __init__(
        self,
        system: SegmentClassifier,
        network: nn.Module,
        context: Context,
        training: SelfLearned,
        training_segments: pd.DataFrame,
    ) -> None:
        device = resolve_device(context.device)
        super().__init__(system, network, context.n_classes, device, training.epochs)
        self.clean_probability = training.clean_probability
        self.training_segments = training_segments
        self.song_classifier: Any = None

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, p_1 ... p_k: the decision on each clip."""
        values = self.values(self.system.segment_set(self.system.items(corpus)))
        decided = self.system.decided(values, self.song_classifier, self.n_classes)
        return probabilities(corpus, decided)

    def segment_probabilities(self, clips: Sequence[Clip]) -> pd.DataFrame:
        """Class probabilities of every segment of some clips, in order, as in figure 2.

        Columns id (of the clip), segment (its number), start and end in seconds, p_1 ... p_k.
        """
        segment_set = self.system.segment_set(self.system.items(clips))
        frame = self.system.segment_frame([clip.id for clip in clips], segment_set)
        values = np.concatenate(self.values(segment_set))
        return frame.assign(**{f"p_{k + 1}": values[:, k] for k in range(self.n_classes)})

    def partitions(self) -> pd.DataFrame:
        """How self-learning divided the training segments, epoch by epoch; empty without it.

        Columns epoch (from 0, the warm-up counted), id, segment, start, end, and p_clean, the
        posterior probability that the label of the segment is right.
        """
        epochs, rows = np.nonzero(np.isfinite(self.clean_probability))
        found = self.training_segments.iloc[rows].reset_index(drop=True)
        found.insert(0, "epoch", epochs)
        return found.assign(p_clean=self.clean_probability[epochs, rows].astype(float))

    def values(self, segment_set: SegmentSet) -> list[np.ndarray]:
        """Probabilities of the segments of each clip, shapes (n_segments, n_classes)."""
        return segment_values(self.network, segment_set, self.system, self.device)
