"""Systems without a network: linear and kernel machines on descriptors, baselines without music."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from mer.audio import waveform
from mer.clips import Clip, Corpus
from mer.errors import InvalidDataError, ParameterError
from mer.evaluation.metrics import rmse
from mer.features import descriptors, notes, spectral
from mer.features.cache import cached, source_of
from mer.rendering import REVISION as RENDERING_REVISION
from mer.segments import LONGEST
from mer.sounds import lacking_for_copies, with_varied_copies
from mer.systems import musicnn
from mer.systems.base import (
    Context,
    Feature,
    Fitted,
    System,
    added,
    dimension_frame,
    notes_feature,
    probabilities,
)
from mer.systems.code import name_of, real_array
from mer.tasks import RegressionTask

SAMPLE_RATE = 22050
PITCH_CLASSES_REVISION = 1


def symbolic(clip: Clip) -> np.ndarray:
    """Symbolic descriptors of a clip's MIDI, cached; shape (n_descriptors,)."""

    def values(played: np.ndarray) -> list[float]:
        return list(descriptors.symbolic_descriptors(played).values())

    return notes_feature("symbolic-descriptors", descriptors.SYMBOLIC_REVISION, values, clip)


def pitch_class_shares(clip: Clip) -> np.ndarray:
    """Shares of the pitch classes C to B in the durations of a clip's notes, shape (12,)."""

    def values(played: np.ndarray) -> np.ndarray:
        durations = played[:, 1] - played[:, 0]
        sums = np.bincount(played[:, 2].astype(int) % 12, durations, minlength=12)
        return sums / max(sums.sum(), np.finfo(float).tiny)

    return notes_feature("pitch-class-shares", PITCH_CLASSES_REVISION, values, clip)


def acoustic(clip: Clip) -> np.ndarray:
    """Acoustic descriptors of a clip's audio, cached; shape (n_descriptors,)."""
    return acoustic_of(clip, lambda: waveform(clip, SAMPLE_RATE))


def acoustic_30s(clip: Clip) -> np.ndarray:
    """Acoustic descriptors of the first 30 s of a clip's audio, cached; shape (n_descriptors,)."""
    length = round(LONGEST * SAMPLE_RATE)
    return acoustic_of(clip, lambda: waveform(clip, SAMPLE_RATE)[:length], seconds=LONGEST)


def acoustic_of(clip: Clip, samples: Callable[[], np.ndarray], **part: Any) -> np.ndarray:
    """Acoustic descriptors of a part of a clip's audio, cached; shape (n_descriptors,).

    `samples` gives it, shape (n,), at `SAMPLE_RATE`; `part` says which it is, for the cache.
    """

    def compute() -> np.ndarray:
        return np.asarray(list(descriptors.acoustic_descriptors(samples(), SAMPLE_RATE).values()))

    return cached(
        "acoustic-descriptors",
        descriptors.ACOUSTIC_REVISION,
        {"rendering": RENDERING_REVISION, "sample_rate": SAMPLE_RATE, **part},
        source_of(clip, "audio"),
        compute,
    )


def robust(clip: Clip) -> np.ndarray:
    """Robust descriptors of a clip's audio, cached; shape (n_descriptors,)."""

    def compute() -> np.ndarray:
        found = descriptors.robust_descriptors(waveform(clip, SAMPLE_RATE), SAMPLE_RATE)
        return np.asarray(list(found.values()))

    return cached(
        "robust-descriptors",
        descriptors.ROBUST_REVISION,
        {"rendering": RENDERING_REVISION, "sample_rate": SAMPLE_RATE},
        source_of(clip, "audio"),
        compute,
    )


ACOUSTIC_REVISIONS = {"rendering": RENDERING_REVISION, "acoustic": descriptors.ACOUSTIC_REVISION}
_EMBEDDING_REVISIONS = {
    **{"rendering": RENDERING_REVISION, "spectral": spectral.REVISION},
    "musicnn": musicnn.REVISION,
}
FEATURE_REVISIONS: dict[Any, dict[str, int]] = {
    symbolic: {"notes": notes.REVISION, "symbolic": descriptors.SYMBOLIC_REVISION},
    pitch_class_shares: {"notes": notes.REVISION, "pitch_classes": PITCH_CLASSES_REVISION},
    acoustic: ACOUSTIC_REVISIONS,
    acoustic_30s: ACOUSTIC_REVISIONS,
    robust: {"rendering": RENDERING_REVISION, "robust": descriptors.ROBUST_REVISION},
    musicnn.embedding_statistics: _EMBEDDING_REVISIONS,
    musicnn.embedding_statistics_30s: _EMBEDDING_REVISIONS,
}
"""Revisions that features of the package depend on."""

