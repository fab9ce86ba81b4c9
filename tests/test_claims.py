"""Claims: verdicts by the stated rule, and the tables of zhu2023 that they stand beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import class_predictions
from rows import ROWS

from mer.evaluation.resampling import group_bootstrap
from mer.papers.published import published, published_value
from mer.papers.zhu2023 import tables as zhu2023
from mer.study import claims
from mer.study.admissibility import Standing
from mer.study.claims import (
    Claim,
    Comparison,
    Judged,
    direction,
    holm,
    judge,
    paragraphs,
    verdict,
)
from mer.study.scores import HEAD, IMPLIED, OWN_MODEL, answers, paired_difference
from mer.study.tables import KNOWN_ROWS, deviations, task_table

N = 200
TARGET = np.arange(N) % 4 + 1


def predicted(
    system: str, right: float, *, heads: str = "", seeds: Sequence[int] = (0,), **place: Any
) -> pd.DataFrame:
    """Four-quadrant answers that are right for that share of clips; heads are always right."""
    answer = np.where(np.arange(N) < right * N, TARGET, TARGET % 4 + 1)
    high = {"A": np.isin(TARGET, (1, 2)), "V": np.isin(TARGET, (1, 4))}
    columns: dict[str, Any] = {f"head_{name}": high[name].astype(float) for name in heads}
    frames = [class_predictions(system, TARGET, answer, seed=seed, **place) for seed in seeds]
    return pd.concat([frame.assign(**columns) for frame in frames], ignore_index=True)


def text_of(claim: Claim, judged: pd.DataFrame, **standings: claims.Standings) -> str:
    """Paragraph of a claim on some splits, with the standings of each."""
    return paragraphs(Judged([claim], judged, "toys", standings))


def places(*frames: pd.DataFrame) -> dict[str, claims.Answers]:
    return {"here": answers(pd.concat(frames, ignore_index=True))}


@pytest.mark.parametrize(
    ("first", "second", "margin", "expected"),
    [
        (0.9, 0.5, None, claims.SUPPORTED),
        (0.5, 0.9, None, claims.CONTRADICTED),
        (0.5, 0.505, None, claims.INCONCLUSIVE),
        (0.5, 0.5, None, claims.INCONCLUSIVE),
        (0.7, 0.7, 0.02, claims.SUPPORTED),
        (0.7, 0.69, 0.1, claims.SUPPORTED),
        (0.9, 0.5, 0.1, claims.CONTRADICTED),
        (0.5, 0.9, 0.1, claims.CONTRADICTED),
        (0.7, 0.6, 0.1, claims.INCONCLUSIVE),
    ],
)
def test_the_interval_decides_which_is_better_or_that_none_is(
    first: float, second: float, margin: float | None, expected: str
) -> None:
    claim = Claim("a against b", "1", (Comparison("a", "b", margin=margin),))
    judged = judge([claim], places(predicted("a", first), predicted("b", second)), {})
    assert verdict(claim, judged, "here") == expected
    assert "a minus b, 4Q" in text_of(claim, judged, here={})
    row = judged.iloc[0]
    assert row["difference"] == pytest.approx(first - second)
    assert row["low"] <= row["difference"] <= row["high"]
    assert row["n"] == N


def seeded(system: str, right: dict[int, np.ndarray]) -> pd.DataFrame:
    """Predictions of several seeds, with the clips that each has right."""
    frames = [
        predicted(system, 1.0, seeds=[seed]).assign(correct=clips) for seed, clips in right.items()
    ]
    return pd.concat(frames, ignore_index=True)


def test_difference_of_one_seed_each_is_the_bootstrap_over_songs() -> None:
    rng = np.random.default_rng(0)
    first, second = (seeded("ab"[k], {0: rng.random(N) < (0.7, 0.6)[k]}) for k in (0, 1))
    found = paired_difference(first, second)
    gain = first["correct"].astype(float) - second["correct"].astype(float)
    expected = (gain.mean(), *group_bootstrap(gain, first["group"]))
    np.testing.assert_allclose(found, expected, atol=0.012)
    assert paired_difference(first, second) == found


def test_seeds_that_disagree_widen_the_interval() -> None:
    half, most, few = np.full(N, 0.5), np.full(N, 0.8), np.full(N, 0.4)
    constant = seeded("b", {0: half})
    steady = paired_difference(seeded("a", {0: half + 0.1, 1: half + 0.1}), constant)
    np.testing.assert_allclose(steady, 0.1)
    found = paired_difference(seeded("a", {0: most, 1: few}), constant)
    np.testing.assert_allclose(found, (0.1, -0.1, 0.3))


def test_a_claim_about_several_systems_needs_all_of_them() -> None:
    claim = Claim("a is best", "1", (Comparison("a", "b"), Comparison("a", "c")))
    a, b, c = predicted("a", 0.7), predicted("b", 0.3), predicted("c", 0.7)
    assert verdict(claim, judge([claim], places(a, b, c), {}), "here") == "mixed (1 of 2)"
    worse = places(a, b, predicted("c", 0.9))
    assert verdict(claim, judge([claim], worse, {}), "here") == claims.CONTRADICTED
    assert verdict(claim, judge([claim], places(a, b), {}), "here") == claims.SUPPORTED_IN_PART
    assert verdict(claim, judge([claim], places(a), {}), "here") == claims.NOT_RUN


def test_several_differences_are_corrected_within_the_claim() -> None:
    """A difference whose interval just excludes 0 contradicts alone, not among five."""
    rng = np.random.default_rng(4)
    base = predicted("a", 0.5)
    near = seeded("b", {0: np.where(rng.random(N) < 0.05, 1.0, base["correct"])})
    others = [predicted(name, 0.5) for name in "cdef"]
    alone = Claim("a is best", "1", (Comparison("a", "b"),))
    among = Claim("a is best", "1", tuple(Comparison("a", name) for name in "bcdef"))
    judged = judge([alone], places(base, near), {})
    assert 0.01 < float(judged["p"].iloc[0]) < 0.05
    assert direction(alone, judged, "here") == claims.CONTRADICTED
    judged = judge([among], places(base, near, *others), {})
    assert direction(among, judged, "here") == claims.INCONCLUSIVE
    better = judge([among], places(base, near, *others[:3], predicted("f", 0.1)), {})
    assert direction(among, better, "here") == "mixed (1 of 5)"


def test_holm() -> None:
    """Example of the procedure: .01, .02, .03 and .04 become .04, .06, .06 and .06."""
    adjusted = holm(np.asarray([0.04, 0.01, np.nan, 0.03]))
    np.testing.assert_allclose(adjusted, [0.09, 0.04, 1.0, 0.09])
    np.testing.assert_allclose(holm(np.asarray([0.01, 0.02, 0.03, 0.04])), [0.04, 0.06, 0.06, 0.06])


@pytest.mark.parametrize(
    ("standing", "worse", "better"),
    [
        ({}, claims.CONTRADICTED, claims.SUPPORTED),
        ({"elsewhere": "on emotify"}, "not seen on emotify", claims.SUPPORTED),
        ({"differing": ("epochs",), "elsewhere": "on x"}, claims.NOT_REPRODUCED, claims.SUPPORTED),
        ({"stand_in": "our descriptors"}, claims.NOT_REPRODUCED, claims.SUPPORTED),
        ({"failure": "collapsed"}, claims.NO_VERDICT, claims.NO_VERDICT),
    ],
)
def test_only_runs_as_published_contradict(
    standing: dict[str, Any], worse: str, better: str
) -> None:
    claim = Claim("a is better", "1", (Comparison("a", "b"),))
    standings = {("a", "4Q"): Standing("a"), ("b", "4Q"): Standing("b", **standing)}
    for right, expected in ((0.2, worse), (0.8, better)):
        judged = judge([claim], places(predicted("a", right), predicted("b", 0.5)), {})
        graded = claims.standings_of(claim, standings)
        assert graded[0].system == ("b" if standing else "a")
        assert verdict(claim, judged, "here", graded) == expected
        text = text_of(claim, judged, here=standings)
        assert f"**{expected}**" in text
        assert f"Grade {graded[0].grade}: " in text


def test_a_standing_in_words() -> None:
    found = Standing("x", 1 / 22, 14, 200, 11.0, ("epochs", "width"), elsewhere="on rendered sound")
    assert found.grade == "C"
    assert found.text == "x (1/22 of the published parameters, 14 of 200 epochs, best epoch 11)"
    assert Standing("x", differing=("dropout",)).text == "x (other dropout)"
    assert (
        Standing("x", 0.42, 9, 9, 3).text
        == "x (42% of the published parameters, 9 epochs, best epoch 3)"
    )


def test_binary_tasks_are_compared_by_what_both_systems_have() -> None:
    claim = Claim("a is better", "1", (Comparison("a", "b", "A"),))
    heads = places(predicted("a", 0.6, heads="A"), predicted("b", 0.9, heads="A"))
    row = judge([claim], heads, {}).iloc[0]
    assert (row["answers"], row["difference"]) == (OWN_MODEL, 0.0)
    one = places(predicted("a", 0.6, heads="A"), predicted("b", 0.9))
    row = judge([claim], one, {}).iloc[0]
    assert row["answers"] == IMPLIED
    assert row["difference"] < 0


def test_the_published_difference_stands_beside() -> None:
    claim = Claim("a is better", "7", (Comparison("a", "b"),))
    frames = places(predicted("a", 0.7), predicted("b", 0.6))
    cells = {("a", "4Q", "accuracy"): 0.71, ("b", "4Q", "accuracy"): 0.61}
    judged = judge([claim], frames, cells)
    assert judged.loc[0, "published"] == pytest.approx(0.1)
    assert judged.loc[0, "covers"]
    text = text_of(claim, judged, here={}, there={})
    assert text.startswith(
        '<span id="claim-toys-a-is-better"></span>**a is better** (table 7)\n\n'
        "- Here: **supported**. a minus b, 4Q: +.100 ["
    )
    assert "(published +.100, inside the interval)." in text
    assert text.endswith("- There: **was not run**.")
    for table, source in ((None, ""), ("figure 4", " (figure 4)")):
        own = text_of(Claim("a is better", table, claim.comparisons), judged)
        assert own.endswith(f"**a is better**{source}\n")


def test_a_claim_has_an_anchor_on_each_corpus() -> None:
    assert claims.anchor("mirex_mood", "V+D+O: R2 within .02?") == (
        "claim-mirex-mood-v-d-o-r2-within-02"
    )
    assert claims.anchor("emotify", "x") != claims.anchor("emopia", "x")


def test_claims_of_the_paper_are_about_known_rows_and_published_gains() -> None:
    cells, numbers = zhu2023.PUBLISHED, {"2", "3", "4"}
    for claim in (*zhu2023.COMPARISON_CLAIMS, *zhu2023.ABLATION_CLAIMS):
        assert claim.table in numbers
        for comparison in claim.comparisons:
            assert {comparison.better, comparison.worse} <= {*KNOWN_ROWS}
            gain = cells[comparison.better, comparison.task, "accuracy"]
            assert gain > cells[comparison.worse, comparison.task, "accuracy"]
    for claim in zhu2023.QUESTIONS:
        for comparison in claim.comparisons:
            named = {comparison.better, comparison.worse} - {zhu2023.LATE_AVERAGE}
            assert named <= {*KNOWN_ROWS}


def test_published_rows_are_those_of_the_paper() -> None:
    cells = {key[:2]: value for key, value in {**zhu2023.PUBLISHED, **zhu2023.QUOTED}.items()}
    assert cells[zhu2023.PROPOSED, "4Q"] == published_value("zhu2023", "2", "proposed model", "4Q")
    assert cells["MIDIBERT", "4Q"] == published_value("zhu2023", "2", "MIDIBERT", "4Q")
    assert ("MIDIBERT", "A") not in cells
    for table in (zhu2023.TABLE_2, zhu2023.TABLE_3, zhu2023.TABLE_4):
        rows = (*table.rows, *table.quoted)
        assert len(rows) == published("zhu2023", table.number)["row"].nunique()
        for task in table.tasks:
            printed = published("zhu2023", table.number).query("column == @task")["number"]
            known = [cells[row, task] for row in rows if (row, task) in cells]
            assert sorted(known) == sorted(printed)


def test_table_tells_heads_models_and_implied_answers_apart() -> None:
    own = predicted("Symbolic-LR", 0.7)
    arousal = own.assign(task="A", target=1, answer=1, correct=True)
    heard = predicted(zhu2023.PROPOSED, 0.6, heads="AV", seeds=(0, 1), audio="rendered")
    frames = [own, arousal, heard]
    given = answers(pd.concat(frames, ignore_index=True))
    marked = {"quoted": zhu2023.TABLE_2.quoted, "other_split": zhu2023.TABLE_2.other_split}
    shared: dict[str, Any] = {"published": zhu2023.PUBLISHED, **marked}
    table = task_table(given, "A", zhu2023.TABLE_2.order, **shared)
    columns = ["published", "here", "by", "implied by 4Q", "seeds", "audio"]
    assert list(table) == columns
    proposed = table.T[zhu2023.PROPOSED]
    assert proposed["by"] == HEAD
    assert proposed["here"].startswith("1.000")
    assert proposed["implied by 4Q"].startswith(".800")
    assert table.loc["Symbolic-LR", "by"] == OWN_MODEL
    assert table.loc["LSTM-Attn + REMI", "here"] == claims.NOT_RUN
    quadrants = task_table(given, "4Q", zhu2023.TABLE_2.order, **shared)
    assert list(quadrants.T["MIDIBERT"]) == [".634 (other split)", "on another page", "–", "–"]
    assert list(quadrants) == ["published", "here", "seeds", "audio"]
    assert list(quadrants.T[zhu2023.PROPOSED])[2:] == ["2", "rendered"]
    assert "published" not in task_table(given, "4Q", [zhu2023.PROPOSED], {})


def test_differences_of_a_reference_for_reading() -> None:
    frames = [predicted(zhu2023.PROPOSED, 0.5), predicted("b", 0.9)]
    table = claims.against(pd.concat(frames, ignore_index=True), zhu2023.PROPOSED, "4Q")
    text = claims.against_text(table, zhu2023.PROPOSED).T[f"{zhu2023.PROPOSED} minus b"]
    assert text["difference"].startswith("-.400 [-.")
    assert text["p (McNemar)"] == "< .001"


def test_late_average_joins_where_both_branches_are_there() -> None:
    symbolic, acoustic = (predicted(name, 0.5) for name in zhu2023.BRANCHES)
    both = zhu2023.averaged_late(pd.concat([symbolic, acoustic], ignore_index=True))
    assert set(both["system"]) == {*zhu2023.BRANCHES, zhu2023.LATE_AVERAGE}
    assert zhu2023.averaged_late(symbolic) is symbolic


def test_deviations_that_rows_share_stand_once() -> None:
    used: dict[str, dict[str, Any]] = {
        **{"Constant": {}, "LSTM-Attn + REMI": {"hidden": 64, "hops": 14}},
        **{"Single-loss": {"pool": 6}, "STFT-input": {"pool": 6, "n_fft": 512}},
    }
    rows = {name: ROWS[name].configured(changes) for name, changes in used.items()}
    assert deviations(rows, ROWS).to_numpy().tolist() == [
        ["LSTM-Attn + REMI", "hidden", "128", "64"],
        ["Single-loss; STFT-input", "pool", "2", "6"],
        ["STFT-input", "n_fft", "1024", "512"],
    ]
