"""Drum grooves, one line of steps for each instrument.

A step is a sixteenth note: `X` accented, `x` plain, `o` soft, `.` silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mer.composing.notation import Meter, Note

KICK, STICK, SNARE, CLOSED_HAT, OPEN_HAT, CRASH, RIDE = 36, 37, 38, 42, 46, 49, 51
HIGH_TOM, LOW_TOM, SHAKER = 48, 45, 70

_ACCENTS = {"X": 8.0, "x": 0.0, "o": -16.0}
_STEP = 0.25


class Groove(NamedTuple):
    """One bar of drums.

    Attributes
    ----------
    name : str
    energy : float
        0-1.
    lines : dict of int to str
        Steps of each General MIDI drum.
    """

    name: str
    energy: float
    lines: dict[int, str]


GROOVES = {
    "4/4": (
        Groove("shaker", 0.0, {SHAKER: "o...o...o...o...", KICK: "o..............."}),
        Groove(
            "ballad",
            0.2,
            {KICK: "x.........o.....", STICK: "....x.......x...", CLOSED_HAT: "o...o...o...o..."},
        ),
        Groove(
            "slow rock",
            0.4,
            {KICK: "x.......x.o.....", SNARE: "....x.......x...", CLOSED_HAT: "x.o.x.o.x.o.x.o."},
        ),
        Groove(
            "rock",
            0.6,
            {KICK: "X.....x.x.......", SNARE: "....X.......X...", CLOSED_HAT: "x.x.x.x.x.x.x.x."},
        ),
        Groove(
            "sixteenths",
            0.7,
            {KICK: "X..x..x...x.....", SNARE: "....X..o.o..X...", CLOSED_HAT: "xoxoxoxoxoxoxoxo"},
        ),
        Groove(
            "four on the floor",
            0.8,
            {KICK: "X...X...X...X...", SNARE: "....x.......x...", OPEN_HAT: "..x...x...x...x."},
        ),
        Groove(
            "driving",
            1.0,
            {KICK: "X.x...x.X.x..x..", SNARE: "....X.......X..o", RIDE: "X.x.X.x.X.x.X.x."},
        ),
    ),
    "3/4": (
        Groove("shaker", 0.0, {SHAKER: "o...o...o...", KICK: "o..........."}),
        Groove(
            "soft waltz", 0.25, {KICK: "x...........", STICK: "....o...o...", RIDE: "x...o...o..."}
        ),
        Groove(
            "waltz",
            0.5,
            {KICK: "X.........o.", SNARE: "....x...x...", CLOSED_HAT: "x.o.x.o.x.o."},
        ),
        Groove(
            "quick waltz",
            0.75,
            {KICK: "X.....x.....", SNARE: "....X...X...", CLOSED_HAT: "x.x.x.x.x.x."},
        ),
        Groove(
            "driving",
            1.0,
            {KICK: "X.x...x...x.", SNARE: "....X...X.o.", RIDE: "X.x.X.x.X.x."},
        ),
    ),
    "6/8": (
        Groove("shaker", 0.0, {SHAKER: "o.....o.....", KICK: "o..........."}),
        Groove(
            "lullaby", 0.25, {KICK: "x...........", STICK: "......x.....", RIDE: "x.o.o.x.o.o."}
        ),
        Groove(
            "slow six",
            0.5,
            {KICK: "X.........o.", SNARE: "......X.....", CLOSED_HAT: "x.o.o.x.o.o."},
        ),
        Groove(
            "six",
            0.75,
            {KICK: "X...x...x...", SNARE: "......X...o.", CLOSED_HAT: "x.x.x.x.x.x."},
        ),
        Groove(
            "driving",
            1.0,
            {KICK: "X.x.x.o.x.x.", SNARE: "......X....o", RIDE: "X.x.x.X.x.x."},
        ),
    ),
}


def choose(meter: Meter, energy: float, taste: Sequence[float], previous: Groove | None) -> Groove:
    """The groove whose energy is nearest; the taste of a song shifts each, habit keeps one."""

    def distance(item: tuple[Groove, float]) -> float:
        groove, shift = item
        return abs(groove.energy + shift - energy) - (0.12 if groove is previous else 0.0)

    return min(zip(GROOVES[meter.name], taste, strict=False), key=distance)[0]


def play(
    groove: Groove, meter: Meter, n_bars: int, final: bool, rng: np.random.Generator
) -> list[Note]:
    """Drums of one phrase: the groove, a fill at the end, a crash at a loud beginning.

    Parameters
    ----------
    groove : Groove
    meter : Meter
    n_bars : int
    final : bool
        Whether the clip ends with this phrase.
    rng : np.random.Generator

    Returns
    -------
    list of Note
    """
    notes = []
    for bar in range(n_bars):
        start = bar * meter.bar
        last = bar == n_bars - 1
        if last and final:
            # no cymbal: it would ring for seconds after the end of the clip
            notes += [Note(start, 0.25, drum) for drum in (KICK, CLOSED_HAT)]
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
        notes = [note for note in notes if note.onset > 0 or note.pitch in (KICK, SNARE)]
        notes.append(Note(0.0, 0.25, CRASH, 4.0))
    return notes


def _fill(start: float, end: float, energy: float) -> list[Note]:
    step = 0.25 if energy > 0.5 else 0.5
    drums = (SNARE, SNARE, HIGH_TOM, LOW_TOM, LOW_TOM, LOW_TOM)
    times = np.arange(start, end - 1e-6, step).tolist()
    return [
        Note(time, 0.2, drums[number], -6.0 + 3.0 * number) for number, time in enumerate(times)
    ]
