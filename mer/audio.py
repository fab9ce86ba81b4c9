"""Audio of a clip: decode, resample, crop, segment."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from mer import rendering
from mer.clips import Clip, file_digest
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.files import atomic_path
from mer.libraries import load_librosa
from mer.paths import cache_folder


def load_audio(path: Path, sample_rate: int | None = None) -> tuple[np.ndarray, int]:
    """Decode a file to mono.

    Parameters
    ----------
    path : Path
        Any format that libsndfile reads.
    sample_rate : int, optional
        Rate to resample to, in Hz; None keeps the rate of the file.

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
        If it cannot be decoded, is empty, or has samples that are not finite.
    """
    import soundfile

    if not path.is_file():
        raise MissingDataError(f"{path} does not exist; expected an audio file")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InvalidDataError(f"{path} is not readable audio: {error.error_string}") from None
    mono = samples.mean(axis=1)
    if not mono.size:
        raise InvalidDataError(f"{path} has no samples")
    if not np.isfinite(mono).all():
        raise InvalidDataError(f"{path} has samples that are not finite numbers")
    if sample_rate is None or sample_rate == rate:
        return mono, rate
    return resample(mono, rate, sample_rate), sample_rate


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Band-limited resampling with soxr; shape (n,) to (ceil(n * to_rate / from_rate),)."""
    librosa = load_librosa()

    return librosa.resample(samples, orig_sr=from_rate, target_sr=to_rate)


def crop(samples: np.ndarray, length: int, start: int = 0) -> np.ndarray:
    """`length` samples from `start`, padded with zeros at the end where there are fewer."""
    piece = samples[start : start + length]
    return np.pad(piece, (0, length - piece.size))


def segment(samples: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Overlapping segments as a view, without padding.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,)
    length, hop : int
        In samples.

    Returns
    -------
    np.ndarray, shape (1 + (n_samples - length) // hop, length)
        Shape (0, length) where there are fewer samples than `length`.

    Raises
    ------
    ParameterError
        If `length` or `hop` is not positive.
    """
    if length < 1 or hop < 1:
        raise ParameterError(f"length is {length} and hop is {hop}; expected positive numbers")
    if samples.size < length:
        return np.empty((0, length), dtype=samples.dtype)
    return np.lib.stride_tricks.sliding_window_view(samples, length)[::hop]


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
    """
    if clip.audio is not None:
        return load_audio(clip.audio, sample_rate)[0]
    if clip.midi is None:
        raise MissingDataError(f"clip {clip.id!r} has no audio and no MIDI file")
    return _rendered(clip.midi, sample_rate)


def _rendered(midi: Path, sample_rate: int) -> np.ndarray:
    import soundfile

    digest = file_digest(midi) if midi.is_file() else ""
    name = f"{digest[:32]}-{sample_rate}.flac"
    path = cache_folder() / f"rendered-r{rendering.REVISION}" / digest[:2] / name
    if path.is_file():
        with suppress(InvalidDataError):  # a damaged rendering is made again
            return load_audio(path)[0]
    samples = rendering.render_midi(midi, sample_rate)
    if not samples.any():  # FluidSynth makes silence of a file that is cut short
        raise InvalidDataError(
            f"{midi}: rendered to silence; expected a whole MIDI file with notes"
        )
    with atomic_path(path) as temporary:
        soundfile.write(temporary, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return load_audio(path)[0]


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
