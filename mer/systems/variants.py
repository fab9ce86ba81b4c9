"""Names of the systems of de Berardinis et al. 2020, which are one class in many variants."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, product
from typing import Any

LETTERS = {"vocals": "V", "bass": "B", "drums": "D", "other": "O"}
"""Sources by the letters of the paper, in its order."""

ARCHITECTURES = ("C1D", "C2D")
FUSIONS = {"C1D": ("early", "mid", "late"), "C2D": ("early", "late")}
TRAININGS = ("freeze", "finetune", "full")
DROPOUTS = {"C1D": 0.5, "C2D": 0.0}
"""Of the networks on one input, as in the published code; the text does not give them."""

Variant = tuple[str, Mapping[str, Any]]
"""Class, as "module.Class" within `mer.systems`, and the hyper-parameters that make the variant."""


def source_name(architecture: str, source: str) -> str:
    """Name of a network on one input, such as "C2D-V"; M stands for the mix."""
    return f"{architecture}-{'M' if source == 'mix' else LETTERS[source]}"


def emomucs_name(
    architecture: str, fusion: str, training: str, sources: tuple[str, ...] = tuple(LETTERS)
) -> str:
    """Name of a fusion, such as "EmoMucs-C2D, late, freeze" or "EmoMucs-C2D, late, freeze, V+B"."""
    letters = "+".join(LETTERS[source] for source in sources)
    subset = "" if tuple(sources) == tuple(LETTERS) else f", {letters}"
    return f"EmoMucs-{architecture}, {fusion}, {training}{subset}"


def unified_name(architecture: str) -> str:
    """Name of one network with the sources as its channels."""
    return f"EmoMucs-{architecture}, unified"


def _subsets() -> list[tuple[str, ...]]:
    sizes = range(1, len(LETTERS) + 1)
    return [subset for size in sizes for subset in combinations(LETTERS, size)]


_CLASSES = {
    "freeze": "deberardinis2020.FrozenFusion",
    "finetune": "deberardinis2020.FinetunedFusion",
    "full": "deberardinis2020.FullFusion",
}


def _variants() -> dict[str, Variant]:
    variants: dict[str, Variant] = {}
    for a in ARCHITECTURES:
        shared = {"architecture": a, "dropout": DROPOUTS[a]}
        for source in ("mix", *LETTERS):
            fixed = {**shared, "source": source}
            variants[source_name(a, source)] = ("deberardinis2020.SourceNetwork", fixed)
        variants[unified_name(a)] = ("deberardinis2020.UnifiedNetwork", shared)
        for fusion, training in product(FUSIONS[a], TRAININGS):
            several = (fusion, training) == ("late", "freeze")
            for sources in _subsets() if several else [tuple(LETTERS)]:
                name = emomucs_name(a, fusion, training, sources)
                fixed = {**shared, "fusion": fusion, "sources": sources}
                variants[name] = (_CLASSES[training], fixed)
    return variants


VARIANTS = _variants()
"""By name."""
