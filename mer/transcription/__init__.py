"""Transcribers behind one interface, and MIDI files of their notes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mer import rendering
from mer.audio import audio_blocks, checked_mono, resample, waveform
from mer.clips import Clip
from mer.errors import ParameterError
from mer.features.cache import cached, source_of
from mer.files import atomic_path

TRANSCRIBERS = (
    "onsets-frames",
    "onsets-frames-varied",
    "piano-transcription-inference",
    "basic-pitch",
)

_OFFSET, _OFFSET_SHARE = 0.01, 0.1
"""Mean of the samples, in full scale or in their root mean square, from which on it is removed."""

_TICKS_PER_QUARTER = 500
_QUARTERS_PER_MINUTE = 120
_TICKS_PER_SECOND = _TICKS_PER_QUARTER * _QUARTERS_PER_MINUTE / 60


class Transcriber(Protocol):
    """What turns audio at `sample_rate` (Hz) into notes.

    `revision` is raised whenever its notes of the same audio change.
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
            pitch, as `mer.features.notes.read_notes` gives them. No rows where there is no note.
        """
        ...


@cache
def get_transcriber(name: str = "onsets-frames") -> Transcriber:
    """One of `TRANSCRIBERS`, loaded once a process.

    "onsets-frames" and "onsets-frames-varied" are ours; the two others need packages that are
    installed separately.

    Raises
    ------
    ParameterError
        If there is no such transcriber.
    MissingDataError
        If its weights, or the package behind it, are not here.
    InvalidDataError
        If its weights are damaged.
    """
    from mer.transcription import onsets_frames

    if name in onsets_frames.WEIGHTS:
        return onsets_frames.OnsetsFramesTranscriber(name)
    return _adapter(name)()


def transcriber_revision(name: str) -> int:
    """Revision of a transcriber's notes, known without loading it; errors as `get_transcriber`."""
    from mer.transcription import onsets_frames

    if name in onsets_frames.WEIGHTS:
        return onsets_frames.revision(name)
    return _adapter(name).revision


def _adapter(name: str) -> Any:
    from mer.transcription.adapters import ADAPTERS

    check_transcriber(name)
    return ADAPTERS[name]


def check_transcriber(name: str) -> None:
    """Raise ParameterError if the name is not among `TRANSCRIBERS`."""
    if name not in TRANSCRIBERS:
        raise ParameterError(
            f"unknown transcriber {name!r}; the transcribers are: {', '.join(TRANSCRIBERS)}"
        )


def transcribe_samples(
    samples: np.ndarray, sample_rate: int, transcriber: Transcriber
) -> np.ndarray:
    """Notes of audio in memory, resampled to what the transcriber takes.

    A constant offset is removed first: where it ends, a click would be heard as notes.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,)
        Mono, in [-1, 1].
    sample_rate : int
        In Hz.

    Raises
    ------
    InvalidDataError
        If the samples are not those of one channel (`mer.audio.checked_mono`).
    """
    mono = checked_mono(samples)
    if offset := _offset([mono]):
        mono = mono - offset
    return transcriber.transcribe([resample(mono, sample_rate, transcriber.sample_rate)])


def transcribe_file(
    path: Path, transcriber: Transcriber, *, on_block: Callable[[float], object] | None = None
) -> np.ndarray:
    """Notes of an audio file of any length.

    The file is decoded piece by piece: memory grows with the notes, not with the audio, where the
    transcriber does not keep the blocks ("onsets-frames" does not). A constant offset is removed,
    for which the file is decoded twice.

    Parameters
    ----------
    path : Path
        Any format that libsndfile reads.
    on_block : callable, optional
        Called with the length in seconds of each block once it is transcribed.

    Raises
    ------
    MissingDataError, InvalidDataError
        If the file is missing, cannot be decoded, is empty, or has samples that are not finite.
    """
    with warnings.catch_warnings(action="ignore"):  # they come once more below
        offset = _offset(audio_blocks(path, transcriber.sample_rate))

    def blocks() -> Iterator[np.ndarray]:
        for block in audio_blocks(path, transcriber.sample_rate):
            yield block - offset if offset else block
            if on_block is not None:
                on_block(len(block) / transcriber.sample_rate)

    return transcriber.transcribe(blocks())


