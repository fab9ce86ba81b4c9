"""From a mix to its sources: separators behind one interface, and audio files of what they give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import numpy as np

from mer import rendering
from mer.audio import audio_blocks, checked_mono, crop, resample, waveform
from mer.clips import Clip
from mer.errors import ParameterError
from mer.features.cache import cached, source_of
from mer.separation.files import stem_files
from mer.separation.streaming import SOURCES

__all__ = [
    "MIX",
    "SEPARATORS",
    "SOURCES",
    "TRUE",
    "Separator",
    "get_separator",
    "separate_file",
    "separate_samples",
    "separated_waveform",
    "source_waveform",
    "stem_files",
]

SEPARATORS = ("small", "htdemucs")
MIX = "mix"
"""The source that is none: everything together."""
TRUE = "true"
"""In place of a separator: the sources of a composed clip, each rendered alone."""


class Separator(Protocol):
    """What takes a mix apart.

    Attributes
    ----------
    name : str
        One of `SEPARATORS`.
    revision : int
        Raised whenever its sources of the same audio change.
    sample_rate : int
        Of the audio that it takes and gives, in Hz.
    """

    name: str
    revision: int
    sample_rate: int

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Sources of one recording, piece by piece. The same audio gives the same sources.

        Parameters
        ----------
        blocks : iterable of np.ndarray, shape (channels, n), float32
            Consecutive pieces of audio at `sample_rate`, of any lengths; how it is cut makes no
            difference.

        Yields
        ------
        np.ndarray, shape (len(SOURCES), channels, n), float32
            Consecutive pieces of the sources, in the order of `SOURCES`; as many samples in all.

        Raises
        ------
        InvalidDataError
            If there are no samples, or more channels than it takes.
        """
        ...


@cache
def get_separator(name: str = "small") -> Separator:
    """A separator by name, loaded once a process.

    Parameters
    ----------
    name : str
        One of `SEPARATORS`. "small" is trained here and comes with its weights; "htdemucs", much
        the better one, fetches its authors' weights when it is first used.

    Raises
    ------
    ParameterError
        If there is no such separator.
    MissingDataError
        If its weights are not here and cannot be fetched.
    InvalidDataError
        If its weights are damaged.
    """
    if name == "small":
        from mer.separation.small import SmallSeparator

        return SmallSeparator()
    if name == "htdemucs":
        from mer.separation.demucs import HybridDemucs

        return HybridDemucs()
    raise ParameterError(f"unknown separator {name!r}; the separators are: {', '.join(SEPARATORS)}")


def separate_samples(
    samples: np.ndarray, sample_rate: int, separator: Separator
) -> dict[str, np.ndarray]:
    """Sources of audio in memory.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,)
        Mono, in [-1, 1].
    sample_rate : int
        In Hz; resampled to what the separator takes, and its sources back again.
    separator : Separator

    Returns
    -------
    dict of str to np.ndarray, shape (n_samples,), float32
        By source.

    Raises
    ------
    InvalidDataError
        If the samples are not those of one channel (`mer.audio.checked_mono`).
    """
    mix = _resampled(checked_mono(samples), sample_rate, separator.sample_rate)
    stems = np.concatenate(list(separator.separate([mix[None]])), axis=-1)[:, 0]
    return {
        source: crop(_resampled(stem, separator.sample_rate, sample_rate), samples.size)
        for source, stem in zip(SOURCES, stems, strict=True)
    }


