"""Self-learning: training speed against a plain loop, one fold, and the memory of a sweep.

Run with `python benchmarks/self_learning.py`; it takes some minutes on one core.

Speed: training segments per second of an epoch after the warm-up at the sizes of profile `cpu`, the
partition included, on spectrograms of noise, of which the mixture makes about half noisy. Plain:
float32, default memory layout, the ReLU before the pooling, losses one batch at a time in training
size, and three whole passes (mixed segments, noisy ones twice). Ours: bfloat16 where the processor
has it, channels last, ReLU after the pooling, and one pass through the convolutions for both
passes of R-Drop. Both take turns, epoch by epoch; the median counts, after one to warm up.

Fold: SSSL at the sizes of profile `cpu` on the official split of 160 composed clips of 30 s,
segments of 3 s, spectrograms computed before.

Memory: peak of a process of its own that goes through all segments of 5 s of 900 clips of 30 s, 128
bands: views, batches of an epoch, and predictions.
"""

from __future__ import annotations

import multiprocessing
from time import perf_counter
from typing import Any

import numpy as np
import torch
from timing import CPU, Run, peak_memory, seconds_per_unit
from torch import Tensor, nn

from mer.corpora import load
from mer.models.vgg import VGG16
from mer.papers.sun2024.systems import SegmentClassifier
from mer.papers.sun2024.tables import PROPOSED, proposed
from mer.segments import frames_of
from mer.study.profiles import get_profile
from mer.systems.base import Context
from mer.tasks import get_task
from mer.training.self_learning import SelfLearner, mixup, partition, r_drop, sharpen
from mer.training.supervised import forward
from mer.training.windows import SegmentSet, predict_segments, split_batches

CLIPS, CLASSES, EPOCHS, SECONDS = 48, 4, 4, 3.0
SWEEP_CLIPS, SWEEP_SECONDS, LIMIT_MIB = 900, 5.0, 4096


def cpu_system(**changes: Any) -> SegmentClassifier:
    """SSSL at the sizes of profile `cpu`."""
    system = get_profile("cpu").sized(PROPOSED, proposed).configured(changes)
    assert isinstance(system, SegmentClassifier)
    return system


def noise(n_clips: int, n_mels: int) -> list[np.ndarray]:
    """Spectrograms of 30 s in dB, float16."""
    rng = np.random.default_rng(0)
    shape = (n_mels, frames_of(30.0))
    return [rng.normal(-50, 15, shape).astype(np.float16) for _ in range(n_clips)]


class PlainVGG(nn.Module):
    """The same network with torch's layers in the order of the paper."""

    def __init__(self, network: VGG16) -> None:
        super().__init__()
        self.standardise = network.standardise
        layers: list[nn.Module] = []
        for layer in network.convolutions:
            if isinstance(layer, nn.Conv2d):
                size = (layer.in_channels, layer.out_channels)
                layers += [nn.Conv2d(*size, 3, padding=1), nn.ReLU()]
            elif isinstance(layer, nn.MaxPool2d):
                layers.append(layer)
        self.convolutions = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(network.grid), nn.Flatten())
        self.classifier = network.classifier

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.classifier(self.convolutions(self.standardise(x).unsqueeze(1)))
        return logits


def plain_epoch(
    network: PlainVGG, segments: SegmentSet, targets: np.ndarray, system: SegmentClassifier
) -> Run:
    """An epoch of the plain loop, which gives the number of its segments."""
    optimizer = torch.optim.Adam(network.parameters(), lr=system.learning_rate)
    labels = targets[segments.owners]
    rng = np.random.default_rng(0)

    def predicted(drawn: np.ndarray) -> np.ndarray:
        network.eval()
        with torch.no_grad():
            parts = [
                torch.softmax(network(segments.batch(chosen)), dim=1)
                for chosen in split_batches(drawn, system.batch_size)
            ]
        network.train()
        return torch.cat(parts).double().numpy()

    def run() -> int:
        drawn = segments.draw(system.segments_per_epoch, rng)
        probabilities = predicted(drawn)
        losses = -np.log(probabilities[np.arange(len(drawn)), labels[drawn]])
        noisy = partition(losses).clean_probability <= system.threshold
        soft = np.eye(CLASSES)[labels[drawn]]
        soft[noisy] = sharpen(probabilities[noisy], system.temperature)
        for chosen in split_batches(rng.permutation(len(drawn)), system.batch_size):
            x, y = segments.batch(drawn[chosen]), torch.from_numpy(soft[chosen]).float()
            order = torch.from_numpy(rng.permutation(len(chosen)))
            mixed, wanted = mixup(x, y, order, rng.beta(system.mixup, system.mixup))
            unlabelled = x[torch.from_numpy(noisy[chosen])]
            loss = nn.functional.cross_entropy(network(mixed), wanted)
            divergence = r_drop(network(unlabelled), network(unlabelled)) / len(x)
            optimizer.zero_grad()
            (loss + system.kl_weight * divergence).backward()
            nn.utils.clip_grad_norm_(network.parameters(), system.clip_norm)
            optimizer.step()
        return len(drawn)

    return run


