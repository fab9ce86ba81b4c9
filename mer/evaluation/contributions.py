"""Contributions of the inputs of a fused model, and their association with regions of labels.

References
----------
.. [1] L. S. Shapley, "A value for n-person games", Contributions to the Theory of Games II,
   307-317, 1953.
.. [2] L. Breiman, "Random forests", Machine Learning 45, 5-32, 2001 (section 10).
.. [3] H. Cramér, Mathematical Methods of Statistics, Princeton, 1946 (section 21.9).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mer.errors import ParameterError

Predict = Callable[[np.ndarray], np.ndarray]
"""Takes inputs, shape (n, n_sources, n_features), and gives predictions, shape (n, n_outputs)."""


class Contributions(NamedTuple):
    """What a source does to the predictions of each clip, compared with its absence.

    Attributes
    ----------
    signed : np.ndarray, shape (n_clips, n_sources, n_outputs)
        How much higher the prediction is with the source, on the scale of the labels.
    absolute : np.ndarray, same shape
        Size of that change; of several replacements, the mean of the sizes.
    error : np.ndarray, same shape
        How much the squared error grows without the source.
    """

    signed: np.ndarray
    absolute: np.ndarray
    error: np.ndarray


class Association(NamedTuple):
    """Cramér's V of two classifications, and the p value of a permutation test that it is 0."""

    v: float
    p: float


def shapley_values(
    worth: Mapping[frozenset[str], ArrayLike], players: Sequence[str]
) -> dict[str, np.ndarray]:
    """Mean gain from adding each player, over all orders in which they could be added [1]_.

    Parameters
    ----------
    worth : mapping of frozenset to array_like
        Worth of every subset of the players, the empty one included: numbers, or arrays of one
        shape, such as bootstrap resamples, which are treated element by element.

    Returns
    -------
    dict of str to np.ndarray
        By player; they sum to the worth of all players less that of none.

    Raises
    ------
    ParameterError
        If the worth of a subset is missing.
    """
    n = len(players)
    values = {}
    for player in players:
        others = [other for other in players if other != player]
        value: np.ndarray = np.zeros(())
        for mask in range(2 ** len(others)):
            subset = frozenset(other for k, other in enumerate(others) if mask >> k & 1)
            gain = _worth(worth, subset | {player}) - _worth(worth, subset)
            value = value + gain / (n * comb(n - 1, len(subset)))
        values[player] = value
    return values


def _worth(worth: Mapping[frozenset[str], ArrayLike], subset: frozenset[str]) -> np.ndarray:
    if subset not in worth:
        missing = " and ".join(sorted(subset)) or "the empty subset"
        raise ParameterError(f"no worth of {missing}; a Shapley value needs all subsets")
    return np.asarray(worth[subset], dtype=float)


def exchanged(
    predict: Predict, inputs: ArrayLike, targets: ArrayLike, groups: ArrayLike
) -> Contributions:
    """Contributions by permutation: each source replaced by that of another clip [2]_.

    The mean is taken over all clips of other groups, which is what random permutations tend to.

    Parameters
    ----------
    predict : callable
        The model; it is given one row for each pair of clips.
    inputs : array_like, shape (n_clips, n_sources, n_features)
    targets : array_like, shape (n_clips, n_outputs)
    groups : array_like, shape (n_clips,)

    Raises
    ------
    ParameterError
        If all clips are of one group.
    """
    x, y, names = np.asarray(inputs), np.asarray(targets, dtype=float), np.asarray(groups)
    other = names[:, None] != names[None]
    if not other.any(axis=1).all():
        raise ParameterError("all clips are of one group; expected clips of two groups or more")
    weights = (other / other.sum(axis=1, keepdims=True))[:, :, None]
    given = predict(x)
    parts = []
    for source in range(x.shape[1]):
        pairs = np.repeat(x[:, None], len(x), axis=1)
        pairs[:, :, source] = x[None, :, source]
        without = predict(pairs.reshape(-1, *x.shape[1:])).reshape(len(x), len(x), -1)
        changes = _compared(given[:, None], without, y[:, None])
        parts.append([(weights * change).sum(axis=1) for change in changes])
    return _stacked(parts)


def left_out(given: ArrayLike, without: Sequence[ArrayLike], targets: ArrayLike) -> Contributions:
    """Contributions by leaving out: each source missing from a model of its own.

    `given` are predictions of the model with all sources, `without` those of the models without one
    source, in the order of the sources: each of shape (n_clips, n_outputs) like the labels.
    """
    whole, y = np.asarray(given, dtype=float), np.asarray(targets, dtype=float)
    return _stacked([_compared(whole, np.asarray(less, dtype=float), y) for less in without])


def _compared(
    given: np.ndarray, without: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    change = given - without
    return change, np.abs(change), (without - targets) ** 2 - (given - targets) ** 2


def _stacked(parts: Sequence[Sequence[np.ndarray]]) -> Contributions:
    return Contributions(*(np.stack(kind, axis=1) for kind in zip(*parts, strict=True)))


def association(
    rows: ArrayLike,
    columns: ArrayLike,
    groups: ArrayLike,
    *,
    n_permutations: int = 2000,
    seed: int = 0,
) -> Association:
    """Whether two classifications of clips, each of shape (n_clips,), go together.

    Cramér's V [3]_ is 0 where one class is independent of the other, 1 where it determines it; 0
    too if all clips are of one class. The columns of whole groups are exchanged among groups of the
    same size, so that what clips of a group have in common does not pass for an association.
    """
    first = np.unique(np.asarray(rows), return_inverse=True)[1]
    second = np.unique(np.asarray(columns), return_inverse=True)[1]
    blocks = _blocks_by_size(np.asarray(groups))
    rng = np.random.default_rng(seed)
    observed = _cramers_v(first, second)
    as_large = 0
    for _ in range(n_permutations):
        exchanged_columns = second.copy()
        for block in blocks:
            exchanged_columns[block] = second[rng.permutation(block)]
        as_large += _cramers_v(first, exchanged_columns) >= observed - 1e-12
    return Association(observed, (as_large + 1) / (n_permutations + 1))


def _blocks_by_size(groups: np.ndarray) -> list[np.ndarray]:
    """For each group size the indices of the clips, shape (n_groups, size)."""
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    sizes = sorted({len(clips) for clips in members})
    return [np.stack([clips for clips in members if len(clips) == n]) for n in sizes]


def _cramers_v(rows: np.ndarray, columns: np.ndarray) -> float:
    shape = (rows.max() + 1, columns.max() + 1)
    if min(shape) < 2:
        return 0.0
    counts = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / len(rows)
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi_squared / (len(rows) * (min(shape) - 1))))


def agreement_by_chance(first: ArrayLike, second: ArrayLike) -> float:
    """How often two namings of the same clips, shape (n,), would agree if they were independent.

    Each keeps how often it gives each name.
    """
    one, other = np.asarray(first), np.asarray(second)
    return float(sum((one == name).mean() * (other == name).mean() for name in np.unique(one)))
