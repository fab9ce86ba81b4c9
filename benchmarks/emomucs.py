"""Training of C1D and C2D against a straightforward loop, in the same run.

Run with `python benchmarks/emomucs.py`; it takes some minutes. Straightforward: float32, torch's
own layers in the order of the paper, default memory layout. Ours: bfloat16 where the processor has
it, and no full-size output of C2D's first convolution (`mer.models.pooled_convolution`). Both take
turns on the same batches of noise, of the published size (96 x 938); the median step counts, after
one to warm up. From it and from a prediction of the validation clips follows an epoch of a fold of
Emotify (256 clips to train on, 64 to validate), and from this, for the epochs of profile `cpu`, the
time of table 1: 25 trainings of 10 systems, one a core.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

from mer.models.emomucs import C1D, C2D, SourceModel, c2d_pools
from mer.study.profiles import PROFILES
from mer.training.supervised import forward

FRAMES, BATCH, STEPS = 938, 16, 6
TRAIN, VALID, TRAININGS, INPUTS, CORES = 256, 64, 25, 5, 2
DEVICE = torch.device("cpu")


class PlainC2D(nn.Sequential):
    """C2D out of torch's own layers."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for number, pool in enumerate(c2d_pools(FRAMES)):
            layers += [nn.Conv2d(32 if number else 1, 32, 3, padding=1), nn.BatchNorm2d(32)]
            layers += [nn.ELU(), nn.MaxPool2d(pool)]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2))


def step(network: nn.Module, inputs: Callable[[], Tensor], targets: Tensor) -> Callable[[], None]:
    """Forward, backward and an Adam update."""
    optimizer = torch.optim.Adam(network.parameters())

    def run() -> None:
        loss = nn.functional.mse_loss(inputs(), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return run


def medians(*runs: Callable[[], object]) -> list[float]:
    """Median seconds of each, taking turns."""
    times: list[list[float]] = [[] for _ in runs]
    for number in range(STEPS + 1):
        for own, run in zip(times, runs, strict=True):
            start = perf_counter()
            run()
            if number:
                own.append(perf_counter() - start)
    return [median(own) for own in times]


def compare(name: str, ours: SourceModel, plain: nn.Module) -> float:
    """Print seconds of both; returns those of our epoch."""
    x, y = torch.randn(BATCH, 1, 96, FRAMES).half(), torch.randn(BATCH, 2)
    moments = ours.input_moments(x)
    slow_x = x.float() if isinstance(ours, C2D) else x
    slow, quick = medians(
        step(plain, lambda: plain(slow_x), y),
        step(ours, lambda: forward(ours, (x, moments), DEVICE), y),
    )
    ours.eval()
    with torch.inference_mode():
        (predicting,) = medians(lambda: forward(ours, x, DEVICE))
    epoch = (TRAIN * quick + VALID * predicting) / BATCH
    print(
        f"{name}: straightforward {slow:.3f} s, ours {quick:.3f} s a step of {BATCH}: "
        f"{slow / quick:.1f}x; an epoch {epoch:.1f} s"
    )
    return epoch


def main() -> None:
    """Both networks, and the whole of table 1."""
    torch.set_num_threads(1)
    overrides = PROFILES["cpu"].overrides
    epochs = {
        "C1D": compare("C1D", C1D(n_frames=FRAMES), C1D(n_frames=FRAMES)),
        "C2D": compare("C2D", C2D(n_frames=FRAMES), PlainC2D()),
    }
    total = sum(
        seconds * overrides[f"{name}-M"]["epochs"] * TRAININGS * INPUTS
        for name, seconds in epochs.items()
    )
    print(f"table 1 at most {total / CORES / 60:.0f} minutes on {CORES} cores, without features")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
