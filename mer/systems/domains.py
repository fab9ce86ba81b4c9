"""The acoustic and the symbolic branch of Zhu et al. 2023: clips, windows, losses, training."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mer.audio import waveform
from mer.clips import Clip, Labels
from mer.errors import ParameterError
from mer.features import note_events, notes, spectral
from mer.features.cache import cached, source_of
from mer.models import multi_domain, symbolic_encoder
from mer.rendering import REVISION as RENDERING_REVISION
from mer.systems.windowed import WindowedNetwork
from mer.tasks import TASKS
from mer.training.windows import Piece, stack_pieces
from mer.transcription import transcribed_notes
from mer.transcription.onsets_frames import revision as transcriber_revision
from mer.weights import load_weights, weights_revision

Pretraining = Literal["none", "maestro", "maestro-pop1k7"]

# Kernels are compiled anew for every length: a multiple of this keeps the lengths few.
_EVENTS_STEP = 32
_N_MFCC = 20
_PRETRAINED = {"width": 128, "layers": 4, "heads": 4}
_QUADRANTS = [Labels(quadrant=quadrant) for quadrant in (1, 2, 3, 4)]
_IS_HIGH = {name: [TASKS[name].class_of(labels) for labels in _QUADRANTS] for name in "AV"}


def _nothing() -> np.ndarray:
    return np.empty(0)


@dataclass(frozen=True)
class DomainItem:
    """A clip in the domains that a system uses; empty arrays in the one that it does not.

    Attributes
    ----------
    length : int
        In steps of the acoustic feature.
    feature : np.ndarray, shape (n_bins, length), float16
    events : np.ndarray, shape (5, 1 + n_notes), int64
    notes : np.ndarray, shape (n_notes, 4)
        The notes behind the events, in their order.
    onsets : np.ndarray, shape (n_notes,)
        Of the notes, in steps of the acoustic feature.
    """

    length: int
    feature: np.ndarray = field(default_factory=_nothing)
    events: np.ndarray = field(default_factory=_nothing)
    notes: np.ndarray = field(default_factory=_nothing)
    onsets: np.ndarray = field(default_factory=_nothing)


@dataclass(frozen=True, kw_only=True)
class DomainNetwork(WindowedNetwork):
    """What all systems of the paper share: time axis, classifier, losses and training.

    Batch size, learning rate and Adam are the published ones; weight decay is not mentioned.

    Attributes
    ----------
    window_seconds : float
        Of the windows: frames, and notes that begin in it.
    sample_rate : int
        In Hz.
    hop_length : int
        Of the frames, in samples.
    pool : int
        Frames that are averaged to one step of the acoustic feature.
    width : int
        Of the states of both branches.
    dropout : float
        In the classifier and the symbolic encoder.
    """

    inputs: ClassVar[str] = "audio"
    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    window_seconds: float = 30.0
    sample_rate: int = 22050
    hop_length: int = 512
    pool: int = 2
    width: int = 128
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("window_seconds", "sample_rate", "hop_length", "pool", "width"):
            if getattr(self, name) <= 0:
                raise ParameterError(f"{name} is {getattr(self, name)}; expected more than 0")

    @property
    def step_seconds(self) -> float:
        """Of one step of the acoustic feature."""
        return self.pool * self.hop_length / self.sample_rate

    @property
    def window(self) -> int:
        """Longest window in steps, a multiple of what the acoustic encoder makes one state of."""
        states = self.window_seconds / self.step_seconds / multi_domain.TIME_FACTOR
        return multi_domain.TIME_FACTOR * max(round(states), 1)

    @property
    @abstractmethod
    def loss_weights(self) -> Mapping[str, float]:
        """Weights of the heads' losses, "A" and "V"; a head of weight 0 is left out."""

    def length(self, item: DomainItem) -> int:
        """Steps of an item."""
        return item.length

    def head_names(self, n_classes: int) -> tuple[str, ...]:
        """Heads, which only the four quadrants can train."""
        return tuple(n for n, weight in self.loss_weights.items() if weight and n_classes == 4)

    def loss(self, output: multi_domain.Logits, targets: Tensor) -> Tensor:
        """Cross-entropy of the label and binary cross-entropies of the heads, weighted."""
        value = nn.functional.cross_entropy(output["label"], targets)
        for name, weight in self.loss_weights.items():
            if name in output:
                high = torch.tensor(_IS_HIGH[name], device=targets.device)[targets].float()
                head = nn.functional.binary_cross_entropy_with_logits(output[name], high)
                value = value + weight * head
        return value

    def answer(self, output: multi_domain.Logits) -> Tensor:
        """Class probabilities, then the probability of high arousal and of high valence."""
        heads = [torch.sigmoid(output[n]).unsqueeze(1) for n in self.loss_weights if n in output]
        return torch.cat([torch.softmax(output["label"], dim=1), *heads], dim=1)


