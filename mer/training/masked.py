"""Pre-training of encoders: masked notes are predicted from the notes around them.

References
----------
Devlin et al.: BERT. NAACL 2019, section 3.1.
Chou et al.: MidiBERT-Piano: large-scale pre-training for symbolic music understanding. 2021.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mer.errors import InvalidDataError, ParameterError
from mer.features import compound_words, note_events
from mer.models.layers import AttentionPooling
from mer.training.supervised import Batch, History, Score, TrainingOptions, forward, train
from mer.training.windows import prediction_batches, training_batches, window_starts

IGNORED = -100
"""Target of a note that is not to be predicted; what torch's cross-entropy leaves out."""

MIN_NOTES = 32
"""Pieces with fewer notes are left out."""

_MASKED, _REPLACED = 0.8, 0.1
"""Shares of the chosen notes."""

_FIELD_WEIGHTS = np.asarray(compound_words.SIZES) / sum(compound_words.SIZES)


@dataclass(frozen=True, kw_only=True)
class PretrainingOptions(TrainingOptions):
    """How an encoder is pre-trained; the defaults are those of the symbolic encoder.

    In an epoch as many windows are drawn from a piece as cover its length.

    Attributes
    ----------
    window : int
        Notes of a window. With the START column of note events they should make a multiple of 32,
        for which the kernels are faster; MidiBERT takes at most 512.
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
        if self.mask_probability > 1:
            raise ParameterError(
                f"mask_probability is {self.mask_probability}; expected more than 0, at most 1"
            )


MIDIBERT_OPTIONS = PretrainingOptions(
    epochs=500,
    patience=30,
    batch_size=12,
    learning_rate=2e-5,
    schedule="constant",
    clip_norm=3.0,
    window=512,
)
"""Those of MidiBERT's published code.

