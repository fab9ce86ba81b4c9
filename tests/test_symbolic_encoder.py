"""The symbolic encoder: its attention and layers against those of torch, and its positions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from mer.models.symbolic_encoder import (
    EncoderLayer,
    SelfAttention,
    sinusoidal_positions,
)

KINDS = ("weight", "bias")


def torch_attention(layer: SelfAttention, states: Tensor, mask: Tensor | None) -> Tensor:
    theirs = nn.MultiheadAttention(32, layer.heads, batch_first=True)
    names = {"in_proj_": layer.projection, "out_proj.": layer.output}
    theirs.load_state_dict(
        {name + kind: getattr(ours, kind) for name, ours in names.items() for kind in KINDS}
    )
    hidden = None if mask is None else ~mask[:, 0, 0]
    found: Tensor = theirs(*[states] * 3, key_padding_mask=hidden)[0]
    return found


class TestAttention:
    layer = SelfAttention(32, 4)
    states = torch.randn(3, 11, 32, generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(11) < torch.tensor([[11], [7], [1]]))[:, None, None]

    @pytest.mark.parametrize("masked", [False, True])
    def test_equals_that_of_torch(self, masked: bool) -> None:
        mask = self.mask if masked else None
        expected = torch_attention(self.layer, self.states, mask)
        torch.testing.assert_close(self.layer(self.states, mask), expected, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("masked", [False, True])
    def test_training_in_bfloat16_equals_float32_as_far_as_it_can(self, masked: bool) -> None:
        mask = self.mask if masked else None
        with torch.autocast("cpu", torch.bfloat16):
            trained = self.layer(self.states, mask)
            with torch.no_grad():
                predicted = self.layer(self.states, mask)
        expected = torch_attention(self.layer, self.states, mask)
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
        for kind in KINDS
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
