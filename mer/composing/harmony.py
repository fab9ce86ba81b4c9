"""Chord progressions with cadences, their colour, and voice leading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mer.composing import Meter

SCALES = {True: (0, 2, 4, 5, 7, 9, 11), False: (0, 2, 3, 5, 7, 8, 10)}
"""Semitones above the tonic of major (True) and natural minor (False)."""

PITCH_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")

INTERVALS = {
    **{"maj": (0, 4, 7), "min": (0, 3, 7), "dim": (0, 3, 6), "sus4": (0, 5, 7)},
    **{"maj7": (0, 4, 7, 11), "min7": (0, 3, 7, 10), "7": (0, 4, 7, 10)},
    **{"hdim7": (0, 3, 6, 10), "dim7": (0, 3, 6, 9)},
    **{"maj(9)": (0, 2, 4, 7), "min(9)": (0, 2, 3, 7)},
}
"""Semitones above the root, by Harte's shorthand."""

_ROMAN = {
    True: {
        **{"I": (0, "maj"), "ii": (2, "min"), "iii": (4, "min"), "IV": (5, "maj")},
        **{"V": (7, "maj"), "vi": (9, "min"), "vii": (11, "dim")},
    },
    False: {
        **{"i": (0, "min"), "ii": (2, "dim"), "III": (3, "maj"), "iv": (5, "min")},
        **{"v": (7, "min"), "V": (7, "maj"), "VI": (8, "maj"), "VII": (10, "maj")},
        "vii": (11, "dim"),
    },
}

# each successor is repeated as often as its weight
_SUCCESSORS = {
    True: {
        "I": "IV IV IV vi vi vi ii ii V V iii",
        "ii": "V V V V vii",
        "iii": "vi vi vi IV IV",
        "IV": "I I V V V ii ii",
        "V": "I I I vi vi",
        "vi": "IV IV IV ii ii ii V iii",
        "vii": "I I I vi",
    },
    False: {
        "i": "iv iv iv VI VI VI VII VII v III",
        "ii": "V V V V VII",
        "III": "VI VI iv iv VII",
        "iv": "V V V i i VII",
        "v": "VI VI i",
        "V": "i i i VI",
        "VI": "iv iv III III VII VII V",
        "VII": "III III i i VI",
        "vii": "i",
    },
}

LOOPS = {
    True: ("I V vi IV", "I vi IV V", "vi IV I V", "I iii IV V", "I IV ii V", "IV V iii vi"),
    False: ("i VI III VII", "i iv VII III", "i VII VI V", "i iv i V", "i VI iv V", "VI VII i i"),
}
"""Four-bar chord loops of popular music, in major (True) and minor (False)."""

_PREDOMINANTS = {True: ("IV", "ii"), False: ("iv", "ii")}
_SEVENTHS = {"maj": "maj7", "min": "min7", "dim": "hdim7"}
_NINTHS = {"maj": "maj(9)", "min": "min(9)"}


class Chord(NamedTuple):
    """A chord: semitones of its root above the tonic, 0-11, and a key of `INTERVALS`."""

    root: int
    quality: str

    def pitch_classes(self, tonic: int) -> list[int]:
        """Pitch classes, root first."""
        return [(tonic + self.root + interval) % 12 for interval in INTERVALS[self.quality]]

    def label(self, tonic: int) -> str:
        """Chord label in Harte's syntax, such as `A:min7`."""
        return f"{PITCH_NAMES[(tonic + self.root) % 12]}:{self.quality}"


class Span(NamedTuple):
    """A chord and the time for which it sounds, in quarter notes."""

    start: float
    length: float
    chord: Chord


@dataclass(frozen=True, slots=True)
class HarmonicStyle:
    """What the clips of a song share in their harmony.

    `loop` is an index into `LOOPS`, or None for functional progressions; `inversions` the
    probability that the bass of a chord is its third.
    """

    loop: int | None
    inversions: float


def progression(
    n_bars: int,
    meter: Meter,
    major: bool,
    cadence: str,
    tension: float,
    style: HarmonicStyle,
    rng: np.random.Generator,
) -> list[Span]:
    """Chords of one phrase, one or two for each bar; starts count from its beginning.

    It ends with a "half", "authentic" or "deceptive" cadence. The tension reaches from 0
    (triads) to 1 (sevenths, suspensions, secondary dominants, diminished chords).
    """
    spans: list[Span] = []
    for number, bar in enumerate(_degrees(n_bars, major, cadence, style, rng)):
        chords = [Chord(*_ROMAN[major][degree]) for degree in bar]
        spans += _bar(number * meter.bar, meter, *chords)
    coloured = _coloured(spans, major, tension, meter, rng)
    if cadence == "authentic":
        coloured[-1] = coloured[-1]._replace(chord=spans[-1].chord)
    return coloured


def _pick(options: str | tuple[str, ...], rng: np.random.Generator) -> str:
    words = options.split() if isinstance(options, str) else options
    return words[int(rng.random() * len(words))]


