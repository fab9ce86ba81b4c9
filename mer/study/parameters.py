"""Parameters of a notebook: JSON-native, checked before anything runs."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from mer.corpora import LABELLED
from mer.errors import ParameterError
from mer.study.profiles import get_profile, segment_tasks
from mer.systems import SYSTEMS
from mer.tasks import REGRESSION_TASKS, TASKS

JSON_TYPES = (str, int, float, bool, list, dict, type(None))
_SESSION_NAMES = {"In", "Out", "exit", "quit", "open", "get_ipython"}


class NotebookParameters(BaseModel):
    """What every notebook takes.

    Attributes
    ----------
    profile : str
        "smoke", "quick", "cpu" or "paper".
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    profile: str = "quick"

    @field_validator("*", mode="before")
    @classmethod
    def _from_json(cls, value: Any) -> Any:
        return _read_json(value)

    @field_validator("profile")
    @classmethod
    def _known_profile(cls, value: str) -> str:
        return get_profile(value).name


class CorpusParameters(NotebookParameters):
    """Parameters of a notebook that looks at a corpus.

    Attributes
    ----------
    profile : str
        "smoke", "quick", "cpu" or "paper".
    corpus : str or None
        Name of a corpus; None takes the one of the profile.
    compute : bool
        False shows stored runs only: what is not stored is an error.
    """

    corpus: str | None = None
    compute: bool = True

    @property
    def default_corpus(self) -> str:
        """The corpus of the profile."""
        return get_profile(self.profile).corpus

    @field_validator("corpus")
    @classmethod
    def _known_corpus(cls, value: str | None) -> str | None:
        return None if value is None else _known(value, LABELLED, "corpus", "corpora")


