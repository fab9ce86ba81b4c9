"""Composing one clip: from its plan to performed parts, a MIDI file, labels and description."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from mer.clips import Labels, quadrant_of
from mer.composing.arranging import SOURCE_OF_PART, Arranger
from mer.composing.harmony import PITCH_NAMES, Span
from mer.composing.performance import (
    TICKS_PER_QUARTER,
    Frame,
    TempoMap,
    Touch,
    perform,
    tempo_map,
    to_ticks,
)
from mer.composing.planning import ENSEMBLES, ClipPlan, PhrasePlan, plan_clip

REVISION = 1
"""Raised whenever the same parameters give other notes."""

_TOUCH = {
    "right hand": Touch(6.0, 0.009, 0.008),
    "left hand": Touch(-10.0, 0.009),
    "vocals": Touch(10.0, 0.012),
    "bass": Touch(2.0, 0.006),
    "drums": Touch(0.0, 0.004),
    "keys": Touch(-8.0, 0.007),
    "pad": Touch(-18.0, 0.010),
}

_RUBATO = {"piano": 0.08, "band": 0.025}


@dataclass(frozen=True, slots=True)
class PlayedPart:
    """One track: name as in `SOURCE_OF_PART`, General MIDI program from 0, and notes.

    These have shape (n, 4), int32: onset and duration in ticks, pitch, velocity.
    """

    name: str
    program: int
    notes: np.ndarray

    @property
    def is_drum(self) -> bool:
        """Whether its pitches are drums."""
        return self.name == "drums"


@dataclass(frozen=True, slots=True)
class Composition:
    """One composed clip.

    `starts` are where the phrases begin and, last, where the clip ends, in quarter notes; so are
    the starts of the chords.
    """

    plan: ClipPlan
    parts: tuple[PlayedPart, ...]
    tempo_map: TempoMap
    starts: tuple[float, ...]
    chords: tuple[Span, ...]


def compose(
    seed: int, index: int, arrangement: str, duration: float, trajectories: bool
) -> Composition:
    """Compose clip `index` of a corpus; the same whatever the size of the corpus.

    Other parameters are those of `mer.corpora.composed.load`.
    """
    plan = plan_clip(seed, index, arrangement, duration, trajectories)
    return perform_plan(plan, duration, np.random.default_rng([seed, 3, index]))


def perform_plan(plan: ClipPlan, duration: float, rng: np.random.Generator) -> Composition:
    """Write every phrase of a plan and play it."""
    song = plan.song
    arranger = Arranger(plan, rng)
    played: dict[str, list[np.ndarray]] = defaultdict(list)
    chords: list[Span] = []
    frames: list[Frame] = []
    start = 0.0
    for phrase in plan.phrases:
        pace = phrase.tempo * song.meter.pulse
        frame = Frame(start, phrase.n_bars * song.meter.bar, pace, song.meter, song.swing)
        spans, written = arranger.write(phrase, final=phrase is plan.phrases[-1])
        for name, (notes, cues) in written.items():
            played[name].append(perform(notes, frame, _TOUCH[name], cues.loudness, rng))
        chords += [span._replace(start=start + span.start) for span in spans]
        frames.append(frame)
        start += frame.length
    programs = ENSEMBLES[song.ensemble] if song.arrangement == "band" else {}
    return Composition(
        plan,
        tuple(
            PlayedPart(name, programs.get(name, 0), to_ticks(np.concatenate(notes), start))
            for name, notes in played.items()
        ),
        tempo_map(frames, _RUBATO[song.arrangement], duration),
        (*(frame.start for frame in frames), start),
        tuple(chords),
    )


def to_midi(composition: Composition) -> bytes:
    """A standard MIDI file: one track a part, tempo curve, meter and keys; 480 ticks a quarter.

    Its notes are exactly those of the composition, tick for tick.
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
    return score.dumps_midi()


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


def _times_of(composition: Composition, quarters: Sequence[float]) -> list[float]:
    """Seconds from the beginning of the clip, to the microsecond."""
    ticks = np.rint(np.asarray(quarters) * TICKS_PER_QUARTER)
    return np.round(composition.tempo_map.seconds(ticks), 6).tolist()


