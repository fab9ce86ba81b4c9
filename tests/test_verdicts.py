"""Grades of the runs behind a verdict, from stored runs of profile cpu."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from golden import pages

from mer.papers import claims as papers
from mer.papers.zhao2023 import tables as zhao2023
from mer.study.claims import anchor
from mer.study.results import Results
from mer.study.settings import Settings
from mer.study.store import RunStore
from mer.study.study import Study
from mer.study.verdicts import (
    _best_epoch,
    _failure,
    claim_table,
    judged_claims,
    outcome,
    result_box,
    standings,
)


@pytest.fixture(scope="module")
def study() -> Study:
    return Study(Settings(profile="cpu", compute=False))


@pytest.fixture(scope="module")
def ablation(study: Study) -> Results:
    return zhao2023.run(study, zhao2023.TABLE_III)


class TestStandings:
    def test_a_network_whose_best_epoch_is_the_last_one(self, ablation: Results) -> None:
        found = standings(ablation)["Multifaceted", "4Q"]
        assert found.grade == "D"
        assert found.failure == "the best epoch is the last one in 67% of the runs"
        assert (found.epochs, found.published_epochs, found.best) == (14, 200, 14)
        assert found.size == pytest.approx(704_492 / 15_396_876)

    def test_a_smaller_network_with_fewer_epochs(self, ablation: Results) -> None:
        found = standings(ablation)["Harmony branch", "V"]
        assert (found.grade, found.elsewhere, found.stand_in) == ("C", "on rendered sound", "")
        assert {"epochs", "width", "hidden"} <= {*found.differing}
        assert found.size == pytest.approx(62_852 / 773_636)

    def test_sizes_are_read_where_they_are_stored(
        self, ablation: Results, monkeypatch: Any
    ) -> None:
        monkeypatch.setattr(
            "mer.study.model_card.parameter_counts", lambda *_: pytest.fail("counted")
        )
        standings(ablation)

    def test_descriptors_of_our_own_stand_in(self, study: Study) -> None:
        results = study.run(zhao2023.COMPARED_IN_CV, split="cv")
        found = standings(results)["Symbolic-LR", "A"]
        assert (found.grade, found.stand_in, found.epochs) == (
            "C",
            "our descriptors, chosen with these folds in view",
            0,
        )


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([], 0),
        ([{"C": 1.0, "valid_accuracy": 0.5}], 0),
        ([{"valid_rmse": v, "learning_rate": 1.0} for v in (0.3, 0.1, 0.2, 0.1)], 2),
        (
            [
                {"valid_accuracy": a, "valid_loss": loss, "learning_rate": 1.0}
                for a, loss in ((0.5, 1.0), (0.6, 0.9), (0.6, 0.8), (0.6, 0.8))
            ],
            3,
        ),
        (
            [
                {"valid_accuracy": a, "valid_loss": 1.0, "learning_rate": 1.0, "clean_fraction": c}
                for a, c in ((0.9, np.nan), (0.5, 0.6), (0.7, 0.6))
            ],
            3,
        ),
    ],
)
def test_best_epoch(history: list[dict[str, float]], expected: int) -> None:
    assert _best_epoch(history) == expected


def answered(answers: list[list[int]]) -> pd.DataFrame:
    frames = [
        pd.DataFrame({"fold": 0, "seed": seed, "target": [1, 1, 2, 2], "answer": given})
        for seed, given in enumerate(answers)
    ]
    frame = pd.concat(frames)
    return frame.assign(correct=frame["answer"] == frame["target"])


@pytest.mark.parametrize(
    ("answers", "at_the_end", "expected"),
    [
        ([[1, 1, 2, 2]], 0.5, ""),
        ([[1, 1, 2, 2]], 0.6, "the best epoch is the last one in 60% of the runs"),
        ([[1, 1, 1, 1], [2, 2, 2, 2], [1, 1, 2, 2]], 0.0, "of one class in 67% of the runs"),
        ([[1, 2, 1, 2]], 0.0, "not better than the constant prediction"),
    ],
)
def test_failure(answers: list[list[int]], at_the_end: float, expected: str) -> None:
    found = _failure(answered(answers), at_the_end)
    assert found.endswith(expected)
    assert bool(found) == bool(expected)


def test_a_regression_below_the_mean_label() -> None:
    values = {"valence": [0.0, 1.0, 0.5], "arousal": [1.0, 0.0, 0.5]}
    frame = pd.DataFrame({"fold": 0, "seed": 0, **values})
    labels = {f"target_{name}": values[name][::-1] for name in values}
    assert _failure(frame.assign(**labels), 0.0) == "not better than the mean label"
    right: Any = {f"target_{name}": values[name] for name in values}
    assert _failure(frame.assign(**right), 0.0) == ""


def ablation_table(ablation: Results) -> pd.DataFrame:
    return claim_table(judged_claims(zhao2023.ABLATION_CLAIMS, ablation, own_models=True))


def test_claims_as_a_table(ablation: Results) -> None:
    table = ablation_table(ablation)
    rows = table.set_index("claim")
    row = rows.loc["Self-attention helps on four quadrants"]
    assert (row["differences"], row["grade"], row["verdict"]) == (1, "D", "no verdict")
    assert row["better"] == "Multifaceted"
    assert row["published"] == pytest.approx(0.053)
    several = rows.loc["The harmony branch is the weakest on every task"]
    assert several["differences"] == 6
    assert pd.isna(several["difference"])
    scores, published = ablation.scores.set_index(["task", "system"])["mean"], zhao2023.PUBLISHED
    pairs = [*product(("4Q", "A", "V"), (zhao2023.SYMBOLIC, zhao2023.TONE_COLOR))]
    own = [scores[task, branch] - scores[task, zhao2023.HARMONY] for task, branch in pairs]
    theirs = [
        published[branch, task, "accuracy"] - published[zhao2023.HARMONY, task, "accuracy"]
        for task, branch in pairs
    ]
    assert several[["least", "most"]].tolist() == pytest.approx([min(own), max(own)])
    ends = several[["published_least", "published_most"]].tolist()
    assert ends == pytest.approx([min(theirs), max(theirs)])
    assert row["least"] == row["most"] == row["difference"]
    assert several["direction"] == "mixed (3 of 6)"


def test_result_box(ablation: Results) -> None:
    text = result_box(zhao2023.ABLATION_CLAIMS, ablation, own_models=True)
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(lines) == 1
    n = ablation.predictions["id"].nunique()
    assert lines[0].startswith(f"- **Official split, {n} clips of EMOPIA.**")
    best = ablation.scores[ablation.scores["task"] == "4Q"].set_index("system")["mean"]
    expected = f"{best.max():.3f}".removeprefix("0")
    assert re.search(rf"accuracy on four quadrants {expected} \[.*\({best.idxmax()}\)", lines[0])
    judged = ablation_table(ablation)
    counts = [int(n) for n in re.findall(r"(\d+) [a-z]", lines[0].split("Verdicts on")[1])]
    assert sum(counts) == len(judged)
    nothing = replace(ablation, specs=[])
    assert outcome(judged) in text.split("- **Official split")[0]
    assert "- Nothing was run." in result_box(zhao2023.ABLATION_CLAIMS, nothing)
    assert "- Nothing was run." in result_box(zhao2023.ABLATION_CLAIMS)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, ""),
        (
            {"a": ["supported"]},
            "Of 1 claim of the paper that was tested, 1 is supported and none is contradicted.",
        ),
        (
            {"a": ["inconclusive"], "b": ["not seen on emotify"], "c": ["not reproduced"]},
            "Of 3 claims of the paper that were tested, none is supported, none is contradicted, "
            "2 are not reproduced and 1 is undecided.",
        ),
        (
            {
                "a": ["supported", "supported as far as it was run"],
                "b": ["supported", "not reproduced"],
                "c": ["contradicted", "supported"],
                "d": ["contradicted"],
                "e": ["mixed (1 of 2)", "no verdict"],
            },
            "Of 5 claims of the paper that were tested, 1 is supported on every split, "
            "1 is supported on some splits only, 2 are contradicted and 1 is undecided.",
        ),
    ],
)
def test_outcome_counts_every_claim_once(found: dict[str, list[str]], expected: str) -> None:
    rows = [
        {"claim": claim, "place": place, "verdict": verdict}
        for claim, verdicts in found.items()
        for place, verdict in zip(("official split", "cross-validation"), verdicts, strict=False)
    ]
    assert outcome(pd.DataFrame(rows, columns=["claim", "place", "verdict"])) == expected


def test_claims_for_reading(ablation: Results) -> None:
    own = ablation_table(ablation)
    claims = own.assign(paper="Zhao and Yoshii 2023", page="zhao2023_ablation")
    styler: Any = papers.claim_list(claims)
    table = styler.data.set_index(styler.data["Claim"].str.extract(">(.*)<")[0])
    assert set(table["Paper"]) == {"Zhao and Yoshii 2023"}
    row = table.loc["Self-attention helps on four quadrants"]
    name = "claim-emopia-self-attention-helps-on-four-quadrants"
    assert row["Claim"].startswith(f'<a href="zhao2023_ablation.ipynb#{name}">')
    assert row["Table"] == "III"
    assert 'class="verdict verdict-no"' in row["Verdict"]
    assert row["Verdict"].endswith(" no verdict</span>")
    assert row["Published"] == "+.053"
    several = table.loc["The harmony branch is the weakest on every task"]
    values = own.set_index("claim").loc[several.name]
    ends = {
        "Published": values[["published_least", "published_most"]],
        "Difference": values[["least", "most"]],
    }
    for column, expected in ends.items():
        low, _, high = several[column].split()[:3]
        assert [float(low), float(high)] == pytest.approx([*expected], abs=0.0005)
    assert several["Difference"].endswith(" (6\N{NO-BREAK SPACE}differences)")
    assert row["Verdict"] in styler.to_html()
    assert 'data-filter="Paper,Split,Verdict,Grade"' in styler.to_html()
    assert papers.tally(claims).loc["Zhao and Yoshii 2023"].sum() == len(claims)
    figure = papers.difference_figure(claims)
    assert figure is not None
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert "Multifaceted minus Without MHSA, 4Q" in labels


@pytest.fixture(scope="module")
def everything(study: Study) -> pd.DataFrame:
    return papers.all_claims(study)


class TestAllClaims:
    def test_claims_that_pages_judge_in_their_own_way(self, everything: pd.DataFrame) -> None:
        counts = everything.groupby("page").size()
        assert counts["deberardinis2020_interpretation"] == 2 * 8
        assert (counts["zhao2023_attention"], counts["sun2024_noise"]) == (2, 5)
        rows = everything[everything["place"] == "head of the paper"].set_index("claim")
        row = rows.loc["Among pairs of sources, vocals and other predict arousal best"]
        assert (row["table"], row["grade"], row["verdict"]) == ("figure 4", "C", "supported")
        asked = everything[everything["page"].isin(["zhao2023_attention", "sun2024_noise"])]
        assert asked["table"].isna().all()
        assert asked["grade"].isna().all()
        assert (asked["verdict"] == asked["direction"]).all()

    def test_differences_are_those_of_the_page(self, everything: pd.DataFrame) -> None:
        """The golden values of the page on attention have the differences one by one."""
        golden = pages.read("zhao2023_attention")
        rows = [
            {name: golden[f"differences\t{k}\t{name}"] for name in ("claim", "difference")}
            for k in range(6)
        ]
        frame = pd.DataFrame(rows).astype({"difference": float})
        ends = frame.groupby("claim")["difference"].agg(["min", "max"])
        own = everything[everything["page"] == "zhao2023_attention"].set_index("claim")
        found = own.loc[ends.index, ["least", "most"]]
        np.testing.assert_allclose(found, ends, atol=1e-6)

    def test_each_claim_has_an_anchor_of_its_own(self, everything: pd.DataFrame) -> None:
        listed = everything.drop_duplicates(["page", "corpus", "claim"])
        anchors = [anchor(*place) for place in listed[["corpus", "claim"]].itertuples(index=False)]
        assert len(set(anchors)) == len(anchors)

    def test_figure_leaves_out_claims_that_two_are_equal(self, everything: pd.DataFrame) -> None:
        figure = papers.difference_figure(everything)
        assert figure is not None
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert everything["margin"].notna().any()
        assert "V+D+O minus V+B+D+O, R2 arousal" not in labels

    def test_questions_without_a_grade_can_be_listed(self, everything: pd.DataFrame) -> None:
        table: Any = papers.claim_list(everything).data  # type: ignore[attr-defined]
        assert set(table["Grade"]) <= {"A", "B", "C", "D", "–"}
        assert not table["Difference"].str.contains("nan").any()
        assert (table["Difference"] != "–").all()


def test_a_profile_without_runs_has_no_claims(tmp_path: Any) -> None:
    study = Study(Settings(profile="smoke"), store=RunStore(tmp_path))
    claims = papers.all_claims(study)
    assert claims.empty
    assert papers.tally(claims).empty
    assert papers.difference_figure(claims) is None
    assert papers.summary(claims, study).startswith("Profile smoke: 0 verdicts on 0 claims")


@pytest.mark.realdata
def test_seeds_of_cross_validation_that_are_not_stored_are_left_out(study: Study) -> None:
    branch = {zhao2023.HARMONY: zhao2023.BRANCHES[zhao2023.HARMONY]}
    specs = study.specs(branch, split="cv", tasks=["4Q"])
    assert {(spec.fold, spec.seed) for spec in specs} == {(f, s) for f in range(10) for s in (0, 1)}
    results = study.run(specs)
    stored = {spec.seed for spec in results.specs}
    assert len(results.specs) == 10 * len(stored)
    assert results.missing == []
    assert results.missing_text == ""
