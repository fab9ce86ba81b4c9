"""What is known about a composed clip: labels and everything that `Clip.meta` tells."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from mer.clips import Labels
from mer.composing.arranging import SOURCE_OF_PART
from mer.composing.emotion import quadrant_of
from mer.composing.harmony import PITCH_NAMES
from mer.composing.performance import TICKS_PER_QUARTER
from mer.composing.score import Composition


def times_of(composition: Composition, quarters: Sequence[float]) -> list[float]:
    """Seconds from the beginning of the clip, to the microsecond."""
    ticks = np.rint(np.asarray(quarters) * TICKS_PER_QUARTER)
    return np.round(composition.tempo_map.seconds(ticks), 6).tolist()


def labels_of(composition: Composition) -> Labels:
    """Labels of the clip as a whole.

    Valence and arousal are means over time; the quadrant is the one that lasts longest, which
    is the quadrant of the means unless the emotion changes within the clip.
    """
    phrases = composition.plan.phrases
    lengths = np.diff(times_of(composition, composition.starts))
    valence = float(np.average([phrase.valence for phrase in phrases], weights=lengths))
    arousal = float(np.average([phrase.arousal for phrase in phrases], weights=lengths))
    lasting = dict.fromkeys((1, 2, 3, 4), 0.0)
    for phrase, length in zip(phrases, lengths, strict=True):
        lasting[quadrant_of(phrase.valence, phrase.arousal)] += float(length)
    quadrant = max(lasting, key=lasting.__getitem__)
    return Labels(quadrant, round(valence, 4), round(arousal, 4))


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
    times = times_of(composition, composition.starts)
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
        meta["ensemble"] = song.ensemble.name
        meta["carrier"] = dict(song.carrier)
        meta["vocals"] = "an instrument stands in for the singing voice"
    return meta


def _chords(composition: Composition) -> list[list[Any]]:
    tonic = composition.plan.song.tonic
    times = times_of(composition, [span.start for span in composition.chords])
    labels = [span.chord.label(tonic) for span in composition.chords]
    return [[time, label] for time, label in zip(times, labels, strict=True)]


def _segments(composition: Composition, times: list[float]) -> list[dict[str, Any]]:
    tonic = PITCH_NAMES[composition.plan.song.tonic]
    phrases = composition.plan.phrases
    segments = []
    for _, members in groupby(range(len(phrases)), key=lambda number: phrases[number].segment):
        numbers = list(members)
        weights = np.diff(times)[numbers]
        valence = float(np.average([phrases[n].valence for n in numbers], weights=weights))
        arousal = float(np.average([phrases[n].arousal for n in numbers], weights=weights))
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
