"""Training of C1D and C2D against a straightforward loop, in the same run.

Run with `python benchmarks/emomucs.py`; it takes some minutes. Straightforward: float32, torch's
own layers in the order of the paper, default memory layout. Ours: bfloat16 where the processor has
it, and no full-size output of C2D's first convolution (`mer.models.emomucs`). Both take
turns on the same batches of noise, of the published size (96 x 938); the median step counts, after
one to warm up. From it and from a prediction of the validation clips follows an epoch of a fold of
Emotify (256 clips to train on, 64 to validate), and from this, for the epochs of profile `cpu`, the
time of table 1: 25 trainings of 10 systems, one a core.
"""

from __future__ import annotations

import numpy as np
import torch
from timing import CPU, peak_memory, seconds_per_unit, training_step
from torch import nn

from mer.models.emomucs import C1D, C2D, SourceModel, c2d_pools
from mer.study.profiles import get_profile
from mer.training.supervised import forward

FRAMES, BATCH = 938, 16
TRAIN, VALID, TRAININGS, INPUTS, CORES = 256, 64, 25, 5, 2


class PlainC2D(nn.Sequential):
    """C2D out of torch's own layers."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for number, pool in enumerate(c2d_pools(FRAMES)):
            layers += [nn.Conv2d(32 if number else 1, 32, 3, padding=1), nn.BatchNorm2d(32)]
            layers += [nn.ELU(), nn.MaxPool2d(pool)]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 2))


def compare(name: str, ours: SourceModel, plain: nn.Module) -> float:
    """Print seconds of both; returns those of our epoch."""
    x, y = torch.randn(BATCH, 1, 96, FRAMES).half(), torch.randn(BATCH, 2)
    moments = ours.input_moments(x)
    plain_x = x.float() if isinstance(ours, C2D) else x
    mse = nn.functional.mse_loss
    slow, quick = np.median(
        seconds_per_unit(
            training_step(plain, lambda: (mse(plain(plain_x), y), 1)),
            training_step(ours, lambda: (mse(forward(ours, (x, moments), CPU), y), 1)),
        ),
        axis=1,
    )

    def predict() -> None:
        forward(ours, x, CPU)

    ours.eval()
    with torch.inference_mode():
        predicting = np.median(seconds_per_unit(predict))
    epoch = float(TRAIN * quick + VALID * predicting) / BATCH
    print(
        f"{name}: straightforward {slow:.3f} s, ours {quick:.3f} s a step of {BATCH}: "
        f"{slow / quick:.1f}x; an epoch {epoch:.1f} s"
    )
    return epoch


def main() -> None:
    """Both networks, and the whole of table 1."""
    torch.set_num_threads(1)
    families = get_profile("cpu").families
    epochs = {
        "C1D": compare("C1D", C1D(n_frames=FRAMES), C1D(n_frames=FRAMES)),
        "C2D": compare("C2D", C2D(n_frames=FRAMES), PlainC2D()),
    }
    total = sum(
        seconds * families[name]["epochs"] * TRAININGS * INPUTS for name, seconds in epochs.items()
    )
    print(f"table 1 at most {total / CORES / 60:.0f} minutes on {CORES} cores, without features")
    print(f"peak memory {peak_memory():.0f} MiB")


if __name__ == "__main__":
    main()
