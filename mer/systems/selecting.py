"""A classifier whose descriptors the training clips choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mer.clips import Corpus
from mer.errors import InvalidDataError, ParameterError
from mer.systems.base import Context
from mer.systems.classical import (
    DescriptorClassifier,
    FittedClassifier,
    check_plain,
    select_classifier,
)
from mer.systems.clip_descriptors import NAMES
from mer.systems.code import name_of


@dataclass(frozen=True, kw_only=True)
class SelectingClassifier(DescriptorClassifier):
    """A classifier on those groups of descriptors that the training clips choose.

    A group has the descriptors of one feature whose names begin with one word, such as "rhythm".
    Forward selection: in each step the group joins whose addition gives the highest accuracy in
    song-grouped cross-validation within the training clips, with C at the middle of its grid,
    until none raises it. Then C is chosen on the validation clips.

    Attributes
    ----------
    inner_folds : int
        Of the cross-validation within the training clips, at least 2.
    """

    inner_folds: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = [name_of(f) for f in self.features if f not in NAMES]
        if unknown:
            raise ParameterError(
                f"feature {unknown[0]} has no named groups; expected some of: "
                f"{', '.join(name_of(f) for f in NAMES)}"
            )
        check_plain(self)
        if self.inner_folds < 2:
            raise ParameterError(f"inner_folds is {self.inner_folds}; expected 2 or more")

    @property
    def stand_in(self) -> str:
        """Descriptors of our own."""
        return "our descriptors"

    def groups(self) -> list[np.ndarray]:
        """Columns of `values` of each group."""
        names = [(f, name.split("_")[0]) for f in self.features for name in NAMES[f]()]
        return [np.flatnonzero([own == g for own in names]) for g in dict.fromkeys(names)]

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedClassifier:
        """Choose groups within the training clips, then as `DescriptorClassifier`.

        Raises
        ------
        InvalidDataError
            If the training clips have one class only, or fewer songs than inner folds.
        """
        x, y = self.values(train), context.several_classes(train)
        columns = self._chosen(x, y, train.groups)
        pipeline, history = select_classifier(
            {c: self._estimator(c) for c in self.c_grid},
            (x[:, columns], y),
            (self.values(valid)[:, columns], context.task.targets(valid)),
        )
        taken = ColumnTransformer([("chosen", "passthrough", columns)]).fit(x)
        whole = Pipeline([("columns", taken), *pipeline.steps])
        return FittedClassifier(self, whole, context.n_classes, history)

    def _chosen(self, x: np.ndarray, y: np.ndarray, songs: Sequence[str]) -> list[int]:
        if len(set(songs)) < self.inner_folds:
            raise InvalidDataError(
                f"the training clips are of {len(set(songs))} songs; expected {self.inner_folds} "
                "or more, one for each inner fold"
            )
        estimator = make_pipeline(
            StandardScaler(), self._estimator(self.c_grid[len(self.c_grid) // 2])
        )
        folds = list(StratifiedGroupKFold(self.inner_folds).split(x, y, songs))
        chosen: list[int] = []
        left, best = self.groups(), -1.0
        while left:
            tried = [[*chosen, *group.tolist()] for group in left]
            scores = [cross_val_score(estimator, x[:, t], y, cv=folds).mean() for t in tried]
            k = int(np.argmax(scores))
            if scores[k] <= best:
                break
            chosen, best = tried[k], float(scores[k])
            left.pop(k)
        return sorted(chosen)
