"""Profiles: the same study at four sizes, each a YAML file in the folder beside this module."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mer.errors import InvalidDataError, ParameterError
from mer.systems.base import System

Sizes = Mapping[str, Any]
NAMES = ("smoke", "quick", "cpu", "paper")
STORED, PUBLISHED = "cpu", "paper"
"""The one whose results the book shows, and the one of published sizes, shown where stored."""


class Profile(BaseModel):
    """A size of the study.

    Attributes
    ----------
    name, purpose : str
    corpora : dict of str to list of str
        Corpora that notebooks show if they are not given another, by what they are about:
        "classes", "regression" (valence and arousal as numbers) and "segments".
    corpus_options : dict
        By corpus: what its loader is given.
    seeds : list of int
    cv_seeds : dict of str to int
        By what notebooks are about: how many of them train each fold of cross-validation; 1 if not
        there.
    committed : bool
        Whether its results are kept in `results` (else in `_build`, which git ignores).
    families : dict
        By family of systems: hyper-parameters that differ from the published ones.
    rows : dict
        By row: further ones.
    pages : dict
        By page or paper: folds, tasks and the like that are fewer than the page's own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    purpose: str
    corpora: dict[str, list[str]]
    corpus_options: dict[str, dict[str, Any]] = {}
    seeds: list[int]
    cv_seeds: dict[str, int] = {}
    committed: bool = False
    families: dict[str, dict[str, Any]]
    rows: dict[str, dict[str, Any]] = {}
    pages: dict[str, dict[str, Any]] = {}

    def sized(self, row: str, system: System) -> System:
        """A system at the sizes of this profile.

        What a row states (`System.stated`) or has other than the default stays, unless the profile
        names that row.

        Raises
        ------
        ParameterError
            If the system is a network of a family that the profile does not mention, or the
            profile sets something that the system does not have.
        """
        if system.family and system.family not in self.families:
            raise ParameterError(
                f"profile {self.name!r} does not mention the family {system.family!r}; "
                f"it has: {', '.join(self.families)}"
            )
        sizes = self.families.get(system.family, {})
        own = system.stated.union(system.settings)
        chosen = {name: value for name, value in sizes.items() if name not in own}
        return system.configured({**chosen, **self.rows.get(row, {})})

    def of_page(self, page: str) -> dict[str, Any]:
        """What this profile changes on a page; empty for nothing."""
        return self.pages.get(page, {})


@cache
def get_profile(name: str) -> Profile:
    """The profile of that name.

    Raises
    ------
    ParameterError
        If there is none.
    InvalidDataError
        If its file is damaged.
    """
    if name not in NAMES:
        raise ParameterError(f"unknown profile {name!r}; the profiles are: {', '.join(NAMES)}")
    path = _path(name)
    try:
        return Profile(**{**yaml.safe_load(path.read_text(encoding="utf-8")), "name": name})
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise InvalidDataError(f"{path} is no profile: {error}") from None


def check_names(name: str, *, rows: Collection[str], pages: Collection[str]) -> None:
    """Raise an InvalidDataError if a profile names a row or page that does not exist.

    `pages` are the names of all notebooks; the paper of a notebook counts as a page, too.
    """
    profile = get_profile(name)
    papers = {page.split("_")[0]: None for page in pages}
    known = {"row": list(rows), "page": [*papers, *(page for page in pages if page not in papers)]}
    for kind, given in {"row": profile.rows, "page": profile.pages}.items():
        if unknown := [entry for entry in given if entry not in known[kind]]:
            names = "; ".join(known[kind])
            message = f"unknown {kind} {unknown[0]!r}; the {kind}s are: {names}"
            raise InvalidDataError(f"{_path(name)}: {message}")


def _path(name: str) -> Path:
    return Path(__file__).with_name("profiles") / f"{name}.yaml"
