"""Multifaceted model of Zhao and Yoshii (2023): branches for factors of emotion, alone or joined.

The paper gives neither widths (but that of the Bi-GRU) nor windows nor training options: sizes of
the embedding and of the residual network and the options are those of the codes that it builds on
(the EMOPIA baselines), the others are ours. It ends in sigmoids for valence and arousal; its four
quadrants cannot come from them (4Q < A + V - 1), so here a model is trained for each task.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mer.clips import Clip
from mer.errors import ParameterError
from mer.features import notes, spectral, tokens
from mer.features.cache import source_of
from mer.models import multifaceted
from mer.rendering import REVISION as RENDERING_REVISION
from mer.systems.base import Feature, Picture, notes_feature
from mer.systems.network import FramedNetwork, padded
from mer.training.supervised import Batch
from mer.training.windows import Piece, window_length

Factor = Literal["symbolic", "harmony", "tone color"]
FACTORS: tuple[Factor, ...] = ("symbolic", "harmony", "tone color")
N_MFCC = 25
N_MELS = 128
"""The paper has 23 mel bands, from which 25 coefficients cannot be made."""


def mfcc_25(samples: np.ndarray, sample_rate: int, *, n_fft: int, hop_length: int) -> np.ndarray:
    """The paper's 25 cepstral coefficients, shape (25, n_frames)."""
    frames = {"n_fft": n_fft, "hop_length": hop_length}
    return spectral.mfcc(samples, sample_rate, n_mfcc=N_MFCC, n_mels=N_MELS, **frames)


def relative_mfcc_25(
    samples: np.ndarray, sample_rate: int, *, n_fft: int, hop_length: int
) -> np.ndarray:
    """The same of bands relative to the loudest one of the clip, shape (25, n_frames)."""
    frames = {"n_fft": n_fft, "hop_length": hop_length}
    bands = spectral.relative_log_mel(samples, sample_rate, n_mels=N_MELS, **frames)
    return spectral.cepstrum(bands, N_MFCC)


@dataclass(frozen=True)
class FactorItem:
    """A clip as the branches need it.

    Attributes
    ----------
    length : int
        In steps of the features of the sound.
    sound : dict of str to np.ndarray, shape (n_bins, length), float16
        Features by factor: of harmony and tone colour, where they are used.
    tokens : np.ndarray, shape (n_tokens,), int64
        MIDI-like, without the start token; empty without the symbolic branch.
    times : np.ndarray, shape (n_tokens,)
        Of the tokens, in steps.
    """

    length: int
    sound: dict[str, np.ndarray] = field(default_factory=dict)
    tokens: np.ndarray = field(default_factory=lambda: np.empty(0))
    times: np.ndarray = field(default_factory=lambda: np.empty(0))

    def window(self, start: int, stop: int) -> FactorItem:
        """The steps from `start` to before `stop`, and the tokens in the same time."""
        inside = slice(*np.searchsorted(self.times, (start, stop)))
        return FactorItem(
            stop - start,
            {factor: feature[:, start:stop] for factor, feature in self.sound.items()},
            self.tokens[inside],
            self.times[inside] - start,
        )


