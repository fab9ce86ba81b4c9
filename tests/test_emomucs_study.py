"""Rows, claims, facts, tables and figures of deberardinis2020, and scores of regression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toy_sources import answers_of, toy_clip, toy_targets

from mer.audio import resample
from mer.clips import Corpus
from mer.corpora import emotify
from mer.errors import MissingDataError, ParameterError
from mer.evaluation.metrics import r2
from mer.features.descriptors import acoustic_descriptors
from mer.papers.deberardinis2020 import tables as paper
from mer.papers.deberardinis2020.systems import SourceNetwork, excerpt_descriptors
from mer.separation import MIX
from mer.study import claims
from mer.study.claims import Claim, Comparison, Judged, differences_text, judge, paragraphs, verdict
from mer.study.profiles import NAMES, get_profile
from mer.study.results import Results
from mer.study.scores import answers, paired_difference, scores
from mer.study.settings import Settings
from mer.study.store import RunStore
from mer.study.study import Study
from mer.study.tables import KNOWN_ROWS

N = 60
CLAIMS = (*paper.SOURCE_CLAIMS, *paper.FUSION_CLAIMS, *paper.TRAINING_CLAIMS)
QUESTIONS = (
    *(*paper.SOURCE_QUESTIONS, *paper.FUSION_QUESTIONS),
    *(*paper.UNIFIED_QUESTIONS, *paper.TRAINING_QUESTIONS),
)


def predicted(system: str, noise: float, folds: tuple[int, ...] = (0, 1)) -> pd.DataFrame:
    """Predictions that miss the labels by that much; every fold tests the same clips."""
    clips = toy_targets(N)
    labels = clips[["target_valence", "target_arousal"]].to_numpy()
    frames = [
        answers_of(
            system, fold, clips, labels + noise * np.random.default_rng(fold).normal(size=(N, 2))
        )
        for fold in folds
    ]
    return pd.concat(frames, ignore_index=True)


def gain(c: Comparison) -> float:
    """In the paper."""
    better, worse = (paper.PUBLISHED[row, c.task, c.metric] for row in (c.better, c.worse))
    return better - worse


def places(*frames: pd.DataFrame) -> dict[str, claims.Answers]:
    return {"here": answers(pd.concat(frames, ignore_index=True))}


class TestClaimsOnScores:
    @pytest.mark.parametrize(
        ("first", "second", "expected"),
        [
            (0.1, 0.5, claims.SUPPORTED),
            (0.5, 0.1, claims.CONTRADICTED),
            (0.3, 0.3, claims.INCONCLUSIVE),
        ],
    )
    @pytest.mark.parametrize("metric", ["r2", "rmse"])
    def test_the_interval_decides(
        self, first: float, second: float, expected: str, metric: str
    ) -> None:
        claim = Claim("a is better", "1", (Comparison("a", "b", "valence", metric),))
        frames = places(predicted("a", first), predicted("b", second))
        cells = {("a", "valence", metric): 0.5, ("b", "valence", metric): 0.3}
        judged = judge([claim], frames, cells)
        assert verdict(claim, judged, "here") == expected
        row = judged.iloc[0]
        assert row["task"] == f"{metric.upper()} valence"
        assert row["published"] == pytest.approx(0.2)
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["n"] == N

    def test_difference_is_that_of_the_means_over_models(self) -> None:
        first, second = predicted("a", 0.1), predicted("b", 0.5)
        found = paired_difference(first, second, "r2", "valence")
        means = [
            np.mean([r2(part["target_valence"], part["valence"]) for _, part in f.groupby("fold")])
            for f in (first, second)
        ]
        assert found.mean == pytest.approx(means[0] - means[1])
        with pytest.raises(ParameterError, match="tested on different clips or folds"):
            paired_difference(first, second[second["fold"] == 0], "r2", "valence")

    def test_many_differences_are_summed_up_and_listed(self) -> None:
        worse = [predicted(name, 0.4) for name in "bcdef"]
        comparisons = tuple(Comparison("a", b, "valence", "r2") for b in "bcdef")
        claim = Claim("a is best", "1", comparisons)
        cells = {("a", "valence", "r2"): 0.4, ("b", "valence", "r2"): 0.3}
        judged = judge([claim], places(predicted("a", 0.1), *worse), cells)
        text = paragraphs(Judged([claim], judged, "toys", {"here": {}}), published_on="PMEmo")
        assert "**a is best** (table 1)\n\n- Here: **supported**. 5 differences: 5 supp" in text
        table = differences_text(pd.concat([judged, judged]))
        assert len(table) == 5
        assert list(table) == ["of", "difference", "published", "direction"]
        assert table.loc["a minus b", "published"] == "+.100"
        few = Claim(claim.text, "1", comparisons[:1])
        text = paragraphs(Judged([few], judged[:1], "toys", {"here": {}}), published_on="PMEmo")
        assert text.endswith("(published, on PMEmo: +.100).")


class TestRows:
    def test_rows_of_the_tables(self) -> None:
        rows = (paper.SINGLE, paper.FUSED, paper.COMBINATIONS)
        assert [len(own) for own in rows] == [10, 15, 15]
        assert list(paper.COMBINED)[:5] == ["V", "B", "D", "O", "V+B"]
        assert paper.COMBINED["V+B"] == "EmoMucs-C2D, late, freeze, V+B"
        last = "EmoMucs-C2D, late, freeze"
        assert list(paper.COMBINATIONS)[-1] == last
        assert paper.COMBINATIONS[last] == paper.FUSED[last]

    def test_published_scores(self) -> None:
        scores = paper.PUBLISHED
        assert len(scores) == 84
        assert scores["C2D-D", "valence", "r2"] == 0.3613
        assert scores["EmoMucs-C1D, mid, freeze", "valence", "rmse"] == 0.2428
        assert scores["EmoMucs-C2D, late, freeze", "valence", "r2"] == 0.4814
        assert {system for system, _, _ in scores} <= set(KNOWN_ROWS)
        assert "emotify" in paper.TABLE_1.beside
        assert "composed_band" not in paper.TABLE_1.beside

    def test_claims_are_about_known_systems_and_published_gains(self) -> None:
        assert len({claim.text for claim in (*CLAIMS, *QUESTIONS)}) == len(CLAIMS) + len(QUESTIONS)
        for claim in (*CLAIMS, *QUESTIONS):
            for c in claim.comparisons:
                assert {c.better, c.worse} <= {*KNOWN_ROWS}
                if claim in CLAIMS:
                    assert gain(c) > 0, c

    def test_the_paper_finds_no_gain_on_arousal(self) -> None:
        for c in paper.FUSION_QUESTIONS[0].comparisons:
            assert abs(gain(c)) < 0.01

    def test_parameter_counts_are_those_of_the_paper(self) -> None:
        names = ("C1D-M", "C2D-M", paper.PROPOSED["C2D"], "Mean")
        rows = {name: KNOWN_ROWS[name] for name in names}
        short = {**rows, "C1D-M": rows["C1D-M"].configured({"seconds": 8.0})}
        counts: Any = paper.parameter_counts(short).astype(object).to_dict("index")
        assert list(counts) == list(names[:3])
        assert counts["C1D-M"]["published"] == counts["C1D-M"]["20 s"] == 86354
        assert counts["C1D-M"]["8 s"] < 86354
        assert counts["C2D-M"]["published"] == counts["C2D-M"]["20 s"] == 37698
        assert counts[paper.PROPOSED["C2D"]]["20 s"] > 4 * 37698

    @pytest.mark.parametrize("name", NAMES)
    def test_families_are_sized_alike(self, name: str) -> None:
        profile = get_profile(name)
        found: dict[str, dict[str, Any]] = {}
        for rows in (paper.SINGLE, paper.UNIFIED, paper.FUSED, paper.COMBINATIONS):
            for row, system in rows.items():
                sized = profile.sized(row, system).parameters
                own = {key: sized[key] for key in profile.families[system.family]}
                assert found.setdefault(system.family, own) == own
        assert set(found) == {"C1D", "C2D", "C1D fusion", "C2D fusion"}


def results_of(predictions: pd.DataFrame) -> Results:
    study: Any = None
    found = Results(study, [], [], [], "nested")
    found.__dict__["predictions"] = predictions
    return found


class TestWaysOfScoring:
    def test_systems_are_compared_on_folds_that_they_share(self) -> None:
        frames = [predicted("a", 0.1), predicted("b", 0.5), predicted("c", 0.2, (1,))]
        parts = paper.by_folds(results_of(pd.concat(frames, ignore_index=True)))
        assert {p.place: sorted(p.predictions["system"].unique()) for p in parts} == {
            "all 2 models": ["a", "b"],
            "the model of fold 1": ["a", "b", "c"],
        }
        assert set(parts[1].predictions["fold"]) == {1}
        assert [p.place for p in paper.by_folds(results_of(frames[0]))] == ["all 2 models"]
        assert [p.place for p in paper.by_folds(results_of(frames[2]))] == ["one model"]
        assert paper.by_folds(results_of(frames[0].iloc[:0])) == []

    def test_ensembles(self) -> None:
        predictions = predicted("a", 0.4, (0, 1, 2, 3))
        joined = paper.inner_ensembles(predictions, inner_folds=2)
        assert len(joined) == 2 * N
        assert set(joined["fold"]) == {0, 1}
        one = joined[(joined["id"] == "c05") & (joined["fold"] == 1)].iloc[0]
        own = predictions[(predictions["id"] == "c05") & (predictions["fold"] > 1)]
        assert one["arousal"] == own["arousal"].mean()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The second half of the clips is half a second long, the rest a second."""
    folder = tmp_path_factory.mktemp("audio")
    clips = [toy_clip(folder, k, 1.0 if k < 6 else 0.5) for k in range(12)]
    return Corpus("toy", clips, licence="-", citation="-")


