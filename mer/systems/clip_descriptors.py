"""Descriptors of clips that systems are fitted on: cached vectors, their revisions and names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mer.audio import waveform
from mer.clips import Clip
from mer.features import descriptors, notes, spectral
from mer.features.cache import cached, source_of
from mer.rendering import REVISION as RENDERING_REVISION
from mer.segments import LONGEST
from mer.systems import musicnn
from mer.systems.base import notes_feature

SAMPLE_RATE = 22050
PITCH_CLASSES_REVISION = 1


def symbolic(clip: Clip) -> np.ndarray:
    """Symbolic descriptors of a clip's MIDI, cached; shape (n_descriptors,)."""

    def values(played: np.ndarray) -> list[float]:
        return list(descriptors.symbolic_descriptors(played).values())

    return notes_feature("symbolic-descriptors", descriptors.SYMBOLIC_REVISION, values, clip)


def pitch_class_shares(clip: Clip) -> np.ndarray:
    """Shares of the pitch classes C to B in the durations of a clip's notes, shape (12,)."""

    def values(played: np.ndarray) -> np.ndarray:
        durations = played[:, 1] - played[:, 0]
        sums = np.bincount(played[:, 2].astype(int) % 12, durations, minlength=12)
        return sums / max(sums.sum(), np.finfo(float).tiny)

    return notes_feature("pitch-class-shares", PITCH_CLASSES_REVISION, values, clip)


def acoustic(clip: Clip) -> np.ndarray:
    """Acoustic descriptors of a clip's audio, cached; shape (n_descriptors,)."""
    return acoustic_of(clip, lambda: waveform(clip, SAMPLE_RATE))


def acoustic_30s(clip: Clip) -> np.ndarray:
    """Acoustic descriptors of the first 30 s of a clip's audio, cached; shape (n_descriptors,)."""
    length = round(LONGEST * SAMPLE_RATE)
    return acoustic_of(clip, lambda: waveform(clip, SAMPLE_RATE)[:length], seconds=LONGEST)


def acoustic_of(clip: Clip, samples: Callable[[], np.ndarray], **part: Any) -> np.ndarray:
    """Acoustic descriptors of a part of a clip's audio, cached; shape (n_descriptors,).

    `samples` gives it, shape (n,), at `SAMPLE_RATE`; `part` says which it is, for the cache.
    """

    def compute() -> np.ndarray:
        return np.asarray(list(descriptors.acoustic_descriptors(samples(), SAMPLE_RATE).values()))

    return cached(
        "acoustic-descriptors",
        descriptors.ACOUSTIC_REVISION,
        {"rendering": RENDERING_REVISION, "sample_rate": SAMPLE_RATE, **part},
        source_of(clip, "audio"),
        compute,
    )


def robust(clip: Clip) -> np.ndarray:
    """Robust descriptors of a clip's audio, cached; shape (n_descriptors,)."""

    def compute() -> np.ndarray:
        found = descriptors.robust_descriptors(waveform(clip, SAMPLE_RATE), SAMPLE_RATE)
        return np.asarray(list(found.values()))

    return cached(
        "robust-descriptors",
        descriptors.ROBUST_REVISION,
        {"rendering": RENDERING_REVISION, "sample_rate": SAMPLE_RATE},
        source_of(clip, "audio"),
        compute,
    )


ACOUSTIC_REVISIONS = {"rendering": RENDERING_REVISION, "acoustic": descriptors.ACOUSTIC_REVISION}
_EMBEDDING_REVISIONS = {
    **{"rendering": RENDERING_REVISION, "spectral": spectral.REVISION},
    "musicnn": musicnn.REVISION,
}
FEATURE_REVISIONS: dict[Any, dict[str, int]] = {
    symbolic: {"notes": notes.REVISION, "symbolic": descriptors.SYMBOLIC_REVISION},
    pitch_class_shares: {"notes": notes.REVISION, "pitch_classes": PITCH_CLASSES_REVISION},
    acoustic: ACOUSTIC_REVISIONS,
    acoustic_30s: ACOUSTIC_REVISIONS,
    robust: {"rendering": RENDERING_REVISION, "robust": descriptors.ROBUST_REVISION},
    musicnn.embedding_statistics: _EMBEDDING_REVISIONS,
    musicnn.embedding_statistics_30s: _EMBEDDING_REVISIONS,
}
"""Revisions that features of the package depend on."""

EMBEDDINGS = frozenset({musicnn.embedding_statistics, musicnn.embedding_statistics_30s})
OF_MIDI = frozenset({symbolic, pitch_class_shares})
"""Features of a clip's MIDI; others are of its audio."""

_SILENCE = np.zeros(SAMPLE_RATE, np.float32)
NAMES: Mapping[Any, Callable[[], Sequence[str]]] = {
    symbolic: lambda: list(descriptors.symbolic_descriptors(np.zeros((0, 4)))),
    acoustic: lambda: list(descriptors.acoustic_descriptors(_SILENCE, SAMPLE_RATE)),
    robust: lambda: list(descriptors.robust_descriptors(_SILENCE, SAMPLE_RATE)),
}
"""Names of the descriptors of a feature."""