_EMBEDDINGS = {musicnn.embedding_statistics, musicnn.embedding_statistics_30s}
_PLAIN = {*_EMBEDDINGS, pitch_class_shares}
"""Features that are no choice of ours among many."""

_NAMES: Mapping[Any, Callable[[], Sequence[str]]] = {
    symbolic: lambda: list(descriptors.symbolic_descriptors(np.zeros((0, 4)))),
    acoustic: lambda: list(
        descriptors.acoustic_descriptors(np.zeros(SAMPLE_RATE, np.float32), SAMPLE_RATE)
    ),
}
"""Names of the descriptors of a feature."""

_INPUTS: Mapping[Any, str] = {symbolic: "MIDI", pitch_class_shares: "MIDI"}
_PITCH_CLASSES = 12
_FEWEST_OF_COLLECTION = 20
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

    @property
    def inputs(self) -> str:  # type: ignore[override]
        """What the features are taken from; a function of your own counts as one of audio."""
        kinds = {_INPUTS.get(feature, "audio") for feature in self.features}
        return " + ".join(sorted(kinds, key=str.lower))

    @property
    def revisions(self) -> dict[str, int]:
        """Revision numbers of the descriptors in use."""
        known = [FEATURE_REVISIONS.get(feature, {}) for feature in self.features]
        return {name: number for part in known for name, number in part.items()}

    @property
    def stand_in(self) -> str:
        """Descriptors of our own; their list was drawn up with cross-validation in view."""
        own = FEATURE_REVISIONS.keys() - _PLAIN
        text = "our descriptors, chosen with these folds in view"
        return text if own.intersection(self.features) else ""

    @property
    def lacks(self) -> str:
        """The weights of MusiCNN, and soundfonts, where they are needed and not there."""
        needed = _EMBEDDINGS.intersection(self.features)
        weights = musicnn.OBTAIN if needed and not musicnn.has_weights() else ""
        return weights or lacking_for_copies(self.sound_copies)

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
        train, valid = (with_varied_copies(part, self.sound_copies) for part in (train, valid))
        pipeline, history = select_classifier(
            {c: self._estimator(c) for c in self.c_grid},
            (self.values(train), context.several_classes(train)),
            (self.values(valid), context.task.targets(valid)),
        )
        return FittedClassifier(self, pipeline, n_classes, history)


def _check_plain(system: Descriptors) -> None:
    for name in ("sound_copies", "by_collection"):
        if getattr(system, name):
            raise ParameterError(f"{name} is no option of {type(system).__name__}")


