"""Short recordings whose sources are the mix and a tone, and their predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from mer.clips import Clip, Corpus, Fold, Labels, Split
from mer.papers.deberardinis2020 import systems
from mer.study.specs import RunSpec, plan
from mer.systems.base import System

RATE = 12000
PITCHES = {"vocals": 440.0, "bass": 110.0, "drums": 2000.0, "other": 880.0}
DIMENSIONS = ("valence", "arousal")


def toy_clip(folder: Path, number: int, seconds: float = 1.5) -> Clip:
    """Louder for more arousal, brighter for more valence."""
    rng = np.random.default_rng(number)
    valence, arousal = rng.uniform(-0.9, 0.9, 2)
    samples = rng.normal(size=round(seconds * RATE)) * 10 ** (arousal - 2)
    samples = np.convolve(samples, [1.0, -valence / 2], mode="same")
    path = folder / f"{number}.wav"
    soundfile.write(path, samples.astype(np.float32), RATE, subtype="FLOAT")
    labels = Labels(valence=float(valence), arousal=float(arousal))
    return Clip(f"c{number:02d}", f"song-{number}", audio=path, labels=labels)


def toy_corpus(clips: Sequence[Clip]) -> Corpus:
    """With one split, whose two folds test on the same clips."""
    ids = [clip.id for clip in clips]
    folds = (
        Fold(tuple(ids[:10]), tuple(ids[10:14]), tuple(ids[14:])),
        Fold(tuple(ids[4:14]), tuple(ids[:4]), tuple(ids[14:])),
    )
    split = Split("nested5x5", folds)
    splits = {"nested5x5": lambda _: split}
    return Corpus("toy", list(clips), licence="-", citation="-", splits=splits)


def toy_plan(rows: Mapping[str, System], corpus: Corpus, n_folds: int) -> list[RunSpec]:
    """Runs of some rows on the split of a toy corpus, with one seed."""
    (split,) = corpus.split_names
    names = {"corpus": "toy", "fingerprint": corpus.fingerprint, "split": split}
    return plan(rows, ["VA"], **names, folds=range(n_folds), seeds=[0])


def separate_by_tones(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A separator that adds a tone to the mix; gives what it was asked for."""
    asked: list[tuple[str, str]] = []
    mix = systems.source_waveform

    def samples(clip: Clip, source: str, sample_rate: int, *, separator: str) -> np.ndarray:
        asked.append((clip.id, source))
        found = mix(clip, "mix", sample_rate, separator=separator)
        if source == "mix":
            return found
        time = np.arange(len(found)) / sample_rate
        tone = 0.05 * np.sin(2 * np.pi * PITCHES[source] * time)
        return (found + tone).astype(np.float32)

    monkeypatch.setattr(systems, "source_waveform", samples)
    monkeypatch.setattr(systems, "separator_revision", lambda name: 1)
    return asked


def answers_of(
    system: str, fold: int, clips: pd.DataFrame, given: np.ndarray, seed: int = 0
) -> pd.DataFrame:
    """Predictions of one model; clips have id, group and targets, `given` has shape (n, 2)."""
    place: dict[str, Any] = {"system": system, "task": "VA", "split": "s", "fold": fold}
    values = dict(zip(DIMENSIONS, given.T, strict=True))
    return clips.assign(**place, seed=seed, audio="recorded", **values)


def toy_targets(n: int) -> pd.DataFrame:
    """Clips with uniform labels, two a song."""
    labels = np.random.default_rng(0).uniform(-1, 1, (n, 2))
    return pd.DataFrame(
        {
            "id": [f"c{k:02d}" for k in range(n)],
            "group": [f"song-{k // 2}" for k in range(n)],
            "target_valence": labels[:, 0],
            "target_arousal": labels[:, 1],
        }
    )
