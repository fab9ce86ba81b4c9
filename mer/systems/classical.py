"""Systems without a network: plain descriptors and linear or kernel classifiers, and no music."""

from __future__ import annotations

import pickle
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mer.audio import waveform
from mer.clips import Clip, Corpus
from mer.errors import ParameterError
from mer.features import descriptors
from mer.features.cache import cached, source_of
from mer.features.notes import REVISION as NOTES_REVISION
from mer.features.notes import read_notes
from mer.features.spectral import REVISION as SPECTRAL_REVISION
from mer.rendering import REVISION as RENDERING_REVISION
from mer.systems import musicnn
from mer.systems.base import Context, Fitted, System, probabilities, read_settings, write_settings

SAMPLE_RATE = 22050


def symbolic(clip: Clip) -> np.ndarray:
    """Symbolic descriptors of a clip's MIDI, cached; shape (n_descriptors,)."""
    midi = source_of(clip, "midi")
    return cached(
        "symbolic-descriptors",
        descriptors.SYMBOLIC_REVISION,
        {"notes": NOTES_REVISION},
        midi,
        lambda: np.asarray(list(descriptors.symbolic_descriptors(read_notes(midi)).values())),
    )


def acoustic(clip: Clip) -> np.ndarray:
    """Acoustic descriptors of a clip's audio, cached; shape (n_descriptors,)."""
    return cached(
        "acoustic-descriptors",
        descriptors.ACOUSTIC_REVISION,
        {"rendering": RENDERING_REVISION, "sample_rate": SAMPLE_RATE},
        source_of(clip, "audio"),
        lambda: np.asarray(
            list(
                descriptors.acoustic_descriptors(waveform(clip, SAMPLE_RATE), SAMPLE_RATE).values()
            )
        ),
    )


DescriptorSet = Literal["symbolic", "acoustic", "musicnn"]
_DESCRIPTORS = {
    "symbolic": symbolic,
    "acoustic": acoustic,
    "musicnn": musicnn.embedding_statistics,
}


def select_classifier(
    classifiers: Mapping[float, BaseEstimator],
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
) -> tuple[Any, list[dict[str, float]]]:
    """Of some classifiers on standardised features the one with the best validation accuracy.

    Parameters
    ----------
    classifiers : mapping of float to estimator
        By the value of C; of equals the first is taken.
    train, valid : tuple of np.ndarray
        Features, shape (n_clips, n_features), and classes, shape (n_clips,).

    Returns
    -------
    pipeline : fitted scikit-learn pipeline
    history : list of dict
        C and valid_accuracy of each.
    """
    history: list[dict[str, float]] = []
    best: tuple[float, Any] = (-1.0, None)
    for c, classifier in classifiers.items():
        pipeline = make_pipeline(StandardScaler(), clone(classifier)).fit(*train)
        accuracy = float(pipeline.score(*valid))
        history.append({"C": c, "valid_accuracy": accuracy})
        if accuracy > best[0]:
            best = (accuracy, pipeline)
    return best[1], history


def class_values(pipeline: Any, x: np.ndarray, n_classes: int) -> np.ndarray:
    """What a fitted pipeline answers, shape (n_clips, n_classes), each row of sum 1.

    For support vector machines these are the softmax (two classes: the logistic function) of the
    decision values: the largest is the predicted class, but they are not calibrated. A class
    that is not among the training clips has 0.
    """
    values = np.zeros((len(x), n_classes))
    values[:, pipeline.classes_] = _known_class_values(pipeline, x)
    return values


def _known_class_values(pipeline: Any, x: np.ndarray) -> np.ndarray:
    if hasattr(pipeline, "predict_proba"):
        return np.asarray(pipeline.predict_proba(x))
    decision = pipeline.decision_function(x)
    if decision.ndim == 1:
        high = expit(decision)
        return np.stack([1 - high, high], axis=1)
    return np.asarray(softmax(decision, axis=1))


