"""The page on songs of other corpora and sounds: scores of predictions, and the choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mer.errors import ParameterError
from mer.papers.across_corpora import report, scores
from mer.papers.across_corpora.predictions import BOTH, EMBEDDINGS, NOTES, OWN


def classes(n: int = 400, seed: int = 0, skill: float = 2.0, sound: str = OWN) -> pd.DataFrame:
    """Predicted quadrants whose probabilities are calibrated: targets are drawn from them."""
    rng = np.random.default_rng(seed)
    logits = skill * rng.normal(size=(n, 4))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    target = (shares.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1) + 1
    frame = pd.DataFrame({"id": np.arange(n), "group": np.arange(n) // 2, "quadrant": target})
    facts = {"trained_on": "emotify + emopia", "corpus": "emopia", "head": "quadrant"}
    frame = frame.assign(**facts, sound=sound, cluster=0, valence=np.nan, arousal=np.nan)
    return frame.assign(**{f"p_{k + 1}": shares[:, k] for k in range(4)})


def values(n: int = 300, seed: int = 0, noise: float = 0.1, home: bool = True) -> pd.DataFrame:
    """Predicted valence and arousal with normal errors and intervals that fit them."""
    rng = np.random.default_rng(seed)
    true = rng.uniform(-0.5, 0.5, (n, 2))
    given = true + noise * rng.normal(size=(n, 2))
    quadrant = np.select(
        [(true > 0).all(axis=1), true[:, 1] > 0, (true < 0).all(axis=1)], [1, 2, 3], 4
    )
    frame = pd.DataFrame({"id": np.arange(n), "group": np.arange(n), "quadrant": quadrant})
    facts = {"trained_on": "emotify", "corpus": "emotify" if home else "emopia", "head": "va"}
    frame = frame.assign(**facts, sound=OWN, cluster=0)
    for k, name in enumerate(("valence", "arousal")):
        frame[name] = true[:, k] if home else np.nan
        frame[f"predicted_{name}"], frame[f"half_{name}"] = given[:, k], 1.645 * noise
    return frame


def measure(frame: pd.DataFrame) -> pd.DataFrame:
    return scores.scores(frame).set_index("measure")


class TestScores:
    def test_of_values_at_home(self) -> None:
        found = measure(values())
        assert found.loc["R2 valence", "value"] == pytest.approx(1 - 0.01 / (1 / 12), abs=0.04)
        assert found.loc["coverage arousal", "value"] == pytest.approx(0.9, abs=0.04)
        assert (found["low"] <= found["value"]).all()
        assert (found["value"] <= found["high"]).all()

    def test_of_spreads(self) -> None:
        found = measure(values().assign(head="spread"))
        assert list(found.index) == ["R2 spread of valence", "R2 spread of arousal"]
        assert found["value"].min() > 0.8

    def test_elsewhere_only_the_order_counts(self) -> None:
        plain, moved = values(home=False), values(home=False)
        moved[["predicted_valence", "predicted_arousal"]] *= 0.1
        moved[["predicted_valence", "predicted_arousal"]] += 3
        first, second = measure(plain), measure(moved)
        assert list(first.index) == ["AUC valence", "AUC arousal"]
        assert first["value"].min() > 0.95
        np.testing.assert_allclose(first["value"], second["value"])

    def test_of_classes(self) -> None:
        frame = classes(4000)
        found = measure(frame)
        best = frame.filter(like="p_").max(axis=1).mean()
        assert found.loc["accuracy", "value"] == pytest.approx(best, abs=0.03)
        assert found["value"].loc["calibration error"] < 0.04
        assert {"A", "V", "AUC arousal", "AUC valence"} <= {*found.index}

    def test_calibration_error_of_one_who_is_too_sure(self) -> None:
        frame = classes(4000)
        shares = frame.filter(like="p_").to_numpy() ** 3
        shares /= shares.sum(axis=1, keepdims=True)
        sure = scores.calibration_error(shares, frame["quadrant"].to_numpy())
        assert sure == pytest.approx(shares.max(axis=1).mean() - measure(frame)["value"].iloc[0])
        with pytest.raises(ParameterError, match=r"shape \(4000, 4\) and targets \(3,\)"):
            scores.calibration_error(shares, np.ones(3))

    def test_auc(self) -> None:
        high, group = np.array([True, False] * 50), pd.Series(np.arange(100))
        value, low, upper = scores.auc(high, high + 0.0, group)
        assert (value, low, upper) == (1, 1, 1)
        assert scores.auc(high, np.zeros(100), group)[0] == 0.5


class TestChoice:
    def test_the_better_feature_is_taken_on_all_parts(self) -> None:
        good, bad = classes(skill=3), classes(skill=3)
        bad[["p_1", "p_2", "p_3", "p_4"]] = bad[["p_2", "p_3", "p_4", "p_1"]].to_numpy()
        found = scores.chosen_by_others({"bad": bad, "good": good})
        assert len(found) == len(good)
        assert set(found["feature"]) == {"good"}

    def test_it_does_not_look_at_the_songs_it_is_scored_on(self) -> None:
        """Of features without skill, the choice has none either; the best of them seems to."""
        names, best, chosen = [f"p_{k}" for k in range(1, 5)], [], []
        for seed in range(8):
            rng = np.random.default_rng(seed)
            base = classes(80).assign(quadrant=rng.integers(1, 5, 80))
            features = {
                str(k): base.assign(**pd.DataFrame(rng.dirichlet(np.ones(4), 80), columns=names))
                for k in range(20)
            }
            best.append(max(map(self.accuracy, features.values())))
            chosen.append(self.accuracy(scores.chosen_by_others(features)))
        assert np.mean(best) > 0.3
        assert np.mean(chosen) < np.mean(best) - 0.03

    @staticmethod
    def accuracy(frame: pd.DataFrame) -> float:
        right = scores.probabilities(frame).argmax(axis=1) + 1 == frame["quadrant"]
        return float(right.mean())


def table(styler: Any) -> pd.DataFrame:
    """What a styled table holds."""
    return pd.DataFrame(styler.data)


class TestReport:
    @pytest.fixture
    def found(self) -> dict[str, pd.DataFrame]:
        other = classes(seed=1, sound="FluidR3")
        across = classes(seed=2).assign(trained_on="emotify")
        frames = [classes(), other, across, values(), values(home=False)]
        first = pd.concat(frames, ignore_index=True)
        return {EMBEDDINGS: first, BOTH: first.copy(), NOTES: pd.concat([classes(), other])}

    def test_means_with_notes(self, found: dict[str, pd.DataFrame]) -> None:
        both = report.with_notes(found[BOTH], found[NOTES])
        assert len(both) == 800
        plain = found[BOTH].iloc[:400]
        np.testing.assert_allclose(both.iloc[:400]["p_1"], plain["p_1"])

    def test_tables(self, found: dict[str, pd.DataFrame]) -> None:
        scored = report.all_scores(found)
        at_home = scored[scored["at_home"] & scored["sound"].eq(OWN)]
        home = report.value_table(at_home.assign(row=at_home["what"]))
        assert list(home) == [EMBEDDINGS, BOTH, NOTES, report.WITH_NOTES, report.CHOSEN]
        assert "EMOPIA: 4Q" in home.index
        assert str(home.loc["EMOPIA: 4Q", BOTH]).startswith(".")
        assert "EMOPIA: 4Q, FluidR3" in table(report.sure_table(scored)).index
        assert report.summary(scored).startswith(f"From {BOTH}: R² of valence .8")
        assert report.reliability_figure(found[BOTH]).axes

    def test_what_is_shown(
        self, found: dict[str, pd.DataFrame], capsys: pytest.CaptureFixture[str]
    ) -> None:
        shown: list[Any] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("IPython.display.display", shown.append)
            scored = report.all_scores(found)
            for show in (report.show_home, report.show_sounds, report.show_across):
                show(scored)
        frames = [part.data for part in shown if isinstance(part.data, pd.DataFrame)]
        tables = [frame for frame in frames if EMBEDDINGS in frame]
        assert "EMOPIA: 4Q, FluidR3" in tables[1].index
        assert "Emotify → EMOPIA: AUC of valence" in tables[2].index
