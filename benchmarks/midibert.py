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
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mer.features.compound_words import FIRST, MASK, PAD, SIZES
from mer.models.midibert import ENCODERS, MAX_LENGTH, MidiBert, SequenceClassifier
from mer.training.masked_compound import (
    OBJECTIVES,
    CompoundOptions,
    MaskedCompoundModel,
    masked_batch,
    masked_losses,
    objective_loss,
)
from mer.training.supervised import Batch, forward
from mer.training.windows import training_batches

STEPS = 6
BATCH = 16
IGNORED = -100
CPU = torch.device("cpu")
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


def plain_encoder(network: MaskedCompoundModel | SequenceClassifier) -> nn.Module:
    """The network with the plain encoder."""
    network.encoder = PlainEncoder()  # type: ignore[assignment]
    return network


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


def plain_masked_loss(network: nn.Module) -> Loss:
    """Mean of the four cross-entropies."""

    def loss(batch: Batch) -> Tensor:
        losses = [
            functional.cross_entropy(logits, batch[1][:, k], ignore_index=IGNORED)
            for k, logits in enumerate(network(batch[0]))
        ]
        return torch.stack(losses).mean()

    return loss


def masked_batches(pieces: list[np.ndarray], rng: np.random.Generator) -> Iterator[Batch]:
    """As pre-training makes them."""
    options, objective = CompoundOptions(batch_size=BATCH), OBJECTIVES["midibert"]
    windows = training_batches(
        pieces, np.zeros(len(pieces)), window=MAX_LENGTH, batch_size=BATCH, rng=rng
    )
    for words, _ in windows:
        yield masked_batch(words.numpy(), options, objective, rng)


def masked_loss(network: nn.Module) -> Loss:
    """As pre-training has it."""

    def loss(batch: Batch) -> Tensor:
        losses = masked_losses(forward(network, batch[0], CPU), batch[1])
        return objective_loss(losses, OBJECTIVES["midibert"])

    return loss


def stepper(
    network: nn.Module, batches: Iterator[Batch], loss: Loss
) -> Callable[[], tuple[float, int]]:
    """A training step that gives its seconds and its number of examples."""
    optimizer = torch.optim.Adam(network.parameters())

    def step() -> tuple[float, int]:
        start = perf_counter()
        batch = next(batches)
        value = loss(batch)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        return perf_counter() - start, len(batch[1])

    return step


def compare(
    plain: Callable[[], tuple[float, int]], ours: Callable[[], tuple[float, int]]
) -> tuple[float, float]:
    """Median seconds of a step of 16 examples."""
    seconds: tuple[list[float], list[float]] = [], []
    for number in range(STEPS + 1):
        for times, step in zip(seconds, (plain, ours), strict=True):
            elapsed, n_examples = step()
            if number:
                times.append(elapsed * BATCH / n_examples)
    return median(seconds[0]), median(seconds[1])


def pretraining(rng: np.random.Generator) -> tuple[float, float]:
    """Masked compound words."""
    pieces = [random_words(rng, MAX_LENGTH) for _ in range((STEPS + 1) * BATCH)]
    plain, ours = PlainMasked(), MaskedCompoundModel(MidiBert(**SMALL), OBJECTIVES["midibert"])
    return compare(
        stepper(plain, plain_masked_batches(pieces, rng), plain_masked_loss(plain)),
        stepper(ours, masked_batches(pieces, rng), masked_loss(ours)),
    )


def finetuning(rng: np.random.Generator) -> tuple[float, float]:
    """Classes of clips."""
    clips = [random_words(rng, length) for length in rng.integers(100, 800, (STEPS + 1) * BATCH)]
    targets = rng.integers(4, size=len(clips))
    batches = [slice(first, first + BATCH) for first in range(0, len(clips), BATCH)]
    plain_batches = ((padded(clips[b]), torch.from_numpy(targets[b])) for b in batches)
    our_batches = training_batches(clips, targets, window=MAX_LENGTH, batch_size=BATCH, rng=rng)
    plain = plain_encoder(SequenceClassifier(MidiBert(**SMALL), 4))
    ours = SequenceClassifier(MidiBert(**SMALL), 4)
    return compare(
        stepper(plain, plain_batches, lambda b: functional.cross_entropy(plain(b[0]), b[1])),
        stepper(
            ours,
            our_batches,
            lambda b: functional.cross_entropy(forward(ours, b[0], CPU), b[1]),
        ),
    )


def random_words(rng: np.random.Generator, length: int) -> np.ndarray:
    """Shape (4, length)."""
    return np.stack([rng.integers(FIRST, size, length) for size in SIZES])


def main() -> None:
    """Time both and print them."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    threads = f"{torch.get_num_threads()} threads"
    slow, fast = pretraining(rng)
    words = BATCH * MAX_LENGTH
    print(
        f"pre-training, {threads}: plain {words / slow:,.0f}, ours {words / fast:,.0f} words per "
        f"second: {slow / fast:.1f}x"
    )
    slow, fast = finetuning(rng)
    print(
        f"fine-tuning, {BATCH} clips, {threads}: plain {slow:.3f} s, ours {fast:.3f} s: "
        f"{slow / fast:.1f}x"
    )


if __name__ == "__main__":
    main()
