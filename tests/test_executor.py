"""Running what is missing: here, in processes, after a kill, and on a dask cluster."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import PARTS
from joblib import cpu_count
from rows import ROWS, small

from mer import cluster
from mer.clips import Corpus
from mer.corpora import emopia
from mer.corpora.folds import cross_validation
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.evaluation.metrics import classification_report
from mer.paths import cache_folder
from mer.study import executor
from mer.study.settings import Settings
from mer.study.specs import RunSpec, plan
from mer.study.store import RunStore
from mer.study.study import Study
from mer.study.tables import Table

LSTM = "LSTM-Attn + MIDI-like"


execute = partial(executor.execute, n_jobs=1, progress=False)


def toy(folder: Path) -> Corpus:
    """The tiny EMOPIA with its published split and three folds."""
    corpus = emopia.load(folder)
    splits = {"split_cls": lambda _: corpus.split("split_cls")}
    splits["cv3"] = partial(cross_validation, n_folds=3)
    return Corpus("emopia", corpus.clips, licence="-", citation="-", splits=splits)


@pytest.fixture(scope="module")
def corpus(emopia_folder: Path) -> Corpus:
    return toy(emopia_folder)


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Threads that runs ask for; torch keeps its own, for the tests that follow."""
    asked: list[int] = []
    monkeypatch.setattr(executor, "_limit_threads", asked.append)
    return asked


def planned(corpus: Corpus, systems: Sequence[str], split: str = "cv3") -> list[RunSpec]:
    rows = {name: small(name).configured({"epochs": 5} if name == LSTM else {}) for name in systems}
    place: Any = {"corpus": "emopia", "fingerprint": corpus.fingerprint, "split": split}
    folds = range(len(corpus.split(split).folds))
    return plan(rows, ["4Q"], folds=folds, seeds=[0, 1], **place)


def stored_times(runs: RunStore) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in runs.root.rglob("run.json")}


def check_same_predictions(a: RunStore, b: RunStore, specs: list[RunSpec]) -> None:
    for spec in specs:
        first, second = a.read(spec).predictions, b.read(spec).predictions
        pd.testing.assert_frame_equal(first, second, check_exact=True)