@dataclass(frozen=True, kw_only=True)
class AcousticDomain(DomainNetwork):
    """The acoustic branch.

    Attributes
    ----------
    n_fft : int
        Frame length in samples.
    n_mels : int
        Mel bands of the mixed feature.
    arousal_weight : float
        Of the arousal head's loss; 0 for no head.
    """

    spectrum: ClassVar[Literal["mixed", "stft"]] = "mixed"
    n_fft: int = 1024
    n_mels: int = 128
    arousal_weight: float = 1.0

    @property
    def acoustic_revisions(self) -> dict[str, int]:
        """Rendering and spectrum."""
        return {"rendering": RENDERING_REVISION, "spectral": spectral.REVISION}

    def acoustic_feature(self, clip: Clip) -> np.ndarray:
        """Mixed feature or spectrum in dB, shape (n_bins, steps), float16.

        Audio that is too short for the encoder is continued with silence.
        """
        settings = {"n_fft": self.n_fft, "hop_length": self.hop_length, "pool": self.pool}
        if self.spectrum == "mixed":
            settings["n_mels"] = self.n_mels

        def compute() -> np.ndarray:
            y = waveform(clip, self.sample_rate)
            least = multi_domain.TIME_FACTOR * self.pool * self.hop_length
            y = np.pad(y, (0, max(least - len(y), 0)))
            return pooled(self._spectrum(y), self.pool).astype(np.float16)

        return cached(
            f"{self.spectrum}-pooled",
            spectral.REVISION,
            {**settings, "sample_rate": self.sample_rate, "rendering": RENDERING_REVISION},
            source_of(clip, "audio"),
            compute,
        )

    def _spectrum(self, y: np.ndarray) -> np.ndarray:
        frames = {"n_fft": self.n_fft, "hop_length": self.hop_length}
        if self.spectrum == "stft":
            return spectral.decibels(spectral.power_spectrogram(y, **frames))
        return spectral.stacked(y, self.sample_rate, n_mels=self.n_mels, n_mfcc=_N_MFCC, **frames)

    def acoustic_encoder(self) -> multi_domain.AcousticEncoder:
        """With fresh parameters."""
        mixed = self.spectrum == "mixed"
        n_bins = self.n_mels + _N_MFCC + 2 if mixed else 1 + self.n_fft // 2
        return multi_domain.AcousticEncoder(n_bins, self.width)