@dataclass(frozen=True, kw_only=True)
class Multifaceted(FramedNetwork):
    """The proposed model, one of its branches, or some of them.

    Attributes
    ----------
    factors : tuple of {"symbolic", "harmony", "tone color"}
        Branches, in this order.
    heads : int or None
        Of the self-attention that joins several branches; None joins them without.
    harmony_feature, tone_color_feature : callable
        Of samples and sample rate, and of those of `n_fft` and `hop_length` that they take, to an
        array of shape (n_bins, n_frames) with a frame each `hop_length` samples; that of harmony
        has 12 bins, the pitch classes.
    width : int
        Of the features of the factors.
    classifier : int
        Width of the hidden fully connected layer.
    dropout : float
        In the classifier.
    embedding, hidden, harmony_channels, tone_color_channels : int
        Of the branches, see `mer.models.multifaceted`.
    """

    family: ClassVar[str] = "Multifaceted"
    trains_on_silence: ClassVar[bool] = True
    silence_warning: ClassVar[str] = (
        "{silent} of {clips} clips have no notes, the first is {first!r}: their symbolic branch "
        "answers without having seen a note"
    )
    factors: tuple[Factor, ...] = FACTORS
    heads: int | None = 4
    harmony_feature: Feature = spectral.chroma
    tone_color_feature: Feature = mfcc_25
    epochs: int = 200
    batch_size: int = 16
    n_fft: int = 2048
    width: int = 256
    classifier: int = 256
    dropout: float = 0.5
    embedding: int = 300
    hidden: int = 256
    harmony_channels: int = 64
    tone_color_channels: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.factors or self.factors != tuple(f for f in FACTORS if f in self.factors):
            raise ParameterError(f"factors are {self.factors}; expected some of {FACTORS} in order")
        heads = self.attention_heads
        if heads is not None and (heads < 1 or self.width % heads):
            raise ParameterError(f"width {self.width} is no multiple of {heads} heads")

    @property
    def attention_heads(self) -> int | None:
        """Heads of the self-attention; None where there is none, as with a single factor."""
        return self.heads if len(self.factors) > 1 else None

    @property
    def _has_notes(self) -> bool:
        return "symbolic" in self.factors

    @property
    def _features(self) -> dict[str, Feature]:
        """Features of the sound by factor."""
        known = {"harmony": self.harmony_feature, "tone color": self.tone_color_feature}
        return {factor: feature for factor, feature in known.items() if factor in self.factors}

    @property
    def inputs(self) -> str:  # type: ignore[override]
        """What the branches get."""
        kinds = {"audio": bool(self._features), "MIDI": self._has_notes}
        return " + ".join(kind for kind, used in kinds.items() if used)

    @property
    def revisions(self) -> dict[str, int]:
        """Features and models."""
        revisions = {"multifaceted": multifaceted.REVISION}
        if self._features:
            revisions |= {"rendering": RENDERING_REVISION, "spectral": spectral.REVISION}
        if self._has_notes:
            revisions |= {"notes": notes.REVISION, "tokens": tokens.REVISION}
            revisions |= {"token_gru": multifaceted.TOKEN_GRU_REVISION}
        return revisions

    @property
    def window(self) -> int:
        """Longest window, in steps."""
        return max(round(self.window_seconds / self.step_seconds), 1)

    def is_silent(self, item: FactorItem) -> bool:
        """Whether the symbolic branch has no note to see."""
        return self._has_notes and not item.tokens.size

    def item(self, clip: Clip) -> FactorItem:
        """Features and tokens; without sound the length is up to the last offset, or one window."""
        sound = {factor: self._sound(clip, factor) for factor in self._features}
        length = min((feature.shape[1] for feature in sound.values()), default=0)
        sound = {factor: feature[:, :length] for factor, feature in sound.items()}
        if not self._has_notes:
            return FactorItem(length, sound)
        played = notes.read_notes(source_of(clip, "midi"))
        sequence = notes_feature("midi-like", tokens.REVISION, tokens.midi_like, clip)
        first = played[:, 0].min(initial=np.inf)
        times = (first + tokens.midi_like_times(sequence)[1:]) / self.step_seconds
        end = math.ceil(played[:, 1].max(initial=0.0) / self.step_seconds)
        return FactorItem(length or max(end, self.window), sound, sequence[1:], times)

    def _sound(self, clip: Clip, factor: str) -> np.ndarray:
        """Pooled feature of a factor, shape (n_bins, steps), float16, cached."""
        bins = (multifaceted.PITCH_CLASSES,) * 2 if factor == "harmony" else (1, math.inf)
        checked = f"the feature of {factor} is"
        return self.sound(clip, self._features[factor], checked=checked, bins=bins)

    def transposed(self, item: FactorItem, semitones: int) -> FactorItem:
        """Tokens of other pitches and turned pitch classes; the tone colour stays as it is."""
        sound = dict(item.sound)
        if "harmony" in sound:
            sound["harmony"] = np.roll(sound["harmony"], semitones, axis=0)
        moved = (
            tokens.transposed_midi_like(item.tokens, semitones) if self._has_notes else item.tokens
        )
        return replace(item, sound=sound, tokens=moved)

    def pictures(self, item: FactorItem) -> dict[str, Picture]:
        """Tokens and features of the sound by factor; rows of tone colour are standardised."""
        found = {}
        if self._has_notes:
            found["symbolic"] = Picture(item.tokens, times=item.times * self.step_seconds)
        for name, values in item.sound.items():
            picture = self.sound_picture(self._features[name], values)
            if name == "tone color":
                picture = replace(picture, array=spectral.standardised_rows(values))
                if self.tone_color_feature in (mfcc_25, relative_mfcc_25):
                    picture = replace(picture, label="MFCC (number)")
            found[name] = picture
        return found

    def length(self, item: FactorItem) -> int:
        """Steps of an item."""
        return item.length

    def size(self, piece: Piece) -> float:
        """Tokens in a window."""
        item, start, stop = piece
        return float(np.diff(np.searchsorted(item.times, (start, stop)))[0])

    def batch(self, pieces: Sequence[Piece]) -> tuple[Tensor, ...]:
        """One input for each branch, in their order."""
        windows = [item.window(start, stop) for item, start, stop in pieces]
        symbolic = (tokens_batch(windows),) if self._has_notes else ()
        sound = (np.stack([w.sound[factor] for w in windows]) for factor in self._features)
        return (*symbolic, *(torch.from_numpy(feature).float() for feature in sound))

    def _training_batches(
        self, items: Sequence[FactorItem], targets: np.ndarray, rng: np.random.Generator
    ) -> Iterator[Batch]:
        # Cut before they are put in batches, windows can be sorted by their numbers of tokens.
        cut = []
        for item in items:
            length = window_length(item.length, self.window)
            start = int(rng.integers(item.length - length + 1))
            cut.append(item.window(start, start + length))
        return super()._training_batches(cut, targets, rng)

    def network(self, n_classes: int, item: FactorItem) -> multifaceted.Multifaceted:
        """A network with fresh parameters."""
        return multifaceted.Multifaceted(
            {factor: self._branch(factor, item) for factor in self.factors},
            n_classes,
            width=self.width,
            heads=self.attention_heads,
            classifier=self.classifier,
            dropout=self.dropout,
        )

    def _branch(self, factor: str, item: FactorItem) -> multifaceted.Branch:
        if factor == "symbolic":
            sizes = {"embedding": self.embedding, "hidden": self.hidden}
            return multifaceted.SymbolicBranch(tokens.MIDI_LIKE_SIZE, **sizes)
        if factor == "harmony":
            return multifaceted.HarmonyBranch(self.harmony_channels)
        return multifaceted.ToneColorBranch(len(item.sound[factor]), self.tone_color_channels)

    def prepare(self, network: Any, items: Sequence[FactorItem]) -> None:
        """Standardise the feature of tone colour by the training items."""
        if "tone color" in self.factors:
            branch = network.branches["tone color"]
            branch.standardise.fit(item.sound["tone color"] for item in items)


def tokens_batch(windows: Sequence[FactorItem]) -> Tensor:
    """Start token and the tokens of each window, padded at the end, shape (batch, n)."""
    return padded([np.append(tokens.START, window.tokens) for window in windows], tokens.PAD)
