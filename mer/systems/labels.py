"""Baselines without music: answers from the labels of the training clips alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pandas as pd

from mer.clips import Corpus
from mer.systems.base import Context, Fitted, System


@dataclass(frozen=True, kw_only=True)
class _WithoutMusic(System):
    """Predictions from the labels of the training clips alone."""

    inputs: ClassVar[str] = "labels"
    seeded: ClassVar[bool] = False

    @property
    def revisions(self) -> dict[str, int]:
        """No feature and no model."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Constant(_WithoutMusic):
    """Predicts the most frequent class of the training clips."""

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedLabels:
        """Count the classes of the training clips."""
        return FittedLabels(_frequencies(context.task.targets(train), context.n_classes))


@dataclass(frozen=True, kw_only=True)
class SongLookup(_WithoutMusic):
    """Predicts the most frequent class of the same song among the training clips.

    It is the constant prediction, unless songs of the test set are in training.
    """

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedLabels:
        """Count the classes of every song among the training clips."""
        targets = context.task.targets(train)
        n_classes = context.n_classes
        groups = np.asarray(train.groups)
        by_group = {
            str(group): _frequencies(targets[groups == group], n_classes)
            for group in Counter(train.groups)
        }
        return FittedLabels(_frequencies(targets, n_classes), by_group)


def _frequencies(targets: np.ndarray, n_classes: int) -> dict[str, float]:
    shares = np.bincount(targets, minlength=n_classes) / len(targets)
    return {f"p_{k}": share for k, share in enumerate(shares.tolist(), start=1)}


@dataclass(frozen=True, kw_only=True)
class Mean(_WithoutMusic):
    """Predicts the mean label of the training clips: R2 is 0 or a little less."""

    regression: ClassVar[bool] = True

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedLabels:
        """Average the labels of the training clips."""
        task = context.regression_task
        means = task.targets(train).mean(axis=0).tolist()
        return FittedLabels(dict(zip(task.dimensions, means, strict=True)))


@dataclass(eq=False, repr=False)
class FittedLabels(Fitted):
    """Frequencies or means of labels by column, of the clip's own group where it is known."""

    overall: dict[str, float]
    by_group: Mapping[str, dict[str, float]] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id and p_1 ... p_k, or id, valence, arousal."""
        rows = [self.by_group.get(clip.group, self.overall) for clip in corpus]
        return pd.DataFrame({"id": corpus.ids, **pd.DataFrame(rows)})