def _degrees(
    n_bars: int, major: bool, cadence: str, style: HarmonicStyle, rng: np.random.Generator
) -> list[list[str]]:
    tonic = "I" if major else "i"
    end = {"half": "V", "authentic": tonic, "deceptive": "vi" if major else "VI"}[cadence]
    before = _pick(_PREDOMINANTS[major], rng)
    if cadence != "half":
        before = "V"
    if style.loop is not None:
        loop = LOOPS[major][style.loop].split()
        bars = [[loop[number % 4]] for number in range(n_bars)]
        if cadence == "authentic":
            bars[-2:] = [["V"], [tonic]][-len(bars) :]
        return bars
    degrees = [tonic]
    while len(degrees) < n_bars:
        degrees.append(_pick(_SUCCESSORS[major][degrees[-1]], rng))
    bars = [[degree] for degree in degrees]
    bars[-2:] = [[before], [end]][-len(bars) :]
    if n_bars > 2 and cadence != "half" and rng.random() < 0.4:
        bars[-2] = [_pick(_PREDOMINANTS[major], rng), "V"]
    return bars


def _bar(start: float, meter: Meter, *chords: Chord) -> list[Span]:
    """One chord for a whole bar, or two that share it."""
    if len(chords) == 1:
        return [Span(start, meter.bar, chords[0])]
    spans = ((start, meter.half), (start + meter.half, meter.bar - meter.half))
    return [Span(*span, chord) for span, chord in zip(spans, chords, strict=True)]


def _coloured(
    spans: list[Span], major: bool, tension: float, meter: Meter, rng: np.random.Generator
) -> list[Span]:
    coloured: list[Span] = []
    for number, (start, length, chord) in enumerate(spans):
        last = number == len(spans) - 1
        following = None if last else spans[number + 1].chord
        chord = _substitute(chord, major, tension, rng)
        if not last and length == meter.bar and rng.random() < 0.3 * tension:
            applied = _applied_dominant(following, rng)
            if applied is not None:
                coloured += _bar(start, meter, _extended(chord, tension, rng), applied)
                continue
        if chord == Chord(7, "maj") and length == meter.bar and rng.random() < 0.1 + 0.3 * tension:
            coloured += _bar(start, meter, Chord(7, "sus4"), Chord(7, "maj"))
            continue
        coloured.append(Span(start, length, _extended(chord, tension, rng)))
    return coloured


def _substitute(chord: Chord, major: bool, tension: float, rng: np.random.Generator) -> Chord:
    draw = rng.random()
    if major and chord == Chord(5, "maj") and draw < 0.5 * tension:
        return Chord(5, "min")
    if not major and chord.root in (2, 5) and draw < 0.2 * tension:
        return Chord(1, "maj")
    if chord == Chord(7, "maj") and draw < 0.25 * tension:
        return Chord(11, "dim7")
    return chord


def _applied_dominant(following: Chord | None, rng: np.random.Generator) -> Chord | None:
    if following is None or following.root == 0 or following.quality == "dim":
        return None
    if rng.random() < 0.5:
        return Chord((following.root + 7) % 12, "7")
    return Chord((following.root + 11) % 12, "dim7")


def _extended(chord: Chord, tension: float, rng: np.random.Generator) -> Chord:
    draw = rng.random()
    if draw < 0.85 * tension and chord.quality in _SEVENTHS:
        dominant = chord == Chord(7, "maj") or chord == Chord(10, "maj")
        return Chord(chord.root, "7" if dominant else _SEVENTHS[chord.quality])
    if draw > 0.88 and chord.quality in _NINTHS:
        return Chord(chord.root, _NINTHS[chord.quality])
    return chord


def scale_over(chord: Chord, major: bool) -> list[int]:
    """The seven scale degrees that fit a chord, in semitones above the tonic.

    A chord tone outside the scale replaces its nearest neighbour, so that the leading note
    sounds over the dominant of a minor key.
    """
    scale = list(SCALES[major])
    tones = [(chord.root + interval) % 12 for interval in INTERVALS[chord.quality]]
    for tone in tones:
        if tone in scale:
            continue
        for neighbour in ((tone - 1) % 12, (tone + 1) % 12):
            if neighbour in scale and neighbour not in tones:
                scale[scale.index(neighbour)] = tone
                break
    return sorted(scale)


def voicing(pitch_classes: list[int], centre: float, previous: list[int] | None) -> list[int]:
    """Close position of a chord near a MIDI pitch that moves least from the previous one."""
    order = sorted(pitch_classes)
    best: list[int] = []
    best_cost = float("inf")
    for inversion in range(len(order)):
        turned = order[inversion:] + [pc + 12 for pc in order[:inversion]]
        middle = sum(turned) / len(turned)
        for octave in (0, 12):
            shift = int((centre - middle) // 12) * 12 + octave
            pitches = [pc + shift for pc in turned]
            cost = 1.2 * abs(middle + shift - centre)
            if previous is not None:
                cost += sum(min(abs(p - q) for q in previous) for p in pitches)
            if cost < best_cost:
                best, best_cost = pitches, cost
    return best


def nearest(pitch_class: int, target: float) -> int:
    """The MIDI pitch of a class that lies nearest to a target."""
    return int(pitch_class + 12 * round((target - pitch_class) / 12))
