"""Pages on EmoMucs."""

from __future__ import annotations

import pandas as pd

from golden.common import Frames, claims, named, regression_scores, study
from mer.papers.deberardinis2020 import carriers, combinations, contributions
from mer.papers.deberardinis2020 import tables as paper
from mer.study.claims import direction
from mer.study.results import read_predictions
from mer.study.study import Study


def deberardinis2020_sources() -> Frames:
    own = study("regression")
    results = own.run(paper.TABLE_1, paper.specs(own, paper.UNIFIED, whole=True), split="nested")
    table_1 = paper.part(results, paper.TABLE_1.all_rows)
    best = paper.best_inner_models(own.store, results.of(*paper.TABLE_1.all_rows))
    unified = paper.by_folds(paper.part(results, (*paper.MIXES, *paper.UNIFIED)))[-1]
    whole = paper.by_folds(table_1)[0]
    short = paper.padding(own, 20.0)
    asked = (*paper.SOURCE_CLAIMS, *paper.SOURCE_QUESTIONS)
    predictions = table_1.predictions
    ensembles = paper.inner_ensembles(predictions)
    ensembles["system"] += ", ensemble of inner models"
    return {
        "table 1": regression_scores(predictions, paper.PUBLISHED),
        "best inner model": regression_scores(read_predictions(own.store, best)),
        "ensemble": regression_scores(ensembles),
        "unified": regression_scores(unified.predictions),
        "targets": paper.target_facts(own).reset_index(),
        "padding": pd.DataFrame({"n": [len(short)], "seconds": [short["seconds"].mean()]}),
        **claims(asked, {whole.place: whole.answers}, paper.PUBLISHED),
        **named("unified", claims(paper.UNIFIED_QUESTIONS, {unified.place: unified.answers}, {})),
    }


def deberardinis2020_fusion() -> Frames:
    own = study("regression")
    planned = paper.fusion_specs(own)
    results = paper.with_means(own.run(paper.TABLE_1, planned, split="nested"))
    whole, shared = paper.by_folds(results)
    ours = (*paper.INPUTS_KEPT.values(), *paper.MEANS.values())
    fused = paper.part(results, (*paper.FUSED, *ours))
    first = (*paper.FUSION_CLAIMS, *paper.FUSION_QUESTIONS, *paper.MEAN_QUESTIONS)
    second = (*paper.TRAINING_CLAIMS, *paper.TRAINING_QUESTIONS, *paper.HEAD_QUESTIONS)
    return {
        "table 2": regression_scores(fused.predictions, paper.PUBLISHED),
        "all models": regression_scores(whole.predictions, paper.PUBLISHED),
        "shared folds": regression_scores(shared.predictions, paper.PUBLISHED),
        **named("fusion", claims(first, {whole.place: whole.answers}, paper.PUBLISHED)),
        **named("training", claims(second, {shared.place: shared.answers}, paper.PUBLISHED)),
    }


def deberardinis2020_interpretation() -> Frames:
    own = study("regression")
    single = own.run(paper.specs(own, combinations.SINGLE_ROWS)).predictions
    alone = paper.specs(own, combinations.SINGLE_ROWS)
    results = paper.with_means(own.run(paper.FIGURE_4, alone, split="nested"))
    scores = combinations.r2_scores(results.predictions)
    best = combinations.best_sources(combinations.source_errors(single))
    shares = {c: combinations.region_shares(best, c) for c in combinations.CRITERIA}
    permuted = contributions.permutation_table(own, results.of(combinations.ALL_SOURCES))
    without = contributions.left_out_table(results.predictions)
    found = contributions.both_methods(permuted, without)
    return {
        "figure 4": combinations.combination_table(scores),
        "figure 4, means": combinations.combination_table(scores, paper.COMBINED_MEANS),
        "gains": combinations.gains(scores),
        "contributions": contributions.contribution_summary(found),
        "no owner": pd.DataFrame({"verdict": [combinations.no_owner(shares.values())]}),
        **{f"region shares, {criterion}": frame for criterion, frame in shares.items()},
        **_claims(scores, results.predictions["id"].nunique()),
        **_carriers(own),
    }


def _claims(scores: combinations.Scores, n: int) -> Frames:
    """Combinations go by the letters of their sources, in the golden values by their rows."""
    judged = combinations.judge_both(combinations.CLAIMS, scores, n)
    directions = [
        {"claim": claim.text, "place": place, "direction": direction(claim, judged, place)}
        for claim in combinations.CLAIMS
        for place in combinations.JOINED_BY
    ]
    rows = judged.replace({"better": paper.COMBINED, "worse": paper.COMBINED})
    differences = rows.drop(columns=["answers", "covers", "p"])
    return {"differences": differences, "verdicts": pd.DataFrame(directions)}


def _carriers(own: Study) -> Frames:
    composed = own.on(carriers.CORPUS)
    known = carriers.carrier_table(composed)
    runs = carriers.run_both(composed)
    cost = carriers.separation_cost(*(results.predictions for results in runs.values()))
    hits = {f"hits, {name}": carriers.hits_of(results, known) for name, results in runs.items()}
    return {**hits, "cost of separation": cost}


PAGES = (deberardinis2020_sources, deberardinis2020_fusion, deberardinis2020_interpretation)
