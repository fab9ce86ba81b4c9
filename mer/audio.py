"""Audio of a clip: decode, resample, crop."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from mer import rendering
from mer.clips import Clip, file_digest
from mer.errors import DataWarning, InvalidDataError, MissingDataError, ParameterError
from mer.ffmpeg import ffmpeg_file, format_of
from mer.files import atomic_path, require_file
from mer.libraries import load_librosa
from mer.paths import cache_folder, native
from mer.rendering import check_rate

_EXPECTED = "; expected an audio file"

_RATES = (1_000, 768_000)
"""Sample rates that recordings have, in Hz."""

_LOUDEST = 1_000.0
"""Of a sample: 60 dB above full scale. Squares of far larger ones are no float32 any more."""

_LONGEST = 24 * 3600.0
"""Seconds."""

_COUNTED = 30
"""Seconds that are decoded at a time to be counted."""

_STREAMED = 0x7FFFF000
"""From this length of its data on a WAV file does not tell it."""

_OGG_PAGE, _OGG_LAST = 65_307, 4
"""Bytes of the longest page of an Ogg file, and the flag of its last one."""

_SHORTER = 0.1
"""Seconds that a file may lack; some formats do not count exactly."""

_CANCELLED = 1e-4
"""Share of the energy of its channels that their mean has at least."""


def load_audio(path: Path, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Decode a file to mono.

    Parameters
    ----------
    path : Path
        Any format that libsndfile reads; MP4, WebM and others where ffmpeg is installed.
    sample_rate : int, optional
        Rate to resample to, in Hz, from 1,000 to 768,000; None keeps the rate of the file.

    Returns
    -------
    samples : np.ndarray, shape (n_samples,), float32
        Mean of the channels, in [-1, 1].
    sample_rate : int
        In Hz.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidDataError
        If it cannot be decoded, is empty, has a sample rate out of that range, lasts more than 24
        hours, or has samples that are not finite or beyond all loudness.
    ParameterError
        If `sample_rate` is out of that range.
    """
    if sample_rate is not None:
        check_rate(sample_rate, *_RATES)
    try:
        with _opened(path) as file:
            blocks = list(_blocks(file, path, -1, True))  # several only where one is damaged
            mono = np.concatenate(blocks) if len(blocks) > 1 else blocks[0]
            rate = file.samplerate
    except MemoryError:
        raise InvalidDataError(f"{path} does not fit in memory; cut it into pieces") from None
    if sample_rate is None or sample_rate == rate:
        return mono, rate
    return resample(mono, rate, sample_rate), sample_rate


def audio_seconds(path: Path) -> float:
    """Length of a file in seconds, as its header tells it; nothing is decoded.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidDataError
        If it is not audio, or has a sample rate or a length that no recording has.
    """
    with _opened(path) as file:
        if seconds := _told_seconds(file):
            return seconds
        # A recording of a browser, say, does not tell its length
        blocks = _blocks(file, path, _COUNTED * file.samplerate, False)
        return float(sum(map(len, blocks)) / file.samplerate)


def _told_seconds(file: Any) -> float:
    return float(getattr(file, "duration", file.frames / file.samplerate))


