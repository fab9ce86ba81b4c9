"""Runs of a table of which some may be missing: what was not run is said, not left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mer.study.session import Session
from mer.study.specs import RunSpec

_NOTHING = (
    *("system", "task", "split", "fold", "seed", "audio"),
    *("id", "group", "target", "answer", "correct"),
)


@dataclass(frozen=True)
class Runs:
    """Runs of one table on one corpus.

    Attributes
    ----------
    planned, specs : list of RunSpec
        Those that the table wants, and those that are there.
    predictions : DataFrame
        Of the latter, as `Session.run` gives them; without rows if there are none.
    """

    planned: list[RunSpec]
    specs: list[RunSpec]
    predictions: pd.DataFrame

    @property
    def tasks(self) -> list[str]:
        """Tasks that the table wants, in order."""
        return list(dict.fromkeys(spec.task for spec in self.planned))

    @property
    def absent(self) -> list[RunSpec]:
        """Those that the table wants and that are not there."""
        there = {spec.key for spec in self.specs}
        return [spec for spec in self.planned if spec.key not in there]

    def of(self, system: str) -> list[RunSpec]:
        """Runs of one system that are there."""
        return [spec for spec in self.specs if spec.system == system]


def run_possible(
    session: Session, planned: list[RunSpec], can_be_computed: Callable[[RunSpec], bool]
) -> Runs:
    """Runs that are stored with all folds and seeds of their system, or can be computed.

    Parameters
    ----------
    session : Session
    planned : list of RunSpec
    can_be_computed : callable
        Whether a run can be, where the session computes at all.
    """
    specs = possible(session, planned, can_be_computed)
    if not specs:
        return Runs(planned, [], pd.DataFrame(columns=list(_NOTHING)))
    return Runs(planned, specs, session.run(specs))


def possible(
    session: Session, planned: Iterable[RunSpec], can_be_computed: Callable[[RunSpec], bool]
) -> list[RunSpec]:
    """Which runs `run_possible` takes."""
    tables: dict[Any, list[RunSpec]] = {}
    for spec in planned:
        parameters = json.dumps(spec.parameters, sort_keys=True)
        tables.setdefault((spec.system, spec.task, spec.split, parameters), []).append(spec)
    computes = session.settings.compute
    return [
        spec
        for specs in tables.values()
        if (computes and can_be_computed(specs[0])) or not session.store.missing(specs)
        for spec in specs
    ]
