"""What the study shows, in prose: each sentence with numbers from stored runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from mer.papers import emopia
from mer.papers.deberardinis2020 import tables as deberardinis2020
from mer.papers.landing import Landing
from mer.papers.zhao2023 import tables as zhao2023
from mer.papers.zhu2023 import tables as zhu2023
from mer.study.results import Results
from mer.study.scores import scores
from mer.study.text import estimate, markdown, number

_CV, _OFFICIAL = "cross-validation", "official split"
_EITHER = "An SVM on plain descriptors of"


def text(landing: Landing, regression: Results) -> str:
    """The sections of the page in Markdown; what was not run is left out.

    Parameters
    ----------
    landing : Landing
    regression : Results
        Of valence and arousal as numbers, in nested cross-validation.
    """
    sections = {
        "Splits and test clips": _splits(landing),
        "Descriptors and networks": _descriptors(landing),
        "Arousal and valence": _valence(landing),
        "Parts of the models": _parts(landing),
        "Separated sources": _sources(regression),
        "Segments": _segments(landing),
        "Other sounds": iter((landing.sounds(),)),
    }
    found = {title: " ".join(filter(None, lines)) for title, lines in sections.items()}
    return "\n\n".join(f"## {title}\n\n{lines}" for title, lines in found.items() if lines)


def _splits(landing: Landing) -> Iterator[str]:
    yield landing.leak()
    table = landing.official.scores.set_index(["task", "system"])["mean"]
    lookup, constant = (table["4Q", name] for name in ("Song-lookup", "Constant"))
    yield (
        f"On the official split, which keeps songs together, the lookup has {number(lookup)} "
        f"and the constant prediction {number(constant)}."
    )
    yield landing.few()
    widths = [results.scores for results in (landing.official, landing.cv)]
    halves = [
        (own[own["task"] == "4Q"]["high"] - own[own["task"] == "4Q"]["low"]).mean() / 2
        for own in widths
    ]
    yield (
        f"For our rows the mean half-width of the intervals is {number(halves[0], 2)} on the "
        f"official split and {number(halves[1], 2)} in cross-validation over all clips."
    )


def _descriptors(landing: Landing) -> Iterator[str]:
    yield landing.descriptors()
    for claim, name in (
        (f"{_EITHER} both domains is better than the proposed model", zhu2023.PROPOSED),
        (f"{_EITHER} notes and sound is better than the proposed model", zhao2023.PROPOSED),
    ):
        if difference := _difference(landing.claims, claim, _CV):
            yield f"Difference of notes-and-sound descriptors from {markdown(name)}: {difference}."
    larger = landing.official.at_published_size
    if larger is None:
        return
    tables = [results.scores for results in (larger, landing.official)]
    sizes = [table[table["task"] == "4Q"].set_index("system")["mean"] for table in tables]
    networks = [name for name, row in larger.rows().items() if row.family and name in sizes[0]]
    for name in networks:
        yield (
            f"At the published size, {markdown(name)} has {number(sizes[0][name])} on the official "
            f"split, where the smaller one has {number(sizes[1][name])}."
        )


def _valence(landing: Landing) -> Iterator[str]:
    table = landing.cv.scores.pivot_table("mean", "system", "task")
    kinds = {
        "networks": [*emopia.NETWORKS, zhu2023.PROPOSED],
        "descriptors": [*emopia.SVM],
    }
    for task, name in (("A", "arousal"), ("V", "valence")):
        parts = [
            f"{kind} have {_range(table[task].reindex(rows).dropna())}"
            for kind, rows in kinds.items()
        ]
        yield f"In cross-validation on {name}, {' and '.join(parts)}."
    for claim, words in (
        (
            "An SVM on pitch-class shares is better with all transpositions than with none",
            "Training on all transpositions changes an SVM on pitch-class shares by",
        ),
        (
            "Training on transposed music helps Symbolic-only on valence",
            "Training on transposed music changes Symbolic-only by",
        ),
        (
            "An SVM on all transpositions of pitch-class shares is better than Symbolic-only",
            "This SVM has no input on rhythm or register. Its difference from Symbolic-only is",
        ),
    ):
        if difference := _difference(landing.claims, claim, _CV):
            yield f"{words} {difference}."
    yield "[Valence and transposition](notebooks/transposition)"


def _parts(landing: Landing) -> Iterator[str]:
    for claim, place, words in (
        (
            "Attention between the domains is better than the mean of two branches",
            _CV,
            "In the model of Zhu et al., the difference of attention between domains from the "
            "mean of the branches",
        ),
        (
            "The symbolic branch is better on valence than the acoustic branch",
            _CV,
            "On valence, the difference of their symbolic branch from their acoustic branch",
        ),
        (
            "MIDI is better on valence: the symbolic branch against the tone-color branch",
            _CV,
            "In the model of Zhao and Yoshii, the difference of the symbolic branch from the "
            "tone-color branch on valence",
        ),
        ("Pre-training helps MidiBERT", _OFFICIAL, "Pre-training changes MidiBERT by"),
    ):
        if difference := _difference(landing.claims, claim, place):
            link = "" if words.endswith(" by") else " is"
            yield f"{words}{link} {difference}."
    yield "[All claims](notebooks/claims)"


def _sources(regression: Results) -> Iterator[str]:
    table = scores(regression.predictions)
    table = table[table["metric"] == "r2"].pivot_table("mean", "system", "task")
    if "SVR" in table.index:
        yield f"Support vector regression on descriptors of the mix has {_r2(table.loc['SVR'])}."
    for architecture, fused in deberardinis2020.PROPOSED.items():
        mix = deberardinis2020.source_name(architecture, deberardinis2020.MIX)
        if {mix, fused} <= {*table.index}:
            yield f"The network {mix}, on the mix, has {_r2(table.loc[mix])};"
            yield f"{fused}, which fuses four separated sources, has {_r2(table.loc[fused])}."
    yield "[Sources](notebooks/deberardinis2020_sources)"


def _r2(row: Any) -> str:
    return f"R2 {number(row['valence'])} on valence and {number(row['arousal'])} on arousal"


def _segments(landing: Landing) -> Iterator[str]:
    claims = landing.claims[landing.claims["page"] == "sun2024_comparison"]
    single = claims[(claims["differences"] == 1) & (claims["task"] == "cluster")]
    parts = [
        f"{markdown(row['better'])} minus {markdown(row['worse'])} "
        f"{estimate(row['difference'], row['low'], row['high'], signed=True)}"
        for row in single.to_dict("records")
    ]
    if parts:
        yield f"Differences of accuracy on mood clusters: {'; '.join(parts)}."
        yield "[Comparison](notebooks/sun2024_comparison)"


def _difference(claims: pd.DataFrame, claim: str, place: str) -> str:
    """Our difference with its interval, and the published one where there is one."""
    rows = claims[(claims["claim"] == claim) & (claims["place"] == place)]
    rows = rows[rows["differences"] == 1]
    if rows.empty:
        return ""
    row = rows.iloc[0]
    found = estimate(row["difference"], row["low"], row["high"], signed=True)
    if pd.isna(row["published"]):
        return found
    return f"{found} (published: {number(row['published'], signed=True)})"


def _range(values: Iterable[float]) -> str:
    low, high = min(values), max(values)
    return number(low) if low == high else f"{number(low)} to {number(high)}"
