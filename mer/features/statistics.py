"""Statistics that are 0 for empty input."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[np.float64]


def shares(weights: Array) -> Array:
    """Weights divided by their sum over the last axis; all 0 where the sum is 0."""
    total = weights.sum(axis=-1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)


def mean(values: ArrayLike) -> float:
    values = np.asarray(values, dtype=np.float64)
    return float(values.mean()) if values.size else 0.0


def sd(values: NDArray[np.floating]) -> float:
    return float(values.std()) if values.size else 0.0


def median(values: NDArray[np.floating]) -> float:
    return float(np.median(values)) if values.size else 0.0


def ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0


def entropy(counts: NDArray[np.int64]) -> float:
    """Shannon entropy of the counts in bits."""
    share = shares(counts.astype(np.float64))
    return float(-(share[share > 0] * np.log2(share[share > 0])).sum())


def trend(values: NDArray[np.floating]) -> float:
    """Correlation of the values with their position, in [-1, 1]."""
    if len(values) < 3 or np.ptp(values) == 0:
        return 0.0
    return float(np.corrcoef(np.arange(len(values)), values)[0, 1])
