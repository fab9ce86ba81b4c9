"""Composing music from valence and arousal: notes and meters; time in quarter notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Note(NamedTuple):
    """A note as written: times in quarter notes, MIDI pitch, what is added to its velocity."""

    onset: float
    duration: float
    pitch: int
    accent: float = 0.0


@dataclass(frozen=True, slots=True)
class Meter:
    """A time signature.

    Lengths of bar and pulse (which the tempo counts) and where a bar with two chords changes, in
    quarter notes; pulses a minute relative to those of a 4/4 bar of the same character.
    """

    name: str
    bar: float
    pulse: float
    half: float
    pace: float

    @property
    def slots(self) -> int:
        """Sixteenth notes in a bar."""
        return round(self.bar * 4)

    def weight(self, position: float) -> int:
        """Metrical weight of a position in the bar: 3 downbeat, 2 half, 1 pulse, 0 eighth, -1."""
        position %= self.bar
        if position == 0:
            return 3
        if position == self.half:
            return 2 if self.name != "3/4" else 1
        if position % self.pulse == 0:
            return 1
        return 0 if position % 0.5 == 0 else -1


METERS = {
    "4/4": Meter("4/4", 4.0, 1.0, 2.0, 1.0),
    "3/4": Meter("3/4", 3.0, 1.0, 2.0, 1.05),
    "6/8": Meter("6/8", 3.0, 1.5, 1.5, 0.7),
}
