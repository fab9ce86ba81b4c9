"""Networks among the EMOPIA paper's baselines (rows of zhu2023 tables 2-3, zhao2023 table I)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import nn

from mer.clips import Clip
from mer.errors import ParameterError
from mer.features import notes, spectral
from mer.features.cache import source_of
from mer.features.tokens import MIDI_LIKE_SIZE, midi_like, remi, transposed_midi_like
from mer.features.tokens import REVISION as TOKENS_REVISION
from mer.models import classifiers
from mer.rendering import REVISION as RENDERING_REVISION
from mer.systems.base import Feature, Picture, clip_feature, notes_feature, sound_picture
from mer.systems.code import name_of, real_array
from mer.systems.network import WindowedNetwork, built

_CACHED = {midi_like: "midi-like", remi: "remi"}


@dataclass(frozen=True, kw_only=True)
class TokenNetwork(WindowedNetwork):
    """BiLSTM with structured self-attention on tokens; sizes as in the baseline's code.

    Attributes
    ----------
    tokens : callable
        Of notes, shape (n, 4), to tokens, shape (n_tokens,), in [1, vocabulary).
    vocabulary : int
    model : callable
        Called with the vocabulary and the number of classes, and with those of the sizes below
        that it takes; gives a network of tokens, shape (batch, length).
    embedding, hidden, attention, hops, classifier : int
    dropout : float
        See `mer.models.classifiers.LSTMAttn`.
    """

    family: ClassVar[str] = "LSTM-Attn"
    inputs: ClassVar[str] = "MIDI"
    tokens: Feature = midi_like
    vocabulary: int = MIDI_LIKE_SIZE
    model: Callable[..., nn.Module] = classifiers.LSTMAttn
    window: int = 2048
    epochs: int = 200
    batch_size: int = 16
    embedding: int = 300
    hidden: int = 128
    attention: int = 128
    hops: int = 14
    classifier: int = 256
    dropout: float = 0.5

    @property
    def revisions(self) -> dict[str, int]:
        """Notes, tokens and model."""
        return {
            "notes": notes.REVISION,
            "tokens": TOKENS_REVISION,
            "lstm_attn": classifiers.LSTM_ATTN_REVISION,
        }

    def item(self, clip: Clip) -> np.ndarray:
        """Tokens, shape (n_tokens,), cached for the tokenisers of the package."""
        if self.tokens in _CACHED:
            return notes_feature(_CACHED[self.tokens], TOKENS_REVISION, self.tokens, clip)
        given = self.tokens(notes.read_notes(source_of(clip, "midi")))
        found = real_array(self.tokens, given, 1)
        low, high = (found.min(), found.max()) if found.size else (1, 1)
        if found.dtype.kind not in "iu" or low < 1 or high >= self.vocabulary:
            raise ParameterError(
                f"{name_of(self.tokens)} gave {found.dtype} from {low} to {high} for clip "
                f"{clip.id!r}; expected whole numbers from 1 to {self.vocabulary - 1} (vocabulary)"
            )
        return found

    def transposed(self, item: np.ndarray, semitones: int) -> np.ndarray:
        """Tokens of other pitches, of MIDI-like ones."""
        if self.tokens is not midi_like:
            raise ParameterError(
                f"tokens of {name_of(self.tokens)} cannot be transposed; expected midi_like"
            )
        return transposed_midi_like(item, semitones)

    def network(self, n_classes: int, item: np.ndarray) -> nn.Module:
        """A network with fresh parameters."""
        names = ("embedding", "hidden", "attention", "hops", "classifier", "dropout")
        sizes = {name: getattr(self, name) for name in names}
        return built(self.model, n_classes, self.vocabulary, n_classes, **sizes)


@dataclass(frozen=True, kw_only=True)
class SpectrogramNetwork(WindowedNetwork):
    """Short-chunk ResNet on log-mel chunks of 3 s, averaged over the clip.

    Attributes
    ----------
    feature : callable
        Of samples and sample rate, and of those of `n_fft`, `hop_length` and `n_mels` that it
        takes, to an array of shape (n_bins, n_frames) with a frame each `hop_length` samples.
    model : callable
        Called with the number of classes, and with `channels` and `dropout` if it takes them;
        gives a network of features, shape (batch, n_bins, window).
    sample_rate : int
        In Hz.
    n_fft, hop_length : int
        In samples.
    n_mels : int
    channels : int
        Of the first residual block.
    dropout : float
    chunks_per_epoch : int
        Random chunks of each clip in an epoch.
    """

    family: ClassVar[str] = "Short-chunk ResNet"
    inputs: ClassVar[str] = "audio"
    feature: Feature = spectral.log_mel
    model: Callable[..., nn.Module] = classifiers.ShortChunkResNet
    window: int = 129
    epochs: int = 200
    sample_rate: int = 22050
    n_fft: int = 1024
    hop_length: int = 512
    n_mels: int = 128
    channels: int = 128
    dropout: float = 0.5
    chunks_per_epoch: int = 1

    @property
    def windows_per_epoch(self) -> int:
        """Random chunks of each clip in an epoch."""
        return self.chunks_per_epoch

    @property
    def revisions(self) -> dict[str, int]:
        """Rendering, spectrum and model."""
        return {
            "rendering": RENDERING_REVISION,
            "spectral": spectral.REVISION,
            "short_chunk": classifiers.SHORT_CHUNK_REVISION,
        }

    def item(self, clip: Clip) -> np.ndarray:
        """The feature of a clip, shape (n_bins, n_frames), float16, at least one window, cached."""
        settings: Any = {"n_fft": self.n_fft, "hop_length": self.hop_length, "n_mels": self.n_mels}
        feature = clip_feature(self.feature, clip, self.sample_rate, **settings)
        missing = max(self.window - feature.shape[1], 0)
        return np.pad(feature, ((0, 0), (0, missing)), constant_values=feature.min())

    def pictures(self, item: np.ndarray) -> dict[str, Picture]:
        """The feature."""
        return {"input": sound_picture(self.feature, item, self.sample_rate, self.hop_length)}

    def transposed(self, item: np.ndarray, semitones: int) -> np.ndarray:
        """Mel bands of other pitches."""
        if self.feature not in (spectral.log_mel, spectral.relative_log_mel):
            raise ParameterError(
                f"feature {name_of(self.feature)} cannot be transposed; expected log_mel"
            )
        centres = spectral.mel_centres(self.sample_rate, self.n_mels)
        return spectral.transposed_bins(item, centres, semitones)

    def network(self, n_classes: int, item: np.ndarray) -> nn.Module:
        """A network with fresh parameters."""
        sizes = {"channels": self.channels, "dropout": self.dropout}
        return built(self.model, n_classes, n_classes, **sizes)
