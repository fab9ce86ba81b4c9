"""Networks: numbers of parameters, shapes, and their arithmetic against plain loops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mer.features import tokens
from mer.models.lstm_attn import LSTMAttn
from mer.models.short_chunk import ResidualBlock, ShortChunkResNet


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def lstm_attn_parameters(v: int, e: int, h: int, a: int, r: int, c: int, k: int) -> int:
    embedding = v * e
    lstm = 2 * (4 * h * (e + h) + 2 * 4 * h)
    attention = 2 * h * a + a * r
    classifier = 2 * h * r * c + c + c * k + k
    return embedding + lstm + attention + classifier


def short_chunk_parameters(channels: int, k: int) -> int:
    widths = [1] + [channels * factor for factor in (1, 1, 2, 2, 2, 2, 4)]
    last = widths[-1]
    blocks = sum(9 * (a * b + b * b + a * b) + 3 * 2 * b for a, b in pairwise(widths))
    return 2 + blocks + (last * last + last) + 2 * last + (last * k + k)


def small_lstm() -> LSTMAttn:
    torch.manual_seed(0)
    sizes = {"embedding": 8, "hidden": 6, "attention": 5, "hops": 3, "classifier": 7}
    return LSTMAttn(20, 4, **sizes, dropout=0.5).eval()


def some_tokens(batch: int, length: int) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(1, 20, (batch, length)))


def some_chunks(batch: int, n_mels: int, frames: int) -> Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(-40, 15, (batch, n_mels, frames)).astype(np.float32))


class TestLSTMAttn:
    def test_number_of_parameters(self) -> None:
        published = LSTMAttn(tokens.MIDI_LIKE_SIZE, 4)
        assert count(published) == lstm_attn_parameters(390, 300, 128, 128, 14, 256, 4) == 1_510_668
        assert count(small_lstm()) == lstm_attn_parameters(20, 8, 6, 5, 3, 7, 4)

    @pytest.mark.parametrize("length", [1, 2, 50])
    def test_shape(self, length: int) -> None:
        assert small_lstm()(some_tokens(3, length)).shape == (3, 4)

    def test_attention_against_a_loop(self) -> None:
        network, inputs = small_lstm(), some_tokens(2, 9)
        first, second = (network.attention[k].get_parameter("weight") for k in (0, 2))
        with torch.inference_mode():
            states, _ = network.lstm(network.embedding(inputs))
            summaries = []
            for clip in states:
                scores = torch.stack([second @ torch.tanh(first @ state) for state in clip])
                weights = torch.exp(scores) / torch.exp(scores).sum(dim=0)
                torch.testing.assert_close(weights.sum(dim=0), torch.ones(3))
                hops = [(weights[:, r, None] * clip).sum(dim=0) for r in range(3)]
                summaries.append(torch.cat(hops))
            expected = network.classifier(torch.stack(summaries))
            torch.testing.assert_close(network(inputs), expected)

    def test_padding_has_no_embedding(self) -> None:
        assert small_lstm().embedding.weight[0].abs().sum() == 0

    def test_clips_do_not_see_each_other(self) -> None:
        network, inputs = small_lstm(), some_tokens(4, 9)
        with torch.inference_mode():
            alone = torch.cat([network(clip[None]) for clip in inputs])
            torch.testing.assert_close(network(inputs), alone)

    def test_gradients_reach_every_parameter(self) -> None:
        network = small_lstm()
        network(some_tokens(8, 30)).square().sum().backward()
        check_gradients(network)


def check_gradients(network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


class TestShortChunkResNet:
    def test_number_of_parameters(self) -> None:
        assert count(ShortChunkResNet(4)) == short_chunk_parameters(128, 4) == 12_075_270
        assert count(ShortChunkResNet(2, channels=4)) == short_chunk_parameters(4, 2)

    @pytest.mark.parametrize(("n_mels", "frames"), [(128, 129), (128, 1), (40, 7), (1, 1)])
    def test_shape(self, n_mels: int, frames: int) -> None:
        network = ShortChunkResNet(3, channels=2).eval()
        assert network(some_chunks(2, n_mels, frames)).shape == (2, 3)

    def test_seven_blocks_halve_a_chunk_of_three_seconds(self) -> None:
        network = ShortChunkResNet(4, channels=2).eval()
        assert network.blocks(some_chunks(1, 128, 129)[None]).shape == (1, 8, 1, 2)

    def test_block_against_its_equation(self) -> None:
        torch.manual_seed(0)
        block = ResidualBlock(2, 3).eval()
        first, second, shortcut = block.body[0], block.body[3], block.shortcut[0]
        x = torch.randn(2, 2, 8, 6)
        scale = 1 / np.sqrt(1 + 1e-5)  # of a batch norm that has seen nothing
        with torch.inference_mode():
            hidden = torch.relu(first(x) * scale)
            expected = torch.relu(second(hidden) * scale + shortcut(x) * scale)
            torch.testing.assert_close(block(x), expected)

    def test_training_does_not_depend_on_gain_and_spread(self) -> None:
        torch.manual_seed(0)
        network = ShortChunkResNet(4, channels=2, dropout=0.0).train()
        chunks = some_chunks(4, 32, 20)
        torch.testing.assert_close(network(chunks), network(2 * chunks + 12), rtol=1e-3, atol=1e-3)

    def test_chunks_do_not_see_each_other_when_predicting(self) -> None:
        network = ShortChunkResNet(4, channels=2).eval()
        chunks = some_chunks(3, 32, 20)
        with torch.inference_mode():
            alone = torch.cat([network(chunk[None]) for chunk in chunks])
            torch.testing.assert_close(network(chunks), alone)

    def test_gradients_reach_every_parameter(self) -> None:
        torch.manual_seed(0)
        network = ShortChunkResNet(4, channels=2, dropout=0.0).train()
        network(some_chunks(6, 32, 40))[:, 0].square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        assert sum(p.grad.abs().sum() > 0 for p in network.parameters() if p.grad is not None) > 40
