"""What every system of the study has in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mer.clips import Corpus
from mer.errors import ParameterError
from mer.tasks import AnyTask, Task


@dataclass(frozen=True, slots=True)
class Context:
    """How a system is fitted, beside its hyper-parameters.

    Attributes
    ----------
    task : Task or RegressionTask
    seed : int
    device : str
        "auto", "cpu" or "cuda".
    checkpoint : Path or None
        File to resume from; None to keep none.
    progress : bool
        Whether to show a progress bar.
    """

    task: AnyTask
    seed: int = 0
    device: str = "auto"
    checkpoint: Path | None = None
    progress: bool = False

    @property
    def n_classes(self) -> int:
        """Of the task.

        Raises
        ------
        ParameterError
            If the task is a regression.
        """
        if not isinstance(self.task, Task):
            raise ParameterError(
                f"task {self.task.name!r} is a regression; this system needs one with classes"
            )
        return len(self.task.classes)


class Fitted(ABC):
    """A trained system."""

    history: list[dict[str, float]]

    @abstractmethod
    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Class probabilities: columns id, p_1 ... p_k, one row a clip, in corpus order.

        Systems with heads for arousal or valence add head_A or head_V, the probability of "high".
        Systems of regression give the columns id, valence and arousal, on the scale of the labels
        but not clipped to it.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write everything that `load` needs."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Fitted:
        """Read what `save` wrote."""


@dataclass(frozen=True, kw_only=True)
class System(ABC):
    """A row of a table: features, model and training under one name.

    The fields of the data class are its hyper-parameters.
    """

    name: ClassVar[str]
    inputs: ClassVar[str]
    """"MIDI", "audio", "audio + MIDI" or "labels"."""

    seeded: ClassVar[bool] = True
    """Whether the result depends on the seed."""

    regression: ClassVar[bool] = False
    """Whether it answers with valence and arousal (task "VA"), not with class probabilities."""

    @abstractmethod
    def fit(self, train: Corpus, valid: Corpus, context: Context) -> Fitted:
        """Train on `train`; `valid` only chooses hyper-parameters and when to stop."""

    @property
    @abstractmethod
    def revisions(self) -> dict[str, int]:
        """Revision numbers of the features and models that the result depends on."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Hyper-parameters, JSON-native."""
        return asdict(self)


def probabilities(corpus: Corpus, values: np.ndarray) -> pd.DataFrame:
    """Data frame of class probabilities, shape (n_clips, n_classes), as `Fitted.predict` gives."""
    columns = {f"p_{k + 1}": values[:, k] for k in range(values.shape[1])}
    return pd.DataFrame({"id": corpus.ids, **columns})


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Store JSON-native settings of a fitted system."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(dict(settings), indent=1) + "\n")


def read_settings(folder: Path) -> dict[str, Any]:
    """What `write_settings` stored."""
    settings: dict[str, Any] = json.loads((folder / "settings.json").read_text())
    return settings