def labels_of(composition: Composition) -> Labels:
    """Labels of the clip as a whole.

    Valence and arousal are means over time; the quadrant is the one that lasts longest, which
    is the quadrant of the means unless the emotion changes within the clip.
    """
    phrases = composition.plan.phrases
    lengths = np.diff(_times_of(composition, composition.starts))
    valence, arousal = _mean_emotion(phrases, lengths)
    lasting = dict.fromkeys((1, 2, 3, 4), 0.0)
    for phrase, length in zip(phrases, lengths, strict=True):
        lasting[quadrant_of(phrase.valence, phrase.arousal)] += float(length)
    quadrant = max(lasting, key=lasting.__getitem__)
    return Labels(quadrant, round(valence, 4), round(arousal, 4))


def _mean_emotion(phrases: Sequence[PhrasePlan], weights: np.ndarray) -> tuple[float, float]:
    return (
        float(np.average([phrase.valence for phrase in phrases], weights=weights)),
        float(np.average([phrase.arousal for phrase in phrases], weights=weights)),
    )


def describe(composition: Composition) -> dict[str, Any]:
    """Everything that is known about a clip, JSON-native.

    Returns
    -------
    dict
        `song`, `arrangement`, `meter`, `key` (of the longest segment), `tempo` (mean, in
        `tempo_unit` a minute), `duration` (seconds), `parts` (name, source, General MIDI
        program), `programs` (by part), `trajectory` ([seconds, valence, arousal] from which
        each phrase begins), `segments` (start, end, valence, arousal, quadrant, key),
        `change_times` (seconds), `chords` ([seconds, Harte label]); for a band also
        `ensemble`, `carrier` and a remark on `vocals`.
    """
    plan = composition.plan
    song = plan.song
    times = _times_of(composition, composition.starts)
    segments = _segments(composition, times)
    longest = max(segments, key=lambda segment: segment["end"] - segment["start"])
    meta = {
        "song": song.id,
        "arrangement": song.arrangement,
        "meter": song.meter.name,
        "key": longest["key"],
        "tempo": round(60.0 * composition.starts[-1] / song.meter.pulse / times[-1], 3),
        "tempo_unit": "dotted quarter" if song.meter.name == "6/8" else "quarter",
        "duration": times[-1],
        "parts": [
            {"name": part.name, "source": SOURCE_OF_PART[part.name], "program": part.program}
            for part in composition.parts
        ],
        "programs": {part.name: part.program for part in composition.parts},
        "trajectory": [
            [time, round(phrase.valence, 4), round(phrase.arousal, 4)]
            for time, phrase in zip(times[:-1], plan.phrases, strict=True)
        ],
        "segments": segments,
        "change_times": [segment["start"] for segment in segments[1:]],
        "chords": _chords(composition),
    }
    if song.arrangement == "band":
        meta["ensemble"] = song.ensemble
        meta["carrier"] = dict(song.carrier)
        meta["vocals"] = "an instrument stands in for the singing voice"
    return meta


def _chords(composition: Composition) -> list[list[Any]]:
    tonic = composition.plan.song.tonic
    times = _times_of(composition, [span.start for span in composition.chords])
    labels = [span.chord.label(tonic) for span in composition.chords]
    return [[time, label] for time, label in zip(times, labels, strict=True)]


def _segments(composition: Composition, times: list[float]) -> list[dict[str, Any]]:
    tonic = PITCH_NAMES[composition.plan.song.tonic]
    phrases = composition.plan.phrases
    segments = []
    for _, members in groupby(range(len(phrases)), key=lambda number: phrases[number].segment):
        numbers = list(members)
        valence, arousal = _mean_emotion([phrases[n] for n in numbers], np.diff(times)[numbers])
        segments.append(
            {
                "start": times[numbers[0]],
                "end": times[numbers[-1] + 1],
                "valence": round(valence, 4),
                "arousal": round(arousal, 4),
                "quadrant": quadrant_of(valence, arousal),
                "key": f"{tonic} {'major' if phrases[numbers[0]].major else 'minor'}",
            }
        )
    return segments
