"""Excerpts of MIDI files played source by source: mixes whose stems are known."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mer.audio import crop
from mer.errors import InvalidDataError
from mer.features.cache import cached, content_digest
from mer.rendering import Sound, render_midi
from mer.separation.instruments import replace_programs, track_sources
from mer.separation.streaming import SOURCES

REVISION = 1
"""Raised whenever the samples change."""

SAMPLE_RATE = 22050
_TAIL_SECONDS = 0.5
"""Music before an excerpt that is played, too, so that held notes sound at its start."""


@dataclass(frozen=True, slots=True)
class Take:
    """How an excerpt is played.

    Attributes
    ----------
    start, seconds : float
        Part of the file.
    soundfont : int
        Number of the soundfont in the list that is used.
    stretch : float
        Speed, and with it pitch, relative to the file.
    reverb, room : float
        As in `mer.rendering.Sound`.
    programs : int or None
        Seed of other instruments; None keeps those of the file.
    """

    start: float
    seconds: float
    soundfont: int = 0
    stretch: float = 1.0
    reverb: float = 0.0
    room: float = 0.2
    programs: int | None = None


def random_take(
    duration: float, seconds: float, n_soundfonts: int, rng: np.random.Generator
) -> Take:
    """A take of a file of that duration, both in seconds."""
    seconds = min(seconds, duration)
    return Take(
        start=round(rng.uniform(0, duration - seconds), 3),
        seconds=round(seconds, 3),
        soundfont=int(rng.integers(n_soundfonts)),
        stretch=round(float(2 ** (rng.uniform(-1, 1) / 12)), 4),
        reverb=round(rng.uniform(0.1, 0.8), 2) if rng.random() < 0.5 else 0.0,
        room=round(rng.uniform(0.1, 0.7), 2),
        programs=int(rng.integers(2**31)),
    )


def midi_seconds(midi: Path) -> float:
    """Duration of a MIDI file.

    Raises
    ------
    InvalidDataError
        If it is damaged or has no notes.
    """
    return float(_score(midi).end())


def render_stems(midi: Path, take: Take, soundfonts: Sequence[Path]) -> np.ndarray:
    """Sources of an excerpt, from the cache where they are there.

    Parameters
    ----------
    midi : Path
    take : Take
    soundfonts : sequence of Path

    Returns
    -------
    np.ndarray, shape (len(SOURCES), n_samples), float16
        At `SAMPLE_RATE`; a source without notes is silence. The mix is their sum.

    Raises
    ------
    MissingDataError
        If the file, a soundfont or FluidSynth is missing.
    InvalidDataError
        If the file is damaged or has no notes.
    """
    return cached(
        "separator-stems",
        REVISION,
        {**asdict(take), "soundfont": content_digest(soundfonts[take.soundfont])},
        midi,
        lambda: _render(midi, take, soundfonts[take.soundfont]),
    )


def _render(midi: Path, take: Take, soundfont: Path) -> np.ndarray:
    score = _score(midi)
    sources = track_sources(score.tracks)
    if take.programs is not None:
        replace_programs(score.tracks, sources, np.random.default_rng(take.programs))
    lead_in = min(take.start, _TAIL_SECONDS)
    part = _excerpt(score, take.start - lead_in, take.start + take.seconds)
    sound = Sound(reverb=take.reverb, room=take.room)
    # Taken as being at SAMPLE_RATE afterwards, which stretches and tunes it.
    rate = round(SAMPLE_RATE / take.stretch)
    first, length = round(lead_in * rate), round(take.seconds * rate)
    stems = np.zeros((len(SOURCES), length), dtype=np.float16)
    with tempfile.TemporaryDirectory(prefix="mer-take-") as folder:
        for row, source in enumerate(SOURCES):
            content = _alone(part, sources, source)
            if content is None:
                continue
            path = Path(folder) / f"{source}.mid"
            path.write_bytes(content)
            samples = render_midi(path, rate, soundfont=soundfont, sound=sound, trim=False)
            stems[row] = crop(samples, length, first)
    return stems


def _score(midi: Path) -> Any:
    from symusic import Score

    try:
        score = Score(midi, ttype="second")
    except (RuntimeError, ValueError) as error:
        raise InvalidDataError(f"{midi} is not readable MIDI: {error}") from None
    if not any(len(track.notes) for track in score.tracks):
        raise InvalidDataError(f"{midi} has no notes")
    return score


def _excerpt(score: Any, start: float, stop: float) -> Any:
    """Part of a score; controls that were set before it keep their values."""
    from symusic import ControlChange, PitchBend

    part = score.clip(start, stop, clip_end=True).shift_time(-start)
    for whole, track in zip(score.tracks, part.tracks, strict=True):
        before = sorted((c for c in whole.controls if c.time < start), key=lambda c: c.time)
        values = {control.number: control.value for control in before}
        held = [ControlChange(0.0, number, value, "second") for number, value in values.items()]
        track.controls = [*held, *track.controls]
        bends = [bend for bend in whole.pitch_bends if bend.time < start]
        if bends:
            last = max(bends, key=lambda bend: bend.time)
            bend = PitchBend(0.0, last.value, "second")
            track.pitch_bends = [bend, *track.pitch_bends]
    return part


def _alone(score: Any, sources: Sequence[str], source: str) -> bytes | None:
    """The tracks of one source as a MIDI file; None if they have no notes."""
    part = score.copy()
    part.tracks = [track for track, own in zip(score.tracks, sources, strict=True) if own == source]
    if not any(len(track.notes) for track in part.tracks):
        return None
    content: bytes = part.to("tick").dumps_midi()
    return content
