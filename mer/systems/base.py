"""The base classes of all systems."""

from __future__ import annotations

import math
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, get_type_hints

import numpy as np
import pandas as pd

from mer import rendering
from mer.audio import waveform
from mer.clips import Clip, Corpus
from mer.errors import InvalidDataError, ParameterError
from mer.features import notes, spectral
from mer.features.cache import cached, source_of
from mer.files import read_sealed, require_file, write_sealed
from mer.systems.code import call, name_of, plain, real_array
from mer.tasks import AnyTask, RegressionTask, Task

FITTED_FILE = "fitted.pickle"
"""Name of the file of a fitted system."""


@dataclass(frozen=True, slots=True)
class Context:
    """How a system is fitted, beside its hyper-parameters.

    Attributes
    ----------
    task : Task or RegressionTask
    seed : int
    device : str
        "auto", "cpu" or "cuda".
    checkpoint : Path or None
        File to resume from; None to keep none.
    progress : bool
        Whether to show a progress bar.
    """

    task: AnyTask
    seed: int = 0
    device: str = "auto"
    checkpoint: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.task, Task | RegressionTask):
            raise ParameterError(f"task is {self.task!r}; expected mer.tasks.get_task('4Q'), say")

    def several_classes(self, clips: Corpus) -> np.ndarray:
        """Class index of training clips, shape (n,).

        Raises
        ------
        InvalidDataError
            If all are of one class.
        """
        targets = self.task.targets(clips)
        if len(np.unique(targets)) < 2:
            raise InvalidDataError(
                f"all {len(clips)} training clips are of one class of task {self.task.name!r}; "
                "expected two or more"
            )
        return targets

    @property
    def n_classes(self) -> int:
        """Of the task.

        Raises
        ------
        ParameterError
            If the task is a regression.
        """
        if not isinstance(self.task, Task):
            raise ParameterError(
                f"task {self.task.name!r} is a regression; this system needs one with classes"
            )
        return len(self.task.classes)

    @property
    def regression_task(self) -> RegressionTask:
        """The task, which must be a regression.

        Raises
        ------
        ParameterError
            If it has classes.
        """
        if not isinstance(self.task, RegressionTask):
            raise ParameterError(
                f"this system predicts valence and arousal; task {self.task.name!r} has classes: "
                "take task 'VA'"
            )
        return self.task


