"""The specification of a run, from which its key is computed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from mer import sounds
from mer.errors import ParameterError
from mer.systems.base import System
from mer.tasks import REGRESSION_TASKS, TASKS, get_task


@dataclass(frozen=True)
class RunSpec:
    """One system, trained and evaluated on one fold with one seed.

    Attributes
    ----------
    system, task, corpus, split : str
        Names; that of a system is the name of its row.
    fold, seed : int
        Counted from 0.
    fingerprint : str
        Of the corpus.
    parameters : dict
        All hyper-parameters of the system, resolved.
    revisions : dict
        Revision numbers of the features and models that it uses.
    built : System or None
        The system itself; None where a stored run is only read. Not part of the key.
    """

    system: str
    task: str
    corpus: str
    split: str
    fold: int
    seed: int
    fingerprint: str
    parameters: dict[str, Any]
    revisions: dict[str, int]
    built: System | None = field(default=None, compare=False, repr=False)

    @property
    def facts(self) -> dict[str, Any]:
        """All fields that the key is computed from, JSON-native."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "built"}

    @cached_property
    def key(self) -> str:
        """SHA-256 over the canonical JSON of `facts` (hexadecimal)."""
        canonical = json.dumps(self.facts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def lacks(self) -> str:
        """What has to be fetched or trained before the run, and how; empty for nothing."""
        return self.built.lacks if self.built else ""

    @property
    def label(self) -> str:
        """The run in a few words."""
        place = f"{self.corpus} {self.split}, fold {self.fold}"
        return f"{self.system}, {self.task}, {place}, seed {self.seed}"


def plan(
    rows: Mapping[str, System],
    tasks: Sequence[str],
    *,
    corpus: str,
    fingerprint: str,
    split: str,
    folds: Iterable[int],
    seeds: Sequence[int],
) -> list[RunSpec]:
    """All runs of some systems, by the names of their rows, and tasks on one split.

    Systems whose result does not depend on the seed run once, with seed 0.

    Raises
    ------
    ParameterError
        If a task is unknown or a system is not one for that task.
    """
    specs, folds = [], list(folds)
    for name, system in rows.items():
        facts: dict[str, Any] = {"corpus": corpus, "split": split, "fingerprint": fingerprint}
        facts["parameters"] = json.loads(json.dumps(system.parameters))
        varied = {"sounds": sounds.REVISION} if getattr(system, "sound_copies", 0) else {}
        facts |= {"revisions": {**system.revisions, **varied}, "built": system}
        for task in tasks:
            _check_task(name, system, task)
            specs += [
                RunSpec(system=name, task=task, fold=fold, seed=seed, **facts)
                for seed in (seeds if system.seeded else [0])
                for fold in folds
            ]
    return specs


def _check_task(name: str, system: System, task: str) -> None:
    if task not in (REGRESSION_TASKS if system.regression else TASKS):
        get_task(task)  # raises if there is no such task
        answer = "valence and arousal as numbers" if system.regression else "class probabilities"
        raise ParameterError(
            f"system {name!r} answers with {answer}, which is not task {task!r}; "
            "take another task or system"
        )
