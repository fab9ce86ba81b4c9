"""Which source every track of a MIDI file belongs to, and other instruments to play it.

A MIDI file names no sources. The rules, in this order: a track on the drum channel is "drums"; one
with a General MIDI bass, or "bass" in its name, is "bass" (if there is none, the lowest track whose
mean pitch lies below C3); one whose name speaks of a voice or a melody is "vocals" (if there is
none, the longest track with one note at a time in the range of a voice); all else is "other".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

BASSES = tuple(range(32, 40))
"""General MIDI programs, from 0."""

VOICES = (52, 53, 54, 85)
LEADS = (40, 56, 59, 64, 65, 66, 68, 71, 72, 73, 74, 75, 78, 79, 80, 81, 82)
"""What stands in for a singer beside the voices: solo strings, winds, synthesizer leads."""

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
    """Source of each track.

    Parameters
    ----------
    tracks : sequence of symusic.Track
        In seconds.

    Returns
    -------
    list of str
        In `mer.separation.SOURCES`. Tracks without notes are "other".
    """
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
    found = [i for i in indices if name.search(tracks[i].name.lower())]
    return found if len(found) <= _MOST_NAMED_TRACKS else []


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
    """Give the tracks other instruments of their kind, in place.

    Every second bass and accompaniment keeps its own. All vocals get a voice or a solo instrument,
    and no accompaniment keeps one of these, so that what "vocals" is can be heard.

    Parameters
    ----------
    tracks : sequence of symusic.Track
    sources : sequence of str
        From `track_sources`.
    rng : np.random.Generator
    """
    for track, source in zip(tracks, sources, strict=True):
        track.program = _program(track.program, source, rng)


def _program(program: int, source: str, rng: np.random.Generator) -> int:
    if source == "vocals":
        return int(rng.choice(VOICES if rng.random() < 0.5 else LEADS))
    kinds = {"drums": KITS, "bass": BASSES, "other": ACCOMPANIMENT}
    keeps = rng.random() < _KEEPS_PROGRAM and program in kinds[source]
    return program if keeps else int(rng.choice(kinds[source]))
