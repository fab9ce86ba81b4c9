"""From a point of the valence-arousal plane to musical parameters, by documented rules.

Each rule gives the weights of valence and arousal in one cue. The directions are those on which
the reviews agree; the sizes are ours, chosen so that the cues overlap between quadrants as they
do in real music and plain descriptors recognise four quadrants well, but far from perfectly.

References
----------
.. [1] A. Gabrielsson and E. Lindström, "The role of structure in the musical expression of
       emotions", in Handbook of Music and Emotion, Oxford University Press, 2010, pp. 367-400.
.. [2] P. N. Juslin and P. Laukka, "Expression, perception, and induction of musical emotions",
       Journal of New Music Research 33(3), 2004, pp. 217-238.
.. [3] S. R. Livingstone, R. Muhlberger, A. R. Brown and W. F. Thompson, "Changing musical
       emotion: a computational rule system for modifying score and performance", Computer Music
       Journal 34(1), 2010, pp. 41-64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

SONG_SHARE = 0.5
"""Part of the variance of a cue's noise that all clips of a song share."""

CONTRADICTION = 0.06
"""Probability that a cue of a clip runs against its valence and arousal."""


@dataclass(frozen=True, slots=True)
class CueRule:
    """How one musical cue follows emotion.

    The cue is `centre + spread * tanh(drive)`, or `centre * 2 ** (spread * tanh(drive))` if
    logarithmic, where the drive is `valence * V + arousal * A + noise * e` with a standard
    normal `e`.

    Attributes
    ----------
    unit : str
    valence, arousal : float
        Weights.
    noise : float
        Standard deviation.
    centre, spread : float
        In `unit`; the spread of a logarithmic cue is in octaves (doublings).
    logarithmic : bool
    """

    unit: str
    valence: float
    arousal: float
    noise: float
    centre: float
    spread: float
    logarithmic: bool = False

    def value(self, valence: float, arousal: float, deviation: float) -> float:
        """The cue at a point of the plane; `deviation` is the noise, in drive units."""
        drive = math.tanh(self.valence * valence + self.arousal * arousal + deviation)
        if self.logarithmic:
            return float(self.centre * 2.0 ** (self.spread * drive))
        return self.centre + self.spread * drive


RULES = {
    # fast: happiness, anger, activity; slow: sadness, tenderness [1, 2, 3]
    "tempo": CueRule("beats per minute", 0.2, 0.7, 0.3, 98.0, 0.75, logarithmic=True),
    # major: happiness, serenity; minor: sadness, tension, anger [1, 3]
    "mode": CueRule("major where positive", 1.2, 0.0, 0.5, 0.0, 1.0),
    # high: happiness, grace, serenity; low: sadness, agitation, seriousness [1, 2]
    "register": CueRule("semitones", 0.45, 0.2, 0.45, 0.0, 8.0),
    # loud: anger, excitement, joy; soft: sadness, tenderness, peace [1, 2, 3]
    "loudness": CueRule("MIDI velocity", -0.1, 0.8, 0.3, 72.0, 30.0),
    # staccato: activity, gaiety, anger; legato: sadness, tenderness, peace [1, 2, 3]
    "articulation": CueRule("0 legato to 1 staccato", 0.15, 0.6, 0.35, 0.4, 0.4),
    # simple, consonant harmony: happiness, serenity; dissonant: anger, sadness [1, 3]
    "tension": CueRule("0 consonant to 1 dissonant", -0.7, 0.25, 0.45, 0.45, 0.45),
    # many notes in time: activity, joy; few: peace, sadness [1, 3]
    "density": CueRule("0 sparse to 1 dense", 0.1, 0.7, 0.35, 0.5, 0.5),
    # wide: joy, activity; narrow: sadness, calm [1, 2]
    "pitch_range": CueRule("factor of intervals", 0.3, 0.3, 0.4, 1.0, 0.6, logarithmic=True),
}
"""The rule of each cue, with the emotion that listeners perceive and the source."""


@dataclass(frozen=True, slots=True)
class Cues:
    """Musical parameters at one point of a clip; units as in `RULES`."""

    tempo: float
    mode: float
    register: float
    loudness: float
    articulation: float
    tension: float
    density: float
    pitch_range: float


@dataclass(frozen=True, slots=True)
class Expression:
    """How one clip departs from the rules.

    The noise of each cue, in drive units, and 1, or -1 for one that contradicts the emotion.
    """

    deviation: Mapping[str, float]
    sign: Mapping[str, int]

    def cues(self, valence: float, arousal: float) -> Cues:
        """Every cue at a point of the plane; `valence` and `arousal` in [-1, 1]."""
        return Cues(
            **{
                name: rule.value(
                    self.sign[name] * valence, self.sign[name] * arousal, self.deviation[name]
                )
                for name, rule in RULES.items()
            }
        )


def draw_expression(song_noise: np.ndarray, rng: np.random.Generator) -> Expression:
    """An expression whose noise is partly that of its song (standard normal, a value a rule)."""
    own = rng.standard_normal(len(RULES))
    noise = math.sqrt(SONG_SHARE) * song_noise + math.sqrt(1 - SONG_SHARE) * own
    against = rng.random(len(RULES)) < CONTRADICTION
    return Expression(
        {name: RULES[name].noise * float(e) for name, e in zip(RULES, noise, strict=True)},
        {name: -1 if flip else 1 for name, flip in zip(RULES, against, strict=True)},
    )
