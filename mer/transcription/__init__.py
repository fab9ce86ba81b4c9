"""From audio to notes: transcribers behind one interface, and MIDI files of what they hear."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from mer import rendering
from mer.audio import audio_blocks, checked_mono, resample, waveform
from mer.clips import Clip
from mer.errors import ParameterError
from mer.features.cache import cached, source_of
from mer.transcription.files import write_midi

__all__ = [
    "TRANSCRIBERS",
    "Transcriber",
    "get_transcriber",
    "transcribe_file",
    "transcribe_samples",
    "transcribed_notes",
    "transcriber_revision",
    "write_midi",
]

TRANSCRIBERS = ("onsets-frames", "piano-transcription-inference", "basic-pitch")


class Transcriber(Protocol):
    """What turns audio into notes.

    Attributes
    ----------
    name : str
        One of `TRANSCRIBERS`.
    revision : int
        Raised whenever its notes of the same audio change.
    sample_rate : int
        Of the audio that it takes, in Hz.
    """

    name: str
    revision: int
    sample_rate: int

    def transcribe(self, blocks: Iterable[np.ndarray]) -> np.ndarray:
        """Notes of one recording.

        Parameters
        ----------
        blocks : iterable of np.ndarray, shape (n_samples,), float32
            Consecutive pieces of mono audio at `sample_rate`, of any lengths.

        Returns
        -------
        np.ndarray, shape (n_notes, 4), float64
            Onset and offset in seconds, MIDI pitch 0-127, velocity 1-127; sorted by onset, then
            pitch, as `mer.features.notes.read_notes` gives them. No rows where nothing is heard.
        """
        ...


@cache
def get_transcriber(name: str = "onsets-frames") -> Transcriber:
    """A transcriber by name, loaded once a process.

    Parameters
    ----------
    name : str
        One of `TRANSCRIBERS`. "onsets-frames" is ours; the packages behind the two others are
        installed by whoever wants them.

    Raises
    ------
    ParameterError
        If there is no such transcriber.
    MissingDataError
        If its weights, or the package behind it, are not here.
    InvalidDataError
        If its weights are damaged.
    """
    if name == "onsets-frames":
        from mer.transcription.onsets_frames import OnsetsFramesTranscriber

        return OnsetsFramesTranscriber()
    from mer.transcription.adapters import BasicPitch, PianoTranscriptionInference

    if name == PianoTranscriptionInference.name:
        return PianoTranscriptionInference()
    if name == BasicPitch.name:
        return BasicPitch()
    raise _unknown(name)


def transcriber_revision(name: str) -> int:
    """Revision of a transcriber's notes, known without loading it.

    Parameters
    ----------
    name : str
        One of `TRANSCRIBERS`.

    Raises
    ------
    ParameterError
        If there is no such transcriber.
    """
    if name == "onsets-frames":
        from mer.transcription.onsets_frames import revision

        return revision()
    from mer.transcription.adapters import BasicPitch, PianoTranscriptionInference

    for adapter in (PianoTranscriptionInference, BasicPitch):
        if name == adapter.name:
            return adapter.revision
    raise _unknown(name)


def _unknown(name: str) -> ParameterError:
    return ParameterError(
        f"unknown transcriber {name!r}; the transcribers are: {', '.join(TRANSCRIBERS)}"
    )


def transcribe_samples(
    samples: np.ndarray, sample_rate: int, transcriber: Transcriber
) -> np.ndarray:
    """Notes of audio in memory.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,)
        Mono, in [-1, 1].
    sample_rate : int
        In Hz; resampled to what the transcriber takes.
    transcriber : Transcriber

    Returns
    -------
    np.ndarray, shape (n_notes, 4), float64
        As from `Transcriber.transcribe`.

    Raises
    ------
    InvalidDataError
        If the samples are not those of one channel (`mer.audio.checked_mono`).
    """
    samples = checked_mono(samples)
    if sample_rate != transcriber.sample_rate:
        samples = resample(samples, sample_rate, transcriber.sample_rate)
    return transcriber.transcribe([samples])


def transcribe_file(
    path: Path, transcriber: Transcriber, *, on_block: Callable[[float], object] | None = None
) -> np.ndarray:
    """Notes of an audio file of any length.

    The file is decoded piece by piece: memory grows with the notes, not with the audio, where the
    transcriber lets go of the blocks that it has heard ("onsets-frames" does).

    Parameters
    ----------
    path : Path
        Any format that libsndfile reads.
    transcriber : Transcriber
    on_block : callable, optional
        Told the length in seconds of each block that the transcriber has taken and asks for more.

    Returns
    -------
    np.ndarray, shape (n_notes, 4), float64
        As from `Transcriber.transcribe`.

    Raises
    ------
    MissingDataError, InvalidDataError
        If the file is missing, cannot be decoded, is empty, or has samples that are not finite.
    """
    blocks = audio_blocks(path, transcriber.sample_rate)
    if on_block is not None:
        blocks = _told(blocks, transcriber.sample_rate, on_block)
    return transcriber.transcribe(blocks)


def _told(
    blocks: Iterable[np.ndarray], sample_rate: int, on_block: Callable[[float], object]
) -> Iterator[np.ndarray]:
    for block in blocks:
        yield block
        on_block(len(block) / sample_rate)


def transcribed_notes(
    clip: Clip, name: str = "onsets-frames", *, sample_rate: int = 22050
) -> np.ndarray:
    """Notes that a transcriber hears in a clip, from the cache where they are there.

    Parameters
    ----------
    clip : Clip
        Its recording is heard, or the rendering of its MIDI where it has none.
    name : str
        One of `TRANSCRIBERS`.
    sample_rate : int
        In Hz, of the audio that the transcriber gets, resampled to its own rate; the one of the
        acoustic features, so that both share one stored rendering.

    Returns
    -------
    np.ndarray, shape (n_notes, 4), float64
        As from `Transcriber.transcribe`.

    Raises
    ------
    ParameterError, MissingDataError, InvalidDataError
        As `get_transcriber` and `mer.audio.waveform`.
    """
    transcriber = get_transcriber(name)
    parameters = {
        "transcriber": name,
        "rendering": rendering.REVISION,
        "sample_rate": sample_rate,
    }
    return cached(
        "transcribed-notes",
        transcriber.revision,
        parameters,
        source_of(clip, "audio"),
        lambda: transcribe_samples(waveform(clip, sample_rate), sample_rate, transcriber),
    )
