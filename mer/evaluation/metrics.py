"""Metrics of classification and regression, on arrays and data frames.

A classification frame has one row a clip: `target`, the class counted from 1 (1-4 for Q1-Q4; 1
and 2 for low and high), and `p_1` ... `p_k`, the probability of each class. A regression frame has
`target_valence` and `valence`, and so on for every dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn import metrics as sk

from mer.errors import ParameterError

HIGH_QUADRANTS = {"A": (1, 2), "V": (1, 4)}


def accuracy(target: ArrayLike, predicted: ArrayLike) -> float:
    """Share of clips whose class is predicted.

    Parameters
    ----------
    target, predicted : array_like of int, shape (n,)
        Class indices.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ParameterError
        If the arrays are empty, differ in shape or hold something that is not finite.
    """
    return float(sk.accuracy_score(*_pair(target, predicted)))


def macro_f1(target: ArrayLike, predicted: ArrayLike) -> float:
    """F1 of each class, averaged without weights (macro average).

    The average runs over the classes that stand in `target` or in `predicted`; F1 is 0 for one
    that stands in only one of them.

    Parameters
    ----------
    target, predicted : array_like of int, shape (n,)
        Class indices.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ParameterError
        As in `accuracy`.
    """
    return float(sk.f1_score(*_pair(target, predicted), average="macro", zero_division=0))


def f1(target: ArrayLike, predicted: ArrayLike, positive: int) -> float:
    """F1 of one class: the harmonic mean of its precision and recall.

    Parameters
    ----------
    target, predicted : array_like of int, shape (n,)
        Class indices.
    positive : int
        The class.

    Returns
    -------
    float
        In [0, 1]; 0 where the class is never predicted, or never right.

    Raises
    ------
    ParameterError
        As in `accuracy`.
    """
    true, given = _pair(target, predicted)
    return float(sk.f1_score(true == positive, given == positive, zero_division=0))


def confusion_matrix(target: ArrayLike, predicted: ArrayLike, n_classes: int) -> np.ndarray:
    """Number of clips of each true class (row) that were given each class (column).

    Parameters
    ----------
    target, predicted : array_like of int, shape (n,)
        Class indices, in [0, n_classes).
    n_classes : int

    Returns
    -------
    np.ndarray of int, shape (n_classes, n_classes)

    Raises
    ------
    ParameterError
        As in `accuracy`, or if an index is out of range.
    """
    true, given = _pair(target, predicted)
    if min(true.min(), given.min()) < 0 or max(true.max(), given.max()) >= n_classes:
        raise ParameterError(f"a class index is outside 0 ... {n_classes - 1}")
    return sk.confusion_matrix(true, given, labels=np.arange(n_classes))


def rmse(target: ArrayLike, predicted: ArrayLike) -> float:
    """Root of the mean squared error, in the unit of the target.

    Parameters
    ----------
    target, predicted : array_like of float, shape (n,)

    Returns
    -------
    float
        0 or more.

    Raises
    ------
    ParameterError
        As in `accuracy`.
    """
    return float(sk.root_mean_squared_error(*_pair(target, predicted)))


def r2(target: ArrayLike, predicted: ArrayLike) -> float:
    """Coefficient of determination: 1 - squared error / squared deviation from the mean target.

    Parameters
    ----------
    target, predicted : array_like of float, shape (n,)

    Returns
    -------
    float
        At most 1; 0 for always answering the mean target, below 0 for less than that.

    Raises
    ------
    ParameterError
        As in `accuracy`, or if all targets are equal, for which R2 has no value.
    """
    true, given = _pair(target, predicted)
    if np.ptp(true) == 0:
        raise ParameterError("all targets are equal; R2 needs at least two different ones")
    return float(sk.r2_score(true, given))


def answers(frame: pd.DataFrame) -> np.ndarray:
    """Class of the largest probability in each row, counted from 1; the lower one on a tie.

    Parameters
    ----------
    frame : DataFrame
        With columns p_1 ... p_k.

    Returns
    -------
    np.ndarray of int, shape (n,)

    Raises
    ------
    ParameterError
        If the frame is empty, a column of the sequence is missing, or a row is not a
        probability distribution.
    """
    return probabilities(frame).argmax(axis=1) + 1


def probabilities(frame: pd.DataFrame) -> np.ndarray:
    """Columns p_1 ... p_k as an array, checked.

    Parameters
    ----------
    frame : DataFrame

    Returns
    -------
    np.ndarray, shape (n, k)
        Rows in [0, 1] with sum 1, to within 1e-3.

    Raises
    ------
    ParameterError
        As in `answers`.
    """
    found = _probability_columns(frame)
    expected = [f"p_{k + 1}" for k in range(max(len(found), 2))]
    if set(found) != set(expected) or frame.empty:
        raise ParameterError(
            f"found {len(frame)} rows with probability columns {found}; "
            f"expected some rows with {expected}"
        )
    values = frame[expected].to_numpy(dtype=float)
    # Written so that a row with NaN fails
    if not (np.all(values >= 0) and np.all(np.abs(values.sum(axis=1) - 1) <= 1e-3)):
        raise ParameterError("a row of p_1 ... is not a probability distribution (sum 1, none < 0)")
    return values


def classification_report(frame: pd.DataFrame) -> dict[str, Any]:
    """Metrics of a classification frame.

    Parameters
    ----------
    frame : DataFrame
        Columns target and p_1 ... p_k, one row a clip.

    Returns
    -------
    dict
        `n` (clips), `accuracy`, `macro_f1` and `confusion` (list of k lists: true class by
        answered class); JSON-native.

    Raises
    ------
    ParameterError
        If a column is missing, a target is not a class number, or a row is not a probability
        distribution.
    """
    given = answers(frame)
    n_classes = len(_probability_columns(frame))
    target = _targets(frame, n_classes)
    return {
        "n": len(frame),
        "accuracy": accuracy(target, given),
        "macro_f1": macro_f1(target, given),
        "confusion": confusion_matrix(target - 1, given - 1, n_classes).tolist(),
    }


def regression_report(
    frame: pd.DataFrame, dimensions: Sequence[str] = ("valence", "arousal")
) -> dict[str, float]:
    """Metrics of a regression frame.

    Parameters
    ----------
    frame : DataFrame
        Columns target_<dimension> and <dimension>, one row a clip.
    dimensions : sequence of str

    Returns
    -------
    dict
        `n` (clips), and for each dimension `rmse_<dimension>` and `r2_<dimension>`; JSON-native.

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


