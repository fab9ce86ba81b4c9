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

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from statistics import median
from time import perf_counter

import numpy as np
import torch
from pretraining import PlainEncoder, random_events
from torch import Tensor, nn

from mer.features.tokens import MIDI_LIKE_SIZE
from mer.models import multi_domain
from mer.models.lstm_attn import LSTMAttn
from mer.models.short_chunk import ShortChunkResNet
from mer.systems import get_system
from mer.systems.zhu2023 import SymbolicAcoustic
from mer.training.supervised import autocast
from mer.training.windows import training_batches

BATCH = 32
STEPS = 8
WINDOW = 512
DEVICE = torch.device("cpu")


def step(network: nn.Module, inputs: Tensor, targets: Tensor, *, fast: bool) -> None:
    """Forward, backward and an Adam update."""
    optimizer = torch.optim.Adam(network.parameters())
    with autocast(DEVICE) if fast else torch.autocast("cpu", enabled=False):
        logits = network(inputs)
    nn.functional.cross_entropy(logits.float(), targets).backward()
    optimizer.step()


def compare(name: str, plain: Callable[[], None], ours: Callable[[], None]) -> None:
    """Print median seconds of both and the ratio."""
    times: dict[str, list[float]] = {"plain": [], "ours": []}
    for number in range(STEPS + 1):
        for label, run in (("plain", plain), ("ours", ours)):
            start = perf_counter()
            run()
            if number:
                times[label].append(perf_counter() - start)
    slow, quick = median(times["plain"]), median(times["ours"])
    print(f"{name}: plain {slow:.3f} s, ours {quick:.3f} s a step of {BATCH}: {slow / quick:.1f}x")


def lstm(rng: np.random.Generator) -> None:
    """LSTM-Attn on token sequences."""
    lengths = np.clip(rng.lognormal(np.log(950), 0.5, size=BATCH * 8), 200, 4700).astype(int)
    clips = [rng.integers(1, MIDI_LIKE_SIZE, size=n) for n in lengths]
    targets = rng.integers(4, size=len(clips))
    network = LSTMAttn(MIDI_LIKE_SIZE, 4)
    batches = iter(
        [
            b
            for _ in range(2)
            for b in training_batches(clips, targets, window=WINDOW, batch_size=BATCH, rng=rng)
        ]
    )
    starts = iter(range(0, len(clips) * 2, BATCH))

    def plain() -> None:
        first = next(starts) % len(clips)
        chosen = [torch.from_numpy(clip) for clip in clips[first : first + BATCH]]
        padded = nn.utils.rnn.pad_sequence(chosen, batch_first=True)
        step(network, padded, torch.from_numpy(targets[first : first + BATCH]), fast=False)

    compare("LSTM-Attn", plain, lambda: step(network, *next(batches), fast=True))


def short_chunk(rng: np.random.Generator) -> None:
    """Short-chunk ResNet on 3-s chunks."""
    chunks = torch.from_numpy(rng.normal(size=(BATCH, 128, 129)).astype(np.float32))
    targets = torch.from_numpy(rng.integers(4, size=BATCH))
    ours = ShortChunkResNet(4)
    plain = ShortChunkResNet(4)

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
        lambda: step(module, chunks, targets, fast=False),
        lambda: step(ours, chunks, targets, fast=True),
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
        self.classifier = multi_domain.classifier(2 * width, 4, 0.1)
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
    system = get_system("Symbolic & Acoustic")
    assert isinstance(system, SymbolicAcoustic)
    ours = system.network(4)
    n_bins = len(ours.acoustic.standardise.mean)
    plain = PlainMultiDomain(n_bins, system.width, system.heads)
    feature = torch.from_numpy(rng.normal(size=(BATCH, n_bins, system.window)).astype(np.float32))
    n_notes = round(9 * system.window_seconds)
    events = torch.from_numpy(np.stack([random_events(rng, n_notes) for _ in range(BATCH)]))
    targets = torch.from_numpy(rng.integers(4, size=BATCH))

    def run(network: nn.Module, *, fast: bool) -> None:
        optimizer = torch.optim.Adam(network.parameters())
        with autocast(DEVICE) if fast else torch.autocast("cpu", enabled=False):
            output = network(feature, events)
        logits = {name: value.float() for name, value in output.items()}
        system.loss(logits, targets).backward()
        optimizer.step()

    compare("Symbolic & Acoustic", partial(run, plain, fast=False), partial(run, ours, fast=True))


def main() -> None:
    """Run all comparisons."""
    rng = np.random.default_rng(0)
    lstm(rng)
    short_chunk(rng)
    symbolic_acoustic(rng)


if __name__ == "__main__":
    main()
