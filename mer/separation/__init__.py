"""Separators behind one interface, and audio files of their stems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import numpy as np

from mer import __version__, rendering
from mer.audio import audio_blocks, checked_mono, crop, resample, waveform
from mer.clips import Clip
from mer.errors import ParameterError
from mer.features.cache import cached, source_of
from mer.files import atomic_path
from mer.paths import native

SOURCES = ("drums", "bass", "other", "vocals")
"""In the order of the demucs package."""
SEPARATORS = ("small", "htdemucs")
MIX = "mix"
"""The source that is none: everything together."""
TRUE = "true"
"""Name of a separator: the sources of a composed clip, each rendered alone."""

_LARGEST_WAV = 2**32 - 2**16
_BYTES_PER_SAMPLE = 4


class Separator(Protocol):
    """What takes a mix apart: audio at `sample_rate` (Hz), as its sources are.

    `revision` is raised whenever its sources of the same audio change.
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
    """One of `SEPARATORS`, loaded once a process.

    "small" is trained here and comes with its weights; "htdemucs", much the better one, fetches
    its authors' weights when it is first used.

    Raises
    ------
    ParameterError
        If there is no such separator.
    MissingDataError
        If its weights are not here and cannot be fetched.
    InvalidDataError
        If its weights are damaged.
    """
    if name not in SEPARATORS:
        raise ParameterError(
            f"unknown separator {name!r}; the separators are: {', '.join(SEPARATORS)}"
        )
    from mer.separation.demucs import HybridDemucs, SmallSeparator

    return SmallSeparator() if name == SmallSeparator.name else HybridDemucs()


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
    if separator not in SEPARATORS:
        known = ", ".join((*SEPARATORS, TRUE))
        raise ParameterError(f"unknown separator {separator!r}; the separators are: {known}")
    from mer.separation.demucs import HybridDemucs, revision

    return revision() if separator == "small" else HybridDemucs.revision


def separate_samples(
    samples: np.ndarray, sample_rate: int, separator: Separator
) -> dict[str, np.ndarray]:
    """Sources of audio in memory, resampled to what the separator takes and back.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,)
        Mono, in [-1, 1].
    sample_rate : int
        In Hz.

    Returns
    -------
    dict of str to np.ndarray, shape (n_samples,), float32

    Raises
    ------
    InvalidDataError
        If the samples are not those of one channel (`mer.audio.checked_mono`).
    """
    mix = resample(checked_mono(samples), sample_rate, separator.sample_rate)
    stems = np.concatenate(list(separator.separate([mix[None]])), axis=-1)[:, 0]
    return {
        source: crop(resample(stem, separator.sample_rate, sample_rate), samples.size)
        for source, stem in zip(SOURCES, stems, strict=True)
    }


def separate_file(
    path: Path, separator: Separator, *, on_block: Callable[[float], object] | None = None
) -> Iterator[np.ndarray]:
    """Sources of an audio file of any length, in memory that does not grow with it.

    Parameters
    ----------
    path : Path
        Any format that libsndfile reads. All its channels are kept.
    on_block : callable, optional
        Called with the length in seconds of each piece that is separated.

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


def source_waveform(
    clip: Clip, source: str, sample_rate: int = 22050, *, separator: str = "small"
) -> np.ndarray:
    """One source of a clip, or all of it, from the cache where it is there.

    All sources are separated at once and kept, as half-precision numbers: their error is 66 dB
    below the sample or more.

    Parameters
    ----------
    clip : Clip
        Its recording is separated, or the rendering of its MIDI where it has none.
    source : str
        One of `SOURCES`, or `MIX`: the clip as `mer.audio.waveform` gives it.
    sample_rate : int
        In Hz.
    separator : str
        One of `SEPARATORS`, or `TRUE`, for clips of the corpus "composed": what was played.

    Returns
    -------
    np.ndarray, shape (n_samples,), float32
        As long as the clip, give or take a sample that resampling adds.

    Raises
    ------
    ParameterError, MissingDataError, InvalidDataError
        As `get_separator` and `mer.audio.waveform`; also if there is no such source, or if the
        clip is not a composed one and `separator` is `TRUE`.
    """
    if source == MIX:
        return waveform(clip, sample_rate)
    if source not in SOURCES:
        raise ParameterError(f"unknown source {source!r}; the sources are: {', '.join(SOURCES)}")
    chosen = None if separator == TRUE else get_separator(separator)
    revision = chosen.revision if chosen else rendering.REVISION

    def stored(name: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
        parameters = {
            "source": name,
            "separator": separator,
            "rendering": rendering.REVISION,
            "sample_rate": sample_rate,
        }
        return cached("sources", revision, parameters, source_of(clip, "audio"), compute)

    def compute_all() -> np.ndarray:
        sources = _sources(clip, sample_rate, chosen)
        half = {name: samples.astype(np.float16) for name, samples in sources.items()}
        for name in set(SOURCES) - {source}:
            stored(name, partial(half.__getitem__, name))
        return half[source]

    return stored(source, compute_all).astype(np.float32)


def _sources(clip: Clip, sample_rate: int, separator: Separator | None) -> dict[str, np.ndarray]:
    if separator is None:
        from mer.composing.stems import stems

        return stems(clip, sample_rate)
    rate = separator.sample_rate
    sources = separate_samples(waveform(clip, rate), rate, separator)
    return {name: resample(samples, rate, sample_rate) for name, samples in sources.items()}


def stem_paths(folder: Path) -> list[Path]:
    """The file of each source, in the order of `SOURCES`."""
    return [folder / f"{source}.wav" for source in SOURCES]


@contextmanager
def stem_files(
    folder: Path, *, sample_rate: int, channels: int, separator: str, seconds: float = 0.0
) -> Iterator[Callable[[np.ndarray], None]]:
    """Write stems piece by piece: one WAV file a source, of 32-bit numbers, so that none clips.

    The files take their names when the block ends well; if it raises, earlier ones stay as they
    were. Each says in its header which separator made it.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    seconds : float
        Expected length: files of more than 4 GiB are written as RF64, which WAV readers take.

    Yields
    ------
    callable
        Takes the next samples, shape (len(SOURCES), channels, n).
    """
    import soundfile

    size = seconds * sample_rate * channels * _BYTES_PER_SAMPLE
    form = "WAV" if size < _LARGEST_WAV else "RF64"
    options = {"samplerate": sample_rate, "channels": channels, "subtype": "FLOAT", "format": form}
    with ExitStack() as stack:
        # All files are closed before the first takes its name
        temporary = [stack.enter_context(atomic_path(path)) for path in stem_paths(folder)]
        opened = (soundfile.SoundFile(native(path), "w", **options) for path in temporary)
        files = [stack.enter_context(file) for file in opened]
        for file, source in zip(files, SOURCES, strict=True):
            file.title = source
            file.software = f"mer {__version__}, separator {separator}"

        def write(stems: np.ndarray) -> None:
            for file, stem in zip(files, stems, strict=True):
                file.write(stem.T)

        yield write
