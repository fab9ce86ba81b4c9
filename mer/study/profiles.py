"""Profiles: the same study at four sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from mer.errors import ParameterError

Overrides = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Profile:
    """A size of the study.

    Attributes
    ----------
    name, purpose : str
    corpus : str
        Corpus that notebooks take if they are not given another.
    corpus_options : mapping
        What its loader is given.
    splits : mapping of str to str
        By corpus: the split with one partition, and the one for cross-validation.
    seeds : tuple of int
    overrides : mapping
        By system: hyper-parameters that differ from the published ones.
    committed : bool
        Whether its runs are kept in `results` (else in `_build`, which git ignores).
    """

    name: str
    purpose: str
    corpus: str
    seeds: tuple[int, ...]
    corpus_options: Mapping[str, Any] = field(default_factory=dict)
    overrides: Overrides = field(default_factory=dict)
    committed: bool = False


_SPLITS = {
    "emopia": {"single": "split_cls", "cv": "cv10"},
    "composed": {"single": "official", "cv": "cv5"},
}


def default_split(corpus: str, kind: str) -> str:
    """Split of a corpus that the study uses; kind is "single" or "cv"."""
    return _SPLITS[corpus][kind]


_MIXED_FEATURE = (
    "Symbolic & Acoustic",
    "Acoustic-only",
    "Single-loss",
    "Symbolic & Acoustic, released MIDI",
    "Symbolic & Acoustic, no pre-training",
    "Symbolic & Acoustic, MAESTRO + Pop1K7",
)


def _networks(
    lstm: Mapping[str, Any],
    resnet: Mapping[str, Any],
    domains: Mapping[str, Any],
    n_mels: int,
    stft: Mapping[str, Any] = MappingProxyType({}),
) -> Overrides:
    """Overrides of the networks; `domains` are those of all systems of zhu2023."""
    return {
        "LSTM-Attn + MIDI-like": lstm,
        "LSTM-Attn + REMI": lstm,
        "Short-chunk ResNet": resnet,
        **{name: {**domains, "n_mels": n_mels} for name in _MIXED_FEATURE},
        "Symbolic-only": domains,
        "STFT-input": {**domains, **stft},
    }


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            Profile(
                "smoke",
                "tests: every notebook in seconds, on a few composed clips",
                corpus="composed",
                corpus_options={"size": 30, "duration": 8.0},
                seeds=(0,),
                overrides=_networks(
                    {"epochs": 2, "embedding": 16, "hidden": 8, "window": 128},
                    {"epochs": 2, "channels": 4},
                    {"epochs": 2, "batch_size": 8, "window_seconds": 4.0, "pool": 8},
                    n_mels=32,
                    stft={"n_fft": 256},
                ),
            ),
            Profile(
                "quick",
                "a first look: all notebooks in minutes, on the composed corpus",
                corpus="composed",
                corpus_options={"size": 160},
                seeds=(0, 1),
                overrides=_networks(
                    {"epochs": 15, "patience": 8, "embedding": 64, "hidden": 32, "window": 512},
                    {"epochs": 15, "patience": 8, "channels": 8},
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
                ),
            ),
            Profile(
                "cpu",
                "the stored results: real data, networks that two cores can train",
                corpus="emopia",
                seeds=(0, 1, 2),
                overrides=_networks(
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
                ),
                committed=True,
            ),
            Profile(
                "paper",
                "a GPU: real data, the published hyper-parameters",
                corpus="emopia",
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
