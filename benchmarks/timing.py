"""What the benchmarks share: runs that take turns, a training step, peak memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn

CPU = torch.device("cpu")

Run = Callable[[], int | None]
"""Does some work and returns how many units of it (notes, segments), or None for one."""


def seconds_per_unit(*runs: Run, repeats: int = 6) -> np.ndarray:
    """Shape (n_runs, repeats): the runs take turns, after one round to warm up."""
    seconds = np.empty((len(runs), repeats + 1))
    for repeat in range(repeats + 1):
        for k, run in enumerate(runs):
            start = perf_counter()
            units = run()
            seconds[k, repeat] = (perf_counter() - start) / (1 if units is None else units)
    return seconds[:, 1:]


def training_step(
    network: nn.Module, loss: Callable[[], tuple[Tensor, int]], *, clip_norm: float = 1.0
) -> Run:
    """A step of Adam; `loss` returns the loss of the next batch and its number of units."""
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> int:
        value, units = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()
        return units

    return step


def peak_memory() -> float:
    """Of this process so far, in MiB."""
    scale = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
