"""Pages on Multifaceted."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from golden.common import Frames, claims, class_scores, mcnemar, named, study
from mer.papers.zhao2023 import attention
from mer.papers.zhao2023 import tables as paper
from mer.study.claims import Claim
from mer.study.scores import OWN_MODEL, implied_predictions


def zhao2023_comparison() -> Frames:
    own = study()
    official = paper.run(own, paper.TABLE_I, paper.TABLE_II)
    cv = paper.run(own, paper.COMPARED_IN_CV, split="cv").predictions
    leaky = paper.run(own, paper.LEAK, split=str(paper.leaky_split(own))).predictions
    same = paper.run(own, paper.LEAK).predictions
    asked = {"leaky split": {OWN_MODEL: leaky}}
    encoders = paper.encoder_table(official.rows().values())
    return {
        **_page(official.predictions, cv, (*paper.COMPARISON_CLAIMS, *paper.COMPARISON_QUESTIONS)),
        "leak": paper.leak_table(same, leaky, paper.LEAK.published),
        **named("leak", claims(paper.LEAK_QUESTIONS, asked, paper.LEAK.published)),
        "encoders": encoders.reset_index(names="encoder"),
    }


def zhao2023_ablation() -> Frames:
    own = study()
    official = paper.run(own, paper.TABLE_III).predictions
    cv = paper.run(own, paper.ABLATED_IN_CV, split="cv").predictions
    asked = {"official split": {OWN_MODEL: official}}
    questions = claims(paper.ABLATION_QUESTIONS, asked, paper.PUBLISHED)
    return {**_page(official, cv, paper.ABLATION_CLAIMS), **named("questions", questions)}


def _page(official: pd.DataFrame, cv: pd.DataFrame, claimed: Sequence[Claim]) -> Frames:
    places = {"official split": official, "cross-validation": cv}
    asked = {place: {OWN_MODEL: frame} for place, frame in places.items()}
    return {
        "official split": class_scores(official, paper.PUBLISHED),
        "cross-validation": class_scores(cv),
        "implied by 4Q": class_scores(implied_predictions(official)),
        **{f"McNemar, {place}": mcnemar(f, paper.PROPOSED) for place, f in places.items()},
        **claims(claimed, asked, paper.PUBLISHED),
    }


def zhao2023_attention() -> Frames:
    own = study()
    attentions = [attention.read_attention(own, task) for task in ("4Q", "A", "V")]
    frames: Frames = {}
    for found in attentions:
        part = found.part(attention.TEST)
        by_factor = attention.changes(part).groupby("factor", sort=False)
        importance = by_factor[["attention", "change", "other", "right"]].mean()
        frames |= {
            f"{found.task}, heads": attention.mean_attention(part, ["seed", "head"]).reset_index(),
            f"{found.task}, pairs": attention.mean_attention(part, ["from"]).reset_index(),
            f"{found.task}, quadrants": attention.by_quadrant(part),
            f"{found.task}, distances": attention.distances(part),
            f"{found.task}, importance": importance.reset_index(),
        }
    judged = attention.judge_questions(attentions)
    columns = ["claim", "better", "worse", "task", "difference", "low", "high", "n", "direction"]
    return {**frames, "differences": judged[columns]}


PAGES = (zhao2023_comparison, zhao2023_ablation, zhao2023_attention)
