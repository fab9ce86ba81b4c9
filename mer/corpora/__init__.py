"""Datasets, one module each, and `load(name)`."""

from __future__ import annotations

import inspect
from importlib import import_module
from types import ModuleType
from typing import Any

from mer.clips import Corpus
from mer.corpora.remote import Remote
from mer.errors import ParameterError

CORPORA = (
    *("emopia", "composed", "composed_band", "composed_trajectories", "maestro", "pop1k7"),
    *("emotify", "mirex_mood", "pmemo", "emotion_in_music", "four_quadrants"),
)
LABELLED = (
    *("emopia", "composed", "composed_band", "composed_trajectories"),
    *("emotify", "mirex_mood", "pmemo", "emotion_in_music", "four_quadrants"),
)
"""Those with emotion labels, on which systems can be trained and tested."""


def load(name: str, **options: Any) -> Corpus:
    """Load a corpus by name.

    Parameters
    ----------
    name : str
        One of `CORPORA`.
    **options
        What the loader of that corpus takes.

    Raises
    ------
    ParameterError
        If there is no such corpus, or it takes no such option.
    MissingDataError, InvalidDataError
        If the dataset is missing or damaged.
    """
    loader = _module(name).load
    known = inspect.signature(loader).parameters
    for option in options:
        if option not in known:
            raise ParameterError(
                f"corpus {name!r} takes no option {option!r}; it takes: {', '.join(known)}"
            )
    corpus: Corpus = loader(**options)
    return corpus


def remote_of(name: str) -> Remote:
    """Where a corpus is downloaded from.

    Raises
    ------
    ParameterError
        If there is no such corpus, it needs no download, or its authors give it out themselves.
    """
    module = _module(name)
    remote: Remote | None = getattr(module, "REMOTE", None)
    if remote is None and hasattr(module, "OBTAIN"):
        raise ParameterError(
            f"corpus {name!r} cannot be downloaded by this command: {module.OBTAIN}"
        )
    if remote is None:
        raise ParameterError(f"corpus {name!r} needs no download")
    return remote


def _module(name: str) -> ModuleType:
    if name not in CORPORA:
        raise ParameterError(f"unknown corpus {name!r}; the corpora are: {', '.join(CORPORA)}")
    return import_module(f"mer.corpora.{name}")
