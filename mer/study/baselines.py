"""The EMOPIA paper's baselines: their systems and where their numbers are published."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mer.study.published import published

WITHOUT_MUSIC = ("Constant", "Song-lookup")
DESCRIPTOR_SYSTEMS = (
    "Symbolic-LR",
    "Audio-LR",
    "Symbolic-SVM",
    "Audio-SVM",
    "Symbolic+Audio-SVM",
)
NETWORKS = ("LSTM-Attn + MIDI-like", "LSTM-Attn + REMI", "Short-chunk ResNet")
BASELINES = (*WITHOUT_MUSIC, *DESCRIPTOR_SYSTEMS, *NETWORKS)
CROSS_VALIDATED = (*WITHOUT_MUSIC, *DESCRIPTOR_SYSTEMS, "LSTM-Attn + MIDI-like")

_ROWS = {
    "LSTM-Attn + MIDI-like": ("2", "LSTM-Attn+MIDI-like"),
    "LSTM-Attn + REMI": ("2", "LSTM-Attn+REMI"),
    "Symbolic-LR": ("2", "symbolic-LR"),
    "Audio-LR": ("3", "Audio-LR"),
    "Short-chunk ResNet": ("3", "Short-chunk ResNet"),
}

VARIATIONS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "as in the profile": {},
        "published size": {"embedding": 300, "hidden": 128, "window": 2048, "batch_size": 16},
        "longer windows": {"window": 1024},
        "smaller learning rate": {"learning_rate": 3e-4},
        "shorter cosine": {"epochs": 15, "patience": 15},
        "stronger weight decay": {"weight_decay": 1e-3},
    }
)
"""What was tried, on validation clips, to bring LSTM-Attn + MIDI-like nearer to the descriptors."""


def published_baselines() -> dict[tuple[str, str], float]:
    """Published accuracy by (system, task), from zhu2023 tables 2 and 3.

    zhao2023 table I quotes the same numbers.
    """
    cells = published("zhu2023").set_index(["table", "row", "column"])["number"]
    return {
        (system, task): float(cells[(table, row, task)])
        for system, (table, row) in _ROWS.items()
        for task in ("4Q", "A", "V")
    }
