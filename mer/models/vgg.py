"""VGG16 on log-mel segments.

References
----------
Simonyan and Zisserman: Very deep convolutional networks for large-scale image recognition. ICLR
2015, configuration D; with the average pooling to 7 x 7 that current implementations put before
the dense layers, so that it takes inputs of any size. Sun et al. 2024 change only the channels of
the input and the number of classes.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from mer.errors import ParameterError
from mer.models.layers import Standardise, he_initialise

REVISION = 1

SMALLEST_INPUT = 32
"""Least number of bands and of frames: five poolings halve both."""

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_DENSE = 4096

_SMALLEST_DEVIATION = 1.0
"""In dB: a band that is as good as silent in training is not blown up."""


class VGG16(nn.Module):
    """Thirteen 3x3 convolutions in five blocks, and three dense layers.

    The ReLU that ends a block comes after its pooling here, which gives the same numbers with a
    quarter of the work, since the ReLU only grows.

    Parameters
    ----------
    n_classes, n_mels : int
    width : float
        Factor on the channels and on the dense layers; 1 is the published network.
    grid : int
        Side of the map that the dense layers see, to which the last one is averaged, or repeated
        where it is smaller; 7 in the published network.
    dropout : float
        After both hidden dense layers.

    Raises
    ------
    ParameterError
        If there are fewer than 32 bands, or `width` or `grid` is not positive.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        n_mels: int = 128,
        width: float = 1.0,
        grid: int = 7,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if n_mels < SMALLEST_INPUT or width <= 0 or grid < 1:
            raise ParameterError(
                f"n_mels is {n_mels}, width {width} and grid {grid}; expected at least "
                f"{SMALLEST_INPUT} bands and a positive width and grid"
            )
        self.grid = grid
        self.standardise = Standardise(n_mels)
        layers: list[nn.Module] = []
        channels = 1
        for block in _BLOCKS:
            for size in block:
                layers += [nn.Conv2d(channels, channels := scaled(size, width), 3, padding=1)]
                layers += [nn.ReLU(inplace=True)]
            layers.insert(-1, nn.MaxPool2d(2))
        self.convolutions = nn.Sequential(*layers)
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        dense = scaled(_DENSE, width)
        hidden = [
            layer
            for size in (channels * grid**2, dense)
            for layer in (nn.Linear(size, dense), nn.ReLU(), nn.Dropout(dropout))
        ]
        self.classifier = nn.Sequential(*hidden, nn.Linear(dense, n_classes))
        self.apply(he_initialise)

    def fit_scale(self, log_mels: Iterable[np.ndarray]) -> None:
        """Take mean and deviation of each band from training clips in dB, each (bands, frames)."""
        self.standardise.fit(log_mels)
        self.standardise.std.clamp_(min=_SMALLEST_DEVIATION)

    def features(self, log_mel: Tensor) -> Tensor:
        """Input of the dense layers, shape (batch, grid**2 * channels); see `forward`."""
        x = self.standardise(log_mel).unsqueeze(1)
        x = self.convolutions(x.contiguous(memory_format=torch.channels_last))
        return nn.functional.adaptive_avg_pool2d(x, self.grid).flatten(1)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Logits, shape (batch, n_classes), of segments in dB, shape (batch, n_mels, frames)."""
        return self.classifier(self.features(log_mel))


def scaled(size: int, width: float) -> int:
    """A layer's size at some width, at least 1."""
    return max(1, round(size * width))
