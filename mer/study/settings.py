"""Parameters of a notebook: JSON-native, checked before anything runs."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mer.errors import ParameterError
from mer.sounds import SOUNDS
from mer.study.tables import KNOWN_ROWS

JSON_TYPES = (str, int, float, bool, list, dict, type(None))
_WORDS = {"true": True, "false": False, "none": None, "null": None}
_FORMS = {
    "bool_type": "true or false",
    "int_type": "a whole number, without point or quotes",
    "dict_type": '{"Symbolic-LR": {"c_grid": [1.0]}}',
}
"""How values are written, by what is wrong with them."""

_SESSION_NAMES = {"In", "Out", "exit", "quit", "open", "get_ipython"}

Task = Literal["4Q", "A", "V", "cluster"]
CorpusName = Literal[
    "emopia",
    "composed",
    "composed_band",
    "composed_trajectories",
    "emotify",
    "mirex_mood",
    "pmemo",
    "emotion_in_music",
    "four_quadrants",
]
Transcriber = Literal[
    "onsets-frames", "onsets-frames-varied", "piano-transcription-inference", "basic-pitch"
]


class Settings(BaseModel):
    """Everything that a notebook may take; each has some of it in its parameters cell.

    Lists may be given as tuples, and everything but text and numbers as text in the form of Python
    or JSON, as papermill hands it on.

    Attributes
    ----------
    profile : {"smoke", "quick", "cpu", "paper"}
    corpus : str or None
        Name of a corpus; None takes the one of the profile.
    compute : bool
        False shows stored results only: what is not stored is an error.
    systems : list of str or None
        Names of rows; None takes those of the notebook.
    seeds : list of int or None
        None takes those of the profile.
    overrides : dict of str to dict
        By row: hyper-parameters that differ from those of the profile.
    n_jobs : int or None
        Processes; None takes one for each core.
    cluster : str or None
        Address of a dask scheduler, such as "tcp://scheduler:8786".
    tasks : list of str or None
        None takes those of the notebook.
    transcribers, separators : list of str
        What is scored.
    tests : list of str or None
        Of transcribers; None takes those of the profile.
    sounds : list of str or None
        Names in `mer.sounds.SOUNDS`; None takes those of the profile.
    folder : str or None
        Of one's own music; None takes composed examples.

    Raises
    ------
    ParameterError
        If a value has the wrong type or is not among the known ones.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    profile: Literal["smoke", "quick", "cpu", "paper"] = "quick"
    corpus: CorpusName | None = None
    compute: bool = True
    systems: list[str] | None = None
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] | None = Field(default=None, min_length=1)
    overrides: dict[str, dict[str, Any]] = {}
    n_jobs: Annotated[int, Field(ge=1)] | None = None
    cluster: str | None = None
    tasks: list[Task] | None = Field(default=None, min_length=1)
    transcribers: list[Transcriber] = Field(default=["onsets-frames"], min_length=1)
    tests: list[Literal["composed", "EMOPIA", "MAESTRO", "MAESTRO, unknown piano"]] | None = None
    separators: list[Literal["small", "htdemucs"]] = Field(default=["small"], min_length=1)
    sounds: list[str] | None = Field(default=None, min_length=1)
    folder: str | None = None

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name, kind = str(first["loc"][0]), first["type"]
            message = first["msg"].removeprefix("Value error, ")
            found = f"parameter {name!r} is {values[name]!r}: {message[0].lower()}{message[1:]}"
            form = _as_list(values[name]) if kind == "list_type" else _FORMS.get(kind)
            raise ParameterError(f"{found}; write it as {form}" if form else found) from None

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        # `papermill -p seeds "[0,1]"` hands the text on: it reads numbers, but no lists.
        read = parse(value) if isinstance(value, str) else value
        if isinstance(read, tuple):
            return list(read)
        return value if isinstance(read, (int, float)) and not isinstance(read, bool) else read

    @field_validator("seeds", "tasks", "systems", "transcribers", "tests", "separators", "sounds")
    @classmethod
    def _each_once(cls, values: list[Any] | None) -> list[Any] | None:
        if values is not None and len(set(values)) < len(values):
            raise ValueError(f"expected each of {values} once")
        return values

    @field_validator("systems", "overrides")
    @classmethod
    def _known_rows(cls, value: Any) -> Any:
        for name in value or ():
            if name not in KNOWN_ROWS:
                raise ParameterError(
                    f"unknown system {name!r}; the systems are: {'; '.join(KNOWN_ROWS)}"
                )
        return value

    @field_validator("sounds")
    @classmethod
    def _known_sounds(cls, value: list[str] | None) -> list[str] | None:
        for name in value or ():
            if name not in SOUNDS:
                raise ParameterError(f"unknown sound {name!r}; the sounds are: {'; '.join(SOUNDS)}")
        return value


def read_settings(namespace: Mapping[str, Any]) -> Settings:
    """Check what the parameters cell of a notebook, and whoever ran it, have set.

    `namespace` is `globals()` of the notebook, right after its parameters cell: every JSON-native
    name there counts as a parameter, and so does a known name with another value, which is refused.
    (papermill itself accepts any name and only logs those that it does not know.)

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
        and (isinstance(value, JSON_TYPES) or name in Settings.model_fields)
    }
    # The parameters cell is the first one of the session that assigns a profile
    cells = (assigned_names(cell) for cell in namespace.get("In", []))
    own = next((names for names in cells if "profile" in names), list(Settings.model_fields))
    return check(values, own)


def assigned_names(source: str) -> list[str]:
    """Names that a cell assigns, in order; none if it is no plain Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return []
    targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def check(values: Mapping[str, Any], known: list[str]) -> Settings:
    """Settings of these values, whose names are among the known ones, or a ParameterError."""
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ParameterError(
            f"unknown parameter {unknown[0]!r}; the parameters are: {', '.join(known)}"
        )
    return Settings(**values)


def _as_list(value: Any) -> str:
    """How a list of what was given is written."""
    if not isinstance(value, str):
        return str([value])
    return str([parse(part.strip()) for part in value.strip("[]() ").split(",")])


def parse(text: str) -> Any:
    """The value that a text stands for in Python or JSON; the text itself if it stands for none.

    Words such as true, False and null are known in any case; a tuple has parentheses.
    """
    bare = text.strip()
    if bare.lower() in _WORDS:
        return _WORDS[bare.lower()]
    for read in (ast.literal_eval, json.loads):
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = read(bare)
            return value if not isinstance(value, tuple) or bare.startswith("(") else text
    return text


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Parameters from the command line, `name=value` with a value as `parse` takes it.

    Raises
    ------
    ParameterError
        If there is no `=`, or a name stands twice.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise ParameterError(f"found {assignment!r}; expected name=value, such as seeds=[0,1]")
        if name in values:
            raise ParameterError(f"parameter {name!r} stands more than once; expected it once")
        values[name] = parse(text)
    return values
