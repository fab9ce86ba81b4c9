"""Excerpts of MIDI files, played on random instruments: audio whose notes or sources are known.

A MIDI file names no sources. The rules, in this order: a track on the drum channel is "drums"; one
with a General MIDI bass, or "bass" in its name, is "bass" (if there is none, the lowest track whose
mean pitch lies below C3); one whose name speaks of a voice or a melody is "vocals" (if there is
none, the longest track with one note at a time in the range of a voice); all else is "other".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mer.audio import crop
from mer.errors import InvalidDataError
from mer.features.cache import cached, content_digest
from mer.features.notes import read_notes
from mer.files import temporary_folder
from mer.midi import read_score
from mer.rendering import Sound, render_midi
from mer.separation import SOURCES

REVISION = 1
"""Raised whenever the samples change."""

STEM_RATE = 22050
"""Of stems, in Hz."""
_LEAD_IN = 0.5
"""Seconds before an excerpt that are played, too, so that held notes sound at its start."""

PIANOS = (0, 0, 0, 1, 1, 2, 3, 4)
"""General MIDI, from 0: grand piano, bright piano, electric grand, honky-tonk, electric piano."""

BASSES = tuple(range(32, 40))
"""General MIDI programs, from 0."""

VOICES = (52, 53, 54, 85)
LEADS = (40, 56, 59, 64, 65, 66, 68, 71, 72, 73, 74, 75, 78, 79, 80, 81, 82)
"""Substitutes for a singer beside the voices: solo strings, winds, synthesizer leads."""

ACCOMPANIMENT = (*range(0, 32), *range(44, 52), 61, 62, 63, *range(88, 96))
"""Pianos, mallets, organs, guitars, ensembles of strings, choirless brass, pads."""

KITS = (0, 8, 16, 24, 25, 32, 40)
"""Drum kits of the General Standard: standard, room, power, electronic, TR-808, jazz, brush."""

_KEEPS_PROGRAM = 0.5
_MOST_NAMED_TRACKS = 3
"""A word in the names of more tracks than these is one of the title."""

_BASS_NAME = re.compile(r"\bbass\b(?! (clarinet|trombone|sax))")
_VOCALS_NAME = re.compile(r"\b(vocals?|vox|voice|voc|singer|melody|melodie|melodia)\b")
_LOW = 48.0
_VOCAL_RANGE = (55.0, 84.0)
_MONOPHONIC = 0.9
_FEWEST_NOTES = 16


def track_sources(tracks: Sequence[Any]) -> list[str]:
    """Source of each `symusic.Track` (in seconds); those without notes are "other"."""
    sources = ["drums" if track.is_drum else "other" for track in tracks]
    pitched = [i for i, track in enumerate(tracks) if not track.is_drum and len(track.notes)]
    bass = [i for i in pitched if tracks[i].program in BASSES]
    bass = bass or _named(tracks, pitched, _BASS_NAME) or _best(tracks, pitched, _lowness)
    for i in bass:
        sources[i] = "bass"
    rest = [i for i in pitched if i not in bass]
    for i in _named(tracks, rest, _VOCALS_NAME) or _best(tracks, rest, _melodiousness):
        sources[i] = "vocals"
    return sources


def _named(tracks: Sequence[Any], indices: list[int], name: re.Pattern[str]) -> list[int]:
    matching = [i for i in indices if name.search(tracks[i].name.lower())]
    return matching if len(matching) <= _MOST_NAMED_TRACKS else []


def _best(tracks: Sequence[Any], indices: list[int], worth: Callable[[Any], float]) -> list[int]:
    """The track of the greatest worth, if it has any."""
    worths = [worth(tracks[i]) for i in indices]
    if not worths or max(worths) <= 0:
        return []
    return [indices[int(np.argmax(worths))]]


def _lowness(track: Any) -> float:
    return _LOW - float(np.mean(track.notes.numpy()["pitch"]))


def _melodiousness(track: Any) -> float:
    """Seconds of sound of a track that could be sung, else 0."""
    notes = track.notes.numpy()
    if len(notes["time"]) < _FEWEST_NOTES:
        return 0.0
    order = np.argsort(notes["time"], kind="stable")
    onset, duration = notes["time"][order], notes["duration"][order]
    # Legato notes touch: the last tenth of a second does not count as a second voice
    alone = np.diff(onset) >= np.minimum(duration[:-1] - 0.1, 0.5 * duration[:-1])
    in_range = _VOCAL_RANGE[0] <= notes["pitch"].mean() <= _VOCAL_RANGE[1]
    return float(duration.sum()) if in_range and alone.mean() >= _MONOPHONIC else 0.0


def replace_programs(
    tracks: Sequence[Any], sources: Sequence[str], rng: np.random.Generator
) -> None:
    """Give tracks of these sources other instruments of their kind, in place.

    Every second bass and accompaniment keeps its own. All vocals get a voice or a solo instrument,
    and no accompaniment keeps one of these, so that "vocals" are audible.
    """
    kinds = {"drums": KITS, "bass": BASSES, "other": ACCOMPANIMENT}
    for track, source in zip(tracks, sources, strict=True):
        if source == "vocals":
            track.program = int(rng.choice(VOICES if rng.random() < 0.5 else LEADS))
        elif rng.random() >= _KEEPS_PROGRAM or track.program not in kinds[source]:
            track.program = int(rng.choice(kinds[source]))


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
    gain, reverb, room : float
        As in `mer.rendering.Sound`.
    program : int
        General MIDI program that plays a performance.
    programs : int or None
        Seed of other instruments for stems; None keeps those of the file.
    """

    start: float
    seconds: float
    soundfont: int = 0
    stretch: float = 1.0
    gain: float = 0.6
    reverb: float = 0.0
    room: float = 0.2
    program: int = 0
    programs: int | None = None


