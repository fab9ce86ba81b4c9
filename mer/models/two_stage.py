"""Networks of the 2-Stage system: an autoencoder of segments, and a BiLSTM on their codes.

References
----------
He and Ferguson: Music emotion recognition based on segment-level two-stage learning.
International Journal of Multimedia Information Retrieval 11, 2022: an autoencoder of contiguous
segments with masked bands and frames, without labels, then a bidirectional LSTM. Sizes are ours.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer.models.layers import Standardise, he_initialise

REVISION = 1

_STEPS = 4


class SegmentAutoencoder(nn.Module):
    """Four convolutions of stride 2 to a code, and back.

    Segments have shape (n_mels, window), the code has `size` values. The first convolution has so
    many channels, the second twice, the others four times as many.
    """

    def __init__(self, n_mels: int, window: int, *, size: int = 128, channels: int = 16) -> None:
        super().__init__()
        self.standardise = Standardise(n_mels)
        widths = (1, channels, 2 * channels, 4 * channels, 4 * channels)
        self.shapes = [(n_mels, window)]
        for _ in range(_STEPS):
            height, length = self.shapes[-1]
            self.shapes.append(((height + 1) // 2, (length + 1) // 2))
        flat = widths[-1] * self.shapes[-1][0] * self.shapes[-1][1]
        self.down = nn.ModuleList(
            nn.Conv2d(widths[k], widths[k + 1], 3, stride=2, padding=1) for k in range(_STEPS)
        )
        self.to_code = nn.Linear(flat, size)
        self.from_code = nn.Linear(size, flat)
        self.up = nn.ModuleList(
            nn.Conv2d(widths[k + 1], widths[k], 3, padding=1) for k in reversed(range(_STEPS))
        )
        self.apply(he_initialise)

    def encode(self, x: Tensor) -> Tensor:
        """Codes, shape (batch, size), of standardised segments, shape (batch, n_mels, window)."""
        x = x.unsqueeze(1)
        for layer in self.down:
            x = torch.relu(layer(x))
        return self.to_code(x.flatten(1))

    def decode(self, code: Tensor) -> Tensor:
        """Standardised segments, shape (batch, n_mels, window), of codes, shape (batch, size)."""
        x = self.from_code(code).unflatten(1, (-1, *self.shapes[-1]))
        for layer, shape in zip(self.up, reversed(self.shapes[:-1]), strict=True):
            x = torch.relu(x)
            x = layer(nn.functional.interpolate(x, size=shape, mode="nearest"))
        return x.squeeze(1)

    def forward(self, log_mel: Tensor, visible: Tensor) -> Tensor:
        """Standardised reconstructions of masked segments, shape (batch, n_mels, window) as both.

        `log_mel` is in dB; `visible` is 0 where a segment is masked, else 1.
        """
        return self.decode(self.encode(self.standardise(log_mel) * visible))


class SequenceClassifier(nn.Module):
    """A bidirectional LSTM; its last states, dropout and a dense layer.

    `size` is that of the code of a segment, `hidden` the units in each direction.
    """

    def __init__(
        self, size: int, n_classes: int, *, hidden: int = 64, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.standardise = Standardise(size)
        self.lstm = nn.LSTM(size, hidden, batch_first=True, bidirectional=True)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * hidden, n_classes))

    def forward(self, codes: Tensor) -> Tensor:
        """Logits, shape (batch, n_classes), of codes, shape (batch, size, n_segments)."""
        x = self.standardise(codes).transpose(1, 2)
        _, (last, _) = self.lstm(x)
        return self.classifier(torch.cat([last[0], last[1]], dim=1))
