"""Study of Zhao and Yoshii: rows and claims, tables with holes, the leak, the attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mer import weights
from mer.clips import Corpus
from mer.study import factor_attention, factor_figures, factor_importance, zhao2023
from mer.study import zhao2023_tables as tables
from mer.study.claims import NOT_RUN
from mer.study.factor_attention import EXAMPLE, FACTORS, NOTHING, TEST, Attended
from mer.study.figures import WIDTH
from mer.study.parameters import StudyParameters
from mer.study.published import published
from mer.study.runs import Runs
from mer.study.session import Session
from mer.study.sizes import parameter_counts
from mer.study.specs import RunSpec, plan
from mer.study.store import RunStore
from mer.systems import SYSTEMS

N = 40
TARGET = np.arange(N) % 4 + 1
ALL_CLAIMS = (
    *zhao2023.COMPARISON_CLAIMS,
    *zhao2023.COMPARISON_QUESTIONS,
    *zhao2023.LEAK_QUESTIONS,
    *zhao2023.ABLATION_CLAIMS,
    *zhao2023.ABLATION_QUESTIONS,
)


def predicted(system: str, right: float, seeds: int = 1) -> pd.DataFrame:
    answer = np.where(np.arange(N) < right * N, TARGET, TARGET % 4 + 1)
    frame = pd.DataFrame(
        {
            "system": system,
            "task": "4Q",
            "split": "s",
            "fold": 0,
            "audio": "none",
            "id": [f"clip {k}" for k in range(N)],
            "group": [f"song {k // 2}" for k in range(N)],
            "target": TARGET,
            "answer": answer,
            "correct": answer == TARGET,
            **{f"p_{k}": (answer == k).astype(float) for k in (1, 2, 3, 4)},
        }
    )
    return pd.concat([frame.assign(seed=seed) for seed in range(seeds)], ignore_index=True)


def specs_of(*systems: str, **overrides: Any) -> list[RunSpec]:
    return plan(
        systems,
        ["4Q"],
        corpus="c",
        fingerprint="f",
        split="official",
        folds=[0],
        seeds=[0],
        overrides=dict.fromkeys(systems, overrides),
    )


class TestRows:
    def test_all_published_cells_have_a_system(self) -> None:
        cells = zhao2023.published_zhao2023()
        assert {system for system, _ in cells} <= set(SYSTEMS)
        assert cells[zhao2023.PROPOSED, "V"] == 0.869
        assert cells["QM-MidiBERT", "4Q"] == 0.719
        assert cells[zhao2023.WITHOUT_ATTENTION, "A"] == 0.858
        assert len(cells) == 18 + 3 + 12
        for number, rows in zhao2023.PAPER_TABLES.items():
            assert len(rows) == published("zhao2023", number)["row"].nunique()
            assert all((row, "4Q") in cells for row in rows)

    def test_claims_are_those_of_the_published_values(self) -> None:
        cells = zhao2023.published_zhao2023()
        for claim in ALL_CLAIMS:
            for comparison in claim.comparisons:
                assert {comparison.better, comparison.worse} <= set(SYSTEMS)
                if claim.table is None:
                    continue
                better, worse = (
                    comparison.cell(comparison.better),
                    comparison.cell(comparison.worse),
                )
                gain = cells[better[0], better[1]] - cells[worse[0], worse[1]]
                if comparison.margin is None:
                    assert gain > 0, claim.text
                else:
                    assert abs(gain) <= comparison.margin, claim.text


class TestTables:
    def test_rows_that_were_not_run_say_so(self) -> None:
        frame = predicted(zhao2023.PROPOSED, 0.5, seeds=2)
        cells = zhao2023.published_zhao2023()
        table: Any = tables.task_table(frame, cells, "4Q", zhao2023.PAPER_TABLES["II"])
        assert list(table) == ["published", "reproduced", "seeds", "audio"]
        assert table.loc["MidiBERT"].tolist() == [".634", NOT_RUN, "–", "–"]
        assert table.loc[zhao2023.PROPOSED, "reproduced"].startswith(".500 ± .000 [")
        implied: Any = tables.task_table(frame, {}, "A", [zhao2023.PROPOSED])
        assert list(implied) == ["reproduced", "implied by 4Q", "seeds", "audio"]
        assert implied.loc[zhao2023.PROPOSED, "reproduced"] == NOT_RUN
        assert implied.loc[zhao2023.PROPOSED, "implied by 4Q"] != "–"
        nothing = tables.task_table(frame.iloc[:0], {}, "V", [zhao2023.PROPOSED])
        assert nothing["reproduced"].tolist() == [NOT_RUN]

    def test_paired_differences(self) -> None:
        both = pd.concat([predicted(zhao2023.PROPOSED, 0.5), predicted("b", 1.0)])
        pairs: Any = tables.paired(both, "4Q")
        assert pairs.loc["b", "difference"] == pytest.approx(0.5)
        assert pairs.loc["b", "p"] == "< 0.001"
        assert tables.paired(both, "A").empty

    def test_what_a_leak_is_worth(self) -> None:
        names = ("Constant", "Song-lookup", "MidiBERT")
        official = pd.concat([predicted(n, r) for n, r in zip(names, (0.2, 0.2, 0.4), strict=True)])
        leaky = pd.concat([predicted(n, r) for n, r in zip(names, (0.2, 0.8, 1.0), strict=True)])
        table = tables.leak_table(official, leaky, {("MidiBERT", "4Q"): 0.634})
        rows = table.set_index("system").to_dict("index")
        assert rows["MidiBERT"]["difference"] == pytest.approx(0.6)
        assert 0.3 < rows["MidiBERT"]["low"] < 0.6 < rows["MidiBERT"]["high"] < 0.9
        assert rows["Constant"]["low"] < 0 < rows["Constant"]["high"]
        assert tables.leak_text(table).loc["MidiBERT", "published"] == ".634"
        told = tables.leak_findings(table)
        assert "(1) gain +0.600 on average on the leaky split" in told
        assert "Song-lookup reaches 0.800 there; above it: MidiBERT." in told
        assert told.endswith("Published values of language models below it: MidiBERT 0.634.")

    def test_one_row_is_checked_against_its_parts(self) -> None:
        rows = [
            {"system": zhao2023.PROPOSED, "task": t, "mean": m, "published": p}
            for t, m, p in (("4Q", 0.6, 0.692), ("A", 0.9, 0.884), ("V", 0.6, 0.869))
        ]
        told = tables.one_model(pd.DataFrame(rows))
        assert "published row A + V - 1 is 0.753, four quadrants 0.692" in told
        assert "own row A + V - 1 is 0.500, four quadrants 0.600" in told

    def test_numbers_of_parameters(self) -> None:
        counts: Any = parameter_counts(
            specs_of("Multifaceted", width=128) + specs_of("Constant"), n_classes=4
        )
        assert counts.index.tolist() == ["Multifaceted"]
        assert counts.loc["Multifaceted", "default"] == 15_396_876
        assert counts.loc["Multifaceted", "here"] < 15_396_876


class TestMissingWeights:
    def test_say_which_command_makes_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        planned = specs_of("MidiBERT", "QM-MidiBERT", encoder_size="small")
        planned += specs_of(zhao2023.UNTRAINED, zhao2023.PROPOSED)
        monkeypatch.setattr(weights, "is_registered", lambda name: name == "midibert-small")
        missing = [zhao2023.missing_weights(spec) for spec in planned]
        assert missing == [None, "qm-midibert-small", None, None]
        runs = Runs(planned, planned[2:], pd.DataFrame())
        assert tables.absent(runs) == (
            f"- MidiBERT (official: 4Q): **{NOT_RUN}**.\n"
            f"- QM-MidiBERT (official: 4Q): **{NOT_RUN}**; first train the encoder with "
            "`mer train qm-midibert-small`."
        )
        assert tables.absent(Runs(planned, planned, pd.DataFrame())) == ""

    def test_encoders_tell_what_they_learned(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stored = dict.fromkeys(("validation_bar", "validation_position"), "0.5")
        facts = {"notes": "4451543", "epochs": "6", **stored}
        monkeypatch.setattr(weights, "is_registered", lambda name: name == "midibert-small")
        monkeypatch.setattr(weights, "load_weights", lambda name: ({}, facts))
        planned = specs_of("MidiBERT", "MT-MidiBERT", "QM-MidiBERT", encoder_size="small")
        found = tables.encoders(spec for spec in (*planned, *specs_of(zhao2023.UNTRAINED)))
        assert found.index.tolist() == ["midibert-small"]
        row = found.loc["midibert-small"]
        assert (row["notes"], row["position"], row["key"]) == ("4,451,543", ".500", "–")


class TestSession:
    def session(self, tiny: Corpus, folder: Path, **changes: Any) -> Session:
        settings = StudyParameters(profile="smoke", corpus="emopia", n_jobs=1, **changes)
        found = Session(settings, RunStore(folder))
        splits = {"split_cls": 1, "split_midibert": 1, "cv10": 10}
        cards = {n: {"folds": k, "leaky": n == "split_midibert"} for n, k in splits.items()}
        card = {"fingerprint": tiny.fingerprint, "splits": cards}
        found.__dict__.update(corpus=tiny, card=card)
        return found

    def test_the_same_systems_with_and_without_leak(self, tiny: Corpus, tmp_path: Path) -> None:
        session = self.session(tiny, tmp_path, systems=["Constant", "Song-lookup"])
        assert zhao2023.leaky_split(session) == "split_midibert"
        leaky, same = zhao2023.leaky(session), zhao2023.without_leak(session)
        assert set(leaky.predictions["split"]) == {"split_midibert"}
        table: Any = tables.leak_table(same.predictions, leaky.predictions, {})
        assert table.set_index("system").loc["Song-lookup", "leaky"] == 1.0
        assert tables.leak_findings(table) == ""
        assert (
            tables.leak_findings(
                tables.leak_table(same.predictions.iloc[:0], leaky.predictions, {})
            )
            == ""
        )

    def test_small_profiles_leave_out(self, tiny: Corpus, tmp_path: Path) -> None:
        session = self.session(tiny, tmp_path, compute=False)
        assert zhao2023.shown_tasks(session) == ["4Q"]
        runs = zhao2023.cross_validation(session, zhao2023.CROSS_VALIDATED)
        assert {spec.fold for spec in runs.planned} == {0}
        assert runs.specs == []
        assert runs.predictions.empty
        whole = StudyParameters(profile="cpu", tasks=["4Q", "V"], compute=False)
        assert zhao2023.shown_tasks(Session(whole, RunStore(tmp_path))) == ["4Q", "V"]

    def test_a_corpus_without_leak(self, tmp_path: Path) -> None:
        session = Session(StudyParameters(profile="smoke"), RunStore(tmp_path))
        session.__dict__["card"] = {"splits": {"official": {"leaky": False, "folds": 1}}}
        assert zhao2023.leaky_split(session) is None
        assert zhao2023.leaky(session).planned == []


def made_up(weights_of: Any, change_of: Any, *, n: int = 24, seeds: int = 2) -> Attended:
    """Attention and answers as two functions of seed, clip number and factor number say."""
    weight_rows, answer_rows = [], []
    for seed in range(seeds):
        for k in range(n):
            part = EXAMPLE if k >= n - 2 else TEST
            clip = {
                "seed": seed,
                "part": part,
                "id": f"c{k:02d}",
                "group": f"s{k // 2}",
                "quadrant": k % 4 + 1,
                "label": 1,
            }
            for number, to in enumerate(FACTORS):
                weight = weights_of(seed, k, number)
                weight_rows += [
                    {**clip, "head": head, "from": source, "to": to, "weight": weight}
                    for head in (1, 2)
                    for source in FACTORS
                ]
            for number, removed in enumerate((NOTHING, *FACTORS), start=-1):
                moved = 0.0 if number < 0 else change_of(seed, k, number)
                answer_rows.append({**clip, "removed": removed, "p_1": 0.6 - moved})
    answers = pd.DataFrame(answer_rows)
    return Attended("4Q", pd.DataFrame(weight_rows), answers.assign(p_2=1 - answers["p_1"]))


def leaning(seed: int, k: int, number: int) -> float:
    """Attention that leans to the first factor, more in later clips."""
    lean = 0.2 + 0.01 * k
    return 1 / 3 + (lean if number == 0 else -lean / 2)


class TestAttention:
    def test_uniform_weights_are_no_distance_away(self) -> None:
        found = made_up(lambda *_: 1 / 3, lambda *_: 0.1)
        assert factor_attention.distances(found)["mean"].to_numpy() == pytest.approx([0, 0])
        table = factor_attention.by_quadrant(found)
        assert table["quadrant"].unique().tolist() == [0, 1, 2, 3, 4]
        assert table["mean"].to_numpy() == pytest.approx(1 / 3)
        assert factor_importance.rank_correlation(found, n_resamples=20).mean == 0

    def test_means_by_head_and_pair(self) -> None:
        found = made_up(leaning, lambda *_: 0.1).part(TEST)
        expected = np.mean([[leaning(0, k, f) for f in range(3)] for k in range(22)], axis=0)
        for table in (factor_attention.by_head(found), factor_attention.by_pair(found)):
            assert list(table) == list(FACTORS)
            np.testing.assert_allclose(table, np.broadcast_to(expected, table.shape))
        apart = factor_attention.distances(found).set_index("kind")["mean"]
        assert apart["from uniform"] == pytest.approx(0.2 + 0.01 * 10.5)
        assert 0 < apart["from the model's mean"] < 0.1

    @pytest.mark.parametrize(("sign", "verdict"), [(1, "holds"), (-1, "does not hold")])
    def test_questions(self, sign: int, verdict: str) -> None:
        def change(seed: int, k: int, number: int) -> float:
            return 0.2 + sign * (leaning(seed, k, number) - 1 / 3) / 3

        found = made_up(leaning, change)
        judged: Any = factor_importance.judge_questions([found])
        assert judged["verdict"].tolist() == [verdict, verdict]
        assert judged.loc[1, "difference"] == pytest.approx(sign)
        assert judged["n"].tolist() == [22, 22]
        text: Any = factor_importance.importance_text(found)
        assert text.loc["symbolic", "most attention in"] == "100%"

    def test_answers_without_a_factor(self) -> None:
        found = made_up(leaning, lambda seed, k, number: 0.3 if number == 2 else 0.05)
        frame = factor_importance.changes(found.part(TEST))
        assert len(frame) == 2 * 22 * 3
        by_factor: Any = frame.groupby("factor")[["change", "other", "right"]].mean()
        assert by_factor.loc["tone color"].tolist() == pytest.approx([0.3, 1, 0])
        assert by_factor.loc["harmony"].tolist() == pytest.approx([0.05, 0, 1])
        own = frame[(frame["factor"] == "symbolic") & (frame["id"] == "c03")]
        assert own["attention"].to_numpy() == pytest.approx(leaning(0, 3, 0))
        assert factor_importance.accuracy(found) == 1
        told = factor_importance.findings([found])
        assert "most attention goes to the symbolic factor" in told
        assert "Without the tone color factor answers change most: another class for 100%" in told

    def test_figures(self) -> None:
        found = made_up(leaning, lambda *_: 0.1)
        for figure in (
            factor_figures.heads(found),
            factor_figures.quadrants([found, found]),
            factor_figures.importance(found),
        ):
            assert figure.get_size_inches()[0] == WIDTH
            figure.draw_without_rendering()


def test_what_a_fitted_system_tells_survives_storing(
    tiny_parts: tuple[Corpus, Corpus, Corpus], tiny: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_zhao2023 import fitted, small

    from mer.systems.zhao2023 import attention_weights

    model, test = fitted(small(), tiny_parts), tiny_parts[2]
    monkeypatch.setattr(factor_attention, "examples", lambda: test.select(test.ids[:2]))
    (spec,) = specs_of("Multifaceted")
    table = factor_attention.look(model, spec, tiny, tiny.split("split_cls").folds[0])
    assert len(table) == 4 + 2
    found = Attended("4Q", *(factor_attention._long(table, kind) for kind in ("weight", "p")))
    own = found.part(TEST).weights.set_index(["id", "head", "from", "to"])["weight"]
    expected = attention_weights(model, list(test)).set_index(["id", "head", "from", "to"])
    np.testing.assert_allclose(own.loc[expected.index], expected["weight"])
    assert found.part(EXAMPLE).answers["removed"].value_counts().to_dict() == dict.fromkeys(
        (NOTHING, *FACTORS), 2
    )
    assert factor_attention.received(found.part(TEST)).sum(axis=1).to_numpy() == pytest.approx(
        1, abs=0.01
    )