def random_performance(
    duration: float, seconds: float, n_soundfonts: int, rng: np.random.Generator
) -> Take:
    """At most `seconds` of a performance on a random piano in a random room, a bit out of tune."""
    return Take(
        start=round(float(rng.uniform(0, max(duration - seconds, 0))), 3),
        seconds=seconds,
        soundfont=int(rng.integers(n_soundfonts)),
        program=int(rng.choice(PIANOS)),
        gain=round(float(np.exp(rng.uniform(np.log(0.2), np.log(0.9)))), 3),
        reverb=round(float(rng.choice([0, rng.uniform(0.1, 0.9)])), 2),
        room=round(float(rng.uniform(0.1, 0.9)), 2),
        stretch=float(2 ** (round(float(rng.normal(0, 8)), 1) / 1200)),
    )


def random_stems(
    duration: float, seconds: float, n_soundfonts: int, rng: np.random.Generator
) -> Take:
    """At most `seconds` of a song on other instruments, up to a semitone higher or lower."""
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
    """Duration of a MIDI file; an `InvalidDataError` if it is damaged or has no notes."""
    return float(_score(midi).end())


def play(midi: Path, take: Take, soundfonts: Sequence[Path], sample_rate: int) -> np.ndarray:
    """Play part of a performance, shape (n_samples,), float32.

    Raises
    ------
    MissingDataError
        If the file, a soundfont or FluidSynth is missing.
    InvalidDataError
        If the file is damaged or has no notes.
    """
    samples = _render(_performance(midi, take), take, soundfonts, sample_rate)
    return samples[: int(take.seconds * sample_rate / take.stretch)]


def played_notes(midi: Path, take: Take, seconds: float) -> np.ndarray:
    """Notes of what `play` gives, cut to `seconds`: as `read_notes` with the pedal applied."""
    with _midi_file(_performance(midi, take)) as path:
        notes = read_notes(path, pedal=True)
    notes[:, :2] /= take.stretch
    notes = notes[notes[:, 0] < seconds]
    notes[:, 1] = np.minimum(notes[:, 1], seconds)
    return notes


def render_stems(midi: Path, take: Take, soundfonts: Sequence[Path]) -> np.ndarray:
    """Sources of an excerpt, shape (len(SOURCES), n_samples), float16; errors as `play`.

    At `STEM_RATE`, from the cache where they are there; a source without notes is silence. The mix
    is their sum.
    """
    return cached(
        "separator-stems",
        REVISION,
        {**asdict(take), "soundfont": content_digest(soundfonts[take.soundfont])},
        midi,
        lambda: _stems(midi, take, soundfonts),
    )


def _stems(midi: Path, take: Take, soundfonts: Sequence[Path]) -> np.ndarray:
    score = _score(midi)
    sources = track_sources(score.tracks)
    if take.programs is not None:
        replace_programs(score.tracks, sources, np.random.default_rng(take.programs))
    lead_in = min(take.start, _LEAD_IN)
    part = _excerpt(score, take.start - lead_in, take.start + take.seconds)
    rate = round(STEM_RATE / take.stretch)
    first, length = round(lead_in * rate), round(take.seconds * rate)
    stems = np.zeros((len(SOURCES), length), dtype=np.float16)
    for row, source in enumerate(SOURCES):
        alone = part.copy()
        alone.tracks = [t for t, own in zip(part.tracks, sources, strict=True) if own == source]
        if any(len(track.notes) for track in alone.tracks):
            stems[row] = crop(_render(alone, take, soundfonts, STEM_RATE), length, first)
    return stems


def _score(midi: Path) -> Any:
    score, _ = read_score(midi)
    if not any(len(track.notes) for track in score.tracks):
        raise InvalidDataError(f"{midi} has no notes")
    return score


def _performance(midi: Path, take: Take) -> Any:
    part = _score(midi).clip(take.start, take.start + take.seconds, clip_end=True)
    part = part.shift_time(-take.start)
    for track in part.tracks:
        track.program = take.program
    return part


def _excerpt(score: Any, start: float, stop: float) -> Any:
    """Part of a score; controls that were set before it keep their values."""
    from symusic import ControlChange, PitchBend

    part = score.clip(start, stop, clip_end=True).shift_time(-start)
    for whole, track in zip(score.tracks, part.tracks, strict=True):
        before = sorted((c for c in whole.controls if c.time < start), key=lambda c: c.time)
        values = {control.number: control.value for control in before}
        held = [ControlChange(0.0, number, value, "second") for number, value in values.items()]
        track.controls = [*held, *track.controls]
        if bends := [bend for bend in whole.pitch_bends if bend.time < start]:
            bend = max(bends, key=lambda bend: bend.time)
            track.pitch_bends = [PitchBend(0.0, bend.value, "second"), *track.pitch_bends]
    return part


def _render(score: Any, take: Take, soundfonts: Sequence[Path], sample_rate: int) -> np.ndarray:
    """Samples that, taken as being at `sample_rate`, are stretched and tuned."""
    sound = Sound(gain=take.gain, reverb=take.reverb, room=take.room)
    rate, soundfont = round(sample_rate / take.stretch), soundfonts[take.soundfont]
    with _midi_file(score) as path:
        return render_midi(path, rate, soundfont=soundfont, sound=sound, trim=False)


@contextmanager
def _midi_file(score: Any) -> Iterator[Path]:
    with temporary_folder() as folder:
        path = folder / "take.mid"
        path.write_bytes(score.to("tick").dumps_midi())
        yield path
