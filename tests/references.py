"""Plain versions of what the package computes faster, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike


def group_bootstrap_metric(
    metric: Callable[..., float],
    arrays: Sequence[ArrayLike],
    groups: ArrayLike,
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """Ends of the 95 % interval of any metric: groups are drawn and it is computed again."""
    columns = [np.asarray(array) for array in arrays]
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    members = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    rng = np.random.default_rng(seed)
    resampled = []
    for drawn in rng.integers(len(members), size=(n_resamples, len(members))):
        clips = np.concatenate([members[code] for code in drawn])
        resampled.append(metric(*(column[clips] for column in columns)))
    ends: np.ndarray = np.quantile(resampled, (0.025, 0.975))
    return ends
