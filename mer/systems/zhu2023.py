"""Symbolic & Acoustic (Zhu et al. 2023): the proposed model, its ablations, and rows of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mer.clips import Clip
from mer.errors import ParameterError
from mer.models import multi_domain
from mer.systems.domains import (
    AcousticDomain,
    DomainItem,
    Pretraining,
    SymbolicDomain,
    events_batch,
    feature_batch,
)
from mer.systems.windowed import FittedNetwork
from mer.training.windows import Piece, window_length


@dataclass(frozen=True, kw_only=True)
class AcousticOnly(AcousticDomain):
    """The acoustic branch with a classifier of its own (table 4)."""

    name: ClassVar[str] = "Acoustic-only"

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Of the arousal head."""
        return {"A": self.arousal_weight}

    @property
    def revisions(self) -> dict[str, int]:
        """Features and model."""
        return {**self.acoustic_revisions, "multi_domain": multi_domain.REVISION}

    def features(self, clip: Clip) -> DomainItem:
        """Acoustic feature of a clip."""
        feature = self.acoustic_feature(clip)
        return DomainItem(feature.shape[1], feature=feature)

    def batch(self, pieces: Sequence[Piece]) -> Tensor:
        """Windows of the feature."""
        return feature_batch(pieces)

    def network(self, n_classes: int) -> multi_domain.AcousticOnly:
        """A network with fresh parameters."""
        return multi_domain.AcousticOnly(
            self.acoustic_encoder(),
            n_classes,
            dropout=self.dropout,
            arousal="A" in self.head_names(n_classes),
        )

    def prepare(self, network: Any, items: Sequence[DomainItem]) -> None:
        """Standardise by the training items."""
        network.acoustic.standardise.fit(item.feature for item in items)


@dataclass(frozen=True, kw_only=True)
class SymbolicOnly(SymbolicDomain):
    """The symbolic branch with a classifier of its own (table 4)."""

    name: ClassVar[str] = "Symbolic-only"

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Of the valence head."""
        return {"V": self.valence_weight}

    @property
    def revisions(self) -> dict[str, int]:
        """Features and model."""
        return {**self.symbolic_revisions, "multi_domain": multi_domain.REVISION}

    def features(self, clip: Clip) -> DomainItem:
        """Events of a clip."""
        return self.symbolic_item(clip)

    def batch(self, pieces: Sequence[Piece]) -> Tensor:
        """Windows of the events."""
        return events_batch(pieces)

    def network(self, n_classes: int) -> multi_domain.SymbolicOnly:
        """A network with fresh parameters."""
        return multi_domain.SymbolicOnly(
            self.symbolic_encoder(),
            n_classes,
            dropout=self.dropout,
            valence="V" in self.head_names(n_classes),
        )

    def prepare(self, network: Any, items: Sequence[DomainItem]) -> None:
        """Load the pre-trained encoder."""
        self.load_pretrained(network.symbolic)


@dataclass(frozen=True, kw_only=True)
class SymbolicAcoustic(AcousticDomain, SymbolicDomain):
    """The proposed model."""

    name: ClassVar[str] = "Symbolic & Acoustic"

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Of both heads."""
        return {"A": self.arousal_weight, "V": self.valence_weight}

    @property
    def revisions(self) -> dict[str, int]:
        """Features and model."""
        return {
            **self.acoustic_revisions,
            **self.symbolic_revisions,
            "multi_domain": multi_domain.REVISION,
        }

    def features(self, clip: Clip) -> DomainItem:
        """Acoustic feature and events of a clip."""
        feature = self.acoustic_feature(clip)
        return replace(self.symbolic_item(clip), length=feature.shape[1], feature=feature)

    def batch(self, pieces: Sequence[Piece]) -> tuple[Tensor, Tensor]:
        """Windows of the feature, and of the events in the same time."""
        return feature_batch(pieces), events_batch(pieces)

    def network(self, n_classes: int) -> multi_domain.MultiDomain:
        """A network with fresh parameters."""
        names = self.head_names(n_classes)
        return multi_domain.MultiDomain(
            self.acoustic_encoder(),
            self.symbolic_encoder(),
            n_classes,
            heads=self.heads,
            dropout=self.dropout,
            arousal="A" in names,
            valence="V" in names,
        )

    def prepare(self, network: Any, items: Sequence[DomainItem]) -> None:
        """Standardise by the training items and load the pre-trained encoder."""
        network.acoustic.standardise.fit(item.feature for item in items)
        self.load_pretrained(network.symbolic)