Its decoupled weight decay of .01 makes the weights smaller by two parts in ten million in a step
and is left out.
"""


class MaskedModel(nn.Module):
    """An encoder, a linear layer for each field of a note and, optionally, one for the key.

    The encoder is a `SymbolicEncoder` or `MidiBert`; `sizes` are the vocabularies of the fields.
    """

    def __init__(self, encoder: nn.Module, sizes: Sequence[int], *, key: bool = False) -> None:
        super().__init__()
        width, hops = int(encoder.width), 4  # type: ignore[arg-type]
        self.encoder = encoder
        self.heads = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        self.key: nn.Sequential | None = None
        if key:
            pooling = AttentionPooling(width, 128, hops)
            self.key = nn.Sequential(pooling, nn.Linear(hops * width, compound_words.KEY_CLASSES))

    def forward(self, notes: Tensor, chosen: Tensor | None = None) -> tuple[Tensor, ...]:
        """Logits of the fields, and of the key.

        Parameters
        ----------
        notes : Tensor, shape (batch, n_fields, n)
            As the encoder takes them.
        chosen : Tensor, shape (batch, n_fields, m), int64, optional
            Notes of which each field is predicted; None for all fields of all notes, and no key.

        Returns
        -------
        tuple of Tensor
            Shapes (batch, m or n, size); then, where the key is predicted, (batch, 24).
        """
        states = self.encoder(notes)
        if chosen is None:
            return tuple(head(states) for head in self.heads)
        batch, length, width = states.shape
        rows = chosen + length * torch.arange(batch, device=notes.device)[:, None, None]
        flat = states.reshape(batch * length, width)
        logits = [
            head(flat.index_select(0, rows[:, k].flatten()).view(batch, -1, width))
            for k, head in enumerate(self.heads)
        ]
        return tuple(logits if self.key is None else [*logits, self.key(states)])


@dataclass(frozen=True)
class MaskedNotes:
    """Masked note events of the symbolic encoder; all fields of a chosen note are predicted.

    The loss is the mean of the fields' cross-entropies over the chosen notes. Zhu et al. 2023
    pre-train on MAESTRO, but do not say by which task; this one is our choice. `predicted` has the
    names of what is predicted, `first` is the smallest value of a note in any field.
    """

    predicted: ClassVar[tuple[str, ...]] = note_events.FIELDS
    first: ClassVar[int] = note_events.FIRST

    def model(self, encoder: nn.Module) -> MaskedModel:
        """The encoder with its output layers."""
        return MaskedModel(encoder, note_events.SIZES)

    def windows(
        self,
        pieces: Sequence[np.ndarray],
        options: PretrainingOptions,
        rng: np.random.Generator | None,
    ) -> Iterator[np.ndarray]:
        """Batches of windows, shape (batch, 5, n): START and at most `options.window` notes.

        A random window of each piece in random order; without a random generator, consecutive
        windows that cover all pieces. Shorter windows are padded.
        """
        size = options.window
        starts = self._starts(pieces, size, rng)
        while batch := list(islice(starts, options.batch_size)):
            length = max(min(piece.shape[1] - start, 1 + size) for piece, start in batch)
            windows = np.full((len(batch), len(self.predicted), length), note_events.PAD)
            for row, (piece, start) in zip(windows, batch, strict=True):
                events = note_events.select_events(piece, start, start + size)
                row[:, : events.shape[1]] = events
            yield windows

    def _starts(
        self, pieces: Sequence[np.ndarray], size: int, rng: np.random.Generator | None
    ) -> Iterator[tuple[np.ndarray, int]]:
        if rng is None:
            yield from ((p, k) for p in pieces for k in window_starts(p.shape[1] - 1, size))
            return
        for index in rng.permutation(len(pieces)):
            last = max(pieces[index].shape[1] - 1 - size, 0)
            yield pieces[index], int(rng.integers(last + 1))

    def mask(self, windows: np.ndarray, probability: float, rng: np.random.Generator) -> Batch:
        """Choose notes to predict and hide most of them.

        Each note is chosen with `probability`, and at least one of each window. Of the chosen
        notes 80 % become MASK in all fields, 10 % another note of the batch (not random values,
        whose combination would give them away), and 10 % stay as they are. START and PAD columns
        are never chosen.

        Returns
        -------
        inputs : Tensor, shape (batch, 5, n)
        targets : Tensor, shape (batch, 5, n)
            The events where they were chosen, `IGNORED` elsewhere.
        """
        real = windows[:, 0] >= self.first
        draws = np.where(real, rng.random(real.shape), np.inf)
        chosen = real & ((draws < probability) | (draws == draws.min(axis=1, keepdims=True)))
        fate = rng.random(real.shape)
        masked = chosen & (fate < _MASKED)
        replaced = chosen & (fate >= _MASKED) & (fate < _MASKED + _REPLACED)
        inputs = np.where(masked[:, None], note_events.MASK, windows)
        notes = windows.transpose(0, 2, 1)[real]
        inputs.transpose(0, 2, 1)[replaced] = rng.choice(notes, int(replaced.sum()))
        targets = np.where(chosen[:, None], windows, IGNORED)
        return torch.from_numpy(inputs), torch.from_numpy(targets)

    def pairs(self, logits: Sequence[Tensor], targets: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Logits, shape (n, size), and classes, shape (n,), of each of `predicted`."""
        return [(x.flatten(0, 1), targets[:, k].flatten()) for k, x in enumerate(logits)]

    def loss(self, logits: Sequence[Tensor], targets: Tensor) -> Tensor:
        """What is minimised, in nats."""
        return cross_entropies(self.pairs(logits, targets)).mean()

    def score(self, accuracies: Sequence[float]) -> float:
        """What epochs are compared by, from the accuracy of each of `predicted`."""
        return float(np.mean(accuracies))

    def n_examples(self, targets: Tensor) -> int:
        """Weight of a batch in the validation loss: number of chosen notes."""
        return int((targets[:, 0] != IGNORED).sum())


