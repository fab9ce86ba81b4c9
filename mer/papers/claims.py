"""Claims of the four papers about their tables with verdicts, from stored runs.

Those on combinations of sources, attention and noisy labels stand on their own pages.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.errors import MissingDataError
from mer.papers import emopia, transposition
from mer.papers.deberardinis2020 import tables as deberardinis2020
from mer.papers.sun2024 import tables as sun2024
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
    kinds,
)
from mer.study.results import Results
from mer.study.study import Study
from mer.study.text import MISSING, captioned, estimate, number
from mer.study.verdicts import COLUMNS, claim_table

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

OURS = "our questions"

Part = tuple[str, Sequence[Claim], Sequence[Results], bool]
"""Page, claims, results (one a split), and whether only models of the task itself count."""


def _zhu2023(study: Study) -> Iterator[Part]:
    compared = zhu2023.run(study, zhu2023.TABLE_2, zhu2023.TABLE_3)
    cv = zhu2023.run(study, zhu2023.COMPARED_IN_CV, split="cv")
    yield "zhu2023_comparison", zhu2023.COMPARISON_CLAIMS, (compared, cv), False
    cv = zhu2023.run(study, zhu2023.ABLATED_IN_CV, split="cv")
    yield (
        "zhu2023_ablation",
        zhu2023.ABLATION_CLAIMS,
        (zhu2023.run(study, zhu2023.TABLE_4), cv),
        False,
    )
    everything = zhu2023.run(study, zhu2023.TABLE_4, zhu2023.TABLE_2, zhu2023.TABLE_3)
    both = [zhu2023.with_late_average(results) for results in (everything, cv)]
    yield "zhu2023_ablation", zhu2023.QUESTIONS, both, False


def _zhao2023(study: Study) -> Iterator[Part]:
    asked: tuple[Claim, ...] = (*zhao2023.COMPARISON_CLAIMS, *zhao2023.COMPARISON_QUESTIONS)
    compared = zhao2023.run(study, zhao2023.TABLE_I, zhao2023.TABLE_II)
    cv = zhao2023.run(study, zhao2023.COMPARED_IN_CV, split="cv")
    yield "zhao2023_comparison", asked, (compared, cv), True
    asked = (*zhao2023.ABLATION_CLAIMS, *zhao2023.ABLATION_QUESTIONS)
    ablated = zhao2023.run(study, zhao2023.TABLE_III)
    cv = zhao2023.run(study, zhao2023.ABLATED_IN_CV, split="cv")
    yield "zhao2023_ablation", asked, (ablated, cv), True
    leaky = zhao2023.run_leaky(study)
    if leaky:
        yield "zhao2023_comparison", zhao2023.LEAK_QUESTIONS, (leaky,), True


def _emopia(study: Study) -> Iterator[Part]:
    cv = study.run_cv(emopia.CROSS_VALIDATED, "emopia")
    yield "emopia_baselines", emopia.SELECTION_QUESTIONS, (cv,), True


def _transposition(study: Study) -> Iterator[Part]:
    yield "transposition", transposition.QUESTIONS, (transposition.run(study),), False


def _deberardinis2020(study: Study) -> Iterator[Part]:
    paper, folds = deberardinis2020, deberardinis2020.folds(study)
    unified = paper.specs(study, paper.UNIFIED, whole=True)
    single = study.run(paper.TABLE_1, unified, split="nested", folds=folds)
    parts = paper.by_folds(paper.part(single, paper.TABLE_1.all_rows))
    asked: tuple[Claim, ...] = (*paper.SOURCE_CLAIMS, *paper.SOURCE_QUESTIONS)
    yield "deberardinis2020_sources", asked, parts, False
    fused = study.run(paper.TABLE_1, paper.fusion_specs(study), split="nested", folds=folds)
    whole, *shared = paper.by_folds(paper.with_means(fused))
    asked = (*paper.FUSION_CLAIMS, *paper.FUSION_QUESTIONS, *paper.MEAN_QUESTIONS)
    yield "deberardinis2020_fusion", asked, (whole,), False
    asked = (*paper.TRAINING_CLAIMS, *paper.TRAINING_QUESTIONS, *paper.HEAD_QUESTIONS)
    yield "deberardinis2020_fusion", asked, shared[-1:] or (whole,), False


def _sun2024(study: Study) -> Iterator[Part]:
    for results in sun2024.run_everywhere(study, sun2024.run_durations).values():
        yield "sun2024_segments", sun2024.duration_claims(results.tasks), (results,), False
    for results in sun2024.run_everywhere(study, sun2024.run_comparison).values():
        yield "sun2024_comparison", sun2024.comparison_claims(results.tasks), (results,), False


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
            for page, claims, results, own_models in parts(own):
                table = claim_table(claims, *results, own_models=own_models)
                frames.append(table.assign(paper=paper, page=page))
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
    """Differences of claims that are about one difference, published ones as diamonds."""
    single = claims[(claims["differences"] == 1) & claims["table"].notna()]
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
    """All claims for reading, with links to their places; those of tables before questions."""
    rows = claims.sort_values("table", key=pd.Series.isna, kind="stable")
    ends = zip(rows["difference"], rows["low"], rows["high"], strict=True)
    single = [estimate(*values, signed=True) for values in ends]
    counts = rows["differences"].map("{} differences".format)
    links = zip(rows["page"], rows["claim"], strict=True)
    marks = zip(kinds(rows["verdict"]), rows["verdict"], strict=True)
    table = pd.DataFrame(
        {
            "Paper": rows["paper"].where(rows["table"].notna(), OURS),
            "Table": rows["table"].where(rows["table"].notna(), MISSING),
            "Claim": [_link(page, text) for page, text in links],
            "Split": rows["place"],
            "Published": [number(value, signed=True) for value in rows["published"]],
            "Difference": np.where(rows["differences"] == 1, single, counts),
            "Verdict": [badge(kind, text) for kind, text in marks],
            "Grade": rows["grade"],
        }
    )
    styler = captioned(
        table.reset_index(drop=True),
        "Claims: the published difference, ours and the verdict",
        markup=("Claim", "Verdict"),
        filters=("Paper", "Split", "Verdict", "Grade"),
    )
    return styler.hide(axis="index")


def _link(page: str, text: str) -> str:
    section = _SECTIONS.get(page, "the-claims")
    return f'<a href="{page}.ipynb#{section}">{html.escape(text)}</a>'


_SECTIONS = {
    "deberardinis2020_fusion": "fusion-against-its-sources",
    "emopia_baselines": "descriptors-that-the-training-clips-choose",
    "transposition": "what-it-changes",
}
"""Where a page has its claims, if not in a section of that name."""


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
