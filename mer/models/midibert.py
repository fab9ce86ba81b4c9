"""MidiBERT: a BERT encoder of compound words, and a sequence classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer.features.compound_words import FIELDS, KEY_CLASSES, SIZES, VELOCITY_CLASSES
from mer.models.layers import AttentionPooling
from mer.models.symbolic_encoder import (
    EncoderLayer,
    SelfAttention,
    attend,
    sinusoidal_positions,
)

REVISION = 1

MAX_LENGTH = 512
"""Longest sequence, in words."""

ENCODERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "published": {
            "width": 768,
            "layers": 12,
            "heads": 12,
            "feedforward": 3072,
            "embedding": 256,
            "positions": "distances",
        },
        "small": {
            "width": 128,
            "layers": 4,
            "heads": 2,
            "feedforward": 512,
            "embedding": 64,
            "positions": "rotary",
        },
    }
)
"""Sizes by name: the published one, and one that two cores can pre-train."""

Positions = Literal["distances", "rotary"]

_INITIAL_SD, _INITIAL_WIDTH = 0.02, 768


class MidiBert(nn.Module):
    """BERT encoder of compound words.

    Embeddings of the four fields are joined and projected. There is no dropout within the
    attention, where it would cost more time than all the rest, and no embedding of segment types
    and no pooling layer, which the published model has but does not use.

    Parameters
    ----------
    width, layers, heads, feedforward : int
        Of the states, number of layers, attention heads, width of the feed-forward layers.
    embedding : int
        Of each field.
    positions : {"distances", "rotary"}
        How attention depends on the distance of two words: by learnt vectors of the distances, as
        published, or by rotation, which costs next to nothing.
    dropout : float
        Of the embedded words and of each sublayer's output.

    References
    ----------
    Chou et al.: MidiBERT-Piano: large-scale pre-training for symbolic music understanding. 2021;
    embedding size and relative positions as in the published code.
    Devlin et al.: BERT. NAACL 2019.
    """

    def __init__(
        self,
        *,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        feedforward: int = 3072,
        embedding: int = 256,
        positions: Positions = "distances",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.tables = nn.ModuleList(nn.Embedding(size, embedding) for size in SIZES)
        self.merge = nn.Linear(len(FIELDS) * embedding, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            _bert_layer(width, heads, feedforward, dropout, positions) for _ in range(layers)
        )

    def forward(self, words: Tensor) -> Tensor:
        """State of every word in its context, shape (batch, n, width).

        Parameters
        ----------
        words : Tensor, shape (batch, 4, n), int64
            As `mer.features.compound_words` gives them, n at most 512, without padding.
        """
        states = self.dropout(self.norm(self.embedded(words)))
        for layer in self.layers:
            states = layer(states)
        return states

    def embedded(self, words: Tensor) -> Tensor:
        """Embeddings of the four fields, joined and projected, shape (batch, n, width).

        Each table is projected instead of each word, which is the same and much less work. In
        bfloat16 the gradients of frequent values would be lost in rounding.
        """
        parts = self.merge.weight.chunk(len(FIELDS), dim=1)
        with torch.autocast(words.device.type, enabled=False):
            weights = [table.get_parameter("weight") for table in self.tables]
            tables = [weight @ part.T for weight, part in zip(weights, parts, strict=True)]
            fields = [functional.embedding(words[:, k], table) for k, table in enumerate(tables)]
            return torch.stack(fields).sum(dim=0) + self.merge.bias


def _bert_layer(
    width: int, heads: int, feedforward: int, dropout: float, positions: Positions
) -> EncoderLayer:
    attention = _ATTENTIONS[positions](width, heads)
    layer = EncoderLayer(attention, nn.GELU(), width, feedforward, dropout)
    # That of BERT at its width; in narrower layers sums have fewer terms.
    sd = _INITIAL_SD * math.sqrt(_INITIAL_WIDTH / width)
    for module in layer.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=sd)
            nn.init.zeros_(module.bias)
    return layer


class DistanceAttention(SelfAttention):
    """Self-attention whose scores also depend on learnt vectors of the distance of the two words.

    References
    ----------
    Huang et al.: Improve Transformer models with better relative position embeddings. Findings of
    EMNLP 2020, method 4: the distance's vector is multiplied with the query and with the key.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads)
        self.distances = nn.Embedding(2 * MAX_LENGTH - 1, width // heads)
        nn.init.normal_(self.distances.weight, std=_INITIAL_SD)

    def mixed(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Weighted means of the values, shape (batch, heads, n, d); as in `SelfAttention`."""
        length = query.shape[2]
        # From the key n - 1 words later to the one n - 1 words earlier.
        near = self.distances.weight[MAX_LENGTH - length : MAX_LENGTH + length - 1]
        scores = query @ key.transpose(-1, -2)
        scores = scores + _aligned(query @ near.flip(0).T)
        scores = scores + _aligned(key @ near.T).transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        return (scores * query.shape[3] ** -0.5).softmax(dim=-1) @ value


def _aligned(scores: Tensor) -> Tensor:
    """Entries [i, n - 1 - i + j] of scores, shape (..., n, 2 n - 1), as an array [i, j]."""
    length = scores.shape[-2]
    if length == 1:
        return scores
    shifted = scores.flatten(-2)[..., length - 1 : length - 1 + length * (2 * length - 2)]
    return shifted.unflatten(-1, (length, 2 * length - 2))[..., :length]


class RotaryAttention(SelfAttention):
    """Self-attention between queries and keys that are turned by angles in proportion to time.

    References
    ----------
    Su et al.: RoFormer: enhanced Transformer with rotary position embedding. 2021, section 3.2.2.
    """

    def mixed(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Weighted means of the values, shape (batch, heads, n, d); as in `SelfAttention`."""
        length, size = query.shape[2:]
        waves = sinusoidal_positions(length, size).to(query)
        sine, cosine = waves[:, 0::2], waves[:, 1::2]
        query, key = _turned(query, sine, cosine), _turned(key, sine, cosine)
        if mask is not None or not query.requires_grad or query.device.type != "cpu":
            return attend(query, key, value, mask)
        # One window at a time: its scores stay in the processor's cache.
        windows = zip(query.split(1), key.split(1), value.split(1), strict=True)
        return torch.cat([attend(*window, None) for window in windows])


def _turned(vectors: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    """Pairs (k, k + d / 2) of components, turned as complex numbers."""
    real, imaginary = vectors.chunk(2, dim=-1)
    turned = [real * cosine - imaginary * sine, real * sine + imaginary * cosine]
    return torch.cat(turned, dim=-1)


_ATTENTIONS: Mapping[Positions, type[SelfAttention]] = MappingProxyType(
    {"distances": DistanceAttention, "rotary": RotaryAttention}
)


class SequenceClassifier(nn.Module):
    """Encoder, attention pooling and two fully connected layers.

    Parameters
    ----------
    encoder : MidiBert
    n_classes : int
    attention, hops, classifier : int
        Sizes of the pooling's hidden layer, its number of means, and of the hidden fully
        connected layer.

    References
    ----------
    Chou et al. 2021, section on sequence-level classification; sizes as in the published code.
    """

    def __init__(
        self,
        encoder: MidiBert,
        n_classes: int,
        *,
        attention: int = 128,
        hops: int = 4,
        classifier: int = 256,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = AttentionPooling(encoder.width, attention, hops)
        self.classifier = _two_layers(hops * encoder.width, classifier, n_classes)

    def forward(self, words: Tensor) -> Tensor:
        """Logits, shape (batch, n_classes), of words, shape (batch, 4, n)."""
        return self.classifier(self.pooling(self.encoder(words)))


class MultiTaskClassifier(SequenceClassifier):
    """A sequence classifier with heads for the key and for the dynamics of each note.

    References
    ----------
    Qiu, Chen, Zhang: A novel multi-task learning method for symbolic music emotion recognition.
    2022. How the tasks share layers is our choice: key and label have one pooling.
    """

    def __init__(self, encoder: MidiBert, n_classes: int, **sizes: int) -> None:
        super().__init__(encoder, n_classes, **sizes)
        hidden, pooled = self.classifier[0].get_parameter("weight").shape
        self.key = _two_layers(pooled, hidden, KEY_CLASSES)
        self.velocity = _two_layers(encoder.width, hidden, VELOCITY_CLASSES)

    def forward(  # type: ignore[override]
        self, words: Tensor, velocities: Tensor, keys: Tensor
    ) -> dict[str, Tensor]:
        """Logits of the label, and cross-entropies of the two other tasks.

        Parameters
        ----------
        words : Tensor, shape (batch, 4, n)
        velocities : Tensor, shape (batch, n), int64
        keys : Tensor, shape (batch,), int64

        Returns
        -------
        dict of str to Tensor
            "label", shape (batch, n_classes); "key" and "velocity", means over the batch.
        """
        states = self.encoder(words)
        pooled = self.pooling(states)
        loudness = self.velocity(states).flatten(0, 1)
        return {
            "label": self.classifier(pooled),
            "key": functional.cross_entropy(self.key(pooled).float(), keys),
            "velocity": functional.cross_entropy(loudness.float(), velocities.flatten()),
        }


def _two_layers(width: int, hidden: int, n_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, n_classes))
