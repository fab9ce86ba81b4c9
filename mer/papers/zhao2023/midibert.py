"""MidiBERT and its two successors, fine-tuned (rows of zhao2023 table II and zhu2023 table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mer.clips import Clip
from mer.errors import MissingDataError, ParameterError
from mer.features import compound_words, notes
from mer.features.compound_words import FIELDS, PAD
from mer.models import midibert
from mer.models.midibert import ENCODERS, MAX_LENGTH, MidiBert
from mer.systems.base import Picture, notes_feature
from mer.systems.network import WindowedNetwork
from mer.training.windows import Piece, stack_pieces
from mer.weights import is_registered, load_weights, weights_revision


@dataclass(frozen=True, kw_only=True)
class MidiBERT(WindowedNetwork):
    """MidiBERT-Piano [1]_ with a sequence classifier, all of it fine-tuned.

    With weights for key and velocity it is MT-MidiBERT [2]_: fine-tuning has two more tasks that
    need no annotation, key (24 classes, of the window) and dynamics (6 classes, of each note). How
    the paper weights the three losses is not public. QM-MidiBERT [3]_ differs in its pre-training.

    The published hyper-parameters are those of MidiBERT's code. Its decoupled weight decay of .01
    makes the weights smaller by two parts in ten million in a step and is left out; that code does
    not limit the norm of the gradient. It pads clips to 512 words and takes later words as clips of
    their own; here batches have no padding, and a prediction is the mean over a clip's windows.

    Attributes
    ----------
    pretraining : {"none", "midibert", "qm-midibert"}
        Objective that the encoder was pre-trained by, see `mer.training.masked.OBJECTIVES`;
        "none" starts from scratch.
    encoder_size : {"published", "small"}
        See `mer.models.midibert.ENCODERS`.
    key_weight, velocity_weight : float
        Of the losses of the two other tasks.
    window : int
        In words, at most 512.
    attention, hops, classifier : int
        See `mer.models.midibert.SequenceClassifier`.
    dropout : float
        Of the encoder.

    References
    ----------
    .. [1] Chou et al.: MidiBERT-Piano: large-scale pre-training for symbolic music understanding.
       2021.
    .. [2] Qiu, Chen, Zhang: A novel multi-task learning method for symbolic music emotion
       recognition. 2022.
    .. [3] Shen et al.: More than simply masking: exploring pre-training strategies for symbolic
       music understanding. ICMR 2023.
    """

    family: ClassVar[str] = "MidiBERT"
    silence_warning: ClassVar[str] = (
        "{silent} of {clips} clips have no notes, the first is {first!r}: they are answered "
        "without having seen a note"
    )
    inputs: ClassVar[str] = "MIDI"
    pretraining: Literal["none", "midibert", "qm-midibert"] = "midibert"
    encoder_size: Literal["published", "small"] = "published"
    key_weight: float = 0.0
    velocity_weight: float = 0.0
    window: int = MAX_LENGTH
    epochs: int = 10
    patience: int = 4
    batch_size: int = 12
    learning_rate: float = 2e-5
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
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
    def lacks(self) -> str:
        """The command that trains the encoder, where it is not there."""
        if self.weights is None or is_registered(self.weights):
            return ""
        return f"train the encoder with `mer train {self.weights}`"

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

    @property
    def _has_other_tasks(self) -> bool:
        return self.key_weight > 0 or self.velocity_weight > 0

    def item(self, clip: Clip) -> np.ndarray:
        """Compound words, shape (4, n_notes); one PAD word where the clip has no notes.

        For the other tasks a fifth row has classes of velocity.
        """
        revision = compound_words.REVISION
        words = notes_feature("compound-words", revision, compound_words.compound_words, clip)
        words = words if words.size else np.full((len(FIELDS), 1), PAD, dtype=np.int64)
        if not self._has_other_tasks:
            return words
        classes = compound_words.velocity_classes
        velocities = notes_feature("velocity-classes", revision, classes, clip)
        row = velocities if velocities.size else np.zeros(1, dtype=np.int64)
        return np.concatenate([words, row[None]])

    def transposed(self, item: np.ndarray, semitones: int) -> np.ndarray:
        """Words of other pitches."""
        return compound_words.transposed_words(item, semitones)

    def is_silent(self, item: np.ndarray) -> bool:
        """Whether the clip has no notes."""
        return bool(item[0, 0] == PAD)

    def pictures(self, item: np.ndarray) -> dict[str, Picture]:
        """Each field of the words."""
        return {field: Picture(item[k]) for k, field in enumerate(FIELDS)}

    def batch(self, pieces: Sequence[Piece]) -> Any:
        """Windows of the words; for the other tasks also velocities and keys of the windows."""
        rows = stack_pieces(pieces)
        if not self._has_other_tasks:
            return rows
        words = rows[:, : len(FIELDS)].contiguous()
        keys = torch.from_numpy(compound_words.key_classes(words.numpy()))
        return words, rows[:, len(FIELDS)], keys

    def network(self, n_classes: int, item: np.ndarray) -> nn.Module:
        """A network with fresh parameters."""
        kinds = (midibert.SequenceClassifier, midibert.MultiTaskClassifier)
        encoder = MidiBert(**ENCODERS[self.encoder_size], dropout=self.dropout)
        sizes = {"attention": self.attention, "hops": self.hops, "classifier": self.classifier}
        return kinds[self._has_other_tasks](encoder, n_classes, **sizes)

    def prepare(self, network: Any, items: Sequence[np.ndarray]) -> None:
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

    def loss(self, output: Any, targets: Tensor) -> Tensor:
        """Cross-entropy; with other tasks the weighted sum of the three."""
        if not self._has_other_tasks:
            return super().loss(output, targets)
        label = nn.functional.cross_entropy(output["label"], targets)
        return label + self.key_weight * output["key"] + self.velocity_weight * output["velocity"]

    def answer(self, output: Any) -> Tensor:
        """Class probabilities, shape (batch, n_classes)."""
        return super().answer(output["label"] if self._has_other_tasks else output)
