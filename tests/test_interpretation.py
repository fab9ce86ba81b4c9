"""Which source tells the emotion: combinations and regions against brute force."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mer.errors import ParameterError
from mer.evaluation.metrics import r2
from mer.study import figures as shared
from mer.study.claims import FAILS, HOLDS, OPEN, judge, paragraphs
from mer.study.deberardinis2020 import COMBINATIONS
from mer.study.interpretation import carriers, combinations, contributions, figures, regions
from mer.systems.variants import LETTERS

SOURCES = tuple(LETTERS)
DIMENSIONS = ("valence", "arousal")
N, N_FOLDS = 48, 2


def frame_of(system: str, fold: int, clips: pd.DataFrame, answers: np.ndarray) -> pd.DataFrame:
    """Predictions of one model as a session gives them; answers have shape (n, 2)."""
    given = dict(zip(DIMENSIONS, answers.T, strict=True))
    place = clips.assign(system=system, task="VA", split="nested", fold=fold, seed=0)
    return place.assign(audio="recorded", **given)


def toy_clips() -> pd.DataFrame:
    """Two clips a song."""
    labels = np.random.default_rng(0).uniform(-1, 1, (N, 2))
    return pd.DataFrame(
        {
            "id": [f"c{k:02d}" for k in range(N)],
            "group": [f"song-{k // 2}" for k in range(N)],
            "target_valence": labels[:, 0],
            "target_arousal": labels[:, 1],
        }
    )


def parts(seed: int) -> np.ndarray:
    """What each source says of each clip: the fourth nothing, the first two the same much."""
    noise = np.random.default_rng(seed).normal(size=(4, N, 2)) * 0.05
    labels = toy_clips()[["target_valence", "target_arousal"]].to_numpy()
    return np.asarray([0.25, 0.25, 0.4, 0.0])[:, None, None] * labels + noise


@pytest.fixture(scope="module")
def subsets() -> pd.DataFrame:
    """Every subset of the sources adds up what they say; two models, tested on half the clips."""
    clips, frames = toy_clips(), []
    for fold in range(N_FOLDS):
        rows, said = np.arange(fold, N, N_FOLDS), parts(fold)
        test = clips.iloc[rows]
        for system in COMBINATIONS:
            used = [SOURCES.index(source) for source in combinations.sources_of(system)]
            frames.append(frame_of(system, fold, test, said[used].sum(axis=0)[rows]))
        frames.append(frame_of(combinations.NO_SOURCE, fold, test, np.zeros((len(rows), 2))))
        frames.append(frame_of(combinations.MIX, fold, test, said[2][rows]))
    return pd.concat(frames, ignore_index=True)


class TestCombinations:
    def test_scores_are_means_over_models(self, subsets: pd.DataFrame) -> None:
        scores = combinations.r2_scores(subsets, n_resamples=50)
        frames = subsets[subsets["system"] == COMBINATIONS[6]].groupby("fold")
        expected = [r2(frame["target_arousal"], frame["arousal"]) for _, frame in frames]
        assert scores[COMBINATIONS[6], "arousal"].mean == pytest.approx(np.mean(expected))
        table = combinations.combination_table(scores)
        assert table["sources"].tolist()[::2][:5] == ["V", "B", "D", "O", "V+B"]
        assert (table["low"] <= table["high"]).all()
        assert list(combinations.combination_text(table)) == ["R2 valence", "R2 arousal"]

    def test_gains_sum_to_that_of_all_sources(self, subsets: pd.DataFrame) -> None:
        scores = combinations.r2_scores(subsets, n_resamples=50)
        found = combinations.gains(scores)
        for dimension, rows in found.groupby("dimension"):
            all_over_none = (
                scores[combinations.ALL_SOURCES, str(dimension)].mean
                - scores[combinations.NO_SOURCE, str(dimension)].mean
            )
            assert rows["gain"].sum() == pytest.approx(all_over_none)
            gain = rows.set_index("source")["gain"]
            assert gain["vocals"] == pytest.approx(gain["bass"], abs=0.05)
            assert gain["drums"] > gain["vocals"] > 0.1 > abs(gain["other"])
        text = combinations.findings(combinations.combination_table(scores), found, scores)
        assert text.count("Mean gain from adding drums") == 2

    def test_gains_need_all_combinations(self, subsets: pd.DataFrame) -> None:
        fewer = subsets[subsets["system"] != COMBINATIONS[2]]
        with pytest.raises(ParameterError, match="no worth of bass and vocals"):
            combinations.gains(combinations.r2_scores(fewer, n_resamples=10))

    def test_other_clips(self, subsets: pd.DataFrame) -> None:
        fewer = subsets[(subsets["system"] != COMBINATIONS[2]) | (subsets["id"] != "c05")]
        with pytest.raises(ParameterError, match="tested on different clips or folds"):
            combinations.r2_scores(fewer)

    def test_claims(self, subsets: pd.DataFrame) -> None:
        judged = judge(combinations.CLAIMS, {"toy": {"model": subsets}}, {})
        found = judged.groupby("claim")["verdict"].agg(set)
        assert found["Of single sources, drums tell valence best (table 1)"] == {HOLDS}
        assert FAILS in found["Of two sources, bass and other tell valence best (figure 4)"]
        four = judged[judged["claim"] == combinations.CLAIMS[0].text]
        assert len(four) == 14
        assert len(judged) == 14 + 14 + 3 + 5 + 5 + 3 + 3
        text = combinations.in_letters(paragraphs(combinations.CLAIMS, judged, ["toy"]))
        assert "**does not hold**" in text
        assert "D minus V, R2 valence" in text

    @pytest.mark.parametrize(
        ("pair", "verdict"), [(("V+D", "V+D"), HOLDS), (("D", "V+B+D+O"), FAILS)]
    )
    def test_comparable(self, subsets: pd.DataFrame, pair: tuple[str, str], verdict: str) -> None:
        assert f"**{verdict}**" in combinations.comparable_text(subsets, *pair, "arousal")


def single(errors: Any) -> pd.DataFrame:
    """Predictions of the four single-source models, off by (n_folds, 4, n, 2); all clips each."""
    clips = toy_clips()
    labels = clips[["target_valence", "target_arousal"]].to_numpy()
    return pd.concat(
        [
            frame_of(system, fold, clips, labels + by_source[k])
            for fold, by_source in enumerate(errors)
            for k, system in enumerate(regions.SINGLE_MODELS)
        ],
        ignore_index=True,
    )


class TestRegions:
    def test_best_source_against_brute_force(self) -> None:
        errors = np.random.default_rng(4).normal(size=(3, 4, N, 2))
        found = regions.source_errors(single(errors))
        rmse = np.sqrt((errors**2).mean(axis=0))
        one = found[(found["id"] == "c07") & (found["source"] == "drums")].iloc[0]
        np.testing.assert_allclose(one[["valence", "arousal"]].astype(float), rmse[2, 7])
        assert one["mean"] == pytest.approx(rmse[2, 7].mean())
        best = regions.best_sources(found)
        names = np.asarray(SOURCES)
        assert best["valence"].tolist() == names[rmse[:, :, 0].argmin(axis=0)].tolist()
        assert best["mean"].tolist() == names[rmse.mean(axis=2).argmin(axis=0)].tolist()
        above = best["target_arousal"] > best["target_arousal"].median()
        assert best["region"].str.contains("high arousal").tolist() == above.tolist()
        shares = regions.region_shares(best, "mean", n_resamples=100)
        np.testing.assert_allclose(shares.groupby("region")["share"].sum(), 1)
        assert shares.groupby("region")["n"].first().sum() == N
        assert regions.share_text(shares).shape == (4, 5)

    def test_verdict_and_test_see_an_owner(self) -> None:
        clips = toy_clips()
        errors = np.abs(np.random.default_rng(5).normal(1, 0.05, size=(2, 4, N, 2)))
        high = (clips["target_arousal"] > clips["target_arousal"].median()).to_numpy()
        errors[:, 2, high] = 0.1
        predictions = single(errors)
        best = regions.best_sources(regions.source_errors(predictions))
        shares = {c: regions.region_shares(best, c) for c in regions.CRITERIA}
        assert regions.no_owner(shares.values()) == FAILS
        text = regions.region_paragraph(predictions, best, shares)
        assert "(figure 3): **does not hold**" in text
        assert "drums at" in text
        assert "p = 0.000" in text

    def test_verdict_without_owner(self) -> None:
        """Every source is best for a quarter of the clips of each region."""
        rows = pd.DataFrame({"share": [0.25] * 4, "low": [0.1] * 4, "high": [0.4] * 4})
        assert regions.no_owner([rows]) == HOLDS
        assert regions.no_owner([rows, rows.assign(high=0.6)]) == OPEN

    def test_one_song_tells_nothing_of_a_region(self) -> None:
        best = pd.DataFrame({"id": ["a"], "group": ["a"], "region": [regions.REGIONS[True, True]]})
        shares = regions.region_shares(best.assign(valence="bass"), "valence")
        assert len(shares) == 4
        assert shares[["low", "high"]].to_numpy().tolist() == [[0, 1]] * 4

    def test_models_agree_or_not(self) -> None:
        errors = np.random.default_rng(6).normal(size=(1, 4, N, 2))
        assert regions.model_agreement(single(errors), "mean") is None
        alike = regions.model_agreement(single(np.tile(errors, (3, 1, 1, 1))), "mean")
        assert alike is not None
        assert alike[0] == 1
        other = np.random.default_rng(7).normal(size=(4, 4, N, 2))
        found = regions.model_agreement(single(other), "mean")
        assert found is not None
        assert found[0] == pytest.approx(found[1], abs=0.1)


class TestContributions:
    def test_left_out_against_brute_force(self, subsets: pd.DataFrame) -> None:
        table = contributions.left_out_table(subsets)
        said, labels = parts(1)[:, 7], toy_clips().loc[7, ["target_valence", "target_arousal"]]
        for k, source in enumerate(SOURCES):
            for d, dimension in enumerate(DIMENSIONS):
                own = (table["id"] == "c07") & (table["source"] == source)
                row = table[own & (table["dimension"] == dimension)].iloc[0]
                whole, less = said.sum(axis=0)[d], said.sum(axis=0)[d] - said[k, d]
                assert row["signed"] == pytest.approx(said[k, d])
                assert row["absolute"] == pytest.approx(abs(said[k, d]))
                expected = (less - labels.iloc[d]) ** 2 - (whole - labels.iloc[d]) ** 2
                assert row["error"] == pytest.approx(expected)
        assert len(table) == N * 4 * 2

    def test_left_out_needs_the_same_clips(self, subsets: pd.DataFrame) -> None:
        fewer = subsets[(subsets["system"] != COMBINATIONS[6]) | (subsets["fold"] == 0)]
        with pytest.raises(ParameterError, match="tested on different clips"):
            contributions.left_out_table(fewer)

    def test_summary(self, subsets: pd.DataFrame) -> None:
        table = contributions.left_out_table(subsets)
        found = contributions.both_methods(table, table)
        parts_of = contributions.song_shares(found)
        np.testing.assert_allclose(parts_of.sum(axis=1), 1)
        summary = contributions.contribution_summary(found, n_resamples=100)
        assert len(summary) == 2 * 2 * 4
        for (_, dimension), rows in summary.groupby(["method", "dimension"]):
            by_source = rows.set_index("source")
            assert by_source["share"].sum() == pytest.approx(1)
            assert by_source["share"].idxmax() == "drums"
            assert by_source["error_low"]["drums"] > 0 > by_source["error_low"]["other"]
            mean = table[(table["source"] == "bass") & (table["dimension"] == dimension)]
            assert by_source.loc["bass", "error"] == pytest.approx(mean["error"].mean())
        assert contributions.summary_text(summary, "valence").shape == (4, 6)
        text = contributions.findings(found, summary)
        assert text.count("drums has the largest share") == 4

    def test_songs(self, subsets: pd.DataFrame) -> None:
        table = contributions.left_out_table(subsets)
        found = contributions.both_methods(table, table)
        source, most, least = contributions.extreme_songs(found)
        shares = contributions.song_shares(found).loc["permutation"].groupby("id").mean()
        assert source == "drums"
        assert shares["drums"].idxmax() == most
        assert shares["drums"].idxmin() == least
        text = contributions.song_table(found, [most, least])
        assert text.index[:2].tolist() == [f"{most}: vocals", f"{most}: bass"]


def same_part(frame: pd.DataFrame) -> pd.Series:
    """Whether the clip belongs to the test part of the fold in `subsets`."""
    return frame["id"].str[1:].astype(int) % N_FOLDS == frame["fold"]


class TestCost:
    def test_cost_of_separation(self, subsets: pd.DataFrame) -> None:
        chosen = subsets[subsets["system"].isin([*COMBINATIONS, *regions.SINGLE_MODELS])]
        alone = single(np.full((2, 4, N, 2), 0.1))
        true = pd.concat([chosen, alone[alone["id"].isin(chosen["id"]) & same_part(alone)]])
        blurred = true.assign(valence=true["valence"] * 0.5)
        cost = carriers.separation_cost(true, blurred)
        rows = cost.set_index(["system", "dimension"])
        assert rows.loc[(combinations.ALL_SOURCES, "arousal"), "cost"] == 0
        assert rows.loc[(combinations.ALL_SOURCES, "valence"), "verdict"] == HOLDS
        mix = subsets[subsets["system"] == combinations.MIX]
        text = carriers.cost_paragraph(cost, mix)
        assert (
            "Valence: that separation costs the fusion of all sources something **holds**" in text
        )
        assert carriers.cost_text(cost).shape[1] == 6


def drawn(figure: Figure) -> int:
    """Number of its panels; it must be as wide as the page, and can be drawn."""
    assert figure.get_figwidth() == shared.WIDTH
    figure.savefig(io.BytesIO(), dpi=40)
    return len(figure.axes)


class TestFigures:
    def test_combinations_and_gains(self, subsets: pd.DataFrame) -> None:
        scores = combinations.r2_scores(subsets, n_resamples=50)
        table = combinations.combination_table(scores)
        mix = {dimension: scores[combinations.MIX, dimension] for dimension in DIMENSIONS}
        figure = figures.combinations(table, mix)
        assert drawn(figure) == 2
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert labels[:4] == ["V", "B", "D", "O"]
        assert drawn(figures.gains(combinations.gains(scores))) == 2

    def test_plane_shows_each_clip_once(self) -> None:
        errors = np.random.default_rng(4).normal(size=(1, 4, N, 2))
        figure = figures.plane(regions.best_sources(regions.source_errors(single(errors))))
        assert drawn(figure) == 3
        for axis in figure.axes:
            assert sum(np.shape(points.get_offsets())[0] for points in axis.collections) == N

    def test_contributions(self, subsets: pd.DataFrame) -> None:
        table = contributions.left_out_table(subsets)
        found = contributions.both_methods(table, table)
        summary = contributions.contribution_summary(found, n_resamples=50)
        assert drawn(figures.contributions(found, summary)) == 2