def audio_channels(path: Path) -> int:
    """Number of channels of a file; errors as `audio_seconds`."""
    with _opened(path) as file:
        return int(file.channels)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A file to read from: a `soundfile.SoundFile`, or an `FfmpegFile` where it takes ffmpeg."""
    import soundfile

    form = _check_kind(path)
    try:
        with ffmpeg_file(path, form) if form else soundfile.SoundFile(native(path)) as file:
            _check_header(file, path)
            yield file
    except soundfile.LibsndfileError as error:
        raise _unreadable(path, error) from None


def audio_blocks(
    path: Path, sample_rate: int, *, block_seconds: float = 30.0, mono: bool = True
) -> Iterator[np.ndarray]:
    """Decode a file piece by piece, in memory that does not grow with its length.

    One resampler runs through the whole file, so the blocks in a row are what `load_audio` gives,
    sample for sample.

    Parameters
    ----------
    path : Path
        Any format that libsndfile reads; MP4, WebM and others where ffmpeg is installed.
    sample_rate : int
        Rate to resample to, in Hz.
    block_seconds : float
        Length of the pieces that are decoded; the blocks differ from it by the delay of the
        resampler.
    mono : bool
        Whether to take the mean of the channels.

    Yields
    ------
    np.ndarray, shape (n_samples,) or, if not `mono`, (n_samples, n_channels), float32
        In [-1, 1]; never empty.

    Raises
    ------
    MissingDataError, InvalidDataError
        As `load_audio`, when the block that is concerned is asked for.
    ParameterError
        If `block_seconds` is not positive, or `sample_rate` as there.
    """
    check_rate(sample_rate, *_RATES)
    if block_seconds <= 0:
        raise ParameterError(f"block_seconds is {block_seconds}; expected a positive number")
    with _opened(path) as file:
        decoded = _blocks(file, path, max(1, round(block_seconds * file.samplerate)), mono)
        yield from resampled_blocks(decoded, file.samplerate, sample_rate)


def _blocks(file: Any, path: Path, length: int, mono: bool) -> Iterator[np.ndarray]:
    """What is left of a file, in blocks of a length; all of it in one if that is -1."""
    start, energy, energy_of_mean = 0, 0.0, 0.0
    while (block := file.read(length, dtype="float32", always_2d=True)).size:
        _check_samples(path, block, file.samplerate, start)
        mean = block.mean(axis=1)
        if mono and block.shape[1] > 1:
            energy += float(np.vdot(block, block)) / block.shape[1]
            energy_of_mean += float(np.vdot(mean, mean))
        yield mean if mono else block
        start += len(block)
        if start > _LONGEST * file.samplerate:
            raise InvalidDataError(f"{path} lasts more than {_LONGEST / 3600:.0f} h; cut it")
    if not start:
        raise InvalidDataError(f"{path} has no samples")
    seconds = start / file.samplerate
    expected = max(file.frames / file.samplerate, seconds * _promised(path))
    if seconds < expected - _SHORTER and math.isinf(expected):
        text = f"{path} ends after {seconds:.2f} s, within a page: it was cut short"
        warnings.warn(text, DataWarning, stacklevel=3)
    elif seconds < expected - _SHORTER:
        text = f"{path} ends after {seconds:.2f} s; its header says {expected:.2f} s"
        warnings.warn(text, DataWarning, stacklevel=3)
    if energy_of_mean < _CANCELLED * energy:
        text = f"{path}: its channels cancel each other in their mean"
        warnings.warn(text, DataWarning, stacklevel=3)


def _promised(path: Path) -> float:
    """How many times the sound that is there a WAV file promises; infinity for an Ogg file's end.

    libsndfile takes what is there for all. Streamed WAV files have the largest length there is.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"OggS":
            file.seek(max(size - _OGG_PAGE, 0))
            end = file.read()
            flags = end[end.rfind(b"OggS") + 5 :][:1]
            return 1.0 if not flags or flags[0] & _OGG_LAST else math.inf
        while head[8:] == b"WAVE" and len(chunk := file.read(8)) == 8:
            length, here = int.from_bytes(chunk[4:], "little"), size - file.tell()
            if chunk[:4] == b"data":
                return length / here if 0 < here < length < _STREAMED else 1.0
            file.seek(length + length % 2, os.SEEK_CUR)
    return 1.0


