"""MusiCNN, a music tagger whose embedding serves as audio feature."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

REVISION = 1

N_BANDS, N_EMBEDDING, N_TAGS = 96, 200, 50

TAGS = (
    *("rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s"),
    *("alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists"),
    *("classic rock", "soul", "indie rock", "mellow", "electronica", "80s", "folk", "90s", "chill"),
    *("instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic"),
    *("experimental", "female vocalist", "guitar", "hip-hop", "70s", "party", "country"),
    *("easy listening", "sexy", "catchy", "funk", "electro", "heavy metal", "progressive rock"),
    *("60s", "rnb", "indie pop", "sad", "house", "happy"),
)
"""The most frequent of the Million Song Dataset, in order of the outputs."""

REACH = 73
"""Frames on either side that a frame depends on before pooling."""

_PIECE = 256
"""Frames of the first convolutions at a time: arrays that a processor's cache holds take less
time."""

_TIMBRAL, _TEMPORAL = ((7, 38), (7, 67)), ((128, 1), (64, 1), (32, 1))
_TIMBRAL_CHANNELS, _TEMPORAL_CHANNELS, _MIDDLE_CHANNELS = 204, 51, 64


class Scale(nn.Module):
    """Batch normalisation as it is at inference: a factor and an offset a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(channels))
        self.offset = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, channels, ...), unchanged."""
        shape = (-1,) + (1,) * (x.ndim - 2)
        return x * self.factor.view(shape) + self.offset.view(shape)


class FrontEnd(nn.Module):
    """A convolution over time and bands, and the largest value over the bands.

    Parameters
    ----------
    channels : int
    kernel : tuple of int
        Frames and bands; time is padded so that its length stays, with the larger half at the
        end where it cannot be halved.
    """

    def __init__(self, channels: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        before = (kernel[0] - 1) // 2
        self.pad = nn.ZeroPad2d((0, 0, before, kernel[0] - 1 - before))
        self.conv = nn.Conv2d(1, channels, kernel)
        self.scale = Scale(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, 1, frames, bands) to (batch, channels, frames)."""
        # ReLU and scale are monotone, so they can come after the maximum over the bands, where a
        # channel with a negative factor has a minimum: the maximum with its sign changed
        sign = torch.where(self.scale.factor >= 0, 1.0, -1.0)
        assert self.conv.bias is not None
        weights, bias = self.conv.weight * sign.view(-1, 1, 1, 1), self.conv.bias * sign
        largest = _largest_of_products if weights.shape[3] > 1 else _largest_of_convolution
        padded, n, more = self.pad(x), x.shape[2], weights.shape[2] - 1
        found = torch.cat(
            [
                largest(padded[:, :, start : start + _PIECE + more], weights)
                for start in range(0, n, _PIECE)
            ],
            dim=2,
        )
        return self.scale(torch.relu((found + bias.view(-1, 1)) * sign.view(-1, 1)))


def _largest_of_convolution(x: Tensor, weights: Tensor) -> Tensor:
    return conv2d(x, weights).amax(dim=3)


def _largest_of_products(x: Tensor, weights: Tensor) -> Tensor:
    """The same, a matrix product a band: faster where a kernel has many bands.

    Shapes are (batch, 1, frames, bands) and (channels, 1, n_frames, n_bands).
    """
    n_frames, n_bands = weights.shape[2:]
    matrix = weights[:, 0].permute(2, 1, 0).flatten(0, 1).contiguous()
    width, found = len(matrix), []
    for item in x[:, 0]:
        # The frames of a kernel side by side: the bands of a kernel are columns that are adjacent
        side_by_side = item.unfold(0, n_frames, 1).flatten(1)
        largest = side_by_side[:, :width] @ matrix
        for band in range(1, item.shape[1] - n_bands + 1):
            columns = side_by_side[:, band * n_frames : band * n_frames + width]
            largest = torch.maximum(largest, columns @ matrix)
        found.append(largest.T)
    return torch.stack(found)


class Middle(nn.Module):
    """A convolution over time, shape (batch, in, frames) to (batch, 64, frames)."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels_in, _MIDDLE_CHANNELS, 7, padding=3)
        self.scale = Scale(_MIDDLE_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Convolution, ReLU and scale."""
        return self.scale(torch.relu(self.conv(x)))


class MusiCNN(nn.Module):
    """Timbral and temporal convolutions, three dense ones over time, global pooling, two layers.

    The network of Pons and Serra [1]_, trained to predict the 50 most frequent tags of the Million
    Song Dataset. Any number of frames is accepted; it was trained on 187 (3 s).

    References
    ----------
    .. [1] J. Pons and X. Serra: musicnn: Pre-trained convolutional neural networks for music
       audio tagging. ISMIR 2019, late-breaking demo (arXiv:1909.06654).
    """

    def __init__(self) -> None:
        super().__init__()
        self.input_scale = Scale(1)
        self.front = nn.ModuleList(
            [FrontEnd(_TIMBRAL_CHANNELS, kernel) for kernel in _TIMBRAL]
            + [FrontEnd(_TEMPORAL_CHANNELS, kernel) for kernel in _TEMPORAL]
        )
        n_front = len(_TIMBRAL) * _TIMBRAL_CHANNELS + len(_TEMPORAL) * _TEMPORAL_CHANNELS
        self.middle = nn.ModuleList(
            [Middle(n_front), Middle(_MIDDLE_CHANNELS), Middle(_MIDDLE_CHANNELS)]
        )
        n_pooled = 2 * (n_front + len(self.middle) * _MIDDLE_CHANNELS)
        self.pooled_scale = Scale(n_pooled)
        self.embedding = nn.Linear(n_pooled, N_EMBEDDING)
        self.embedding_scale = Scale(N_EMBEDDING)
        self.tags = nn.Linear(N_EMBEDDING, N_TAGS)

    def forward(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding and tags of log10(1 + 10000 x mel power).

        Parameters
        ----------
        bands : Tensor, shape (batch, frames, 96)
            See `mer.systems.musicnn.log_bands`.

        Returns
        -------
        embedding : Tensor, shape (batch, 200)
            Before its ReLU.
        tags : Tensor, shape (batch, 50)
            Probability of each tag.
        """
        return self.of_frames(self.frames(bands))

    def frames(self, bands: Tensor) -> Tensor:
        """What is pooled over time, shape (batch, 753, frames); bands as in `forward`."""
        x = self.input_scale(bands.unsqueeze(1))
        front = torch.cat([branch(x) for branch in self.front], dim=1)
        first = self.middle[0](front)
        second = first + self.middle[1](first)
        third = second + self.middle[2](second)
        return torch.cat([front, first, second, third], dim=1)

    def of_frames(self, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding and tags of `frames`, as `forward` gives them."""
        pooled = torch.stack([dense.amax(dim=2), dense.mean(dim=2)], dim=2).flatten(1)
        embedding = self.embedding(self.pooled_scale(pooled))
        logits = self.tags(self.embedding_scale(torch.relu(embedding)))
        return embedding, torch.sigmoid(logits)
