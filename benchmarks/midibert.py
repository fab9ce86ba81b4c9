"""MidiBERT's training steps against straightforward ones, in the same run.

Run with `python benchmarks/midibert.py`. Straightforward: float32, `torch.nn.TransformerEncoder`
as it comes with dropout within the attention, the embeddings of every word joined and projected,
batches padded to 512 words, logits of all words. Ours: `mer.models.midibert` and the batches of
`mer.training`, bfloat16 where the processor has it. Both have the small size and take the same
pieces: for pre-training whole windows, for fine-tuning clips of 100 to 800 words, of which the
plain version takes the first 512. Words are random: speed does not depend on them. The median of
some steps counts, after one to warm up; both sides take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from timing import CPU, Run, seconds_per_unit, training_step
from torch import Tensor, nn
from torch.nn import functional

from mer.features.compound_words import FIRST, MASK, PAD, SIZES
from mer.models.midibert import ENCODERS, MAX_LENGTH, MidiBert, SequenceClassifier
from mer.training.masked import OBJECTIVES, PretrainingOptions, masked
from mer.training.supervised import Batch, forward
from mer.training.windows import training_batches

STEPS = 6
BATCH = 16
OBJECTIVE = OBJECTIVES["midibert"]
IGNORED = -100
SMALL = ENCODERS["small"]
Loss = Callable[[Batch], Tensor]


class PlainEncoder(nn.Module):
    """The same encoder out of torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.width: int = SMALL["width"]
        self.tables = nn.ModuleList(nn.Embedding(size, SMALL["embedding"]) for size in SIZES)
        self.merge = nn.Linear(len(SIZES) * SMALL["embedding"], self.width)
        self.positions = nn.Embedding(MAX_LENGTH, self.width)
        layer = nn.TransformerEncoderLayer(
            self.width, SMALL["heads"], SMALL["feedforward"], activation="gelu", batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, SMALL["layers"])

    def forward(self, words: Tensor) -> Tensor:
        """States, shape (batch, 512, width), of padded words, shape (batch, 4, 512)."""
        embedded = torch.cat([table(words[:, k]) for k, table in enumerate(self.tables)], dim=2)
        states = self.merge(embedded) + self.positions.weight
        attended: Tensor = self.layers(states, src_key_padding_mask=words[:, 0] == PAD)
        return attended


class PlainMasked(nn.Module):
    """Logits of every word."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = PlainEncoder()
        self.heads = nn.ModuleList(nn.Linear(self.encoder.width, size) for size in SIZES)

    def forward(self, words: Tensor) -> list[Tensor]:
        """Of each field, shapes (batch, size, 512)."""
        states = self.encoder(words)
        return [head(states).transpose(1, 2) for head in self.heads]


def padded(pieces: list[np.ndarray]) -> Tensor:
    """The first 512 words of each, shape (batch, 4, 512)."""
    batch = np.full((len(pieces), len(SIZES), MAX_LENGTH), PAD, dtype=np.int64)
    for row, piece in zip(batch, pieces, strict=True):
        row[:, : piece.shape[1]] = piece[:, :MAX_LENGTH]
    return torch.from_numpy(batch)


def plain_masked_batches(pieces: list[np.ndarray], rng: np.random.Generator) -> Iterator[Batch]:
    """Masked words, and targets of all words, those that were not chosen marked."""
    for first in range(0, len(pieces), BATCH):
        words = padded(pieces[first : first + BATCH])
        chosen = torch.from_numpy(rng.random((len(words), 1, MAX_LENGTH)) < 0.15)
        yield words.masked_fill(chosen, MASK), words.masked_fill(~chosen, IGNORED)


def step(network: nn.Module, batches: Iterator[Batch], loss_of: Loss) -> Run:
    """A training step that returns the number of its examples."""

    def loss() -> tuple[Tensor, int]:
        batch = next(batches)
        return loss_of(batch), len(batch[1])

    return training_step(network, loss)


def pretraining(rng: np.random.Generator) -> np.ndarray:
    """Seconds per example of masked compound words, shape (2, STEPS): plain, ours."""
    pieces = [random_words(rng, MAX_LENGTH) for _ in range((STEPS + 1) * BATCH)]
    plain, ours = PlainMasked(), OBJECTIVE.model(MidiBert(**SMALL))
    options = PretrainingOptions(window=MAX_LENGTH, batch_size=BATCH)
    batches = masked(OBJECTIVE, OBJECTIVE.windows(pieces, options, rng), options, rng)

    def plain_loss(batch: Batch) -> Tensor:
        losses = [
            functional.cross_entropy(logits, batch[1][:, k], ignore_index=IGNORED)
            for k, logits in enumerate(plain(batch[0]))
        ]
        return torch.stack(losses).mean()

    return seconds_per_unit(
        step(plain, plain_masked_batches(pieces, rng), plain_loss),
        step(ours, batches, lambda b: OBJECTIVE.loss(forward(ours, b[0], CPU), b[1])),
        repeats=STEPS,
    )


def finetuning(rng: np.random.Generator) -> np.ndarray:
    """Seconds per example of classes of clips, shape (2, STEPS): plain, ours."""
    clips = [random_words(rng, length) for length in rng.integers(100, 800, (STEPS + 1) * BATCH)]
    targets = rng.integers(4, size=len(clips))
    batches = [slice(first, first + BATCH) for first in range(0, len(clips), BATCH)]
    plain_batches = ((padded(clips[b]), torch.from_numpy(targets[b])) for b in batches)
    our_batches = training_batches(clips, targets, window=MAX_LENGTH, batch_size=BATCH, rng=rng)
    plain, ours = (SequenceClassifier(MidiBert(**SMALL), 4) for _ in range(2))
    plain.add_module("encoder", PlainEncoder())
    cross_entropy = functional.cross_entropy
    return seconds_per_unit(
        step(plain, plain_batches, lambda b: cross_entropy(plain(b[0]), b[1])),
        step(ours, our_batches, lambda b: cross_entropy(forward(ours, b[0], CPU), b[1])),
        repeats=STEPS,
    )


def random_words(rng: np.random.Generator, length: int) -> np.ndarray:
    """Shape (4, length)."""
    return np.stack([rng.integers(FIRST, size, length) for size in SIZES])


def main() -> None:
    """Time both and print them."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    threads = f"{torch.get_num_threads()} threads"
    slow, fast = BATCH * np.median(pretraining(rng), axis=1)
    words = BATCH * MAX_LENGTH
    print(
        f"pre-training, {threads}: plain {words / slow:,.0f}, ours {words / fast:,.0f} words per "
        f"second: {slow / fast:.1f}x"
    )
    slow, fast = BATCH * np.median(finetuning(rng), axis=1)
    print(
        f"fine-tuning, {BATCH} clips, {threads}: plain {slow:.3f} s, ours {fast:.3f} s: "
        f"{slow / fast:.1f}x"
    )


if __name__ == "__main__":
    main()
