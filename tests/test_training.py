"""The training loop and its windows: overfitting, early stopping, resuming, schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import interrupted
from torch import Tensor, nn

from mer.errors import InvalidDataError, ParameterError
from mer.models.classifiers import LSTMAttn, ShortChunkResNet
from mer.training.supervised import (
    History,
    Score,
    TrainingOptions,
    autocast,
    forward,
    resolve_device,
    train,
)
from mer.training.windows import (
    prediction_batches,
    training_batches,
    window_length,
    window_starts,
)

CPU = torch.device("cpu")


def small_network() -> nn.Module:
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))


def toy_batches(rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(3):
        x = rng.normal(size=(6, 3)).astype(np.float32)
        yield torch.from_numpy(x), torch.from_numpy((x[:, 0] > 0).astype(np.int64))


def scripted(scores: Sequence[float], seen: list[dict[str, Tensor]] | None = None) -> Callable:
    """Validation with known accuracies, one an epoch; keeps the parameters that it saw."""
    remaining = iter(scores)

    def validate(network: nn.Module) -> Score:
        assert not network.training
        if seen is not None:
            seen.append({k: v.clone() for k, v in network.state_dict().items()})
        return Score(next(remaining), 1.0)

    return validate


def fit(
    options: TrainingOptions, validate: Callable, *, seed: int = 0, **more: Any
) -> tuple[nn.Module, History]:
    network = small_network()
    history = train(network, toy_batches, validate, options, seed=seed, device=CPU, **more)
    return network, history


def same_parameters(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


class TestOverfitting:
    @pytest.mark.parametrize("name", ["LSTM", "ResNet"])
    def test_learns_eight_clips(self, name: str) -> None:
        torch.manual_seed(0)
        rng, network = np.random.default_rng(0), nn.Module()
        if name == "LSTM":
            sizes = {"embedding": 16, "hidden": 16, "attention": 8, "hops": 2, "classifier": 16}
            items, network = rng.integers(1, 30, (8, 24)), LSTMAttn(30, 4, **sizes)
        else:
            items = rng.normal(size=(8, 16, 20)).astype(np.float32)
            network = ShortChunkResNet(4, channels=4, dropout=0.0)
        targets, inputs = np.asarray([0, 1, 2, 3, 3, 2, 1, 0]), torch.from_numpy(items)
        options = TrainingOptions(epochs=80, batch_size=8, learning_rate=0.01, weight_decay=0.0)

        def validate(model: nn.Module) -> Score:
            return Score.of(torch.softmax(model(inputs).double(), dim=1).numpy(), targets)

        def batches(rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
            window = items.shape[-1]
            return training_batches(list(items), targets, window=window, batch_size=8, rng=rng)

        train(network, batches, validate, options, seed=0, device=CPU)
        with torch.inference_mode():
            score = validate(network)
        assert score.accuracy == 1.0
        assert score.loss < (0.1 if name == "LSTM" else 0.3)


class TestEarlyStopping:
    def test_stops_and_goes_back_to_the_best_epoch(self) -> None:
        seen: list[dict[str, Tensor]] = []
        scores = [0.2, 0.5, 0.9, 0.4, 0.8, 0.7, 1.0]
        network, history = fit(TrainingOptions(epochs=7, patience=3), scripted(scores, seen))
        assert (history.best_epoch, len(history.epochs)) == (2, 6)
        assert [row["valid_accuracy"] for row in history.epochs] == scores[:6]
        assert same_parameters(network.state_dict(), seen[2])
        assert not same_parameters(network.state_dict(), seen[5])
        assert not network.training

    def test_lower_loss_breaks_ties(self) -> None:
        scores = iter([Score(0.5, 1.0), Score(0.5, 0.9), Score(0.5, 0.95), Score(0.4, 0.1)])
        _, history = fit(TrainingOptions(epochs=4), lambda network: next(scores))
        assert history.best_epoch == 1

    def test_later_equal_score_is_not_better(self) -> None:
        _, history = fit(TrainingOptions(epochs=5, patience=2), scripted([0.5] * 5))
        assert (history.best_epoch, len(history.epochs)) == (0, 3)


@pytest.mark.parametrize(
    ("schedule", "scores", "rates"),
    [
        ("constant", [0.5] * 4, [0.01] * 4),
        (
            *("cosine", [0.1, 0.2, 0.3, 0.2, 0.1]),
            [0.01 * (1 + math.cos(math.pi * epoch / 5)) / 2 for epoch in range(5)],
        ),
        # Halved after more than a third of the patience
        ("plateau", [0.5, 0.6, 0.6, 0.5, 0.6, 0.5, 0.7], [0.01] * 5 + [0.005] * 2),
    ],
)
def test_schedules(schedule: Any, scores: list[float], rates: list[float]) -> None:
    options = TrainingOptions(epochs=len(scores), patience=6, learning_rate=0.01, schedule=schedule)
    _, history = fit(options, scripted(scores))
    assert [row["learning_rate"] for row in history.epochs] == pytest.approx(rates)


class TestResuming:
    scores = (0.3, 0.6, 0.5, 0.55, 0.5, 0.52, 0.58, 0.6)

    @pytest.mark.parametrize("schedule", ["constant", "cosine", "plateau"])
    @pytest.mark.parametrize("epoch", [1, 4])
    def test_equals_training_in_one_go(self, tmp_path: Path, schedule: Any, epoch: int) -> None:
        options = TrainingOptions(epochs=8, patience=6, schedule=schedule, learning_rate=0.05)
        checkpoint = tmp_path / "new" / "state.pt"
        whole, expected = fit(options, scripted(self.scores))
        with pytest.raises(KeyboardInterrupt):
            fit(options, interrupted(scripted(self.scores), epoch), checkpoint=checkpoint)
        assert checkpoint.is_file()
        resumed, history = fit(options, scripted(self.scores[epoch:]), checkpoint=checkpoint)
        assert history == expected
        assert same_parameters(resumed.state_dict(), whole.state_dict())
        assert not checkpoint.exists()

    @pytest.fixture
    def checkpoint(self, tmp_path: Path) -> Path:
        """Of a training that was interrupted."""
        path = tmp_path / "state.pt"
        with pytest.raises(KeyboardInterrupt):
            fit(TrainingOptions(), interrupted(scripted(self.scores), 2), checkpoint=path)
        return path

    @pytest.mark.parametrize("change", [{"learning_rate": 0.1}, {"epochs": 9}, {"seed": 1}])
    def test_checkpoint_of_another_training(self, checkpoint: Path, change: dict) -> None:
        seed = change.pop("seed", 0)
        with pytest.raises(ParameterError, match="is a checkpoint of another training; remove it"):
            fit(TrainingOptions(**change), scripted([]), seed=seed, checkpoint=checkpoint)

    @pytest.mark.parametrize(
        "damage", [lambda _: b"", lambda _: b"hello", lambda content: content[: len(content) // 2]]
    )
    def test_damaged_checkpoint(self, checkpoint: Path, damage: Callable[[bytes], bytes]) -> None:
        checkpoint.write_bytes(damage(checkpoint.read_bytes()))
        with pytest.raises(InvalidDataError, match=r"state\.pt is a damaged checkpoint; remove it"):
            fit(TrainingOptions(), scripted([]), checkpoint=checkpoint)


class TestLoop:
    def test_seed_decides_everything(self) -> None:
        options = TrainingOptions(epochs=3)
        first, second = (fit(options, scripted([0.1] * 3), seed=5)[1] for _ in range(2))
        other = fit(options, scripted([0.1] * 3), seed=6)[1]
        assert first == second
        assert first.epochs != other.epochs

    def test_loss_that_is_not_finite_leaves_the_last_state(self, tmp_path: Path) -> None:
        steps, checkpoint = iter(range(9)), tmp_path / "state.pt"

        def loss(output: Tensor, targets: Tensor) -> Tensor:
            value = nn.functional.cross_entropy(output, targets)
            return value * math.nan if next(steps) == 5 else value

        with pytest.raises(InvalidDataError, match="the loss is nan in epoch 1, batch 2"):
            fit(TrainingOptions(), scripted([0.5] * 9), loss=loss, checkpoint=checkpoint)
        state = torch.load(checkpoint, weights_only=True)
        assert len(state["rows"]) == 1
        assert all(value.isfinite().all() for value in state["network"].values())

    def test_validation_that_is_not_finite_is_said_as_such(self) -> None:
        scores = iter([Score(0.5, 1.0), Score(0.25, math.nan)])
        message = r"^the training diverged: after epoch 1 validation gives valid_loss nan, valid_"
        with pytest.raises(InvalidDataError, match=message):
            fit(TrainingOptions(), lambda network: next(scores))

    def test_gradient_is_clipped(self) -> None:
        network, _ = fit(
            TrainingOptions(epochs=1, clip_norm=0.01),
            scripted([0.5]),
            loss=lambda output, target: 1e4 * nn.functional.cross_entropy(output, target),
        )
        norms = [p.grad.norm() for p in network.parameters() if p.grad is not None]
        assert torch.stack(norms).norm() == pytest.approx(0.01, rel=1e-3)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
    def test_devices(self) -> None:
        assert resolve_device("cpu") == resolve_device("auto") == CPU
        with pytest.raises(ParameterError, match="device is 'tpu'; expected auto, cpu or cuda"):
            resolve_device("tpu")
        with pytest.raises(ParameterError, match="'cuda', but this machine has no CUDA device"):
            resolve_device("cuda")


def lengths_and_items(n: int, seed: int) -> list[np.ndarray]:
    """Item i, of random length, holds i in its first row and time in its second."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(5, 60, n)
    return [np.stack([np.full(k, i), np.arange(k)]) for i, k in enumerate(lengths)]


