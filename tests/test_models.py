"""Networks: numbers of parameters, shapes, and their arithmetic against plain loops."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from conftest import random_fields
from rows import row
from test_multi_domain import small_encoder, some_events, some_features
from test_multi_domain import small_network as multi_domain
from test_multifaceted import small_network as multifaceted
from test_multifaceted import some_inputs, some_tokens
from torch import Tensor, nn

from mer.features import compound_words, note_events
from mer.models.classifiers import LSTMAttn, ResidualBlock, ShortChunkResNet
from mer.models.emomucs import parameter_count
from mer.models.midibert import MidiBert, MultiTaskClassifier, Positions
from mer.models.multi_domain import SymbolicOnly
from mer.models.musicnn import MusiCNN
from mer.papers.zhao2023.systems import FactorItem
from mer.papers.zhu2023.systems import DomainItem


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


@pytest.mark.parametrize(
    ("name", "item", "expected"),
    [
        ("LSTM-Attn + MIDI-like", None, 1_510_668),
        ("Short-chunk ResNet", None, 12_075_270),
        ("Symbolic-only", DomainItem(0), 12_954_373),
        ("Acoustic-only", DomainItem(0, feature=np.empty((150, 0))), 2_863_237),
        ("Symbolic & Acoustic", DomainItem(0, feature=np.empty((150, 0))), 18_176_902),
        ("Symbolic branch", FactorItem(0), 2_355_468),
        ("Harmony branch", FactorItem(0), 773_636),
        ("Tone color branch", FactorItem(0, {"tone color": np.empty((25, 0))}), 12_008_196),
        ("Multifaceted", FactorItem(0, {"tone color": np.empty((25, 0))}), 15_396_876),
    ],
)
def test_number_of_parameters_at_published_sizes(name: str, item: Any, expected: int) -> None:
    assert parameter_count(row(name).network(4, item)) == expected


class TestLSTMAttn:
    @pytest.mark.parametrize("length", [1, 2, 50])
    def test_shape(self, length: int) -> None:
        assert small_lstm()(some_tokens((length,) * 3, length)).shape == (3, 4)

    def test_padding_has_no_embedding(self) -> None:
        assert small_lstm().embedding.weight[0].abs().sum() == 0


class TestShortChunkResNet:
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


def symbolic_only() -> SymbolicOnly:
    return SymbolicOnly(small_encoder(), 4, dropout=0.0, valence=True)


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
    "SymbolicOnly": (symbolic_only, lambda n: (masked_events(n),)),
    "SymbolicEncoder": (small_encoder, lambda n: (masked_events(n),)),
    "MidiBert, rotary": (partial(multi_task, "rotary"), words_and_classes),
    "MidiBert, distances": (partial(multi_task, "distances"), words_and_classes),
    "MultiDomain": (multi_domain, lambda n: (some_features(n, 32), masked_events(n))),
    "Multifaceted": (multifaceted, some_inputs),
    "MusiCNN": (MusiCNN, lambda n: (some_features(n, 96, 30),)),
}


def outputs(network: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    output = network(*inputs)
    if isinstance(output, tuple):
        return list(output)
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

    def test_examples_see_neither_each_other_nor_padding(self, name: str) -> None:
        make, inputs = NETWORKS[name]
        torch.manual_seed(0)
        network, whole = make().eval(), inputs(4)
        with torch.inference_mode():
            together = outputs(network, whole)
            for k in range(4):
                alone = outputs(network, tuple(without_padding(x[k : k + 1]) for x in whole))
                for part, several in zip(alone, together, strict=True):
                    if part.ndim:  # other parts are losses of a batch
                        expected = several[k, : part.shape[1]] if part.ndim > 1 else several[k]
                        torch.testing.assert_close(part[0], expected, rtol=1e-4, atol=1e-5)


def without_padding(inputs: Tensor) -> Tensor:
    """One example; tokens and fields of notes end with zeros that are no part of it."""
    if inputs.is_floating_point() or inputs.ndim == 1:
        return inputs
    return inputs[..., inputs.flatten(0, -2).any(dim=0)]


@pytest.mark.parametrize("name", ["SymbolicEncoder", "MidiBert, rotary", "MidiBert, distances"])
def test_order_and_context_matter(name: str) -> None:
    torch.manual_seed(0)
    make, inputs = NETWORKS[name]
    network: Any = make().eval()
    network, events = getattr(network, "encoder", network), inputs(1)[0]
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    swapped, changed = events.clone(), events.clone()
    swapped[:, :, [2, 7]] = events[:, :, [7, 2]]
    changed[0, 3, 5] = 3 if events[0, 3, 5] > 3 else 4
    with torch.no_grad():
        states = network(events)
        assert (network(swapped)[:, [7, 2]] - states[:, [2, 7]]).abs().max() > 1e-3
        assert (network(changed) - states).abs().amax(dim=2).min() > 1e-6
