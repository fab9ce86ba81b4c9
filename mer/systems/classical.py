"""Systems without a network: linear and kernel machines on descriptors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from mer.clips import Clip, Corpus
from mer.errors import ParameterError
from mer.evaluation.metrics import rmse
from mer.sounds import lacking_for_copies, varied
from mer.systems.base import (
    Context,
    Feature,
    Fitted,
    System,
    added,
    dimension_frame,
    probabilities,
)
from mer.systems.clip_descriptors import (
    EMBEDDINGS,
    FEATURE_REVISIONS,
    OF_MIDI,
    acoustic,
    pitch_class_shares,
)
from mer.systems.code import name_of, real_array

_PITCH_CLASSES = 12
_FEWEST_OF_COLLECTION = 20
_LARGEST = 1e100
"""Of a descriptor: squares of it must be finite."""

_LOGISTIC_C = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_SVM_C = (0.3, 1.0, 3.0, 10.0, 30.0)


def check_grid(c_grid: tuple[float, ...]) -> None:
    """Raise a ParameterError unless there are some values of C, all of them positive."""
    if not c_grid or min(c_grid) <= 0:
        raise ParameterError(f"c_grid is {c_grid}; expected one or more positive numbers")


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
    """Class probabilities of a fitted pipeline, shape (n_clips, n_classes).

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
class Descriptors(System):
    """Standardised descriptors of clips; subclasses define the estimator.

    Attributes
    ----------
    features : tuple of callable
        Each takes a clip and gives a vector: `symbolic`, `acoustic`,
        `mer.systems.musicnn.embedding_statistics`, or a function of your own.
    c_grid : tuple of float
        Values of the inverse regularisation strength C; the smallest of the best is taken.
    sound_copies : int
        Of each training and validation clip, in random sounds that it is also fitted on; see
        `mer.sounds.with_varied_copies`.
    by_collection : bool
        Whether answers are for the clips as a collection: their descriptors are standardised by
        their own means and deviations, not by those of the training clips. It takes 20 clips or
        more, and takes their mean mood for that of the training clips.
    """

    seeded: ClassVar[bool] = False
    features: tuple[Feature, ...]
    c_grid: tuple[float, ...] = ()
    sound_copies: int = added(0)
    by_collection: bool = added(False)

    def __post_init__(self) -> None:
        if not self.features:
            raise ParameterError("features are empty; expected one or more functions of a clip")
        check_grid(self.c_grid)
        if self.sound_copies < 0:
            raise ParameterError(f"sound_copies is {self.sound_copies}; expected 0 or more")
        if self.sound_copies and OF_MIDI.issuperset(self.features):
            raise ParameterError(
                f"sound_copies is {self.sound_copies}, but the features are of MIDI alone "
                f"({', '.join(map(name_of, self.features))}): another sound does not change them"
            )

    @property
    def inputs(self) -> str:  # type: ignore[override]
        """What the features are taken from; a function of your own counts as one of audio."""
        kinds = {"MIDI" if feature in OF_MIDI else "audio" for feature in self.features}
        return " + ".join(sorted(kinds, key=str.lower))

    @property
    def revisions(self) -> dict[str, int]:
        """Revision numbers of the descriptors in use."""
        known = [FEATURE_REVISIONS.get(feature, {}) for feature in self.features]
        return {name: number for part in known for name, number in part.items()}

    @property
    def stand_in(self) -> str:
        """Descriptors of our own; their list was drawn up with cross-validation in view."""
        own = FEATURE_REVISIONS.keys() - {*EMBEDDINGS, pitch_class_shares}
        text = "our descriptors, chosen with these folds in view"
        return text if own.intersection(self.features) else ""

    @property
    def lacks(self) -> str:
        """Soundfonts, where they are needed and not there."""
        return lacking_for_copies(self.sound_copies)

    def cache_features(self, clip: Clip) -> None:
        """Those that are descriptors of the package."""
        for feature in self.features:
            feature(clip)

    def values(self, corpus: Corpus) -> np.ndarray:
        """Descriptors of all clips, shape (n_clips, n_descriptors).

        Raises
        ------
        ParameterError
            If a feature gives no vector of real numbers, or vectors of different lengths.
        """
        rows = [[real_array(f, f(clip), 1) for f in self.features] for clip in corpus]
        for clip, row in zip(corpus, rows, strict=True):
            for feature, first, own in zip(self.features, rows[0], row, strict=True):
                if len(own) != len(first):
                    raise ParameterError(
                        f"feature {name_of(feature)} gave {len(own)} numbers for clip {clip.id!r}, "
                        f"{len(first)} for {corpus[0].id!r}; expected as many for each clip"
                    )
                if not np.abs(own).max(initial=0) < _LARGEST:
                    raise ParameterError(
                        f"feature {name_of(feature)} gave numbers for clip {clip.id!r} that are "
                        f"not finite, or above {_LARGEST:g}"
                    )
        return np.stack([np.concatenate(row) for row in rows])


@dataclass(frozen=True, kw_only=True)
class DescriptorClassifier(Descriptors):
    """A classifier whose C is chosen on the validation clips.

    Attributes
    ----------
    classifier : {"svm", "logistic"}
        A support vector machine with a radial kernel, or multinomial logistic regression.
    """

    classifier: Literal["svm", "logistic"] = "svm"

    def __post_init__(self) -> None:
        if not self.c_grid:
            grid = _SVM_C if self.classifier == "svm" else _LOGISTIC_C
            object.__setattr__(self, "c_grid", grid)
        super().__post_init__()

    def _estimator(self, c: float) -> BaseEstimator:
        if self.classifier == "logistic":
            return LogisticRegression(C=c, max_iter=5000)
        return SVC(C=c, gamma="scale", break_ties=True)

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedClassifier:
        """Fit on the training clips with every C of the grid, keep the best on validation.

        Raises
        ------
        InvalidDataError
            If the training clips have one class only.
        """
        n_classes = context.n_classes
        train, valid = varied(train, valid, self.sound_copies)
        pipeline, history = select_classifier(
            {c: self._estimator(c) for c in self.c_grid},
            (self.values(train), context.several_classes(train)),
            (self.values(valid), context.task.targets(valid)),
        )
        return FittedClassifier(self, pipeline, n_classes, history)


