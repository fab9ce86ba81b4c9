"""Profiles: the same study at four sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from mer.corpora.composed import SHORTEST_TRAJECTORY
from mer.corpora.folds import NESTED
from mer.errors import ParameterError
from mer.study.overrides import emomucs, midibert, networks, sun2024, zhao2023

Overrides = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Profile:
    """A size of the study.

    Attributes
    ----------
    name, purpose : str
    corpus, regression_corpus : str
        Corpora that notebooks take if they are not given another: those about classes, and those
        about valence and arousal as numbers.
    corpus_options : mapping
        By corpus: what its loader is given.
    segment_corpora : tuple of str
        Corpora that a notebook on segments shows one after the other.
    nested_folds, fused_folds : tuple of int or None
        Folds of nested cross-validation that are run; None runs all. The second is for fusions
        of which everything is trained, which cost most.
    seeds : tuple of int
    overrides : mapping
        By system: hyper-parameters that differ from the published ones.
    committed : bool
        Whether its runs are kept in `results` (else in `_build`, which git ignores).
    """

    name: str
    purpose: str
    corpus: str
    regression_corpus: str
    seeds: tuple[int, ...]
    segment_corpora: tuple[str, ...] = ("emotify", "mirex_mood")
    corpus_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    nested_folds: tuple[int, ...] | None = None
    fused_folds: tuple[int, ...] | None = None
    overrides: Overrides = field(default_factory=dict)
    committed: bool = False


_SPLITS = {
    "emopia": {"single": "split_cls", "cv": "cv10"},
    "composed": {"single": "official", "cv": "cv5", "nested": NESTED},
    "composed_band": {"single": "official", "cv": "cv5", "nested": NESTED},
    "composed_trajectories": {"single": "official", "cv": "cv5", "nested": NESTED},
    "emotify": {"single": "holdout", "cv": "cv10", "nested": NESTED},
    "mirex_mood": {"single": "holdout", "cv": "cv10"},
    "pmemo": {"single": "holdout", "cv": "cv10", "nested": NESTED},
    "emotion_in_music": {"single": "holdout", "cv": "cv10", "nested": NESTED},
    "four_quadrants": {"single": "holdout", "cv": "cv10"},
}
SPLIT_KINDS = ("single", "cv", "nested")


def default_split(corpus: str, kind: str) -> str:
    """Split of a corpus that the study uses.

    Parameters
    ----------
    corpus : str
    kind : {"single", "cv", "nested"}
        One partition, cross-validation or nested cross-validation.

    Raises
    ------
    ParameterError
        If the corpus has no such split.
    """
    if kind not in _SPLITS[corpus]:
        raise ParameterError(
            f"corpus {corpus!r} has no split for {kind!r}; corpora that have one: "
            f"{', '.join(name for name, kinds in _SPLITS.items() if kind in kinds)}"
        )
    return _SPLITS[corpus][kind]


_SEGMENT_TASKS = {"mirex_mood": ("cluster",), "four_quadrants": ("A", "V", "4Q")}


def segment_tasks(corpus: str) -> tuple[str, ...]:
    """Tasks of a corpus that the notebooks on segments show."""
    return _SEGMENT_TASKS.get(corpus, ("A", "V"))


_ONE_MODEL_A_PART = tuple(range(0, 25, 5))
"""Folds of nested 5x5 cross-validation with the first inner part: every clip is tested once."""


def _composed_options(**options: Any) -> dict[str, Mapping[str, Any]]:
    longer = {"duration": max(options.get("duration", 30.0), SHORTEST_TRAJECTORY)}
    return {
        "composed": options,
        "composed_band": options,
        "composed_trajectories": {**options, **longer},
    }


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            Profile(
                "smoke",
                "tests: every notebook in seconds, on a few composed clips",
                corpus="composed",
                regression_corpus="composed_band",
                segment_corpora=("composed",),
                corpus_options=_composed_options(size=30, duration=8.0),
                nested_folds=(0,),
                fused_folds=(0,),
                seeds=(0,),
                overrides=networks(
                    {"epochs": 2, "embedding": 16, "hidden": 8, "window": 128},
                    {"epochs": 2, "channels": 4},
                    {"epochs": 2, "batch_size": 8, "window_seconds": 4.0, "pool": 8},
                    n_mels=32,
                    stft={"n_fft": 256},
                )
                | emomucs(
                    {name: {"epochs": 2, "batch_size": 8} for name in ("C1D", "C2D")},
                    head={"epochs": 5, "batch_size": 8},
                    finetune={"finetune_epochs": 1, "finetune_batch_size": 8},
                    excerpts={"seconds": 2.0},
                )
                | sun2024(
                    {
                        "epochs": 3,
                        "batch_size": 16,
                        "learning_rate": 1e-3,
                        "segments_per_epoch": 3,
                        "n_mels": 32,
                        "width": 1 / 32,
                        "grid": 1,
                    },
                    warm_up=1,
                    whole_clip={"duration": 8.0},
                    two_stage={
                        "epochs": 3,
                        "encoder_epochs": 1,
                        "segments_per_epoch": 3,
                        "n_mels": 32,
                        "channels": 4,
                        "code": 16,
                        "hidden": 8,
                    },
                )
                | midibert({"epochs": 1, "window": 128})
                | zhao2023(
                    {"epochs": 2, "window_seconds": 4.0, "pool": 4, "width": 16, "classifier": 16},
                    hidden=8,
                    harmony_channels=4,
                    tone_color_channels=4,
                ),
            ),
            Profile(
                "quick",
                "a first look: all notebooks in minutes, on the composed corpus",
                corpus="composed",
                regression_corpus="composed_band",
                segment_corpora=("composed",),
                corpus_options={
                    "composed": {"size": 160},
                    "composed_band": {"size": 64},
                    "composed_trajectories": {"size": 80},
                },
                nested_folds=_ONE_MODEL_A_PART,
                fused_folds=(0,),
                seeds=(0,),
                overrides=networks(
                    {"epochs": 10, "patience": 8, "embedding": 64, "hidden": 32, "window": 512},
                    {"epochs": 10, "patience": 8, "channels": 8},
                    {
                        "epochs": 6,
                        "batch_size": 16,
                        "learning_rate": 1e-3,
                        "schedule": "cosine",
                        "window_seconds": 6.0,
                        "pool": 8,
                    },
                    n_mels=32,
                    stft={"n_fft": 512},
                )
                | emomucs(
                    {
                        "C1D": {"epochs": 8, "batch_size": 16, "learning_rate": 1e-3},
                        "C2D": {"epochs": 6, "batch_size": 16},
                    },
                    head={"epochs": 30, "batch_size": 32},
                    finetune={"finetune_epochs": 2, "finetune_batch_size": 16},
                    excerpts={"seconds": 6.0},
                )
                | sun2024(
                    {
                        "epochs": 8,
                        "batch_size": 32,
                        "learning_rate": 1e-3,
                        "schedule": "cosine",
                        "segments_per_epoch": 3,
                        "n_mels": 32,
                        "width": 1 / 16,
                        "grid": 2,
                    },
                    warm_up=3,
                    whole_clip={"batch_size": 16},
                    two_stage={
                        "epochs": 20,
                        "encoder_epochs": 5,
                        "segments_per_epoch": 3,
                        "n_mels": 32,
                        "channels": 8,
                        "code": 32,
                        "hidden": 32,
                    },
                )
                | midibert({"epochs": 2, "learning_rate": 5e-4, "schedule": "cosine"})
                | zhao2023(
                    {
                        "epochs": 6,
                        "patience": 6,
                        "window_seconds": 6.0,
                        "pool": 4,
                        "width": 32,
                        "classifier": 32,
                    },
                    hidden=32,
                    harmony_channels=8,
                    tone_color_channels=8,
                ),
            ),
            Profile(
                "cpu",
                "the stored results: real data, networks that two cores can train",
                corpus="emopia",
                regression_corpus="emotify",
                fused_folds=_ONE_MODEL_A_PART,
                seeds=(0, 1, 2),
                overrides=networks(
                    {
                        "epochs": 40,
                        "patience": 12,
                        "batch_size": 32,
                        "embedding": 128,
                        "hidden": 64,
                        "window": 512,
                    },
                    {
                        "epochs": 40,
                        "patience": 40,
                        "channels": 16,
                        "chunks_per_epoch": 4,
                        "n_mels": 64,
                        "hop_length": 1024,
                        "window": 65,
                    },
                    {
                        "epochs": 12,
                        "patience": 12,
                        "batch_size": 16,
                        "learning_rate": 5e-4,
                        "schedule": "cosine",
                        "window_seconds": 10.0,
                        "pool": 6,
                    },
                    n_mels=64,
                )
                | emomucs(
                    {
                        "C1D": {
                            "epochs": 40,
                            "batch_size": 16,
                            "learning_rate": 1e-3,
                            "schedule": "cosine",
                        },
                        "C2D": {"epochs": 12, "batch_size": 16, "schedule": "cosine"},
                    },
                    head={"epochs": 200, "batch_size": 32},
                    finetune={"finetune_epochs": 4, "finetune_batch_size": 16},
                )
                | sun2024(
                    {
                        "epochs": 16,
                        "patience": 16,
                        "batch_size": 32,
                        "learning_rate": 5e-4,
                        "schedule": "cosine",
                        "segments_per_epoch": 4,
                        "n_mels": 64,
                        "width": 1 / 8,
                        "grid": 2,
                    },
                    warm_up=8,
                    whole_clip={"epochs": 32, "patience": 32, "batch_size": 16},
                    two_stage={
                        "epochs": 60,
                        "patience": 20,
                        "encoder_epochs": 10,
                        "segments_per_epoch": 4,
                        "n_mels": 64,
                    },
                )
                | midibert({"learning_rate": 5e-4, "schedule": "cosine"})
                | zhao2023(
                    {
                        "epochs": 14,
                        "patience": 14,
                        "batch_size": 32,
                        "learning_rate": 2e-3,
                        "window_seconds": 10.0,
                        "pool": 4,
                        "width": 128,
                        "classifier": 128,
                    },
                    hidden=64,
                    harmony_channels=16,
                    tone_color_channels=16,
                ),
                committed=True,
            ),
            Profile(
                "paper",
                "a GPU: real data, the published hyper-parameters",
                corpus="emopia",
                regression_corpus="emotify",
                seeds=(0, 1, 2, 3, 4),
                committed=True,
            ),
        )
    }
)


def get_profile(name: str) -> Profile:
    """The profile of that name.

    Raises
    ------
    ParameterError
        If there is none.
    """
    if name not in PROFILES:
        raise ParameterError(f"unknown profile {name!r}; the profiles are: {', '.join(PROFILES)}")
    return PROFILES[name]
