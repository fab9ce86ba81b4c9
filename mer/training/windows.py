"""Windows of clips that differ in length: random ones to train on, all of them to predict from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

_POOL_BATCHES = 8
# Kernels are compiled anew for every length: a multiple of this keeps the lengths few.
_LENGTH_STEP = 32


def window_length(length: int, window: int) -> int:
    """Length of the windows of a clip of `length` steps.

    `window`, or for shorter clips the largest multiple of 32 steps that they hold (below 32 steps,
    the whole clip).
    """
    if length >= window:
        return window
    return length - length % _LENGTH_STEP if length >= _LENGTH_STEP else length


def training_batches(
    items: Sequence[np.ndarray],
    targets: np.ndarray,
    *,
    window: int,
    batch_size: int,
    rng: np.random.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: a random window of every clip, in random batches of clips of like length.

    Nothing is padded: the windows of a batch are as long as its shortest clip allows.
    Clips are sorted by length within random pools of eight batches, so little is lost by that,
    and the order of the batches is random.

    Parameters
    ----------
    items : sequence of np.ndarray
        Arrays with time on the last axis.
    targets : np.ndarray, shape (n_items,)
    window : int
        Longest window, in steps of the last axis.
    batch_size : int
        A last batch of one clip joins the batch before it.
    rng : np.random.Generator

    Yields
    ------
    inputs : Tensor, shape (batch, ..., length)
    targets : Tensor, shape (batch,)
    """
    order = rng.permutation(len(items))
    lengths = np.asarray([window_length(items[i].shape[-1], window) for i in order])
    pool = np.arange(len(items)) // (batch_size * _POOL_BATCHES)
    order = order[np.lexsort((lengths, pool))]
    starts = list(range(0, len(order), batch_size))
    if len(order) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    bounds = list(zip(starts, [*starts[1:], len(order)], strict=True))
    for number in rng.permutation(len(bounds)):
        chosen = order[slice(*bounds[number])]
        length = min(window_length(items[i].shape[-1], window) for i in chosen)
        pieces = [_random_window(items[i], length, rng) for i in chosen]
        yield _to_tensor(np.stack(pieces)), torch.from_numpy(targets[chosen])


def _random_window(item: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    start = rng.integers(item.shape[-1] - length + 1)
    return item[..., start : start + length]


def window_starts(length: int, window: int) -> list[int]:
    """Starts of consecutive windows that cover `length` steps; the last one ends at the end."""
    last = max(length - window, 0)
    return [*range(0, last, window), last]


def prediction_batches(
    items: Sequence[np.ndarray], *, window: int, batch_size: int
) -> Iterator[tuple[Tensor, np.ndarray]]:
    """All windows of all clips, each clip covered by consecutive windows, without padding.

    Yields
    ------
    inputs : Tensor, shape (batch, ..., length)
        Windows of one length, see `window_length`.
    owners : np.ndarray, shape (batch,)
        Index of the clip that each window was taken from.
    """
    by_length: dict[int, list[tuple[int, int]]] = {}
    for index, item in enumerate(items):
        length = window_length(item.shape[-1], window)
        for start in window_starts(item.shape[-1], length):
            by_length.setdefault(length, []).append((index, start))
    for length, places in by_length.items():
        for first in range(0, len(places), batch_size):
            batch = places[first : first + batch_size]
            pieces = [items[index][..., start : start + length] for index, start in batch]
            yield _to_tensor(np.stack(pieces)), np.asarray([index for index, _ in batch])


def _to_tensor(array: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(array)
    return tensor.float() if tensor.is_floating_point() else tensor
