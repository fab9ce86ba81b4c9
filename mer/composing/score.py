"""Composing one clip: from its plan to performed parts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from mer.composing.arranging import Arranger
from mer.composing.harmony import Span
from mer.composing.performance import Frame, TempoMap, Touch, perform, tempo_map, to_ticks
from mer.composing.planning import ClipPlan, plan_clip

REVISION = 1
"""Raised whenever the same parameters give other notes."""

_TOUCH = {
    "right hand": Touch(6.0, 0.009, 0.008),
    "left hand": Touch(-10.0, 0.009),
    "vocals": Touch(10.0, 0.012),
    "bass": Touch(2.0, 0.006),
    "drums": Touch(0.0, 0.004),
    "keys": Touch(-8.0, 0.007),
    "pad": Touch(-18.0, 0.010),
}

_RUBATO = {"piano": 0.08, "band": 0.025}


@dataclass(frozen=True, slots=True)
class PlayedPart:
    """One track.

    Attributes
    ----------
    name : str
        A key of `mer.composing.arranging.SOURCE_OF_PART`.
    program : int
        General MIDI program from 0.
    notes : np.ndarray, shape (n, 4), int32
        Onset and duration in ticks, pitch, velocity.
    """

    name: str
    program: int
    notes: np.ndarray

    @property
    def is_drum(self) -> bool:
        """Whether its pitches are drums."""
        return self.name == "drums"


@dataclass(frozen=True, slots=True)
class Composition:
    """One composed clip.

    Attributes
    ----------
    plan : ClipPlan
    parts : tuple of PlayedPart
    tempo_map : TempoMap
    starts : tuple of float
        Where the phrases begin and, last, where the clip ends, in quarter notes.
    chords : tuple of Span
        Starts in quarter notes from the beginning of the clip.
    """

    plan: ClipPlan
    parts: tuple[PlayedPart, ...]
    tempo_map: TempoMap
    starts: tuple[float, ...]
    chords: tuple[Span, ...]


def compose(
    seed: int, index: int, arrangement: str, duration: float, trajectories: bool
) -> Composition:
    """Compose clip `index` of a corpus; the same whatever the size of the corpus.

    Parameters
    ----------
    seed, index : int
    arrangement : {"piano", "band", "mixed"}
    duration : float
        In seconds.
    trajectories : bool
        Whether the emotion changes within the clip.

    Returns
    -------
    Composition
    """
    plan = plan_clip(seed, index, arrangement, duration, trajectories)
    return perform_plan(plan, duration, np.random.default_rng([seed, 3, index]))


def perform_plan(plan: ClipPlan, duration: float, rng: np.random.Generator) -> Composition:
    """Write every phrase of a plan and play it."""
    song = plan.song
    arranger = Arranger(plan, rng)
    played: dict[str, list[np.ndarray]] = defaultdict(list)
    chords: list[Span] = []
    frames: list[Frame] = []
    start = 0.0
    for phrase in plan.phrases:
        pace = phrase.tempo * song.meter.pulse
        frame = Frame(start, phrase.n_bars * song.meter.bar, pace, song.meter, song.swing)
        spans, written = arranger.write(phrase, final=phrase is plan.phrases[-1])
        for name, (notes, cues) in written.items():
            played[name].append(perform(notes, frame, _TOUCH[name], cues.loudness, rng))
        chords += [span._replace(start=start + span.start) for span in spans]
        frames.append(frame)
        start += frame.length
    programs = song.ensemble.programs if song.arrangement == "band" else {}
    return Composition(
        plan,
        tuple(
            PlayedPart(name, programs.get(name, 0), to_ticks(np.concatenate(notes), start))
            for name, notes in played.items()
        ),
        tempo_map(frames, _RUBATO[song.arrangement], duration),
        (*(frame.start for frame in frames), start),
        tuple(chords),
    )
