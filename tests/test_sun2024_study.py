"""The pages on SSSL: published values, claims, scores, counts, and runs that are not stored."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mer.evaluation.metrics import f1, macro_f1
from mer.evaluation.uncertainty import group_bootstrap_metric, interval, resampled_f1
from mer.study import segment_counts, sun2024
from mer.study import sun2024_figures as plots
from mer.study import sun2024_findings as told
from mer.study.claims import HOLDS, NOT_RUN, judge, paragraphs, verdict
from mer.study.figures import WIDTH
from mer.study.parameters import SegmentParameters, check
from mer.study.profiles import get_profile
from mer.study.runs import possible
from mer.study.scores import score_table, score_text
from mer.study.session import Session
from mer.study.sizes import parameter_counts
from mer.study.specs import plan
from mer.study.store import Run, RunStore
from mer.systems import SYSTEMS

N = 80


def predicted(system: str, right: float, task: str = "A", seeds: int = 1) -> pd.DataFrame:
    """Answers of which that share is right; every system meets the same clips."""
    k = 5 if task == "cluster" else 2
    target = np.random.default_rng(1).integers(1, k + 1, N)
    frames = []
    for seed in range(seeds):
        wrong = np.random.default_rng(10 + seed).random(N) > right
        answer = np.where(wrong, target % k + 1, target)
        frames.append(
            pd.DataFrame(
                {
                    **{"system": system, "task": task, "split": "cv10", "fold": 0, "seed": seed},
                    **{"audio": "recorded", "id": [f"c{n:03d}" for n in range(N)]},
                    "group": [f"artist {n // 2}" for n in range(N)],
                    **{"target": target, "answer": answer, "correct": answer == target},
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def test_published_scores_are_fractions_of_tables_2_and_3() -> None:
    scores = sun2024.published_scores("PMEmo")
    assert scores["SSSL", "V", "accuracy"] == scores["SSSL, 3 s", "V", "accuracy"]
    assert scores["SSSL", "A", "F1"] == pytest.approx(0.8661)
    assert scores["Audio-SVM", "V", "accuracy"] == pytest.approx(0.7043)
    assert sun2024.published_scores("4Q")["SSSL, no KL", "4Q", "F1"] == pytest.approx(0.753)
    assert len(sun2024.published_scores("EiM")) == 5
    assert sun2024.published_scores(None) == {}
    names = {key[0] for dataset in sun2024.DATASETS for key in sun2024.published_scores(dataset)}
    assert names - {sun2024.swept(d) for d in sun2024.DURATIONS} <= set(SYSTEMS)


def test_claims_are_those_that_were_put_before_the_runs() -> None:
    arousal, valence = sun2024.sweep_claims(["A", "V"])
    assert [(c.better, c.worse) for c in arousal.comparisons] == [
        ("SSSL, 1 s", f"SSSL, {d} s") for d in (2, 3, 4, 5)
    ]
    assert [(c.better, c.worse) for c in valence.comparisons] == [("SSSL, 3 s", "SSSL, 1 s")]
    assert [c.table for c in sun2024.sweep_claims(["cluster"])] == [None]
    found = sun2024.comparison_claims(["A", "V"])
    assert {c.worse for claim in found for c in claim.comparisons} == {*sun2024.COMPARED[1:-1]}
    assert {c.better for claim in found for c in claim.comparisons} == {"SSSL"}
    assert all([c.task for c in claim.comparisons] == ["A", "V"] for claim in found)


def test_claims_are_judged_on_durations_and_say_what_was_not_run() -> None:
    frames = [predicted("SSSL, 3 s", 0.95, "V"), predicted("SSSL, 1 s", 0.5, "V")]
    claims = sun2024.sweep_claims(["A", "V"])
    places = {"emotify": sun2024.answered(pd.concat(frames))}
    cells = sun2024.accuracies(sun2024.published_scores("PMEmo"))
    judged = judge(claims, places, cells)
    assert verdict(claims[1], judged, "emotify") == HOLDS
    assert judged.iloc[0]["published"] == pytest.approx(0.8319 - 0.7743)
    text = paragraphs(claims, judged, places, published_on="PMEmo")
    assert f"- Emotify: **{NOT_RUN}**." in text
    assert "V by a model of its own" in text


@pytest.mark.parametrize("positive", [None, 2])
def test_resampled_f1_is_the_metric_of_each_resample(positive: int | None) -> None:
    frame = predicted("s", 0.7, "A" if positive else "cluster")

    def metric(target: np.ndarray, answer: np.ndarray) -> float:
        return f1(target, answer, positive) if positive else macro_f1(target, answer)

    target, answer, groups = frame["target"], frame["answer"], frame["group"]
    slow = group_bootstrap_metric(metric, (target, answer), groups, n_resamples=60)
    fast = resampled_f1(target, answer, groups, positive=positive, n_resamples=60)
    assert interval(fast) == pytest.approx(slow)


def test_f1_of_one_class() -> None:
    assert f1([2, 2, 1, 1], [2, 1, 2, 1], 2) == 0.5
    assert f1([2, 2, 1, 1], [2, 2, 2, 2], 2) == pytest.approx(2 / 3)
    assert f1([1, 1], [1, 1], 2) == 0.0


def test_scores_are_means_over_seeds_and_absent_systems_are_named() -> None:
    predictions = predicted("SSSL", 0.8, seeds=2)
    published = {("2-Stage", "A", "F1"): 0.4, ("SSSL", "A", "F1"): 0.5}
    table = score_table(predictions, published, n_resamples=50)
    rows: Any = table.set_index("metric")
    by_seed = [own for _, own in predictions.groupby("seed")]
    found = [f1(own["target"], own["answer"], 2) for own in by_seed]
    assert rows.loc["F1", "mean"] == pytest.approx(np.mean(found))
    assert rows.loc["F1", "sd"] == pytest.approx(np.std(found, ddof=1))
    assert rows.loc["accuracy", "mean"] == pytest.approx(predictions["correct"].mean())
    assert (table["low"] <= table["mean"]).all()
    assert (table["mean"] <= table["high"]).all()
    text: Any = score_text(table, "A", ["2-Stage", "SSSL"], published)
    assert list(text) == ["accuracy", "F1 (high), published", "F1 (high)"]
    assert text.loc["2-Stage"].tolist() == [NOT_RUN, ".400", NOT_RUN]
    assert text.loc["SSSL", "F1 (high), published"] == ".500"
    assert rows.loc["F1", "published"] == 0.5


def test_published_counts_beside_clips_of_30_s() -> None:
    table: Any = segment_counts.published_counts().set_index(["dataset", "duration"])
    assert table.loc[("PMEmo", 3), ["most", "fewer", "lost"]].tolist() == [21_476, 65, 773]
    assert table.loc[("EiM", 1), ["most", "fewer", "uncut"]].tolist() == [30_000, 18, 45_000]
    assert pd.isna(table.loc[("4Q", 1), "uncut"])
    text = segment_counts.findings(table.reset_index())
    assert "so clips were cut to 30 s" in text
    assert "767 in all; published: 773 at 3 s, 771 at 4 s, 771 at 5 s." in text


def test_counts_by_time_and_by_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = pd.DataFrame({"id": ["a", "b"], "seconds": [29.99, 45.0], "frames": [1292, 1292]})
    monkeypatch.setattr(segment_counts, "clip_lengths", lambda session: lengths)
    session: Any = SimpleNamespace(profile=get_profile("smoke"))
    table: Any = segment_counts.counted({"toy": session}).set_index("duration")
    assert table.loc[1, ["songs", "shorter", "segments", "frames", "most"]].tolist() == [
        *(2, 1, 59, 60, 60)
    ]
    assert (table["segments"] == [59, 57, 55, 53, 51]).all()
    assert (table["fewer"] == 1).all()


def test_leakage_is_the_paired_gain() -> None:
    apart = sun2024.Runs([], [], pd.concat([predicted("SSSL", 0.5), predicted("SVM", 0.7)]))
    mixed = sun2024.Runs([], [], predicted("SSSL", 0.9))
    table = told.leakage(apart, mixed)
    row = table.iloc[0]
    assert (len(table), row["n"]) == (1, N)
    assert row["difference"] == pytest.approx(row["leaky"] - row["grouped"])
    assert row["low"] > 0
    assert told.leakage_text(table).loc["SSSL", "task"] == "Arousal"


def test_parameters_by_corpus() -> None:
    found = SegmentParameters(profile="cpu", compute=False).by_corpus()
    assert {name: own.tasks for name, own in found.items()} == {
        "emotify": ["A", "V"],
        "mirex_mood": ["cluster"],
    }
    one = check({"corpus": "mirex_mood", "tasks": '["A"]'}, SegmentParameters).by_corpus()
    assert {name: own.tasks for name, own in one.items()} == {"mirex_mood": ["A"]}
    assert list(SegmentParameters(profile="smoke").by_corpus()) == ["composed"]


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Emotify with all runs of Constant on arousal, and all but one of SSSL."""
    monkeypatch.setattr(sun2024, "has_weights", lambda: False)
    store = RunStore(tmp_path)
    split = {"folds": 2, "leaky": False}
    store.write_card("emotify", {"fingerprint": "f", "splits": {"cv10": split}})
    settings = SegmentParameters(profile="cpu", compute=False, tasks=["A"]).by_corpus()["emotify"]
    session = Session(settings, store)
    for spec in session.specs(["Constant", "SSSL"], split="cv")[:-1]:
        frame = predicted(spec.system, 0.6).loc[spec.fold :: 2, ["id", "group", "target"]]
        frame = frame.assign(p_1=0.4, p_2=0.6)
        history = [{"valid_accuracy": 0.9}, {"valid_accuracy": 0.7, "clean_fraction": 0.5}]
        store.write(Run(spec, frame, history, {"audio": "none", "clips": {"test": len(frame)}}))
    return session