@dataclass(frozen=True, kw_only=True)
class STFTInput(SymbolicAcoustic):
    """An STFT spectrogram in dB instead of the mixed feature (table 4)."""

    name: ClassVar[str] = "STFT-input"
    spectrum: ClassVar[Literal["mixed", "stft"]] = "stft"


@dataclass(frozen=True, kw_only=True)
class SingleLoss(SymbolicAcoustic):
    """Trained with the label's loss alone, without heads (table 4)."""

    name: ClassVar[str] = "Single-loss"
    arousal_weight: float = 0.0
    valence_weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ReleasedMIDI(SymbolicAcoustic):
    """Ours: the released MIDI instead of a transcription, an upper bound."""

    name: ClassVar[str] = "Symbolic & Acoustic, released MIDI"
    inputs: ClassVar[str] = "audio + MIDI"
    released: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class NoPretraining(SymbolicAcoustic):
    """Ours: the symbolic encoder starts from scratch."""

    name: ClassVar[str] = "Symbolic & Acoustic, no pre-training"
    pretraining: Pretraining = "none"


@dataclass(frozen=True, kw_only=True)
class TwoCorporaPretraining(SymbolicAcoustic):
    """Ours: the symbolic encoder is pre-trained on more, and on pop piano."""

    name: ClassVar[str] = "Symbolic & Acoustic, MAESTRO + Pop1K7"
    pretraining: Pretraining = "maestro-pop1k7"


@dataclass(frozen=True)
class AttentionMap:
    """What the two attentions of a fitted system look at in one window of a clip.

    Attributes
    ----------
    steps : np.ndarray, shape (m,)
        Start of each state of the acoustic branch, in seconds from the start of the clip.
    notes : np.ndarray, shape (n, 4)
        Notes that begin in the window.
    acoustic : np.ndarray, shape (heads, m, 1 + n)
        Weights of the sound's attention to the start token and the notes; rows add up to 1.
    symbolic : np.ndarray, shape (heads, 1 + n, m)
        Weights of the attention of the start token and the notes to the sound.
    """

    steps: np.ndarray
    notes: np.ndarray
    acoustic: np.ndarray
    symbolic: np.ndarray


def attention_map(fitted: FittedNetwork, clip: Clip, start_seconds: float = 0.0) -> AttentionMap:
    """Attention of a fitted `SymbolicAcoustic` in a window of a clip.

    Parameters
    ----------
    fitted : FittedNetwork
    clip : Clip
    start_seconds : float
        Start of the window; a window that would reach beyond the end is moved back.

    Raises
    ------
    ParameterError
        If the system has no cross-domain attention.
    """
    system, network = fitted.system, fitted.network
    if not (isinstance(system, SymbolicAcoustic) and isinstance(network, multi_domain.MultiDomain)):
        raise ParameterError(f"{system.name!r} has no cross-domain attention to show")
    item = system.features(clip)
    length = window_length(item.length, system.window)
    start = min(round(start_seconds / system.step_seconds), item.length - length)
    feature, events = system.batch([(item, start, start + length)])
    first, last = np.searchsorted(item.onsets, (start, start + length))
    with torch.inference_mode():
        arguments = (feature.to(fitted.device), events.to(fitted.device))
        acoustic, symbolic = network.attention_weights(*arguments)
    columns = 1 + last - first
    states = start + multi_domain.TIME_FACTOR * np.arange(acoustic.shape[2])
    return AttentionMap(
        states * system.step_seconds,
        item.notes[first:last],
        acoustic[0, :, :, :columns].float().cpu().numpy(),
        symbolic[0, :, :columns].float().cpu().numpy(),
    )
