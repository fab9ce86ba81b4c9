"""Tasks: which class, or which numbers, a clip's labels stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np

from mer.clips import Clip, Labels
from mer.errors import InvalidDataError, MissingDataError, ParameterError


@dataclass(frozen=True, slots=True)
class Task:
    """A classification task.

    Names of the classes are in the order of their index; `class_of` gives the index of some
    labels, None where they do not tell.
    """

    name: str
    classes: tuple[str, ...]
    class_of: Callable[[Labels], int | None]

    def targets(self, clips: Iterable[Clip]) -> np.ndarray:
        """Class index of every clip, shape (n,), int64.

        Raises
        ------
        MissingDataError
            If a clip has no label for this task.
        """
        classes = []
        for clip in clips:
            index = self.class_of(clip.labels)
            if index is None:
                raise MissingDataError(f"clip {clip.id!r} has no label for task {self.name!r}")
            classes.append(index)
        return np.asarray(classes, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class RegressionTask:
    """A regression task; `dimensions` are continuous labels, in the order of `targets`."""

    name: str
    dimensions: tuple[str, ...]

    def targets(self, clips: Iterable[Clip]) -> np.ndarray:
        """Labels of every clip, shape (n, n_dimensions), in [-1, 1], float64.

        Raises
        ------
        MissingDataError
            If a clip lacks one of them.
        """
        rows = []
        for clip in clips:
            row = [getattr(clip.labels, name) for name in self.dimensions]
            if None in row:
                missing = self.dimensions[row.index(None)]
                raise MissingDataError(
                    f"clip {clip.id!r} has no {missing}, which task {self.name!r} needs"
                )
            rows.append(row)
        return np.asarray(rows, dtype=np.float64).reshape(-1, len(self.dimensions))


AnyTask = Task | RegressionTask


def _quadrant(labels: Labels) -> int | None:
    return None if labels.quadrant is None else labels.quadrant - 1


def _high(dimension: str, high_quadrants: tuple[int, int]) -> Callable[[Labels], int | None]:
    def class_of(labels: Labels) -> int | None:
        if labels.quadrant is not None:
            return int(labels.quadrant in high_quadrants)
        value = getattr(labels, dimension)
        return None if value is None else int(value > 0)

    return class_of


N_CLUSTERS = 5
"""Mood clusters of MIREX (Hu and Downie, ISMIR 2007)."""


def _cluster(labels: Labels) -> int | None:
    if labels.cluster is None:
        return None
    if not 1 <= labels.cluster <= N_CLUSTERS:
        raise InvalidDataError(
            f"mood cluster is {labels.cluster!r}; expected a number from 1 to {N_CLUSTERS}"
        )
    return labels.cluster - 1


TASKS = {
    task.name: task
    for task in (
        Task("4Q", ("Q1", "Q2", "Q3", "Q4"), _quadrant),
        Task("A", ("low arousal", "high arousal"), _high("arousal", (1, 2))),
        Task("V", ("low valence", "high valence"), _high("valence", (1, 4))),
        Task("cluster", tuple(f"Cluster {k + 1}" for k in range(N_CLUSTERS)), _cluster),
    )
}


REGRESSION_TASKS = {"VA": RegressionTask("VA", ("valence", "arousal"))}


@overload
def get_task(name: Literal["4Q", "A", "V", "cluster"]) -> Task: ...
@overload
def get_task(name: Literal["VA"]) -> RegressionTask: ...
@overload
def get_task(name: str) -> AnyTask: ...
def get_task(name: str) -> AnyTask:
    """The task of that name: "4Q", "A", "V" and "cluster" have classes, "VA" is a regression.

    Raises
    ------
    ParameterError
        If there is no such task.
    """
    tasks: dict[str, AnyTask] = {**TASKS, **REGRESSION_TASKS}
    if name not in tasks:
        raise ParameterError(f"unknown task {name!r}; the tasks are: {', '.join(tasks)}")
    return tasks[name]
