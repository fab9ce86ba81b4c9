"""Plan of the corpus: songs, their clips, segments and phrases.

In a band the sources carry emotion unequally. Tempo and mode are common to all and follow the
clip. Loudness, density and articulation of a source follow its own share of the arousal; the
register and pitch range of the vocals, and the register and harmonic tension of the other
instruments, their share of the valence. One source follows all of the arousal and one all of the
valence, as `meta["carrier"]` names them; the others follow `WEAK_SOURCE` of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mer.clips import quadrant_of
from mer.composing import METERS, Meter
from mer.composing.accompaniment import BASS, CHORDAL, GROOVES
from mer.composing.emotion import RULES, Expression, draw_expression
from mer.composing.harmony import LOOPS, HarmonicStyle
from mer.composing.melody import Motif, draw_motif

SOURCES = ("vocals", "bass", "drums", "other")

CLIPS_OF_SONGS = (1, 1, 2, 2, 3, 3, 4, 4)
"""Clips of the eight songs of a block, in random order; two songs for each quadrant."""

BLOCK = sum(CLIPS_OF_SONGS)

KEEPS_QUADRANT = 0.7
"""Probability that a later clip of a song has the quadrant of the first.

Clips of one EMOPIA song agree in 62 % of pairs.
"""

WEAK_SOURCE = 0.5
"""Part of the emotion that a source which does not carry it follows."""

_METERS_OF_SONGS = ("4/4", "4/4", "4/4", "4/4", "3/4", "3/4", "6/8", "6/8")
_N_FIGURES = {"chordal": len(CHORDAL), "bass": len(BASS), "drums": len(GROOVES["4/4"])}
_VALENCE_CARRIERS = ("vocals", "other")
_AROUSAL_CARRIERS = (0.2, 0.2, 0.4, 0.2)
_SIGNS = {1: (1, 1), 2: (-1, 1), 3: (-1, -1), 4: (1, -1)}


ENSEMBLES = {
    "pop": {"vocals": 53, "bass": 33, "keys": 0, "pad": 48},
    "ballad": {"vocals": 73, "bass": 32, "keys": 24, "pad": 49},
    "rock": {"vocals": 81, "bass": 34, "keys": 29, "pad": 18},
    "jazz": {"vocals": 65, "bass": 32, "keys": 0, "pad": 16},
    "electronic": {"vocals": 80, "bass": 38, "keys": 5, "pad": 89},
}
"""Bands: the General MIDI program, from 0, of each pitched part."""


@dataclass(frozen=True, slots=True)
class Song:
    """What the clips of a song share.

    Attributes
    ----------
    arrangement : {"piano", "band"}
    tonic : int
        Pitch class.
    motifs : tuple of Motif
        Main and contrasting.
    taste : mapping of str to tuple of float
        Shifts of the energy of each figure: "chordal", "bass", "drums".
    carrier : mapping of str to str
        Source that carries "valence" and "arousal" most strongly.
    noise : np.ndarray, shape (len(RULES),)
        Standard normal; the song's share of the noise of the cues.
    valence, arousal : float
        Of its first clip.
    """

    id: str
    arrangement: str
    tonic: int
    meter: Meter
    motifs: tuple[Motif, Motif]
    style: HarmonicStyle
    taste: Mapping[str, tuple[float, ...]]
    swing: float
    ensemble: str
    carrier: Mapping[str, str]
    noise: np.ndarray
    valence: float
    arousal: float

    def strengths(self, source: str) -> tuple[float, float]:
        """How far a source follows valence and arousal, each 0-1."""
        if self.arrangement == "piano":
            return 1.0, 1.0
        return (
            1.0 if self.carrier["valence"] == source else WEAK_SOURCE,
            1.0 if self.carrier["arousal"] == source else WEAK_SOURCE,
        )


@dataclass(frozen=True, slots=True)
class PhrasePlan:
    """One phrase of a clip; `tempo` in pulses a minute, `cadence` as in `progression`."""

    segment: int
    n_bars: int
    valence: float
    arousal: float
    major: bool
    tempo: float
    cadence: str


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """One clip before it is composed."""

    id: str
    song: Song
    expression: Expression
    phrases: tuple[PhrasePlan, ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """Song of a clip and its number in the song, from 0; what a mixed corpus uses for the song.

    `quadrant` is that of the first clip of the song.
    """

    song: int
    clip: int
    quadrant: int
    meter: Meter
    arrangement: str


def locate(seed: int, index: int) -> Slot:
    """Emotion of clip `index`.

    A block holds eight songs, two for each quadrant, with `CLIPS_OF_SONGS` clips. First come
    the first clips of all its songs, then the second ones, and so on, so that small corpora
    hold songs of every quadrant.
    """
    block, position = divmod(index, BLOCK)
    rng = np.random.default_rng([seed, 0, block])
    sizes = rng.permutation(CLIPS_OF_SONGS)
    quadrants = np.concatenate([rng.permutation(4), rng.permutation(4)]) + 1
    meters = rng.permutation(_METERS_OF_SONGS)
    bands = rng.permutation(8) % 2
    order = [(n, song) for n in range(max(sizes)) for song in range(8) if sizes[song] > n]
    clip, song = order[position]
    return Slot(
        song=block * 8 + song,
        clip=clip,
        quadrant=int(quadrants[song]),
        meter=METERS[str(meters[song])],
        arrangement="band" if bands[song] else "piano",
    )


def draw_song(seed: int, slot: Slot, arrangement: str) -> Song:
    """The song of a slot; `arrangement` may be "mixed"."""
    rng = np.random.default_rng([seed, 1, slot.song])
    valence, arousal = _point_in(slot.quadrant, rng.uniform(0.2, 1.0, 2))
    loop = int(rng.integers(len(LOOPS[True]))) if rng.random() < 0.35 else None
    swings = slot.meter.name == "4/4" and rng.random() < 0.15
    return Song(
        id=f"song{slot.song:04d}",
        arrangement=slot.arrangement if arrangement == "mixed" else arrangement,
        tonic=int(rng.integers(12)),
        meter=slot.meter,
        motifs=(draw_motif(slot.meter, rng), draw_motif(slot.meter, rng)),
        style=HarmonicStyle(loop, float(rng.uniform(0.0, 0.3))),
        taste={key: tuple(rng.normal(0, 0.15, n).tolist()) for key, n in _N_FIGURES.items()},
        swing=0.6 if swings else 0.5,
        ensemble=list(ENSEMBLES)[int(rng.integers(len(ENSEMBLES)))],
        carrier={
            "valence": _VALENCE_CARRIERS[int(rng.integers(2))],
            "arousal": str(rng.choice(SOURCES, p=_AROUSAL_CARRIERS)),
        },
        noise=rng.standard_normal(len(RULES)),
        valence=valence,
        arousal=arousal,
    )


def _point_in(quadrant: int, sizes: Sequence[float] | np.ndarray) -> tuple[float, float]:
    valence, arousal = _SIGNS[quadrant]
    return valence * float(sizes[0]), arousal * float(sizes[1])


def plan_clip(
    seed: int, index: int, arrangement: str, duration: float, trajectories: bool
) -> ClipPlan:
    """Plan of clip `index` of a corpus; parameters as in `mer.composing.score.compose`."""
    slot = locate(seed, index)
    song = draw_song(seed, slot, arrangement)
    quadrant = slot.quadrant
    rng = np.random.default_rng([seed, 2, index])
    expression = draw_expression(song.noise, rng)
    if slot.clip and rng.random() > KEEPS_QUADRANT:
        quadrant = (quadrant + int(rng.integers(1, 4)) - 1) % 4 + 1
    sizes = np.abs([song.valence, song.arousal]) + rng.normal(0, 0.15, 2)
    main = _point_in(quadrant, np.clip(sizes, 0.12, 1.0))
    points, shares = [main], [1.0]
    if trajectories:
        points, shares = _trajectory(main, duration, rng)
    phrases = [
        phrase
        for segment, (point, share) in enumerate(zip(points, shares, strict=True))
        for phrase in _phrases(song, expression, segment, point, share * duration, rng)
    ]
    phrases[-1] = replace(phrases[-1], cadence="authentic")
    return ClipPlan(f"{song.id}-{slot.clip + 1}", song, expression, tuple(phrases))


def _trajectory(
    main: tuple[float, float], duration: float, rng: np.random.Generator
) -> tuple[list[tuple[float, float]], list[float]]:
    """Points and shares of two to four segments; the main one is the longest.

    Neighbouring segments lie in different quadrants; a quadrant may come back.
    """
    n_segments = int(rng.integers(2, 1 + min(4, int(duration // 6))))
    longest = int(rng.integers(n_segments))
    shares = rng.uniform(0.7, 1.0, n_segments)
    shares[longest] = 1.1 * n_segments**0.5
    points = [main] * n_segments
    for step in (1, -1):
        stop = n_segments if step > 0 else -1
        for number in range(longest + step, stop, step):
            here = quadrant_of(*points[number - step])
            other = (here + int(rng.integers(1, 4)) - 1) % 4 + 1
            points[number] = _point_in(other, rng.uniform(0.3, 1.0, 2))
    return points, (shares / shares.sum()).tolist()


def _phrases(
    song: Song,
    expression: Expression,
    segment: int,
    point: tuple[float, float],
    seconds: float,
    rng: np.random.Generator,
) -> list[PhrasePlan]:
    """Phrases of four bars that fill a segment, with a slight drift of the emotion."""
    meter = song.meter
    cues = expression.cues(*point)
    bar_seconds = meter.bar / meter.pulse * 60.0 / (cues.tempo * meter.pace)
    lengths = phrase_lengths(seconds / bar_seconds)
    drift = rng.normal(0, 0.07, (len(lengths), 2)).cumsum(axis=0)
    drift -= drift.mean(axis=0)
    phrases = []
    for number, n_bars in enumerate(lengths):
        valence, arousal = (
            float(np.clip(np.sign(v) * max(abs(v) + np.sign(v) * d, 0.05), -1, 1))
            for v, d in zip(point, drift[number], strict=True)
        )
        answer = number % 2 == 1 or number == len(lengths) - 1
        cadence = "half"
        if answer:
            cadence = "deceptive" if rng.random() < 0.15 else "authentic"
        tempo = expression.cues(valence, arousal).tempo * meter.pace
        phrases.append(PhrasePlan(segment, n_bars, valence, arousal, cues.mode > 0, tempo, cadence))
    return phrases


def phrase_lengths(bars: float) -> list[int]:
    """Phrases of four bars for about as many bars; the last takes what is left.

    Longer pieces get an even number of bars; only a piece of one bar has a phrase of one bar.
    """
    total = max(1, round(bars))
    if total >= 6 and total % 2:
        total += 1 if bars > total else -1
    lengths = [4] * (total // 4)
    rest = total % 4
    if rest == 1 and lengths:
        lengths[-1] = 5
    elif rest:
        lengths.append(rest)
    return lengths