@dataclass(frozen=True, kw_only=True)
class DescriptorSystem(System):
    """Standardised descriptors into a classifier whose C is chosen on the validation clips.

    Attributes
    ----------
    descriptors : tuple of {"symbolic", "acoustic", "musicnn"}
    c_grid : tuple of float
        Values of the inverse regularisation strength C; the smallest of the best is taken.
    """

    descriptors: tuple[DescriptorSet, ...]
    c_grid: tuple[float, ...]
    seeded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.descriptors or not self.c_grid or min(self.c_grid) <= 0:
            raise ParameterError(
                f"descriptors are {self.descriptors} and c_grid is {self.c_grid}; "
                "expected one or more descriptor sets and one or more positive numbers"
            )

    @abstractmethod
    def classifier(self, c: float) -> BaseEstimator:
        """An unfitted classifier."""

    @property
    def revisions(self) -> dict[str, int]:
        """Revision numbers of the descriptors in use."""
        revisions: dict[str, int] = {}
        if "symbolic" in self.descriptors:
            revisions |= {"notes": NOTES_REVISION, "symbolic": descriptors.SYMBOLIC_REVISION}
        if "acoustic" in self.descriptors:
            revisions |= {"rendering": RENDERING_REVISION}
            revisions |= {"acoustic": descriptors.ACOUSTIC_REVISION}
        if "musicnn" in self.descriptors:
            revisions |= {"rendering": RENDERING_REVISION}
            revisions |= {"spectral": SPECTRAL_REVISION, "musicnn": musicnn.REVISION}
        return revisions

    def features(self, corpus: Corpus) -> np.ndarray:
        """Descriptors of all clips, shape (n_clips, n_descriptors)."""
        rows = [
            np.concatenate([_DESCRIPTORS[kind](clip) for kind in self.descriptors])
            for clip in corpus
        ]
        return np.stack(rows)

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedPipeline:
        """Fit on the training clips with every C of the grid, keep the best on validation."""
        pipeline, history = select_classifier(
            {c: self.classifier(c) for c in self.c_grid},
            (self.features(train), context.task.targets(train)),
            (self.features(valid), context.task.targets(valid)),
        )
        return FittedPipeline(self, pipeline, context.n_classes, history)


