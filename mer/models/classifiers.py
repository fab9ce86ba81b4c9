"""Networks of the EMOPIA baselines (Hung et al., ISMIR 2021): LSTM-Attn and short-chunk ResNet."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from mer.models import layers

LSTM_ATTN_REVISION = 1
SHORT_CHUNK_REVISION = 1

_WIDTHS = (1, 1, 2, 2, 2, 2, 4)


class LSTMAttn(nn.Module):
    """Token embedding, BiLSTM, structured self-attention, two fully connected layers.

    Parameters
    ----------
    vocabulary : int
        Number of tokens; token 0 is the padding.
    n_classes : int
    embedding, hidden, attention, hops, classifier : int
        Sizes of the embedding, of the LSTM in each direction, of the attention's hidden layer,
        its number of hops r, and of the hidden fully connected layer.
    dropout : float
        Before the classifier.

    References
    ----------
    Lin et al.: A structured self-attentive sentence embedding. ICLR 2017, equations 5-7; sizes
    as in the EMOPIA baselines.
    """

    def __init__(
        self,
        vocabulary: int,
        n_classes: int,
        *,
        embedding: int = 300,
        hidden: int = 128,
        attention: int = 128,
        hops: int = 14,
        classifier: int = 256,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=0)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True, bidirectional=True)
        self.pooling = layers.AttentionPooling(2 * hidden, attention, hops)
        self.classifier = layers.classifier(2 * hidden * hops, classifier, n_classes, dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits, shape (batch, n_classes), of tokens, shape (batch, length), int64."""
        states, _ = self.lstm(self.embedding(tokens))
        return self.classifier(self.pooling(states))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a convolution as shortcut; halves both axes."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, in, height, width) to (batch, out, height / 2, width / 2)."""
        return torch.relu(self.body(x) + self.shortcut(x))


def residual_blocks(channels: int) -> tuple[nn.Sequential, int]:
    """Seven blocks on an image of one channel, and the channels of the last.

    The first block has `channels`, blocks 3-6 twice and block 7 four times as many.
    """
    widths = [1, *(channels * factor for factor in _WIDTHS)]
    return nn.Sequential(*(ResidualBlock(a, b) for a, b in pairwise(widths))), widths[-1]


class ShortChunkResNet(nn.Module):
    """Seven residual blocks of stride 2 on a log-mel chunk, global max-pooling, two layers.

    Parameters
    ----------
    n_classes : int
    channels : int
        Of the first block; blocks 3-6 have twice and block 7 four times as many.
    dropout : float
        Before the last layer.

    References
    ----------
    Won et al.: Evaluation of CNN-based automatic music tagging models. SMC 2020 (the model that
    the EMOPIA baselines use); He et al.: Deep residual learning. CVPR 2016.
    """

    def __init__(self, n_classes: int, *, channels: int = 128, dropout: float = 0.5) -> None:
        super().__init__()
        self.input_norm = nn.BatchNorm2d(1)
        self.blocks, width = residual_blocks(channels)
        self.classifier = nn.Sequential(
            nn.Linear(width, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(width, n_classes),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        """Logits, shape (batch, n_classes), of chunks in dB, shape (batch, n_mels, frames)."""
        x = self.input_norm(log_mel.unsqueeze(1))
        x = self.blocks(x.contiguous(memory_format=torch.channels_last))
        return self.classifier(x.amax(dim=(2, 3)))
