"""Acoustic encoder, cross-domain attention, and the networks that are made of them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from mer.features.note_events import PAD
from mer.models.symbolic_encoder import SymbolicEncoder

REVISION = 1

CHANNELS = (64, 128, 256)
"""Of the three convolutions (Zhu et al., table 1)."""

TIME_FACTOR = 2 ** len(CHANNELS)
"""Frames that become one step of the acoustic encoder."""

Logits = dict[str, Tensor]
"""By name: "label", shape (batch, n_classes); "A" and "V", shape (batch,), where trained."""


class Standardise(nn.Module):
    """Takes the mean off each row of a feature and divides by its standard deviation.

    Both are part of the parameters that are stored; until `fit` they are 0 and 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_rows: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_rows, 1))
        self.register_buffer("std", torch.ones(n_rows, 1))

    def fit(self, features: Iterable[np.ndarray]) -> None:
        """Set mean and deviation from all frames of some features, each (n_rows, frames)."""
        count, sums, squares = 0, np.zeros(len(self.mean)), np.zeros(len(self.mean))
        for feature in features:
            values = feature.astype(np.float64)
            count += values.shape[1]
            sums += values.sum(axis=1)
            squares += np.square(values).sum(axis=1)
        mean = sums / count
        std = np.sqrt(np.maximum(squares / count - np.square(mean), 0.0))
        # A row that never changes carries nothing and must not be blown up.
        std[std < 1e-6 * np.maximum(np.abs(mean), 1.0)] = 1.0
        self.mean.copy_(torch.from_numpy(mean)[:, None])
        self.std.copy_(torch.from_numpy(std)[:, None])

    def forward(self, feature: Tensor) -> Tensor:
        """Shape (batch, n_rows, frames), unchanged."""
        return (feature - self.mean) / self.std


