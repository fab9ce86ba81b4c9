"""Pre-training of MidiBERT: masked compound words, masked attributes and key prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mer.features.compound_words import FIELDS, FIRST, KEY_CLASSES, MASK, SIZES, key_classes
from mer.models.midibert import AttentionPooling, MidiBert
from mer.training.pretraining import Meter, Pretraining, PretrainingOptions, learn, long_enough
from mer.training.supervised import Batch, forward
from mer.training.windows import prediction_batches, training_batches

_HIDDEN, _REPLACED = 0.8, 0.1
_WEIGHTS = np.asarray(SIZES) / sum(SIZES)


@dataclass(frozen=True)
class Objective:
    """What an encoder learns before fine-tuning.

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

    @property
    def predicted(self) -> tuple[str, ...]:
        """The fields and, where it is predicted, "key"."""
        return (*FIELDS, "key") if self.key_weight else FIELDS


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "midibert": Objective("words"),
        "qm-midibert": Objective("attributes", key_weight=0.01),
    }
)
"""By encoder.

MidiBERT masks compound words [1]_. QM-MidiBERT has "quad-attribute masking" and key prediction
[2]_; how the attributes are chosen, how keys are labelled and how the losses are weighted is not
public, so these are our choice: each of the four attributes is masked in words of its own choice,
and is to be found from its neighbours and from what is left of its own word; keys are those of
`mer.features.compound_words.key_classes`; their loss has weight .01 (with 1 a small encoder learned
keys and little else). MT-MidiBERT [3]_ starts from MidiBERT's encoder and has its other tasks in
fine-tuning.

.. [1] Chou et al.: MidiBERT-Piano: large-scale pre-training for symbolic music understanding. 2021.
.. [2] Shen et al.: More than simply masking: exploring pre-training strategies for symbolic music
   understanding. ICMR 2023.
.. [3] Qiu, Chen, Zhang: A novel multi-task learning method for symbolic music emotion recognition.
   2022.
"""


@dataclass(frozen=True, kw_only=True)
class CompoundOptions(PretrainingOptions):
    """How MidiBERT is pre-trained; the defaults are those of its published code.

    Its decoupled weight decay of .01 makes the weights smaller by two parts in ten million in a
    step and is left out.

    Attributes
    ----------
    window : int
        Words of a window, at most 512.
    epochs, patience, batch_size, learning_rate, weight_decay, schedule, clip_norm
        As in `mer.training.supervised.TrainingOptions`.
    mask_probability : float
        Share of the words that are chosen, in (0, 1].
    """

    epochs: int = 500
    patience: int = 30
    batch_size: int = 12
    learning_rate: float = 2e-5
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    clip_norm: float = 3.0
    window: int = 512


class MaskedCompoundModel(nn.Module):
    """The encoder, a linear layer for each field and, where it is predicted, one for the key.

    Parameters
    ----------
    encoder : MidiBert
    objective : Objective
    """

    def __init__(self, encoder: MidiBert, objective: Objective) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.ModuleList(nn.Linear(encoder.width, size) for size in SIZES)
        self.key = _key_head(encoder.width) if objective.key_weight else None

    def forward(self, words: Tensor, chosen: Tensor) -> tuple[Tensor, ...]:
        """Logits of the fields at the chosen words, and of the key.

        Parameters
        ----------
        words : Tensor, shape (batch, 4, n)
        chosen : Tensor, shape (batch, 4, m), int64
            Words of which each field is to be predicted.

        Returns
        -------
        tuple of Tensor
            Shapes (batch, m, size); then, where there is a key head, (batch, 24).
        """
        states = self.encoder(words)
        batch, length, width = states.shape
        rows = chosen + length * torch.arange(batch, device=words.device)[:, None, None]
        flat = states.reshape(batch * length, width)
        logits = [
            head(flat.index_select(0, rows[:, k].flatten()).view(batch, -1, width))
            for k, head in enumerate(self.heads)
        ]
        return tuple(logits if self.key is None else [*logits, self.key(states)])