class FittedPipeline(Fitted):
    """A fitted scikit-learn pipeline with the system that it belongs to."""

    def __init__(
        self,
        system: DescriptorSystem,
        pipeline: Any,
        n_classes: int,
        history: list[dict[str, float]],
    ) -> None:
        self.system = system
        self.pipeline = pipeline
        self.n_classes = n_classes
        self.history = history

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, p_1 ... p_k, see `class_values`."""
        x = self.system.features(corpus)
        return probabilities(corpus, class_values(self.pipeline, x, self.n_classes))

    def save(self, folder: Path) -> None:
        """Write the pipeline (pickled: load only files of your own) and the settings."""
        settings = {"system": self.system.name, "parameters": self.system.parameters}
        write_settings(folder, {**settings, "n_classes": self.n_classes, "history": self.history})
        (folder / "pipeline.pickle").write_bytes(pickle.dumps(self.pipeline))

    @classmethod
    def load(cls, folder: Path) -> FittedPipeline:
        """Read what `save` wrote."""
        from mer.systems import get_system

        settings = read_settings(folder)
        system = get_system(settings["system"], settings["parameters"])
        assert isinstance(system, DescriptorSystem)
        pipeline = pickle.loads((folder / "pipeline.pickle").read_bytes())
        return cls(system, pipeline, settings["n_classes"], settings["history"])


@dataclass(frozen=True, kw_only=True)
class LogisticSystem(DescriptorSystem):
    """Multinomial logistic regression."""

    c_grid: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)

    def classifier(self, c: float) -> BaseEstimator:
        """Logistic regression with an L2 penalty."""
        return LogisticRegression(C=c, max_iter=5000)


@dataclass(frozen=True, kw_only=True)
class SVMSystem(DescriptorSystem):
    """Support vector machine with a radial kernel."""

    c_grid: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0, 30.0)

    def classifier(self, c: float) -> BaseEstimator:
        """SVC; gamma is 1 / (number of descriptors), as they have unit variance."""
        return SVC(C=c, gamma="scale", break_ties=True)


@dataclass(frozen=True, kw_only=True)
class SymbolicLR(LogisticSystem):
    """Logistic regression on symbolic descriptors (EMOPIA's baseline)."""

    name: ClassVar[str] = "Symbolic-LR"
    inputs: ClassVar[str] = "MIDI"
    descriptors: tuple[DescriptorSet, ...] = ("symbolic",)


@dataclass(frozen=True, kw_only=True)
class AudioLR(LogisticSystem):
    """Logistic regression on acoustic descriptors (EMOPIA's baseline)."""

    name: ClassVar[str] = "Audio-LR"
    inputs: ClassVar[str] = "audio"
    descriptors: tuple[DescriptorSet, ...] = ("acoustic",)


@dataclass(frozen=True, kw_only=True)
class SymbolicSVM(SVMSystem):
    """Support vector machine on symbolic descriptors."""

    name: ClassVar[str] = "Symbolic-SVM"
    inputs: ClassVar[str] = "MIDI"
    descriptors: tuple[DescriptorSet, ...] = ("symbolic",)


@dataclass(frozen=True, kw_only=True)
class AudioSVM(SVMSystem):
    """Support vector machine on acoustic descriptors."""

    name: ClassVar[str] = "Audio-SVM"
    inputs: ClassVar[str] = "audio"
    descriptors: tuple[DescriptorSet, ...] = ("acoustic",)


@dataclass(frozen=True, kw_only=True)
class BothSVM(SVMSystem):
    """Support vector machine on symbolic and acoustic descriptors together."""

    name: ClassVar[str] = "Symbolic+Audio-SVM"
    inputs: ClassVar[str] = "audio + MIDI"
    descriptors: tuple[DescriptorSet, ...] = ("symbolic", "acoustic")


@dataclass(frozen=True, kw_only=True)
class AudioEmbedding(SVMSystem):
    """Support vector machine on the embeddings of a pre-trained network (row of table 3).

    Koh and Dubnov (AffCon 2021) compare VGGish and L3-Net; here the embeddings are those of
    MusiCNN, their mean and standard deviation over the clip.
    """

    name: ClassVar[str] = "Audio Embedding"
    inputs: ClassVar[str] = "audio"
    descriptors: tuple[DescriptorSet, ...] = ("musicnn",)


class FittedFrequencies(Fitted):
    """Class frequencies of the training clips, of the clip's own group where it is known."""

    def __init__(self, overall: list[float], by_group: dict[str, list[float]]) -> None:
        self.overall = overall
        self.by_group = by_group
        self.history = []

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, p_1 ... p_k."""
        rows = [self.by_group.get(clip.group, self.overall) for clip in corpus]
        return probabilities(corpus, np.asarray(rows))

    def save(self, folder: Path) -> None:
        """Write the frequencies."""
        write_settings(folder, {"overall": self.overall, "by_group": self.by_group})

    @classmethod
    def load(cls, folder: Path) -> FittedFrequencies:
        """Read what `save` wrote."""
        settings = read_settings(folder)
        return cls(settings["overall"], settings["by_group"])


def _frequencies(targets: np.ndarray, n_classes: int) -> list[float]:
    return (np.bincount(targets, minlength=n_classes) / len(targets)).tolist()


@dataclass(frozen=True, kw_only=True)
class Constant(System):
    """Answers with the most frequent class of the training clips."""

    name: ClassVar[str] = "Constant"
    inputs: ClassVar[str] = "labels"
    seeded: ClassVar[bool] = False

    @property
    def revisions(self) -> dict[str, int]:
        """No feature and no model."""
        return {}

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedFrequencies:
        """Count the classes of the training clips."""
        return FittedFrequencies(_frequencies(context.task.targets(train), context.n_classes), {})


@dataclass(frozen=True, kw_only=True)
class SongLookup(System):
    """Answers with the most frequent class of the same song among the training clips.

    Without any music it is the constant answer, unless a split lets songs leak.
    """

    name: ClassVar[str] = "Song-lookup"
    inputs: ClassVar[str] = "labels"
    seeded: ClassVar[bool] = False

    @property
    def revisions(self) -> dict[str, int]:
        """No feature and no model."""
        return {}

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedFrequencies:
        """Count the classes of every song among the training clips."""
        targets = context.task.targets(train)
        n_classes = context.n_classes
        groups = np.asarray(train.groups)
        by_group = {
            str(group): _frequencies(targets[groups == group], n_classes)
            for group in Counter(train.groups)
        }
        return FittedFrequencies(_frequencies(targets, n_classes), by_group)