def resampled_blocks(
    blocks: Iterable[np.ndarray], from_rate: int, to_rate: int
) -> Iterator[np.ndarray]:
    """What `resample` makes of the blocks in a row, shape (n_samples,) or (n_samples, n_channels).

    Rates are in Hz.
    """
    if from_rate == to_rate:
        yield from blocks
        return
    import soxr

    stream: Any = None
    shape: tuple[int, ...] = ()
    taken = given = 0
    for block in blocks:
        if stream is None:
            shape = block.shape[1:]
            stream = soxr.ResampleStream(from_rate, to_rate, *(shape or (1,)), dtype="float32")
        piece = stream.resample_chunk(block)
        taken, given = taken + len(block), given + len(piece)
        if piece.size:
            yield piece
    rest = stream.resample_chunk(np.empty((0, *shape), dtype=np.float32), last=True)
    length = math.ceil(taken * (to_rate / from_rate)) - given
    if length > 0:
        padded = np.zeros((length, *shape), dtype=np.float32)
        padded[: len(rest)] = rest[:length]
        yield padded


def _check_kind(path: Path) -> str | None:
    """Say what a file is, where people often take it for audio; its format if it takes ffmpeg."""
    require_file(path, _EXPECTED)
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise InvalidDataError(f"{path} is empty (0 bytes); expected an audio file")
    if head.lstrip().startswith(b"<"):
        raise InvalidDataError(
            f"{path} is not audio but a web page (HTML) or XML; download it again"
        )
    if path.suffix.lower() == ".raw":
        raise InvalidDataError(
            f"{path} has raw samples without a header that tells their rate; convert it to WAV or "
            "FLAC"
        )
    return format_of(head)


def _check_header(file: Any, path: Path) -> None:
    lowest, highest = _RATES
    if not lowest <= file.samplerate <= highest:
        raise InvalidDataError(
            f"{path} has a sample rate of {file.samplerate:,} Hz; expected {lowest:,} to "
            f"{highest:,} Hz: its header is damaged"
        )
    if _told_seconds(file) > _LONGEST:  # so, too, where a stream left it open
        raise InvalidDataError(
            f"{path} has a header that says more than {_LONGEST / 3600:.0f} h; the header is "
            "damaged or was never completed: convert the file"
        )


def _check_samples(path: Path, block: np.ndarray, rate: int, start: int) -> None:
    """Samples, shape (n, channels), must be finite and no louder than `_LOUDEST`."""
    if max(block.max(), -block.min()) <= _LOUDEST:  # not so for NaN
        return
    finite = np.isfinite(block).all(axis=1)
    right = finite if not finite.all() else (np.abs(block) <= _LOUDEST).all(axis=1)
    first = int(right.argmin())
    seconds = (start + first) / rate
    if not finite.all():
        raise InvalidDataError(
            f"{path} has samples that are not finite numbers, the first at {seconds:.3f} s"
        )
    raise InvalidDataError(
        f"{path} has a sample of {np.abs(block[first]).max():g} at {seconds:.3f} s; expected -1 to "
        "1: scale it, or decode it again"
    )


def _unreadable(path: Path, error: Any) -> InvalidDataError:
    # A FLAC file that is cut short gives a number without words
    reason = error.error_string or f"libsndfile error {error.code}"
    if path.is_file() and reason.startswith("File does not exist"):
        reason = "libsndfile does not know its content as audio"  # what it says of some damaged MP3
    return InvalidDataError(f"{path} is not readable audio: {reason}")


