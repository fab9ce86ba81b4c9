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
from mer.tasks import Task


@dataclass(frozen=True, slots=True)
class Context:
    """How a system is fitted, beside its hyper-parameters.

    Attributes
    ----------
    task : Task
    seed : int
    device : str
        "auto", "cpu" or "cuda".
    checkpoint : Path or None
        File to resume from; None to keep none.
    progress : bool
        Whether to show a progress bar.
    """

    task: Task
    seed: int = 0
    device: str = "auto"
    checkpoint: Path | None = None
    progress: bool = False


class Fitted(ABC):
    """A trained system."""

    history: list[dict[str, float]]

    @abstractmethod
    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Class probabilities: columns id, p_1 ... p_k, one row a clip, in corpus order.

        Systems with heads for arousal or valence add head_A or head_V, the probability of "high".
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
