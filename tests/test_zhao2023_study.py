"""Study of Zhao and Yoshii: rows and claims, tables with holes, the leak, the attention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mer.clips import Corpus
from mer.papers.published import published
from mer.papers.zhao2023 import attention
from mer.papers.zhao2023 import tables as paper
from mer.papers.zhao2023.attention import EXAMPLE, NOTHING, TEST, Attention
from mer.papers.zhao2023.systems import FACTORS
from mer.study.results import Results
from mer.study.settings import Settings
from mer.study.store import RunStore
from mer.study.study import Study
from mer.study.tables import KNOWN_ROWS, Table

N = 40
TARGET = np.arange(N) % 4 + 1
TABLES = (paper.TABLE_I, paper.TABLE_II, paper.TABLE_III)
CLAIMS = (*paper.COMPARISON_CLAIMS, *paper.ABLATION_CLAIMS)
QUESTIONS = (*paper.COMPARISON_QUESTIONS, *paper.LEAK_QUESTIONS, *paper.ABLATION_QUESTIONS)


def predicted(system: str, right: float) -> pd.DataFrame:
    answer = np.where(np.arange(N) < right * N, TARGET, TARGET % 4 + 1)
    return pd.DataFrame(
        {
            **{"system": system, "task": "4Q", "split": "s", "fold": 0, "seed": 0},
            "id": [f"clip {k}" for k in range(N)],
            "group": [f"song {k // 2}" for k in range(N)],
            **{"target": TARGET, "answer": answer, "correct": answer == TARGET},
        }
    )


@pytest.fixture
def study(tiny: Corpus, tmp_path: Path) -> Callable[..., Study]:
    """A study of the tiny EMOPIA that stores in a folder of the test."""

    def make(profile: Any = "smoke", **changes: Any) -> Study:
        settings = Settings(profile=profile, corpus="emopia", n_jobs=1, **changes)
        found = Study(settings, store=RunStore(tmp_path))
        splits = {"split_cls": 1, "split_midibert": 1, "cv10": 10}
        cards = {
            name: {
                **{"folds": folds, "leaky": name == "split_midibert"},
                **{"test_clips_with_sibling_in_train": 4, "clips": {"test": 4}},
            }
            for name, folds in splits.items()
        }
        card = {"fingerprint": tiny.fingerprint, "splits": cards}
        found.__dict__.update(corpus=tiny, card=card)
        return found

    return make


class TestRows:
    def test_all_published_cells_have_a_row(self) -> None:
        cells = {**paper.PUBLISHED, **paper.PUBLISHED_ON_LEAKY}
        assert cells[paper.PROPOSED, "V", "accuracy"] == 0.869
        assert cells["QM-MidiBERT", "4Q", "accuracy"] == 0.719
        assert cells[paper.WITHOUT_ATTENTION, "A", "accuracy"] == 0.858
        assert len(cells) == 18 + 3 + 12
        for table in TABLES:
            assert len(table.rows) == published("zhao2023", table.number)["row"].nunique()
            assert all((row, "4Q", "accuracy") in cells for row in table.rows)

    @pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.text)
    def test_claims_are_those_of_the_published_values(self, claim: Any) -> None:
        cells = {**paper.PUBLISHED, **paper.PUBLISHED_ON_LEAKY}
        for comparison in claim.comparisons:
            better, worse = (
                cells[row, comparison.task, "accuracy"]
                for row in (comparison.better, comparison.worse)
            )
            if comparison.margin is None:
                assert better > worse
            else:
                assert abs(better - worse) <= comparison.margin

    def test_questions_are_about_rows(self) -> None:
        pairs = [c for question in QUESTIONS for c in question.comparisons]
        assert {name for c in pairs for name in (c.better, c.worse)} <= set(KNOWN_ROWS)


class TestLeak:
    def test_what_a_leak_is_worth(self) -> None:
        official = {"Constant": 0.2, "Song-lookup": 0.2, "MidiBERT": 0.4}
        leaky = {"Constant": 0.2, "Song-lookup": 0.8, "MidiBERT": 1.0, "not run on both": 0.5}
        same, other = (
            pd.concat([predicted(name, right) for name, right in rows.items()])
            for rows in (official, leaky)
        )
        table = paper.leak_table(same, other, {("MidiBERT", "4Q", "accuracy"): 0.634})
        assert table["system"].tolist() == [*official]
        rows = table.set_index("system").to_dict("index")
        assert rows["MidiBERT"]["difference"] == pytest.approx(0.6)
        assert 0.3 < rows["MidiBERT"]["low"] < 0.6 < rows["MidiBERT"]["high"] < 0.9
        assert rows["Constant"]["low"] < 0 < rows["Constant"]["high"]
        assert paper.leak_text(table).loc["MidiBERT", "published"] == ".634"
        assert "published" not in paper.leak_text(table.iloc[:2])
        assert paper.leak_gains(table.iloc[:2]) == paper.leak_gains(table.iloc[:0]) == ""
        text = paper.leak_gains(table)
        assert "(1) gain +.600 on average on the leaky split" in text
        assert "the interval lies above 0 for MidiBERT." in text
        assert "Song-lookup has .800 there; above it: MidiBERT." in text
        assert text.endswith("Published values of language models below it: MidiBERT .634.")

    def test_the_same_systems_with_and_without_leak(self, study: Callable[..., Study]) -> None:
        own = study(systems=["Constant", "Song-lookup"])
        assert paper.leaky_split(own) == "split_midibert"
        leaky, same = paper.run_leaky(own), paper.run(own, paper.LEAK)
        assert leaky is not None
        assert leaky.place == "leaky split"
        assert set(leaky.predictions["split"]) == {"split_midibert"}
        table: Any = paper.leak_table(same.predictions, leaky.predictions, {})
        assert table.set_index("system").loc["Song-lookup", "leaky"] == 1.0
        expected = "On the split of MIDI-BERT, 4 of 4 test clips have a sibling in training."
        assert paper.leak_summary(own, table) == expected

    def test_a_corpus_without_leak(self, study: Callable[..., Study]) -> None:
        own = study()
        own.__dict__["card"] = {"splits": {"official": {"leaky": False, "folds": 1}}}
        assert paper.run_leaky(own) is None
        assert paper.leak_summary(own, None) == "No split of EMOPIA leaks songs."


class TestRuns:
    def planned(
        self, own: Study, table: Table, split: str, monkeypatch: pytest.MonkeyPatch
    ) -> set[tuple[str, str, int]]:
        """System, task and fold of what a table wants."""
        monkeypatch.setattr(own, "_possible", lambda planned: planned)
        found = paper.run(own, table, split=split)
        return {(spec.system, spec.task, spec.fold) for spec in found.planned}

    def test_small_profiles_leave_out(
        self, study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = study(compute=False)
        cv = self.planned(own, paper.ABLATED_IN_CV, "cv", monkeypatch)
        assert cv == {(row, "4Q", 0) for row in paper.ABLATED_IN_CV.rows}
        official = self.planned(own, paper.TABLE_I, "single", monkeypatch)
        assert {task for row, task, _ in official if row == paper.PROPOSED} == {"4Q"}
        assert {task for row, task, _ in official if row == "Audio-LR"} == {"4Q", "A", "V"}

    def test_other_profiles_do_not(
        self, study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = study("cpu", compute=False, tasks=["V", "4Q"])
        assert paper.shown_tasks(own) == ("V", "4Q")
        cv = self.planned(own, paper.ABLATED_IN_CV, "cv", monkeypatch)
        assert len(cv) == 5 * 2 * 10

    def test_language_models_are_run_on_four_quadrants_whatever_the_tasks(
        self, tmp_path: Path
    ) -> None:
        changes: dict[str, Any] = {"tasks": ["V"], "systems": ["Symbolic-SVM"], "n_jobs": 1}
        own = Study(Settings(profile="smoke", **changes), store=RunStore(tmp_path))
        assert paper.run(own, paper.TABLE_II).tasks == ["4Q"]

    def test_missing_encoders_say_which_command_makes_them(
        self, study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("midibert", "tables"):
            known = f"mer.papers.zhao2023.{module}.is_registered"
            monkeypatch.setattr(known, lambda name: name == "midibert-small")
        own = study(systems=["MidiBERT", "QM-MidiBERT", "MidiBERT, no pre-training"])
        planned = own.specs(paper.LANGUAGE_MODELS, tasks=["4Q"])
        results = Results(own, planned, own._possible(planned), [paper.TABLE_II], "official split")
        assert results.missing_text == (
            "- QM-MidiBERT (official split: 4Q): **was not run**; first train the encoder with "
            "`mer train qm-midibert-small`."
        )
        systems = own.sized(paper.LANGUAGE_MODELS).values()
        assert paper.encoder_table(systems).index.tolist() == ["midibert-small"]


def made_up(weight_of: Any, change_of: Any, *, n: int = 24, seeds: int = 2) -> Attention:
    """Attention and answers as two functions of seed, clip number and factor number say."""
    weights, answers = [], []
    for seed, k in np.ndindex(seeds, n):
        part = EXAMPLE if k >= n - 2 else TEST
        clip = {"seed": seed, "part": part, "id": f"c{k:02d}", "group": f"s{k // 2}"}
        clip |= {"quadrant": k % 4 + 1, "label": 1}
        own = {factor: weight_of(seed, k, f) for f, factor in enumerate(FACTORS)}
        weights += [{**clip, "head": h, "from": s, **own} for h in (1, 2) for s in FACTORS]
        moves: dict[str, float] = {NOTHING: 0.0}
        moves |= {factor: change_of(seed, k, f) for f, factor in enumerate(FACTORS)}
        answers += [{**clip, "removed": name, "p_1": 0.6 - move} for name, move in moves.items()]
    frame = pd.DataFrame(answers)
    return Attention("4Q", pd.DataFrame(weights), frame.assign(p_2=1 - frame["p_1"]))


def leaning(seed: int, k: int, number: int) -> float:
    """Attention that leans to the first factor, more in later clips."""
    lean = 0.2 + 0.01 * k
    return 1 / 3 + (lean if number == 0 else -lean / 2)


class TestAttention:
    def test_uniform_weights_are_no_distance_away(self) -> None:
        found = made_up(lambda *_: 1 / 3, lambda *_: 0.1)
        assert attention.distances(found)["mean"].to_numpy() == pytest.approx([0, 0])
        table = attention.by_quadrant(found)
        assert table["quadrant"].unique().tolist() == [0, 1, 2, 3, 4]
        assert table["mean"].to_numpy() == pytest.approx(1 / 3)
        assert attention.rank_correlation(found, n_resamples=20).mean == 0

    def test_means_by_head_and_pair(self) -> None:
        found = made_up(leaning, lambda *_: 0.1).part(TEST)
        expected = np.mean([[leaning(0, k, f) for f in range(3)] for k in range(22)], axis=0)
        for by in (["seed", "head"], ["from"]):
            table = attention.mean_attention(found, by)
            assert list(table) == list(FACTORS)
            np.testing.assert_allclose(table, np.broadcast_to(expected, table.shape))
        apart = attention.distances(found).set_index("kind")["mean"]
        assert apart["from uniform"] == pytest.approx(0.2 + 0.01 * 10.5)
        assert 0 < apart["from the model's mean"] < 0.1

    @pytest.mark.parametrize(("sign", "direction"), [(1, "supported"), (-1, "contradicted")])
    def test_questions(self, sign: int, direction: str) -> None:
        def change(seed: int, k: int, number: int) -> float:
            return 0.2 + sign * (leaning(seed, k, number) - 1 / 3) / 3

        found = made_up(leaning, change)
        judged: Any = attention.judge_questions([found])
        assert judged["direction"].tolist() == [direction, direction]
        assert judged.loc[1, "difference"] == pytest.approx(sign)
        assert judged["n"].tolist() == [22, 22]
        text: Any = attention.importance_text(found)
        assert text.loc["symbolic", "most attention in"] == "100%"

    def test_answers_without_a_factor(self) -> None:
        found = made_up(leaning, lambda seed, k, number: 0.3 if number == 2 else 0.05)
        frame = attention.changes(found.part(TEST))
        assert len(frame) == 2 * 22 * 3
        by_factor: Any = frame.groupby("factor")[["change", "other", "right"]].mean()
        assert by_factor.loc["tone color"].tolist() == pytest.approx([0.3, 1, 0])
        assert by_factor.loc["harmony"].tolist() == pytest.approx([0.05, 0, 1])
        own = frame[(frame["factor"] == "symbolic") & (frame["id"] == "c03")]
        assert own["attention"].to_numpy() == pytest.approx(leaning(0, 3, 0))
        text: Any = attention.importance_text(found)["accuracy without it"]
        assert text.tolist() == ["1.000", "1.000", ".000", "1.000"]
        summary = attention.attention_summary([found])
        assert "the symbolic factor gets most attention" in summary
        assert (
            "Without the tone color factor the predictions change most: 100% of the clips"
            in summary
        )


@pytest.mark.realdata
def test_official_clips_in_cross_validation() -> None:
    own = Study(Settings(profile="cpu", compute=False))
    official, cv = paper.run(own, paper.TABLE_I), paper.run(own, paper.COMPARED_IN_CV, split="cv")
    table = paper.official_in_cv(official, cv)
    frame = cv.predictions[cv.predictions["system"] == "Symbolic-SVM"]
    frame = frame[frame["task"] == "4Q"]
    clips = frame["id"].isin(official.predictions["id"])
    row = table.loc["Symbolic-SVM"]
    assert clips.sum() == 86
    assert row["same"] == pytest.approx(frame.loc[clips, "correct"].mean())
    assert row["others"] == pytest.approx(frame.loc[~clips, "correct"].mean())
    assert 86 * row["same"] + 992 * row["others"] == pytest.approx(1078 * row["all"])
    assert "Multifaceted has .616 on validation clips, .469" in paper.official_summary(table)
    assert paper.official_summary(table.iloc[:0]) == "Multifaceted was not run on both splits."
