"""Datasets, one module each, and `load(name)`."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from mer.clips import Corpus
from mer.corpora.remote import Remote
from mer.errors import ParameterError

CORPORA = (
    *("emopia", "composed", "composed_band", "composed_trajectories", "maestro", "pop1k7"),
    *("emotify", "mirex_mood", "pmemo", "emotion_in_music", "four_quadrants"),
)
LABELLED = tuple(name for name in CORPORA if name not in ("maestro", "pop1k7"))
"""Those with emotion labels, on which systems can be trained and tested."""

_COMPOSED = {"composed_band": "load_band", "composed_trajectories": "load_trajectories"}
"""Their loaders; other corpora have a module of their name."""


def load(name: str, **options: Any) -> Corpus:
    """Load a corpus of `CORPORA`; options are what its loader takes.

    Raises
    ------
    ParameterError
        If there is no such corpus, or it takes no such option.
    MissingDataError, InvalidDataError
        If the dataset is missing or damaged.
    """
    loader = getattr(module_of(name), _COMPOSED.get(name, "load"))
    known = inspect.signature(loader).parameters
    for option in options:
        if option not in known:
            raise ParameterError(
                f"corpus {name!r} takes no option {option!r}; it takes: {', '.join(known)}"
            )
    if isinstance(options.get("folder"), str):
        options["folder"] = Path(options["folder"])
    return loader(**options)


def remote_of(name: str) -> Remote:
    """Where a corpus is downloaded from.

    Raises
    ------
    ParameterError
        If there is no such corpus, it needs no download, or its authors give it out themselves.
    """
    module = module_of(name)
    remote: Remote | None = getattr(module, "REMOTE", None)
    if remote is None and hasattr(module, "OBTAIN"):
        raise ParameterError(
            f"corpus {name!r} cannot be downloaded by this command: {module.OBTAIN}"
        )
    if remote is None:
        raise ParameterError(f"corpus {name!r} needs no download")
    return remote


def module_of(name: str) -> ModuleType:
    """The module that loads a corpus and has its `LICENCE` and `CITATION`.

    Raises
    ------
    ParameterError
        If there is no such corpus.
    """
    if name not in CORPORA:
        raise ParameterError(f"unknown corpus {name!r}; the corpora are: {', '.join(CORPORA)}")
    return import_module(f"mer.corpora.{'composed' if name in _COMPOSED else name}")
