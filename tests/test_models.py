"""Networks: numbers of parameters, shapes, and their arithmetic against plain loops."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from conftest import random_fields
from test_multi_domain import small_encoder, some_events, some_features
from test_multi_domain import small_network as multi_domain
from test_multifaceted import small_network as multifaceted
from test_multifaceted import some_inputs, some_tokens
from torch import Tensor, nn

from mer.features import compound_words, note_events, tokens
from mer.models.classifiers import LSTMAttn, ResidualBlock, ShortChunkResNet
from mer.models.emomucs import parameter_count
from mer.models.midibert import MidiBert, MultiTaskClassifier, Positions


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


def some_chunks(batch: int, frames: int, n_mels: int = 32) -> Tensor:
    return 15 * some_features(batch, frames, n_mels) - 40


def masked_events(batch: int) -> Tensor:
    events = some_events(batch, 12)
    events[1::2, :, 8:] = note_events.PAD
    return events


class TestLSTMAttn:
    def test_number_of_parameters(self) -> None:
        published = LSTMAttn(tokens.MIDI_LIKE_SIZE, 4)
        assert (
            parameter_count(published)
            == lstm_attn_parameters(390, 300, 128, 128, 14, 256, 4)
            == 1_510_668
        )
        assert parameter_count(small_lstm()) == lstm_attn_parameters(20, 8, 6, 5, 3, 7, 4)

    @pytest.mark.parametrize("length", [1, 2, 50])
    def test_shape(self, length: int) -> None:
        assert small_lstm()(some_tokens((length,) * 3, length)).shape == (3, 4)

    def test_padding_has_no_embedding(self) -> None:
        assert small_lstm().embedding.weight[0].abs().sum() == 0


class TestShortChunkResNet:
    def test_number_of_parameters(self) -> None:
        assert parameter_count(ShortChunkResNet(4)) == short_chunk_parameters(128, 4) == 12_075_270
        assert parameter_count(ShortChunkResNet(2, channels=4)) == short_chunk_parameters(4, 2)

    @pytest.mark.parametrize(("n_mels", "frames"), [(128, 129), (128, 1), (40, 7), (1, 1)])
    def test_shape(self, n_mels: int, frames: int) -> None:
        network = ShortChunkResNet(3, channels=2).eval()
        assert network(some_chunks(2, frames, n_mels)).shape == (2, 3)

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
        chunks = some_chunks(4, 20)
        torch.testing.assert_close(network(chunks), network(2 * chunks + 12), rtol=1e-3, atol=1e-3)


def multi_task(positions: Positions) -> MultiTaskClassifier:
    sizes: dict[str, Any] = {"width": 32, "layers": 2, "heads": 2, "feedforward": 48}
    encoder = MidiBert(**sizes, embedding=8, positions=positions, dropout=0.0)
    return MultiTaskClassifier(encoder, 4)


def words_and_classes(batch: int) -> tuple[Tensor, ...]:
    fields = random_fields(compound_words.SIZES, compound_words.FIRST, batch, 12)
    return torch.from_numpy(fields), torch.ones(batch, 12).long(), torch.ones(batch).long()


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], tuple[Tensor, ...]]]] = {
    "LSTMAttn": (small_lstm, lambda n: (some_tokens((30,) * n, 30),)),
    "ShortChunkResNet": (
        lambda: ShortChunkResNet(4, channels=2, dropout=0.0),
        lambda n: (some_chunks(n, 40),),
    ),
    "SymbolicEncoder": (small_encoder, lambda n: (masked_events(n),)),
    "MidiBert, rotary": (partial(multi_task, "rotary"), words_and_classes),
    "MidiBert, distances": (partial(multi_task, "distances"), words_and_classes),
    "MultiDomain": (multi_domain, lambda n: (some_features(n, 32), masked_events(n))),
    "Multifaceted": (multifaceted, some_inputs),
}


def outputs(network: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    output = network(*inputs)
    return list(output.values()) if isinstance(output, dict) else [output]


@pytest.mark.parametrize("name", NETWORKS)
class TestAllNetworks:
    def test_gradients_reach_every_parameter(self, name: str) -> None:
        make, inputs = NETWORKS[name]
        torch.manual_seed(0)
        network = make().train()
        sum(output.square().sum() for output in outputs(network, inputs(8))).backward()  # type: ignore[union-attr]
        silent = []
        for key, parameter in network.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            if not parameter.grad.abs().sum() > 0:
                silent.append(key)
        # A batch norm takes the bias of a convolution away again.
        assert all("blocks" in key and "bias" in key for key in silent), silent

    def test_examples_do_not_see_each_other_when_predicting(self, name: str) -> None:
        make, inputs = NETWORKS[name]
        torch.manual_seed(0)
        network, whole = make().eval(), inputs(4)
        with torch.inference_mode():
            together = outputs(network, whole)
            for k in range(4):
                alone = outputs(network, tuple(x[k : k + 1] for x in whole))
                for part, expected in zip(alone, together, strict=True):
                    if part.ndim:  # other parts are losses of a batch
                        torch.testing.assert_close(part[0], expected[k], rtol=1e-4, atol=1e-5)
