"""Multimodal multifaceted network: branches for factors of emotion, joined by self-attention."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mer.features.tokens import PAD
from mer.models.multi_domain import CrossDomainAttention, Standardise, masked_mean
from mer.models.short_chunk import residual_blocks
from mer.models.token_gru import TokenGRU

REVISION = 1

PITCH_CLASSES = 12
HORIZONTAL_KERNEL = 48
_LAYERS = 2


class Branch(nn.Module):
    """Takes one input to a feature, shape (batch, `width`)."""

    width: int


class SymbolicBranch(Branch):
    """Melody, rhythm and dynamics: mean state of a two-layer Bi-GRU over MIDI-like tokens.

    Parameters
    ----------
    vocabulary : int
        Number of tokens; token 0 is the padding.
    embedding, hidden : int
        Sizes of the embedding and of the state of each direction.

    References
    ----------
    Zhao, Yoshii (2023), section III-A. The embedding and the mean over tokens are our choice.
    """

    def __init__(self, vocabulary: int, *, embedding: int, hidden: int) -> None:
        super().__init__()
        self.gru = TokenGRU(vocabulary, embedding=embedding, hidden=hidden, layers=_LAYERS)
        self.width = self.gru.width

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape (batch, n), padded at the end, to (batch, 2 * hidden)."""
        return masked_mean(self.gru(tokens), tokens != PAD)


class HarmonyBranch(Branch):
    """Harmony: three vertical (12, 1), then three horizontal (1, 48) convolutions on a chromagram.

    Pitch classes form a circle: the first two vertical convolutions go around it, so that each
    pitch class sees the whole octave above and below; the third takes all twelve to one row, along
    which the horizontal ones run, padded with zeros. Each convolution is followed by batch norm and
    ReLU; the mean over time is the output.

    Parameters
    ----------
    channels : int
        Of every convolution.

    References
    ----------
    Zhao, Yoshii (2023), section III-B: number, order and sizes of the kernels. All else is our
    choice.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        tall = (PITCH_CLASSES, 1)
        self.vertical = nn.Sequential(
            *_normed(_around(1, channels)),
            *_normed(_around(channels, channels)),
            *_normed(nn.Conv2d(channels, channels, tall, bias=False)),
        )
        before = (HORIZONTAL_KERNEL - 1) // 2
        wide = (before, HORIZONTAL_KERNEL - 1 - before, 0, 0)
        horizontal: list[nn.Module] = []
        for _ in range(3):
            convolution = nn.Conv2d(channels, channels, (1, HORIZONTAL_KERNEL), bias=False)
            horizontal += [nn.ZeroPad2d(wide), *_normed(convolution)]
        self.horizontal = nn.Sequential(*horizontal)
        self.width = channels

    def forward(self, chroma: Tensor) -> Tensor:
        """Shape (batch, 12, frames) to (batch, channels)."""
        image = chroma.unsqueeze(1).contiguous(memory_format=torch.channels_last)
        chords = self.vertical(image)
        progressions: Tensor = self.horizontal(chords)
        return progressions.mean(dim=(2, 3))


def _around(channels_in: int, channels_out: int) -> nn.Conv2d:
    """Vertical convolution around the circle of pitch classes."""
    return nn.Conv2d(
        channels_in,
        channels_out,
        (PITCH_CLASSES, 1),
        padding="same",
        padding_mode="circular",
        bias=False,
    )


def _normed(convolution: nn.Conv2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


class ToneColorBranch(Branch):
    """Tone colour: seven residual blocks of 3x3 convolutions on MFCCs, global max-pooling.

    The blocks are those of the short-chunk ResNet: padded, and of stride 2 in their first
    convolution and in their shortcut. Stride 2 in *every* convolution, as the text has it, would
    leave a single position after four of the seven.

    Parameters
    ----------
    n_mfcc : int
        Number of coefficients; each is standardised.
    channels : int
        Of the first block; blocks 3-6 have twice and block 7 four times as many.

    References
    ----------
    Zhao, Yoshii (2023), section III-C; Won et al. (2020).
    """

    def __init__(self, n_mfcc: int, channels: int) -> None:
        super().__init__()
        self.standardise = Standardise(n_mfcc)
        self.blocks, self.width = residual_blocks(channels)

    def forward(self, mfcc: Tensor) -> Tensor:
        """Shape (batch, n_mfcc, frames) to (batch, 4 * channels)."""
        image = self.standardise(mfcc).unsqueeze(1)
        maps: Tensor = self.blocks(image.contiguous(memory_format=torch.channels_last))
        return maps.amax(dim=(2, 3))


class Multifaceted(nn.Module):
    """One feature for each factor, self-attention among them, two fully connected layers.

    The sequence that attends to itself has one element a factor: the output of its branch, taken to
    a common width by a fully connected layer and layer norm. So an attention weight says how much
    of one factor goes into the new feature of another.

    Parameters
    ----------
    branches : mapping of str to Branch
        By factor.
    n_classes : int
    width : int
        Common width of the factors' features; a multiple of `heads`.
    heads : int or None
        Of the self-attention; None leaves it out.
    classifier : int
        Width of the hidden fully connected layer.
    dropout : float
        Before both fully connected layers.

    References
    ----------
    Zhao, Yoshii: Multimodal multifaceted music emotion recognition based on self-attentive fusion
    of psychology-inspired symbolic and acoustic features (2023), section III-D and equations 4-7.
    Widths, layer norm and dropout are our choice, as is what the elements of the sequence are.
    """

    def __init__(
        self,
        branches: Mapping[str, Branch],
        n_classes: int,
        *,
        width: int,
        heads: int | None,
        classifier: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleDict(branches)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(branch.width, width), nn.LayerNorm(width))
            for branch in branches.values()
        )
        self.attention = None if heads is None else CrossDomainAttention(width, heads)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(width * len(branches), classifier),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(classifier, n_classes),
        )

    def factors(self, *inputs: Tensor) -> Tensor:
        """Features of the factors, shape (batch, n_factors, width); one input for each branch."""
        parts = zip(self.branches.values(), self.projections, inputs, strict=True)
        return torch.stack([project(branch(x)) for branch, project, x in parts], dim=1)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Logits, shape (batch, n_classes); one input for each branch, in their order."""
        return self.logits(self.factors(*inputs))

    def logits(self, features: Tensor) -> Tensor:
        """Logits, shape (batch, n_classes), of what `factors` gives."""
        if self.attention is not None:
            features = self.attention(features, features)
        logits: Tensor = self.classifier(features.flatten(1))
        return logits

    def attention_weights(self, *inputs: Tensor) -> Tensor:
        """Weights of the self-attention, shape (batch, heads, n_factors, n_factors).

        Rows, of the factor that attends, add up to 1 over the factors that are attended to.
        """
        assert self.attention is not None, "the network has no self-attention"
        features = self.factors(*inputs)
        return self.attention.weights(features, features)
