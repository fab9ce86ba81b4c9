"""Training steps of the multifaceted model against straightforward versions, in the same run.

Run with `python benchmarks/multifaceted.py`; it takes some minutes. Both sides see the same clips,
in windows of the profile's length (`cpu`, then the published sizes of `paper`); numbers of tokens
in a window are drawn to resemble EMOPIA (median 25 a second). Straightforward: float32, torch's
embedding and GRU layers on random batches padded to their longest window, default memory layout.
Ours: bfloat16 where the processor has it, batches of windows with like numbers of tokens,
`mer.models.multifaceted`, channels last. The mean over the batches of an epoch counts, after one to
warm up; both sides take turns. From the steps of profile `cpu` and a prediction follows the time
of a training on EMOPIA's official split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import torch
from timing import CPU, Run, peak_memory, seconds_per_unit, training_step
from torch import Tensor, nn

from mer.features.tokens import MIDI_LIKE_SIZE, PAD
from mer.models.layers import masked_mean
from mer.papers.zhao2023.systems import N_MFCC, FactorItem, Multifaceted
from mer.papers.zhao2023.tables import BRANCHES, PROPOSED_ROW
from mer.study.profiles import get_profile
from mer.training.supervised import forward
from mer.training.windows import training_batches

CLIPS, TRAIN, VALID_SECONDS = 128, 767, 198 * 39


class PlainGRU(nn.Module):
    """Embedding, two Bi-GRU layers and the mean over tokens, out of torch's own layers."""

    def __init__(self, embedding: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(MIDI_LIKE_SIZE, embedding, padding_idx=PAD)
        self.gru = nn.GRU(embedding, hidden, 2, bidirectional=True, batch_first=True)
        self.width = 2 * hidden

    def forward(self, tokens: Tensor) -> Tensor:
        """Shape (batch, n) to (batch, 2 * hidden)."""
        return masked_mean(self.gru(self.embedding(tokens))[0], tokens != PAD)


def clips_of(system: Multifaceted, rng: np.random.Generator) -> list[FactorItem]:
    """Clips of one window each."""
    bins = {"harmony": 12, "tone color": N_MFCC}
    items = []
    for density in 25 * rng.lognormal(0, 0.48, CLIPS):
        n = int(density * system.window_seconds) if "symbolic" in system.factors else 0
        sound: dict[str, np.ndarray] = {
            factor: rng.normal(size=(bins[factor], system.window)).astype(np.float16)
            for factor in system.factors
            if factor in bins
        }
        times = np.sort(rng.uniform(0, system.window, n))
        items.append(FactorItem(system.window, sound, rng.integers(2, MIDI_LIKE_SIZE, n), times))
    return items


def batches(system: Multifaceted, items: Sequence[FactorItem], *, sort: bool) -> Iterator[Any]:
    """Batches without end; windows of like numbers of tokens together if `sort`."""
    return cycle(
        [
            inputs
            for inputs, _ in training_batches(
                items,
                np.zeros(len(items), dtype=np.int64),
                window=system.window,
                batch_size=system.batch_size,
                rng=np.random.default_rng(1),
                length_of=system.length,
                batch_of=system.batch,
                **({"size_of": system.size} if sort else {}),
            )
        ]
    )


def step(network: nn.Module, inputs: Iterator[Any], *, fast: bool) -> Run:
    """A training step on the next batch."""

    def loss() -> tuple[Tensor, int]:
        batch = next(inputs)
        output = forward(network, batch, CPU) if fast else network(*batch)
        targets = torch.zeros(len(output), dtype=torch.long)
        return nn.functional.cross_entropy(output, targets), 1

    return training_step(network, loss)


def compare(name: str, row: Multifaceted, profile: str) -> None:
    """Print seconds of a step of both."""
    system = get_profile(profile).sized(name, row)
    assert isinstance(system, Multifaceted)
    items = clips_of(system, np.random.default_rng(0))
    ours, plain = system.network(4, items[0]), system.network(4, items[0])
    if "symbolic" in plain.branches:
        plain.branches["symbolic"] = PlainGRU(system.embedding, system.hidden)
    plain.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    n_batches = CLIPS // system.batch_size
    slow, quick = seconds_per_unit(
        step(plain, batches(system, items, sort=False), fast=False),
        step(ours, batches(system, items, sort=True), fast=True),
        repeats=n_batches,
    ).mean(axis=1)
    print(
        f"{profile}, {name}: straightforward {slow:.3f} s, ours {quick:.3f} s a step of "
        f"{system.batch_size}: {slow / quick:.1f}x"
    )
    if profile == "cpu":
        inputs = batches(system, items, sort=True)

        def predict() -> None:
            forward(ours, next(inputs), CPU)

        ours.eval()
        with torch.inference_mode():
            predicting = seconds_per_unit(predict, repeats=n_batches).mean()
        windows = VALID_SECONDS / system.window_seconds
        epoch = (TRAIN * quick + windows * predicting) / system.batch_size
        print(f"  an epoch {epoch:.1f} s, a training {epoch * system.epochs:.0f} s at most")


def main() -> None:
    """All comparisons, on one core."""
    torch.set_num_threads(1)
    for profile in ("cpu", "paper"):
        for name, row in {**BRANCHES, **PROPOSED_ROW}.items():
            assert isinstance(row, Multifaceted)
            compare(name, row, profile)
    print(f"peak memory {peak_memory():.0f} MiB")


if __name__ == "__main__":
    main()