def test_what_is_not_stored_whole_is_not_shown(stored: Session) -> None:
    runs = sun2024.compared(stored)
    assert {spec.system for spec in runs.specs} == {"Constant"}
    assert {spec.system for spec in runs.planned} == {*sun2024.COMPARED}
    assert runs.tasks == ["A"]
    sweep = sun2024.sweep(stored)
    assert (len(sweep.planned), sweep.specs, len(sweep.predictions)) == (10, [], 0)
    table = score_table(sweep.predictions, {})
    assert set(score_text(table, "A", ["SSSL, 1 s"], {})["accuracy"]) == {NOT_RUN}
    assert told.sweep_findings(table, ["A"]) == ""
    assert sun2024.ungrouped(stored) is None
    assert sun2024.protocol(stored) == "2-fold cross-validation"


def test_a_corpus_without_card_is_named(
    stored: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sun2024, "Session", lambda settings: Session(settings, RunStore(tmp_path)))
    settings = SegmentParameters(profile="cpu", compute=False)
    shown = sun2024.sessions(settings)
    assert list(shown) == ["emotify"]
    assert sun2024.absent(settings, shown) == "Corpus **mirex_mood** was not run. "


def test_validation_leaves_the_warm_up_out(stored: Session) -> None:
    specs = [s for s in stored.specs(["SSSL"], split="cv") if s in stored.store]
    runs = sun2024.Runs(specs, specs, stored.run(specs))
    table: Any = told.validation_against_test(stored, runs)
    assert table.loc[0, ["task", "system", "validation"]].tolist() == ["A", "SSSL", 0.7]
    assert table.loc[0, "gap"] == pytest.approx(0.7 - table.loc[0, "test"])