class Fitted(ABC):
    """A trained system."""

    history: list[dict[str, float]]

    @abstractmethod
    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Class probabilities: columns id, p_1 ... p_k, one row a clip, in corpus order.

        Systems with heads for arousal or valence add head_A or head_V, the probability of "high".
        Systems of regression give the columns id, valence and arousal, on the scale of the labels
        but not clipped to it.
        """

    def save(self, folder: Path) -> None:
        """Write everything that `load` needs, as one file.

        What a notebook defines (a feature, a network) goes into it as a whole.
        """
        import cloudpickle

        folder.mkdir(parents=True, exist_ok=True)
        write_sealed(folder / FITTED_FILE, cloudpickle.dumps(self))

    @staticmethod
    def load(folder: Path) -> Any:
        """What `save` wrote. Load only files of your own: unpickling runs code of the file.

        Raises
        ------
        MissingDataError
            If there is no such file.
        InvalidDataError
            If it is damaged.
        """
        path = folder / FITTED_FILE
        require_file(path)
        try:
            return pickle.loads(read_sealed(path))
        except Exception as error:  # pickle raises AttributeError, EOFError and others by cause
            raise InvalidDataError(
                f"{path} cannot be loaded ({error}); fit the system again with this version"
            ) from None


def added(default: Any) -> Any:
    """A hyper-parameter that came after runs had been stored.

    Where it has its default, it stays out of `System.parameters`: keys of stored runs stay.
    """
    return field(default=default, metadata={"added": True})


@dataclass(frozen=True, kw_only=True)
class System(ABC):
    """Features, model and training: with a name, a row of a table.

    The fields of the data class are its hyper-parameters; their defaults are the published ones.

    Attributes
    ----------
    stated : frozenset of str
        Names of the hyper-parameters that the constructor or `configured` was given: a profile
        does not change them, even where they equal the default. `dataclasses.replace` states none.
    """

    stated: ClassVar[frozenset[str]] = frozenset()

    family: ClassVar[str] = ""
    """Under which profiles list the sizes of networks of this kind; empty for other systems."""

    seeded: ClassVar[bool] = True
    """Whether the result depends on the seed."""

    regression: ClassVar[bool] = False
    """Whether it predicts valence and arousal (task "VA"), not class probabilities."""

    inputs: ClassVar[str]
    """"MIDI", "audio", "audio + MIDI" or "labels"."""

    def __new__(cls, **values: Any) -> Self:
        """Check the types of the values and remember their names.

        Raises
        ------
        ParameterError
            If a value has not the type of its field.
        """
        for name, value in values.items():
            if value is not getattr(cls, name, None):
                _check_type(cls, name, value)
        system = super().__new__(cls)
        is_copy = len(values) == len(fields(cls))
        return system._stating(() if is_copy else values)

    def _stating(self, names: Iterable[str]) -> Self:
        object.__setattr__(self, "stated", self.stated.union(names))
        return self

    @abstractmethod
    def fit(self, train: Corpus, valid: Corpus, context: Context) -> Fitted:
        """Train on `train`; `valid` only chooses hyper-parameters and when to stop."""

    def cache_features(self, clip: Clip) -> None:  # noqa: B027 - most have some
        """Compute the features of a clip that fitting reads from the cache; by default none."""

    @property
    @abstractmethod
    def revisions(self) -> dict[str, int]:
        """Revision numbers of the features and models that the result depends on."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Hyper-parameters, JSON-native; those that were `added` where they are not the default."""
        values = {f: getattr(self, f.name) for f in fields(self)}
        kept = {f: v for f, v in values.items() if v != f.default or not f.metadata.get("added")}
        return {f.name: plain(value) for f, value in kept.items()}

    @property
    def settings(self) -> dict[str, Any]:
        """Hyper-parameters that differ from the defaults."""
        pairs = ((f, getattr(self, f.name)) for f in fields(self))
        return {f.name: value for f, value in pairs if value != f.default}

    def differing(self, other: System) -> list[str]:
        """Names of the hyper-parameters of another system that are not the same here."""
        return [f.name for f in fields(other) if getattr(self, f.name) != getattr(other, f.name)]

    @property
    def lacks(self) -> str:
        """What has to be fetched or trained before it can be fitted, and how; empty for nothing."""
        return ""

    @property
    def stand_in(self) -> str:
        """What takes the place of a part of the published system; empty for nothing."""
        return ""

    def example(self, clip: Clip) -> tuple[Any, Any, dict[str, Picture]]:
        """A fresh network for four classes, a batch of one as it sees a clip, and pictures of that.

        Raises
        ------
        ParameterError
            If the system has no network.
        """
        raise ParameterError(f"{type(self).__name__} has no network to show")

    def configured(self, values: Mapping[str, Any]) -> Self:
        """The system with other hyper-parameters, their names checked.

        Raises
        ------
        ParameterError
            If a name is unknown, or a value has not the type of the parameter or is out of range.
        """
        return replace(self, **self.checked(values))._stating({*self.stated, *values})

    def checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Hyper-parameters as the fields take them; errors as `configured`."""
        known = [f.name for f in fields(self)]
        changes = {}
        for name, value in values.items():
            if name not in known:
                raise ParameterError(
                    f"{type(self).__name__} has no parameter {name!r}; "
                    f"it has: {', '.join(known) or 'none'}"
                )
            if plain(getattr(self, name)) == value:
                continue
            changes[name] = tuple(value) if isinstance(value, list) else value
        return changes


def _check_type(kind: type[System], name: str, value: Any) -> None:
    """Raise a ParameterError if a value has not the type of this field; unknown names pass."""
    try:
        from pydantic import ValidationError
    except (
        ImportError
    ):  # training alone needs no pydantic: wrong types then fail where they are used
        return
    try:
        _adapter(kind, name).validate_python(value, strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        reason = f"{name} is {value!r}: {message[0].lower()}{message[1:]}"
        raise ParameterError(f"{kind.__name__}: {reason}") from None


@cache
def _adapter(kind: type[System], name: str) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(get_type_hints(kind).get(name, Any))


def probabilities(corpus: Corpus, values: np.ndarray) -> pd.DataFrame:
    """Data frame of class probabilities, shape (n_clips, n_classes), as `Fitted.predict` gives."""
    columns = {f"p_{k + 1}": values[:, k] for k in range(values.shape[1])}
    return pd.DataFrame({"id": corpus.ids, **columns})


def dimension_frame(corpus: Corpus, names: tuple[str, ...], values: np.ndarray) -> pd.DataFrame:
    """Predictions, shape (n_clips, n_dimensions), as `Fitted.predict` of a regression gives."""
    columns = {name: values[:, k] for k, name in enumerate(names)}
    return pd.DataFrame({"id": corpus.ids, **columns})


Feature = Callable[..., np.ndarray]
"""A feature function: of samples and sample rate, or of notes, or of a clip, as the system says."""


@dataclass(frozen=True)
class Picture:
    """What a network sees of a clip, and what its axes are.

    Attributes
    ----------
    array : np.ndarray
        A feature of the sound, shape (n_rows, n_steps), notes, shape (n, 4), or tokens, shape (n,).
    label : str
        Of the rows, or of the tokens.
    step : float, optional
        Of a feature, in seconds.
    times : np.ndarray, shape (n,), optional
        Of tokens, in seconds.
    frequencies : np.ndarray, optional
        Centres of the first rows in Hz.
    names : mapping of float to str
        Of further rows, by their place.
    """

    array: np.ndarray
    label: str = "Token"
    step: float | None = None
    times: np.ndarray | None = None
    frequencies: np.ndarray | None = None
    names: Mapping[float, str] = field(default_factory=dict)


def sound_picture(
    feature: Feature, values: np.ndarray, sample_rate: int, hop_length: int, *, pool: int = 1
) -> Picture:
    """A feature of the sound; what its rows are is known of mel bands and pitch classes."""
    step = pool * hop_length / sample_rate
    if feature in (spectral.log_mel, spectral.relative_log_mel):
        centres = spectral.mel_centres(sample_rate, len(values))
        return Picture(values, "Frequency (Hz)", step, frequencies=centres)
    if feature is spectral.chroma:
        return Picture(values, "Pitch class", step, names=_NATURALS)
    return Picture(values, f"Row of {name_of(feature)}", step)


_NATURALS: Mapping[float, str] = {0: "C", 2: "D", 4: "E", 5: "F", 7: "G", 9: "A", 11: "B"}


def notes_feature(
    name: str, revision: int, function: Callable[[np.ndarray], Any], clip: Clip
) -> np.ndarray:
    """A function of the notes of a clip's MIDI, shape (n, 4), cached under this name."""
    midi = source_of(clip, "midi")
    revisions = {"notes": notes.REVISION}
    return cached(
        name, revision, revisions, midi, lambda: np.asarray(function(notes.read_notes(midi)))
    )


