"""Accompaniment figures for the left hand, keys, guitar and bass, written as short texts.

A figure gives one bar as words, one for each equal part of it. Letters of a word sound
together: `b` bass, `B` bass in octaves, `8` bass an octave up, `5` the fifth above the bass,
`c` the whole chord, `0` to `3` one voice of the chord from below, `a` a step towards the next
bass. The word `-` holds what sounds, `.` is silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mer.composing.harmony import Span, nearest, voicing
from mer.composing.notation import Meter, Note


class Figure(NamedTuple):
    """An accompaniment figure.

    Attributes
    ----------
    name : str
    energy : float
        Density that it suits, 0-1.
    pedal : bool
        Whether notes ring to the end of the chord.
    bars : mapping of str to str
        The words of one bar, equally long, for each meter.
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


def choose(
    figures: Sequence[Figure], energy: float, taste: Sequence[float], previous: Figure | None
) -> Figure:
    """The figure whose energy is nearest; the taste of a song shifts each, habit keeps one."""

    def distance(item: tuple[Figure, float]) -> float:
        figure, shift = item
        return abs(figure.energy + shift - energy) - (0.12 if figure is previous else 0.0)

    return min(zip(figures, taste, strict=False), key=distance)[0]


class Chords(NamedTuple):
    """Chords of a phrase as pitches.

    Attributes
    ----------
    spans : sequence of Span
    basses : list of int
    voicings : list of list of int
        Ascending.
    """

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

    Parameters
    ----------
    spans : sequence of Span
    tonic : int
        Pitch class.
    centres : tuple of float
        MIDI pitches around which bass and chord lie.
    inversions : float
        Probability of the third in the bass.
    rng : np.random.Generator
    previous : list of int, optional
        Last voicing of the phrase before.

    Returns
    -------
    Chords
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

    Parameters
    ----------
    figure : Figure
    chords : Chords
    meter : Meter
    hold : float
        Part of its written length that a note sounds.
    final : bool
        Whether the last bar is a held chord.

    Returns
    -------
    list of Note
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
    for voice_number in range(4):
        tones[str(voice_number)] = [upper[min(voice_number, len(upper) - 1)]]
    return tones


def _strikes(
    span: Span, words: list[str], bar: float, closing: bool
) -> list[tuple[float, float, str]]:
    """Start, end and word of everything that is struck while a chord lasts."""
    end = span.start + span.length
    first = next(word for word in words if word not in "-.")
    if closing:
        return [(span.start, end, first)]
    starts: list[float] = []
    struck: list[str] = []
    unit = bar / len(words)
    n_steps = max(1, round(span.length / unit))
    for step in range(n_steps):
        time = span.start + step * unit
        word = words[int((time % bar) / unit + 1e-9) % len(words)]
        if word == "-" and step == 0:
            word = first
        if word != "-":
            starts.append(time)
            struck.append(word)
    stops = [*starts[1:], end]
    return [
        (start, stop, word)
        for start, stop, word in zip(starts, stops, struck, strict=True)
        if word != "."
    ]
