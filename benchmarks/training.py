"""A training step of each network against a straightforward version, in the same run.

Run with `python benchmarks/training.py`. Straightforward: float32, default memory layout, whole
clips padded to the longest of the batch (tokens) or one chunk each (mel); for Symbolic & Acoustic
torch's own attention and encoder layers, with dropout within the attention, on the same windows of
30 s. Ours: bfloat16 where the processor has it, channels last, windows of like length without
padding. Sizes are the published ones; clip lengths are drawn to resemble MIDI-like sequences of
EMOPIA (median 950 tokens), and windows have 9 notes a second. The median of some steps counts,
after one to warm up; both sides take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle, pairwise, repeat
from typing import Any

import numpy as np
import torch
from pretraining import PlainEncoder, random_events
from timing import CPU, Run, seconds_per_unit, training_step
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mer.features.tokens import MIDI_LIKE_SIZE
from mer.models import layers, multi_domain
from mer.models.classifiers import LSTMAttn, ShortChunkResNet
from mer.papers.zhu2023.systems import DomainItem, SymbolicAcoustic
from mer.training.supervised import forward
from mer.training.windows import training_batches

BATCH = 32
STEPS = 8
WINDOW = 512
Loss = Callable[[Any, Tensor], Tensor]


def step(network: nn.Module, batches: Iterator[Any], loss_of: Loss, *, fast: bool) -> Run:
    """A training step on the next of some batches."""

    def loss() -> tuple[Tensor, int]:
        batch, targets = next(batches)
        output = forward(network, batch, CPU) if fast else network(*batch)
        return loss_of(output, targets), 1

    return training_step(network, loss)


def compare(name: str, plain: Run, ours: Run) -> None:
    """Print median seconds of both and the ratio."""
    slow, quick = np.median(seconds_per_unit(plain, ours, repeats=STEPS), axis=1)
    print(f"{name}: plain {slow:.3f} s, ours {quick:.3f} s a step of {BATCH}: {slow / quick:.1f}x")


def lstm(rng: np.random.Generator) -> None:
    """LSTM-Attn on token sequences."""
    lengths = np.clip(rng.lognormal(np.log(950), 0.5, size=BATCH * 8), 200, 4700).astype(int)
    clips = [rng.integers(1, MIDI_LIKE_SIZE, size=n) for n in lengths]
    targets = rng.integers(4, size=len(clips))
    network = LSTMAttn(MIDI_LIKE_SIZE, 4)

    def padded_batches() -> Iterator[Any]:
        for first in cycle(range(0, len(clips), BATCH)):
            chosen = [torch.from_numpy(clip) for clip in clips[first : first + BATCH]]
            padded = nn.utils.rnn.pad_sequence(chosen, batch_first=True)
            yield (padded,), torch.from_numpy(targets[first : first + BATCH])

    windows = training_batches(clips, targets, window=WINDOW, batch_size=BATCH, rng=rng)
    compare(
        "LSTM-Attn",
        step(network, padded_batches(), cross_entropy, fast=False),
        step(network, cycle(windows), cross_entropy, fast=True),
    )


def short_chunk(rng: np.random.Generator) -> None:
    """Short-chunk ResNet on 3-s chunks."""
    chunks = torch.from_numpy(rng.normal(size=(BATCH, 128, 129)).astype(np.float32))
    batches = repeat(((chunks,), torch.from_numpy(rng.integers(4, size=BATCH))))
    ours, plain = ShortChunkResNet(4), ShortChunkResNet(4)

    class Plain(nn.Module):
        """The same network without channels-last memory."""

        def forward(self, log_mel: Tensor) -> Tensor:
            x = plain.blocks(plain.input_norm(log_mel.unsqueeze(1)))
            logits: Tensor = plain.classifier(x.amax(dim=(2, 3)))
            return logits

    module = Plain()
    module.network = plain
    compare(
        "Short-chunk ResNet",
        step(module, batches, cross_entropy, fast=False),
        step(ours, batches, cross_entropy, fast=True),
    )


class PlainMultiDomain(nn.Module):
    """Symbolic & Acoustic out of torch's own layers, as table 1 of the paper orders them."""

    def __init__(self, n_bins: int, width: int, heads: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for channels_in, channels_out in pairwise((1, *multi_domain.CHANNELS)):
            blocks += [
                nn.Conv2d(channels_in, channels_out, 3, padding=1),
                nn.BatchNorm2d(channels_out),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.blocks = nn.Sequential(*blocks)
        n_rows = multi_domain.CHANNELS[-1] * (n_bins // multi_domain.TIME_FACTOR)
        self.projection = nn.Linear(n_rows, width)
        self.symbolic = PlainEncoder(width)
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(width, heads, dropout=0.1, batch_first=True) for _ in range(2)
        )
        self.classifier = layers.classifier(2 * width, width, 4, 0.1)
        self.heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(2))

    def forward(self, feature: Tensor, events: Tensor) -> multi_domain.Logits:
        """Logits of the label and of both heads."""
        maps = self.blocks(feature.unsqueeze(1))
        sound = self.projection(maps.flatten(1, 2).transpose(1, 2))
        notes = self.symbolic(events)
        from_sound, _ = self.attentions[0](sound, notes, notes)
        from_notes, _ = self.attentions[1](notes, sound, sound)
        joined = torch.cat([from_sound.mean(dim=1), from_notes.mean(dim=1)], dim=1)
        arousal, valence = (
            head(states.mean(dim=1)).squeeze(1)
            for head, states in zip(self.heads, (sound, notes), strict=True)
        )
        return {"label": self.classifier(joined), "A": arousal, "V": valence}


def symbolic_acoustic(rng: np.random.Generator) -> None:
    """Symbolic & Acoustic on windows of 30 s."""
    system = SymbolicAcoustic()
    n_bins = system.n_mels + 22  # MFCCs, spectral centroid, RMS: see `mixed`
    feature = rng.normal(size=(BATCH, n_bins, system.window)).astype(np.float32)
    ours = system.network(4, DomainItem(system.window, feature=feature[0]))
    n_notes = round(9 * system.window_seconds)
    events = np.stack([random_events(rng, n_notes) for _ in range(BATCH)])
    inputs = (torch.from_numpy(feature), torch.from_numpy(events))
    batches = repeat((inputs, torch.from_numpy(rng.integers(4, size=BATCH))))
    compare(
        "Symbolic & Acoustic",
        step(
            PlainMultiDomain(n_bins, system.width, system.heads), batches, system.loss, fast=False
        ),
        step(ours, batches, system.loss, fast=True),
    )


def main() -> None:
    """Run all comparisons."""
    rng = np.random.default_rng(0)
    lstm(rng)
    short_chunk(rng)
    symbolic_acoustic(rng)


if __name__ == "__main__":
    main()