def implied(
    frame: pd.DataFrame, *, by: Literal["answer", "probability"] = "answer"
) -> dict[str, pd.DataFrame]:
    """What four-quadrant predictions imply for arousal and for valence.

    Q1 and Q2 are of high arousal, Q1 and Q4 of high valence (Russell's circumplex).

    Parameters
    ----------
    frame : DataFrame
        Columns target (1-4 for Q1-Q4) and p_1 ... p_4.
    by : {"answer", "probability"}
        Take the quadrant with the largest probability for certain, so that the three answers
        agree; or add the probabilities of the two high quadrants.

    Returns
    -------
    dict of str to DataFrame
        "A" and "V": the frame with target 1 (low) or 2 (high), and p_1, p_2.

    Raises
    ------
    ParameterError
        If the frame is not one of four classes, or `by` is unknown.
    """
    if by not in ("answer", "probability"):
        raise ParameterError(f"by is {by!r}; expected 'answer' or 'probability'")
    quadrants = probabilities(frame)
    if quadrants.shape[1] != 4:
        raise ParameterError(f"found {quadrants.shape[1]} classes; expected the four quadrants")
    if by == "answer":
        quadrants = np.eye(4)[quadrants.argmax(axis=1)]
    target = _targets(frame, 4)
    kept = frame.drop(columns=_probability_columns(frame))
    frames = {}
    for task, high in HIGH_QUADRANTS.items():
        columns = np.asarray(high) - 1
        p_high = quadrants[:, columns].sum(axis=1)
        p_low = np.delete(quadrants, columns, axis=1).sum(axis=1)
        is_high = np.isin(target, high).astype(np.int64)
        frames[task] = kept.assign(target=is_high + 1, p_1=p_low, p_2=p_high)
    return frames


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
