"""Metrics of classification and regression, on arrays and data frames.

A classification frame has one row a clip: `target`, the class counted from 1 (1-4 for Q1-Q4; 1
and 2 for low and high), and `p_1` ... `p_k`, the probability of each class. A regression frame has
`target_valence` and `valence`, and so on for every dimension.

Metrics take two rows of equal length, targets and predictions; they raise `ParameterError` if these
are empty, differ in shape or hold something that is not finite.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn import metrics as sk

from mer.errors import ParameterError

HIGH_QUADRANTS = {"A": (1, 2), "V": (1, 4)}


def accuracy(target: ArrayLike, predicted: ArrayLike) -> float:
    """Share of clips whose class is predicted."""
    true, given = _pair(target, predicted)
    return float(np.mean(true == given))


def macro_f1(target: ArrayLike, predicted: ArrayLike) -> float:
    """F1 of each class, averaged without weights (macro average).

    The average is over the classes in `target` or `predicted`; F1 is 0 for one that is in
    only one of them.
    """
    return float(sk.f1_score(*_pair(target, predicted), average="macro", zero_division=0))


def f1(target: ArrayLike, predicted: ArrayLike, positive: int) -> float:
    """F1 of one class: the harmonic mean of its precision and recall.

    It is 0 where the class is never predicted, or never right.
    """
    true, given = _pair(target, predicted)
    return float(sk.f1_score(true == positive, given == positive, zero_division=0))


def confusion_matrix(target: ArrayLike, predicted: ArrayLike, n_classes: int) -> np.ndarray:
    """Number of clips of each true class (row) that were given each class (column).

    Classes are counted from 0; a `ParameterError` is raised, too, if one is out of range.
    """
    true, given = _pair(target, predicted)
    if min(true.min(), given.min()) < 0 or max(true.max(), given.max()) >= n_classes:
        raise ParameterError(f"a class index is outside 0 ... {n_classes - 1}")
    return sk.confusion_matrix(true, given, labels=np.arange(n_classes))


def rmse(target: ArrayLike, predicted: ArrayLike) -> float:
    """Root of the mean squared error, in the unit of the target."""
    true, given = _pair(target, predicted)
    return float(np.sqrt(np.mean((true - given) ** 2)))


def r2(target: ArrayLike, predicted: ArrayLike) -> float:
    """Coefficient of determination: 1 - squared error / squared deviation from the mean target.

    It is 0 for always answering the mean target and below 0 for less than that. A `ParameterError`
    is raised, too, if all targets are equal, for which R2 has no value.
    """
    true, given = _pair(target, predicted)
    if np.ptp(true) == 0:
        raise ParameterError("all targets are equal; R2 needs at least two different ones")
    return float(1 - np.sum((true - given) ** 2) / np.sum((true - true.mean()) ** 2))


def answers(frame: pd.DataFrame) -> np.ndarray:
    """Class of the largest of p_1 ... p_k in each row, counted from 1; the lower one on a tie.

    Raises
    ------
    ParameterError
        If the frame is empty, a column of the sequence is missing, or a row is not a
        probability distribution.
    """
    return _probabilities(frame).argmax(axis=1) + 1


def _probabilities(frame: pd.DataFrame) -> np.ndarray:
    """Columns p_1 ... p_k, shape (n, k), checked."""
    names = _probability_columns(frame)
    expected = [f"p_{k + 1}" for k in range(max(len(names), 2))]
    if set(names) != set(expected) or frame.empty:
        raise ParameterError(
            f"found {len(frame)} rows with probability columns {names}; "
            f"expected some rows with {expected}"
        )
    values = frame[expected].to_numpy(dtype=float)
    # Written so that a row with NaN fails
    if not (np.all(values >= 0) and np.all(np.abs(values.sum(axis=1) - 1) <= 1e-3)):
        raise ParameterError("a row of p_1 ... is not a probability distribution (sum 1, none < 0)")
    return values


def classification_report(frame: pd.DataFrame) -> dict[str, float]:
    """Number of clips `n`, `accuracy` and `macro_f1` of a classification frame.

    Raises
    ------
    ParameterError
        If a column is missing, a target is not a class number, or a row is not a probability
        distribution.
    """
    given = answers(frame)
    target = _targets(frame, len(_probability_columns(frame)))
    scores = {"accuracy": accuracy(target, given), "macro_f1": macro_f1(target, given)}
    return {"n": len(frame), **scores}


def regression_report(
    frame: pd.DataFrame, dimensions: Sequence[str] = ("valence", "arousal")
) -> dict[str, float]:
    """Number of clips `n`, and `rmse_<dimension>` and `r2_<dimension>` of a regression frame.

    Raises
    ------
    ParameterError
        If a column is missing, a value is not finite, or all targets of a dimension are equal.
    """
    report: dict[str, float] = {"n": len(frame)}
    for name in dimensions:
        missing = [column for column in (f"target_{name}", name) if column not in frame]
        if missing:
            raise ParameterError(f"the frame has no column {missing[0]!r}; expected {name} there")
        target, predicted = frame[f"target_{name}"].to_numpy(), frame[name].to_numpy()
        report[f"rmse_{name}"] = rmse(target, predicted)
        report[f"r2_{name}"] = r2(target, predicted)
    return report


def _probability_columns(frame: pd.DataFrame) -> list[str]:
    return [str(name) for name in frame.columns if str(name).startswith("p_")]


def _targets(frame: pd.DataFrame, n_classes: int) -> np.ndarray:
    if "target" not in frame:
        raise ParameterError("the frame has no column 'target' with the class numbers")
    target = frame["target"].to_numpy()
    if target.dtype.kind not in "iu" or target.min() < 1 or target.max() > n_classes:
        raise ParameterError(f"a target is not a class number (whole number 1 ... {n_classes})")
    return target


def _pair(target: ArrayLike, predicted: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    true, given = np.asarray(target), np.asarray(predicted)
    if true.shape != given.shape or true.ndim != 1 or not true.size:
        raise ParameterError(
            f"found targets of shape {true.shape} and predictions of shape {given.shape}; "
            "expected two rows of equal length, not empty"
        )
    for values in (true, given):
        if values.dtype.kind not in "biuf" or not np.isfinite(values).all():
            raise ParameterError("a target or prediction is not a finite number")
    return true, given