def _offset(blocks: Iterable[np.ndarray]) -> np.float32:
    """Mean of the samples; 0 where it is as small as in music that is well recorded."""
    length, total, energy = 0, 0.0, 0.0
    for block in blocks:
        length += len(block)
        total += float(block.sum(dtype=np.float64))
        energy += float(np.vdot(block, block))
    mean, level = abs(total) / length, math.sqrt(energy / length)
    return np.float32(total / length if mean > min(_OFFSET, _OFFSET_SHARE * level) else 0.0)


def transcribed_notes(
    clip: Clip, name: str = "onsets-frames", *, sample_rate: int = 22050
) -> np.ndarray:
    """Notes of a clip by one of `TRANSCRIBERS`, from the cache where they are there.

    Parameters
    ----------
    clip : Clip
        Its recording is transcribed, or the rendering of its MIDI where it has none.
    sample_rate : int
        In Hz, of the audio that is resampled for the transcriber; the one of the acoustic
        features, so that both share one stored rendering.

    Raises
    ------
    ParameterError, MissingDataError, InvalidDataError
        As `get_transcriber` and `mer.audio.waveform`.
    """
    transcriber = get_transcriber(name)
    revisions = {"transcriber": name, "rendering": rendering.REVISION}
    parameters = {**revisions, "sample_rate": sample_rate}

    def compute() -> np.ndarray:
        return transcribe_samples(waveform(clip, sample_rate), sample_rate, transcriber)

    audio = source_of(clip, "audio")
    return cached("transcribed-notes", transcriber.revision, parameters, audio, compute)


def write_midi(notes: np.ndarray, path: Path) -> None:
    """Write notes as a standard MIDI file with one piano track.

    A tick is 1 ms, so times move by at most half of that. A note lasts at least one tick; one
    that still sounds when its pitch is struck again ends there, since a MIDI key cannot go down
    twice.

    Parameters
    ----------
    notes : np.ndarray, shape (n_notes, 4)
        Onset and offset in seconds, MIDI pitch 0-127, velocity 1-127; rounded to whole pitches
        and velocities. May have no rows.
    path : Path
        Takes its name only when it is whole.

    Raises
    ------
    ParameterError
        If the notes have another shape, or values out of range.
    """
    from symusic import Note, Score, Tempo, Track

    onset, duration, pitch, velocity = _ticks(notes).T
    score: Any = Score(_TICKS_PER_QUARTER)
    score.tempos.append(Tempo(time=0, qpm=_QUARTERS_PER_MINUTE))
    track: Any = Track(name="Piano", program=0)
    times, values = (a.astype("int32") for a in (onset, duration)), (pitch, velocity)
    track.notes = Note.from_numpy(*times, *(a.astype("int8") for a in values))
    score.tracks.append(track)
    with atomic_path(path) as temporary:
        temporary.write_bytes(score.dumps_midi())


def _ticks(notes: np.ndarray) -> np.ndarray:
    """Onset and duration in ticks, pitch and velocity; sorted by onset, then pitch."""
    if notes.ndim != 2 or notes.shape[1] != 4:
        raise ParameterError(f"notes have shape {notes.shape}; expected (n, 4)")
    table = np.rint(notes * [_TICKS_PER_SECOND, _TICKS_PER_SECOND, 1, 1])
    lowest, highest = [0, 0, 0, 1], [np.inf, np.inf, 127, 127]
    possible = np.isfinite(table) & (table >= lowest) & (table <= highest)
    if not possible.all():
        row = int(possible.all(axis=1).argmin())
        raise ParameterError(
            f"note {row} is {notes[row].tolist()}; expected an onset and an offset from 0 s on, "
            "a pitch of 0-127 and a velocity of 1-127"
        )
    return _without_overlap(table).astype(np.int64)


def _without_overlap(table: np.ndarray) -> np.ndarray:
    table = table[np.lexsort((table[:, 0], table[:, 2]))]
    struck_again = table[1:, 2] == table[:-1, 2]
    table[:-1, 1][struck_again] = np.minimum(table[:-1, 1], table[1:, 0])[struck_again]
    table[:, 1] = np.maximum(table[:, 1] - table[:, 0], 1)
    return table[np.lexsort((table[:, 2], table[:, 0]))]
