"""Segments of many clips: which there are, which an epoch takes, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mer.errors import ParameterError
from mer.segments import segment_starts, segments
from mer.training.supervised import Score, TrainingOptions, forward


@dataclass(frozen=True, kw_only=True)
class SegmentOptions(TrainingOptions):
    """How a network of segments is trained.

    Attributes
    ----------
    epochs, patience, batch_size, learning_rate, weight_decay, schedule, clip_norm
        As in `TrainingOptions`.
    segments_per_epoch : int or None
        Segments of each clip that an epoch takes at random; None takes all. As many, evenly
        spread, are validated.
    """

    segments_per_epoch: int | None = None
    epochs: int = 100
    patience: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.segments_per_epoch is not None and self.segments_per_epoch < 1:
            raise ParameterError(
                f"segments_per_epoch is {self.segments_per_epoch}; expected at least 1, or none"
            )


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
    owners : np.ndarray, shape (n_segments,)
        Index of the clip of each segment.
    numbers : np.ndarray, shape (n_segments,)
        Number of each segment within its clip.
    starts : np.ndarray, shape (n_segments,)
        First frame of each segment.
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
        places = zip(self.owners[indices], self.numbers[indices], strict=True)
        pieces = [self._views[clip][number] for clip, number in places]
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

    Parameters
    ----------
    segment_set : SegmentSet
    targets : np.ndarray, shape (n_clips,)
        Class of each clip.
    options : SegmentOptions
    rng : np.random.Generator

    Yields
    ------
    inputs : Tensor, shape (batch, n_mels, window)
    targets : Tensor, shape (batch,)
    """
    drawn = segment_set.draw(options.segments_per_epoch, rng)
    for chosen in split_batches(drawn, options.batch_size):
        yield segment_set.batch(chosen), torch.from_numpy(targets[segment_set.owners[chosen]])


def predict_segments(
    network: nn.Module,
    segment_set: SegmentSet,
    indices: np.ndarray,
    *,
    batch_size: int,
    device: torch.device,
) -> np.ndarray:
    """Class probabilities of some segments, shape (n, n_classes), float64.

    The network is left in evaluation mode.
    """
    network.eval()
    parts = []
    with torch.inference_mode():
        for chosen in split_batches(indices, batch_size):
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
    values = predict_segments(
        network, segment_set, indices, batch_size=2 * options.batch_size, device=device
    )
    return Score.of(segment_set.clip_means(values, indices), targets)