def _resampled(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    return samples if from_rate == to_rate else resample(samples, from_rate, to_rate)


def separate_file(
    path: Path, separator: Separator, *, on_block: Callable[[float], object] | None = None
) -> Iterator[np.ndarray]:
    """Sources of an audio file of any length, in memory that does not grow with it.

    Parameters
    ----------
    path : Path
        Any format that libsndfile reads. All its channels are kept.
    separator : Separator
    on_block : callable, optional
        Told the length in seconds of each piece that is separated.

    Yields
    ------
    np.ndarray, shape (len(SOURCES), channels, n), float32
        As from `Separator.separate`.

    Raises
    ------
    MissingDataError, InvalidDataError
        If the file is missing, cannot be decoded, is empty, or has samples that are not finite;
        or as `Separator.separate`.
    """
    blocks = (block.T for block in audio_blocks(path, separator.sample_rate, mono=False))
    for stems in separator.separate(blocks):
        yield stems
        if on_block is not None:
            on_block(stems.shape[-1] / separator.sample_rate)


def separated_waveform(
    clip: Clip, source: str, sample_rate: int = 22050, separator: str = "small"
) -> np.ndarray:
    """One source of a clip as a separator hears it, from the cache where it is there.

    All sources are separated at once and kept, as half-precision numbers: their error is 66 dB
    below the sample or more.

    Parameters
    ----------
    clip : Clip
        Its recording is separated, or the rendering of its MIDI where it has none.
    source : str
        One of `SOURCES`.
    sample_rate : int
        In Hz.
    separator : str
        One of `SEPARATORS`.

    Returns
    -------
    np.ndarray, shape (n_samples,), float32
        As long as the clip, give or take a sample that resampling adds.

    Raises
    ------
    ParameterError, MissingDataError, InvalidDataError
        As `get_separator` and `mer.audio.waveform`; also if there is no such source.
    """
    _check_source(source)
    chosen = get_separator(separator)

    def compute() -> dict[str, np.ndarray]:
        stems = separate_samples(waveform(clip, chosen.sample_rate), chosen.sample_rate, chosen)
        return {
            name: _resampled(stem, chosen.sample_rate, sample_rate) for name, stem in stems.items()
        }

    return _cached_source(clip, source, sample_rate, separator, chosen.revision, compute)


def source_waveform(
    clip: Clip, source: str, sample_rate: int = 22050, *, separator: str = "small"
) -> np.ndarray:
    """One source of a clip, or all of it, from the cache where it is there.

    Parameters
    ----------
    clip : Clip
    source : str
        One of `SOURCES`, or `MIX`: the clip as `mer.audio.waveform` gives it.
    sample_rate : int
        In Hz.
    separator : str
        One of `SEPARATORS`, or `TRUE`, for clips of the corpus "composed": what was played.

    Returns
    -------
    np.ndarray, shape (n_samples,), float32

    Raises
    ------
    ParameterError, MissingDataError, InvalidDataError
        As `separated_waveform`. With `TRUE`, MissingDataError if the clip is not a composed one.
    """
    if source == MIX:
        return waveform(clip, sample_rate)
    if separator != TRUE:
        return separated_waveform(clip, source, sample_rate, separator)
    from mer.composing.stems import stems

    _check_source(source)
    return _cached_source(
        clip, source, sample_rate, TRUE, rendering.REVISION, lambda: stems(clip, sample_rate)
    )


def _check_source(source: str) -> None:
    if source not in SOURCES:
        raise ParameterError(f"unknown source {source!r}; the sources are: {', '.join(SOURCES)}")


def _cached_source(
    clip: Clip,
    source: str,
    sample_rate: int,
    separator: str,
    revision: int,
    compute: Callable[[], dict[str, np.ndarray]],
) -> np.ndarray:
    file = source_of(clip, "audio")

    def stored(name: str, compute_one: Callable[[], np.ndarray]) -> np.ndarray:
        parameters = {
            "source": name,
            "separator": separator,
            "rendering": rendering.REVISION,
            "sample_rate": sample_rate,
        }
        return cached("sources", revision, parameters, file, compute_one)

    def compute_all() -> np.ndarray:
        half = {name: stem.astype(np.float16) for name, stem in compute().items()}
        for name in set(SOURCES) - {source}:
            stored(name, partial(half.__getitem__, name))
        return half[source]

    return stored(source, compute_all).astype(np.float32)
