"""Overlapping segments with crossfade, for audio of any length in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from mer.errors import InvalidDataError

SOURCES = ("drums", "bass", "other", "vocals")
"""In the order of the demucs package."""

OVERLAP = 0.25
"""Part of a segment that it shares with the next, as in the demucs package."""


def separate_stream(
    blocks: Iterable[np.ndarray],
    separate: Callable[[np.ndarray, np.ndarray], np.ndarray],
    length: int,
) -> Iterator[np.ndarray]:
    """Sources of audio that comes in pieces.

    Segments begin at multiples of their stride whatever the pieces are, and are crossfaded with
    the weights of `demucs.apply.apply_model`: in a row, the sources are what that function gives
    for the whole recording with `shifts=0`. No more than about three segments and one block are
    held in memory.

    Parameters
    ----------
    blocks : iterable of np.ndarray, shape (channels, n)
        Consecutive samples.
    separate : callable
        Gives the sources of a segment, shape (n_sources, channels, n), from what comes before it,
        shape (channels, n_before), at most a segment long, and from its samples.
    length : int
        Samples of a segment.

    Yields
    ------
    np.ndarray, shape (n_sources, channels, n), float32
        Consecutive samples of the sources, as many in all as there are in the blocks.

    Raises
    ------
    InvalidDataError
        If there are no samples.
    """
    weight = _crossfade(length)
    stride = int((1 - OVERLAP) * length)
    total, weights = np.zeros(0, np.float32), np.zeros(length, np.float32)
    for before, samples in _segments(blocks, length, stride):
        estimate = separate(before, samples)
        n = estimate.shape[-1]
        if not total.size:
            total = np.zeros((*estimate.shape[:2], length), np.float32)
        total[..., :n] += weight[:n] * estimate
        weights[:n] += weight[:n]
        done = min(stride, n)
        yield total[..., :done] / weights[:done]
        total, weights = _shifted(total, stride), _shifted(weights, stride)


def _crossfade(length: int) -> np.ndarray:
    half = length // 2
    triangle = np.concatenate([np.arange(1, half + 1), np.arange(length - half, 0, -1)])
    weight: np.ndarray = (triangle / triangle.max()).astype(np.float32)
    return weight


def _shifted(array: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([array[..., n:], np.zeros_like(array[..., :n])], axis=-1)


def _segments(
    blocks: Iterable[np.ndarray], length: int, stride: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Segments from samples 0, stride, 2 stride, ...; the last ones are shorter than `length`."""
    held = np.zeros((1, 0), np.float32)
    start = 0
    for block in blocks:
        held = np.concatenate([held, block], axis=1) if held.size else block
        while held.shape[1] >= start + length:
            yield _cut(held, start, length)
            held, start = _advance(held, start + stride, length)
    if not held.size:
        raise InvalidDataError("there are no samples to separate")
    while start < held.shape[1]:
        yield _cut(held, start, length)
        held, start = _advance(held, start + stride, length)


def _cut(held: np.ndarray, start: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    return held[:, :start], held[:, start : start + length]


def _advance(held: np.ndarray, start: int, length: int) -> tuple[np.ndarray, int]:
    """Forget what lies more than a segment before `start`."""
    forgotten = max(start - length, 0)
    return held[:, forgotten:], start - forgotten