def _key_head(width: int) -> nn.Sequential:
    hops = 4
    return nn.Sequential(AttentionPooling(width, 128, hops), nn.Linear(hops * width, KEY_CLASSES))


def mask_words(
    words: np.ndarray, probability: float, objective: Objective, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Choose words to predict and hide most of them.

    Of every window as many words are chosen as are nearest to `probability`, at least one. Of
    these 80 % are masked, 10 % get random values of the vocabulary and the others stay as they
    are, all to the nearest whole number of words.

    Parameters
    ----------
    words : np.ndarray, shape (batch, 4, n)
    probability : float
    objective : Objective
    rng : np.random.Generator

    Returns
    -------
    inputs : np.ndarray, shape (batch, 4, n)
    chosen : np.ndarray, shape (batch, 4, m)
        Indices, in random order; the same in all fields if words are masked.

    References
    ----------
    Devlin et al.: BERT. NAACL 2019, section 3.1.
    """
    batch, n_fields, length = words.shape
    m = max(1, round(probability * length))
    rows = 1 if objective.masking == "words" else n_fields
    order = rng.random((batch, rows, length)).argsort(axis=2)[:, :, :m]
    chosen = np.broadcast_to(order, (batch, n_fields, m))
    hidden = round(_HIDDEN * m)
    replaced = chosen[:, :, hidden : hidden + round(_REPLACED * m)]
    random = rng.integers(FIRST, np.asarray(SIZES)[:, None], replaced.shape)
    inputs = words.copy()
    np.put_along_axis(inputs, chosen[:, :, :hidden], MASK, axis=2)
    np.put_along_axis(inputs, replaced, random, axis=2)
    return inputs, chosen


def masked_batch(
    words: np.ndarray, options: CompoundOptions, objective: Objective, rng: np.random.Generator
) -> Batch:
    """Windows of one length, masked.

    Parameters
    ----------
    words : np.ndarray, shape (batch, 4, n)
    options : CompoundOptions
    objective : Objective
    rng : np.random.Generator

    Returns
    -------
    inputs : tuple of Tensor
        As `MaskedCompoundModel` takes them.
    targets : Tensor, shape (batch, 1 + 4 m), int64
        The key of each window, then the true values of bar, position, pitch and duration.
    """
    inputs, chosen = mask_words(words, options.mask_probability, objective, rng)
    true = np.take_along_axis(words, chosen, axis=2).reshape(len(words), -1)
    targets = np.concatenate([key_classes(words)[:, None], true], axis=1)
    arguments = (torch.from_numpy(inputs), torch.from_numpy(np.ascontiguousarray(chosen)))
    return arguments, torch.from_numpy(targets)


def masked_losses(logits: Sequence[Tensor], targets: Tensor) -> Tensor:
    """Cross-entropies over the chosen words of bar, position, pitch and duration, then of the key.

    Parameters
    ----------
    logits : sequence of Tensor
        As `MaskedCompoundModel` gives them.
    targets : Tensor
        As `masked_batch` gives them.

    Returns
    -------
    Tensor, shape (4,) or (5,)
        In nats.
    """
    fields = targets[:, 1:].chunk(len(FIELDS), dim=1)
    pairs = zip(logits[: len(FIELDS)], fields, strict=True)
    losses = [functional.cross_entropy(x.flatten(0, 1), true.flatten()) for x, true in pairs]
    losses += [functional.cross_entropy(x, targets[:, 0]) for x in logits[len(FIELDS) :]]
    return torch.stack(losses)


def objective_loss(losses: Tensor, objective: Objective) -> Tensor:
    """Mean over the fields, weighted by the sizes of their vocabularies, plus the key's loss.

    Parameters
    ----------
    losses : Tensor
        As `masked_losses` gives them.
    objective : Objective

    References
    ----------
    The weights of the fields are those of MidiBERT's published code.
    """
    weights = [*_WEIGHTS, objective.key_weight][: len(losses)]
    return losses @ torch.tensor(weights, dtype=losses.dtype, device=losses.device)


def pretrain_compound(
    model: MaskedCompoundModel,
    pieces: Sequence[np.ndarray],
    valid: Sequence[np.ndarray],
    objective: Objective,
    options: CompoundOptions,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    progress: bool = False,
) -> Pretraining:
    """Train a model by an objective and leave it with its best validation epoch.

    In an epoch as many windows are drawn from a piece as cover its length, anew every time. On
    the validation pieces they are consecutive and masked alike in every epoch. Nothing is padded.

    Parameters
    ----------
    model : MaskedCompoundModel
        Trained in place.
    pieces, valid : sequence of np.ndarray, shape (4, n)
        As `compound_words` gives them, to train on and to validate with.
    objective : Objective
    options : CompoundOptions
    seed : int
    device : torch.device
    checkpoint, progress
        As for `mer.training.supervised.train`.

    Returns
    -------
    Pretraining
        Its accuracies are those of the fields and, where it is predicted, of "key"; the score
        of an epoch is their mean over the fields, weighted as the loss.

    Raises
    ------
    InvalidDataError
        If all pieces of a part are shorter than `MIN_NOTES`, or the loss is not finite.
    """
    pieces, valid = long_enough(pieces, "train on"), long_enough(valid, "validate with")
    held_out = _validation_batches(valid, options, objective, seed)
    repeated = [p for p in pieces for _ in range(max(1, round(p.shape[1] / options.window)))]
    return learn(
        model,
        lambda rng: _training_batches(repeated, options, objective, rng),
        lambda network: evaluate(network, held_out, objective, device),
        lambda accuracies: float(_WEIGHTS @ list(accuracies.values())[: len(FIELDS)]),
        options,
        loss=lambda logits, targets: objective_loss(masked_losses(logits, targets), objective),
        meter=Meter(len(repeated), lambda inputs: inputs[0][:, 0].numel(), progress),
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
    )


def _training_batches(
    pieces: Sequence[np.ndarray],
    options: CompoundOptions,
    objective: Objective,
    rng: np.random.Generator,
) -> Iterator[Batch]:
    windows = training_batches(
        pieces,
        np.zeros(len(pieces)),
        window=options.window,
        batch_size=options.batch_size,
        rng=rng,
    )
    for words, _ in windows:
        yield masked_batch(words.numpy(), options, objective, rng)


def _validation_batches(
    pieces: Sequence[np.ndarray], options: CompoundOptions, objective: Objective, seed: int
) -> list[Batch]:
    rng = np.random.default_rng(seed)
    windows = prediction_batches(pieces, window=options.window, batch_size=options.batch_size)
    return [masked_batch(words.numpy(), options, objective, rng) for words, _ in windows]


def evaluate(
    model: nn.Module, batches: Sequence[Batch], objective: Objective, device: torch.device
) -> tuple[dict[str, float], float]:
    """Accuracy of each field over the chosen words and of the key over windows, and the loss."""
    names = objective.predicted
    right, counts = np.zeros(len(names)), np.zeros(len(names))
    total, n_windows = 0.0, 0
    for inputs, targets in batches:
        logits, targets = forward(model, inputs, device), targets.to(device)
        true = [*targets[:, 1:].chunk(len(FIELDS), dim=1), targets[:, 0]][: len(names)]
        hits = [x.argmax(dim=-1) == t for x, t in zip(logits, true, strict=True)]
        right += [int(hit.sum()) for hit in hits]
        counts += [hit.numel() for hit in hits]
        total += float(objective_loss(masked_losses(logits, targets), objective)) * len(targets)
        n_windows += len(targets)
    return dict(zip(names, (right / counts).tolist(), strict=True)), total / n_windows
