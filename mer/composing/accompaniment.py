"""Accompaniment figures and drum grooves, written as short texts.

A figure gives one bar as words, one for each equal part of it. Letters of a word sound
together: `b` bass, `B` bass in octaves, `8` bass an octave up, `5` the fifth above the bass,
`c` the whole chord, `0` to `3` one voice of the chord from below, `a` a step towards the next
bass. The word `-` holds what sounds, `.` is silence.

A groove gives one bar as a line of sixteenth notes for each drum: `X` accented, `x` plain, `o`
soft, `.` silent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from mer.composing import Meter, Note
from mer.composing.harmony import Span, nearest, voicing


class Figure(NamedTuple):
    """An accompaniment figure: the words of one bar, equally long, for each meter.

    The energy is the density that it suits, 0-1; with the pedal, notes ring to the chord's end.
    """

    name: str
    energy: float
    pedal: bool
    bars: Mapping[str, str]


def _figure(
    name: str, energy: float, four: str, three: str, six: str, *, pedal: bool = False
) -> Figure:
    return Figure(name, energy, pedal, {"4/4": four, "3/4": three, "6/8": six})


CHORDAL = (
    _figure("sustained", 0.0, "bc - - -", "bc - -", "bc -", pedal=True),
    _figure("bass and chord", 0.15, "b - c -", "b c -", "b - - c - -", pedal=True),
    _figure("slow arpeggio", 0.3, "b - 5 - 0 - 1 2", "b - 5 0 1 -", "b - 0 1 - 2", pedal=True),
    _figure("arpeggio", 0.5, "b 5 0 1 2 1 0 5", "b 5 0 1 2 1", "b 5 0 1 2 1", pedal=True),
    _figure("Alberti", 0.55, "b0 2 1 2 0 2 1 2", "b0 2 1 2 1 2", "b0 1 2 0 1 2"),
    _figure("stride", 0.5, "B c b c", "B c c", "B c c b c c"),
    _figure("three three two", 0.65, "bc - b c - b c -", "bc - b c - b", "bc - c b - c"),
    _figure("repeated chords", 0.75, "bc c c c bc c c c", "bc c c c c c", "bc c c bc c c"),
    _figure("broken octaves", 0.85, "Bc 8 b 8 bc 8 b 8", "Bc 8 b 8 bc 8", "Bc 8 b Bc 8 b"),
    _figure(
        "quick arpeggio",
        0.9,
        "b 0 1 2 8 2 1 0 b 0 1 2 8 2 1 0",
        "b 0 1 2 8 2 1 0 5 0 1 2",
        "b 0 1 2 1 0 b 0 1 2 1 0",
        pedal=True,
    ),
    _figure("driving octaves", 1.0, "Bc Bc B Bc Bc B Bc B", "Bc B Bc Bc B Bc", "Bc B Bc Bc B Bc"),
)
"""Figures for a hand or an instrument that plays bass and chord."""

BASS = (
    _figure("long notes", 0.0, "b -", "b", "b"),
    _figure("halves", 0.25, "b 5", "b - 5", "b 5"),
    _figure("dotted", 0.4, "b - - b 5 - - a", "b - - b 5 a", "b - b 5 - a"),
    _figure("walking", 0.55, "b 0 5 a", "b 5 a", "b - 5 8 - a"),
    _figure("eighths", 0.8, "b b b b b b 5 a", "b b b b 5 a", "b b b b 5 a"),
    _figure("octaves", 1.0, "b 8 b 8 b 8 b 8", "b 8 b 8 b 8", "b 8 b b 8 a"),
)
"""Figures for a bass."""

PAD = _figure("pad", 0.0, "c -", "c", "c -", pedal=True)


DRUMS = {
    **{"kick": 36, "stick": 37, "snare": 38, "low tom": 45, "hat": 42, "open": 46},
    **{"high tom": 48, "crash": 49, "ride": 51, "shaker": 70},
}
"""General MIDI pitches; `hat` is closed and `open` the open hi-hat."""

_ACCENTS = {"X": 8.0, "x": 0.0, "o": -16.0}
_STEP = 0.25


class Groove(NamedTuple):
    """One bar of drums: steps by MIDI pitch, and the energy that they suit, 0-1."""

    name: str
    energy: float
    lines: dict[int, str]


def _groove(name: str, energy: float, text: str) -> Groove:
    words = text.split()
    lines = zip(words[::2], words[1::2], strict=True)
    return Groove(name, energy, {DRUMS[drum]: line for drum, line in lines})


GROOVES = {
    "4/4": (
        _groove("shaker", 0.0, "shaker o...o...o...o... kick o..............."),
        _groove("ballad", 0.2, "kick x.........o..... stick ....x.......x... hat o...o...o...o..."),
        _groove(
            "slow rock", 0.4, "kick x.......x.o..... snare ....x.......x... hat x.o.x.o.x.o.x.o."
        ),
        _groove("rock", 0.6, "kick X.....x.x....... snare ....X.......X... hat x.x.x.x.x.x.x.x."),
        _groove(
            "sixteenths", 0.7, "kick X..x..x...x..... snare ....X..o.o..X... hat xoxoxoxoxoxoxoxo"
        ),
        _groove(
            "four on the floor",
            0.8,
            "kick X...X...X...X... snare ....x.......x... open ..x...x...x...x.",
        ),
        _groove(
            "driving", 1.0, "kick X.x...x.X.x..x.. snare ....X.......X..o ride X.x.X.x.X.x.X.x."
        ),
    ),
    "3/4": (
        _groove("shaker", 0.0, "shaker o...o...o... kick o..........."),
        _groove("soft waltz", 0.25, "kick x........... stick ....o...o... ride x...o...o..."),
        _groove("waltz", 0.5, "kick X.........o. snare ....x...x... hat x.o.x.o.x.o."),
        _groove("quick waltz", 0.75, "kick X.....x..... snare ....X...X... hat x.x.x.x.x.x."),
        _groove("driving", 1.0, "kick X.x...x...x. snare ....X...X.o. ride X.x.X.x.X.x."),
    ),
    "6/8": (
        _groove("shaker", 0.0, "shaker o.....o..... kick o..........."),
        _groove("lullaby", 0.25, "kick x........... stick ......x..... ride x.o.o.x.o.o."),
        _groove("slow six", 0.5, "kick X.........o. snare ......X..... hat x.o.o.x.o.o."),
        _groove("six", 0.75, "kick X...x...x... snare ......X...o. hat x.x.x.x.x.x."),
        _groove("driving", 1.0, "kick X.x.x.o.x.x. snare ......X....o ride X.x.x.X.x.x."),
    ),
}

Pattern = TypeVar("Pattern", Figure, Groove)


def choose(
    patterns: Sequence[Pattern], energy: float, taste: Sequence[float], previous: Pattern | None
) -> Pattern:
    """The pattern whose energy is nearest; the taste of a song shifts each, habit keeps one."""

    def distance(item: tuple[Pattern, float]) -> float:
        pattern, shift = item
        return abs(pattern.energy + shift - energy) - (0.12 if pattern is previous else 0.0)

    return min(zip(patterns, taste, strict=False), key=distance)[0]


class Chords(NamedTuple):
    """Chords of a phrase as MIDI pitches; voicings ascend."""

    spans: Sequence[Span]
    basses: list[int]
    voicings: list[list[int]]


def voice(
    spans: Sequence[Span],
    tonic: int,
    centres: tuple[float, float],
    inversions: float,
    rng: np.random.Generator,
    previous: list[int] | None = None,
) -> Chords:
    """Pitches for the chords of a phrase, by voice leading.

    Bass and chord lie around the pitches `centres`; `inversions` is the probability of the third
    in the bass, and `previous` the last voicing of the phrase before.
    """
    bass_centre, chord_centre = centres
    basses: list[int] = []
    voicings: list[list[int]] = []
    for number, span in enumerate(spans):
        classes = span.chord.pitch_classes(tonic)
        inner = 0 < number < len(spans) - 1 and rng.random() < inversions
        target = bass_centre if not basses else 0.7 * bass_centre + 0.3 * basses[-1]
        basses.append(nearest(classes[1 if inner else 0], target))
        upper = classes[1:] if len(classes) > 3 else classes
        previous = voicing(upper, chord_centre, previous)
        voicings.append(previous)
    return Chords(spans, basses, voicings)


def play(figure: Figure, chords: Chords, meter: Meter, hold: float, final: bool) -> list[Note]:
    """Notes of a figure over the chords of a phrase.

    Each sounds for a part `hold` of its written length; if `final`, the last bar is a held chord.
    """
    words = figure.bars[meter.name].split()
    end_of_phrase = chords.spans[-1].start + chords.spans[-1].length
    notes: list[Note] = []
    for number, span in enumerate(chords.spans):
        end = span.start + span.length
        tones = _tones(chords, number)
        closing = final and end > end_of_phrase - meter.bar
        for start, stop, word in _strikes(span, words, meter.bar, closing):
            length = (end if figure.pedal else stop) - start
            sounding = length * (1.0 if closing else hold)
            accent = 3.0 if word[0] in "bB" else 0.0
            notes += [Note(start, sounding, pitch, accent) for key in word for pitch in tones[key]]
    return notes


def _tones(chords: Chords, number: int) -> dict[str, list[int]]:
    bass, upper = chords.basses[number], chords.voicings[number]
    classes = chords.spans[number].chord
    following = chords.basses[(number + 1) % len(chords.basses)]
    step = 2 if following > bass else -2
    fifth = bass + (7 if classes.quality not in ("dim", "hdim7", "dim7") else 6)
    tones = {
        "b": [bass],
        "B": [bass, bass - 12],
        "8": [bass + 12],
        "5": [fifth],
        "a": [following - step // 2 if abs(following - bass) > 2 else bass],
        "c": upper,
    }
    return tones | {str(voice): [upper[min(voice, len(upper) - 1)]] for voice in range(4)}


def _strikes(
    span: Span, words: list[str], bar: float, closing: bool
) -> list[tuple[float, float, str]]:
    """Start, end and word of everything that is struck while a chord lasts."""
    end = span.start + span.length
    first = next(word for word in words if word not in "-.")
    if closing:
        return [(span.start, end, first)]
    struck: list[tuple[float, str]] = []
    unit = bar / len(words)
    for step in range(max(1, round(span.length / unit))):
        time = span.start + step * unit
        word = words[int((time % bar) / unit + 1e-9) % len(words)]
        if word == "-" and step == 0:
            word = first
        if word != "-":
            struck.append((time, word))
    following = [*struck[1:], (end, "")]
    return [
        (start, stop, word)
        for (start, word), (stop, _) in zip(struck, following, strict=True)
        if word != "."
    ]


def play_drums(
    groove: Groove, meter: Meter, n_bars: int, final: bool, rng: np.random.Generator
) -> list[Note]:
    """Drums of one phrase: the groove, a fill at the end, a crash at a loud beginning.

    A clip ends (`final`) on a kick without a cymbal, which would ring for seconds.
    """
    notes = []
    for bar in range(n_bars):
        start = bar * meter.bar
        last = bar == n_bars - 1
        if last and final:
            notes += [Note(start, 0.25, DRUMS[drum]) for drum in ("kick", "hat")]
            continue
        until = meter.bar
        if last and rng.random() < 0.3 + 0.6 * groove.energy:
            until -= meter.pulse
            notes += _fill(start + until, start + meter.bar, groove.energy)
        notes += [
            Note(start + step * _STEP, 0.2, drum, _ACCENTS[mark])
            for drum, line in groove.lines.items()
            for step, mark in enumerate(line)
            if mark != "." and step * _STEP < until
        ]
    if groove.energy > 0.6 and n_bars > 1:
        notes = [
            note
            for note in notes
            if note.onset > 0 or note.pitch in (DRUMS["kick"], DRUMS["snare"])
        ]
        notes.append(Note(0.0, 0.25, DRUMS["crash"], 4.0))
    return notes


def _fill(start: float, end: float, energy: float) -> list[Note]:
    step = 0.25 if energy > 0.5 else 0.5
    drums = ("snare", "snare", "high tom", "low tom", "low tom", "low tom")
    times = np.arange(start, end - 1e-6, step).tolist()
    return [
        Note(time, 0.2, DRUMS[drums[number]], -6.0 + 3.0 * number)
        for number, time in enumerate(times)
    ]