class TestExecute:
    def test_runs_only_what_is_missing(self, corpus: Corpus, runs: RunStore) -> None:
        specs = planned(corpus, ["Constant", "Song-lookup"])
        assert execute(specs, corpus, runs) == 6
        times = stored_times(runs)
        assert len(times) == 6
        assert execute(specs, corpus, runs) == 0
        more = specs + planned(corpus, ["Constant"], "split_cls")
        assert execute(more, corpus, runs) == 1
        assert times.items() < stored_times(runs).items()
        tested = [tuple(runs.read(spec).predictions["id"]) for spec in specs]
        assert tested == [fold.test for fold in corpus.split("cv3").folds] * 2

    def test_what_is_stored(self, corpus: Corpus, runs: RunStore) -> None:
        specs = planned(corpus, ["Constant", "Symbolic-LR", "Audio-LR"], "split_cls")
        execute(specs, corpus, runs)
        for spec, audio in zip(specs, ("none", "none", "rendered"), strict=True):
            run = runs.read(spec)
            frame = run.predictions
            assert list(frame)[:3] == ["id", "group", "target"]
            assert frame["id"].tolist() == PARTS["test"]
            assert frame["group"].tolist() == [clip[3:14] for clip in PARTS["test"]]
            assert frame["target"].tolist() == [1, 2, 3, 4]
            report = classification_report(frame)
            for name in ("accuracy", "macro_f1"):
                assert run.details["metrics"][name] == pytest.approx(report[name], abs=1e-5)
            assert run.details["clips"] == {"train": 8, "valid": 4, "test": 4}
            assert run.details["audio"] == audio
            assert {"python", "torch", "cores", "mer"} <= set(run.details["environment"])
            assert run.details["wall_seconds"] >= 0
            assert 10 < run.details["peak_memory_mib"] < 10_000
            assert len(run.history) == (0 if spec.system == "Constant" else 7)

    def test_one_process_may_use_all_cores(
        self, corpus: Corpus, runs: RunStore, threads: list[int]
    ) -> None:
        execute(planned(corpus, ["Constant"], "split_cls"), corpus, runs, n_jobs=None)
        assert threads == [cpu_count()]

    def test_processes_give_the_same(self, corpus: Corpus, runs: RunStore, tmp_path: Path) -> None:
        specs = planned(corpus, ["Symbolic-LR", "Song-lookup"], "split_cls")
        alone = RunStore(tmp_path / "alone")
        execute(specs, corpus, alone)
        assert execute(specs, corpus, runs, n_jobs=2) == 2
        check_same_predictions(alone, runs, specs)

    def test_shows_progress(
        self, corpus: Corpus, runs: RunStore, capsys: pytest.CaptureFixture[str]
    ) -> None:
        execute(planned(corpus, ["Constant"], "split_cls"), corpus, runs, progress=True)
        assert re.search(
            r"1/1 .*Constant, 4Q split_cls fold 0 seed 0: accuracy 0\.250", capsys.readouterr().out
        )

    @pytest.mark.parametrize("n_jobs", [1, 2])
    def test_other_runs_are_stored_where_one_fails(
        self, emopia_copy: Path, runs: RunStore, n_jobs: int
    ) -> None:
        (emopia_copy / "midis" / f"{PARTS['train'][0]}.mid").write_bytes(b"damaged")
        corpus = toy(emopia_copy)
        specs = planned(corpus, ["Constant"], "split_cls")
        assert execute(specs, corpus, runs) == 1
        specs += planned(corpus, ["Symbolic-LR", "Symbolic-SVM"], "split_cls")
        with pytest.raises(InvalidDataError, match=rf"{PARTS['train'][0]}\.mid is not a readable"):
            execute(specs, corpus, runs, n_jobs=n_jobs)
        assert runs.missing(specs) == specs[1:]


def run_until_killed(program: str, emopia_folder: Path, runs: RunStore) -> None:
    """Execute all planned runs in another process that `program` has taught when to die."""
    head = f"""
        import os, signal
        from pathlib import Path
        import test_executor as t
        from mer.study import executor

        def die():
            os.kill(os.getpid(), signal.SIGKILL)

        executor._limit_threads = lambda threads: None
        corpus = t.toy(Path({str(emopia_folder)!r}))
        store = t.RunStore(Path({str(runs.root)!r}))
    """
    text = textwrap.dedent(head) + textwrap.dedent(program)
    command, here = [sys.executable, "-c", text], Path(__file__).parent
    result = subprocess.run(command, capture_output=True, cwd=here, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()


def test_memory_settings_reach_workers_and_yield_to_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor

    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
    monkeypatch.delenv(names[0], raising=False)
    monkeypatch.setenv(names[1], "4096")
    get_reusable_executor().shutdown()
    with executor.kept_memory():
        found = Parallel(n_jobs=2)(delayed(os.getenv)(name) for name in names)
    assert found == [str(2**33), "4096"]
    assert [os.getenv(name) for name in names] == [None, "4096"]


def test_stored_runs_are_not_computed_again_after_a_kill(
    corpus: Corpus, emopia_folder: Path, runs: RunStore
) -> None:
    program = """
        whole = executor.run
        done = []

        def run(spec, *args, **options):
            done.append(spec)
            return die() if len(done) == 5 else whole(spec, *args, **options)

        executor.run = run
        t.execute(t.planned(corpus, ["Constant", "Song-lookup"]), corpus, store)
    """
    run_until_killed(program, emopia_folder, runs)
    specs, times = planned(corpus, ["Constant", "Song-lookup"]), stored_times(runs)
    assert runs.missing(specs) == specs[4:]
    assert execute(specs, corpus, runs) == 2
    assert times.items() < stored_times(runs).items()


def busy(folder: Path, number: int, *, threads: int) -> None:
    (folder / f"{os.getpid()}").touch()
    time.sleep(999)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(how: signal.Signals, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; import test_executor as t\n"
        f"jobs = [(Path({str(tmp_path)!r}), number) for number in range(2)]\n"
        "list(t.executor.in_parallel(t.busy, jobs, n_jobs=2))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parent)
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2, seconds=60)
    process.send_signal(how)
    process.wait(10)
    workers = [Path("/proc") / path.name for path in tmp_path.iterdir()]
    wait_until(lambda: not any(worker.exists() for worker in workers), seconds=10)


def wait_until(condition: Callable[[], bool], *, seconds: float) -> None:
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.1)