def study(corpus: Corpus, folder: Path, name: str = "toy", *, compute: bool = True) -> Study:
    made = Study(Settings(profile="smoke", compute=compute), "regression", RunStore(folder))
    made.corpus_name = name
    made.__dict__["corpus"] = corpus
    made.__dict__["card"] = {"fingerprint": corpus.fingerprint}
    return made


def ratings() -> pd.DataFrame:
    """Four listeners who agree on valence, but for noise, and not on arousal."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": np.repeat([f"c{k:02d}" for k in range(12)], 4)})
    valence = np.repeat(np.arange(12) / 12, 4) + 0.05 * rng.normal(size=48)
    return frame.assign(valence=valence, arousal=rng.normal(size=48))


class TestFacts:
    def test_facts_are_stored(
        self, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(emotify, "ratings", ratings)
        reader = study(corpus, tmp_path, "emotify", compute=False)
        with pytest.raises(MissingDataError, match="'targets emotify' is not stored"):
            paper.target_facts(reader)
        found = paper.target_facts(study(corpus, tmp_path, "emotify"))
        labels = corpus.to_frame()["valence"].agg(["mean", "std", "min", "max"])
        stored = found.loc["valence"][["mean", "sd", "min", "max"]]
        np.testing.assert_allclose(stored, labels, atol=1e-5)
        assert found.loc["arousal", "ratings"] == 48
        reliability = found["reliability"].to_dict()
        assert reliability["valence"] > 0.95 > reliability["arousal"]
        pd.testing.assert_frame_equal(paper.target_facts(reader), found)

    def test_corpus_without_ratings(self, corpus: Corpus, tmp_path: Path) -> None:
        found = paper.target_facts(study(corpus, tmp_path))
        assert found["reliability"].isna().all()
        assert found["sd"].notna().all()

    def test_short_clips_are_counted(self, corpus: Corpus, tmp_path: Path) -> None:
        found = paper.padding(study(corpus, tmp_path), 0.75)
        assert found["id"].tolist() == [f"c{k:02d}" for k in range(6, 12)]
        assert found["seconds"].tolist() == pytest.approx([0.25] * 6)
        assert paper.padding(study(corpus, tmp_path), 0.5).empty
        assert paper.padding(study(corpus, tmp_path, compute=False), 0.5).empty

    @pytest.mark.realdata
    @pytest.mark.usefixtures("data_folder")
    def test_emotify_ratings_are_those_of_its_clips(self) -> None:
        found = emotify.ratings()
        assert found["id"].nunique() == 400
        assert found["valence"].isna().sum() == found["arousal"].isna().sum() == 103


def test_table_has_all_metrics_and_the_number_of_models() -> None:
    predictions = pd.concat([predicted("SVR", 0.3), predicted("C2D-M", 0.5)])
    scored = scores(predictions, {("C2D-M", "valence", "r2"): 0.4143}, n_resamples=50)
    shown = paper.score_text(scored, ["SVR", "C2D-M", "C1D-M"])
    published = ("R2 valence", "published (PMEmo)")
    assert list(shown) == [
        published,
        *((name, "here") for name in ("R2 valence", "R2 arousal", "RMSE valence", "RMSE arousal")),
        ("", "models"),
    ]
    assert shown[published].tolist() == ["–", ".414", "–"]
    assert shown.loc["C1D-M", ("R2 valence", "here")] == "was not run"
    assert shown["", "models"].tolist() == [2, 2, 0]
    one = paper.score_text(scored, ["SVR"], ["r2"])
    assert {*one.columns.get_level_values(0)} == {"R2 valence", "R2 arousal", ""}


def test_descriptors_of_what_the_networks_hear(tiny: Corpus) -> None:
    """They are those of the published excerpt, and do not depend on what lies outside it."""
    clip = tiny[0]
    network = SourceNetwork()
    excerpt = network.excerpt(clip, MIX)
    expected = acoustic_descriptors(resample(excerpt, 12000, 22050), 22050)
    np.testing.assert_array_equal(excerpt_descriptors(clip), list(expected.values()))
    rows = paper.BASELINES
    assert rows[paper.SVR].revisions == rows["SVR"].revisions
    assert rows[paper.SVR].stand_in.startswith("our descriptors, chosen")
