"""Claims about R2: verdicts by the same rule, and those of deberardinis2020."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mer.errors import ParameterError
from mer.evaluation.metrics import r2
from mer.study import claims
from mer.study import deberardinis2020 as emomucs
from mer.study.claims import Claim, Comparison, differences_text, judge, paragraphs, verdict
from mer.study.profiles import PROFILES
from mer.study.regression import by_folds, paired_difference, regression_against
from mer.study.specs import plan
from mer.systems import SYSTEMS

N = 60
SCORE = ("r2", "valence")
EVERY_CLAIM = (
    *(*emomucs.SOURCE_CLAIMS, *emomucs.FUSION_CLAIMS, *emomucs.TRAINING_CLAIMS),
    *(*emomucs.SOURCE_QUESTIONS, *emomucs.FUSION_QUESTIONS),
    *(*emomucs.UNIFIED_QUESTIONS, *emomucs.TRAINING_QUESTIONS),
)


def predicted(system: str, noise: float, folds: tuple[int, ...] = (0, 1)) -> pd.DataFrame:
    """Predictions that miss the labels by that much; every fold tests the same clips."""
    frames = []
    for fold in folds:
        rng = np.random.default_rng(fold)
        target = np.random.default_rng(99).uniform(-1, 1, (2, N))
        given = target + noise * rng.normal(size=(2, N))
        frames.append(
            pd.DataFrame(
                {
                    **{"system": system, "task": "VA", "split": "s", "fold": fold, "seed": 0},
                    **{"audio": "recorded", "id": [f"clip {k}" for k in range(N)]},
                    "group": [f"song {k // 2}" for k in range(N)],
                    "target_valence": target[0],
                    "target_arousal": target[1],
                    "valence": given[0],
                    "arousal": given[1],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def places(*frames: pd.DataFrame) -> dict[str, claims.Answers]:
    return {"here": {"model": pd.concat(frames, ignore_index=True)}}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(0.1, 0.5, claims.HOLDS), (0.5, 0.1, claims.FAILS), (0.3, 0.3, claims.OPEN)],
)
@pytest.mark.parametrize("metric", ["r2", "rmse"])
def test_the_interval_decides(first: float, second: float, expected: str, metric: str) -> None:
    claim = Claim("a is better", "1", (Comparison("a", "b", "VA", (metric, "valence")),))
    frames = places(predicted("a", first), predicted("b", second))
    judged = judge([claim], frames, {("a", metric, "valence"): 0.5, ("b", metric, "valence"): 0.3})
    assert verdict(claim, judged, "here") == expected
    row = judged.iloc[0]
    assert row["task"] == f"{metric.upper()} valence"
    assert row["published"] == pytest.approx(0.2)
    assert row["low"] <= row["difference"] <= row["high"]
    assert row["n"] == N


def test_difference_is_that_of_the_means_over_models() -> None:
    first, second = predicted("a", 0.1), predicted("b", 0.5)
    found = paired_difference(first, second, *SCORE)
    means = [
        np.mean([r2(part["target_valence"], part["valence"]) for _, part in f.groupby("fold")])
        for f in (first, second)
    ]
    assert found.mean == pytest.approx(means[0] - means[1])
    rows = regression_against(pd.concat([first, second]), "b").set_index(["metric", "dimension"])
    assert tuple(rows.loc[SCORE, ["difference", "low", "high"]]) == pytest.approx(tuple(found))
    assert bool(rows.loc[SCORE, "better"])
    with pytest.raises(ParameterError, match="tested on different clips or folds"):
        paired_difference(first, second[second["fold"] == 0], *SCORE)


def test_systems_are_compared_on_folds_that_they_share() -> None:
    frames = [predicted("a", 0.1), predicted("b", 0.5), predicted("c", 0.2, (1,))]
    parts = by_folds(pd.concat(frames, ignore_index=True))
    assert {name: sorted(frame["system"].unique()) for name, frame in parts.items()} == {
        "all 2 models": ["a", "b"],
        "the model of fold 1": ["a", "b", "c"],
    }
    assert set(parts["the model of fold 1"]["fold"]) == {1}
    assert list(by_folds(frames[0])) == ["all 2 models"]
    assert list(by_folds(frames[2])) == ["one model"]


def test_many_differences_are_summed_up_and_listed() -> None:
    worse = [predicted(name, 0.4) for name in "bcdef"]
    claim = Claim("a is best", "1", tuple(Comparison("a", b, "VA", SCORE) for b in "bcdef"))
    cells = {("a", *SCORE): 0.4, ("b", *SCORE): 0.3}
    judged = judge([claim], places(predicted("a", 0.1), *worse), cells)
    text = paragraphs([claim], judged, ["here"])
    assert text.startswith("**a is best** (table 1)\n\n- Here: **holds**. Of 5 differences 5 hold;")
    mixed = judged.assign(verdict=["holds", "does not hold", *["holds"] * 3])
    assert "Of 5 differences 4 hold, 1 does not hold;" in paragraphs([claim], mixed, ["here"])
    table = differences_text(pd.concat([judged, judged]))
    assert len(table) == 5
    assert list(table) == ["of", "difference", "published", "that it is better"]
    assert table.loc["a minus b", "published"] == "+0.100"
    few = Claim("a is better", "1", claim.comparisons[:1])
    judged = judge([few], places(predicted("a", 0.1), worse[0]), cells)
    told = paragraphs([few], judged, ["here"], published_on="PMEmo")
    assert "a minus b, R2 valence: +" in told
    assert told.endswith("(published, on PMEmo: +0.100).")


def test_claims_are_about_known_systems_and_published_gains() -> None:
    cells: Any = emomucs.published_scores()
    assert len({claim.text for claim in EVERY_CLAIM}) == len(EVERY_CLAIM)
    for claim in EVERY_CLAIM:
        for comparison in claim.comparisons:
            assert {comparison.better, comparison.worse} <= {*SYSTEMS}
            assert comparison.task == "VA"
    for claim in (*emomucs.SOURCE_CLAIMS, *emomucs.FUSION_CLAIMS, *emomucs.TRAINING_CLAIMS):
        for comparison in claim.comparisons:
            gain = cells[comparison.cell(comparison.better)]
            assert gain > cells[comparison.cell(comparison.worse)], comparison


def test_the_paper_finds_no_gain_on_arousal() -> None:
    cells: Any = emomucs.published_scores()
    comparisons = emomucs.FUSION_QUESTIONS[0].comparisons
    gains = [cells[c.cell(c.better)] - cells[c.cell(c.worse)] for c in comparisons]
    assert np.abs(gains).max() < 0.01


def test_published_values_stand_beside_songs_only() -> None:
    assert emomucs.published_beside("emotify") == emomucs.published_scores()
    assert emomucs.published_beside("composed_band") == {}


def test_parameter_counts_are_those_of_the_paper() -> None:
    overrides = {name: {"seconds": 8.0} for name in (*emomucs.MIX, *emomucs.PROPOSED.values())}
    options = {"corpus": "c", "fingerprint": "f", "split": "s", "folds": [0], "seeds": [0]}
    changes = {n: {**v, "separator": "true"} for n, v in overrides.items()}
    specs = plan([*changes, "Mean"], ["VA"], overrides=changes, **options)  # type: ignore[arg-type]
    counts = emomucs.parameter_counts(specs)
    assert list(counts.index) == list(changes)
    rows = counts.astype(object).to_dict("index")
    assert rows["C1D-M"]["published"] == rows["C1D-M"]["20 s"] == 86354 > rows["C1D-M"]["8 s"]
    assert list(rows["C2D-M"].values()) == [37698] * 3
    assert rows[emomucs.PROPOSED["C2D"]]["20 s"] > 4 * 37698


def test_systems_that_are_trained_alike_stand_once() -> None:
    overrides = PROFILES["cpu"].overrides
    kinds = emomucs.alike((*emomucs.BASELINES, *emomucs.SINGLE, *emomucs.FUSED))
    assert list(kinds)[:4] == ["Mean", "SVR", "C1D-M", "C2D-M"]
    assert len(kinds) == len(set(kinds.values())) == 8
    of_kind = {kind: overrides.get(name, {}) for name, kind in kinds.items()}
    for name in (*emomucs.SINGLE, *emomucs.UNIFIED, *emomucs.FUSED, *emomucs.COMBINATIONS):
        (kind,) = emomucs.alike([name]).values()
        assert overrides[name] == of_kind[kind]