class AcousticEncoder(nn.Module):
    """Three blocks of convolution, batch norm, ReLU and max-pooling on a mixed feature.

    Frequency is flattened into the channels and projected to `width`.

    Parameters
    ----------
    n_bins : int
        Rows of the feature, 8 or more.
    width : int
        Of the states.

    References
    ----------
    Zhu et al.: Symbolic & Acoustic: multi-domain music emotion modeling for instrumental music.
    2023, section 3.1 and table 1. Batch norm and the projection are not in that table.
    """

    def __init__(self, n_bins: int, width: int) -> None:
        super().__init__()
        self.standardise = Standardise(n_bins)
        blocks: list[nn.Module] = []
        for channels_in, channels_out in pairwise((1, *CHANNELS)):
            blocks += [
                nn.Conv2d(channels_in, channels_out, 3, stride=1, padding=1),
                nn.BatchNorm2d(channels_out),
                # Pooled first, the ReLU has a quarter of the work and gives the same.
                nn.MaxPool2d(2),
                nn.ReLU(),
            ]
        # torch wants `memory_format` by keyword, its stubs do not know it alone
        self.blocks = nn.Sequential(*blocks).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.projection = nn.Linear(CHANNELS[-1] * (n_bins // TIME_FACTOR), width)

    def forward(self, feature: Tensor) -> Tensor:
        """States, shape (batch, frames // 8, width), of features, shape (batch, n_bins, frames)."""
        # Time before frequency: with channels last, flattening is then free.
        image = self.standardise(feature).transpose(1, 2).unsqueeze(1)
        maps = self.blocks(image.contiguous(memory_format=torch.channels_last))
        states: Tensor = self.projection(maps.permute(0, 2, 3, 1).flatten(2))
        return states


class CrossDomainAttention(nn.Module):
    """Multi-head attention of one domain to another (Zhu et al., equations 1-3).

    Parameters
    ----------
    width : int
        Of the states of both domains; a multiple of `heads`.
    heads : int
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, asking: Tensor, asked: Tensor, real: Tensor | None = None) -> Tensor:
        """What each state of one domain finds in the other.

        Parameters
        ----------
        asking : Tensor, shape (batch, n, width)
            Domain alpha of the equations: the queries are made from it.
        asked : Tensor, shape (batch, m, width)
            Domain beta: keys and values are made from it.
        real : Tensor, shape (batch, m), bool, optional
            Which states of `asked` are not padding; all of them if None.

        Returns
        -------
        Tensor, shape (batch, n, width)
        """
        mixed = self.weights(asking, asked, real) @ self._by_head(self.value(asked))
        found: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return found

    def weights(self, asking: Tensor, asked: Tensor, real: Tensor | None = None) -> Tensor:
        """Attention weights, shape (batch, heads, n, m), whose rows add up to 1."""
        query, key = self._by_head(self.query(asking)), self._by_head(self.key(asked))
        scores = query @ key.transpose(2, 3) / math.sqrt(key.shape[3])
        if real is not None:
            scores = scores.masked_fill(~real[:, None, None, :], -torch.inf)
        return torch.softmax(scores, dim=3)

    def _by_head(self, states: Tensor) -> Tensor:
        return states.unflatten(2, (self.heads, -1)).transpose(1, 2)


class AcousticOnly(nn.Module):
    """The acoustic branch alone: classifier, and arousal head if wanted, on its mean over time."""

    def __init__(
        self, acoustic: AcousticEncoder, n_classes: int, *, dropout: float, arousal: bool
    ) -> None:
        super().__init__()
        self.acoustic = acoustic
        width = acoustic.projection.out_features
        self.classifier = classifier(width, n_classes, dropout)
        self.arousal = nn.Linear(width, 1) if arousal else None

    def forward(self, feature: Tensor) -> Logits:
        """Logits of features, shape (batch, n_bins, frames)."""
        mean = self.acoustic(feature).mean(dim=1)
        return {"label": self.classifier(mean), **_head("A", self.arousal, mean)}


class SymbolicOnly(nn.Module):
    """The symbolic branch alone: classifier, and valence head if wanted, on its mean over notes."""

    def __init__(
        self, symbolic: SymbolicEncoder, n_classes: int, *, dropout: float, valence: bool
    ) -> None:
        super().__init__()
        self.symbolic = symbolic
        self.classifier = classifier(symbolic.width, n_classes, dropout)
        self.valence = nn.Linear(symbolic.width, 1) if valence else None

    def forward(self, events: Tensor) -> Logits:
        """Logits of events, shape (batch, 5, n)."""
        mean = masked_mean(self.symbolic(events), is_note(events))
        return {"label": self.classifier(mean), **_head("V", self.valence, mean)}


class MultiDomain(nn.Module):
    """Both branches, joined by attention in both directions.

    Each branch asks the other; the two answers, averaged over time, go to the classifier.

    Parameters
    ----------
    acoustic : AcousticEncoder
    symbolic : SymbolicEncoder
        Of the same width.
    n_classes : int
    heads : int
        Of both cross-domain attentions.
    dropout : float
        In the classifier.
    arousal, valence : bool
        Whether the acoustic branch has an arousal head, and the symbolic branch a valence head,
        each on the branch's own features.

    References
    ----------
    Zhu et al.: Symbolic & Acoustic: multi-domain music emotion modeling for instrumental music.
    2023, figure 1 and section 3.3. The mean over time is our choice.
    """

    def __init__(
        self,
        acoustic: AcousticEncoder,
        symbolic: SymbolicEncoder,
        n_classes: int,
        *,
        heads: int,
        dropout: float,
        arousal: bool,
        valence: bool,
    ) -> None:
        super().__init__()
        self.acoustic = acoustic
        self.symbolic = symbolic
        width = symbolic.width
        self.acoustic_attention = CrossDomainAttention(width, heads)
        self.symbolic_attention = CrossDomainAttention(width, heads)
        self.classifier = classifier(2 * width, n_classes, dropout)
        self.arousal = nn.Linear(width, 1) if arousal else None
        self.valence = nn.Linear(width, 1) if valence else None

    def forward(self, feature: Tensor, events: Tensor) -> Logits:
        """Logits of features, shape (batch, n_bins, frames), and events, shape (batch, 5, n)."""
        sound, notes, real = self.acoustic(feature), self.symbolic(events), is_note(events)
        from_sound = self.acoustic_attention(sound, notes, real).mean(dim=1)
        from_notes = masked_mean(self.symbolic_attention(notes, sound), real)
        return {
            "label": self.classifier(torch.cat([from_sound, from_notes], dim=1)),
            **_head("A", self.arousal, sound.mean(dim=1)),
            **_head("V", self.valence, masked_mean(notes, real)),
        }

    def attention_weights(self, feature: Tensor, events: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of both attentions, for figures.

        Returns
        -------
        acoustic : Tensor, shape (batch, heads, frames // 8, n)
            How much each step of the sound attends to each note.
        symbolic : Tensor, shape (batch, heads, n, frames // 8)
            How much each note attends to each step of the sound.
        """
        sound, notes, real = self.acoustic(feature), self.symbolic(events), is_note(events)
        return (
            self.acoustic_attention.weights(sound, notes, real),
            self.symbolic_attention.weights(notes, sound),
        )


def classifier(width: int, n_classes: int, dropout: float) -> nn.Sequential:
    """One hidden layer of half the width; the paper says no more than "a classifier"."""
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(width, width // 2),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(width // 2, n_classes),
    )


def is_note(events: Tensor) -> Tensor:
    """Columns of events, shape (batch, 5, n), that are no padding: shape (batch, n), bool."""
    return events[:, 0] != PAD


def masked_mean(states: Tensor, real: Tensor) -> Tensor:
    """Mean over the states, shape (batch, n, width), that `real`, shape (batch, n), marks."""
    weights = real.unsqueeze(2).float()
    # bfloat16 cannot count beyond 256.
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1)


def _head(name: str, head: nn.Linear | None, mean: Tensor) -> Logits:
    return {} if head is None else {name: head(mean).squeeze(1)}