class RunParameters(CorpusParameters):
    """Parameters of a notebook that runs systems; lists and dicts may be given as JSON text.

    Attributes
    ----------
    systems : list of str or None
        Names of systems; None takes those of the notebook.
    seeds : list of int or None
        None takes those of the profile.
    overrides : dict of str to dict
        By system: hyper-parameters that differ from those of the profile.
    n_jobs : int or None
        Processes; None takes one for each core.
    cluster : str or None
        Address of a dask scheduler, such as "tcp://scheduler:8786".
    """

    systems: list[str] | None = None
    seeds: list[int] | None = None
    overrides: dict[str, dict[str, Any]] = {}
    n_jobs: int | None = None
    cluster: str | None = None

    @field_validator("systems")
    @classmethod
    def _known_systems(cls, value: list[str] | None) -> list[str] | None:
        return value and [_known(name, SYSTEMS, "system", "systems") for name in value]

    @field_validator("seeds")
    @classmethod
    def _some_seeds(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and (not value or min(value) < 0 or len(set(value)) < len(value)):
            raise ParameterError(f"seeds is {value}; expected different whole numbers from 0")
        return value

    @field_validator("n_jobs")
    @classmethod
    def _some_jobs(cls, value: int | None) -> int | None:
        return _positive_jobs(value)

    @field_validator("overrides")
    @classmethod
    def _known_overrides(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name in value:
            _known(name, SYSTEMS, "system in overrides", "systems")
        return value


class StudyParameters(RunParameters):
    """Parameters of a notebook on classification: as `RunParameters`, and the tasks.

    Attributes
    ----------
    tasks : list of str
        Among "4Q", "A", "V" and "cluster"; may be given as JSON text.
    """

    tasks: list[str] = ["4Q", "A", "V"]

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, value: list[str]) -> list[str]:
        return _several(value, TASKS, "task", "tasks")


class SegmentParameters(RunParameters):
    """Parameters of the notebooks on segments, which may show several corpora.

    As `RunParameters`, but `corpus` None takes all those of the profile; and the tasks.

    Attributes
    ----------
    tasks : list of str or None
        Among "4Q", "A", "V" and "cluster"; may be given as JSON text. None takes, for each
        corpus, those that its labels are made for.
    """

    tasks: list[str] | None = None

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else _several(value, TASKS, "task", "tasks")

    def by_corpus(self) -> dict[str, StudyParameters]:
        """Parameters of the study on each corpus, in order."""
        names = get_profile(self.profile).segment_corpora if self.corpus is None else [self.corpus]
        shared = self.model_dump(exclude={"corpus", "tasks"})
        return {
            name: StudyParameters(
                **shared, corpus=name, tasks=self.tasks or list(segment_tasks(name))
            )
            for name in names
        }


class RegressionParameters(RunParameters):
    """Parameters of a notebook on valence and arousal as numbers: those of `RunParameters`."""

    @property
    def tasks(self) -> list[str]:
        """The one task."""
        return list(REGRESSION_TASKS)

    @property
    def default_corpus(self) -> str:
        """The corpus of the profile for regression."""
        return get_profile(self.profile).regression_corpus


class ScoreParameters(NotebookParameters):
    """Parameters of a notebook that scores a converter of audio; lists may be given as JSON text.

    Attributes
    ----------
    profile : str
        "smoke", "quick", "cpu" or "paper".
    compute : bool
        False shows stored scores only: what is not stored is an error.
    n_jobs : int or None
        Processes; None takes one for each core.
    """

    compute: bool = True
    n_jobs: int | None = None

    @field_validator("n_jobs")
    @classmethod
    def _some_jobs(cls, value: int | None) -> int | None:
        return _positive_jobs(value)


class TranscriptionParameters(ScoreParameters):
    """Parameters of the notebook on transcription: as `ScoreParameters`, and what is scored.

    Attributes
    ----------
    transcribers : list of str
        Among `mer.transcription.TRANSCRIBERS`.
    tests : list of str or None
        Among `mer.study.transcriptions.TESTS`; None takes those of the profile.
    """

    transcribers: list[str] = ["onsets-frames"]
    tests: list[str] | None = None

    @field_validator("transcribers")
    @classmethod
    def _known_transcribers(cls, value: list[str]) -> list[str]:
        from mer.transcription import TRANSCRIBERS

        return _several(value, TRANSCRIBERS, "transcriber", "transcribers")

    @field_validator("tests")
    @classmethod
    def _known_tests(cls, value: list[str] | None) -> list[str] | None:
        from mer.study.transcriptions import TESTS

        return None if value is None else _several(value, TESTS, "test", "tests")


class SeparationParameters(ScoreParameters):
    """Parameters of the notebook on source separation: as `ScoreParameters`, and what is scored.

    Attributes
    ----------
    separators : list of str
        Among `mer.separation.SEPARATORS`.
    """

    separators: list[str] = ["small"]

    @field_validator("separators")
    @classmethod
    def _known_separators(cls, value: list[str]) -> list[str]:
        from mer.separation import SEPARATORS

        return _several(value, SEPARATORS, "separator", "separators")


Parameters = TypeVar("Parameters", bound=NotebookParameters)


def parameters(namespace: Mapping[str, Any], model: type[Parameters]) -> Parameters:
    """Check what the parameters cell of a notebook, and whoever ran it, have set.

    Call it right after the parameters cell: every JSON-native name there counts as a parameter,
    and so does a known name with another value, which is refused. (papermill itself accepts any
    name and only logs those that it does not know.)

    Parameters
    ----------
    namespace : mapping
        `globals()` of the notebook.
    model : class
        What the notebook takes.

    Raises
    ------
    ParameterError
        If a name is unknown, or a value has the wrong type or is not among the known ones.
    """
    values = {
        name: value
        for name, value in namespace.items()
        if not name.startswith("_")
        and name not in _SESSION_NAMES
        and (isinstance(value, JSON_TYPES) or name in model.model_fields)
    }
    return check(values, model)


def check(values: Mapping[str, Any], model: type[Parameters]) -> Parameters:
    """Parameters of that model, or a clear error."""
    unknown = [name for name in values if name not in model.model_fields]
    if unknown:
        raise ParameterError(
            f"unknown parameter {unknown[0]!r}; the parameters are: {', '.join(model.model_fields)}"
        )
    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ParameterError(
            f"parameter {name!r} is {first['input']!r}: {first['msg'].lower()}"
        ) from None


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Parameters from the command line, `name=value` with a value as in Python or a bare word.

    Raises
    ------
    ParameterError
        If there is no `=`.
    """
    values = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise ParameterError(f"found {assignment!r}; expected name=value, such as seeds=[0,1]")
        try:
            values[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError):
            values[name] = text
    return values


def _read_json(value: Any) -> Any:
    # `papermill -p seeds "[0,1]"` hands the text on: it reads numbers, but no lists.
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
    return value


def _positive_jobs(value: int | None) -> int | None:
    if value is not None and value < 1:
        raise ParameterError(f"n_jobs is {value}; expected 1 or more")
    return value


def _several(
    values: list[str], names: tuple[str, ...] | Mapping[str, Any], one: str, many: str
) -> list[str]:
    if not values:
        raise ParameterError(f"{many} is empty; the {many} are: {', '.join(names)}")
    if len(set(values)) < len(values):
        raise ParameterError(f"{many} is {values}; expected each {one} once")
    return [_known(value, names, one, many) for value in values]


def _known(value: str, names: tuple[str, ...] | Mapping[str, Any], one: str, many: str) -> str:
    if value not in names:
        raise ParameterError(f"unknown {one} {value!r}; the {many} are: {', '.join(names)}")
    return value