def test_without_weights_embeddings_are_left_out(stored: Session) -> None:
    open_session = Session(stored.settings.model_copy(update={"compute": True}), stored.store)
    open_session.__dict__["card"] = stored.card
    planned = open_session.specs(sun2024.COMPARED, split="cv")
    found = possible(open_session, planned, sun2024._can_be_computed)
    systems = {spec.system for spec in found}
    assert systems == {*sun2024.COMPARED} - {"Audio Embedding"}


def test_published_size_of_the_network() -> None:
    specs = plan(
        ["SSSL", "2-Stage", "Constant"],
        ["A"],
        corpus="c",
        fingerprint="f",
        split="s",
        folds=[0],
        seeds=[0],
        overrides={"SSSL": {"width": 1 / 8, "grid": 2, "n_mels": 64}},
    )
    counts: Any = parameter_counts(specs, n_classes=2)
    # VGG16 has 138,357,544 for three channels and 1,000 classes
    published = 138_357_544 - 998 * 4097 - 2 * 64 * 9
    assert counts.loc["SSSL", "default"] == published
    assert counts.loc["SSSL", "here"] < published / 50
    assert counts.loc["2-Stage", "default"] == counts.loc["2-Stage", "here"] > 0
    assert "Constant" not in counts.index


def test_figures_are_as_wide_as_the_page() -> None:
    names = [sun2024.swept(d) for d in sun2024.DURATIONS]
    own = pd.concat(predicted(n, 0.7, t, seeds=2) for n in [*names, "SSSL"] for t in ("A", "V"))
    beside = {d: sun2024.published_scores(d) for d in ("PMEmo", "4Q")}
    table = score_table(own, beside["PMEmo"], n_resamples=20)
    epochs = pd.DataFrame(
        {
            **{"task": "A", "fold": [0, 0, 1, 1], "seed": 0, "epoch": [1, 2, 1, 2]},
            "clean_fraction": [np.nan, 0.5, np.nan, 0.7],
            "largest_class": [np.nan, 0.6, np.nan, 1.0],
            **{"clean_mean": 0.1, "noisy_mean": 0.9, "agreement": 0.8, "collapsed": 0.0},
        }
    )
    counts = segment_counts.published_counts()
    figures = [
        plots.sweep(table, ["A", "V"], beside),
        plots.comparison(table, ["A", "V"], sun2024.COMPARED, "PMEmo"),
        plots.self_learning(epochs, ["A", "V"]),
        plots.missing_segments(counts, counts.assign(dataset="toy").head(5)),
    ]
    assert {figure.get_size_inches()[0] for figure in figures} == {WIDTH}
    assert [len(figure.axes) for figure in figures] == [4, 4, 5, 1]
    text = told.self_learning_findings(epochs)
    assert "60% of the segments count as clean (from 50% to 70%; runs: 2)" in text
    assert "Of 2 partitions 0 collapsed" in text
    assert "In 1 of 2 runs the network ended with the same answer" in text
    assert "the highest accuracy has SSSL" in told.sweep_findings(table, ["A"])
    assert "0 of 5 others have a higher mean" in told.comparison_findings(table, ["V"])
    assert "PMEmo, arousal: highest at 1 s (.854)" in told.published_sweep_findings()
    assert told.published_sweep().shape == (5, 8)
    assert "PMEmo SVM, V-acc 70.43: always answering high valence" in told.published_notes()
