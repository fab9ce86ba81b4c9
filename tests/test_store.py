"""The run store: keys, round trips, damage, kills and a full disk."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rows import ROWS

from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.files import read_json, write_json
from mer.study import store as store_module
from mer.study.results import read_predictions
from mer.study.specs import RunSpec, plan
from mer.study.store import Run, RunStore

SPEC = RunSpec(
    system="LSTM-Attn + REMI",
    task="4Q",
    corpus="emopia",
    split="split_cls",
    fold=0,
    seed=1,
    fingerprint="0" * 64,
    parameters={"epochs": 2, "learning_rate": 0.001, "schedule": "cosine", "c_grid": [0.1, 1.0]},
    revisions={"notes": 1, "tokens": 1},
)


def make_run(spec: RunSpec = SPEC, *, seed: int = 0) -> Run:
    values = np.random.default_rng(seed).dirichlet([1, 1, 1, 1], 5).round(5)
    frame = pd.DataFrame(values, columns=["p_1", "p_2", "p_3", "p_4"])
    frame.insert(0, "id", ["clip 0", "clip 1", "clip 2", "clip 3", "007"])
    frame.insert(1, "group", ["NA", "null", "1", "b,c", "ü"])
    frame.insert(2, "target", [1, 2, 3, 4, 1])
    history = [{"train_loss": 0.5, "valid_accuracy": 0.25}, {"train_loss": 0.25}]
    details = {"metrics": {"accuracy": 0.4}, "clips": {"train": 9, "valid": 3, "test": 5}}
    return Run(spec, frame, history, {**details, "audio": "none"})


def check_only_run(runs: RunStore, seed: int) -> None:
    expected = make_run(seed=seed).predictions
    pd.testing.assert_frame_equal(runs.read(SPEC).predictions, expected, check_dtype=False)
    assert len(list(runs.folder(SPEC).parent.iterdir())) == 1


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


class TestKey:
    def test_reference_value(self) -> None:
        # Stored runs are found by their key: a change here makes all of them useless.
        assert SPEC.key == "eb9f79097b94d58555762fca0e287c9f7aa457b205a93444e4c981afd7d83d1b"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("system", "LSTM-Attn + MIDI-like"),
            ("task", "A"),
            ("corpus", "composed"),
            ("split", "cv10"),
            ("fold", 1),
            ("seed", 0),
            ("fingerprint", "1" * 64),
            ("parameters", {**SPEC.parameters, "epochs": 3}),
            ("parameters", {**SPEC.parameters, "c_grid": [0.1, 2.0]}),
            ("parameters", {**SPEC.parameters, "dropout": 0.5}),
            ("revisions", {"notes": 1, "tokens": 2}),
        ],
    )
    def test_every_field_counts(self, field: str, value: Any) -> None:
        assert dataclasses.replace(SPEC, **{field: value}).key != SPEC.key

    def test_order_of_parameters_does_not_count(self) -> None:
        turned = dict(reversed(SPEC.parameters.items()))
        assert dataclasses.replace(SPEC, parameters=turned).key == SPEC.key


class TestPlan:
    def plan(self, systems: list[str], tasks: list[str]) -> list[RunSpec]:
        place: Any = {"corpus": "emopia", "fingerprint": "0", "split": "cv10"}
        rows = {name: ROWS[name] for name in systems}
        return plan(rows, tasks, folds=range(2), seeds=[0, 1], **place)

    def test_seeds_only_where_they_matter(self) -> None:
        specs = self.plan(["Constant", SPEC.system], ["4Q", "A"])
        found = [(s.system, s.task, s.seed, s.fold) for s in specs if s.task == "A"]
        assert found == [
            *(("Constant", "A", 0, fold) for fold in (0, 1)),
            *((SPEC.system, "A", seed, fold) for seed in (0, 1) for fold in (0, 1)),
        ]
        assert len({spec.key for spec in specs}) == len(specs) == 12

    def test_parameters_are_resolved_and_json_native(self) -> None:
        spec, _ = self.plan(["Symbolic-LR"], ["V"])
        grid = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
        facts = {"features": ["symbolic"], "classifier": "logistic", "c_grid": grid}
        assert spec.parameters == facts
        assert set(spec.revisions) == {"notes", "symbolic"}

    @pytest.mark.parametrize(
        ("task", "message"),
        [("Q", "unknown task 'Q'"), ("VA", "answers with class probabilities, which is not task")],
    )
    def test_tasks_that_cannot_be_run(self, task: str, message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            self.plan(["Constant"], [task])


class TestRoundTrip:
    def test_reads_what_was_written(self, runs: RunStore) -> None:
        run = make_run()
        assert SPEC not in runs
        runs.write(run)
        again = runs.read(SPEC)
        pd.testing.assert_frame_equal(again.predictions, run.predictions, check_dtype=False)
        assert again.spec == SPEC
        assert again.details == run.details
        assert again.history[0] == run.history[0]
        folder = f"runs/emopia/lstm-attn-remi/{SPEC.key[:20]}"
        names = ("history.csv", "predictions.csv", "run.json")
        assert files(runs.root) == [f"{folder}/{name}" for name in names]
        assert runs.folder(SPEC).stat().st_mode & 0o777 == 0o755
        assert sum((runs.folder(SPEC) / name).stat().st_size for name in names) < 3000

    def test_names_of_any_text(self, runs: RunStore) -> None:
        spec = dataclasses.replace(SPEC, system="<b>" + 300 * "ü" + 300 * "x")
        run = make_run(spec)
        run.predictions["id"] = ["a b", 'a"b', "'a", "a;b\t", "<b>$|,"]
        runs.write(run)
        found = runs.read(spec).predictions
        pd.testing.assert_frame_equal(found, run.predictions, check_dtype=False)
        table = runs.table(300 * "x", {}, lambda: run.predictions)
        assert table["id"].tolist() == run.predictions["id"].tolist()

    def test_missing_keeps_the_order(self, runs: RunStore) -> None:
        specs = [dataclasses.replace(SPEC, seed=seed) for seed in range(4)]
        runs.write(make_run(specs[2]))
        assert [spec.seed for spec in runs.missing(specs)] == [0, 1, 3]

    def test_run_that_is_not_stored(self, runs: RunStore) -> None:
        with pytest.raises(
            MissingDataError, match=r"no stored run of LSTM-Attn \+ REMI, 4Q, .*d 1"
        ):
            runs.read(SPEC)

    def test_stored_run_is_not_replaced(self, runs: RunStore) -> None:
        runs.write(make_run(seed=0))
        runs.write(make_run(seed=1))
        check_only_run(runs, seed=0)

    def test_predictions_for_tables(self, runs: RunStore) -> None:
        specs = [dataclasses.replace(SPEC, seed=seed) for seed in (0, 1)]
        for spec in specs:
            runs.write(make_run(spec, seed=spec.seed))
        table = read_predictions(runs, specs)
        assert len(table) == 10
        assert table["seed"].tolist() == [0] * 5 + [1] * 5
        probabilities = table[["p_1", "p_2", "p_3", "p_4"]].to_numpy()
        np.testing.assert_array_equal(table["answer"], probabilities.argmax(axis=1) + 1)
        np.testing.assert_array_equal(table["correct"], table["answer"] == table["target"])


def damage(path: Path, how: str) -> None:
    text = path.read_text()
    changed = {
        "empty": "",
        "cut in a row": text[:-12],
        "cut after a row": text[: text[:-1].rindex("\n") + 1],
        "list": "[1, 2]",
        "string": '"run"',
        "null": "null",
        "other fields": '{"spec": {"system": "x"}}',
        "no spec": "{}",
        "lacks a number": text.replace(",", ",,", 9),
        "text for a number": text.replace("\nclip 0,NA,1,", "\nclip 0,NA,one,"),
        "probability above 1": text.replace("clip 1,null,2,0", "clip 1,null,2,1", 1),
        "deep": "[" * 100_000,
        "other columns": text.replace("group", "song", 1),
        "another digit": text[:-2] + ("3" if text[-2] != "3" else "4") + "\n",
        "added row": text + text[text[:-1].rindex("\n") + 1 :],
    }
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"\xff\x00\x80" if how == "bytes" else changed[how].encode())


class TestDamage:
    CASES = (
        *(("run.json", how) for how in ("empty", "bytes", "cut in a row", "list", "string")),
        *(("run.json", how) for how in ("null", "other fields", "no spec", "deep")),
        *(("predictions.csv", how) for how in ("empty", "bytes", "cut in a row", "missing")),
        *(("predictions.csv", how) for how in ("cut after a row", "lacks a number")),
        *(("predictions.csv", how) for how in ("text for a number", "other columns")),
        ("predictions.csv", "probability above 1"),
        *(("predictions.csv", how) for how in ("another digit", "added row")),
        *(("history.csv", how) for how in ("cut in a row", "another digit", "missing")),
    )

    @pytest.mark.parametrize(("name", "how"), CASES)
    def test_damaged_file_names_the_folder(self, runs: RunStore, name: str, how: str) -> None:
        other = dataclasses.replace(SPEC, seed=2)
        runs.write(make_run())
        runs.write(make_run(other))
        damage(runs.folder(SPEC) / name, how)
        with pytest.raises(InvalidDataError, match=rf"{SPEC.key[:20]} is damaged .*; remove the f"):
            runs.read(SPEC)
        assert runs.read(other).spec == other

    ALTERED = (
        (("spec", "parameters", "epochs"), 3, "run.json was changed"),
        (("metrics", "accuracy"), 0.9, "run.json was changed"),
        (("clips", "train"), 10, "run.json was changed"),
        (("digests", "history.csv"), None, "run.json was changed"),
        (("digests", "predictions.csv"), None, "run.json was changed"),
        (("digests",), None, "run.json was changed"),
        (("digest",), None, "run.json has no digest"),
    )

    @pytest.mark.parametrize(("names", "value", "message"), ALTERED)
    def test_run_json_itself(
        self, runs: RunStore, names: tuple[str, ...], value: Any, message: str
    ) -> None:
        runs.write(make_run())
        alter(runs.folder(SPEC) / "run.json", names, value)
        with pytest.raises(InvalidDataError, match=rf"is damaged \({message}.*; remove the folder"):
            runs.read(SPEC)

    @pytest.mark.parametrize("name", ["history.csv", "predictions.csv"])
    def test_every_file_needs_a_digest(self, runs: RunStore, name: str) -> None:
        runs.write(make_run())
        path = runs.folder(SPEC) / "run.json"
        facts = read_json(path)
        del facts["digests"][name]
        write_json(path, facts)
        with pytest.raises(InvalidDataError, match=rf"no digest of {name} is stored"):
            runs.read(SPEC)

    def test_run_of_another_spec(self, runs: RunStore) -> None:
        other = dataclasses.replace(SPEC, seed=2)
        runs.write(make_run())
        runs.folder(SPEC).rename(runs.folder(other))
        with pytest.raises(InvalidDataError, match=r"is of .*seed 1, not .*seed 2"):
            runs.read(other)

    def test_folder_without_a_run_is_written_again(self, runs: RunStore) -> None:
        runs.write(make_run())
        (runs.folder(SPEC) / "run.json").unlink()
        assert runs.missing([SPEC]) == [SPEC]
        runs.write(make_run())
        assert runs.read(SPEC).spec == SPEC


def alter(path: Path, names: tuple[str, ...], value: Any) -> None:
    """Give a value in JSON another one, or take it away."""
    facts = json.loads(path.read_text())
    part = facts
    for name in names[:-1]:
        part = part[name]
    del part[names[-1]]
    if value is not None:
        part[names[-1]] = value
    path.write_text(json.dumps(facts))


def no_space(*args: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class TestInterruption:
    @pytest.mark.parametrize(
        ("where", "name"),
        [(pd.DataFrame, "to_csv"), (Path, "write_text"), (os, "fsync"), (Path, "rename")],
    )
    def test_full_disk_leaves_nothing(
        self, runs: RunStore, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
    ) -> None:
        other = dataclasses.replace(SPEC, seed=2)
        runs.write(make_run(other))
        before = files(runs.root)
        with monkeypatch.context() as patch:
            patch.setattr(where, name, no_space)
            with pytest.raises(MissingDataError, match=r"cannot store the run in .*No space left"):
                runs.write(make_run())
        assert files(runs.root) == before
        assert runs.read(other).spec == other

    def test_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "results").write_text("a file")
        with pytest.raises(MissingDataError, match=r"cannot store the run in .*Not a directory"):
            RunStore(tmp_path / "results").write(make_run())

    @pytest.mark.parametrize(
        ("where", "name"), [(pd.DataFrame, "to_csv"), (Path, "write_text"), (Path, "rename")]
    )
    def test_kill_leaves_stored_runs_whole(self, runs: RunStore, where: Any, name: str) -> None:
        other = dataclasses.replace(SPEC, seed=2)
        runs.write(make_run(other))

        def end_halfway(path: Any, *args: Any, **options: Any) -> None:
            if name == "write_text":
                path.write_bytes(args[0][:50].encode())
            os._exit(9)

        child = os.fork()
        if not child:
            try:
                setattr(where, name, end_halfway)
                runs.write(make_run())
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        assert SPEC not in runs
        assert runs.read(other).spec == other
        runs.write(make_run())
        assert runs.read(SPEC).spec == SPEC

    def test_another_process_was_faster(
        self, runs: RunStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_files = store_module._write_files

        def slow(run: Run, folder: Path) -> None:
            write_files(run, folder)
            monkeypatch.undo()
            runs.write(make_run(seed=1))

        monkeypatch.setattr(store_module, "_write_files", slow)
        runs.write(make_run(seed=0))
        check_only_run(runs, seed=1)


def test_cards(runs: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingDataError, match="nothing is stored of corpus 'emopia'"):
        runs.read_card("emopia")
    card = {"name": "emopia", "splits": {"cv10": {"folds": 10}}}
    runs.write_card("emopia", card)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", no_space)
        with pytest.raises(MissingDataError, match="No space left"):
            runs.write_card("emopia", {"name": "new"})
    assert runs.read_card("emopia") == card
    path = runs.root / "corpora" / "emopia.json"
    alter(path, ("splits", "cv10", "folds"), 5)
    with pytest.raises(InvalidDataError, match=r"emopia\.json is damaged \(.* was changed since"):
        runs.read_card("emopia")
    path.write_text('{"name": "emo')
    with pytest.raises(InvalidDataError, match=r"emopia\.json is damaged"):
        runs.read_card("emopia")


@pytest.mark.parametrize("how", ["empty", "cut after a row", "another digit", "missing"])
def test_damaged_table_is_not_read(runs: RunStore, how: str) -> None:
    frame = pd.DataFrame({"id": ["a", "b"], "value": [0.1, 0.21]})
    runs.table("songs", {}, lambda: frame)
    (path,) = (runs.root / "tables").glob("*.csv")
    damage(path, how)
    with pytest.raises(InvalidDataError, match=rf"{path.name} is damaged .*; remove it and songs-"):
        runs.table("songs", {}, None)
    path.with_suffix(".json").unlink()
    pd.testing.assert_frame_equal(runs.table("songs", {}, lambda: frame), frame)


def test_folders_with_the_names_of_files(runs: RunStore) -> None:
    card = runs.root / "corpora" / "emopia.json"
    card.mkdir(parents=True)
    message = f"^{card} is a folder; expected a file: rename or remove it$"
    with pytest.raises(InvalidDataError, match=message):
        runs.read_card("emopia")
    with pytest.raises(InvalidDataError, match=message):
        runs.write_card("emopia", {})
    runs.table("t", {}, lambda: pd.DataFrame({"a": [1]}))
    for path in (runs.root / "tables").iterdir():
        path.unlink()
        path.mkdir()
        with pytest.raises(InvalidDataError, match=f"^{path} is a folder; expected a file"):
            runs.table("t", {}, None)
        path.rmdir()


def test_names_in_tables_that_look_like_numbers_stay_names(runs: RunStore) -> None:
    frame = pd.DataFrame({"id": ["007"], "group": ["1e3"], "p_1": [0.5]})
    table = runs.table("songs", {}, lambda: frame)
    assert table.iloc[0].tolist() == ["007", "1e3", 0.5]
