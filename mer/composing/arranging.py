"""Writing one phrase for piano or for a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mer.composing import Note, accompaniment
from mer.composing.accompaniment import Pattern
from mer.composing.emotion import Cues
from mer.composing.harmony import Span, progression
from mer.composing.melody import Phrase, melody
from mer.composing.planning import SOURCES, ClipPlan, PhrasePlan

SOURCE_OF_PART = {
    **{"vocals": "vocals", "bass": "bass", "drums": "drums"},
    **dict.fromkeys(("right hand", "left hand", "keys", "pad"), "other"),
}

_LOWEST_OCTAVE = 60

Written = dict[str, tuple[list[Note], Cues]]
"""Notes of each part, from the start of the phrase, and the cues that it follows."""


@dataclass(slots=True)
class Arranger:
    """Writes the phrases of one clip in order, each going on from the one before.

    It counts the melodies it has written and stores where the last one ended, and of each part the
    figure or groove that it plays and its last chord.
    """

    plan: ClipPlan
    rng: np.random.Generator
    n_phrases: int = 0
    last_pitch: int | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    voicings: dict[str, list[int]] = field(default_factory=dict)

    def write(self, phrase: PhrasePlan, final: bool) -> tuple[list[Span], Written]:
        """Chords and parts of the next phrase; `final` if the clip ends with it."""
        song = self.plan.song
        tension = self._cues(phrase, "other").tension
        spans = progression(
            phrase.n_bars,
            song.meter,
            phrase.major,
            phrase.cadence,
            tension,
            song.style,
            self.rng,
        )
        arrange = self._piano if song.arrangement == "piano" else self._band
        return spans, arrange(phrase, spans, final)

    def _cues(self, phrase: PhrasePlan, source: str) -> Cues:
        """Cues of one source, which follows the emotion as far as it carries it."""
        valence, arousal = self.plan.song.strengths(source)
        return self.plan.expression.cues(valence * phrase.valence, arousal * phrase.arousal)

    def _piano(self, phrase: PhrasePlan, spans: list[Span], final: bool) -> Written:
        cues = self._cues(phrase, "other")
        tune = self._tune(phrase, spans, cues, final, 72.0 + cues.register)
        centres = (43.0, 55.0 + 0.4 * cues.register)
        left = self._chords("left hand", spans, cues, final, centres)
        return {"right hand": (tune + self._octaves(tune, cues), cues), "left hand": (left, cues)}

    def _band(self, phrase: PhrasePlan, spans: list[Span], final: bool) -> Written:
        cues = {source: self._cues(phrase, source) for source in SOURCES}
        other = cues["other"]
        chord_centre = 58.0 + 0.5 * other.register
        tune_centre = 68.0 + cues["vocals"].register
        # in this order, as all draw from one generator
        notes = {
            "vocals": self._tune(phrase, spans, cues["vocals"], final, tune_centre),
            "bass": self._chords("bass", spans, cues["bass"], final, (35.0, 48.0)),
            "drums": self._drums(phrase, cues["drums"], final),
            "keys": self._chords("keys", spans, other, final, (48.0, chord_centre)),
            "pad": self._chords("pad", spans, other, final, (48.0, chord_centre + 5)),
        }
        return {part: (notes[part], cues[SOURCE_OF_PART[part]]) for part in notes}

    def _tune(
        self, phrase: PhrasePlan, spans: list[Span], cues: Cues, final: bool, centre: float
    ) -> list[Note]:
        song = self.plan.song
        # the third of four phrases opens with the contrasting motif: A A B A
        self.n_phrases += 1
        motifs = song.motifs[::-1] if self.n_phrases % 4 == 3 else song.motifs
        written = Phrase(
            motifs, song.meter, spans, song.tonic, phrase.major, cues, phrase.n_bars, final
        )
        tune = melody(written, centre, self.last_pitch, self.rng)
        self.last_pitch = tune[-1].pitch
        hold = 1.02 - 0.6 * cues.articulation
        return [
            note._replace(duration=note.duration * (hold if note.duration <= 1.5 else 0.95))
            for note in tune
        ]

    def _octaves(self, tune: list[Note], cues: Cues) -> list[Note]:
        """Lower octaves of strong notes above the left hand, the more of them the louder it is."""
        probability = max(0.0, (cues.loudness - 70.0) / 60.0)
        return [
            note._replace(pitch=note.pitch - 12, accent=note.accent - 4.0)
            for note in tune
            if note.pitch >= _LOWEST_OCTAVE + 12
            and self.plan.song.meter.weight(note.onset) >= 1
            and self.rng.random() < probability
        ]

    def _chords(
        self,
        part: str,
        spans: list[Span],
        cues: Cues,
        final: bool,
        centres: tuple[float, float],
    ) -> list[Note]:
        song = self.plan.song
        figure = self._figure(part, cues.density)
        voices = accompaniment.voice(
            spans,
            song.tonic,
            centres,
            0.0 if part == "pad" else song.style.inversions,
            self.rng,
            self.voicings.get(part),
        )
        self.voicings[part] = voices.voicings[-1]
        hold = 1.0 - (0.25 if figure.pedal else 0.65) * cues.articulation
        return accompaniment.play(figure, voices, song.meter, hold, final)

    def _figure(self, part: str, density: float) -> accompaniment.Figure:
        if part == "pad":
            return accompaniment.PAD
        kind = "bass" if part == "bass" else "chordal"
        figures = accompaniment.BASS if part == "bass" else accompaniment.CHORDAL
        return self._chosen(part, figures, density, self.plan.song.taste[kind])

    def _drums(self, phrase: PhrasePlan, cues: Cues, final: bool) -> list[Note]:
        song = self.plan.song
        grooves = accompaniment.GROOVES[song.meter.name]
        groove = self._chosen("drums", grooves, cues.density, song.taste["drums"])
        return accompaniment.play_drums(groove, song.meter, phrase.n_bars, final, self.rng)

    def _chosen(
        self, part: str, patterns: Sequence[Pattern], density: float, taste: Sequence[float]
    ) -> Pattern:
        pattern = accompaniment.choose(patterns, density, taste, self.figures.get(part))
        self.figures[part] = pattern
        return pattern
