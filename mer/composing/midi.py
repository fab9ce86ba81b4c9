"""Composed clips as MIDI files."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from mer.composing.performance import TICKS_PER_QUARTER
from mer.composing.score import Composition


def to_midi(composition: Composition) -> bytes:
    """A standard MIDI file: one track a part, tempo curve, meter and keys; 480 ticks a quarter.

    The notes read from it are those of the composition, tick for tick.
    """
    from symusic import KeySignature, Note, Score, Tempo, TimeSignature, Track

    score: Any = Score(TICKS_PER_QUARTER)
    tempi = composition.tempo_map
    score.tempos.extend(
        Tempo(tick, mspq=length)
        for tick, length in zip(tempi.ticks.tolist(), tempi.microseconds.tolist(), strict=True)
    )
    beats, unit = composition.plan.song.meter.name.split("/")
    score.time_signatures.append(TimeSignature(0, int(beats), int(unit)))
    for tick, sharps, minor in _keys(composition):
        score.key_signatures.append(KeySignature(tick, sharps, minor))
    for part in composition.parts:
        track: Any = Track(name=part.name, program=part.program, is_drum=part.is_drum)
        onset, duration, pitch, velocity = part.notes.T.copy()
        track.notes = Note.from_numpy(
            onset, duration, pitch.astype("int8"), velocity.astype("int8")
        )
        score.tracks.append(track)
    content: bytes = score.dumps_midi()
    return content


def _keys(composition: Composition) -> list[tuple[int, int, int]]:
    """Tick, number of sharps (negative: flats) and 1 for minor, where the mode changes."""
    tonic = composition.plan.song.tonic
    placed = zip(composition.starts[:-1], composition.plan.phrases, strict=True)
    keys = []
    for major, group in groupby(placed, key=lambda item: item[1].major):
        start = next(group)[0]
        sharps = (tonic + (0 if major else 3)) * 7 % 12
        keys.append((round(start * TICKS_PER_QUARTER), sharps - 12 * (sharps > 6), int(not major)))
    return keys
