"""Analysis of audio that comes in pieces: the same frames as of the whole, in little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from mer.errors import InvalidDataError


def frame_blocks(
    blocks: Iterable[np.ndarray],
    n_frames: int,
    analyse: Callable[[np.ndarray], np.ndarray],
    *,
    half: int,
    hop_length: int,
) -> Iterator[np.ndarray]:
    """Frames of audio that comes in pieces, in pieces of `n_frames` frames.

    Put together, the pieces are exactly `analyse` of the whole; no more than about two pieces are
    held in memory.

    Parameters
    ----------
    blocks : iterable of np.ndarray, shape (n_samples,)
        Consecutive mono samples.
    n_frames : int
        Length of all pieces but the last.
    analyse : callable
        Gives frames, shape (..., 1 + n_samples // hop_length), each centred on a multiple of
        `hop_length` and of at most `half` samples to either side, zeros beyond the ends.
    half, hop_length : int
        `half` is a multiple of `hop_length`.

    Yields
    ------
    np.ndarray, shape (..., n_frames)

    Raises
    ------
    InvalidDataError
        If there are no samples.
    """

    def middle(samples: np.ndarray, length: int) -> np.ndarray:
        first = half // hop_length
        return analyse(samples)[..., first : first + length]

    held = np.zeros(half, dtype=np.float32)
    total = done = 0
    needed = (n_frames - 1) * hop_length + 2 * half
    for block in blocks:
        total += len(block)
        held = np.concatenate([held, block.astype(np.float32, copy=False)])
        while len(held) >= needed:
            yield middle(held[:needed], n_frames)
            held = held[n_frames * hop_length :]
            done += n_frames
    if not total:
        raise InvalidDataError("there are no samples")
    left = 1 + total // hop_length - done
    if left:
        end = (left - 1) * hop_length + 2 * half
        yield middle(np.pad(held, (0, max(end - len(held), 0)))[:end], left)


def with_context(pieces: Iterable[np.ndarray], reach: int) -> Iterator[tuple[np.ndarray, int, int]]:
    """Pieces with up to `reach` frames of their neighbours.

    Yields
    ------
    levels : np.ndarray
    before, length : int
        Frames of context in front, and frames of the piece itself.
    """
    current: np.ndarray | None = None
    past = np.empty(0)
    for following in pieces:
        if current is None:
            current, past = following, following[..., :0]
            continue
        levels = np.concatenate([past, current, following[..., :reach]], axis=-1)
        yield levels, past.shape[-1], current.shape[-1]
        past, current = np.concatenate([past, current], axis=-1)[..., -reach:], following
    if current is not None:
        yield np.concatenate([past, current], axis=-1), past.shape[-1], current.shape[-1]