def own_epoch(
    network: VGG16, segments: SegmentSet, targets: np.ndarray, system: SegmentClassifier
) -> Run:
    """An epoch of ours, with the steps of `mer.training.supervised.train`."""
    learner = SelfLearner(network, segments, targets, CLASSES, system, 0)
    learner.epoch += system.warm_up
    optimizer = torch.optim.Adam(network.parameters(), lr=system.learning_rate)

    def run() -> int:
        learner.train()
        count = 0
        for inputs, wanted in learner.batches(np.random.default_rng(int(learner.epoch))):
            loss = learner.loss(forward(learner, inputs, CPU), wanted)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), system.clip_norm)
            optimizer.step()
            count += len(wanted)
        return count

    return run


def speed() -> None:
    """Segments per second of both loops."""
    system = cpu_system(duration=SECONDS, epochs=100, patience=100)
    log_mels = noise(CLIPS, system.n_mels)
    segments = SegmentSet(log_mels, system.window, system.hop)
    targets = np.arange(CLIPS) % CLASSES
    torch.manual_seed(0)
    ours, template = (system.network(CLASSES, log_mels[0]) for _ in range(2))
    for network in (ours, template):
        network.fit_scale(log_mels)
    seconds = seconds_per_unit(
        plain_epoch(PlainVGG(template), segments, targets, system),
        own_epoch(ours, segments, targets, system),
        repeats=EPOCHS,
    )
    slow, quick = np.median(1 / seconds, axis=1)
    print(
        f"training on segments of {SECONDS:g} s: plain {slow:.0f}, ours {quick:.0f} segments per "
        f"second: {quick / slow:.1f}x"
    )


def fold() -> None:
    """Time of one fold."""
    corpus = load("composed", size=160)
    parts = corpus.split("official").folds[0]
    train, valid, test = (corpus.select(ids) for ids in (parts.train, parts.valid, parts.test))
    system = cpu_system(duration=SECONDS)
    system.items(list(corpus))
    start = perf_counter()
    system.fit(train, valid, Context(get_task("4Q"), device="cpu")).predict(test)
    print(f"SSSL on {len(train)} + {len(valid)} clips: {perf_counter() - start:.1f} s")


def sweep() -> None:
    """Peak memory of going through all segments."""
    system = cpu_system(duration=SWEEP_SECONDS, n_mels=128)
    log_mels = noise(SWEEP_CLIPS, 128)
    segments = SegmentSet(log_mels, system.window, system.hop)
    network = system.network(CLASSES, log_mels[0])
    network.standardise.std.fill_(15.0)
    for chosen in split_batches(segments.draw(None, np.random.default_rng(0)), system.batch_size):
        segments.batch(chosen)
    predict_segments(network, segments, segments.spread(1), system, CPU)
    peak = peak_memory()
    print(f"{len(segments)} segments of {SWEEP_SECONDS:g} s of {SWEEP_CLIPS} clips: {peak:.0f} MiB")
    if peak > LIMIT_MIB:
        raise SystemExit(f"expected less than {LIMIT_MIB} MiB")


def main() -> None:
    """All three."""
    torch.set_num_threads(1)
    process = multiprocessing.get_context("spawn").Process(target=sweep)
    process.start()
    process.join()
    speed()
    fold()


if __name__ == "__main__":
    main()
