"""What pages show of predictions: confusions, labels of songs, implied answers, sentences."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import class_predictions
from matplotlib.figure import Figure

from mer.errors import ParameterError
from mer.papers import audit, emopia
from mer.papers.emopia import summaries
from mer.study import cards
from mer.study.claims import Claim, Comparison
from mer.study.results import Results
from mer.study.settings import Settings
from mer.study.store import Run, RunStore
from mer.study.study import Study
from mer.study.tables import task_table
from mer.study.verdicts import claim_table, judged_claims

RIGHT = {"Symbolic-SVM": 24, "Constant": 6}


def results(folder: Path, rows: Mapping[str, int], tasks: Sequence[str] = ("4Q",)) -> Results:
    """Some rows on 24 clips of 12 songs: one answers a number of them rightly, the rest with 1."""
    frames = []
    for task, (row, n) in product(tasks, rows.items()):
        target = np.asarray(([1, 2, 3, 4] if task == "4Q" else [2, 2, 1, 1]) * 6)
        answer = np.where(np.arange(24) < n, target, 1) if n > 6 else np.ones(24, int)
        frames.append(class_predictions(row, target, answer, task=task))
    study = Study(Settings(profile="smoke"), store=RunStore(folder))
    found = Results(study, [], [], [emopia.BASELINES], "official split")
    found.__dict__["predictions"] = pd.concat(frames, ignore_index=True)
    return found


def texts(figure: Figure, axis: int) -> list[str]:
    return [text.get_text() for text in figure.axes[axis].texts]


def test_confusions_are_percent_of_each_label(tmp_path: Path) -> None:
    figure = results(tmp_path, RIGHT).confusions(["Symbolic-SVM", "Constant", "Audio-SVM"])
    assert [axis.get_title() for axis in figure.axes] == ["Symbolic-SVM", "Constant"]
    identity = np.where(np.eye(4, dtype=bool), "100", "0")
    assert texts(figure, 0) == identity.ravel().tolist()
    assert texts(figure, 1) == ["100", "0", "0", "0"] * 4


def test_where_a_row_stands(tmp_path: Path) -> None:
    found = results(tmp_path, RIGHT)
    assert found.standing("Constant") == (
        "On 24 test clips Constant has an accuracy of .250 [.125, .375] (4Q). Of the 1 other "
        "systems, 1 have a higher mean: Symbolic-SVM. "
    )
    assert found.standing("Audio-SVM") == ""
    assert found.spread().startswith("The 2 rows lie within .750 of each other; on 24 test clips")


def test_implied_answers_stand_beside_those_of_own_models(tmp_path: Path) -> None:
    found = results(tmp_path, {"Symbolic-SVM": 24, "Symbolic-LR": 12}, ("4Q", "A", "V"))
    both = summaries.implied_scores(found)
    table = summaries.implied_table(both)
    assert list(table.index) == ["Symbolic-SVM", "Symbolic-LR"]
    assert list(table["A"]) == ["published", "own model", "implied"]
    assert table.loc["Symbolic-LR", ("A", "implied")] == 0.75
    assert summaries.implied_summary(both).startswith("A separate model is better in ")
    assert summaries.implied_scores(results(tmp_path, RIGHT)).empty


class TestAudit:
    def test_songs_pair_their_different_clips(self) -> None:
        labels = pd.DataFrame({"group": ["a", "a", "a", "b"], "target": [1, 1, 2, 3]})
        figure = audit.disagreement_figure(labels, "4Q")
        # Pairs in song a: Q1 with Q1 twice, Q1 with Q2 twice, Q2 with Q1 twice; song b has no pair.
        assert texts(figure, 1) == ["50", "50", "0", "0", "100", "0", "0", "0", *["0"] * 8]
        assert texts(figure, 0) == ["1", "0", "1"]
        assert audit.disagreement_summary("cv", labels) == (
            "Over the 4 test clips of cv: 1 of 2 songs have more than one label. One answer for "
            "each song can reach .750 at most."
        )

    def test_binary_labels_are_named_low_and_high(self) -> None:
        labels = pd.DataFrame({"group": ["a", "a"], "target": [1, 2]})
        panel = audit.disagreement_figure(labels, "A").axes[1]
        assert [label.get_text() for label in panel.get_xticklabels()] == ["low", "high"]

    def test_interval_of_a_published_accuracy(self) -> None:
        assert audit.half_width(0.684, 86) == pytest.approx(0.0983, abs=1e-4)
        assert audit.half_width(0.684, 4 * 86) == pytest.approx(0.0983 / 2, abs=1e-4)
        assert audit.published_gains() == pytest.approx({"zhu2023": 0.024, "zhao2023": 0.008})


def test_clips_of_each_quadrant() -> None:
    card = {"counts": {f"Q{k}": k for k in (1, 2, 3, 4)}}
    assert texts(cards.label_figure(card), 0) == ["1", "2", "3", "4"]


def test_rows_that_are_made_of_others_stand_below_those_of_the_table(
    tmp_path: Path, shown: list[Any]
) -> None:
    results(tmp_path, {**RIGHT, "Late average": 12}).show(("4Q",))
    scores, about = shown
    assert list(scores.data.index) == [*emopia.BASELINES.order, "Late average"]
    assert scores.data.loc["Late average", ("Four quadrants", "here")].startswith(".")
    assert about.data.startswith('<details class="fold"><summary>Seeds, sound')
    assert "Late average" in about.data


def test_rows_say_which_they_are() -> None:
    message = "^unknown row 'Symbolic'; the rows are: Symbolic-SVM; Audio-SVM; Symbolic.Audio-SVM$"
    with pytest.raises(ParameterError, match=message):
        emopia.SVM["Symbolic"]
    for rows in (emopia.BASELINES.rows, emopia.BASELINES.own_rows, emopia.BASELINES.all_rows):
        with pytest.raises(ParameterError, match=r"^unknown row 'X'; the rows are: "):
            rows["X"]
        assert rows.get("X") is None


def test_own_row_that_is_no_system() -> None:
    with pytest.raises(ParameterError, match="row 'Mine' is 3; expected a system"):
        emopia.PLAIN.with_rows({"Mine": 3})  # type: ignore[dict-item]


@pytest.mark.parametrize("name", [1, "a\udcff"])
def test_names_of_own_rows_are_text(name: Any) -> None:
    with pytest.raises(ParameterError, match=r"^the name of a row is .*; expected text"):
        emopia.PLAIN.with_rows({name: emopia.SVM["Audio-SVM"]})


_DEVIATIONS = """
print("After a row of one's own:", *results.deviations().data.index.unique())
"""


def test_snippet_of_the_readme(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (snippet,) = [part for part in text.split("```python\n") if "try_rows" in part]
    code = snippet.partition("```")[0] + _DEVIATIONS
    (tmp_path / "snippet.py").write_text(code, encoding="utf-8")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_config.yml").touch()
    command = [sys.executable, "snippet.py"]
    environment = {**os.environ, "MER_PROJECT": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "\nAfter a row of one's own:\n" in done.stdout
    for row in ("Constant", "Symbolic-LR", "Audio-LR", "Register"):
        assert re.search(rf"\n\d +{row} +0\.\d+ +0\.\d+ +[01]\.\d+", done.stdout)


class TestPublishedSize:
    LSTM = "LSTM-Attn + MIDI-like"

    @pytest.fixture
    def study(self, tmp_path: Path) -> Study:
        """Two rows at the sizes of profile cpu, all seeds, and one seed of published size."""
        store = RunStore(tmp_path)
        split = {"folds": 1, "leaky": False}
        store.write_card("emopia", {"fingerprint": "f", "splits": {"split_cls": split}})
        own = Study(Settings(profile="cpu", compute=False, tasks=["4Q"]), store=store)
        rows = {name: emopia.BASELINES.all_rows[name] for name in (self.LSTM, "Symbolic-SVM")}
        paper = [s for s in own.at_published_size.specs(rows) if s.seed == 0]
        target = np.asarray([1, 2, 3, 4] * 6)
        for spec in {spec.key: spec for spec in [*own.specs(rows), *paper]}.values():
            n = 12 if spec.parameters.get("embedding") == 300 else 24
            answer = np.where(np.arange(24) < n, target, 1)
            frame = class_predictions(spec.system, target, answer, task="4Q")
            kept = [c for c in frame if c in ("id", "group", "target") or str(c).startswith("p_")]
            details = {"audio": "none", "clips": {"test": 24}}
            store.write(Run(spec, frame[kept], [], details))
        return own

    def test_seeds_that_are_stored_are_shown_first(self, study: Study, capsys: Any) -> None:
        found = study.run(emopia.BASELINES)
        larger = found.at_published_size
        assert larger is not None
        assert {(s.system, s.seed) for s in larger.specs} == {(self.LSTM, 0), ("Symbolic-SVM", 0)}
        assert larger.place == "official split, published size"
        assert larger.at_published_size is None
        table = task_table(found.answers, "4Q", found.order, {}, at_published_size=larger.answers)
        assert list(table)[:2] == ["at published size", "here"]
        row = table.loc[self.LSTM]
        assert row["at published size"].startswith(".625")
        assert row["here"].startswith("1.000")
        assert table.loc["Constant", "at published size"] == "–"

    def test_claims_are_judged_there_too(self, study: Study) -> None:
        claim = Claim("It is better", None, (Comparison("Symbolic-SVM", self.LSTM),))
        other = Claim("It is best", None, (Comparison("Audio-SVM", self.LSTM),))
        found = study.run(emopia.BASELINES)
        table = claim_table(judged_claims([claim, other], found)).set_index("place")
        assert list(table.index) == ["official split, published size", "official split"]
        grades = {str(place): str(text) for place, text in table["runs"].items()}
        assert "of the published parameters" not in grades["official split, published size"]
        assert "of the published parameters" in grades["official split"]

    def test_nothing_is_stored_of_it(self, study: Study) -> None:
        plain = study.specs({"Symbolic-SVM": emopia.SVM["Symbolic-SVM"]})
        assert study.run(plain).at_published_size is None
