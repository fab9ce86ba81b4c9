"""What each page of the book shows, as frames of plain numbers computed from stored runs.

A page is a function that gives its frames by name. The numbers are in `<page>.tsv` beside this
file; `python tests/golden/pages.py [PAGE ...]` writes these files anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mer.study import (
    baselines,
    factor_attention,
    factor_importance,
    label_noise,
    label_noise_tables,
    segment_counts,
    summaries,
    sun2024,
    sun2024_findings,
    trajectories,
    zhao2023,
    zhao2023_tables,
    zhu2023,
)
from mer.study import deberardinis2020 as emomucs
from mer.study.claims import Answers, Claim, judge, verdict
from mer.study.interpretation import carriers, combinations, contributions, regions
from mer.study.parameters import (
    RegressionParameters,
    SegmentParameters,
    SeparationParameters,
    StudyParameters,
    TranscriptionParameters,
)
from mer.study.project import store_folder
from mer.study.regression import (
    best_inner_models,
    by_folds,
    inner_ensembles,
    regression_comparison,
)
from mer.study.scores import score_table
from mer.study.separation_figures import collected as separation_scores
from mer.study.session import Session, read_predictions
from mer.study.store import RunStore
from mer.study.tables import against, comparison, implied_predictions, validation
from mer.study.targets import padding, target_facts
from mer.study.transcription_figures import collected as transcription_scores
from mer.study.transcription_figures import note_counts

FOLDER = Path(__file__).parent
Frames = dict[str, pd.DataFrame]


def _study(**changes: Any) -> Session:
    return Session(StudyParameters(profile="cpu", compute=False, **changes))


def _scores(table: pd.DataFrame) -> pd.DataFrame:
    """Scores in one shape: task, system, published, mean, sd, low, high, n."""
    kept = ("task", "system", "metric", "dimension", "published", "mean", "sd", "low", "high", "n")
    return table[[name for name in kept if name in table]].reset_index(drop=True)


def _claims(claims: tuple[Claim, ...], places: Mapping[str, Answers], published: Any) -> Frames:
    judged = judge(claims, places, published)
    columns = ["claim", "place", "better", "worse", "task", "difference", "low", "high", "n"]
    verdicts = [
        {"claim": claim.text, "place": place, "verdict": verdict(claim, judged, place)}
        for claim in claims
        for place in places
    ]
    return {
        "differences": judged[[*columns, "published", "verdict"]],
        "verdicts": pd.DataFrame(verdicts),
    }


def _named(name: str, frames: Frames) -> Frames:
    return {f"{name}, {kind}": frame for kind, frame in frames.items()}


def emopia_baselines() -> Frames:
    session = _study()
    predictions = session.run(session.specs(baselines.BASELINES, split="single"))
    cv = session.run(session.specs(baselines.CROSS_VALIDATED, split="cv"))
    published = baselines.published_baselines()
    lstm = "LSTM-Attn + MIDI-like"
    tried = {
        name: session.specs([lstm], split="single", tasks=["4Q"], changes=changes)[0]
        for name, changes in baselines.VARIATIONS.items()
    }
    tried_rows = validation(session.store.read(spec) for spec in tried.values())
    paired = {}
    for place, frame in (("official split", predictions), ("cross-validation", cv)):
        rows = against(frame, "Symbolic-SVM", "4Q")
        paired[f"McNemar, {place}"] = rows[["system", "p", "discordant"]]
    return {
        "official split": _scores(comparison(predictions, published)),
        "implied by 4Q": _scores(comparison(implied_predictions(predictions), published)),
        "cross-validation": _scores(comparison(cv, {})),
        "tried for LSTM-Attn": tried_rows[["steps", "accuracy", "loss"]].assign(
            variation=list(tried)
        ),
        **paired,
    }


def evaluation_audit() -> Frames:
    session = _study(tasks=["4Q"])
    systems = ["Constant", "Song-lookup", "Symbolic-SVM"]
    return {
        split: _scores(comparison(session.run(session.specs(systems, split=split)), {}))
        for split in ("split", "split_cls", "split_midibert", "cv10")
    }


def zhu2023_comparison() -> Frames:
    session = _study()
    own = zhu2023
    names = (*own.SYMBOLIC_BASELINES, *own.ACOUSTIC_BASELINES, *own.OWN_BASELINES)
    specs = session.specs([own.PROPOSED], split="single", tasks=["4Q"])
    specs += session.specs(names, split="single")
    cv_specs = session.specs(own.CROSS_VALIDATED, split="cv", tasks=["4Q"])
    cv_specs += session.specs(own.CROSS_VALIDATED_BASELINES, split="cv")
    places = {
        "official split": own.answers(session.run(specs)),
        "cross-validation": own.answers(session.run(cv_specs)),
    }
    return _zhu2023(places, own.COMPARISON_CLAIMS)


def zhu2023_ablation() -> Frames:
    session = _study()
    own = zhu2023
    predictions = own.with_late_average(
        session.run(session.specs(own.SYSTEMS, split="single", tasks=["4Q"]))
    )
    cv_specs = session.specs(own.CROSS_VALIDATED, split="cv", tasks=["4Q"])
    cv_specs += session.specs([own.SVM], split="cv")
    cv = own.answers(own.with_late_average(session.run(cv_specs)))
    names = (*own.SYMBOLIC_BASELINES, *own.ACOUSTIC_BASELINES, own.SVM)
    others = session.run(session.specs(names, split="single"))
    everything = own.answers(pd.concat([predictions, others], ignore_index=True))
    frames = _zhu2023(
        {"official split": own.answers(predictions), "cross-validation": cv}, own.ABLATION_CLAIMS
    )
    asked = {"official split": everything, "cross-validation": cv}
    published = own.published_zhu2023()
    return {**frames, **_named("questions", _claims(own.QUESTIONS, asked, published))}


def _zhu2023(places: Mapping[str, Answers], claims: tuple[Claim, ...]) -> Frames:
    published = zhu2023.published_zhu2023()
    frames: Frames = {}
    for place, answers in places.items():
        for kind, frame in answers.items():
            known = published if place == "official split" else {}
            frames[f"{place}, {kind}"] = _scores(comparison(frame, known))
        direct = answers[zhu2023.DIRECT]
        rows = against(direct, zhu2023.PROPOSED, "4Q")
        frames[f"McNemar, {place}"] = rows[["system", "p", "discordant"]]
    return {**frames, **_claims(claims, places, published)}


def zhao2023_comparison() -> Frames:
    session, own = _study(), zhao2023
    runs = own.official(session)
    cv = own.cross_validation(session, (own.PROPOSED, *own.CROSS_VALIDATED_BASELINES))
    claims = (*own.COMPARISON_CLAIMS, *own.COMPARISON_QUESTIONS)
    leaky, same = own.leaky(session), own.without_leak(session)
    published = own.published_zhao2023()
    leak = zhao2023_tables.leak_table(same.predictions, leaky.predictions, published)
    leak_place = {"leaky split": zhao2023_tables.answers(leaky.predictions)}
    return {
        **_zhao2023(runs.predictions, cv.predictions, claims),
        "leak": leak,
        **_named("leak", _claims(own.LEAK_QUESTIONS, leak_place, published)),
        "encoders": zhao2023_tables.encoders(runs.planned).reset_index(names="encoder"),
    }


def zhao2023_ablation() -> Frames:
    session, own = _study(), zhao2023
    runs = own.ablation(session)
    cv = own.cross_validation(session, own.CROSS_VALIDATED)
    place = {"official split": zhao2023_tables.answers(runs.predictions)}
    questions = _claims(own.ABLATION_QUESTIONS, place, own.published_zhao2023())
    frames = _zhao2023(runs.predictions, cv.predictions, own.ABLATION_CLAIMS)
    return {**frames, **_named("questions", questions)}


def _zhao2023(official: pd.DataFrame, cv: pd.DataFrame, claims: tuple[Claim, ...]) -> Frames:
    published = zhao2023.published_zhao2023()
    places = {"official split": official, "cross-validation": cv}
    frames: Frames = {
        "official split": _scores(comparison(official, published)),
        "cross-validation": _scores(comparison(cv, {})),
        "implied by 4Q": _scores(comparison(implied_predictions(official), {})),
    }
    for place, frame in places.items():
        chosen = frame[frame["task"] == "4Q"]
        rows = against(chosen, zhao2023.PROPOSED, "4Q")
        frames[f"McNemar, {place}"] = rows[["system", "p", "discordant"]]
    answers = {place: zhao2023_tables.answers(frame) for place, frame in places.items()}
    return {**frames, **_claims(claims, answers, published)}


def zhao2023_attention() -> Frames:
    session = _study()
    told = [factor_attention.attended(session, task) for task in ("4Q", "A", "V")]
    frames: Frames = {}
    for found in told:
        own = found.part(factor_attention.TEST)
        changes = factor_importance.changes(own)
        means = changes.groupby("factor", sort=False)[["attention", "change", "other", "right"]]
        frames |= {
            f"{found.task}, heads": factor_attention.by_head(own).reset_index(),
            f"{found.task}, pairs": factor_attention.by_pair(own).reset_index(),
            f"{found.task}, quadrants": factor_attention.by_quadrant(own),
            f"{found.task}, distances": factor_attention.distances(own),
            f"{found.task}, importance": means.mean().reset_index(),
        }
    judged = factor_importance.judge_questions(told)
    columns = ["claim", "better", "worse", "task", "difference", "low", "high", "n", "verdict"]
    return {**frames, "differences": judged[columns]}


def _regression() -> Session:
    return Session(RegressionParameters(profile="cpu", compute=False))


def _emomucs(claims: tuple[Claim, ...], name: str, frame: pd.DataFrame) -> Frames:
    return _claims(claims, {name: {"model": frame}}, emomucs.published_scores())


def deberardinis2020_sources() -> Frames:
    session = _regression()
    specs = session.specs((*emomucs.BASELINES, *emomucs.SINGLE), split="nested")
    predictions = session.run(specs)
    best = read_predictions(session.store, best_inner_models(session.store, specs))
    folds = session.profile.fused_folds
    unified = session.run(
        session.specs(emomucs.UNIFIED, split="nested", folds=folds)
        + [spec for spec in specs if spec.system in emomucs.MIX]
    )
    same, frame = list(by_folds(unified).items())[-1]
    whole, all_models = next(iter(by_folds(predictions).items()))
    short = padding(session, 20.0)
    return {
        "table 1": _scores(regression_comparison(predictions, emomucs.published_scores())),
        "best inner model": _scores(regression_comparison(best, {})),
        "ensemble": _scores(regression_comparison(inner_ensembles(predictions), {})),
        "unified": _scores(regression_comparison(frame, {})),
        "targets": target_facts(session).reset_index(),
        "padding": pd.DataFrame({"n": [len(short)], "seconds": [short["seconds"].mean()]}),
        **_emomucs((*emomucs.SOURCE_CLAIMS, *emomucs.SOURCE_QUESTIONS), whole, all_models),
        **_named("unified", _emomucs(emomucs.UNIFIED_QUESTIONS, same, frame)),
    }


def deberardinis2020_fusion() -> Frames:
    session = _regression()
    specs = session.specs(emomucs.FROZEN, split="nested")
    specs += session.specs(emomucs.TRAINED_WHOLE, split="nested", folds=session.profile.fused_folds)
    alone = session.specs((*emomucs.BASELINES, *emomucs.SINGLE), split="nested")
    everything = session.run(alone + specs)
    given = by_folds(everything)
    whole, *_, shared = given
    published = emomucs.published_scores()
    fused = everything[everything["system"].isin(emomucs.FUSED)]
    first = _emomucs((*emomucs.FUSION_CLAIMS, *emomucs.FUSION_QUESTIONS), whole, given[whole])
    claims = (*emomucs.TRAINING_CLAIMS, *emomucs.TRAINING_QUESTIONS)
    second = _emomucs(claims, shared, given[shared])
    return {
        "table 2": _scores(regression_comparison(fused, published)),
        "all models": _scores(regression_comparison(given[whole], published)),
        "shared folds": _scores(regression_comparison(given[shared], published)),
        **_named("fusion", first),
        **_named("training", second),
    }


def deberardinis2020_interpretation() -> Frames:
    session = _regression()
    single = session.run(session.specs(regions.SINGLE_MODELS, split="nested"))
    names = (combinations.NO_SOURCE, combinations.MIX, *emomucs.COMBINATIONS)
    subsets = session.run(session.specs(names, split="nested"))
    scores = combinations.r2_scores(subsets)
    best = regions.best_sources(regions.source_errors(single))
    whole = session.specs([combinations.ALL_SOURCES], split="nested")
    permuted = contributions.permutation_table(session, whole)
    found = contributions.both_methods(permuted, contributions.left_out_table(subsets))
    judged = _claims(combinations.CLAIMS, {"nested folds": {"model": subsets}}, {})
    shares = {criterion: regions.region_shares(best, criterion) for criterion in regions.CRITERIA}
    own: Frames = {
        "figure 4": combinations.combination_table(scores).drop(columns="system"),
        "gains": combinations.gains(scores),
        "contributions": contributions.contribution_summary(found),
        "no owner": pd.DataFrame({"verdict": [regions.no_owner(shares.values())]}),
        **{f"region shares, {criterion}": frame for criterion, frame in shares.items()},
        **judged,
    }
    return {**own, **_carriers(session)}


def _carriers(session: Session) -> Frames:
    composed = carriers.composed_session(session)
    folds = session.profile.fused_folds
    frames, runs = {}, {}
    known = carriers.carrier_table(composed)
    for name, changes in (("true sources", {"separator": "true"}), ("separated sources", {})):
        specs = composed.specs(carriers.SYSTEMS, split="nested", folds=folds, changes=changes)
        runs[name] = composed.run(specs)
        frames[f"hits, {name}"] = carriers.hits_of(composed, specs, runs[name], known)
    cost = carriers.separation_cost(*runs.values())
    return {**frames, "cost of separation": cost}


def _segments() -> SegmentParameters:
    return SegmentParameters(profile="cpu", compute=False)


def sun2024_segments() -> Frames:
    sessions = sun2024.sessions(_segments())
    frames: Frames = {
        "published counts": segment_counts.published_counts(),
        "counts": segment_counts.counted(sessions),
    }
    for name, session in sessions.items():
        runs = sun2024.sweep(session)
        frames |= _sun2024(name, runs, sun2024.sweep_claims(runs.tasks))
    return frames


def sun2024_comparison() -> Frames:
    frames: Frames = {}
    for name, session in sun2024.sessions(_segments()).items():
        runs = sun2024.compared(session)
        frames |= _sun2024(name, runs, sun2024.comparison_claims(runs.tasks))
        frames[f"{name}, validation"] = sun2024_findings.validation_against_test(session, runs)
        history = sun2024.diagnostics(session, runs.of(sun2024.PROPOSED))
        last = history.groupby(["task", "fold", "seed"]).tail(1)
        frames[f"{name}, last epochs"] = last.drop(columns="system").reset_index(drop=True)
        pair = sun2024.ungrouped(session)
        if pair is not None:
            frames[f"{name}, leakage"] = sun2024_findings.leakage(*pair)
    return frames


def _sun2024(name: str, runs: sun2024.Runs, claims: tuple[Claim, ...]) -> Frames:
    published = sun2024.published_scores(sun2024.published_on(name))
    places = {f"corpus {name}": sun2024.answered(runs.predictions)}
    judged = _claims(claims, places, sun2024.accuracies(published))
    return {
        f"{name}, scores": _scores(score_table(runs.predictions, published)),
        **_named(name, judged),
    }


def sun2024_trajectory() -> Frames:
    shown = trajectories.places(trajectories.sessions(_segments()).values())
    frames = {place.name: trajectories.song_table(place) for place in shown}
    typical = {place.name: [trajectories.typical_song(place)] for place in shown}
    return {**frames, "typical songs": pd.DataFrame(typical)}


def sun2024_noise() -> Frames:
    session = label_noise.noise_session(_segments())
    found = label_noise.collected(session)
    tables = label_noise_tables
    durations = sorted(found.clips["duration"].unique())
    tasks = session.settings.tasks  # type: ignore[attr-defined]
    detection = tables.judge_detection(found.detection, tables.detection_claims(tasks, durations))
    segments = tables.judge_segments(found.clips, tables.segment_claims(tasks, durations))
    columns = ["claim", "place", "better", "worse", "task", "difference", "low", "high", "n"]
    return {
        "detection": found.detection,
        "curves": tables.epoch_curves(found.epochs),
        "accuracy": tables.segment_accuracy(found.clips),
        "detection, differences": detection[[*columns, "verdict"]],
        "segments, differences": segments[[*columns, "verdict"]],
    }


def transcription() -> Frames:
    settings = TranscriptionParameters(profile="cpu", compute=False)
    scores = transcription_scores(RunStore(store_folder(True)), settings)
    keys = ["test", "transcriber"]
    means = scores.groupby(keys, sort=False).mean(numeric_only=True).reset_index()
    return {"scores": means, "counts": note_counts(scores).reset_index()}


def separation() -> Frames:
    settings = SeparationParameters(profile="cpu", compute=False)
    scores = separation_scores(RunStore(store_folder(True)), settings)
    keys = ["test", "separator", "source"]
    means = scores.groupby(keys, sort=False)["si_sdr"].agg(["mean", "count"]).reset_index()
    return {"scores": means}


def headlines() -> Frames:
    tables = {
        "EMOPIA": summaries.headline(),
        "Emotify": summaries.headline_regression(),
        "segments": summaries.headline_segments(),
    }
    return {name: _markdown(text) for name, text in tables.items()}


def _markdown(text: str) -> pd.DataFrame:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return pd.DataFrame([rows[0], *rows[2:]])


PAGES: Mapping[str, Callable[[], Frames]] = {
    function.__name__: function
    for function in (
        emopia_baselines,
        evaluation_audit,
        zhu2023_comparison,
        zhu2023_ablation,
        zhao2023_comparison,
        zhao2023_ablation,
        zhao2023_attention,
        deberardinis2020_sources,
        deberardinis2020_fusion,
        deberardinis2020_interpretation,
        sun2024_segments,
        sun2024_comparison,
        sun2024_trajectory,
        sun2024_noise,
        transcription,
        separation,
        headlines,
    )
}


def cells(frames: Frames) -> dict[str, str]:
    """Every value by "frame, row, column"; numbers with 6 decimals, nothing where none is known."""
    found = {}
    for name, frame in frames.items():
        for number, row in enumerate(frame.to_dict("records")):
            for column, value in row.items():
                found[f"{name}\t{number}\t{column}"] = _cell(value)
    return found


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return str(value)


def path_of(page: str) -> Path:
    """Where the golden values of a page are."""
    return FOLDER / f"{page}.tsv"


def read(page: str) -> dict[str, str]:
    """The golden values of a page."""
    lines = path_of(page).read_text(encoding="utf-8").splitlines()
    return dict(line.rsplit("\t", 1) for line in lines)


def write(page: str) -> None:
    """Write the golden values of a page anew."""
    lines = [f"{place}\t{value}\n" for place, value in cells(PAGES[page]()).items()]
    path_of(page).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or PAGES:
        write(chosen)
