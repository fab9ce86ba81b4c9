"""Claims of the four papers and questions of ours, with verdicts, from stored runs."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.errors import MissingDataError
from mer.papers import emopia, transposition
from mer.papers.deberardinis2020 import combinations
from mer.papers.deberardinis2020 import tables as deberardinis2020
from mer.papers.sun2024 import noise
from mer.papers.sun2024 import tables as sun2024
from mer.papers.zhao2023 import attention
from mer.papers.zhao2023 import tables as zhao2023
from mer.papers.zhu2023 import tables as zhu2023
from mer.study import plots
from mer.study.claims import (
    CONTRADICTED,
    INCONCLUSIVE,
    NO_VERDICT,
    NOT_REPRODUCED,
    SUPPORTED,
    Claim,
    Judged,
    anchor,
    kinds,
)
from mer.study.study import Study
from mer.study.text import MISSING, captioned, estimate, number_range
from mer.study.verdicts import COLUMNS, claim_table, judged_claims

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

OURS = "our questions"

Part = tuple[str, Judged]
"""A page and claims on it."""


def _zhu2023(study: Study) -> Iterator[Part]:
    compared = zhu2023.run(study, zhu2023.TABLE_2, zhu2023.TABLE_3)
    cv = zhu2023.run(study, zhu2023.COMPARED_IN_CV, split="cv")
    yield "zhu2023_comparison", judged_claims(zhu2023.COMPARISON_CLAIMS, compared, cv)
    ablated = zhu2023.run(study, zhu2023.TABLE_4)
    cv = zhu2023.run(study, zhu2023.ABLATED_IN_CV, split="cv")
    yield "zhu2023_ablation", judged_claims(zhu2023.ABLATION_CLAIMS, ablated, cv)
    everything = zhu2023.run(study, zhu2023.TABLE_4, zhu2023.TABLE_2, zhu2023.TABLE_3)
    both = [zhu2023.with_late_average(results) for results in (everything, cv)]
    yield "zhu2023_ablation", judged_claims(zhu2023.QUESTIONS, *both)


def _zhao2023(study: Study) -> Iterator[Part]:
    asked: tuple[Claim, ...] = (*zhao2023.COMPARISON_CLAIMS, *zhao2023.COMPARISON_QUESTIONS)
    compared = zhao2023.run(study, zhao2023.TABLE_I, zhao2023.TABLE_II)
    cv = zhao2023.run(study, zhao2023.COMPARED_IN_CV, split="cv")
    yield "zhao2023_comparison", judged_claims(asked, compared, cv, own_models=True)
    asked = (*zhao2023.ABLATION_CLAIMS, *zhao2023.ABLATION_QUESTIONS)
    ablated = zhao2023.run(study, zhao2023.TABLE_III)
    cv = zhao2023.run(study, zhao2023.ABLATED_IN_CV, split="cv")
    yield "zhao2023_ablation", judged_claims(asked, ablated, cv, own_models=True)
    leaky = zhao2023.run_leaky(study)
    if leaky:
        asked = zhao2023.LEAK_QUESTIONS
        yield "zhao2023_comparison", judged_claims(asked, leaky, own_models=True)
    attentions = [attention.read_attention(study, task) for task in zhao2023.shown_tasks(study)]
    yield "zhao2023_attention", attention.judged_questions(study, attentions)


def _emopia(study: Study) -> Iterator[Part]:
    cv = study.run_cv(emopia.CROSS_VALIDATED, "emopia")
    yield "emopia_baselines", judged_claims(emopia.SELECTION_QUESTIONS, cv, own_models=True)


def _transposition(study: Study) -> Iterator[Part]:
    yield "transposition", judged_claims(transposition.QUESTIONS, transposition.run(study))


def _deberardinis2020(study: Study) -> Iterator[Part]:
    paper, folds = deberardinis2020, deberardinis2020.folds(study)
    unified = paper.specs(study, paper.UNIFIED, whole=True)
    single = study.run(paper.TABLE_1, unified, split="nested", folds=folds)
    parts = paper.by_folds(paper.part(single, paper.TABLE_1.all_rows))
    asked: tuple[Claim, ...] = (*paper.SOURCE_CLAIMS, *paper.SOURCE_QUESTIONS)
    yield "deberardinis2020_sources", judged_claims(asked, *parts)
    for joint in paper.by_folds(paper.part(single, (*paper.MIXES, *paper.UNIFIED)))[-1:]:
        yield "deberardinis2020_sources", judged_claims(paper.UNIFIED_QUESTIONS, joint)
    fused = study.run(paper.TABLE_1, paper.fusion_specs(study), split="nested", folds=folds)
    whole, *shared = paper.by_folds(paper.with_means(fused))
    asked = (*paper.FUSION_CLAIMS, *paper.FUSION_QUESTIONS, *paper.MEAN_QUESTIONS)
    yield "deberardinis2020_fusion", judged_claims(asked, whole)
    asked = (*paper.TRAINING_CLAIMS, *paper.TRAINING_QUESTIONS, *paper.HEAD_QUESTIONS)
    yield "deberardinis2020_fusion", judged_claims(asked, *(shared[-1:] or (whole,)))
    alone = paper.specs(study, combinations.SINGLE_ROWS)
    subsets = study.run(paper.FIGURE_4, alone, split="nested", folds=folds)
    subsets = paper.with_means(subsets)
    scores = combinations.r2_scores(subsets.predictions)
    yield "deberardinis2020_interpretation", combinations.judged_claims(subsets, scores)


def _sun2024(study: Study) -> Iterator[Part]:
    for results in sun2024.run_everywhere(study, sun2024.run_durations).values():
        yield "sun2024_segments", judged_claims(sun2024.duration_claims(results.tasks), results)
    for results in sun2024.run_everywhere(study, sun2024.run_comparison).values():
        yield "sun2024_comparison", judged_claims(sun2024.comparison_claims(results.tasks), results)
    composed = noise.noise_study(study)
    for judged in noise.judged_questions(composed, noise.noise_tables(composed)):
        yield "sun2024_noise", judged


PAPERS: dict[str, tuple[str, Callable[[Study], Iterator[Part]]]] = {
    "Zhu et al. 2023": ("classes", _zhu2023),
    "Zhao and Yoshii 2023": ("classes", _zhao2023),
    "Descriptors": ("classes", _emopia),
    "Valence and transposition": ("classes", _transposition),
    "de Berardinis et al. 2020": ("regression", _deberardinis2020),
    "Sun et al. 2024": ("segments", _sun2024),
}
"""By paper or subject: which corpora it is about, and the parts of its pages that judge claims."""


def all_claims(study: Study) -> pd.DataFrame:
    """Verdicts on the claims of which runs are stored in the profile; nothing is computed.

    Returns
    -------
    DataFrame
        As `mer.study.verdicts.claim_table`, with columns paper and page before.
    """
    frames = []
    for paper, (about, parts) in PAPERS.items():
        own = Study({"profile": study.profile.name, "compute": False}, about, study.store)
        try:
            for page, judged in parts(own):
                frames.append(claim_table(judged).assign(paper=paper, page=page))
        except MissingDataError:
            continue
    columns = ["paper", "page", *COLUMNS]
    return (
        pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame([], None, columns)
    )


def summary(claims: pd.DataFrame, study: Study) -> str:
    """How much there is, in Markdown; from `all_claims`, as all that follows."""
    count, name = claims["claim"].nunique(), study.profile.name
    text = f"Profile {name}: {len(claims)} verdicts on {count} claims and questions"
    return f"{text}, from stored runs."


def tally(claims: pd.DataFrame) -> pd.DataFrame:
    """How many claims of each paper have each verdict; a question of ours is a paper of its own."""
    names = claims["paper"].where(claims["table"].notna(), OURS)
    return pd.crosstab(names, kinds(claims["verdict"])).rename_axis(index=None, columns=None)


def difference_figure(claims: pd.DataFrame) -> Figure | None:
    """Differences of claims that one system is better than one other.

    Published differences are diamonds.
    """
    single = claims[
        (claims["differences"] == 1) & claims["table"].notna() & claims["margin"].isna()
    ]
    if single.empty:
        return None
    labels = single["better"] + " minus " + single["worse"] + ", " + single["task"]
    return plots.forest(
        single.assign(label=labels),
        "label",
        "difference",
        hue="place",
        published="published",
        vlines={"_zero": 0.0},
        xlabel="Difference of accuracy or R2",
    )


def claim_list(claims: pd.DataFrame) -> Styler:
    """All claims for reading, with links to their places; those of papers before questions.

    Where a claim is of several differences, the lowest and the highest stand there.
    """
    rows = claims.sort_values("table", key=pd.Series.isna, kind="stable")
    ends = zip(rows["difference"], rows["low"], rows["high"], strict=True)
    single = [estimate(*values, signed=True) for values in ends]
    spans = zip(rows["least"], rows["most"], rows["differences"], strict=True)
    several = [
        f"{number_range(*ends, signed=True)} ({n}\N{NO-BREAK SPACE}differences)"
        for *ends, n in spans
    ]
    published = zip(rows["published_least"], rows["published_most"], strict=True)
    links = zip(rows["page"], rows["corpus"], rows["claim"], strict=True)
    marks = zip(kinds(rows["verdict"]), rows["verdict"], strict=True)
    table = pd.DataFrame(
        {
            "Paper": rows["paper"].where(rows["table"].notna(), OURS),
            "Table": rows["table"].where(rows["table"].notna(), MISSING),
            "Claim": [_link(*place) for place in links],
            "Split": rows["place"],
            "Published": [number_range(*ends, signed=True) for ends in published],
            "Difference": np.where(rows["differences"] == 1, single, several),
            "Verdict": [badge(kind, text) for kind, text in marks],
            "Grade": rows["grade"].fillna(MISSING),
        }
    )
    styler = captioned(
        table.reset_index(drop=True),
        "Claims: the published difference, ours and the verdict",
        markup=("Claim", "Verdict"),
        filters=("Paper", "Split", "Verdict", "Grade"),
    )
    return styler.hide(axis="index")


def _link(page: str, corpus: str, claim: str) -> str:
    return f'<a href="{page}.ipynb#{anchor(corpus, claim)}">{html.escape(claim)}</a>'


def badge(kind: str, text: str) -> str:
    """A verdict as HTML: the word, an icon and a colour of its kind; then what more `text` says."""
    icon = next((icon for name, icon in _ICONS.items() if kind.startswith(name)), "")
    name = kind.split(" ")[0]
    more = html.escape(text.removeprefix(kind))
    mark = f'<span aria-hidden="true">{icon}</span> {html.escape(kind)}'
    return f'<span class="verdict verdict-{name}">{mark}</span>{more}'


_ICONS = {
    SUPPORTED: "✓",
    "mixed": "◐",
    INCONCLUSIVE: "?",
    NOT_REPRODUCED: "↛",
    "not seen": "↛",
    CONTRADICTED: "✗",
    NO_VERDICT: "○",
}