@dataclass(frozen=True, kw_only=True)
class SelectingClassifier(DescriptorClassifier):
    """A classifier on those groups of descriptors that the training clips choose.

    A group has the descriptors of one feature whose names begin with one word, such as "rhythm".
    Forward selection: in each step the group joins whose addition gives the highest accuracy in
    song-grouped cross-validation within the training clips, with C at the middle of its grid,
    until none raises it. Then C is chosen on the validation clips.

    Attributes
    ----------
    inner_folds : int
        Of the cross-validation within the training clips, at least 2.
    """

    inner_folds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [name_of(f) for f in self.features if f not in _NAMES]
        if unknown:
            raise ParameterError(
                f"feature {unknown[0]} has no named groups; expected some of: "
                f"{', '.join(name_of(f) for f in _NAMES)}"
            )
        _check_plain(self)
        if self.inner_folds < 2:
            raise ParameterError(f"inner_folds is {self.inner_folds}; expected 2 or more")

    @property
    def stand_in(self) -> str:
        """Descriptors of our own."""
        return "our descriptors"

    def groups(self) -> list[np.ndarray]:
        """Columns of `values` of each group."""
        names = [(f, name.split("_")[0]) for f in self.features for name in _NAMES[f]()]
        return [np.flatnonzero([own == g for own in names]) for g in dict.fromkeys(names)]

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedClassifier:
        """Choose groups within the training clips, then as `DescriptorClassifier`.

        Raises
        ------
        InvalidDataError
            If the training clips have one class only, or fewer songs than inner folds.
        """
        x, y = self.values(train), context.several_classes(train)
        columns = self._chosen(x, y, train.groups)
        pipeline, history = select_classifier(
            {c: self._estimator(c) for c in self.c_grid},
            (x[:, columns], y),
            (self.values(valid)[:, columns], context.task.targets(valid)),
        )
        taken = ColumnTransformer([("chosen", "passthrough", columns)]).fit(x)
        whole = Pipeline([("columns", taken), *pipeline.steps])
        return FittedClassifier(self, whole, context.n_classes, history)

    def _chosen(self, x: np.ndarray, y: np.ndarray, songs: Sequence[str]) -> list[int]:
        if len(set(songs)) < self.inner_folds:
            raise InvalidDataError(
                f"the training clips are of {len(set(songs))} songs; expected {self.inner_folds} "
                "or more, one for each inner fold"
            )
        estimator = make_pipeline(
            StandardScaler(), self._estimator(self.c_grid[len(self.c_grid) // 2])
        )
        folds = list(StratifiedGroupKFold(self.inner_folds).split(x, y, songs))
        chosen: list[int] = []
        left, best = self.groups(), -1.0
        while left:
            tried = [[*chosen, *group.tolist()] for group in left]
            scores = [cross_val_score(estimator, x[:, t], y, cv=folds).mean() for t in tried]
            k = int(np.argmax(scores))
            if scores[k] <= best:
                break
            chosen, best = tried[k], float(scores[k])
            left.pop(k)
        return sorted(chosen)


@dataclass(frozen=True, kw_only=True)
class PitchClassClassifier(DescriptorClassifier):
    """A classifier of pitch-class shares that is trained on all transpositions.

    Each training clip stands there twelve times; an answer is the mean over the transpositions.
    Validation clips, which choose C, are not transposed.
    """

    features: tuple[Feature, ...] = (pitch_class_shares,)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_plain(self)

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
            f"found {len(x)} clips; answers by collection take {_FEWEST_OF_COLLECTION} or more"
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
        task = regression_task(context)
        train, valid = (with_varied_copies(part, self.sound_copies) for part in (train, valid))
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


def regression_task(context: Context) -> RegressionTask:
    """The task of a context, which must be a regression.

    Raises
    ------
    ParameterError
        If its task has classes.
    """
    if not isinstance(context.task, RegressionTask):
        raise ParameterError(
            f"this system predicts valence and arousal; task {context.task.name!r} has classes: "
            "take task 'VA'"
        )
    return context.task


@dataclass(frozen=True, kw_only=True)
class _WithoutMusic(System):
    """Predictions from the labels of the training clips alone."""

    inputs: ClassVar[str] = "labels"
    seeded: ClassVar[bool] = False

    @property
    def revisions(self) -> dict[str, int]:
        """No feature and no model."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Constant(_WithoutMusic):
    """Predicts the most frequent class of the training clips."""

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedLabels:
        """Count the classes of the training clips."""
        return FittedLabels(_frequencies(context.task.targets(train), context.n_classes))


@dataclass(frozen=True, kw_only=True)
class SongLookup(_WithoutMusic):
    """Predicts the most frequent class of the same song among the training clips.

    It is the constant prediction, unless songs of the test set are in training.
    """

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedLabels:
        """Count the classes of every song among the training clips."""
        targets = context.task.targets(train)
        n_classes = context.n_classes
        groups = np.asarray(train.groups)
        by_group = {
            str(group): _frequencies(targets[groups == group], n_classes)
            for group in Counter(train.groups)
        }
        return FittedLabels(_frequencies(targets, n_classes), by_group)


def _frequencies(targets: np.ndarray, n_classes: int) -> dict[str, float]:
    shares = np.bincount(targets, minlength=n_classes) / len(targets)
    return {f"p_{k}": share for k, share in enumerate(shares.tolist(), start=1)}


@dataclass(frozen=True, kw_only=True)
class Mean(_WithoutMusic):
    """Predicts the mean label of the training clips: R2 is 0 or a little less."""

    regression: ClassVar[bool] = True

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedLabels:
        """Average the labels of the training clips."""
        task = regression_task(context)
        means = task.targets(train).mean(axis=0).tolist()
        return FittedLabels(dict(zip(task.dimensions, means, strict=True)))


@dataclass(eq=False, repr=False)
class FittedLabels(Fitted):
    """Frequencies or means of labels by column, of the clip's own group where it is known."""

    overall: dict[str, float]
    by_group: Mapping[str, dict[str, float]] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id and p_1 ... p_k, or id, valence, arousal."""
        rows = [self.by_group.get(clip.group, self.overall) for clip in corpus]
        return pd.DataFrame({"id": corpus.ids, **pd.DataFrame(rows)})