@dataclass(frozen=True)
class MaskedWords:
    """Masked compound words of MidiBERT, in windows without padding.

    The loss is the mean over the fields, weighted by the sizes of their vocabularies as in
    MidiBERT's published code, plus that of the key. Methods are as those of `MaskedNotes`.

    Attributes
    ----------
    masking : {"words", "attributes"}
        Whether all four fields of a chosen word are masked, or words are chosen for each field
        on its own.
    key_weight : float
        Of the loss of key prediction; 0 for none.
    """

    masking: Literal["words", "attributes"]
    key_weight: float = 0.0
    first: ClassVar[int] = compound_words.FIRST

    @property
    def predicted(self) -> tuple[str, ...]:
        """The fields and, where it is predicted, "key"."""
        return (*compound_words.FIELDS, "key") if self.key_weight else compound_words.FIELDS

    def model(self, encoder: nn.Module) -> MaskedModel:
        return MaskedModel(encoder, compound_words.SIZES, key=self.key_weight > 0)

    def windows(
        self,
        pieces: Sequence[np.ndarray],
        options: PretrainingOptions,
        rng: np.random.Generator | None,
    ) -> Iterator[np.ndarray]:
        """Batches of windows, shape (batch, 4, n); see `training_batches`, `prediction_batches`."""
        size, n = options.window, options.batch_size
        batches = (
            prediction_batches(pieces, window=size, batch_size=n)
            if rng is None
            else training_batches(pieces, np.zeros(len(pieces)), window=size, batch_size=n, rng=rng)
        )
        return (words.numpy() for words, _ in batches)

    def mask(self, windows: np.ndarray, probability: float, rng: np.random.Generator) -> Batch:
        """Choose words to predict and hide most of them.

        Of every window as many words are chosen as are nearest to `probability`, at least one.
        Of these 80 % are masked, 10 % get random values of the vocabulary and the others stay as
        they are, all to the nearest whole number of words.

        Returns
        -------
        inputs : tuple of Tensor, shapes (batch, 4, n) and (batch, 4, m)
            Words, and indices of the chosen ones in random order; the same in all fields if
            words are masked.
        targets : Tensor, shape (batch, 1 + 4 m), int64
            The key of each window, then the true values of bar, position, pitch and duration.
        """
        batch, n_fields, length = windows.shape
        m = max(1, round(probability * length))
        rows = 1 if self.masking == "words" else n_fields
        order = rng.random((batch, rows, length)).argsort(axis=2)[:, :, :m]
        chosen = np.broadcast_to(order, (batch, n_fields, m))
        n_masked = round(_MASKED * m)
        replaced = chosen[:, :, n_masked : n_masked + round(_REPLACED * m)]
        sizes = np.asarray(compound_words.SIZES)
        random = rng.integers(compound_words.FIRST, sizes[:, None], replaced.shape)
        inputs = windows.copy()
        np.put_along_axis(inputs, chosen[:, :, :n_masked], compound_words.MASK, axis=2)
        np.put_along_axis(inputs, replaced, random, axis=2)
        true = np.take_along_axis(windows, chosen, axis=2).reshape(batch, -1)
        keys = compound_words.key_classes(windows)
        targets = np.concatenate([keys[:, None], true], axis=1)
        arguments = (torch.from_numpy(inputs), torch.from_numpy(np.ascontiguousarray(chosen)))
        return arguments, torch.from_numpy(targets)

    def pairs(self, logits: Sequence[Tensor], targets: Tensor) -> list[tuple[Tensor, Tensor]]:
        fields = targets[:, 1:].chunk(len(compound_words.FIELDS), dim=1)
        true = [*fields, targets[:, 0]][: len(logits)]
        return [(x.flatten(0, -2), t.flatten()) for x, t in zip(logits, true, strict=True)]

    def loss(self, logits: Sequence[Tensor], targets: Tensor) -> Tensor:
        losses = cross_entropies(self.pairs(logits, targets))
        weights = [*_FIELD_WEIGHTS, self.key_weight][: len(losses)]
        return losses @ torch.tensor(weights, dtype=losses.dtype, device=losses.device)

    def score(self, accuracies: Sequence[float]) -> float:
        """Mean over the fields, weighted as the loss."""
        return float(_FIELD_WEIGHTS @ accuracies[: len(_FIELD_WEIGHTS)])

    def n_examples(self, targets: Tensor) -> int:
        """Weight of a batch in the validation loss: number of windows."""
        return len(targets)


Objective = MaskedNotes | MaskedWords
"""What an encoder learns before fine-tuning: windows, masks and the loss."""

OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "notes": MaskedNotes(),
        "midibert": MaskedWords("words"),
        "qm-midibert": MaskedWords("attributes", key_weight=0.01),
    }
)
"""By name.

MidiBERT masks compound words. QM-MidiBERT has "quad-attribute masking" and key prediction [1]_;
how the attributes are chosen, how keys are labelled and how the losses are weighted is not public,
so these are our choice: each of the four attributes is masked in words of its own choice, and is to
be found from its neighbours and from what is left of its own word; the loss of the keys has weight
.01 (with 1 a small encoder learned keys and little else). MT-MidiBERT [2]_ starts from MidiBERT's
encoder and has its other tasks in fine-tuning.

.. [1] Shen et al.: More than simply masking: exploring pre-training strategies for symbolic music
   understanding. ICMR 2023.
.. [2] Qiu, Chen, Zhang: A novel multi-task learning method for symbolic music emotion recognition.
   2022.
"""


@dataclass
class Pretraining(History):
    """What a pre-training went through; the validation accuracy is the mean of the fields.

    Attributes
    ----------
    accuracies : dict of str to float
        Accuracy in the best epoch of each field on the chosen notes of the validation pieces and,
        where it is predicted, of "key" on their windows.
    notes_per_second : float
        Speed of training, of the epochs that were not resumed from a checkpoint; NaN if all were.
    """

    accuracies: dict[str, float]
    notes_per_second: float


