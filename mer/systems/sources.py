"""What the networks of de Berardinis et al. 2020 hear: 20 s of each source, as log-mel bands."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mer.audio import audio_seconds, crop, waveform
from mer.clips import Clip
from mer.errors import ParameterError
from mer.features import spectral
from mer.features.cache import cached, source_of
from mer.rendering import REVISION as RENDERING_REVISION
from mer.separation import MIX, TRUE, source_waveform

SOURCES = ("vocals", "bass", "drums", "other")
N_MELS = 96


@dataclass(frozen=True, kw_only=True)
class Excerpts:
    """How the input is made of a clip.

    Every clip has one random window, drawn by its id, the same for the mix and for each source.
    Clips that are shorter end in silence.

    Attributes
    ----------
    separator : str
        Name in `mer.separation`, or "true" for the stems of composed clips.
    seconds : float
        Length of the window.
    sample_rate : int
        In Hz. The paper does not give it; with 12 kHz its parameter counts come out.
    n_fft, hop_length : int
        In samples.
    """

    separator: str = "small"
    seconds: float = 20.0
    sample_rate: int = 12000
    n_fft: int = 512
    hop_length: int = 256

    def __post_init__(self) -> None:
        for name in ("seconds", "sample_rate", "n_fft", "hop_length"):
            if getattr(self, name) <= 0:
                raise ParameterError(f"{name} is {getattr(self, name)}; expected more than 0")

    @property
    def n_samples(self) -> int:
        """Length of the window."""
        return round(self.seconds * self.sample_rate)

    @property
    def n_frames(self) -> int:
        """Of the spectrogram."""
        return 1 + self.n_samples // self.hop_length

    def excerpt_revisions(self, sources: Iterable[str]) -> dict[str, int]:
        """Rendering, spectrum and, unless only the mix is used, separator."""
        revisions = {"rendering": RENDERING_REVISION, "spectral": spectral.REVISION}
        if any(source != MIX for source in sources):
            revisions["separation"] = separator_revision(self.separator)
        return revisions

    def log_mel(self, clip: Clip, source: str) -> np.ndarray:
        """Log-mel spectrogram of a source in dB, shape (96, n_frames), float16, cached."""
        settings = {"n_fft": self.n_fft, "hop_length": self.hop_length, "n_mels": N_MELS}

        def compute() -> np.ndarray:
            samples = source_samples(clip, source, self.sample_rate, self.separator)
            start = window_start(clip.id, len(samples), self.n_samples)
            excerpt = crop(samples, self.n_samples, start)
            return spectral.log_mel(excerpt, self.sample_rate, **settings).astype(np.float16)

        separation = {} if source == MIX else {"separator": self.separator}
        return cached(
            "excerpt-log-mel",
            spectral.REVISION,
            {
                **settings,
                **separation,
                **self.excerpt_revisions([source]),
                "clip": clip.id,
                "source": source,
                "seconds": self.seconds,
                "sample_rate": self.sample_rate,
            },
            source_of(clip, "audio"),
            compute,
        )

    def log_mels(self, clips: Sequence[Clip], sources: Sequence[str]) -> np.ndarray:
        """Of all clips and sources, shape (n_clips, n_sources, 96, n_frames), float16."""
        shape = (len(clips), len(sources), N_MELS, self.n_frames)
        found = np.empty(shape, dtype=np.float16)
        for row, clip in zip(found, clips, strict=True):
            for place, source in zip(row, sources, strict=True):
                place[:] = self.log_mel(clip, source)
        return found

    def padding(self, clips: Iterable[Clip]) -> dict[str, float]:
        """Seconds of silence at the end of every clip that is shorter than the window, by id."""
        missing = {c.id: self.seconds - clip_seconds(c, self.sample_rate) for c in clips}
        return {clip_id: seconds for clip_id, seconds in missing.items() if seconds > 0}


def source_samples(clip: Clip, source: str, sample_rate: int, separator: str) -> np.ndarray:
    """Samples of the mix or of a source, shape (n_samples,), float32."""
    return source_waveform(clip, source, sample_rate, separator=separator)


def separator_revision(separator: str) -> int:
    """Revision number of what the sources come from; the separator itself is not loaded.

    Raises
    ------
    ParameterError
        If there is no such separator, or no weights of the small one.
    """
    if separator == TRUE:
        from mer.composing.score import REVISION

        return REVISION
    if separator == "small":
        from mer.separation.small import revision

        return revision()
    if separator == "htdemucs":
        from mer.separation.demucs import HybridDemucs

        return HybridDemucs.revision
    raise ParameterError(
        f"unknown separator {separator!r}; the separators are: small, htdemucs, {TRUE}"
    )


def window_start(clip_id: str, length: int, window: int) -> int:
    """First sample of the window of a clip, drawn uniformly by its id; 0 where it is shorter."""
    digest = hashlib.sha256(clip_id.encode()).digest()
    rng = np.random.default_rng(list(digest[:16]))
    return int(rng.random() * (max(length - window, 0) + 1))


def clip_seconds(clip: Clip, sample_rate: int) -> float:
    """Duration of a recording, or of a rendering at that rate where there is none."""
    if clip.audio is not None:
        return audio_seconds(clip.audio)
    return len(waveform(clip, sample_rate)) / sample_rate
