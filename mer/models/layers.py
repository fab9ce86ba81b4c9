"""Layers that several networks share."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn


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


class CrossDomainAttention(nn.Module):
    """Multi-head attention of one domain to another (Zhu et al. 2023, equations 1-3).

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

    def forward(self, queries: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from each state of one domain to the states of the other.

        Parameters
        ----------
        queries : Tensor, shape (batch, n, width)
            States of domain alpha of the equations.
        context : Tensor, shape (batch, m, width)
            States of domain beta: keys and values.
        mask : Tensor, shape (batch, m), bool, optional
            True where a state of `context` is not padding; None for no padding.

        Returns
        -------
        Tensor, shape (batch, n, width)
        """
        mixed = self.weights(queries, context, mask) @ self._by_head(self.value(context))
        return self.output(mixed.transpose(1, 2).flatten(2))

    def weights(self, queries: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attention weights, shape (batch, heads, n, m), whose rows add up to 1."""
        query, key = self._by_head(self.query(queries)), self._by_head(self.key(context))
        scores = query @ key.transpose(2, 3) / math.sqrt(key.shape[3])
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], -torch.inf)
        return torch.softmax(scores, dim=3)

    def _by_head(self, states: Tensor) -> Tensor:
        return states.unflatten(2, (self.heads, -1)).transpose(1, 2)


class AttentionPooling(nn.Module):
    """Several weighted means of the states, with learnt weights.

    References
    ----------
    Lin et al.: A structured self-attentive sentence embedding. ICLR 2017, equations 5-7.
    """

    def __init__(self, width: int, hidden: int, hops: int) -> None:
        super().__init__()
        self.scores = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.Tanh(), nn.Linear(hidden, hops, bias=False)
        )

    def forward(self, states: Tensor) -> Tensor:
        """Means, shape (batch, hops x width), of states, shape (batch, n, width)."""
        weights = torch.softmax(self.scores(states), dim=1)
        return torch.bmm(weights.transpose(1, 2), states).flatten(1)


def classifier(width: int, hidden: int, n_classes: int, dropout: float) -> nn.Sequential:
    """Dropout, dense layer, ReLU, dropout, dense layer."""
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(width, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, n_classes),
    )


def masked_mean(states: Tensor, real: Tensor) -> Tensor:
    """Mean over the states, shape (batch, n, width), that `real`, shape (batch, n), marks."""
    weights = real.unsqueeze(2).float()
    # bfloat16 cannot count beyond 256.
    return (states.float() * weights).sum(dim=1) / weights.sum(dim=1)


def he_initialise(module: nn.Module) -> None:
    """Set a layer's parameters as He et al. (ICCV 2015) do, for deep networks with ReLU."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        assert module.bias is not None
        nn.init.zeros_(module.bias)
