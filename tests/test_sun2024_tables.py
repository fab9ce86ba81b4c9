"""Tables 1 to 3 of Sun et al. 2024: published values, claims, counts, and runs that lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from references import group_bootstrap_metric

from mer.errors import MissingDataError
from mer.evaluation.metrics import f1, macro_f1
from mer.evaluation.resampling import interval, resampled_f1
from mer.papers.sun2024 import tables as paper
from mer.study.claims import NOT_RUN
from mer.study.scores import scores
from mer.study.store import Run, RunStore
from mer.study.study import Study
from mer.study.tables import KNOWN_ROWS, score_table

N = 80


def predicted(system: str, right: float, task: str = "A", seeds: int = 1) -> pd.DataFrame:
    """Answers of which that share is right; every system meets the same clips."""
    k = 5 if task == "cluster" else 2
    target = np.random.default_rng(1).integers(1, k + 1, N)
    place = {"system": system, "task": task, "split": "cv10", "fold": 0, "audio": "recorded"}
    clips = {"id": [f"c{n:03d}" for n in range(N)], "group": [f"artist {n // 2}" for n in range(N)]}
    frames = []
    for seed in range(seeds):
        wrong = np.random.default_rng(10 + seed).random(N) > right
        answer = np.where(wrong, target % k + 1, target)
        answers = {"target": target, "answer": answer, "correct": answer == target}
        frames.append(pd.DataFrame({**place, "seed": seed, **clips, **answers}))
    return pd.concat(frames, ignore_index=True)


def test_published_scores_are_fractions_of_tables_2_and_3() -> None:
    known = paper.published_scores("PMEmo")
    assert known["SSSL", "V", "accuracy"] == known["SSSL, 3 s", "V", "accuracy"]
    assert known["SSSL", "A", "F1"] == pytest.approx(0.8661)
    assert known["Audio-SVM", "V", "accuracy"] == pytest.approx(0.7043)
    assert paper.published_scores("4Q")["SSSL, no KL", "4Q", "F1"] == pytest.approx(0.753)
    assert len(paper.published_scores("EiM")) == 5
    assert paper.published_scores("") == {}
    names = {key[0] for dataset in paper.DATASETS for key in paper.published_scores(dataset)}
    assert names - {*paper.SWEEP} <= {*paper.TABLE_3.rows} <= {*KNOWN_ROWS}
    assert paper.published_durations().shape == (8, 5)
    assert "PMEmo, arousal: highest at 1 s (.854)" in paper.published_precision()
    assert "PMEmo SVM, V-acc 70.43: always answering high valence" in paper.published_notes()


@pytest.mark.parametrize("positive", [None, 2])
def test_resampled_f1_is_the_metric_of_each_resample(positive: int | None) -> None:
    frame = predicted("s", 0.7, "A" if positive else "cluster")

    def metric(target: np.ndarray, answer: np.ndarray) -> float:
        return f1(target, answer, positive) if positive else macro_f1(target, answer)

    target, answer, groups = frame["target"], frame["answer"], frame["group"]
    slow = group_bootstrap_metric(metric, (target, answer), groups, n_resamples=60)
    fast = resampled_f1(target, answer, groups, positive=positive, n_resamples=60)
    assert interval(fast) == pytest.approx(slow)


@pytest.mark.parametrize(
    ("target", "answer", "expected"),
    [([2, 2, 1, 1], [2, 1, 2, 1], 0.5), ([2, 2, 1, 1], [2] * 4, 2 / 3), ([1, 1], [1, 1], 0.0)],
)
def test_f1_of_one_class(target: list[int], answer: list[int], expected: float) -> None:
    assert f1(target, answer, 2) == pytest.approx(expected)


def test_f1_is_the_mean_over_seeds_and_missing_systems_are_named() -> None:
    predictions = predicted("SSSL", 0.8, seeds=2)
    published = {("2-Stage", "A", "F1"): 0.4, ("SSSL", "A", "F1"): 0.5}
    table = scores(predictions, published, metrics=paper.METRICS, n_resamples=50)
    row: Any = table.set_index("metric").loc["F1"]
    by_seed = [f1(own["target"], own["answer"], 2) for _, own in predictions.groupby("seed")]
    assert (row["mean"], row["sd"]) == pytest.approx((np.mean(by_seed), np.std(by_seed, ddof=1)))
    text: Any = score_table(table, ["2-Stage", "SSSL"], "A", paper.METRICS)
    column = ("F1 (high)", "published")
    assert list(text) == [("Accuracy", "here"), column, ("F1 (high)", "here")]
    assert text[column].tolist() == ["–", ".500"]
    assert text.loc["2-Stage"].tolist()[::2] == [NOT_RUN, NOT_RUN]


def test_leakage_is_the_paired_gain() -> None:
    apart = pd.concat([predicted("SSSL", 0.5), predicted("SVM", 0.7)])
    table = paper.leakage(apart, predicted("SSSL", 0.9))
    row = table.iloc[0]
    assert (len(table), row["n"]) == (1, N)
    assert row["difference"] == pytest.approx(row["leaky"] - row["grouped"])
    assert row["low"] > 0
    assert paper.leakage_text(table).loc["SSSL", "task"] == "Arousal"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"emotify": ["A", "V"], "mirex_mood": ["cluster"]}),
        ({"corpus": "mirex_mood", "tasks": '["A"]'}, {"mirex_mood": ["A"]}),
        ({"corpus": "four_quadrants"}, {"four_quadrants": ["A", "V", "4Q"]}),
        ({"profile": "smoke"}, {"composed": ["A", "V"]}),
    ],
)
def test_corpora_and_tasks_of_a_page(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    study = Study({"profile": "cpu", "compute": False, **changes}, "segments")
    found = paper.corpora(study)
    assert {name: own.settings.tasks for name, own in found.items()} == expected


@pytest.fixture
def stored(tmp_path: Path) -> Study:
    """Emotify with all runs of Constant on arousal, and all but one of SSSL."""
    store = RunStore(tmp_path)
    split = {"folds": 2, "leaky": False}
    store.write_card("emotify", {"fingerprint": "f", "splits": {"cv10": split}})
    study = Study({"profile": "cpu", "compute": False}, "segments", store)
    rows = {name: paper.TABLE_3.all_rows[name] for name in ("Constant", "SSSL")}
    own = paper.corpora(study)["emotify"]
    for spec in own.specs(rows, split="cv", tasks=["A"])[:-1]:
        frame = predicted(spec.system, 0.6).loc[spec.fold :: 2, ["id", "group", "target"]]
        frame = frame.assign(p_1=0.4, p_2=0.6)
        store.write(Run(spec, frame, [], {"audio": "none", "clips": {"test": len(frame)}}))
    return study


def test_what_is_not_stored_whole_is_not_shown(stored: Study) -> None:
    found = paper.run_everywhere(stored, paper.run_comparison)
    assert list(found) == ["emotify"]
    assert paper.missing_corpora(stored, found) == "**MIREX-like mood dataset**: not run."
    results = found["emotify"]
    assert {spec.system for spec in results.specs} == {"Constant"}
    assert {spec.system for spec in results.planned} == {*paper.TABLE_3.order}
    assert "SSSL (cross-validation: A, V)" in results.missing_text
    with pytest.raises(MissingDataError, match="none of 20 runs is stored"):
        paper.run_durations(results.study)
    assert paper.run_everywhere(stored, paper.run_durations) == {}
    assert paper.run_leakage(results.study) is None


def test_summary_of_self_learning() -> None:
    epochs = pd.DataFrame(
        {
            **{"task": "A", "fold": [0, 0, 1, 1], "seed": 0, "epoch": [1, 2, 1, 2]},
            "clean_fraction": [np.nan, 0.5, np.nan, 0.7],
            "largest_class": [np.nan, 0.6, np.nan, 1.0],
            **{"clean_mean": 0.1, "noisy_mean": 0.9, "agreement": 0.8, "collapsed": 0.0},
        }
    )
    text = paper.self_learning_summary(epochs)
    assert "60% of the segments count as clean (from 50% to 70%; runs: 2)" in text
    assert "Of 2 partitions 0 collapsed" in text
    assert "In 1 of 2 runs the network collapsed to one class" in text


def test_published_comparison_of_datasets_without_a_corpus() -> None:
    table = paper.published_comparison("4Q")
    assert table.loc["SSSL", "Four quadrants, accuracy"] == pytest.approx(0.7649)
    assert list(paper.published_comparison("EiM").dropna(how="all").index)[-1] == "SSSL"
    assert paper.published_comparison("EiM").shape[1] <= 2
