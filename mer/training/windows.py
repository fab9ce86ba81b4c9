"""Windows of clips that differ in length: random ones to train on, all of them to predict from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

Piece = tuple[Any, int, int]
"""An item, and start and stop of a window of it."""

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


def array_length(item: np.ndarray) -> int:
    """Steps of an array with time on the last axis."""
    return item.shape[-1]


def equal_size(piece: Piece) -> float:
    """Windows of one length are of one size."""
    return 0.0


def stack_pieces(pieces: Sequence[Piece]) -> Tensor:
    """Windows of one length as a batch, shape (batch, ..., length)."""
    tensor = torch.from_numpy(np.stack([item[..., start:stop] for item, start, stop in pieces]))
    return tensor.float() if tensor.is_floating_point() else tensor


def training_batches(
    items: Sequence[Any],
    targets: np.ndarray,
    *,
    window: int,
    batch_size: int,
    rng: np.random.Generator,
    length_of: Callable[[Any], int] = array_length,
    batch_of: Callable[[Sequence[Piece]], Any] = stack_pieces,
    size_of: Callable[[Piece], float] = equal_size,
) -> Iterator[tuple[Any, Tensor]]:
    """One epoch: a random window of every clip, in random batches of clips of like length.

    Nothing is padded: the windows of a batch are as long as its shortest clip allows.
    Clips are sorted by length within random pools of eight batches, so little is lost by that,
    and the order of the batches is random.

    Parameters
    ----------
    items : sequence
        By default arrays with time on the last axis.
    targets : np.ndarray, shape (n_items,)
    window : int
        Longest window, in steps.
    batch_size : int
        A last batch of one clip joins the batch before it.
    rng : np.random.Generator
    length_of : callable
        Steps of an item.
    batch_of : callable
        Inputs of the network from windows of one length.
    size_of : callable
        Of a window, where `batch_of` pads windows of one length: clips are also sorted by the size
        of the whole clip for its length.

    Yields
    ------
    inputs : what `batch_of` gives
        By default a Tensor, shape (batch, ..., length).
    targets : Tensor, shape (batch,)
    """
    longest = [window_length(length_of(item), window) for item in items]
    order = rng.permutation(len(items))
    lengths = np.asarray([longest[i] for i in order])
    whole = [(items[i], 0, length_of(items[i])) for i in order]
    densities = np.asarray([size_of(piece) / max(piece[2], 1) for piece in whole])
    pool = np.arange(len(items)) // (batch_size * _POOL_BATCHES)
    order = order[np.lexsort((densities, lengths, pool))]
    starts = list(range(0, len(order), batch_size))
    if len(order) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    bounds = list(zip(starts, [*starts[1:], len(order)], strict=True))
    for number in rng.permutation(len(bounds)):
        chosen = order[slice(*bounds[number])]
        length = min(longest[i] for i in chosen)
        offsets = [int(rng.integers(length_of(items[i]) - length + 1)) for i in chosen]
        pieces = [(items[i], s, s + length) for i, s in zip(chosen, offsets, strict=True)]
        yield batch_of(pieces), torch.from_numpy(targets[chosen])


def window_starts(length: int, window: int) -> list[int]:
    """Starts of consecutive windows that cover `length` steps; the last one ends at the end."""
    last = max(length - window, 0)
    return [*range(0, last, window), last]


def prediction_batches(
    items: Sequence[Any],
    *,
    window: int,
    batch_size: int,
    length_of: Callable[[Any], int] = array_length,
    batch_of: Callable[[Sequence[Piece]], Any] = stack_pieces,
    size_of: Callable[[Piece], float] = equal_size,
) -> Iterator[tuple[Any, np.ndarray]]:
    """All windows of all clips, each clip covered by consecutive windows, without padding.

    Parameters are those of `training_batches`.

    Yields
    ------
    inputs : what `batch_of` gives
        Of windows of one length, see `window_length`.
    owners : np.ndarray, shape (batch,)
        Index of the clip that each window was taken from.
    """
    by_length: dict[int, list[tuple[int, int]]] = {}
    for index, item in enumerate(items):
        length = window_length(length_of(item), window)
        for start in window_starts(length_of(item), length):
            by_length.setdefault(length, []).append((index, start))
    for length, places in by_length.items():
        windows = [((items[index], start, start + length), index) for index, start in places]
        windows.sort(key=lambda window: size_of(window[0]))
        for first in range(0, len(windows), batch_size):
            pieces, owners = zip(*windows[first : first + batch_size], strict=True)
            yield batch_of(pieces), np.asarray(owners)
