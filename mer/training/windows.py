"""Windows of clips that differ in length, and segments, which are windows of one length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mer.segments import segment_starts, segments
from mer.training.supervised import Score, TrainingOptions, forward

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
    window : int
        Longest window, in steps.
    batch_size : int
        A last batch of one clip joins the batch before it.
    length_of, batch_of : callable
        Steps of an item, and inputs of the network from windows of one length.
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

    Parameters are those of `training_batches`. Yields inputs, of windows of one length (see
    `window_length`), and the index of the clip that each window was taken from, shape (batch,).
    """
    by_length: dict[int, list[tuple[int, int]]] = {}
    for index, item in enumerate(items):
        length = window_length(length_of(item), window)
        for start in window_starts(length_of(item), length):
            by_length.setdefault(length, []).append((index, start))
    for length, starts in by_length.items():
        windows = [((items[index], start, start + length), index) for index, start in starts]
        windows.sort(key=lambda window: size_of(window[0]))
        for first in range(0, len(windows), batch_size):
            pieces, owners = zip(*windows[first : first + batch_size], strict=True)
            yield batch_of(pieces), np.asarray(owners)


@dataclass(frozen=True, kw_only=True)
class SegmentOptions(TrainingOptions):
    """How a network of segments is trained.

    `segments_per_epoch` of each clip, or all of them, are taken by an epoch at random; as many,
    evenly spread, are validated.
    """

    segments_per_epoch: int | None = None
    epochs: int = 100
    patience: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-4


class SegmentSet:
    """All whole segments of some clips, as views of their spectrograms.

    Parameters
    ----------
    log_mels : sequence of np.ndarray, shape (n_mels, n_frames)
        One a clip.
    window, hop : int
        Length of a segment and distance between segments, in frames.

    Attributes
    ----------
    counts : np.ndarray, shape (n_clips,)
        Segments of each clip.
    owners, numbers, starts : np.ndarray, shape (n_segments,)
        Index of each segment's clip, its number within the clip, and its first frame.
    """

    def __init__(self, log_mels: Sequence[np.ndarray], window: int, hop: int) -> None:
        self._views = [segments(log_mel, window, hop) for log_mel in log_mels]
        starts = [segment_starts(log_mel.shape[1], window, hop) for log_mel in log_mels]
        self.counts = np.asarray([len(own) for own in starts])
        self.starts = np.concatenate(starts)
        self.owners = np.repeat(np.arange(len(log_mels)), self.counts)
        self._first = np.cumsum(self.counts) - self.counts
        self.numbers = np.arange(len(self.owners)) - self._first[self.owners]

    def __len__(self) -> int:
        return len(self.owners)

    def batch(self, indices: np.ndarray) -> Tensor:
        """Some segments, shape (n, n_mels, window), float32."""
        numbers = zip(self.owners[indices], self.numbers[indices], strict=True)
        pieces = [self._views[clip][number] for clip, number in numbers]
        return torch.from_numpy(np.stack(pieces)).float()

    def draw(self, per_clip: int | None, rng: np.random.Generator) -> np.ndarray:
        """Indices of as many random segments of each clip, or of all it has, in random order."""
        if per_clip is None:
            return rng.permutation(len(self))
        chosen = [
            first + rng.permutation(count)[:per_clip]
            for first, count in zip(self._first, self.counts, strict=True)
        ]
        return rng.permutation(np.concatenate(chosen))

    def spread(self, per_clip: int | None) -> np.ndarray:
        """Indices of as many evenly spread segments of each clip, or of all it has, in order."""
        if per_clip is None:
            return np.arange(len(self))
        chosen = [
            first + np.unique(np.linspace(0, count - 1, min(per_clip, count)).round().astype(int))
            for first, count in zip(self._first, self.counts, strict=True)
        ]
        return np.concatenate(chosen)

    def clip_means(self, values: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Mean by clip, shape (n_clips, k), of values of the segments `indices`, shape (n, k)."""
        owners = self.owners[indices]
        sums = np.zeros((len(self.counts), values.shape[1]))
        np.add.at(sums, owners, values)
        return sums / np.bincount(owners, minlength=len(sums))[:, None]


def split_batches(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Consecutive parts of at most `batch_size` whose sizes differ by one at most.

    Kernels are compiled anew for every size of a batch: so there are only two.
    """
    return np.array_split(order, -(-len(order) // batch_size))


def inherited_batches(
    segment_set: SegmentSet,
    targets: np.ndarray,
    options: SegmentOptions,
    rng: np.random.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in which every segment has the class of its clip.

    Yields batches of segments, shape (batch, n_mels, window), and their classes, shape (batch,);
    `targets`, shape (n_clips,), are those of the clips.
    """
    drawn = segment_set.draw(options.segments_per_epoch, rng)
    for chosen in split_batches(drawn, options.batch_size):
        yield segment_set.batch(chosen), torch.from_numpy(targets[segment_set.owners[chosen]])


def predict_segments(
    network: nn.Module,
    segment_set: SegmentSet,
    indices: np.ndarray,
    options: SegmentOptions,
    device: torch.device,
) -> np.ndarray:
    """Class probabilities of some segments, shape (n, n_classes), float64.

    The network is left in evaluation mode.
    """
    network.eval()
    parts = []
    with torch.inference_mode():
        for chosen in split_batches(indices, 2 * options.batch_size):
            logits = forward(network, segment_set.batch(chosen), device)
            parts.append(torch.softmax(logits.double(), dim=1).cpu().numpy())
    return np.concatenate(parts)


def clip_score(
    network: nn.Module,
    segment_set: SegmentSet,
    targets: np.ndarray,
    options: SegmentOptions,
    device: torch.device,
) -> Score:
    """Score of the mean probabilities of each clip, over evenly spread segments."""
    indices = segment_set.spread(options.segments_per_epoch)
    values = predict_segments(network, segment_set, indices, options, device)
    return Score.of(segment_set.clip_means(values, indices), targets)
