"""Builders of overrides: what the systems of one paper share, told once for all of them.

Each gives hyper-parameters by system that differ from the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mer.systems.variants import VARIANTS

_MIXED_FEATURE = (
    "Symbolic & Acoustic",
    "Acoustic-only",
    "Single-loss",
    "Symbolic & Acoustic, released MIDI",
    "Symbolic & Acoustic, no pre-training",
    "Symbolic & Acoustic, MAESTRO + Pop1K7",
)


def networks(
    lstm: Mapping[str, Any],
    resnet: Mapping[str, Any],
    domains: Mapping[str, Any],
    n_mels: int,
    stft: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Mapping[str, Any]]:
    """Overrides of the networks; `domains` are those of all systems of zhu2023."""
    return {
        "LSTM-Attn + MIDI-like": lstm,
        "LSTM-Attn + REMI": lstm,
        "Short-chunk ResNet": resnet,
        **{name: {**domains, "n_mels": n_mels} for name in _MIXED_FEATURE},
        "Symbolic-only": domains,
        "STFT-input": {**domains, **stft},
    }


def emomucs(
    networks: Mapping[str, Mapping[str, Any]],
    head: Mapping[str, Any],
    finetune: Mapping[str, Any],
    excerpts: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Mapping[str, Any]]:
    """Overrides of all systems of deberardinis2020.

    `networks` says how those of each architecture are trained, on one source or together; a
    fusion's source models must be trained in the same way as the systems on single sources.
    """
    overrides: dict[str, Mapping[str, Any]] = {}
    for name, (place, fixed) in VARIANTS.items():
        training = networks[fixed["architecture"]]
        if place.endswith(("FrozenFusion", "FinetunedFusion")):
            training = {**{f"source_{key}": value for key, value in training.items()}, **head}
        if place.endswith("FinetunedFusion"):
            training = {**training, **finetune}
        overrides[name] = {**excerpts, **training}
    return overrides


def sun2024(
    segments: Mapping[str, Any],
    warm_up: int,
    whole_clip: Mapping[str, Any],
    two_stage: Mapping[str, Any],
) -> dict[str, Mapping[str, Any]]:
    """Overrides of the systems of sun2024; `segments` are those of all networks of segments."""
    return {
        "SSSL": {**segments, "warm_up": warm_up},
        "SSSL, no KL": {**segments, "warm_up": warm_up},
        "Segment inheritance": segments,
        "Segment inheritance, SVM": segments,
        "VGG16, whole clip": {**segments, "segments_per_epoch": None, **whole_clip},
        "2-Stage": two_stage,
    }


def midibert(training: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Overrides of MidiBERT and its successors, with the encoder that two cores can pre-train."""
    names = ("MidiBERT", "MT-MidiBERT", "QM-MidiBERT", "MidiBERT, no pre-training")
    return {name: {"encoder_size": "small", **training} for name in names}


_FACTORS = {
    "Multifaceted": ("symbolic", "harmony", "tone color"),
    "Without MHSA": ("symbolic", "harmony", "tone color"),
    "Symbolic branch": ("symbolic",),
    "Harmony branch": ("harmony",),
    "Tone color branch": ("tone color",),
    "Symbolic + harmony": ("symbolic", "harmony"),
    "Symbolic + tone color": ("symbolic", "tone color"),
    "Harmony + tone color": ("harmony", "tone color"),
}


def zhao2023(
    shared: Mapping[str, Any],
    *,
    hidden: int,
    harmony_channels: int,
    tone_color_channels: int,
) -> dict[str, Mapping[str, Any]]:
    """Overrides of the systems of zhao2023: what all share, and the sizes of the branches."""
    sizes = {
        "symbolic": {"hidden": hidden},
        "harmony": {"harmony_channels": harmony_channels},
        "tone color": {"tone_color_channels": tone_color_channels},
    }
    overrides: dict[str, Mapping[str, Any]] = {}
    for name, factors in _FACTORS.items():
        overrides[name] = dict(shared)
        for factor in factors:
            overrides[name] = {**overrides[name], **sizes[factor]}
    return overrides
