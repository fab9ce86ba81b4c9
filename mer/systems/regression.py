"""Valence and arousal without a network: the mean label, and support vectors on descriptors."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from mer.clips import Corpus
from mer.errors import ParameterError
from mer.evaluation.metrics import rmse
from mer.features.descriptors import ACOUSTIC_REVISION
from mer.rendering import REVISION as RENDERING_REVISION
from mer.systems.base import Context, Fitted, System, read_settings, write_settings
from mer.systems.classical import acoustic
from mer.tasks import RegressionTask


def regression_task(system: System, context: Context) -> RegressionTask:
    """The task of a context, which must be a regression.

    Raises
    ------
    ParameterError
        If its task has classes.
    """
    if not isinstance(context.task, RegressionTask):
        raise ParameterError(
            f"system {system.name!r} predicts valence and arousal; task {context.task.name!r} has "
            "classes: take task 'VA'"
        )
    return context.task


def dimension_frame(corpus: Corpus, names: tuple[str, ...], values: np.ndarray) -> pd.DataFrame:
    """Predictions, shape (n_clips, n_dimensions), as `Fitted.predict` gives them."""
    columns = {name: values[:, k] for k, name in enumerate(names)}
    return pd.DataFrame({"id": corpus.ids, **columns})


class FittedMean(Fitted):
    """Mean label of the training clips, by dimension."""

    def __init__(self, means: dict[str, float]) -> None:
        self.means = means
        self.history = []

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, valence, arousal: the same numbers for every clip."""
        values = np.tile(list(self.means.values()), (len(corpus), 1))
        return dimension_frame(corpus, tuple(self.means), values)

    def save(self, folder: Path) -> None:
        """Write the means."""
        write_settings(folder, self.means)

    @classmethod
    def load(cls, folder: Path) -> FittedMean:
        """Read what `save` wrote."""
        return cls(read_settings(folder))


@dataclass(frozen=True, kw_only=True)
class Mean(System):
    """Answers with the mean label of the training clips, for which R2 is 0 or little less."""

    name: ClassVar[str] = "Mean"
    inputs: ClassVar[str] = "labels"
    seeded: ClassVar[bool] = False
    regression: ClassVar[bool] = True

    @property
    def revisions(self) -> dict[str, int]:
        """No feature and no model."""
        return {}

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedMean:
        """Average the labels of the training clips."""
        task = regression_task(self, context)
        means = task.targets(train).mean(axis=0).tolist()
        return FittedMean(dict(zip(task.dimensions, means, strict=True)))


@dataclass(frozen=True, kw_only=True)
class DescriptorSVR(System):
    """Support vector regression on plain acoustic descriptors of the whole clip.

    Each dimension has a machine of its own, with a radial kernel and with the C that has the
    lowest RMSE on the validation clips.

    Attributes
    ----------
    c_grid : tuple of float
        Values of the inverse regularisation strength C; the smallest of the best is taken.
    epsilon : float
        Error that costs nothing, on the scale of the labels.
    """

    name: ClassVar[str] = "SVR"
    inputs: ClassVar[str] = "audio"
    seeded: ClassVar[bool] = False
    regression: ClassVar[bool] = True
    c_grid: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
    epsilon: float = 0.05

    def __post_init__(self) -> None:
        if not self.c_grid or min(self.c_grid) <= 0 or self.epsilon < 0:
            raise ParameterError(
                f"c_grid is {self.c_grid} and epsilon {self.epsilon}; expected one or more "
                "positive numbers, and 0 or more"
            )

    @property
    def revisions(self) -> dict[str, int]:
        """Rendering and descriptors."""
        return {"rendering": RENDERING_REVISION, "acoustic": ACOUSTIC_REVISION}

    def features(self, corpus: Corpus) -> np.ndarray:
        """Acoustic descriptors of all clips, shape (n_clips, n_descriptors)."""
        return np.stack([acoustic(clip) for clip in corpus])

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedSVR:
        """Fit on the training clips with every C of the grid, keep the best on validation."""
        task = regression_task(self, context)
        x, y = self.features(train), task.targets(train)
        x_valid, y_valid = self.features(valid), task.targets(valid)
        machines: dict[str, Any] = {}
        history: list[dict[str, float]] = []
        for k, dimension in enumerate(task.dimensions):
            tried = [self._fitted(c, x, y[:, k]) for c in self.c_grid]
            errors = [rmse(y_valid[:, k], machine.predict(x_valid)) for machine in tried]
            machines[dimension] = tried[int(np.argmin(errors))]
            history += [
                {"C": c, "dimension": k, "valid_rmse": error}
                for c, error in zip(self.c_grid, errors, strict=True)
            ]
        return FittedSVR(self, machines, history)

    def _fitted(self, c: float, x: np.ndarray, y: np.ndarray) -> Any:
        machine = SVR(C=c, gamma="scale", epsilon=self.epsilon)
        return make_pipeline(StandardScaler(), machine).fit(x, y)


class FittedSVR(Fitted):
    """Fitted support vector machines, one a dimension."""

    def __init__(
        self, system: DescriptorSVR, machines: dict[str, Any], history: list[dict[str, float]]
    ) -> None:
        self.system = system
        self.machines = machines
        self.history = history

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, valence, arousal."""
        x = self.system.features(corpus)
        values = np.stack([machine.predict(x) for machine in self.machines.values()], axis=1)
        return dimension_frame(corpus, tuple(self.machines), values)

    def save(self, folder: Path) -> None:
        """Write the machines (pickled: load only files of your own) and the settings."""
        write_settings(folder, {"parameters": self.system.parameters, "history": self.history})
        (folder / "machines.pickle").write_bytes(pickle.dumps(self.machines))

    @classmethod
    def load(cls, folder: Path) -> FittedSVR:
        """Read what `save` wrote."""
        settings = read_settings(folder)
        parameters = {**settings["parameters"], "c_grid": tuple(settings["parameters"]["c_grid"])}
        machines = pickle.loads((folder / "machines.pickle").read_bytes())
        return cls(DescriptorSVR(**parameters), machines, settings["history"])
