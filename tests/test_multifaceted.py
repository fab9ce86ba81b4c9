"""The network of Zhao and Yoshii: sizes, the Bi-GRU against torch's, branches, attention."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mer.features.tokens import PAD
from mer.models.multifaceted import (
    HarmonyBranch,
    Multifaceted,
    SymbolicBranch,
    TokenGRU,
    ToneColorBranch,
)

VOCABULARY = 20


def some_tokens(lengths: tuple[int, ...], padded: int) -> Tensor:
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, VOCABULARY, (len(lengths), padded))
    for row, length in zip(tokens, lengths, strict=True):
        row[length:] = PAD
    return torch.from_numpy(tokens)


def some_sound(batch: int, rows: int, frames: int) -> Tensor:
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.uniform(size=(batch, rows, frames)).astype(np.float32))


def small_network(heads: int | None = 2) -> Multifaceted:
    torch.manual_seed(0)
    branches = {
        "symbolic": SymbolicBranch(VOCABULARY, embedding=5, hidden=6),
        "harmony": HarmonyBranch(3),
        "tone color": ToneColorBranch(25, 2),
    }
    network = Multifaceted(branches, 4, width=8, heads=heads, classifier=7, dropout=0.0)
    return network.eval()


def some_inputs(batch: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    lengths = tuple(range(9, 9 - batch, -1))
    return some_tokens(lengths, 9), some_sound(batch, 12, 40), some_sound(batch, 25, 40)


class TestTokenGRU:
    def network(self, layers: int = 2) -> TokenGRU:
        torch.manual_seed(0)
        return TokenGRU(VOCABULARY, embedding=5, hidden=6, layers=layers)

    @pytest.mark.parametrize("layers", [1, 2, 3])
    def test_states_and_gradients_are_those_of_torch(self, layers: int) -> None:
        network, tokens = self.network(layers), some_tokens((11, 1, 7, 10), 11)
        real, weights = (tokens != PAD).unsqueeze(2), torch.randn(4, 11, 12)
        found = []
        for run in (network, network.packed):
            network.zero_grad()
            states = run(tokens) * real
            (states * weights).sum().backward()
            found.append([states, *(p.grad.clone() for p in network.parameters())])  # type: ignore[union-attr]
        for ours, torchs in zip(*found, strict=True):
            torch.testing.assert_close(ours, torchs, rtol=1e-4, atol=1e-5)

    def test_works_in_bfloat16(self) -> None:
        network, tokens = self.network(), some_tokens((30, 20), 30)
        found = []
        for enabled in (False, True):
            network.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                states = network(tokens)
            assert states.dtype == torch.float32
            states.square().sum().backward()
            gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
            found.append((states.detach(), torch.cat(gradients)))
        (exact, exact_gradient), (rough, rough_gradient) = found
        torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.02)
        assert nn.functional.cosine_similarity(rough_gradient, exact_gradient, dim=0) > 0.999


def test_symbolic_branch_is_the_mean_state_of_the_tokens() -> None:
    torch.manual_seed(0)
    branch = SymbolicBranch(VOCABULARY, embedding=5, hidden=6)
    tokens = some_tokens((8, 3, 1), 8)
    found = branch(tokens)
    assert found.shape == (3, branch.width) == (3, 12)
    for row, length in enumerate((8, 3, 1)):
        states = branch.gru(tokens[row : row + 1, :length])[0]
        torch.testing.assert_close(found[row], states.mean(dim=0))


class TestHarmonyBranch:
    def branch(self) -> HarmonyBranch:
        torch.manual_seed(0)
        return HarmonyBranch(3).eval()

    @pytest.mark.parametrize("frames", [1, 47, 100])
    def test_shapes_of_the_stages(self, frames: int) -> None:
        branch, chroma = self.branch(), some_sound(2, 12, frames)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            heights = []
            x = chroma.unsqueeze(1)
            for layer in (*branch.vertical, *branch.horizontal):
                x = layer(x)
                if isinstance(layer, nn.Conv2d):
                    assert (x.shape[1], x.shape[3]) == (3, frames)
                    heights.append(x.shape[2])
        assert heights == [12, 12, 1, 1, 1, 1]
        kernels = [m.kernel_size for m in branch.modules() if isinstance(m, nn.Conv2d)]
        assert kernels == [(12, 1)] * 3 + [(1, 48)] * 3
        torch.testing.assert_close(branch(chroma), x.mean(dim=(2, 3)))

    def test_first_two_convolutions_go_around_the_circle(self) -> None:
        branch, chroma = self.branch(), some_sound(2, 12, 9).unsqueeze(1)
        around = branch.vertical[:6]
        turned = around(chroma.roll(5, dims=2))
        torch.testing.assert_close(turned, around(chroma).roll(5, dims=2))
        assert not torch.allclose(branch.vertical(chroma), branch.vertical(chroma.roll(5, dims=2)))

    def test_horizontal_convolutions_reach_48_frames(self) -> None:
        torch.manual_seed(0)
        first = self.branch().horizontal[:2]
        x = torch.zeros(1, 3, 1, 200)
        x[0, :, 0, 100] = 1.0
        answered = first(x)[0, 0, 0].nonzero().flatten()
        assert (int(answered.min()), int(answered.max())) == (100 - 24, 100 + 23)


class TestToneColorBranch:
    def test_seven_blocks_halve_both_axes(self) -> None:
        branch = ToneColorBranch(25, 2).eval()
        x, shapes = some_sound(1, 25, 1292)[None], []
        for block in branch.blocks:
            x = block(x)
            shapes.append((x.shape[2], x.shape[3]))
        assert shapes == [(13, 646), (7, 323), (4, 162), (2, 81), (1, 41), (1, 21), (1, 11)]
        assert x.shape[1] == branch.width == 8


class TestMultifaceted:
    def test_self_attention_is_that_of_torch(self) -> None:
        network = small_network(2)
        attention = network.attention
        assert attention is not None
        features = network.factors(*some_inputs())
        sequence = features.transpose(0, 1)
        parts = (attention.query.weight, attention.key.weight, attention.value.weight)
        theirs = nn.MultiheadAttention(8, 2, bias=False)
        theirs.load_state_dict(
            {"in_proj_weight": torch.cat(parts), "out_proj.weight": attention.output.weight}
        )
        expected, weights = theirs(*[sequence] * 3, average_attn_weights=False)
        torch.testing.assert_close(network.attention_weights(*some_inputs()), weights)
        logits = network.classifier(expected.transpose(0, 1).flatten(1))
        torch.testing.assert_close(network(*some_inputs()), logits)

    def test_without_attention_the_features_are_joined(self) -> None:
        network = small_network(None)
        joined = network.factors(*some_inputs()).flatten(1)
        torch.testing.assert_close(network(*some_inputs()), network.classifier(joined))
