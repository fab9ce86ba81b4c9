"""Training steps of the multifaceted model against straightforward versions, in the same run.

Run with `python benchmarks/multifaceted.py`; it takes some minutes. Both sides see the same clips,
in windows of the profile's length (`cpu`, then the published sizes of `paper`); numbers of tokens
in a window are drawn to resemble EMOPIA (median 25 a second). Straightforward: float32, torch's
embedding and GRU layers on random batches padded to their longest window, default memory layout.
Ours: bfloat16 where the processor has it, batches of windows with like numbers of tokens,
`mer.models.token_gru`, channels last. The mean over the batches of an epoch counts, after one to
warm up; both sides take turns. From the steps of profile `cpu` and a prediction follows the time
of a training on EMOPIA's official split.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mer.features.tokens import MIDI_LIKE_SIZE, PAD
from mer.models.multi_domain import masked_mean
from mer.study.profiles import PROFILES
from mer.systems import get_system
from mer.systems.factors import FactorItem, FactorNetwork
from mer.training.supervised import forward
from mer.training.windows import training_batches

CLIPS, TRAIN, VALID_SECONDS = 128, 767, 198 * 39
DEVICE = torch.device("cpu")
Run = Callable[[], None]


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


def clips_of(system: FactorNetwork, rng: np.random.Generator) -> list[FactorItem]:
    """Clips of one window each."""
    items = []
    for density in 25 * rng.lognormal(0, 0.48, CLIPS):
        n = int(density * system.window_seconds)
        sound = rng.normal(size=(37, system.window)).astype(np.float16)
        times = np.sort(rng.uniform(0, system.window, n))
        items.append(FactorItem(system.window, sound, rng.integers(2, MIDI_LIKE_SIZE, n), times))
    return items


def batches(system: FactorNetwork, items: Sequence[FactorItem], *, sort: bool) -> Iterator[Any]:
    """Batches without end."""
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
    """Forward, backward and an Adam update."""
    optimizer = torch.optim.Adam(network.parameters())

    def run() -> None:
        batch = next(inputs)
        output = forward(network, batch, DEVICE) if fast else network(*batch)
        optimizer.zero_grad()
        nn.functional.cross_entropy(output, torch.zeros(len(output), dtype=torch.long)).backward()
        optimizer.step()

    return run


def means(n_batches: int, *runs: Run) -> list[float]:
    """Mean seconds of each over an epoch, taking turns; batches differ in their lengths."""
    seconds = [0.0 for _ in runs]
    for number in range(1 + n_batches):
        for k, run in enumerate(runs):
            start = perf_counter()
            run()
            seconds[k] += perf_counter() - start if number else 0.0
    return [total / n_batches for total in seconds]


def compare(name: str, profile: str) -> None:
    """Print seconds of a step of both."""
    system = get_system(name, PROFILES[profile].overrides.get(name))
    assert isinstance(system, FactorNetwork)
    items = clips_of(system, np.random.default_rng(0))
    ours, plain = system.network(4), system.network(4)
    if "symbolic" in plain.branches:
        plain.branches["symbolic"] = PlainGRU(
            system.parameters["embedding"], system.parameters["hidden"]
        )
    plain.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    n_batches = CLIPS // system.batch_size
    slow, quick = means(
        n_batches,
        step(plain, batches(system, items, sort=False), fast=False),
        step(ours, batches(system, items, sort=True), fast=True),
    )
    print(
        f"{profile}, {name}: straightforward {slow:.3f} s, ours {quick:.3f} s a step of "
        f"{system.batch_size}: {slow / quick:.1f}x"
    )
    if profile == "cpu":
        ours.eval()
        inputs = batches(system, items, sort=True)
        with torch.inference_mode():
            (predicting,) = means(n_batches, lambda: forward(ours, next(inputs), DEVICE))
        windows = VALID_SECONDS / system.window_seconds
        epoch = (TRAIN * quick + windows * predicting) / system.batch_size
        print(f"  an epoch {epoch:.1f} s, a training {epoch * system.epochs:.0f} s at most")


def main() -> None:
    """All comparisons, on one core."""
    torch.set_num_threads(1)
    for profile in ("cpu", "paper"):
        for name in ("Symbolic branch", "Harmony branch", "Tone color branch", "Multifaceted"):
            compare(name, profile)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
