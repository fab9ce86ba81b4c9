"""Multifaceted model of Zhao and Yoshii (2023): branches for factors of emotion, alone or joined.

The paper gives neither widths (but that of the Bi-GRU) nor windows nor training options: sizes of
the embedding and of the residual network and the options are those of the codes that it builds on
(the EMOPIA baselines), the others are ours. It ends in sigmoids for valence and arousal; its four
quadrants cannot come from them (4Q < A + V - 1), so here a model is trained for each task.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mer.audio import waveform
from mer.clips import Clip
from mer.errors import ParameterError
from mer.features import notes, spectral, tokens
from mer.features.cache import cached, source_of
from mer.models import multifaceted
from mer.rendering import REVISION as RENDERING_REVISION
from mer.systems.base import Feature
from mer.systems.code import call, plain
from mer.systems.network import WindowedNetwork
from mer.training.supervised import Batch, check_positive
from mer.training.windows import Piece, window_length

Factor = Literal["symbolic", "harmony", "tone color"]
FACTORS: tuple[Factor, ...] = ("symbolic", "harmony", "tone color")
N_MFCC = 25
N_MELS = 128
"""The paper has 23 mel bands, from which 25 coefficients cannot be made."""

# Kernels are compiled anew for every length: a multiple of this keeps the lengths few.
_TOKENS_STEP = 32


def mfcc_25(samples: np.ndarray, sample_rate: int, *, n_fft: int, hop_length: int) -> np.ndarray:
    """The paper's 25 cepstral coefficients, shape (25, n_frames)."""
    frames = {"n_fft": n_fft, "hop_length": hop_length}
    return spectral.mfcc(samples, sample_rate, n_mfcc=N_MFCC, n_mels=N_MELS, **frames)


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
class Multifaceted(WindowedNetwork):
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
    window_seconds : float
        Of the windows: frames, and tokens in the same time.
    sample_rate : int
        In Hz.
    n_fft, hop_length : int
        Of the frames, in samples.
    pool : int
        Frames that are averaged to one step of the features.
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
    factors: tuple[Factor, ...] = FACTORS
    heads: int | None = 4
    harmony_feature: Feature = spectral.chroma
    tone_color_feature: Feature = mfcc_25
    epochs: int = 200
    batch_size: int = 16
    window_seconds: float = 30.0
    sample_rate: int = 22050
    n_fft: int = 2048
    hop_length: int = 512
    pool: int = 1
    width: int = 256
    classifier: int = 256
    dropout: float = 0.5
    embedding: int = 300
    hidden: int = 256
    harmony_channels: int = 64
    tone_color_channels: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "window_seconds", "sample_rate", "hop_length", "pool")
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
    def step_seconds(self) -> float:
        """Of one step of the features."""
        return self.pool * self.hop_length / self.sample_rate

    @property
    def window(self) -> int:
        """Longest window, in steps."""
        return max(round(self.window_seconds / self.step_seconds), 1)

    def items(self, clips: Sequence[Clip], *, training: bool) -> list[FactorItem]:
        """Items of some clips; warns of clips in which there is no note."""
        if not self._has_notes:
            return super().items(clips, training=training)
        items = [self.item(clip) for clip in clips]
        empty = [c.id for c, item in zip(clips, items, strict=True) if not item.tokens.size]
        if empty:
            warnings.warn(
                f"{len(empty)} of {len(clips)} clips have no notes, the first is {empty[0]!r}: "
                "their symbolic branch answers without having seen a note",
                stacklevel=2,
            )
        return items

    def item(self, clip: Clip) -> FactorItem:
        """Features and tokens; without sound the length is up to the last offset, or one window."""
        sound = {factor: self._sound(clip, factor) for factor in self._features}
        length = min((feature.shape[1] for feature in sound.values()), default=0)
        sound = {factor: feature[:, :length] for factor, feature in sound.items()}
        if not self._has_notes:
            return FactorItem(length, sound)
        midi = source_of(clip, "midi")
        played = notes.read_notes(midi)
        revisions = {"notes": notes.REVISION}
        sequence = cached(
            "midi-like", tokens.REVISION, revisions, midi, lambda: tokens.midi_like(played)
        )
        first = played[:, 0].min(initial=np.inf)
        times = (first + tokens.midi_like_times(sequence)[1:]) / self.step_seconds
        end = math.ceil(played[:, 1].max(initial=0.0) / self.step_seconds)
        return FactorItem(length or max(end, self.window), sound, sequence[1:], times)

    def _sound(self, clip: Clip, factor: str) -> np.ndarray:
        """Pooled feature of a factor, shape (n_bins, steps), float16, cached."""
        function = self._features[factor]
        settings = {"n_fft": self.n_fft, "hop_length": self.hop_length}

        def compute() -> np.ndarray:
            y = waveform(clip, self.sample_rate)
            feature = call(function, y, self.sample_rate, **settings)
            self._check_frames(factor, np.shape(feature), 1 + len(y) // self.hop_length)
            return spectral.pooled(feature, self.pool).astype(np.float16)

        facts = {"sample_rate": self.sample_rate, "rendering": RENDERING_REVISION}
        key = {**settings, **facts, "pool": self.pool, "factor": factor, "feature": plain(function)}
        return cached("factor-pooled", spectral.REVISION, key, source_of(clip, "audio"), compute)

    def _check_frames(self, factor: str, shape: tuple[int, ...], expected: int) -> None:
        bins = "12 bins" if factor == "harmony" else "bins"
        is_wrong = len(shape) != 2 or abs(shape[1] - expected) > 1
        if is_wrong or (factor == "harmony" and shape[0] != multifaceted.PITCH_CLASSES):
            raise ParameterError(
                f"the feature of {factor} is an array of shape {shape}; expected {bins} and "
                f"{expected} frames, one each hop_length = {self.hop_length} samples"
            )

    def pictures(self, item: FactorItem) -> dict[str, np.ndarray]:
        """Tokens and features of the sound by factor; rows of tone colour are standardised."""
        found = {"symbolic": item.tokens} if self._has_notes else {}
        found |= {name: feature.astype(float) for name, feature in item.sound.items()}
        if "tone color" in found:
            rows = found["tone color"]
            deviation = rows - rows.mean(axis=1, keepdims=True)
            found["tone color"] = deviation / (rows.std(axis=1, keepdims=True) + 1e-6)
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
    length = 1 + max(len(window.tokens) for window in windows)
    shape = (len(windows), math.ceil(length / _TOKENS_STEP) * _TOKENS_STEP)
    batch = np.full(shape, tokens.PAD, dtype=np.int64)
    batch[:, 0] = tokens.START
    for row, window in zip(batch, windows, strict=True):
        row[1 : 1 + len(window.tokens)] = window.tokens
    return torch.from_numpy(batch)
