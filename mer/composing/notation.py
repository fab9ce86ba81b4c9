"""Notes, parts and meters of a composed score; time in quarter notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Note(NamedTuple):
    """A note as written.

    Attributes
    ----------
    onset, duration : float
        In quarter notes.
    pitch : int
        MIDI number.
    accent : float
        Added to the velocity of its part.
    """

    onset: float
    duration: float
    pitch: int
    accent: float = 0.0


@dataclass(frozen=True, slots=True)
class Meter:
    """A time signature.

    Attributes
    ----------
    name : str
    bar, pulse : float
        Lengths in quarter notes; the pulse is what the tempo counts.
    half : float
        Where a bar with two chords changes.
    pace : float
        Pulses a minute relative to those of a 4/4 bar of the same character.
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
        """Metrical weight of a place in the bar: 3 downbeat, 2 half, 1 pulse, 0 eighth, -1."""
        position %= self.bar
        if position == 0:
            return 3
        if position == self.half:
            return 2 if self.name != "3/4" else 1
        if position % self.pulse == 0:
            return 1
        return 0 if position % 0.5 == 0 else -1


METERS = {
    meter.name: meter
    for meter in (
        Meter("4/4", 4.0, 1.0, 2.0, 1.0),
        Meter("3/4", 3.0, 1.0, 2.0, 1.05),
        Meter("6/8", 3.0, 1.5, 1.5, 0.7),
    )
}