def checked_mono(samples: np.ndarray) -> np.ndarray:
    """The samples as float32, if they are those of one channel.

    Raises
    ------
    InvalidDataError
        If they are not one channel, are no floating-point numbers, are none at all, are not
        finite, or are beyond all loudness.
    """
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise InvalidDataError(
            f"audio has shape {samples.shape} and type {samples.dtype}; expected one channel of "
            "floating-point samples: mix the channels and scale to [-1, 1]"
        )
    if not len(samples):
        raise InvalidDataError("audio has no samples; expected at least one")
    loudest = max(samples.max(), -samples.min())
    if not np.isfinite(loudest):
        raise InvalidDataError(
            f"audio holds {np.count_nonzero(~np.isfinite(samples))} samples that are NaN or "
            "infinite; expected finite samples: decode the file again or leave it out"
        )
    if loudest > _LOUDEST:
        raise InvalidDataError(
            f"audio holds samples of up to {loudest:g}; expected samples in [-1, 1]: scale them"
        )
    return samples.astype(np.float32, copy=False)


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Band-limited resampling with soxr; shape (n,) to (ceil(n * to_rate / from_rate),).

    Rates are in Hz, from 1,000 to 768,000; a `ParameterError` otherwise.
    """
    for rate in (from_rate, to_rate):
        check_rate(rate, *_RATES)
    librosa = load_librosa()

    return librosa.resample(samples, orig_sr=from_rate, target_sr=to_rate)


def crop(samples: np.ndarray, length: int, start: int = 0) -> np.ndarray:
    """`length` samples from `start`, padded with zeros at the end where there are fewer."""
    piece = samples[start : start + length]
    return np.pad(piece, (0, length - piece.size))


def waveform(clip: Clip, sample_rate: int = 22050) -> np.ndarray:
    """Samples of a clip: its recording, or a rendering of its MIDI where it has none.

    Renderings are kept in the cache, as 16-bit FLAC.

    Parameters
    ----------
    clip : Clip
    sample_rate : int
        In Hz.

    Returns
    -------
    np.ndarray, shape (n_samples,), float32

    Raises
    ------
    MissingDataError
        If the clip has neither audio nor MIDI, or a file is missing.
    InvalidDataError
        If the file cannot be decoded or rendered, or is rendered to silence.
    ParameterError
        If the sample rate is out of range.
    """
    if clip.audio is not None:
        return load_audio(clip.audio, sample_rate)[0]
    if clip.midi is None:
        raise MissingDataError(f"clip {clip.id!r} has no audio and no MIDI file")
    return _rendered(clip.midi, sample_rate)


def _rendered(midi: Path, sample_rate: int) -> np.ndarray:
    import soundfile

    require_file(midi, "; expected a MIDI file")
    digest = file_digest(midi)
    name = f"{digest[:32]}-{sample_rate}.flac"
    path = cache_folder() / f"rendered-r{rendering.REVISION}" / digest[:2] / name
    if path.is_file():
        with suppress(InvalidDataError):  # a damaged rendering is made again
            return load_audio(path)[0]
    samples = rendering.render_midi(midi, sample_rate)
    peak = float(np.abs(samples).max(initial=0))
    if peak < 0.5**16:  # FluidSynth makes silence of some files; softer than 16 bits can tell
        raise InvalidDataError(
            f"{midi}: rendered to silence; expected a whole MIDI file with notes"
        )
    if peak > 1:
        text = f"{midi}: its rendering has a peak of {peak:.2f}; it is clipped to 1"
        warnings.warn(text, DataWarning, stacklevel=3)
    try:
        with atomic_path(path) as temporary:
            soundfile.write(temporary, samples, sample_rate, format="FLAC", subtype="PCM_16")
            length = len(samples)
            del samples  # of hours of audio, one copy is enough
            stored = load_audio(temporary)[0]
            if len(stored) != length:
                raise OSError(f"{len(stored)} of {length} samples were written")
    except (OSError, soundfile.LibsndfileError, InvalidDataError) as error:
        raise MissingDataError(f"cannot store a rendering in {path.parent}: {error}") from None
    return stored


def audio_source(clips: Iterable[Clip]) -> str:
    """Where the sound of these clips comes from.

    Returns
    -------
    {"recorded", "rendered", "partly rendered", "none"}
    """
    rendered = {clip.audio is None for clip in clips if clip.audio or clip.midi}
    if not rendered:
        return "none"
    if rendered == {True, False}:
        return "partly rendered"
    return "rendered" if rendered == {True} else "recorded"