def pretrain(
    model: MaskedModel,
    objective: Objective,
    pieces: Sequence[np.ndarray],
    valid: Sequence[np.ndarray],
    options: PretrainingOptions,
    *,
    seed: int,
    device: torch.device,
    progress: bool = False,
    **more: Any,
) -> Pretraining:
    """Train a model by an objective and leave it with its best validation epoch.

    In an epoch as many windows are drawn from a piece as cover its length, anew every time. On
    the validation pieces they are consecutive and masked alike in every epoch.

    Parameters
    ----------
    model : MaskedModel
        That of the objective; trained in place.
    pieces, valid : sequence of np.ndarray, shape (n_fields, n), int64
        As `note_events` or `compound_words` give them, to train on and to validate with.
    seed, device, progress, **more
        As for `mer.training.supervised.train`.

    Raises
    ------
    InvalidDataError
        If all pieces of a part are shorter than `MIN_NOTES`, or the loss is not finite.
    """
    pieces = _long_enough(pieces, "train on", objective)
    valid = _long_enough(valid, "validate with", objective)
    rng = np.random.default_rng(seed)
    held_out = list(masked(objective, objective.windows(valid, options, None), options, rng))
    counts = [n_notes(piece, objective) / options.window for piece in pieces]
    repeated = [p for p, n in zip(pieces, counts, strict=True) for _ in range(max(1, round(n)))]
    meter = _Meter(objective, len(repeated), progress)

    def validate(network: nn.Module) -> Score:
        accuracies, loss = evaluate(network, held_out, objective, device)
        return Score(objective.score(list(accuracies.values())), loss)

    def batches(rng: np.random.Generator) -> Iterator[Batch]:
        windows = meter.measure(objective.windows(repeated, options, rng))
        return masked(objective, windows, options, rng)

    settings = {"seed": seed, "device": device, "progress": progress, **more}
    history = train(model, batches, validate, options, loss=objective.loss, **settings)
    with torch.inference_mode():
        accuracies, _ = evaluate(model, held_out, objective, device)
    return Pretraining(history.epochs, history.best_epoch, accuracies, meter.notes_per_second)


def masked(
    objective: Objective,
    windows: Iterable[np.ndarray],
    options: PretrainingOptions,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    """Masked batches of windows."""
    return (objective.mask(batch, options.mask_probability, rng) for batch in windows)


def n_notes(fields: np.ndarray, objective: Objective) -> int:
    """Number of notes in an array of shape (..., n_fields, n)."""
    return int((fields[..., 0, :] >= objective.first).sum())


def cross_entropies(pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Mean cross-entropy, in nats, of each pair of logits and classes that are not `IGNORED`."""
    return torch.stack([functional.cross_entropy(logits, true) for logits, true in pairs])


def _long_enough(
    pieces: Sequence[np.ndarray], purpose: str, objective: Objective
) -> list[np.ndarray]:
    long = [piece for piece in pieces if n_notes(piece, objective) >= MIN_NOTES]
    if not long:
        raise InvalidDataError(
            f"none of {len(pieces)} pieces to {purpose} has at least {MIN_NOTES} notes; "
            "expected longer pieces"
        )
    return long


def evaluate(
    model: nn.Module, batches: Sequence[Batch], objective: Objective, device: torch.device
) -> tuple[dict[str, float], float]:
    """Accuracy by what is predicted, and the loss, over all batches."""
    names = objective.predicted
    right, counts = np.zeros(len(names)), np.zeros(len(names))
    total, n_examples = 0.0, 0
    for inputs, targets in batches:
        logits, targets = forward(model, inputs, device), targets.to(device)
        pairs = objective.pairs(logits, targets)
        right += [int((x.argmax(dim=1) == true).sum()) for x, true in pairs]
        counts += [int((true != IGNORED).sum()) for _, true in pairs]
        n = objective.n_examples(targets)
        total += float(objective.loss(logits, targets)) * n
        n_examples += n
    return dict(zip(names, (right / counts).tolist(), strict=True)), total / n_examples


class _Meter:
    """Counts the notes of the windows that pass and the time that their use takes."""

    def __init__(self, objective: Objective, n_windows: int, progress: bool) -> None:
        self.objective = objective
        self.n_windows = n_windows
        self.form: dict[str, Any] = {"unit": "window", "leave": False, "disable": not progress}
        self.notes, self.seconds = 0, 0.0

    @property
    def notes_per_second(self) -> float:
        return self.notes / self.seconds if self.seconds else float("nan")

    def measure(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The windows of an epoch, unchanged."""
        from tqdm.auto import tqdm

        start = perf_counter()
        with tqdm(total=self.n_windows, **self.form) as bar:
            for windows in batches:
                yield windows
                self.notes += n_notes(windows, self.objective)
                bar.update(len(windows))
        self.seconds += perf_counter() - start
