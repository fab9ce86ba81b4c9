"""Factors of emotion of Zhao and Yoshii 2023, each with its branch: clips, windows, sizes.

The paper gives neither widths (but that of the Bi-GRU) nor windows nor training options: sizes of
the embedding and of the residual network and the options are those of the codes that it builds on
(the EMOPIA baselines), the others are ours. It ends in sigmoids for valence and arousal; its four
quadrants cannot come from them (4Q < A + V - 1), so here a model is trained for each task.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from mer.audio import waveform
from mer.clips import Clip
from mer.errors import ParameterError
from mer.features import notes, spectral, tokens
from mer.features.cache import cached, source_of
from mer.models import multifaceted, token_gru
from mer.rendering import REVISION as RENDERING_REVISION
from mer.systems.domains import pooled
from mer.systems.windowed import WindowedNetwork
from mer.training.supervised import Batch
from mer.training.windows import Piece, window_length

N_MFCC = 25
N_MELS = 128
"""The paper has 23 mel bands, from which 25 coefficients cannot be made."""

_CHROMA, _MFCC = slice(multifaceted.PITCH_CLASSES), slice(multifaceted.PITCH_CLASSES, None)
# Kernels are compiled anew for every length: a multiple of this keeps the lengths few.
_TOKENS_STEP = 32


def _nothing() -> np.ndarray:
    return np.empty(0)


@dataclass(frozen=True)
class FactorItem:
    """A clip as the branches need it; empty arrays where no branch does.

    Attributes
    ----------
    length : int
        In steps of the chromagram and the MFCCs.
    sound : np.ndarray, shape (12 + 25, length), float16
        Chromagram above MFCCs.
    tokens : np.ndarray, shape (n_tokens,), int64
        MIDI-like, without the start token.
    times : np.ndarray, shape (n_tokens,)
        Of the tokens, in steps.
    """

    length: int
    sound: np.ndarray = field(default_factory=_nothing)
    tokens: np.ndarray = field(default_factory=_nothing)
    times: np.ndarray = field(default_factory=_nothing)

    def window(self, start: int, stop: int) -> FactorItem:
        """The steps from `start` to before `stop`, and the tokens in the same time."""
        inside = slice(*np.searchsorted(self.times, (start, stop)))
        return FactorItem(
            stop - start,
            self.sound[..., start:stop],
            self.tokens[inside],
            self.times[inside] - start,
        )


@dataclass(frozen=True, kw_only=True)
class FactorNetwork(WindowedNetwork):
    """What all systems of the paper share: time axis, classifier and training.

    Attributes
    ----------
    window_seconds : float
        Of the windows: frames, and tokens in the same time.
    sample_rate : int
        In Hz.
    hop_length : int
        Of the frames, in samples.
    pool : int
        Frames that are averaged to one step of the chromagram and the MFCCs.
    width : int
        Of the features of the factors.
    classifier : int
        Width of the hidden fully connected layer.
    dropout : float
        In the classifier.
    """

    epochs: int = 200
    batch_size: int = 16
    window_seconds: float = 30.0
    sample_rate: int = 22050
    hop_length: int = 512
    pool: int = 1
    width: int = 256
    classifier: int = 256
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("window_seconds", "sample_rate", "hop_length", "pool"):
            if getattr(self, name) <= 0:
                raise ParameterError(f"{name} is {getattr(self, name)}; expected more than 0")

    @property
    def step_seconds(self) -> float:
        """Of one step of the chromagram and the MFCCs."""
        return self.pool * self.hop_length / self.sample_rate

    @property
    def window(self) -> int:
        """Longest window, in steps."""
        return max(round(self.window_seconds / self.step_seconds), 1)

    @property
    def revisions(self) -> dict[str, int]:
        """Features and models."""
        return {"multifaceted": multifaceted.REVISION}

    @property
    def n_heads(self) -> int | None:
        """Heads of the self-attention; None where there is none."""
        return None

    def features(self, clip: Clip) -> FactorItem:
        """What the branches need of a clip."""
        return FactorItem(0)

    def length(self, item: FactorItem) -> int:
        """Steps of an item."""
        return item.length

    def size(self, piece: Piece) -> float:
        """Tokens in a window."""
        item, start, stop = piece
        return float(np.diff(np.searchsorted(item.times, (start, stop)))[0])

    def batch(self, pieces: Sequence[Piece]) -> tuple[Tensor, ...]:
        """One input for each branch, in their order."""
        return ()

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

    def branches(self) -> dict[str, multifaceted.Branch]:
        """Branches with fresh parameters, by factor."""
        return {}

    def network(self, n_classes: int) -> multifaceted.Multifaceted:
        """A network with fresh parameters."""
        return multifaceted.Multifaceted(
            self.branches(),
            n_classes,
            width=self.width,
            heads=self.n_heads,
            classifier=self.classifier,
            dropout=self.dropout,
        )


@dataclass(frozen=True, kw_only=True)
class SoundFactor(FactorNetwork):
    """A factor that is taken from the sound.

    Attributes
    ----------
    n_fft : int
        Frame length in samples.
    """

    n_fft: int = 2048

    @property
    def revisions(self) -> dict[str, int]:
        """Features and models."""
        own = {"rendering": RENDERING_REVISION, "spectral": spectral.REVISION}
        return {**own, **super().revisions}

    def features(self, clip: Clip) -> FactorItem:
        """Chromagram and MFCCs of a clip."""
        settings = {"n_fft": self.n_fft, "hop_length": self.hop_length}
        sound = cached(
            "chroma-mfcc-pooled",
            spectral.REVISION,
            {
                **settings,
                "pool": self.pool,
                "n_mels": N_MELS,
                "n_mfcc": N_MFCC,
                "sample_rate": self.sample_rate,
                "rendering": RENDERING_REVISION,
            },
            source_of(clip, "audio"),
            lambda: self._sound(waveform(clip, self.sample_rate)),
        )
        return replace(super().features(clip), length=sound.shape[1], sound=sound)

    def _sound(self, y: np.ndarray) -> np.ndarray:
        power = spectral.power_spectrogram(y, n_fft=self.n_fft, hop_length=self.hop_length)
        chroma = spectral.power_to_chroma(power, self.sample_rate)
        bands = spectral.power_to_mel(power, self.sample_rate, n_mels=N_MELS)
        mfcc = spectral.cepstrum(spectral.decibels(bands), N_MFCC)
        return pooled(np.vstack([chroma, mfcc]), self.pool).astype(np.float16)


@dataclass(frozen=True, kw_only=True)
class SymbolicFactor(FactorNetwork):
    """Melody, rhythm and dynamics.

    Attributes
    ----------
    embedding, hidden : int
        See `mer.models.multifaceted.SymbolicBranch`.
    """

    embedding: int = 300
    hidden: int = 256

    @property
    def revisions(self) -> dict[str, int]:
        """Features and models."""
        own = {"notes": notes.REVISION, "tokens": tokens.REVISION, "token_gru": token_gru.REVISION}
        return {**own, **super().revisions}

    def items(self, clips: Sequence[Clip], *, training: bool) -> list[FactorItem]:
        """Items of some clips; warns of clips in which there is no note."""
        items = [self.features(clip) for clip in clips]
        empty = [c.id for c, item in zip(clips, items, strict=True) if not item.tokens.size]
        if empty:
            warnings.warn(
                f"{len(empty)} of {len(clips)} clips have no notes, the first is {empty[0]!r}: "
                "their symbolic branch answers without having seen a note",
                stacklevel=2,
            )
        return items

    def features(self, clip: Clip) -> FactorItem:
        """Tokens of a clip; without sound its length is up to the last offset, or one window."""
        midi = source_of(clip, "midi")
        found = notes.read_notes(midi)
        sequence = cached(
            "midi-like",
            tokens.REVISION,
            {"notes": notes.REVISION},
            midi,
            lambda: tokens.midi_like(found),
        )
        first = found[:, 0].min(initial=np.inf)
        times = (first + tokens.midi_like_times(sequence)[1:]) / self.step_seconds
        item = super().features(clip)
        end = math.ceil(found[:, 1].max(initial=0.0) / self.step_seconds)
        return replace(
            item,
            length=item.length or max(end, self.window),
            tokens=sequence[1:],
            times=times,
        )

    def batch(self, pieces: Sequence[Piece]) -> tuple[Tensor, ...]:
        """Tokens first."""
        return (tokens_batch(pieces), *super().batch(pieces))

    def branches(self) -> dict[str, multifaceted.Branch]:
        """The symbolic branch first."""
        branch = multifaceted.SymbolicBranch(
            tokens.MIDI_LIKE_SIZE, embedding=self.embedding, hidden=self.hidden
        )
        return {"symbolic": branch, **super().branches()}


@dataclass(frozen=True, kw_only=True)
class HarmonyFactor(SoundFactor):
    """Harmony.

    Attributes
    ----------
    harmony_channels : int
        See `mer.models.multifaceted.HarmonyBranch`.
    """

    harmony_channels: int = 64

    def batch(self, pieces: Sequence[Piece]) -> tuple[Tensor, ...]:
        """Chromagrams first."""
        return (sound_batch(pieces, _CHROMA), *super().batch(pieces))

    def branches(self) -> dict[str, multifaceted.Branch]:
        """The harmony branch first."""
        branch = multifaceted.HarmonyBranch(self.harmony_channels)
        return {"harmony": branch, **super().branches()}


@dataclass(frozen=True, kw_only=True)
class ToneColorFactor(SoundFactor):
    """Tone colour.

    Attributes
    ----------
    tone_color_channels : int
        See `mer.models.multifaceted.ToneColorBranch`.
    """

    tone_color_channels: int = 128

    def prepare(self, network: nn.Module, items: Sequence[FactorItem]) -> None:
        """Standardise by the training items."""
        branch = network.get_submodule("branches.tone color")
        assert isinstance(branch, multifaceted.ToneColorBranch)
        branch.standardise.fit(item.sound[_MFCC] for item in items)

    def batch(self, pieces: Sequence[Piece]) -> tuple[Tensor, ...]:
        """MFCCs first."""
        return (sound_batch(pieces, _MFCC), *super().batch(pieces))

    def branches(self) -> dict[str, multifaceted.Branch]:
        """The tone-colour branch first."""
        branch = multifaceted.ToneColorBranch(N_MFCC, self.tone_color_channels)
        return {"tone color": branch, **super().branches()}


def tokens_batch(pieces: Sequence[Piece]) -> Tensor:
    """Start token and the tokens within each window, padded at the end, shape (batch, n)."""
    windows = [item.window(start, stop).tokens for item, start, stop in pieces]
    length = 1 + max(len(window) for window in windows)
    shape = (len(windows), math.ceil(length / _TOKENS_STEP) * _TOKENS_STEP)
    batch = np.full(shape, tokens.PAD, dtype=np.int64)
    batch[:, 0] = tokens.START
    for row, window in zip(batch, windows, strict=True):
        row[1 : 1 + len(window)] = window
    return torch.from_numpy(batch)


def sound_batch(pieces: Sequence[Piece], rows: slice) -> Tensor:
    """Windows of some rows of the sound, shape (batch, n_rows, steps), float32."""
    windows = [item.sound[rows, start:stop] for item, start, stop in pieces]
    return torch.from_numpy(np.stack(windows)).float()
