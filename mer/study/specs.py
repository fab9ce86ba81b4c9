"""What a run is: the specification that its key is computed from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_type_hints

from mer.errors import ParameterError
from mer.systems import get_system
from mer.systems.base import System
from mer.tasks import RegressionTask, get_task


@dataclass(frozen=True)
class RunSpec:
    """One system, trained and evaluated on one fold with one seed.

    Attributes
    ----------
    system, task, corpus, split : str
        Names.
    fold, seed : int
        Counted from 0.
    fingerprint : str
        Of the corpus.
    parameters : dict
        All hyper-parameters of the system, resolved.
    revisions : dict
        Revision numbers of the features and models that it uses.
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

    @property
    def key(self) -> str:
        """SHA-256 over the canonical JSON of all fields (hexadecimal)."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def label(self) -> str:
        """The run in a few words."""
        place = f"{self.corpus} {self.split}, fold {self.fold}"
        return f"{self.system}, {self.task}, {place}, seed {self.seed}"


def plan(
    systems: Iterable[str],
    tasks: Sequence[str],
    *,
    corpus: str,
    fingerprint: str,
    split: str,
    folds: Iterable[int],
    seeds: Sequence[int],
    overrides: Mapping[str, Mapping[str, Any]],
) -> list[RunSpec]:
    """All runs of some systems and tasks on one split.

    Systems whose result does not depend on the seed run once, with seed 0.

    Parameters
    ----------
    systems, tasks : sequences of str
    corpus, fingerprint, split : str
    folds : iterable of int
        Numbers of folds of the split.
    seeds : sequence of int
    overrides : mapping of str to mapping
        Hyper-parameters that differ from the published ones, by system.

    Raises
    ------
    ParameterError
        If a system, task or hyper-parameter is unknown, a value has the wrong type, or a system
        is not one for that task.
    """
    specs, folds = [], list(folds)
    for name in systems:
        system = resolve(name, overrides.get(name, {}))
        for task in tasks:
            _check_task(system, task)
            for seed in seeds if system.seeded else [0]:
                specs += [
                    RunSpec(
                        system=name,
                        task=task,
                        corpus=corpus,
                        split=split,
                        fold=fold,
                        seed=seed,
                        fingerprint=fingerprint,
                        parameters=json.loads(json.dumps(system.parameters)),
                        revisions=system.revisions,
                    )
                    for fold in folds
                ]
    return specs


def _check_task(system: System, task: str) -> None:
    if isinstance(get_task(task), RegressionTask) != system.regression:
        answer = "valence and arousal as numbers" if system.regression else "class probabilities"
        raise ParameterError(
            f"system {system.name!r} answers with {answer}, which is not task {task!r}; "
            "take another task or system"
        )


def resolve(name: str, overrides: Mapping[str, Any]) -> System:
    """The system with these hyper-parameters, their types checked.

    Raises
    ------
    ParameterError
        If a name is unknown, or a value has not the type of the parameter.
    """
    from pydantic import TypeAdapter, ValidationError

    types = get_type_hints(type(get_system(name)))
    for parameter in get_system(name).parameters.keys() & overrides.keys():
        value = overrides[parameter]
        frozen = tuple(value) if isinstance(value, list) else value
        try:
            TypeAdapter(types[parameter]).validate_python(frozen, strict=True)
        except ValidationError as error:
            raise ParameterError(
                f"system {name!r}: {parameter} is {value!r}: {error.errors()[0]['msg'].lower()}"
            ) from None
    return get_system(name, overrides)
