"""Pages on Symbolic & Acoustic."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from golden.common import Frames, claims, class_scores, mcnemar, named, study
from mer.papers.zhu2023 import tables as paper
from mer.study.claims import Claim
from mer.study.scores import HEAD, IMPLIED, OWN_MODEL, answers

KINDS = {OWN_MODEL: "own model or head", HEAD: "head", IMPLIED: "4Q answer"}


def zhu2023_comparison() -> Frames:
    own = study()
    official = own.run(paper.TABLE_2, paper.TABLE_3).predictions
    cv = own.run(paper.COMPARED_IN_CV, split="cv").predictions
    return _page(official, cv, paper.COMPARISON_CLAIMS)


def zhu2023_ablation() -> Frames:
    own = study()
    official = paper.with_late_average(own.run(paper.TABLE_4)).predictions
    cv = paper.with_late_average(own.run(paper.ABLATED_IN_CV, split="cv")).predictions
    others = own.run(paper.TABLE_2, paper.TABLE_3).predictions
    everything = pd.concat([official, others]).drop_duplicates(["system", "task", "seed", "id"])
    asked = {"official split": answers(everything), "cross-validation": answers(cv)}
    return {
        **_page(official, cv, paper.ABLATION_CLAIMS),
        **named("questions", claims(paper.QUESTIONS, asked, paper.PUBLISHED)),
    }


def _page(official: pd.DataFrame, cv: pd.DataFrame, claimed: Sequence[Claim]) -> Frames:
    frames: Frames = {}
    places = {"official split": official, "cross-validation": cv}
    for place, predictions in places.items():
        published = paper.PUBLISHED if place == "official split" else {}
        for kind, frame in answers(predictions).items():
            frames[f"{place}, {KINDS[kind]}"] = class_scores(frame, published)
        frames[f"McNemar, {place}"] = mcnemar(predictions, paper.PROPOSED)
    given = {place: answers(predictions) for place, predictions in places.items()}
    return {**frames, **claims(claimed, given, paper.PUBLISHED)}


PAGES = (zhu2023_comparison, zhu2023_ablation)