@dataclass(frozen=True, kw_only=True)
class SymbolicDomain(DomainNetwork):
    """The symbolic branch.

    Attributes
    ----------
    layers, heads : int
        Of the encoder; the cross-domain attentions have as many heads.
    pretraining : {"none", "maestro", "maestro-pop1k7"}
        Corpora that the encoder was pre-trained on.
    valence_weight : float
        Of the valence head's loss; 0 for no head.
    """

    released: ClassVar[bool] = False
    """Whether the notes are those of the clip's MIDI file, not of a transcription."""

    layers: int = 4
    heads: int = 4
    pretraining: Pretraining = "maestro"
    valence_weight: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1 or self.width % self.heads:
            raise ParameterError(f"width {self.width} is no multiple of {self.heads} heads")
        sizes = {name: getattr(self, name) for name in _PRETRAINED}
        if self.pretraining != "none" and sizes != _PRETRAINED:
            raise ParameterError(
                f"the pre-trained encoder has {_PRETRAINED}, this one {sizes}; "
                "expected the same, or pretraining 'none'"
            )

    @property
    def symbolic_revisions(self) -> dict[str, int]:
        """Transcriber or reader, events, encoder and its pre-training."""
        source = (
            {"notes": notes.REVISION}
            if self.released
            else {"rendering": RENDERING_REVISION, "transcriber": transcriber_revision()}
        )
        pretrained = (
            {}
            if self.pretraining == "none"
            else {"encoder_weights": weights_revision(f"encoder-{self.pretraining}")}
        )
        return {
            **source,
            "note_events": note_events.REVISION,
            "symbolic_encoder": symbolic_encoder.REVISION,
            **pretrained,
        }

    def clip_notes(self, clip: Clip) -> np.ndarray:
        """Transcribed or released notes, shape (n_notes, 4), in the order of the events.

        Released notes last as long as they sound, as transcribed ones and those of pre-training.
        """
        if self.released:
            found = notes.read_notes(source_of(clip, "midi"), pedal=True)
        else:
            found = transcribed_notes(clip, sample_rate=self.sample_rate)
        return found[event_order(found)]

    def items(self, clips: Sequence[Clip], *, training: bool) -> list[DomainItem]:
        """Items of some clips; warns of clips in which there is no note."""
        items = [self.features(clip) for clip in clips]
        empty = [c.id for c, item in zip(clips, items, strict=True) if not len(item.notes)]
        if empty:
            warnings.warn(
                f"no note was found in {len(empty)} of {len(clips)} clips, the first is "
                f"{empty[0]!r}: their symbolic branch answers without having seen a note",
                stacklevel=2,
            )
        return items

    def symbolic_encoder(self) -> symbolic_encoder.SymbolicEncoder:
        """With fresh parameters."""
        return symbolic_encoder.SymbolicEncoder(
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            feedforward=4 * self.width,
            dropout=self.dropout,
        )

    def load_pretrained(self, encoder: nn.Module) -> None:
        """Give an encoder its pre-trained parameters, if it is to have any."""
        if self.pretraining != "none":
            encoder.load_state_dict(load_weights(f"encoder-{self.pretraining}")[0])

    def symbolic_item(self, clip: Clip) -> DomainItem:
        """Its length is the time up to the last offset, and at least one window."""
        found = self.clip_notes(clip)
        end = math.ceil(found[:, 1].max(initial=0.0) / self.step_seconds)
        return DomainItem(
            max(end, self.window),
            events=note_events.note_events(found),
            notes=found,
            onsets=found[:, 0] / self.step_seconds,
        )


def pooled(feature: np.ndarray, size: int) -> np.ndarray:
    """Mean over groups of `size` frames of a feature, (n_bins, frames); the last may be smaller."""
    firsts = np.arange(0, feature.shape[1], size)
    sums = np.add.reduceat(feature, firsts, axis=1)
    return sums / np.diff(firsts, append=feature.shape[1])


def event_order(found: np.ndarray) -> np.ndarray:
    """Order of notes, shape (n_notes, 4), in `mer.features.note_events.note_events`."""
    first = found[:, 0].min(initial=np.inf)
    onsets = np.rint((found[:, 0] - first) / note_events.STEP_SECONDS)
    return np.lexsort((found[:, 2], onsets))


def feature_batch(pieces: Sequence[Piece]) -> Tensor:
    """Windows of acoustic features, shape (batch, n_bins, steps)."""
    return stack_pieces([(item.feature, start, stop) for item, start, stop in pieces])


def events_batch(pieces: Sequence[Piece]) -> Tensor:
    """Events of the notes that begin in each window, padded, shape (batch, 5, n)."""
    events = []
    for item, start, stop in pieces:
        first, last = np.searchsorted(item.onsets, (start, stop))
        events.append(note_events.select_events(item.events, first, last))
    longest = max(window.shape[1] for window in events)
    length = math.ceil(longest / _EVENTS_STEP) * _EVENTS_STEP
    shape = (len(events), len(note_events.FIELDS), length)
    batch = np.full(shape, note_events.PAD, dtype=np.int64)
    for row, window in zip(batch, events, strict=True):
        row[:, : window.shape[1]] = window
    return torch.from_numpy(batch)
