"""Transformer encoder of note events."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mer.features.note_events import FIELDS, PAD, SIZES

REVISION = 1

ENCODERS = {
    "published": {"width": 512, "layers": 4, "heads": 8},
    "small": {"width": 128, "layers": 4, "heads": 4},
}
"""Sizes by name; feed-forward layers are four times as wide."""


class SymbolicEncoder(nn.Module):
    """Note embedding, sinusoidal positions and the original Transformer's encoder layers.

    The embeddings of the five fields are added. Joining them and projecting the result, as
    MidiBERT-Piano does, is also a sum of one vector a field, with more parameters.

    Parameters
    ----------
    width : int
        Of the states; a multiple of `heads`, and even.
    layers, heads, feedforward : int
        Number of layers, attention heads, and width of the feed-forward layers.
    dropout : float
        Of the embedded notes and of each sublayer's output. There is none within the attention,
        where it would cost more time than all the rest.

    References
    ----------
    Zhu et al.: Symbolic & Acoustic: multi-domain music emotion modeling for instrumental music.
    2023, section 3.2: four original Transformer encoder layers.
    Vaswani et al.: Attention is all you need. NeurIPS 2017, sections 3.1-3.5.
    """

    def __init__(
        self,
        *,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        feedforward: int = 512,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        tables = [nn.Embedding(size, width) for size in SIZES]
        for table in tables:
            # Their sum has unit variance.
            nn.init.normal_(table.weight, std=len(FIELDS) ** -0.5)
        self.embeddings = nn.ModuleList(tables)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(SelfAttention(width, heads), nn.ReLU(), width, feedforward, dropout)
            for _ in range(layers)
        )

    def forward(self, events: Tensor) -> Tensor:
        """State of every note in its context.

        Parameters
        ----------
        events : Tensor, shape (batch, 5, n), int64
            As `mer.features.note_events` gives them. Columns whose pitch is PAD are padding: no
            note attends to them, and their states mean nothing.

        Returns
        -------
        Tensor, shape (batch, n, width)
        """
        embedded = [table(events[:, k]) for k, table in enumerate(self.embeddings)]
        positions = sinusoidal_positions(events.shape[2], self.width).to(events.device)
        states = self.dropout(torch.stack(embedded).sum(dim=0) + positions)
        real = events[:, 0] != PAD
        mask = None if bool(real.all()) else real[:, None, None, :]
        for layer in self.layers:
            states = layer(states, mask)
        return states


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward network, each added to its input and then normalised.

    Parameters
    ----------
    attention : SelfAttention
    activation : nn.Module
        Between the two layers of the feed-forward network.
    width, feedforward : int
    dropout : float
    """

    def __init__(
        self,
        attention: SelfAttention,
        activation: nn.Module,
        width: int,
        feedforward: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), activation, nn.Linear(feedforward, width)
        )
        self.feedforward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor | None = None) -> Tensor:
        """States, shape (batch, n, width), after this layer; `mask` as in `SelfAttention`."""
        states = self.attention_norm(states + self.dropout(self.attention(states, mask)))
        return self.feedforward_norm(states + self.dropout(self.feedforward(states)))


class SelfAttention(nn.Module):
    """Multi-head scaled dot-product self-attention (Vaswani et al., equation 1)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projection = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """Attended states, shape (batch, n, width).

        `mask`, shape (batch, 1, 1, n), is True for the notes that may be attended to; None
        means all of them.
        """
        batch, length, width = states.shape
        projected = self.projection(states).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4).contiguous()
        mixed = self.mixed(query, key, value, mask)
        return self.output(mixed.transpose(1, 2).reshape(batch, length, width))

    def mixed(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Weighted means of the values, shape (batch, heads, n, width / heads)."""
        return attend(query, key, value, mask)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention of queries, keys and values, shapes (batch, heads, n, d)."""
    # The fused kernel's backward pass in bfloat16 on a CPU takes twice as long as this.
    if query.requires_grad and query.dtype == torch.bfloat16 and query.device.type == "cpu":
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(~mask, -math.inf)
        return scores.softmax(dim=-1) @ value
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)


def sinusoidal_positions(length: int, width: int) -> Tensor:
    """Position encoding of Vaswani et al., section 3.5, shape (length, width).

    Even columns are sines, odd ones cosines.
    """
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)