class TestNetworkInterrupted:
    """A run of a network goes on from its last epoch, and ends as if nothing had happened."""

    @pytest.fixture
    def spec(self, corpus: Corpus) -> RunSpec:
        return planned(corpus, [LSTM], "split_cls")[0]

    @pytest.fixture
    def whole(self, corpus: Corpus, spec: RunSpec, tmp_path: Path) -> RunStore:
        store = RunStore(tmp_path / "whole")
        execute([spec], corpus, store)
        return store

    def check_resumes(self, spec: RunSpec, corpus: Corpus, runs: RunStore, whole: RunStore) -> None:
        checkpoint = cache_folder() / "checkpoints" / f"{spec.key[:32]}.pt"
        assert checkpoint.is_file()
        assert not stored_times(runs)
        execute([spec], corpus, runs)
        assert not checkpoint.exists()
        check_same_predictions(whole, runs, [spec])
        assert runs.read(spec).history == whole.read(spec).history

    def test_by_the_keyboard(
        self,
        spec: RunSpec,
        corpus: Corpus,
        runs: RunStore,
        whole: RunStore,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        from mer.training import supervised

        save = supervised._State.save

        def save_and_stop(self: Any, path: Path) -> None:
            save(self, path)
            if self.epoch == 3:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(supervised._State, "save", save_and_stop)
            with pytest.raises(KeyboardInterrupt):
                execute([spec], corpus, runs)
        self.check_resumes(spec, corpus, runs, whole)

    def test_by_a_kill(
        self, spec: RunSpec, corpus: Corpus, emopia_folder: Path, runs: RunStore, whole: RunStore
    ) -> None:
        program = """
            from mer.training import supervised

            save = supervised._State.save

            def save_and_die(self, path):
                save(self, path)
                if self.epoch == 3:
                    die()

            supervised._State.save = save_and_die
            t.execute(t.planned(corpus, [t.LSTM], "split_cls")[:1], corpus, store)
        """
        run_until_killed(program, emopia_folder, runs)
        self.check_resumes(spec, corpus, runs, whole)


class TestCluster:
    @pytest.mark.slow
    def test_gives_the_same(
        self, corpus: Corpus, runs: RunStore, tmp_path: Path, scheduler: str
    ) -> None:
        from dask.distributed import Client

        specs = planned(corpus, ["Constant", "Symbolic-LR", LSTM], "split_cls")
        alone = RunStore(tmp_path / "alone")
        execute(specs, corpus, alone)
        with Client(scheduler) as client:
            client.wait_for_workers(2, timeout=60)
        assert execute(specs, corpus, runs, n_jobs=None, cluster=scheduler) == 4
        check_same_predictions(alone, runs, specs)
        assert execute(specs, corpus, runs, cluster=scheduler) == 0

    @pytest.mark.parametrize(
        "address", ["ftp://nowhere:1", "nowhere", "tls://127.0.0.1:9", "tcp://127.0.0.1:9"]
    )
    def test_no_scheduler_there(
        self, corpus: Corpus, runs: RunStore, address: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cluster, "_SCHEDULER_SECONDS", 1)
        with pytest.raises(ParameterError, match=f"no dask scheduler answers at '{address}': ."):
            execute(planned(corpus, ["Constant"]), corpus, runs, cluster=address)

    def test_something_else_that_is_silent(
        self, corpus: Corpus, runs: RunStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cluster, "_SCHEDULER_SECONDS", 1)
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
            with pytest.raises(ParameterError, match=f"answers at '{address}': nothing came back"):
                execute(planned(corpus, ["Constant"]), corpus, runs, cluster=address)


class TestStoredStudy:
    @pytest.fixture
    def study(self, corpus: Corpus, runs: RunStore) -> Study:
        card = {"fingerprint": corpus.fingerprint, "splits": {"split_cls": {"folds": 1}}}
        runs.write_card("emopia", card)
        settings = Settings(
            profile="cpu", compute=False, tasks=["4Q", "A"], systems=["Constant", "Song-lookup"]
        )
        return Study(settings, store=runs)

    def test_shows_what_is_stored(self, corpus: Corpus, study: Study) -> None:
        specs = study.specs({name: ROWS[name] for name in ("Constant", "Symbolic-LR")})
        found = [(spec.system, spec.task) for spec in specs]
        assert found == [("Constant", "4Q"), ("Constant", "A")]
        execute(specs, corpus, study.store)
        predictions = study.run(specs).predictions
        assert predictions["id"].tolist() == PARTS["test"] * 2
        assert predictions.loc[predictions["task"] == "A", "target"].tolist() == [2, 2, 1, 1]
        np.testing.assert_array_equal(predictions["answer"], 1)

    def test_says_what_is_not_stored(self, corpus: Corpus, study: Study) -> None:
        rows = {name: ROWS[name] for name in ("Constant", "Song-lookup")}
        specs = study.specs(rows, tasks=["4Q"])
        with pytest.raises(MissingDataError, match=r"none of 2 runs is stored, .*Constant, 4Q"):
            study.run(specs)
        execute(specs[:1], corpus, study.store)
        results = study.run(specs)
        assert results.missing == specs[1:]
        assert results.missing_text == "- Song-lookup (official split: 4Q): **was not run**."

    def test_nothing_left_to_run(self, study: Study) -> None:
        with pytest.raises(ParameterError, match="nothing to run: none of systems"):
            study.run(study.specs({"Symbolic-LR": ROWS["Symbolic-LR"]}))

    def test_a_later_table_without_the_chosen_rows(
        self, corpus: Corpus, study: Study, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rows = {"Constant": ROWS["Constant"]}
        execute(study.specs(rows), corpus, study.store)
        study.run(Table("1", "First", rows, tasks=("4Q", "A")))
        assert capsys.readouterr().out == ""
        later = Table("2", "Second", {"Symbolic-LR": ROWS["Symbolic-LR"]})
        for one in (study, study.on("emopia")):
            empty = one.run(later)
            assert capsys.readouterr().out == (
                "Nothing to show here: none of systems ['Constant', 'Song-lookup'] and tasks "
                "['4Q', 'A'] belongs to Table 2, second.\n"
            )
            assert (len(empty.predictions), len(empty.scores), empty.missing) == (0, 0, [])
            (text,) = empty.plot().axes[0].texts
            assert text.get_text() == "Nothing to show: none of these rows was run."


def level(fitted: Any, spec: RunSpec, corpus: Corpus, fold: Any) -> float:
    """Share of the commonest class that a constant answers with."""
    return float(fitted.predict(corpus.select(fold.test)).iloc[0, 1:].max())


def test_systems_are_fitted_once_and_asked_again(
    corpus: Corpus, runs: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = planned(corpus, ["Constant"])
    values = executor.inspect_fitted(specs, corpus, runs, level, n_jobs=1)
    assert len(values) == 3
    assert not runs.missing(specs)
    monkeypatch.setattr(executor, "fit", None)
    assert executor.inspect_fitted(specs, corpus, runs, level, n_jobs=1) == values