@pytest.mark.parametrize(
    ("length", "expected"), [(1, 1), (31, 31), (32, 32), (99, 96), (100, 100), (500, 100)]
)
def test_window_length(length: int, expected: int) -> None:
    assert window_length(length, 100) == expected


class TestTrainingBatches:
    @pytest.mark.parametrize(("n", "batch_size"), [(50, 8), (49, 8), (3, 2), (7, 16), (1, 4)])
    def test_each_clip_once_and_no_padding(self, n: int, batch_size: int) -> None:
        items, window = lengths_and_items(n, 0), 40
        targets = np.arange(n) % 4
        seen: list[int] = []
        batches = training_batches(
            items, targets, window=window, batch_size=batch_size, rng=np.random.default_rng(1)
        )
        for inputs, wanted in batches:
            owners = inputs[:, 0, 0].tolist()
            seen += owners
            assert wanted.tolist() == targets[owners].tolist()
            assert inputs.shape[2] == min(window_length(items[i].shape[1], window) for i in owners)
            assert torch.all(inputs[:, 0] == inputs[:, :1, 0])
            assert torch.all(inputs[:, 1].diff() == 1)
            assert 1 < len(owners) <= batch_size + 1 or n == 1
        assert sorted(seen) == list(range(n))

    def test_windows_reach_all_of_a_clip(self) -> None:
        item, rng, target = np.arange(10), np.random.default_rng(0), np.zeros(1, dtype=int)
        batches = [
            next(training_batches([item], target, window=7, batch_size=1, rng=rng))
            for _ in range(200)
        ]
        assert {int(inputs[0, 0]) for inputs, _ in batches} == {0, 1, 2, 3}

    def test_little_is_cut_off(self) -> None:
        rng = np.random.default_rng(0)
        items = [np.zeros(n, dtype=np.int64) for n in rng.integers(50, 1000, 256)]
        batches = training_batches(items, np.zeros(256), window=1000, batch_size=32, rng=rng)
        kept = sum(inputs.numel() for inputs, _ in batches)
        assert kept > 0.85 * sum(item.size for item in items)

    def test_half_precision_becomes_single(self) -> None:
        items, rng = [np.zeros((4, 9), dtype=np.float16)] * 2, np.random.default_rng(0)
        batches = training_batches(items, np.zeros(2), window=5, batch_size=2, rng=rng)
        assert next(batches)[0].dtype == torch.float32


