"""Networks among the EMOPIA paper's baselines (rows of zhu2023 tables 2-3, zhao2023 table I)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import nn

from mer.clips import Clip
from mer.features import notes, spectral, tokens
from mer.features.cache import cached, source_of
from mer.models import lstm_attn, short_chunk
from mer.rendering import REVISION as RENDERING_REVISION
from mer.systems.windowed import WindowedNetwork


@dataclass(frozen=True, kw_only=True)
class LSTMAttnSystem(WindowedNetwork):
    """BiLSTM with structured self-attention on tokens; sizes as in the baseline's code.

    Attributes
    ----------
    embedding, hidden, attention, hops, classifier : int
    dropout : float
        See `mer.models.lstm_attn.LSTMAttn`.
    """

    window: int = 2048
    epochs: int = 200
    batch_size: int = 16
    embedding: int = 300
    hidden: int = 128
    attention: int = 128
    hops: int = 14
    classifier: int = 256
    dropout: float = 0.5
    inputs: ClassVar[str] = "MIDI"

    @property
    def revisions(self) -> dict[str, int]:
        """Notes, tokens and model."""
        return {
            "notes": notes.REVISION,
            "tokens": tokens.REVISION,
            "lstm_attn": lstm_attn.REVISION,
        }

    def vocabulary(self) -> int:
        """Number of tokens."""
        raise NotImplementedError

    def network(self, n_classes: int) -> nn.Module:
        """A network with fresh parameters."""
        return lstm_attn.LSTMAttn(
            self.vocabulary(),
            n_classes,
            embedding=self.embedding,
            hidden=self.hidden,
            attention=self.attention,
            hops=self.hops,
            classifier=self.classifier,
            dropout=self.dropout,
        )


@dataclass(frozen=True, kw_only=True)
class LSTMAttnMidiLike(LSTMAttnSystem):
    """LSTM-Attn on MIDI-like tokens."""

    name: ClassVar[str] = "LSTM-Attn + MIDI-like"

    def vocabulary(self) -> int:
        """Number of MIDI-like tokens."""
        return tokens.MIDI_LIKE_SIZE

    def features(self, clip: Clip) -> np.ndarray:
        """MIDI-like tokens, shape (n_tokens,)."""
        midi = source_of(clip, "midi")
        return cached(
            "midi-like",
            tokens.REVISION,
            {"notes": notes.REVISION},
            midi,
            lambda: tokens.midi_like(notes.read_notes(midi)),
        )


@dataclass(frozen=True, kw_only=True)
class LSTMAttnREMI(LSTMAttnSystem):
    """LSTM-Attn on REMI tokens."""

    name: ClassVar[str] = "LSTM-Attn + REMI"

    def vocabulary(self) -> int:
        """Number of REMI tokens."""
        return tokens.REMI_SIZE

    def features(self, clip: Clip) -> np.ndarray:
        """REMI tokens, shape (n_tokens,)."""
        midi = source_of(clip, "midi")
        return cached(
            "remi",
            tokens.REVISION,
            {"notes": notes.REVISION},
            midi,
            lambda: tokens.remi(notes.read_notes(midi)),
        )


@dataclass(frozen=True, kw_only=True)
class ShortChunkResNetSystem(WindowedNetwork):
    """Short-chunk ResNet on log-mel chunks of 3 s, averaged over the clip.

    Attributes
    ----------
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

    name: ClassVar[str] = "Short-chunk ResNet"
    inputs: ClassVar[str] = "audio"
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
            "short_chunk": short_chunk.REVISION,
        }

    def network(self, n_classes: int) -> nn.Module:
        """A network with fresh parameters."""
        return short_chunk.ShortChunkResNet(n_classes, channels=self.channels, dropout=self.dropout)

    def features(self, clip: Clip) -> np.ndarray:
        """Log-mel spectrogram in dB, shape (n_mels, n_frames), float16, at least one window."""
        mel = spectral.clip_log_mel(
            clip,
            self.sample_rate,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            n_mels=self.n_mels,
        )
        missing = max(self.window - mel.shape[1], 0)
        return np.pad(mel, ((0, 0), (0, missing)), constant_values=mel.min())
