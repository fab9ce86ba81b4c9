"""Training from a queue until a deadline."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mer.clips import Corpus
from mer.corpora import load
from mer.errors import InvalidDataError
from mer.papers import emopia, runs
from mer.papers.zhao2023 import tables as zhao2023
from mer.study.executor import run
from mer.study.profiles import get_profile
from mer.study.queue import Plan, Progress, expected_hours, in_order, work_off
from mer.study.specs import RunSpec, plan
from mer.study.store import RunStore
from mer.systems.base import Context, Fitted, System
from mer.systems.labels import Constant

PROFILE = "smoke"


@dataclass(frozen=True, kw_only=True)
class Slow(Constant):
    """A constant that takes its time."""

    seconds: float = 30.0

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> Any:
        time.sleep(self.seconds)
        return super().fit(train, valid, context)


@dataclass(frozen=True, kw_only=True)
class Hungry(Constant):
    """A constant that has no memory where its file says so."""

    file: str = ""

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> Any:
        if Path(self.file).exists():
            raise MemoryError
        return super().fit(train, valid, context)


@dataclass(frozen=True, kw_only=True)
class Broken(System):
    """A system that cannot be fitted."""

    seeded: ClassVar[bool] = False
    inputs: ClassVar[str] = "labels"

    @property
    def revisions(self) -> dict[str, int]:
        return {}

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> Fitted:
        raise InvalidDataError("no clip is good enough")


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load("composed", **get_profile(PROFILE).corpus_options["composed"])


def specs_of(corpus: Corpus, seeds: Any = (0,), **rows: System) -> list[RunSpec]:
    place: dict[str, Any] = {"corpus": "composed", "fingerprint": corpus.fingerprint}
    return plan(rows, ["4Q"], split="official", folds=[0], seeds=list(seeds), **place)


def work(specs: list[RunSpec], store: RunStore, seconds: float, n_jobs: int = 2) -> Any:
    said: list[str] = []
    deadline = time.monotonic() + seconds
    progress = work_off(specs, store, PROFILE, deadline=deadline, n_jobs=n_jobs, say=said.append)
    return progress, said


def test_the_first_seed_of_all_comes_before_the_second_of_any(corpus: Corpus) -> None:
    network = emopia.SYMBOLIC["LSTM-Attn + MIDI-like"]
    specs = specs_of(corpus, (0, 1), first=network, second=network, third=Constant())
    found = [(spec.system, spec.seed) for spec in in_order([*specs, *specs])]
    assert found == [("first", 0), ("second", 0), ("third", 0), ("first", 1), ("second", 1)]


def test_runs_are_stored_as_a_study_would_store_them(corpus: Corpus, tmp_path: Path) -> None:
    rows = {"constant": Constant(), "lr": emopia.SYMBOLIC["Symbolic-LR"]}
    specs, store = specs_of(corpus, **rows), RunStore(tmp_path)
    progress, said = work(specs, store, 60)
    assert progress == Progress(done=2, waiting=0)
    assert said[0].startswith("features of 30 of 30 clips")
    assert "none waits" in said[-1]
    fold = corpus.split("official").folds[0]
    for spec in specs:
        assert store.read(spec).predictions.equals(run(spec, corpus, fold).predictions)
    assert work(specs, store, 60) == (Progress(), [])


def test_ends_in_time_and_goes_on_later(corpus: Corpus, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    specs = specs_of(corpus, quick=Slow(seconds=0), slow=Slow(), late=Slow(seconds=0.1))
    began = time.monotonic()
    progress, _ = work(specs, store, 20, n_jobs=1)
    assert time.monotonic() - began < 24
    assert progress == Progress(done=1, waiting=2)
    assert [spec.system for spec in specs if spec in store] == ["quick"]
    progress, _ = work([specs[0], specs[2]], store, 60, n_jobs=1)
    assert progress == Progress(done=1)


def test_no_time_is_left(corpus: Corpus, tmp_path: Path) -> None:
    progress, _ = work(specs_of(corpus, constant=Constant()), RunStore(tmp_path), 0)
    assert progress == Progress(waiting=1)


def test_out_of_memory_puts_the_run_back(corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / "full"
    file.touch()
    rows: dict[str, System] = {"hungry": Hungry(file=str(file)), "slow": Slow(seconds=4)}
    store, said = RunStore(tmp_path / "store"), list[str]()

    def say(line: str) -> None:
        said.append(line)
        if "put back" in line:
            file.unlink()

    progress = work_off(
        specs_of(corpus, **rows),
        store,
        PROFILE,
        deadline=time.monotonic() + 60,
        n_jobs=2,
        say=say,
    )
    assert progress == Progress(done=2)
    back = next(line for line in said if "put back" in line)
    assert back.endswith("out of memory; it is put back, processes: 1")


def test_out_of_memory_alone_is_a_failure(corpus: Corpus, tmp_path: Path) -> None:
    specs = specs_of(corpus, hungry=Hungry(file=str(tmp_path)), constant=Constant())
    progress, _ = work(specs, RunStore(tmp_path / "store"), 60, n_jobs=1)
    assert progress.done == 1
    assert progress.failed == [f"{specs[0].label}: out of memory"]


def test_a_run_that_fails_does_not_stop_the_others(corpus: Corpus, tmp_path: Path) -> None:
    specs, store = specs_of(corpus, broken=Broken(), constant=Constant()), RunStore(tmp_path)
    progress, _ = work(specs, store, 60, n_jobs=1)
    assert progress.done == 1
    assert progress.failed == [f"{specs[0].label}: no clip is good enough"]
    assert specs[1] in store


def test_a_plan_notes_what_pages_run_and_computes_nothing(monkeypatch: Any) -> None:
    monkeypatch.setattr("mer.study.study.execute", lambda *_: pytest.fail("computed"))
    specs = runs.planned({"profile": "smoke", "tasks": ["4Q"]})
    names = {spec.system for spec in specs}
    assert {*emopia.BASELINES.all_rows, *zhao2023.TABLE_III.all_rows, "SVR", "SSSL"} <= names
    assert isinstance(Plan({"profile": "smoke"}).on("composed"), Plan)


def test_hours_grow_with_epochs_and_parameters(corpus: Corpus, tmp_path: Path) -> None:
    network = emopia.SYMBOLIC["LSTM-Attn + MIDI-like"]
    here, there = (
        specs_of(corpus, a=network.configured({"epochs": n}), b=Constant()) for n in (10, 40)
    )
    details = {"wall_seconds": 90.0}
    known = {"a": replace_details(here[0], details)}
    assert expected_hours(there, known, {"a": 0.5}) == (pytest.approx(90 * 4 / 0.5 / 3600), 1)


def replace_details(spec: RunSpec, details: dict[str, Any]) -> Any:
    """A run of that specification with these details."""
    import pandas as pd

    from mer.study.store import Run

    return Run(spec, pd.DataFrame(), [], details)


def test_what_another_call_stores_meanwhile_is_left_out(corpus: Corpus, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    specs = specs_of(corpus, slow=Slow(seconds=3), late=Constant())
    fold = corpus.split("official").folds[0]

    def say(line: str) -> None:
        if line.startswith("features"):
            store.write(run(specs[1], corpus, fold))

    deadline = time.monotonic() + 60
    progress = work_off(specs, store, PROFILE, deadline=deadline, n_jobs=1, say=say)
    assert progress == Progress(done=1)
