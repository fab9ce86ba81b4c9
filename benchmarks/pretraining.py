"""Pre-training throughput against a straightforward version, in the same run.

Run with `python benchmarks/pretraining.py`. Straightforward: `torch.nn.TransformerEncoder` as it
comes, with dropout within the attention, in float32, on windows of 256 notes and START. Ours: the
batches and the step of `mer.training.masked`, bfloat16 where the processor has it. Both have
the default sizes, predict the same share of notes, and take all threads that torch uses. Events
are random: speed does not depend on them. The median of some steps counts, after one to warm up;
both sides take turns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from timing import CPU, Run, seconds_per_unit, training_step
from torch import Tensor, nn

from mer.features.note_events import FIRST, SIZES, START
from mer.models.symbolic_encoder import SymbolicEncoder, sinusoidal_positions
from mer.training.masked import MaskedModel, MaskedNotes, PretrainingOptions, masked
from mer.training.supervised import forward

STEPS = 8
OBJECTIVE = MaskedNotes()
PIECE_NOTES = 4096


class PlainEncoder(nn.Module):
    """The same network out of torch's own layers."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.width = width
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size in SIZES)
        layer = nn.TransformerEncoderLayer(width, 4, 512, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 4)

    def forward(self, events: Tensor) -> Tensor:
        """States, shape (batch, n, width), of events, shape (batch, 5, n)."""
        embedded = sum(table(events[:, k]) for k, table in enumerate(self.tables))
        states: Tensor = self.layers(embedded + sinusoidal_positions(events.shape[2], self.width))
        return states


def plain_model() -> MaskedModel:
    """The plain encoder with the same output layers."""
    model = OBJECTIVE.model(SymbolicEncoder())
    model.encoder = PlainEncoder()
    return model


def random_events(rng: np.random.Generator, n_notes: int) -> np.ndarray:
    """Events of random notes, shape (5, 1 + n_notes)."""
    events = np.stack([rng.integers(FIRST, size, 1 + n_notes) for size in SIZES])
    events[:, 0] = START
    return events


def step(model: MaskedModel, batches: Iterator[tuple[Tensor, Tensor]], *, fast: bool) -> Run:
    """A training step that returns the number of its notes."""

    def loss() -> tuple[Tensor, int]:
        events, targets = next(batches)
        logits = forward(model, events, CPU) if fast else model(events)
        return OBJECTIVE.loss(logits, targets), int((events[:, 0] != START).sum())

    return training_step(model, loss)


def main() -> None:
    """Time both and print notes per second."""
    rng = np.random.default_rng(0)
    options = PretrainingOptions()
    n_pieces = (STEPS + 1) * options.batch_size * 256 // PIECE_NOTES + 1
    pieces = [random_events(rng, PIECE_NOTES) for _ in range(n_pieces)]
    repeated = [piece for piece in pieces for _ in range(PIECE_NOTES // options.window)]
    plain_options = dataclasses.replace(options, window=256)
    plain_batches, own_batches = (
        masked(OBJECTIVE, OBJECTIVE.windows(repeated, own, rng), own, rng)
        for own in (plain_options, options)
    )
    seconds = seconds_per_unit(
        step(plain_model(), plain_batches, fast=False),
        step(OBJECTIVE.model(SymbolicEncoder()), own_batches, fast=True),
        repeats=STEPS,
    )
    slow, quick = np.median(1 / seconds, axis=1)
    print(
        f"pre-training, {torch.get_num_threads()} threads: plain {slow:,.0f}, ours {quick:,.0f} "
        f"notes per second: {quick / slow:.1f}x"
    )


if __name__ == "__main__":
    main()