class TestPredictionBatches:
    @pytest.mark.parametrize(
        ("length", "window", "starts"),
        [(10, 4, [0, 4, 6]), (8, 4, [0, 4]), (9, 4, [0, 4, 5]), (4, 4, [0]), (3, 4, [0])],
    )
    def test_starts(self, length: int, window: int, starts: list[int]) -> None:
        """Consecutive, and only the last one overlaps."""
        assert window_starts(length, window) == starts

    @pytest.mark.parametrize("window", [16, 40])
    def test_windows_cover_every_clip(self, window: int) -> None:
        items = lengths_and_items(30, 2)
        covered = [np.zeros(item.shape[1], dtype=int) for item in items]
        for inputs, owners in prediction_batches(items, window=window, batch_size=7):
            assert len(owners) <= 7
            for piece, owner in zip(inputs.numpy(), owners, strict=True):
                assert np.all(piece[0] == owner)
                assert piece.shape[1] == window_length(items[owner].shape[1], window)
                covered[owner][piece[1]] += 1
        assert all(set(times) <= {1, 2} for times in covered)


class TestBfloat16:
    """Convolutions that torch 2.13 computes wrongly in bfloat16."""

    @pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d])
    @pytest.mark.parametrize("channels", [1, 2, 3, 4, 8, 12, 15, 16, 24, 64])
    def test_wide_kernels_are_those_of_float32(self, kind: Any, channels: int) -> None:
        torch.manual_seed(0)
        for width in (3, 7, 8, 12, 16, 24, 32, 48, 64):
            size: Any = width if kind is nn.Conv1d else (1, width)
            network = kind(channels, channels, size)
            x = torch.randn(2, channels, *(1,) * (kind is nn.Conv2d), width + 33)
            exact = network(x)
            found = forward(network, x, CPU)
            assert float((found - exact).norm() / exact.norm()) < 0.02, (channels, width)

    @pytest.mark.parametrize("shape", [(8, 16, 1, 1), (2, 8, 2, 1), (8, 16, 4, 1), (8, 16, 1)])
    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_gradients_are_those_of_float32(
        self, shape: tuple[int, ...], layout: torch.memory_format
    ) -> None:
        torch.manual_seed(0)
        kind: Any = nn.Conv2d if len(shape) == 4 else nn.Conv1d
        network = kind(shape[1], 16, 3, stride=2, padding=1)
        x = torch.randn(shape)
        if kind is nn.Conv2d:
            network, x = network.to(memory_format=layout), x.to(memory_format=layout)
        exact = torch.autograd.grad(network(x).square().sum(), network.weight)[0]
        gradients = []
        for _ in range(3):
            used = [torch.full((n,), torch.nan) for n in (10**3, 10**4, 10**5)]
            del used  # memory that is not initialised holds NaN now
            output = forward(network, x, CPU)
            gradients.append(torch.autograd.grad(output.square().sum(), network.weight)[0])
        assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
        torch.testing.assert_close(gradients[0], exact, rtol=0.02, atol=0.02)

    def test_others_stay_in_bfloat16(self) -> None:
        network = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        with autocast(CPU):
            kinds = [network(torch.zeros(2, 4, 3, width)).dtype for width in (1, 2)]
            usual = torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32
        assert kinds == [torch.float32, usual]
