"""From a score to a performance: tempo curve, timing, dynamics, ticks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mer.composing import Meter, Note

TICKS_PER_QUARTER = 480

_SHORTEST = 30
"""Ticks; also the gap below which a repeated onset is a doubling of the same note."""

_ACCENT_OF_WEIGHT = {3: 5.0, 2: 3.0, 1: 1.0, 0: -2.0, -1: -4.0}


class Touch(NamedTuple):
    """How a part is played.

    Velocity relative to the loudness of the clip; standard deviation of onsets and by how much
    they precede the beat, in seconds: a pianist's melody comes early.
    """

    level: float
    jitter: float
    lead: float = 0.0


@dataclass(frozen=True, slots=True)
class Frame:
    """Position of a phrase in the clip, in quarter notes, and how it is played.

    `swing` is the position of an off-beat eighth within its beat; 0.5 is even.
    """

    start: float
    length: float
    quarters_per_minute: float
    meter: Meter
    swing: float


def perform(
    notes: Sequence[Note], frame: Frame, touch: Touch, loudness: float, rng: np.random.Generator
) -> np.ndarray:
    """Play the notes of one phrase.

    Velocity follows the accents of the metre, an arch over the phrase and chance; onsets
    scatter by a few milliseconds.

    Returns
    -------
    np.ndarray, shape (n, 4)
        Onset and duration in quarter notes from the start of the clip, pitch, velocity.
    """
    if not notes:
        return np.empty((0, 4))
    written = np.array(notes, dtype=float)
    onset, duration, pitch, accent = written.T
    meter = frame.meter
    by_slot = np.array([_ACCENT_OF_WEIGHT[meter.weight(s / 4)] for s in range(meter.slots)])
    metrical = by_slot[np.rint(onset * 4).astype(int) % meter.slots]
    arch = 6.0 * np.sin(np.pi * np.clip(onset / frame.length, 0, 1)) - 3.0
    noise = rng.normal(0.0, 3.5, len(onset))
    velocity = loudness + touch.level + accent + metrical + arch + noise
    scatter = np.clip(rng.normal(0.0, 1.0, len(onset)), -2, 2) * touch.jitter - touch.lead
    played = frame.start + _swung(onset, frame.swing)
    played += scatter * frame.quarters_per_minute / 60.0
    return np.column_stack([played, duration, pitch, velocity])


def _swung(onset: np.ndarray, swing: float) -> np.ndarray:
    if swing == 0.5:
        return onset
    beat = np.floor(onset)
    within = onset - beat
    return beat + np.where(
        within < 0.5, within * swing / 0.5, swing + (within - 0.5) * (1 - swing) / 0.5
    )


def to_ticks(played: np.ndarray, end: float) -> np.ndarray:
    """Round to ticks, keep inside the clip, and end a note before its pitch is struck again.

    `played` is what `perform` returns, `end` the end of the clip in quarter notes.

    Returns
    -------
    np.ndarray, shape (m, 4), int32
        Onset, duration, pitch, velocity, by onset and pitch; m <= n, as notes that double
        another one are left out.
    """
    last = round(end * TICKS_PER_QUARTER)
    onset = np.clip(np.rint(played[:, 0] * TICKS_PER_QUARTER), 0, last - _SHORTEST).astype(np.int32)
    length = np.maximum(np.rint(played[:, 1] * TICKS_PER_QUARTER), _SHORTEST).astype(np.int32)
    pitch = np.rint(played[:, 2]).astype(np.int32)
    velocity = np.clip(np.rint(played[:, 3]), 8, 124).astype(np.int32)
    stop = np.minimum(onset + length, last)
    order = np.lexsort((onset, pitch))
    onset, stop, pitch, velocity = (x[order] for x in (onset, stop, pitch, velocity))
    same = pitch[1:] == pitch[:-1]
    doubled = np.concatenate([[False], same & (onset[1:] - onset[:-1] < 2 * _SHORTEST)])
    onset, stop, pitch, velocity = (x[~doubled] for x in (onset, stop, pitch, velocity))
    repeated = pitch[1:] == pitch[:-1]
    stop[:-1] = np.where(repeated, np.minimum(stop[:-1], onset[1:] - 2), stop[:-1])
    ticks = np.column_stack([onset, stop - onset, pitch, velocity])
    return ticks[np.lexsort((pitch, onset))]


@dataclass(frozen=True, slots=True)
class TempoMap:
    """Tempo changes of a clip: ticks, and the microseconds of a quarter note from each on."""

    ticks: np.ndarray
    microseconds: np.ndarray

    def seconds(self, tick: float | np.ndarray) -> np.ndarray:
        """Time of a tick, in seconds from the beginning."""
        per_tick = self.microseconds / (1e6 * TICKS_PER_QUARTER)
        elapsed = np.concatenate([[0.0], np.cumsum(np.diff(self.ticks) * per_tick[:-1])])
        index = np.searchsorted(self.ticks, tick, side="right") - 1
        return elapsed[index] + (tick - self.ticks[index]) * per_tick[index]


def tempo_map(frames: Sequence[Frame], rubato: float, duration: float) -> TempoMap:
    """Tempo curve: every phrase flows towards its middle and slows at its end.

    `rubato` is the depth of the curve, as a fraction of the tempo; all tempi are scaled so that
    the clip lasts `duration` seconds.
    """
    starts_of, lengths = [], []
    for number, frame in enumerate(frames):
        step = frame.meter.half if frame.meter.name != "3/4" else frame.meter.bar
        starts = np.arange(0, frame.length - 1e-9, step)
        curve = 1 - rubato * (2 * (starts + step / 2) / frame.length - 1) ** 2
        closing = starts >= frame.length - frame.meter.bar - 1e-9
        curve = np.where(closing, curve * (1 - rubato), curve)
        if number == len(frames) - 1:
            curve = np.where(closing, curve * (1 - rubato), curve)
        starts_of.append(frame.start + starts)
        lengths.append(60.0 / (frame.quarters_per_minute * curve))
    ticks = np.rint(np.concatenate(starts_of) * TICKS_PER_QUARTER).astype(np.int64)
    quarter = np.concatenate(lengths)
    end = round((frames[-1].start + frames[-1].length) * TICKS_PER_QUARTER)
    total = float(np.sum(np.diff(np.append(ticks, end)) * quarter) / TICKS_PER_QUARTER)
    return TempoMap(ticks, np.rint(1e6 * quarter * duration / total).astype(np.int64))
