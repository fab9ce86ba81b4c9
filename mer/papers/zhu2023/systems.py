"""The acoustic and the symbolic branch of Zhu et al. 2023, alone and joined by attention."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mer.clips import Clip, Labels
from mer.errors import ParameterError
from mer.features import note_events, notes, spectral
from mer.features.cache import source_of
from mer.models import multi_domain, symbolic_encoder
from mer.rendering import REVISION as RENDERING_REVISION
from mer.systems.base import Feature, Picture, added
from mer.systems.code import name_of
from mer.systems.network import FittedNetwork, FramedNetwork, padded
from mer.tasks import TASKS
from mer.training.windows import Piece, stack_pieces, window_length
from mer.transcription import check_transcriber, transcribed_notes, transcriber_revision
from mer.weights import is_registered, load_weights, weights_revision

_N_MFCC = 20
_QUADRANTS = [Labels(quadrant=quadrant) for quadrant in (1, 2, 3, 4)]
_IS_HIGH = {name: [TASKS[name].class_of(labels) for labels in _QUADRANTS] for name in "AV"}


def mixed(
    samples: np.ndarray, sample_rate: int, *, n_fft: int, hop_length: int, n_mels: int
) -> np.ndarray:
    """The mixed feature: mel bands in dB, 20 MFCCs, spectral centroid and RMS (section 3.1).

    Returns
    -------
    np.ndarray, shape (n_mels + 22, n_frames)
    """
    frames = {"n_fft": n_fft, "hop_length": hop_length}
    return spectral.stacked(samples, sample_rate, n_mels=n_mels, n_mfcc=_N_MFCC, **frames)


def stft(samples: np.ndarray, sample_rate: int, *, n_fft: int, hop_length: int) -> np.ndarray:
    """Power spectrogram in dB (row STFT-input of table 4), shape (1 + n_fft // 2, n_frames)."""
    power = spectral.power_spectrogram(samples, n_fft=n_fft, hop_length=hop_length)
    return spectral.decibels(power)


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
class SymbolicAcoustic(FramedNetwork):
    """The proposed model, or one of its branches with a classifier of its own.

    Batch size, learning rate and Adam are the published ones; weight decay is not mentioned.

    Attributes
    ----------
    branches : tuple of {"acoustic", "symbolic"}
        Both, joined by cross-domain attention, or one of them alone.
    acoustic_feature : callable
        `mixed`, `stft` or a function of your own: of samples and sample rate, and of those of
        `n_fft`, `hop_length` and `n_mels` that it takes, to an array of shape (n_bins, n_frames)
        with 8 bins or more and a frame each `hop_length` samples.
    notes : {"transcribed", "released"}
        Of the symbolic branch: transcribed from the audio, or from the clip's MIDI file.
    pretraining : {"none", "maestro", "maestro-pop1k7"}
        Corpora that the symbolic encoder was pre-trained on.
    arousal_weight, valence_weight : float
        Of the losses of the acoustic branch's arousal head and of the symbolic branch's valence
        head; 0 for no head.
    n_mels : int
        Mel bands of the mixed feature.
    width : int
        Of the states of both branches.
    layers, heads : int
        Of the symbolic encoder; the cross-domain attentions have as many heads. The paper has "four
        original Transformer encoder layers": width and heads are those of the original.
    dropout : float
        In the classifier and the symbolic encoder.
    relative_velocities : bool
        Whether velocities are relative to the clip's own, see `mer.features.notes`: those of a
        transcription follow the level of the recording.
    transcriber : str
        Of transcribed notes, one of `mer.transcription.TRANSCRIBERS`.
    """

    family: ClassVar[str] = "Symbolic & Acoustic"
    trains_on_silence: ClassVar[bool] = True
    silence_warning: ClassVar[str] = (
        "no note was found in {silent} of {clips} clips, the first is {first!r}: their symbolic "
        "branch answers without having seen a note"
    )
    branches: tuple[Literal["acoustic", "symbolic"], ...] = ("acoustic", "symbolic")
    acoustic_feature: Feature = mixed
    notes: Literal["transcribed", "released"] = "transcribed"
    pretraining: Literal["none", "maestro", "maestro-pop1k7"] = "maestro"
    arousal_weight: float = 1.0
    valence_weight: float = 1.0
    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    pool: int = 2
    n_mels: int = 128
    width: int = 512
    layers: int = 4
    heads: int = 8
    dropout: float = 0.1
    relative_velocities: bool = added(False)
    transcriber: str = added("onsets-frames")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.branches not in (("acoustic", "symbolic"), ("acoustic",), ("symbolic",)):
            raise ParameterError(
                f"branches are {self.branches}; expected 'acoustic', 'symbolic' or both, in this "
                "order"
            )
        check_transcriber(self.transcriber)
        if self.heads < 1 or self.width % self.heads:
            raise ParameterError(f"width {self.width} is no multiple of {self.heads} heads")
        if self._hears_notes and self.pretraining != "none" and self._encoder_size is None:
            known = "; or ".join(str(size) for size in symbolic_encoder.ENCODERS.values())
            raise ParameterError(
                f"pre-trained encoders have {known}; this one has {self._encoder_sizes}: expected "
                "one of these, or pretraining 'none'"
            )

    @property
    def _encoder_sizes(self) -> dict[str, int]:
        return {"width": self.width, "layers": self.layers, "heads": self.heads}

    @property
    def _encoder_size(self) -> str | None:
        """Name of the size of the symbolic encoder; None if it is another one."""
        names = {tuple(v.values()): name for name, v in symbolic_encoder.ENCODERS.items()}
        return names.get(tuple(self._encoder_sizes.values()))

    @property
    def weights(self) -> str | None:
        """Name of the pre-trained encoder; None for none."""
        if not self._hears_notes or self.pretraining == "none":
            return None
        ending = "" if self._encoder_size == "small" else f"-{self._encoder_size}"
        return f"encoder-{self.pretraining}{ending}"

    @property
    def lacks(self) -> str:
        """The command that trains the encoder, where it is not there; soundfonts."""
        if self.weights is None or is_registered(self.weights):
            return super().lacks
        return f"train the encoder with `mer train {self.weights}`"

    @property
    def _hears_sound(self) -> bool:
        return "acoustic" in self.branches

    @property
    def _hears_notes(self) -> bool:
        return "symbolic" in self.branches

    @property
    def inputs(self) -> str:  # type: ignore[override]
        """Audio alone, unless the notes are the released ones."""
        if self.notes == "transcribed" or not self._hears_notes:
            return "audio"
        return "audio + MIDI" if self._hears_sound else "MIDI"

    @property
    def stand_in(self) -> str:
        """The transcriber, where notes are transcribed."""
        return "our transcriber" if self._hears_notes and self.notes == "transcribed" else ""

    @property
    def revisions(self) -> dict[str, int]:
        """Features, pre-trained weights and models."""
        revisions: dict[str, int] = {}
        if self._hears_sound:
            revisions |= {"rendering": RENDERING_REVISION, "spectral": spectral.REVISION}
        if self._hears_notes:
            revisions |= self._symbolic_revisions
        return {**revisions, "multi_domain": multi_domain.REVISION}

    @property
    def _symbolic_revisions(self) -> dict[str, int]:
        source = {
            "rendering": RENDERING_REVISION,
            "transcriber": transcriber_revision(self.transcriber),
        }
        if self.notes == "released":
            source = {"notes": notes.REVISION}
        encoder = {"symbolic_encoder": symbolic_encoder.REVISION}
        if self.weights is not None:
            trained = weights_revision(self.weights) if is_registered(self.weights) else 0
            encoder["encoder_weights"] = trained
        return {**source, "note_events": note_events.REVISION, **encoder}

    @property
    def window(self) -> int:
        """Longest window in steps, a multiple of what the acoustic encoder makes one state of."""
        states = self.window_seconds / self.step_seconds / multi_domain.TIME_FACTOR
        return multi_domain.TIME_FACTOR * max(round(states), 1)

    def item(self, clip: Clip) -> DomainItem:
        """Acoustic feature, and events in the same time.

        Without the feature the length is the time up to the last offset, and at least one window.
        """
        feature = self._feature(clip) if self._hears_sound else _nothing()
        if not self._hears_notes:
            return DomainItem(feature.shape[1], feature=feature)
        played = self._notes(clip)
        end = math.ceil(played[:, 1].max(initial=0.0) / self.step_seconds)
        return DomainItem(
            feature.shape[1] if self._hears_sound else max(end, self.window),
            feature=feature,
            events=note_events.note_events(played),
            notes=played,
            onsets=played[:, 0] / self.step_seconds,
        )

    def _feature(self, clip: Clip) -> np.ndarray:
        """Pooled acoustic feature, shape (n_bins, steps), float16, cached.

        Audio that is too short for the encoder is continued with silence.
        """
        return self.sound(
            clip,
            self.acoustic_feature,
            checked="acoustic_feature gave",
            bins=(multi_domain.TIME_FACTOR, math.inf),
            least=multi_domain.TIME_FACTOR * self.pool * self.hop_length,
            n_mels=self.n_mels,
        )

    def _notes(self, clip: Clip) -> np.ndarray:
        """Transcribed or released notes, shape (n_notes, 4), in the order of the events.

        Released notes last as long as they sound, as transcribed ones and those of pre-training.
        """
        if self.notes == "released":
            played = notes.read_notes(source_of(clip, "midi"), pedal=True)
        else:
            played = transcribed_notes(clip, name=self.transcriber, sample_rate=self.sample_rate)
        if self.relative_velocities:
            played = notes.relative_velocities(played)
            played[:, 3] = played[:, 3].clip(1, 127)
        return played[event_order(played)]

    def transposed(self, item: DomainItem, semitones: int) -> DomainItem:
        """Events of other pitches, and the spectrum moved as far; of `mixed` or `stft`."""
        played, events, feature = item.notes, item.events, item.feature
        if self._hears_notes:
            events = note_events.transposed_events(events, semitones)
            pitches = notes.transposed_pitches(played[:, 2], semitones)
            played = np.column_stack([played[:, :2], pitches, played[:, 3]])
        if self._hears_sound:
            feature = self._transposed_feature(feature, semitones)
        return replace(item, feature=feature, events=events, notes=played)

    def _transposed_feature(self, feature: np.ndarray, semitones: int) -> np.ndarray:
        if self.acoustic_feature is stft:
            bins = np.arange(len(feature)) * (self.sample_rate / self.n_fft)
            return spectral.transposed_bins(feature, bins, semitones)
        if self.acoustic_feature is not mixed:
            raise ParameterError(
                f"feature {name_of(self.acoustic_feature)} cannot be transposed; expected mixed or "
                "stft"
            )
        centres = spectral.mel_centres(self.sample_rate, self.n_mels)
        bands = spectral.transposed_bins(feature[: self.n_mels], centres, semitones)
        centroid, level = feature[-2:]
        rows = [
            bands,
            spectral.cepstrum(bands.astype(np.float32), _N_MFCC),
            centroid * np.float32(2 ** (semitones / 12)),
            level,
        ]
        return np.vstack(rows).astype(feature.dtype)

    def is_silent(self, item: DomainItem) -> bool:
        """Whether the symbolic branch has no note to see."""
        return self._hears_notes and not len(item.notes)

    def pictures(self, item: DomainItem) -> dict[str, Picture]:
        """The acoustic feature, its rows standardised, and the notes; what there is of them."""
        found = {}
        if item.feature.size:
            picture = self.sound_picture(self.acoustic_feature, item.feature)
            rows = spectral.standardised_rows(item.feature)
            found["acoustic feature"] = replace(picture, array=rows, **self._rows())
        if item.notes.size:
            found["notes"] = Picture(item.notes, "Pitch (MIDI)")
        return found

    def _rows(self) -> dict[str, Any]:
        """What `Picture` says of the rows of the paper's acoustic features."""
        if self.acoustic_feature is stft:
            bins = np.arange(1 + self.n_fft // 2) * (self.sample_rate / self.n_fft)
            return {"label": "Frequency (Hz)", "frequencies": bins}
        if self.acoustic_feature is not mixed:
            return {}
        names = {self.n_mels + _N_MFCC // 3: "MFCCs", self.n_mels + _N_MFCC + 1: "centroid, level"}
        centres = spectral.mel_centres(self.sample_rate, self.n_mels)
        return {"label": "Frequency (Hz)", "frequencies": centres, "names": names}

    def length(self, item: DomainItem) -> int:
        """Steps of an item."""
        return item.length

    def batch(self, pieces: Sequence[Piece]) -> Any:
        """Windows of the feature and of the events in the same time, or one of them alone."""
        inputs: list[Tensor] = []
        if self._hears_sound:
            inputs.append(stack_pieces([(item.feature, a, b) for item, a, b in pieces]))
        if self._hears_notes:
            inputs.append(events_batch(pieces))
        return tuple(inputs) if len(inputs) > 1 else inputs[0]

    def network(self, n_classes: int, item: DomainItem) -> nn.Module:
        """A network with fresh parameters."""
        names = self.head_names(n_classes)
        dropout, arousal, valence = self.dropout, "A" in names, "V" in names
        if not self._hears_sound:
            symbolic = self.symbolic_encoder()
            return multi_domain.SymbolicOnly(symbolic, n_classes, dropout=dropout, valence=valence)
        acoustic = multi_domain.AcousticEncoder(len(item.feature), self.width)
        if not self._hears_notes:
            return multi_domain.AcousticOnly(acoustic, n_classes, dropout=dropout, arousal=arousal)
        return multi_domain.MultiDomain(
            acoustic,
            self.symbolic_encoder(),
            n_classes,
            heads=self.heads,
            dropout=dropout,
            arousal=arousal,
            valence=valence,
        )

    def symbolic_encoder(self) -> symbolic_encoder.SymbolicEncoder:
        """With fresh parameters."""
        return symbolic_encoder.SymbolicEncoder(
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            feedforward=4 * self.width,
            dropout=self.dropout,
        )

    def prepare(self, network: Any, items: Sequence[DomainItem]) -> None:
        """Standardise the feature by the training items; load the pre-trained encoder."""
        if self._hears_sound:
            network.acoustic.standardise.fit(item.feature for item in items)
        if self.weights is not None:
            network.symbolic.load_state_dict(load_weights(self.weights)[0])

    @property
    def _head_weights(self) -> Mapping[str, float]:
        weights = {"A": self.arousal_weight * self._hears_sound}
        return {**weights, "V": self.valence_weight * self._hears_notes}

    def head_names(self, n_classes: int) -> tuple[str, ...]:
        """Heads, which only the four quadrants can train."""
        return tuple(n for n, weight in self._head_weights.items() if weight and n_classes == 4)

    def loss(self, output: multi_domain.Logits, targets: Tensor) -> Tensor:
        """Cross-entropy of the label and binary cross-entropies of the heads, weighted."""
        value = nn.functional.cross_entropy(output["label"], targets)
        for name, weight in self._head_weights.items():
            if name in output:
                high = torch.tensor(_IS_HIGH[name], device=targets.device)[targets].float()
                head = nn.functional.binary_cross_entropy_with_logits(output[name], high)
                value = value + weight * head
        return value

    def answer(self, output: multi_domain.Logits) -> Tensor:
        """Class probabilities, then the probability of high arousal and of high valence."""
        heads = [torch.sigmoid(output[n]).unsqueeze(1) for n in self._head_weights if n in output]
        return torch.cat([torch.softmax(output["label"], dim=1), *heads], dim=1)


def event_order(played: np.ndarray) -> np.ndarray:
    """Order of notes, shape (n_notes, 4), in `mer.features.note_events.note_events`."""
    first = played[:, 0].min(initial=np.inf)
    onsets = np.rint((played[:, 0] - first) / note_events.STEP_SECONDS)
    return np.lexsort((played[:, 2], onsets))


def events_batch(pieces: Sequence[Piece]) -> Tensor:
    """Events of the notes that begin in each window, padded, shape (batch, 5, n)."""
    events = []
    for item, start, stop in pieces:
        first, last = np.searchsorted(item.onsets, (start, stop))
        events.append(note_events.select_events(item.events, first, last))
    return padded(events, note_events.PAD)


@dataclass(frozen=True)
class AttentionMap:
    """Weights of the two attentions of a fitted system in one window of a clip.

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
        raise ParameterError("this system has no cross-domain attention to show")
    item = system.item(clip)
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
