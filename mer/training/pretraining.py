"""Masked prediction of notes, to pre-train the symbolic encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mer.errors import InvalidDataError, ParameterError
from mer.features.note_events import FIELDS, MASK, PAD, SIZES, START, select_events
from mer.models.symbolic_encoder import SymbolicEncoder
from mer.training.supervised import Batch, Score, TrainingOptions, forward, train
from mer.training.windows import window_starts

IGNORED = -100
"""Target of a note that is not to be predicted; what torch's cross-entropy leaves out."""

MIN_NOTES = 32
"""Pieces with fewer notes are left out."""


class MaskedNoteModel(nn.Module):
    """The encoder and a linear layer for each field of a note.

    Parameters
    ----------
    encoder : SymbolicEncoder
    """

    def __init__(self, encoder: SymbolicEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(nn.Linear(encoder.width, size) for size in SIZES)

    def forward(self, events: Tensor) -> tuple[Tensor, ...]:
        """Logits of each field, shapes (batch, n, size), of events, shape (batch, 5, n)."""
        states = self.encoder(events)
        return tuple(head(states) for head in self.heads)


@dataclass(frozen=True, kw_only=True)
class PretrainingOptions(TrainingOptions):
    """How the encoder is pre-trained.

    Attributes
    ----------
    epochs : int
        In an epoch as many windows are drawn from a piece as cover its length.
    patience, batch_size, learning_rate, weight_decay, schedule, clip_norm
        As in `TrainingOptions`.
    window : int
        Notes of a window. With the START column before them they should make a multiple of 32,
        for which the kernels are faster.
    mask_probability : float
        Share of the notes that are to be predicted, in (0, 1].
    """

    epochs: int = 8
    patience: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    window: int = 255
    mask_probability: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 1:
            raise ParameterError(f"window is {self.window}; expected at least 1 note")
        if not 0 < self.mask_probability <= 1:
            raise ParameterError(
                f"mask_probability is {self.mask_probability}; expected more than 0, at most 1"
            )


@dataclass(frozen=True)
class Pretraining:
    """What came out of a pre-training.

    Attributes
    ----------
    epochs : list of dict
        A row an epoch: train_loss, valid_loss, valid_accuracy (mean of the five fields),
        learning_rate.
    best_epoch : int
        The one whose parameters were kept.
    accuracies : dict of str to float
        Accuracy of each field on the chosen notes of the validation pieces, in that epoch.
    notes_per_second : float
        Speed of training, of the epochs that were not resumed from a checkpoint; NaN if all were.
    """

    epochs: list[dict[str, float]]
    best_epoch: int
    accuracies: dict[str, float]
    notes_per_second: float


def pretrain(
    model: MaskedNoteModel,
    pieces: Sequence[np.ndarray],
    valid: Sequence[np.ndarray],
    options: PretrainingOptions,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> Pretraining:
    """Train a model to predict masked notes and leave it with its best validation epoch.

    The loss is the mean of the fields' cross-entropies over the chosen notes (`mask_notes`).
    Windows are drawn anew for every epoch. On the validation pieces they are consecutive, and the
    chosen notes are the same in every epoch.

    Parameters
    ----------
    model : MaskedNoteModel
        Trained in place.
    pieces, valid : sequence of np.ndarray, shape (5, 1 + n_notes), int64
        As `note_events` gives them, to train on and to validate with.
    options : PretrainingOptions
    seed : int
    device : torch.device
    checkpoint, progress
        As for `mer.training.supervised.train`.

    Returns
    -------
    Pretraining

    Raises
    ------
    InvalidDataError
        If all pieces of a part are shorter than `MIN_NOTES`, or the loss is not finite.

    References
    ----------
    Chou et al.: MidiBERT-Piano: large-scale pre-training for symbolic music understanding. 2021.
    Zhu et al. 2023 pre-train on MAESTRO, but do not say by which task; this one is our choice.
    """
    pieces = long_enough(pieces, "train on", special=1)
    valid = long_enough(valid, "validate with", special=1)
    held_out = list(_validation_batches(valid, options, seed))
    n_windows = sum(_windows(piece, options.window) for piece in pieces)
    return learn(
        model,
        lambda rng: pretraining_batches(pieces, options, rng),
        lambda network: evaluate(network, held_out, device),
        lambda accuracies: float(np.mean(list(accuracies.values()))),
        options,
        loss=masked_loss,
        meter=Meter(n_windows, _count_notes, progress),
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )


def learn(
    model: nn.Module,
    batches: Callable[[np.random.Generator], Iterator[Batch]],
    evaluate: Callable[[nn.Module], tuple[dict[str, float], float]],
    score: Callable[[dict[str, float]], float],
    options: PretrainingOptions,
    *,
    loss: Callable[[Any, Tensor], Tensor],
    meter: Meter,
    seed: int,
    device: torch.device,
    checkpoint: Path | None,
    progress: bool,
) -> Pretraining:
    """Train a model by any objective and leave it with its best validation epoch.

    Parameters
    ----------
    model : nn.Module
        Trained in place.
    batches : callable
        Those of an epoch, from a random generator.
    evaluate : callable
        Accuracies by field, and the loss, of a model on the validation pieces.
    score : callable
        Of an epoch, from its accuracies.
    options : PretrainingOptions
    loss : callable
        Of what the model gives and targets.
    meter : Meter
    seed, device, checkpoint, progress
        As for `mer.training.supervised.train`.

    Returns
    -------
    Pretraining
    """

    def validate(network: nn.Module) -> Score:
        accuracies, mean_loss = evaluate(network)
        return Score(score(accuracies), mean_loss)

    history = train(
        model,
        lambda rng: meter.measure(batches(rng)),
        validate,
        options,
        loss=loss,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )
    with torch.inference_mode():
        accuracies, _ = evaluate(model)
    return Pretraining(history.epochs, history.best_epoch, accuracies, meter.notes_per_second)


def long_enough(
    pieces: Sequence[np.ndarray], purpose: str, *, special: int = 0
) -> list[np.ndarray]:
    """Pieces with `MIN_NOTES` or more; `special` columns of a piece are no notes.

    Raises
    ------
    InvalidDataError
        If there is none; `purpose` says what it was for.
    """
    kept = [piece for piece in pieces if piece.shape[1] - special >= MIN_NOTES]
    if not kept:
        raise InvalidDataError(
            f"none of {len(pieces)} pieces to {purpose} has at least {MIN_NOTES} notes; "
            "expected longer pieces"
        )
    return kept


def _n_notes(piece: np.ndarray) -> int:
    return piece.shape[1] - 1


def _windows(piece: np.ndarray, window: int) -> int:
    """Number of windows that are drawn from a piece in an epoch."""
    return max(1, round(_n_notes(piece) / window))


def pretraining_batches(
    pieces: Sequence[np.ndarray], options: PretrainingOptions, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch: random windows of all pieces, in random order, with some notes masked.

    Yields
    ------
    inputs : Tensor, shape (batch, 5, length)
        A START column and at most `options.window` notes; windows of shorter pieces are padded.
    targets : Tensor, shape (batch, 5, length)
        See `mask_notes`.
    """
    owners = np.repeat(np.arange(len(pieces)), [_windows(p, options.window) for p in pieces])
    order = rng.permutation(owners)
    for first in range(0, len(order), options.batch_size):
        windows = []
        for owner in order[first : first + options.batch_size]:
            start = int(rng.integers(max(_n_notes(pieces[owner]) - options.window, 0) + 1))
            windows.append(select_events(pieces[owner], start, start + options.window))
        yield _masked_batch(windows, options, rng)


def _validation_batches(
    pieces: Sequence[np.ndarray], options: PretrainingOptions, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    rng = np.random.default_rng(seed)
    windows = [
        select_events(piece, start, start + options.window)
        for piece in pieces
        for start in window_starts(_n_notes(piece), options.window)
    ]
    for first in range(0, len(windows), options.batch_size):
        yield _masked_batch(windows[first : first + options.batch_size], options, rng)


def _masked_batch(
    windows: Sequence[np.ndarray], options: PretrainingOptions, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    length = max(window.shape[1] for window in windows)
    events = np.full((len(windows), len(FIELDS), length), PAD, dtype=np.int64)
    for row, window in zip(events, windows, strict=True):
        row[:, : window.shape[1]] = window
    inputs, targets = mask_notes(events, options.mask_probability, rng)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def mask_notes(
    events: np.ndarray, probability: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Choose notes to predict and hide most of them.

    Each note is chosen with `probability`, and at least one of each window. Of the chosen notes
    80 % become MASK in all fields, 10 % another note of the batch, and 10 % stay as they are.

    Parameters
    ----------
    events : np.ndarray, shape (batch, 5, n), int64
        Each with at least one note; START and PAD columns are never chosen.
    probability : float
    rng : np.random.Generator

    Returns
    -------
    inputs : np.ndarray, shape (batch, 5, n)
    targets : np.ndarray, shape (batch, 5, n)
        The events where they were chosen, `IGNORED` elsewhere.

    References
    ----------
    Devlin et al.: BERT. NAACL 2019, section 3.1; a random note instead of random values in each
    field, so that it cannot be told by an unlikely combination alone.
    """
    real = (events[:, 0] != PAD) & (events[:, 0] != START)
    draws = np.where(real, rng.random(real.shape), np.inf)
    chosen = real & ((draws < probability) | (draws == draws.min(axis=1, keepdims=True)))
    fate = rng.random(real.shape)
    inputs = np.where((chosen & (fate < 0.8))[:, None], MASK, events)
    replaced = chosen & (fate >= 0.8) & (fate < 0.9)
    notes = events.transpose(0, 2, 1)[real]
    inputs.transpose(0, 2, 1)[replaced] = rng.choice(notes, int(replaced.sum()))
    return inputs, np.where(chosen[:, None], events, IGNORED)


def masked_loss(logits: Sequence[Tensor], targets: Tensor) -> Tensor:
    """Mean of the five cross-entropies over the chosen notes, in nats.

    Parameters
    ----------
    logits : sequence of Tensor, shapes (batch, n, size)
    targets : Tensor, shape (batch, 5, n)
        See `mask_notes`.
    """
    losses = [
        functional.cross_entropy(x.flatten(0, 1), targets[:, k].flatten(), ignore_index=IGNORED)
        for k, x in enumerate(logits)
    ]
    return torch.stack(losses).mean()


def evaluate(
    model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], device: torch.device
) -> tuple[dict[str, float], float]:
    """Accuracy of each field, and the loss, over the chosen notes of all batches."""
    right, total, count = np.zeros(len(FIELDS)), 0.0, 0
    for inputs, targets in batches:
        logits, targets = forward(model, inputs, device), targets.to(device)
        n_chosen = int((targets[:, 0] != IGNORED).sum())
        total += float(masked_loss(logits, targets)) * n_chosen
        count += n_chosen
        right += [int((x.argmax(dim=2) == targets[:, k]).sum()) for k, x in enumerate(logits)]
    return dict(zip(FIELDS, (right / count).tolist(), strict=True)), total / count


def _count_notes(events: Tensor) -> int:
    return int(((events[:, 0] != PAD) & (events[:, 0] != START)).sum())


@dataclass
class Meter:
    """Counts the notes of the batches that pass and the time that their use takes.

    Attributes
    ----------
    n_windows : int
        In an epoch.
    count : callable
        Number of notes in the inputs of a batch.
    progress : bool
        Whether to show a progress bar.
    """

    n_windows: int
    count: Callable[[Any], int]
    progress: bool
    notes: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    @property
    def notes_per_second(self) -> float:
        """NaN before the first batch."""
        return self.notes / self.seconds if self.seconds else float("nan")

    def measure(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches of an epoch, unchanged."""
        bar = _window_bar(self.n_windows) if self.progress else None
        start = perf_counter()
        for inputs, targets in batches:
            yield inputs, targets
            self.notes += self.count(inputs)
            if bar is not None:
                bar.update(len(targets))
        self.seconds += perf_counter() - start
        if bar is not None:
            bar.close()


def _window_bar(total: int) -> Any:
    from tqdm.auto import tqdm

    return tqdm(total=total, unit="window", leave=False)
