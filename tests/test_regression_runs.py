"""Regression in the run store: what is stored, its metrics, tables and intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from references import group_bootstrap_metric
from toy_sources import toy_plan

from mer.clips import Clip, Corpus, Fold, Labels, Split
from mer.errors import MissingDataError, ParameterError
from mer.evaluation import metrics
from mer.evaluation.resampling import interval, resampled_regression
from mer.papers.deberardinis2020.systems import SourceNetwork
from mer.papers.deberardinis2020.tables import best_inner_models
from mer.study import executor
from mer.study.executor import execute
from mer.study.results import read_predictions
from mer.study.scores import scores
from mer.study.settings import Settings
from mer.study.specs import RunSpec, plan
from mer.study.store import RunStore
from mer.study.study import Study
from mer.systems.base import Context, Fitted
from mer.systems.classical import DescriptorSVR
from mer.systems.labels import Constant, Mean
from mer.tasks import TASKS, get_task

SIZE = 18
METRICS = ["rmse_valence", "r2_valence", "rmse_arousal", "r2_arousal"]


def nested(corpus: Corpus) -> Split:
    """Three outer parts, two inner ones each."""
    ids = np.asarray(corpus.ids)
    part = np.arange(len(ids)) // 2 % 3
    folds = []
    for outer in range(3):
        rest = ids[part != outer].tolist()
        for valid in (rest[:4], rest[-4:]):
            train = tuple(i for i in rest if i not in valid)
            folds.append(Fold(train, tuple(valid), tuple(ids[part == outer].tolist())))
    return Split("nested3x2", tuple(folds))


@pytest.fixture(scope="module")
def corpus(toy_clips: list[Clip]) -> Corpus:
    """Loudness tells arousal."""
    splits = {"nested3x2": nested}
    return Corpus("toy", toy_clips[:SIZE], licence="-", citation="-", splits=splits)


def loudness(clip: Clip) -> np.ndarray:
    """Two descriptors that are quick to compute."""
    samples = soundfile.read(clip.audio)[0]
    return np.asarray([np.log(samples.std()), len(clip.id)])


ROWS = {
    "Mean": Mean(),
    "SVR": DescriptorSVR(features=(loudness,)),
    "C1D-M": SourceNetwork(epochs=2, batch_size=8, seconds=1.2),
}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "_limit_threads", lambda threads: None)
        yield


def planned(corpus: Corpus, rows: Sequence[str]) -> list[RunSpec]:
    return toy_plan({name: ROWS[name] for name in rows}, corpus, 6)


@pytest.fixture(scope="module")
def runs(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    store = RunStore(tmp_path_factory.mktemp("results"))
    execute(planned(corpus, ["Mean", "SVR"]), corpus, store, n_jobs=1, progress=False)
    return store


@pytest.fixture(scope="module")
def predictions(corpus: Corpus, runs: RunStore) -> pd.DataFrame:
    return read_predictions(runs, planned(corpus, ["Mean", "SVR"]))


class TestTask:
    def test_targets(self, corpus: Corpus) -> None:
        labels = [[clip.labels.valence, clip.labels.arousal] for clip in corpus]
        assert get_task("VA").targets(corpus).tolist() == labels
        assert "VA" not in TASKS

    def test_missing_label(self) -> None:
        bare = Clip("bare", "bare", labels=Labels(quadrant=1, arousal=0.5))
        with pytest.raises(MissingDataError, match="clip 'bare' has no valence, which task 'VA'"):
            get_task("VA").targets([bare])

    @pytest.mark.parametrize(
        ("system", "task", "answer"),
        [(Mean(), "A", "valence and arousal as numbers"), (Constant(), "VA", "class prob")],
    )
    def test_system_of_the_other_kind(self, system: Any, task: str, answer: str) -> None:
        names: dict[str, Any] = {"corpus": "toy", "fingerprint": "", "split": "nested3x2"}
        with pytest.raises(ParameterError, match=f"'a row' answers with {answer}.*{task!r}"):
            plan({"a row": system}, [task], **names, folds=[0], seeds=[0])
        with pytest.raises(ParameterError):
            Context(get_task("VA")).n_classes  # noqa: B018


class TestBaselines:
    def test_mean(self, corpus: Corpus, tmp_path: Path) -> None:
        fitted = Mean().fit(corpus, corpus, Context(get_task("VA")))
        found = fitted.predict(corpus)
        means = get_task("VA").targets(corpus).mean(axis=0)
        np.testing.assert_allclose(found[["valence", "arousal"]], np.tile(means, (SIZE, 1)))
        fitted.save(tmp_path)
        pd.testing.assert_frame_equal(Fitted.load(tmp_path).predict(corpus), found)

    def test_svr(self, corpus: Corpus, tmp_path: Path) -> None:
        system = DescriptorSVR(features=(loudness,), c_grid=(0.1, 1.0))
        train, valid = (corpus.select(corpus.ids[s]) for s in (slice(12), slice(12, None)))
        fitted = system.fit(train, valid, Context(get_task("VA")))
        found = fitted.predict(valid)
        targets = get_task("VA").targets(valid)
        tried = pd.DataFrame(fitted.history)
        for k, name in enumerate(("valence", "arousal")):
            error = metrics.rmse(targets[:, k], found[name])
            assert error == pytest.approx(tried.loc[tried["dimension"] == k, "valid_rmse"].min())
        assert metrics.r2(targets[:, 1], found["arousal"]) > 0.5
        fitted.save(tmp_path)
        pd.testing.assert_frame_equal(Fitted.load(tmp_path).predict(valid), found)

    def test_wrong_settings(self) -> None:
        with pytest.raises(ParameterError, match="c_grid is"):
            DescriptorSVR(c_grid=(0.0,))


class TestStored:
    def test_what_is_stored(self, corpus: Corpus, runs: RunStore) -> None:
        spec = planned(corpus, ["SVR"])[4]
        run = runs.read(spec)
        assert list(run.predictions) == [
            *("id", "group", "target_valence", "target_arousal", "valence", "arousal")
        ]
        test = corpus.select(corpus.split("nested3x2").folds[4].test)
        assert run.predictions["id"].tolist() == test.ids
        targets = run.predictions[["target_valence", "target_arousal"]]
        np.testing.assert_allclose(targets, get_task("VA").targets(test), atol=5e-6)
        report = metrics.regression_report(run.predictions)
        assert report["n"] == len(test) == 6
        assert run.details["metrics"] == {name: round(report[name], 5) for name in METRICS}
        assert run.details["audio"] == "recorded"
        assert (runs.folder(spec) / "predictions.csv").read_text().startswith("id,group,target_v")

    def test_networks_run_too(self, corpus: Corpus, tmp_path: Path) -> None:
        store = RunStore(tmp_path)
        specs = planned(corpus, ["C1D-M"])[:1]
        assert execute(specs, corpus, store, n_jobs=1) == 1
        run = store.read(specs[0])
        assert set(run.history[0]) == {"train_loss", "valid_rmse", "learning_rate"}
        assert specs[0].revisions.keys() == {"rendering", "spectral", "emomucs"}
        assert best_inner_models(store, specs) == specs

    def test_report_says_what_is_missing(self) -> None:
        frame = pd.DataFrame({"target_valence": [0.1], "valence": [0.2]})
        with pytest.raises(ParameterError, match="no column 'target_arousal'"):
            metrics.regression_report(pd.concat([frame, frame + 1]))

    def test_study(self, corpus: Corpus, runs: RunStore) -> None:
        card = {"fingerprint": corpus.fingerprint, "splits": {"nested3x2": {"folds": 6}}}
        runs.write_card("toy", card)
        study = Study(Settings(profile="smoke", compute=False), "regression", runs)
        study.corpus_name = "toy"
        rows = {name: ROWS[name] for name in ("Mean", "SVR")}
        specs = study.specs(rows, split="nested3x2", tasks=("VA",))
        assert specs == planned(corpus, ["Mean", "SVR"])
        frame = study.run(specs).predictions
        assert len(frame) == 2 * 2 * SIZE
        assert "answer" not in frame


class TestScores:
    def test_scores_are_means_over_models(
        self, corpus: Corpus, runs: RunStore, predictions: pd.DataFrame
    ) -> None:
        table = scores(predictions, {("SVR", "arousal", "r2"): 0.61}, n_resamples=200)
        assert len(table) == 8
        row = table.query("system == 'SVR' and metric == 'r2' and task == 'arousal'").iloc[0]
        stored = [runs.read(s).details["metrics"]["r2_arousal"] for s in planned(corpus, ["SVR"])]
        assert row["mean"] == pytest.approx(np.mean(stored), abs=1e-5)
        assert row["sd"] == pytest.approx(np.std(stored, ddof=1), abs=1e-5)
        assert row["low"] < row["mean"] < row["high"]
        assert row["n"] == SIZE
        assert row["seeds"] == 6
        assert row["difference"] == pytest.approx(row["mean"] - 0.61)
        assert row["covers"] == (row["low"] <= 0.61 <= row["high"])

    def test_best_inner_models(self, corpus: Corpus, runs: RunStore) -> None:
        specs = planned(corpus, ["SVR"])
        best = best_inner_models(runs, specs, inner_folds=2)
        assert [spec.fold // 2 for spec in best] == [0, 1, 2]
        errors = [min(row["valid_rmse"] for row in runs.read(s).history) for s in specs]
        expected = [specs[2 * k + int(np.argmin(errors[2 * k : 2 * k + 2]))] for k in range(3)]
        assert best == expected


class TestBootstrap:
    def test_one_model_is_the_plain_group_bootstrap(self) -> None:
        rng = np.random.default_rng(0)
        target = rng.normal(size=60)
        predicted = target + rng.normal(size=60) / 2
        groups = np.arange(60) // 3
        found = resampled_regression(target, predicted, groups, np.zeros(60), n_resamples=300)
        for name, metric in (("rmse", metrics.rmse), ("r2", metrics.r2)):
            expected = group_bootstrap_metric(metric, [target, predicted], groups, n_resamples=300)
            assert interval(found[name]) == pytest.approx(expected)

    def test_mean_over_models(self) -> None:
        rng = np.random.default_rng(1)
        target, groups = np.tile(rng.normal(size=40), 2), np.tile(np.arange(40), 2)
        predicted = target + np.repeat([0.3, 0.5], 40)
        found = resampled_regression(target, predicted, groups, np.repeat([0, 1], 40))
        np.testing.assert_allclose(found["rmse"], 0.4)

    def test_too_few(self) -> None:
        with pytest.raises(ParameterError, match="expected more groups a model"):
            resampled_regression([0.1, 0.5], [0.2, 0.2], ["a", "b"], [0, 1])
        found = resampled_regression([0.1, 0.5, 0.3], [0.2, 0.4, 0.3], list("abc"), [0, 0, 0])
        assert 2000 * 0.85 < len(found["r2"]) < 2000 * 0.92  # one in nine draws one clip thrice
        assert np.isfinite(found["r2"]).all()
        with pytest.raises(ParameterError, match="all clips are of one group"):
            resampled_regression([0.1, 0.5], [0.2, 0.2], ["a", "a"], [0, 0])
