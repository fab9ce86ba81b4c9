"""The symbolic encoder: its attention, padding, positions, size and gradient."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import random_fields
from torch import Tensor, nn

from mer.features.note_events import FIRST, SIZES, START
from mer.models.symbolic_encoder import (
    EncoderLayer,
    SelfAttention,
    SymbolicEncoder,
    sinusoidal_positions,
)


def random_events(batch: int, n_notes: int, seed: int = 0) -> Tensor:
    events = torch.from_numpy(random_fields(SIZES, FIRST, batch, 1 + n_notes, seed))
    events[:, :, 0] = START
    return events


@pytest.fixture
def encoder() -> SymbolicEncoder:
    torch.manual_seed(3)
    return SymbolicEncoder(width=32, layers=2, heads=4, feedforward=48).eval()


def plain_attention(layer: SelfAttention, states: Tensor, mask: Tensor | None) -> Tensor:
    """Head by head, from the equation."""
    width = states.shape[2] // layer.heads
    queries, keys, values = layer.projection(states).chunk(3, dim=2)
    heads = []
    for head in range(layer.heads):
        part = slice(head * width, (head + 1) * width)
        query, key, value = queries[..., part], keys[..., part], values[..., part]
        scores = query @ key.transpose(1, 2) / math.sqrt(width)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, 0], -math.inf)
        weights = scores.exp() / scores.exp().sum(dim=2, keepdim=True)
        heads.append(weights @ value)
    result: Tensor = layer.output(torch.cat(heads, dim=2))
    return result


class TestAttention:
    layer = SelfAttention(32, 4)
    states = torch.randn(3, 11, 32, generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(11) < torch.tensor([[11], [7], [1]]))[:, None, None]

    @pytest.mark.parametrize("masked", [False, True])
    def test_equals_the_equation(self, masked: bool) -> None:
        mask = self.mask if masked else None
        expected = plain_attention(self.layer, self.states, mask)
        torch.testing.assert_close(self.layer(self.states, mask), expected, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("masked", [False, True])
    def test_training_in_bfloat16_equals_float32_as_far_as_it_can(self, masked: bool) -> None:
        mask = self.mask if masked else None
        with torch.autocast("cpu", torch.bfloat16):
            trained = self.layer(self.states, mask)
            with torch.no_grad():
                predicted = self.layer(self.states, mask)
        expected = plain_attention(self.layer, self.states, mask)
        assert trained.dtype == torch.bfloat16
        torch.testing.assert_close(trained.float(), expected, rtol=0, atol=0.02)
        torch.testing.assert_close(predicted.float(), expected, rtol=0, atol=0.02)


def test_layer_equals_torch_layer() -> None:
    torch.manual_seed(0)
    ours = EncoderLayer(SelfAttention(32, 4), nn.ReLU(), 32, 48, dropout=0.1).eval()
    theirs = nn.TransformerEncoderLayer(32, 4, 48, batch_first=True).eval()
    pairs = {
        "attention.projection": "self_attn.in_proj_",
        "attention.output": "self_attn.out_proj.",
        "attention_norm": "norm1.",
        "feedforward.0": "linear1.",
        "feedforward.2": "linear2.",
        "feedforward_norm": "norm2.",
    }
    state = {
        their + kind: ours.state_dict()[f"{our}.{kind}"]
        for our, their in pairs.items()
        for kind in ("weight", "bias")
    }
    theirs.load_state_dict(state)
    states = torch.randn(2, 9, 32)
    torch.testing.assert_close(ours(states, None), theirs(states), rtol=0, atol=1e-5)


def test_positions() -> None:
    table = sinusoidal_positions(50, 8)
    assert table.shape == (50, 8)
    for position, k in ((0, 0), (7, 0), (7, 3), (49, 2)):
        angle = position / 10_000 ** (2 * k / 8)
        assert float(table[position, 2 * k]) == pytest.approx(math.sin(angle), abs=1e-5)
        assert float(table[position, 2 * k + 1]) == pytest.approx(math.cos(angle), abs=1e-5)
