"""Melodies from motifs: a rhythm that can be thinned, a contour, and phrases that repeat it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mer.composing import Meter, Note
from mer.composing.emotion import Cues
from mer.composing.harmony import Span, nearest, scale_over

SLOT = 0.25
"""Grid of a motif, in quarter notes."""

_STEPS = (-2, -1, -1, 0, 1, 1, 2, 3, -3)


@dataclass(frozen=True, slots=True)
class Motif:
    """One bar of melodic material, a value for each sixteenth.

    The n highest priorities make the rhythm of n notes, so that one motif is recognised at any
    density; the contour gives scale steps above the anchor.
    """

    priority: tuple[float, ...]
    contour: tuple[int, ...]

    def rhythm(self, n_notes: int) -> list[float]:
        """Onsets of the n strongest slots, in quarter notes from the bar line."""
        order = sorted(range(len(self.priority)), key=lambda slot: -self.priority[slot])
        return sorted(slot * SLOT for slot in order[:n_notes])


@dataclass(frozen=True, slots=True)
class Phrase:
    """What the melody of one phrase follows: main and contrasting motif, chords, and so on."""

    motifs: Sequence[Motif]
    meter: Meter
    spans: Sequence[Span]
    tonic: int
    major: bool
    cues: Cues
    n_bars: int
    final: bool

    def chord_at(self, time: float) -> Span:
        """The chord that sounds at a time."""
        starts = [span.start for span in self.spans]
        return self.spans[max(bisect_right(starts, time + 1e-9) - 1, 0)]


def draw_motif(meter: Meter, rng: np.random.Generator) -> Motif:
    """A motif for one bar of a meter."""
    noise = 0.8 * rng.standard_normal(meter.slots)
    weights = [0.8 * meter.weight(slot * SLOT) for slot in range(meter.slots)]
    level = 0
    contour = []
    for draw in rng.random(meter.slots):
        contour.append(level)
        level += _STEPS[int(draw * len(_STEPS))]
        if abs(level) > 4:
            level -= int(math.copysign(3, level))
    priority = [w + float(e) - (w < 0) for w, e in zip(weights, noise, strict=True)]
    return Motif(tuple(priority), tuple(contour))


def melody(
    phrase: Phrase, centre: float, previous: int | None, rng: np.random.Generator
) -> list[Note]:
    """Melody of one phrase.

    The first bar states the motif, the second repeats it or moves it by a step, the third
    brings the contrasting one, the last is a cadence; the line rises to an arch. It lies around
    the MIDI pitch `centre` and goes on from the last pitch of the phrase before. Onsets count
    from the start of the phrase; durations reach to the next onset.
    """
    meter = phrase.meter
    onsets: list[float] = []
    targets: list[float] = []
    sequence = int(rng.integers(-1, 2))
    for bar in range(phrase.n_bars - 1):
        motif = phrase.motifs[1 if bar % 4 == 2 else 0]
        n_notes = _notes_in_bar(phrase, rng)
        arch = 2.5 * math.sin(math.pi * (bar + 0.5) / phrase.n_bars)
        anchor = arch + (sequence if bar % 2 else 0)
        for onset in motif.rhythm(n_notes):
            onsets.append(bar * meter.bar + onset)
            step = motif.contour[round(onset / SLOT)] * phrase.cues.pitch_range
            targets.append(centre + 1.7 * (anchor + step))
    body = _pitched(phrase, onsets, targets, centre, previous)
    last = body[-1].pitch if body else previous
    return _joined(body, _cadence(phrase, centre, last, rng), rng)


def _notes_in_bar(phrase: Phrase, rng: np.random.Generator) -> int:
    wanted = phrase.meter.bar * (0.45 + 1.75 * phrase.cues.density)
    return max(1, round(wanted + rng.uniform(-0.7, 0.7)))


def _pitched(
    phrase: Phrase,
    onsets: list[float],
    targets: list[float],
    centre: float,
    previous: int | None,
) -> list[Note]:
    notes: list[Note] = []
    ends = [*onsets, (phrase.n_bars - 1) * phrase.meter.bar][1:]
    for onset, end, target in zip(onsets, ends, targets, strict=True):
        strong = phrase.meter.weight(onset) >= 1 or end - onset >= phrase.meter.pulse
        if previous is not None:
            # a singable line: leaps beyond an octave are pulled in
            target = min(max(target, previous - 10), previous + 10)
        target = min(max(target, centre - 13), centre + 13)
        previous = _pitch(phrase, onset, target, strong)
        notes.append(Note(onset, end - onset, previous))
    return notes


def _pitch(phrase: Phrase, time: float, target: float, strong: bool) -> int:
    chord = phrase.chord_at(time).chord
    if strong:
        classes = chord.pitch_classes(phrase.tonic)
    else:
        classes = [(phrase.tonic + step) % 12 for step in scale_over(chord, phrase.major)]
    return min((nearest(pc, target) for pc in classes), key=lambda pitch: abs(pitch - target))


def _cadence(
    phrase: Phrase, centre: float, previous: int | None, rng: np.random.Generator
) -> list[Note]:
    """The last bar: a long chord tone, prepared by a step or followed by a pick-up."""
    meter = phrase.meter
    start = (phrase.n_bars - 1) * meter.bar
    target = centre if previous is None else 0.6 * previous + 0.4 * centre
    if phrase.final:
        goal = nearest(phrase.tonic, target)
        return [Note(start, meter.bar, goal, 2.0)]
    if phrase.cues.density > 0.55 and rng.random() < 0.6:
        held = meter.half if meter.name != "3/4" else 1.0
        pick_up = np.arange(start + held, start + meter.bar - 0.01, 0.5).tolist()
        direction = 1 if rng.random() < 0.5 + 0.2 * phrase.cues.pitch_range - 0.2 else -1
        goal = _pitch(phrase, start, target, strong=True)
        steps = [goal + 1.8 * direction * (i + 1) for i in range(len(pick_up))]
        run = [
            Note(time, 0.5, _pitch(phrase, time, step, strong=False))
            for time, step in zip(pick_up, steps, strict=True)
        ]
        return [Note(start, held, goal, 1.0), *run]
    goal = _pitch(phrase, start, target, strong=True)
    if phrase.cues.density > 0.3 and rng.random() < 0.5:
        above = _pitch(phrase, start, goal + 1.6, strong=False)
        rest = Note(start + meter.pulse, meter.bar - meter.pulse - 0.5, goal)
        return [Note(start, meter.pulse, above, 2.0), rest]
    return [Note(start, meter.bar - meter.pulse, goal, 1.0)]


def _joined(body: list[Note], cadence: list[Note], rng: np.random.Generator) -> list[Note]:
    """Body and cadence, with a breath before some of the notes after a long one."""
    notes = [*body, *cadence]
    for number, note in enumerate(notes):
        if note.duration >= 1.5 and rng.random() < 0.25:
            notes[number] = note._replace(duration=note.duration - 0.5)
    return notes