def check_plain(system: Descriptors) -> None:
    """Raise a ParameterError if a system that lacks the options of `Descriptors` has one."""
    for name in ("sound_copies", "by_collection"):
        if getattr(system, name):
            raise ParameterError(f"{name} is no option of {type(system).__name__}")


@dataclass(frozen=True, kw_only=True)
class PitchClassClassifier(DescriptorClassifier):
    """A classifier of pitch-class shares that is trained on all transpositions.

    Each training clip stands there twelve times; an answer is the mean over the transpositions.
    Validation clips, which choose C, are not transposed.
    """

    features: tuple[Feature, ...] = (pitch_class_shares,)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_plain(self)

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedClassifier:
        """As of `DescriptorClassifier`; a ParameterError if the features have not 12 values."""
        given = self.values(train)
        if given.shape[1] != _PITCH_CLASSES:
            raise ParameterError(
                f"the features have {given.shape[1]} values; expected {_PITCH_CLASSES}, the pitch "
                "classes"
            )
        shares = np.concatenate([np.roll(given, k, axis=1) for k in range(_PITCH_CLASSES)])
        pipeline, history = select_classifier(
            {c: self._estimator(c) for c in self.c_grid},
            (shares, np.tile(context.several_classes(train), _PITCH_CLASSES)),
            (self.values(valid), context.task.targets(valid)),
        )
        return FittedPitchClasses(self, pipeline, context.n_classes, history)


@dataclass(eq=False, repr=False)
class FittedClassifier(Fitted):
    """A fitted scikit-learn pipeline with the system that it belongs to."""

    system: Descriptors
    pipeline: Any
    n_classes: int
    history: list[dict[str, float]]

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, p_1 ... p_k, see `class_values`.

        Raises
        ------
        ParameterError
            If answers are by collection and there are fewer than 20 clips.
        """
        x = self.system.values(corpus)
        if self.system.by_collection:
            x = _as_training_clips(x, self.pipeline)
        return probabilities(corpus, class_values(self.pipeline, x, self.n_classes))


def _as_training_clips(x: np.ndarray, pipeline: Any) -> np.ndarray:
    """Descriptors of a collection, moved to the means and deviations of the training clips."""
    if len(x) < _FEWEST_OF_COLLECTION:
        raise ParameterError(
            f"by_collection takes {_FEWEST_OF_COLLECTION} clips or more; found {len(x)}"
        )
    own = StandardScaler().fit_transform(x)
    moved: np.ndarray = pipeline.named_steps["standardscaler"].inverse_transform(own)
    return moved


@dataclass(eq=False, repr=False)
class FittedPitchClasses(FittedClassifier):
    """A fitted pipeline of pitch-class shares."""

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, p_1 ... p_k: the mean over all transpositions."""
        shares = self.system.values(corpus)
        turned = (np.roll(shares, k, axis=1) for k in range(_PITCH_CLASSES))
        values = [class_values(self.pipeline, x, self.n_classes) for x in turned]
        return probabilities(corpus, np.mean(values, axis=0))


@dataclass(frozen=True, kw_only=True)
class DescriptorSVR(Descriptors):
    """Support vector regression.

    Each dimension has a machine of its own, with a radial kernel and with the C that has the
    lowest RMSE on the validation clips.

    Attributes
    ----------
    epsilon : float
        Error that costs nothing, on the scale of the labels.
    """

    regression: ClassVar[bool] = True
    features: tuple[Feature, ...] = (acoustic,)
    c_grid: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    epsilon: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epsilon < 0:
            raise ParameterError(f"epsilon is {self.epsilon}; expected 0 or more")

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedSVR:
        """Fit on the training clips with every C of the grid, keep the best on validation."""
        task = context.regression_task
        train, valid = varied(train, valid, self.sound_copies)
        x, y = self.values(train), task.targets(train)
        x_valid, y_valid = self.values(valid), task.targets(valid)
        machines: dict[str, Any] = {}
        history: list[dict[str, float]] = []
        for k, dimension in enumerate(task.dimensions):
            tried = [self._fitted(c, x, y[:, k]) for c in self.c_grid]
            errors = [rmse(y_valid[:, k], machine.predict(x_valid)) for machine in tried]
            machines[dimension] = tried[int(np.argmin(errors))]
            history += [
                {"C": c, "dimension": k, "valid_rmse": error}
                for c, error in zip(self.c_grid, errors, strict=True)
            ]
        return FittedSVR(self, machines, history)

    def _fitted(self, c: float, x: np.ndarray, y: np.ndarray) -> Any:
        machine = SVR(C=c, gamma="scale", epsilon=self.epsilon)
        return make_pipeline(StandardScaler(), machine).fit(x, y)


@dataclass(eq=False, repr=False)
class FittedSVR(Fitted):
    """Fitted support vector machines, one a dimension."""

    system: DescriptorSVR
    machines: dict[str, Any]
    history: list[dict[str, float]]

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, valence, arousal; errors as of `FittedClassifier.predict`."""
        x = self.system.values(corpus)
        if self.system.by_collection:
            x = _as_training_clips(x, next(iter(self.machines.values())))
        values = np.stack([machine.predict(x) for machine in self.machines.values()], axis=1)
        return dimension_frame(corpus, tuple(self.machines), values)
