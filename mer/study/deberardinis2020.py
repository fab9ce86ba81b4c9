"""EmoMucs (de Berardinis et al. 2020): rows of its tables, its claims, and what is published."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

import pandas as pd

from mer.study.claims import Claim, Comparison
from mer.study.published import published, published_value
from mer.study.regression import DIMENSIONS, PublishedScores
from mer.study.specs import RunSpec, resolve
from mer.systems.variants import (
    ARCHITECTURES,
    FUSIONS,
    LETTERS,
    TRAININGS,
    VARIANTS,
    emomucs_name,
    source_name,
    unified_name,
)

BASELINES = ("Mean", "SVR")
SINGLE = tuple(f"{architecture}-{letter}" for architecture in ARCHITECTURES for letter in "MVBDO")
"""Rows of table 1."""

MIX = tuple(source_name(architecture, "mix") for architecture in ARCHITECTURES)
UNIFIED = tuple(unified_name(architecture) for architecture in ARCHITECTURES)
"""One network with all sources as its channels. Our own rows."""

FUSED = tuple(
    emomucs_name(architecture, fusion, training)
    for architecture in ARCHITECTURES
    for training in TRAININGS
    for fusion in FUSIONS[architecture]
)
"""Cells of table 2; late fusion with fine-tuning and full training are not in the paper."""

FROZEN = tuple(name for name in FUSED if name.endswith("freeze"))
TRAINED_WHOLE = tuple(name for name in FUSED if name not in FROZEN)
"""Cells in which the source models are trained, too: they cost most."""

PROPOSED = {
    "C1D": emomucs_name("C1D", "mid", "freeze"),
    "C2D": emomucs_name("C2D", "late", "freeze"),
}
"""By architecture: the fusion with the highest published R2 of valence."""

COMBINATIONS = tuple(
    emomucs_name("C2D", "late", "freeze", tuple(s for k, s in enumerate(LETTERS) if mask >> k & 1))
    for mask in range(1, 2 ** len(LETTERS))
)
"""Points of figure 4: all subsets of the sources."""

_METRICS = {"RMSE": "rmse", "R2": "r2"}
_DIMENSIONS = {"V": "valence", "A": "arousal"}


PUBLISHED_ON = "PMEmo"
_RECORDED = ("pmemo", "emotify", "emotion_in_music")
"""Corpora of songs, beside whose scores the published ones make sense."""


def _r2(better: str, worse: str, dimension: str) -> Comparison:
    return Comparison(better, worse, "VA", ("r2", dimension))


def _both(better: str, worse: str) -> tuple[Comparison, ...]:
    return tuple(_r2(better, worse, dimension) for dimension in DIMENSIONS)


def _among_sources(
    dimension: str, *, best: str | None = None, worst: str | None = None
) -> tuple[Comparison, ...]:
    """That one source is better, or worse, than each other one, with both architectures."""
    return tuple(
        _r2(source_name(a, best or other), source_name(a, worst or other), dimension)
        for a in ARCHITECTURES
        for other in LETTERS
        if other not in (best, worst)
    )


def _fused_against_sources(dimension: str) -> tuple[Comparison, ...]:
    return tuple(
        _r2(PROPOSED[a], source_name(a, source), dimension)
        for a, source in product(ARCHITECTURES, LETTERS)
    )


def _frozen_against(training: str, cells: Iterable[tuple[str, str]]) -> tuple[Comparison, ...]:
    return tuple(
        comparison
        for a, fusion in cells
        for comparison in _both(
            emomucs_name(a, fusion, "freeze"), emomucs_name(a, fusion, training)
        )
    )


_PUBLISHED_CELLS = (("C1D", "early"), ("C1D", "mid"), ("C2D", "early"))
"""Fusions whose three trainings are all in the paper."""

SOURCE_CLAIMS = (
    *(
        Claim(
            f"On {dimension}, every source alone is worse than the mix",
            "1",
            tuple(
                _r2(source_name(a, "mix"), source_name(a, source), dimension)
                for a, source in product(ARCHITECTURES, LETTERS)
            ),
        )
        for dimension in DIMENSIONS
    ),
    Claim(
        "Of the sources alone, drums are the best for valence",
        "1",
        _among_sources("valence", best="drums"),
    ),
    Claim(
        "Of the sources alone, bass is the worst for arousal",
        "1",
        _among_sources("arousal", worst="bass"),
    ),
    Claim(
        "C2D is more accurate than C1D, whatever it hears",
        "1",
        tuple(
            comparison
            for source in ("mix", *LETTERS)
            for comparison in _both(source_name("C2D", source), source_name("C1D", source))
        ),
    ),
)
SOURCE_QUESTIONS = (
    *(
        Claim(
            f"On {dimension}, support vectors on plain descriptors of the mix are better than "
            "both networks on the mix",
            None,
            tuple(_r2("SVR", mix, dimension) for mix in MIX),
        )
        for dimension in DIMENSIONS
    ),
)
UNIFIED_QUESTIONS = (
    Claim(
        "One network with the four sources as its channels is better than the same network on "
        "the mix",
        None,
        tuple(
            comparison
            for unified, mix in zip(UNIFIED, MIX, strict=True)
            for comparison in _both(unified, mix)
        ),
    ),
)
FUSION_CLAIMS = (
    Claim(
        "On valence, fusion of all sources is better than the mix",
        "2",
        tuple(_r2(PROPOSED[a], source_name(a, "mix"), "valence") for a in ARCHITECTURES),
    ),
    Claim(
        "On valence, fusion of all sources is better than every source alone",
        "2",
        _fused_against_sources("valence"),
    ),
    Claim(
        "On arousal, fusion of all sources is better than every source alone",
        "2",
        _fused_against_sources("arousal"),
    ),
    Claim(
        "With C1D, mid fusion is better than early and late fusion",
        "2",
        tuple(
            comparison
            for fusion in ("early", "late")
            for comparison in _both(PROPOSED["C1D"], emomucs_name("C1D", fusion, "freeze"))
        ),
    ),
    Claim(
        "With C2D, late fusion is better than early fusion on valence",
        "2",
        (_r2(PROPOSED["C2D"], emomucs_name("C2D", "early", "freeze"), "valence"),),
    ),
)
FUSION_QUESTIONS = (
    Claim(
        "On arousal, too, fusion of all sources is better than the mix (the paper finds no gain)",
        "2",
        tuple(_r2(PROPOSED[a], source_name(a, "mix"), "arousal") for a in ARCHITECTURES),
    ),
    *(
        Claim(
            f"On {dimension}, support vectors on plain descriptors of the mix are better than "
            "fusion of all sources",
            None,
            tuple(_r2("SVR", PROPOSED[a], dimension) for a in ARCHITECTURES),
        )
        for dimension in DIMENSIONS
    ),
)
TRAINING_CLAIMS = (
    Claim(
        "Frozen source models are better than fine-tuned ones",
        "2",
        _frozen_against("finetune", _PUBLISHED_CELLS),
    ),
    Claim(
        "Frozen source models are better than training everything from the start",
        "2",
        _frozen_against("full", _PUBLISHED_CELLS),
    ),
)
TRAINING_QUESTIONS = (
    Claim(
        "In late fusion, which the paper only gives frozen, frozen source models are better than "
        "both other trainings",
        None,
        tuple(
            comparison
            for training in ("finetune", "full")
            for comparison in _frozen_against(training, ((a, "late") for a in ARCHITECTURES))
        ),
    ),
)


def published_beside(corpus: str) -> PublishedScores:
    """Published scores, unless the corpus is a composed one."""
    return published_scores() if corpus in _RECORDED else {}


def published_scores() -> PublishedScores:
    """Published score by (system, metric, dimension), from tables 1 and 2."""
    cells = published("deberardinis2020").query("column != '# params'")
    scores = {}
    for table, row, column, number in zip(
        cells["table"], cells["row"], cells["column"], cells["number"], strict=True
    ):
        *fusion, metric, dimension = column.split()
        system = row
        if table == "2":
            architecture, training = row.removeprefix("EmoMucs-").split()
            system = emomucs_name(architecture, fusion[0].lower(), training)
        scores[system, _METRICS[metric], _DIMENSIONS[dimension]] = float(number)
    return scores


def parameter_counts(specs: Iterable[RunSpec]) -> pd.DataFrame:
    """How many numbers the networks of some runs have, beside the published counts.

    Returns
    -------
    DataFrame
        Index system; published (table 1, for the architecture on one input; missing elsewhere),
        "20 s" (here, on the paper's excerpts) and, where runs heard shorter ones, that of theirs.
    """
    rows = {}
    for name, parameters in {spec.system: spec.parameters for spec in specs}.items():
        if name not in VARIANTS:
            continue
        counts = {"20 s": _count(name, {**parameters, "seconds": 20.0})}
        if parameters["seconds"] != 20.0:
            counts[f"{parameters['seconds']:g} s"] = _count(name, parameters)
        rows[name] = {"published": _published_count(name) if name in SINGLE else None, **counts}
    return pd.DataFrame.from_dict(rows, orient="index").astype("Int64")


def _published_count(name: str) -> float:
    architecture = str(VARIANTS[name][1]["architecture"])
    return published_value("deberardinis2020", "1", architecture, "# params")


def _count(name: str, parameters: Mapping[str, object]) -> int:
    from mer.models.emomucs import parameter_count
    from mer.systems.deberardinis2020 import RegressionNetwork

    system = resolve(name, parameters)
    assert isinstance(system, RegressionNetwork)
    return parameter_count(system.network())


def alike(names: Iterable[str]) -> dict[str, str]:
    """Systems that stand for all those which are trained like them, and what to call those.

    Parameters
    ----------
    names : iterable of str
        Systems, of which those that are no variant of EmoMucs stand for themselves.
    """
    kinds: dict[str, str] = {}
    for name in names:
        kind = _kind(name)
        if kind not in kinds.values():
            kinds[name] = kind
    return kinds


def _kind(name: str) -> str:
    if name not in VARIANTS:
        return name
    place, fixed = VARIANTS[name]
    architecture = fixed["architecture"]
    fused = {
        "FrozenFusion": f"EmoMucs-{architecture}, freeze",
        "FinetunedFusion": f"EmoMucs-{architecture}, finetune",
    }
    return fused.get(place.rpartition(".")[2], f"{architecture} (one input, unified, full)")