def clip_feature(
    feature: Feature,
    clip: Clip,
    sample_rate: int,
    *,
    checked: str = "",
    bins: tuple[int, float] = (1, math.inf),
    pool: int = 1,
    least: int = 0,
    **settings: Any,
) -> np.ndarray:
    """A feature of a clip's sound, shape (n_bins, n_frames), float16, cached.

    Parameters
    ----------
    feature : callable
        `mer.features.spectral.log_mel`, or another function of samples and sample rate, and of
        those of the settings that it takes.
    clip : Clip
    sample_rate : int
        In Hz.
    checked : str
        What a message says before the shape of a wrong feature, such as "the feature of harmony
        is"; empty for no check.
    bins : tuple of (int, float)
        Fewest and most bins of a feature that is checked.
    pool : int
        Frames that are averaged to one.
    least : int
        Samples; shorter audio is continued with silence.
    **settings : int
        Such as `n_fft`, `hop_length` and `n_mels`.

    Raises
    ------
    MissingDataError, InvalidDataError
        If the clip has no sound, or one that cannot be used.
    ParameterError
        If the feature is not real or has not two dimensions; if it is checked and has other bins,
        or not a frame each `hop_length` samples.
    """
    if feature is spectral.log_mel:
        return spectral.clip_log_mel(clip, sample_rate, **settings)

    def compute() -> np.ndarray:
        samples = waveform(clip, sample_rate)
        samples = np.pad(samples, (0, max(least - len(samples), 0)))
        values = real_array(feature, call(feature, samples, sample_rate, **settings), 2)
        if checked:
            hop = settings["hop_length"]
            _check_frames(checked, values.shape, bins, 1 + len(samples) // hop, hop)
        pooled = spectral.pooled(values, pool).astype(np.float16)
        if not np.isfinite(pooled).all():
            raise InvalidDataError(
                f"feature {name_of(feature)} of clip {clip.id!r} has values "
                "that are not finite, or beyond 65504"
            )
        return pooled

    facts = {"sample_rate": sample_rate, "rendering": rendering.REVISION, "pool": pool}
    key = {**settings, **facts, "feature": plain(feature), "bins": list(bins), "least": least}
    return cached("own-feature", spectral.REVISION, key, source_of(clip, "audio"), compute)


def _check_frames(
    subject: str, shape: tuple[int, ...], bins: tuple[int, float], n_frames: int, hop_length: int
) -> None:
    if len(shape) == 2 and bins[0] <= shape[0] <= bins[1] and abs(shape[1] - n_frames) <= 1:
        return
    more = "" if bins[0] == bins[1] else " or more"
    expected = f"{bins[0]} bins{more}" if bins[0] > 1 else "bins"
    raise ParameterError(
        f"{subject} an array of shape {shape}; expected {expected} and {n_frames} frames, one "
        f"each hop_length = {hop_length} samples"
    )
