"""MidiBERT and its two successors, fine-tuned (rows of zhao2023 table II and zhu2023 table 2)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mer.clips import Clip
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.features import compound_words, notes
from mer.features.cache import cached, source_of
from mer.features.compound_words import FIELDS, PAD
from mer.models import midibert
from mer.models.midibert import ENCODERS, MAX_LENGTH, MidiBert
from mer.systems.windowed import WindowedNetwork
from mer.training.windows import Piece, stack_pieces
from mer.weights import is_registered, load_weights, weights_revision

Pretraining = Literal["none", "midibert", "qm-midibert"]


@dataclass(frozen=True, kw_only=True)
class MidiBERT(WindowedNetwork):
    """MidiBERT-Piano with a sequence classifier, all of it fine-tuned.

    The published hyper-parameters are those of its code. Its decoupled weight decay of .01 makes
    the weights smaller by two parts in ten million in a step and is left out; that code does not
    limit the norm of the gradient. It pads clips to 512 words and takes later words as clips of
    their own; here batches have no padding, and the answer to a clip is the mean over its windows.

    Attributes
    ----------
    window : int
        In words, at most 512.
    encoder_size : {"published", "small"}
        See `mer.models.midibert.ENCODERS`.
    pretraining : {"none", "midibert", "qm-midibert"}
        Objective that the encoder was pre-trained by, see
        `mer.training.masked_compound.OBJECTIVES`; "none" starts from scratch.
    attention, hops, classifier : int
        See `mer.models.midibert.SequenceClassifier`.
    dropout : float
        Of the encoder.

    References
    ----------
    Chou et al.: MidiBERT-Piano: large-scale pre-training for symbolic music understanding. 2021.
    """

    name: ClassVar[str] = "MidiBERT"
    inputs: ClassVar[str] = "MIDI"
    window: int = MAX_LENGTH
    epochs: int = 10
    patience: int = 4
    batch_size: int = 12
    learning_rate: float = 2e-5
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    encoder_size: Literal["published", "small"] = "published"
    pretraining: Pretraining = "midibert"
    attention: int = 128
    hops: int = 4
    classifier: int = 256
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.window <= MAX_LENGTH:
            raise ParameterError(f"window is {self.window}; expected 1-{MAX_LENGTH} words")

    @property
    def weights(self) -> str | None:
        """Name of the pre-trained encoder; None for none."""
        return None if self.pretraining == "none" else f"{self.pretraining}-{self.encoder_size}"

    @property
    def revisions(self) -> dict[str, int]:
        """Notes, words, model and, where there is one, its pre-trained encoder (0: not trained)."""
        known = {
            "notes": notes.REVISION,
            "compound_words": compound_words.REVISION,
            "midibert": midibert.REVISION,
        }
        if self.weights is None:
            return known
        trained = weights_revision(self.weights) if is_registered(self.weights) else 0
        return {**known, "encoder_weights": trained}

    def features(self, clip: Clip) -> np.ndarray:
        """Compound words, shape (4, n_notes); one PAD word where the clip has no notes."""
        midi = source_of(clip, "midi")
        words = cached(
            "compound-words",
            compound_words.REVISION,
            {"notes": notes.REVISION},
            midi,
            lambda: compound_words.compound_words(notes.read_notes(midi)),
        )
        return words if words.size else np.full((len(FIELDS), 1), PAD, dtype=np.int64)

    def items(self, clips: Sequence[Clip], *, training: bool) -> list[np.ndarray]:
        """Features of some clips; warns of clips without notes.

        Raises
        ------
        InvalidDataError
            If a clip to train on has no notes.
        """
        items = [self.features(clip) for clip in clips]
        empty = [c.id for c, item in zip(clips, items, strict=True) if item[0, 0] == PAD]
        if empty and training:
            raise InvalidDataError(
                f"clip {empty[0]!r} has no notes; training needs some: leave it out"
            )
        if empty:
            warnings.warn(
                f"{len(empty)} of {len(clips)} clips have no notes, the first is {empty[0]!r}: "
                "they are answered without having seen a note",
                stacklevel=2,
            )
        return items

    def network(self, n_classes: int) -> nn.Module:
        """A network with fresh parameters."""
        return midibert.SequenceClassifier(self.encoder(), n_classes, **self.head)

    def encoder(self) -> MidiBert:
        """With fresh parameters."""
        return MidiBert(**ENCODERS[self.encoder_size], dropout=self.dropout)

    @property
    def head(self) -> dict[str, int]:
        """Sizes of pooling and classifier."""
        return {"attention": self.attention, "hops": self.hops, "classifier": self.classifier}

    def prepare(self, network: Any, items: Sequence[Any]) -> None:
        """Load the pre-trained encoder.

        Raises
        ------
        MissingDataError
            If it has not been pre-trained, or its file is missing.
        """
        if self.weights is None:
            return
        if not is_registered(self.weights):
            raise MissingDataError(
                f"the pre-trained encoder {self.weights!r} is not there; train it: "
                f"mer train {self.weights}, or start from scratch: pretraining 'none'"
            )
        network.encoder.load_state_dict(load_weights(self.weights)[0])


@dataclass(frozen=True, kw_only=True)
class NoPretraining(MidiBERT):
    """Ours: MidiBERT from scratch."""

    name: ClassVar[str] = "MidiBERT, no pre-training"
    pretraining: Pretraining = "none"


@dataclass(frozen=True, kw_only=True)
class QMMidiBERT(MidiBERT):
    """QM-MidiBERT: its encoder was pre-trained by masked attributes and key prediction.

    References
    ----------
    Shen et al.: More than simply masking: exploring pre-training strategies for symbolic music
    understanding. ICMR 2023. Fine-tuned as MidiBERT.
    """

    name: ClassVar[str] = "QM-MidiBERT"
    pretraining: Pretraining = "qm-midibert"


@dataclass(frozen=True, kw_only=True)
class MTMidiBERT(MidiBERT):
    """MT-MidiBERT: MidiBERT's encoder, fine-tuned with two more tasks that need no annotation.

    Key (24 classes, of the window) and dynamics (6 classes, of each note) are read off the music.
    How the three losses are weighted is not public; here they are added.

    Attributes
    ----------
    key_weight, velocity_weight : float
        Of the losses of the two other tasks.

    References
    ----------
    Qiu, Chen, Zhang: A novel multi-task learning method for symbolic music emotion recognition.
    2022.
    """

    name: ClassVar[str] = "MT-MidiBERT"
    key_weight: float = 1.0
    velocity_weight: float = 1.0

    def features(self, clip: Clip) -> np.ndarray:
        """Compound words and, in a fifth row, classes of velocity, shape (5, n_notes)."""
        words = super().features(clip)
        midi = source_of(clip, "midi")
        velocities = cached(
            "velocity-classes",
            compound_words.REVISION,
            {"notes": notes.REVISION},
            midi,
            lambda: compound_words.velocity_classes(notes.read_notes(midi)),
        )
        row = velocities if velocities.size else np.zeros(1, dtype=np.int64)
        return np.concatenate([words, row[None]])

    def batch(self, pieces: Sequence[Piece]) -> tuple[Tensor, Tensor, Tensor]:
        """Windows of the words, of the classes of velocity, and the keys of the windows."""
        rows = stack_pieces(pieces)
        words = rows[:, : len(FIELDS)].contiguous()
        keys = torch.from_numpy(compound_words.key_classes(words.numpy()))
        return words, rows[:, len(FIELDS)], keys

    def network(self, n_classes: int) -> nn.Module:
        """A network with fresh parameters."""
        return midibert.MultiTaskClassifier(self.encoder(), n_classes, **self.head)

    def loss(self, output: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Weighted sum of the three cross-entropies."""
        label = nn.functional.cross_entropy(output["label"], targets)
        return label + self.key_weight * output["key"] + self.velocity_weight * output["velocity"]

    def answer(self, output: dict[str, Tensor]) -> Tensor:
        """Class probabilities, shape (batch, n_classes)."""
        return torch.softmax(output["label"], dim=1)
