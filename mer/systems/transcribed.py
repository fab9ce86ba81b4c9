"""Symbolic systems on our transcription of a clip's sound."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from mer.clips import Clip, Corpus
from mer.features import descriptors
from mer.features.cache import cached, content_digest, source_of, stored_file
from mer.features.notes import relative_velocities
from mer.files import temporary_folder
from mer.paths import cache_folder
from mer.rendering import REVISION as RENDERING_REVISION
from mer.systems.clip_descriptors import FEATURE_REVISIONS, SAMPLE_RATE
from mer.transcription import transcribed_notes, transcriber_revision, write_midi

_FIRST, _VARIED = "onsets-frames", "onsets-frames-varied"


def _revisions(transcriber: str) -> dict[str, int]:
    return {
        "rendering": RENDERING_REVISION,
        "symbolic": descriptors.SYMBOLIC_REVISION,
        "transcriber": transcriber_revision(transcriber),
    }


_REVISIONS = _revisions(_FIRST)
_OF_LENGTH = ("n_notes", "rhythm_duration")
_OF_LEVEL = ("dynamics_mean", "dynamics_sd")


def transcribed_symbolic(clip: Clip) -> np.ndarray:
    """`relative_descriptors` of our transcription of a clip, cached; shape (n_descriptors,)."""
    return _symbolic(clip, _FIRST)


def transcribed_symbolic_varied(clip: Clip) -> np.ndarray:
    """The same by the transcriber that was trained on varied sound."""
    return _symbolic(clip, _VARIED)


def _symbolic(clip: Clip, transcriber: str) -> np.ndarray:
    def compute() -> np.ndarray:
        played = transcribed_notes(clip, transcriber, sample_rate=SAMPLE_RATE)
        return np.asarray(list(relative_descriptors(played).values()))

    parameters = {"name": transcriber, **_revisions(transcriber)}
    revision, audio = descriptors.SYMBOLIC_REVISION, source_of(clip, "audio")
    return cached("transcribed-descriptors", revision, parameters, audio, compute)


FEATURE_REVISIONS[transcribed_symbolic] = _REVISIONS
FEATURE_REVISIONS[transcribed_symbolic_varied] = _revisions(_VARIED)


def relative_descriptors(played: np.ndarray) -> dict[str, float]:
    """Symbolic descriptors that neither a recording's level nor its length changes.

    Velocities are relative to the clip's own, see `mer.features.notes.relative_velocities`.

    Parameters
    ----------
    played : np.ndarray, shape (n_notes, 4)

    Returns
    -------
    dict of str to float
        `mer.features.descriptors.symbolic_descriptors` without those that this makes constant, and
        without number of notes and duration.
    """
    found = descriptors.symbolic_descriptors(relative_velocities(played))
    return {name: v for name, v in found.items() if name not in (*_OF_LENGTH, *_OF_LEVEL)}


def transcribed(corpus: Corpus) -> Corpus:
    """The corpus with MIDI files of our transcription in place of its own."""
    clips = []
    for clip in corpus:
        digest = content_digest(source_of(clip, "audio"))
        folder = cache_folder() / "transcribed-midi" / digest[:2]
        revisions = "-".join(f"r{number}" for number in _REVISIONS.values())
        make = partial(_midi, clip)
        path = stored_file(folder, f"{digest[:32]}-{revisions}", ".mid", make)
        clips.append(replace(clip, midi=path))
    return Corpus(corpus.name, clips, licence=corpus.licence, citation=corpus.citation)


def _midi(clip: Clip) -> bytes:
    with temporary_folder() as folder:
        path = folder / "notes.mid"
        write_midi(transcribed_notes(clip, sample_rate=SAMPLE_RATE), path)
        return path.read_bytes()
