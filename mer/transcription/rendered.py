"""Performances played on many instruments: audio whose notes are known."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mer.features.cache import cached, content_digest
from mer.features.notes import read_notes
from mer.rendering import Sound, render_midi
from mer.transcription.spectrogram import (
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    REVISION,
    SAMPLE_RATE,
    log_frequency_spectrogram,
)

PROGRAMS = (0, 0, 0, 1, 1, 2, 3, 4)
"""General MIDI: grand piano, bright piano, electric grand, honky-tonk, electric piano."""


class Excerpt(NamedTuple):
    """Part of a performance.

    Attributes
    ----------
    levels : np.ndarray, shape (2, N_BANDS, n_frames), uint8
        See `mer.transcription.spectrogram`.
    notes : np.ndarray, shape (n_notes, 4)
        With the pedal applied, in seconds from the start of the excerpt.
    """

    levels: np.ndarray
    notes: np.ndarray


@dataclass(frozen=True, slots=True)
class Take:
    """How an excerpt is played.

    Attributes
    ----------
    start, seconds : float
        Part of the performance.
    soundfont : int
        Number of the soundfont in the list that is used.
    program : int
        General MIDI program.
    gain : float
        Of the synthesizer.
    reverb : float
        Level of the reverb, 0 for none.
    room : float
        Size of the room, 0-1.
    cents : float
        Tuning.
    """

    start: float
    seconds: float
    soundfont: int = 0
    program: int = 0
    gain: float = 0.6
    reverb: float = 0.0
    room: float = 0.2
    cents: float = 0.0

    @property
    def stretch(self) -> float:
        """By how much everything is higher and faster."""
        return float(2 ** (self.cents / 1200))


def random_take(
    duration: float, seconds: float, n_soundfonts: int, rng: np.random.Generator
) -> Take:
    """A random part of a performance on a random instrument in a random room.

    Parameters
    ----------
    duration : float
        Of the performance, in seconds.
    seconds : float
        Longest excerpt.
    n_soundfonts : int
    rng : np.random.Generator
    """
    return Take(
        start=round(float(rng.uniform(0, max(duration - seconds, 0))), 3),
        seconds=seconds,
        soundfont=int(rng.integers(n_soundfonts)),
        program=int(rng.choice(PROGRAMS)),
        gain=round(float(np.exp(rng.uniform(np.log(0.2), np.log(0.9)))), 3),
        reverb=round(float(rng.choice([0, rng.uniform(0.1, 0.9)])), 2),
        room=round(float(rng.uniform(0.1, 0.9)), 2),
        cents=round(float(rng.normal(0, 8)), 1),
    )


def play(midi: Path, take: Take, soundfonts: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Play part of a performance.

    Parameters
    ----------
    midi : Path
    take : Take
    soundfonts : sequence of Path

    Returns
    -------
    samples : np.ndarray, shape (n_samples,), float32
        At `SAMPLE_RATE`.
    notes : np.ndarray, shape (n_notes, 4)
        Those that begin within the samples, with the pedal applied; they end there at the latest.

    Raises
    ------
    MissingDataError, InvalidDataError
        As `mer.rendering.render_midi`.
    """
    with _part(midi, take) as part:
        samples = _samples(part, take, soundfonts)
        return samples, _notes(part, take, samples.size / SAMPLE_RATE)


def render_excerpt(midi: Path, take: Take, soundfonts: Sequence[Path]) -> Excerpt:
    """What `play` gives, analysed; kept in the cache."""
    with _part(midi, take) as part:
        levels = cached(
            "transcriber-excerpts",
            REVISION,
            {**asdict(take), "soundfont": content_digest(soundfonts[take.soundfont])},
            midi,
            lambda: _levels(_samples(part, take, soundfonts)),
        )
        return Excerpt(levels, _notes(part, take, levels.shape[2] / FRAMES_PER_SECOND))


@contextmanager
def _part(midi: Path, take: Take) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mer-take-") as folder:
        part = Path(folder) / "take.mid"
        part.write_bytes(_cut(midi, take.start, take.start + take.seconds, take.program))
        yield part


def _samples(part: Path, take: Take, soundfonts: Sequence[Path]) -> np.ndarray:
    sound = Sound(gain=take.gain, reverb=take.reverb, room=take.room)
    # Taken as being at SAMPLE_RATE afterwards, which tunes it.
    rate = round(SAMPLE_RATE / take.stretch)
    soundfont = soundfonts[take.soundfont]
    samples = render_midi(part, rate, soundfont=soundfont, sound=sound, trim=False)
    return samples[: int(take.seconds * SAMPLE_RATE / take.stretch)]


def _notes(part: Path, take: Take, seconds: float) -> np.ndarray:
    notes = read_notes(part, pedal=True)
    notes[:, :2] /= take.stretch
    notes = notes[notes[:, 0] < seconds]
    notes[:, 1] = np.minimum(notes[:, 1], seconds)
    return notes


def _levels(samples: np.ndarray) -> np.ndarray:
    return log_frequency_spectrogram(samples)[..., : samples.size // HOP_LENGTH]


def _cut(midi: Path, start: float, stop: float, program: int) -> bytes:
    """Part of a MIDI file, its first instrument replaced."""
    from symusic import Score

    score = Score(midi, ttype="second").clip(start, stop, clip_end=True)
    score = score.shift_time(-start)
    for track in score.tracks:
        track.program = program
    content: bytes = score.to("tick").dumps_midi()
    return content
