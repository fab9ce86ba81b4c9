"""Which source tells the emotion: combinations, regions, contributions and known carriers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toy_sources import DIMENSIONS, answers_of, separate_by_tones, toy_corpus, toy_plan, toy_targets

from mer.clips import Clip, Corpus
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.evaluation.contributions import exchanged
from mer.evaluation.metrics import r2
from mer.papers.deberardinis2020 import carriers, combinations, contributions, systems
from mer.papers.deberardinis2020.systems import SOURCES, FittedFusion
from mer.papers.deberardinis2020.tables import COMBINATIONS, COMBINED
from mer.study import executor
from mer.study.claims import CONTRADICTED, INCONCLUSIVE, SUPPORTED
from mer.study.executor import execute
from mer.study.settings import Settings
from mer.study.specs import RunSpec
from mer.study.store import RunStore
from mer.study.study import Study
from mer.study.text import number

N, N_FOLDS = 48, 2
TINY = {"seconds": 1.2, "epochs": 6, "batch_size": 8, "source_epochs": 1, "source_batch_size": 8}
ALL = combinations.ALL_SOURCES


def parts(seed: int) -> np.ndarray:
    """What each source says of each clip: the fourth nothing, the first two the same much."""
    noise = np.random.default_rng(seed).normal(size=(4, N, 2)) * 0.05
    labels = toy_targets(N)[["target_valence", "target_arousal"]].to_numpy()
    return np.asarray([0.25, 0.25, 0.4, 0.0])[:, None, None] * labels + noise


@pytest.fixture(scope="module")
def subsets() -> pd.DataFrame:
    """Every subset of the sources adds up what they say; two models, tested on half the clips."""
    clips, frames = toy_targets(N), []
    for fold in range(N_FOLDS):
        rows, said = np.arange(fold, N, N_FOLDS), parts(fold)
        test = clips.iloc[rows]
        for system, fusion in COMBINATIONS.items():
            used = [SOURCES.index(source) for source in fusion.sources]  # type: ignore[attr-defined]
            frames.append(answers_of(system, fold, test, said[used].sum(axis=0)[rows]))
        frames.append(answers_of("Mean", fold, test, np.zeros((len(rows), 2))))
        frames.append(answers_of("C2D-M", fold, test, said[2][rows]))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def scores(subsets: pd.DataFrame) -> combinations.Scores:
    return combinations.r2_scores(subsets)


@pytest.fixture
def study(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """On a toy corpus, without a separator."""
    separate_by_tones(monkeypatch)
    monkeypatch.setattr(executor, "_limit_threads", lambda threads: None)
    found = Study(Settings(profile="smoke", n_jobs=1), "regression", RunStore(tmp_path))
    found.corpus_name = "toy"
    found.__dict__["corpus"] = corpus
    return found


@pytest.fixture(scope="module")
def corpus(toy_clips: list[Clip]) -> Corpus:
    return toy_corpus(toy_clips)


class TestCombinations:
    def test_scores_are_means_over_models(
        self, subsets: pd.DataFrame, scores: combinations.Scores
    ) -> None:
        name = COMBINED["V+B+D"]
        frames = subsets[subsets["system"] == name].groupby("fold")
        expected = [r2(frame["target_arousal"], frame["arousal"]) for _, frame in frames]
        assert scores[name, "arousal"].mean == pytest.approx(np.mean(expected))
        table = combinations.combination_table(scores)
        assert table["sources"].tolist()[::2][:5] == ["V", "B", "D", "O", "V+B"]
        assert (table["low"] <= table["high"]).all()

    def test_gains_sum_to_that_of_all_sources(self, scores: combinations.Scores) -> None:
        found = combinations.gains(scores)
        for dimension, rows in found.groupby("dimension"):
            whole, none = (scores[name, str(dimension)].mean for name in (ALL, "Mean"))
            assert rows["gain"].sum() == pytest.approx(whole - none)
            gain = rows.set_index("source")["gain"]
            assert gain["vocals"] == pytest.approx(gain["bass"], abs=0.05)
            assert gain["drums"] > gain["vocals"] > 0.1 > abs(gain["other"])

    def test_other_clips(self, subsets: pd.DataFrame) -> None:
        fewer = subsets[(subsets["system"] != COMBINED["V+B"]) | (subsets["id"] != "c05")]
        with pytest.raises(ParameterError, match="tested on different clips or folds"):
            combinations.r2_scores(fewer)

    def test_claims(self, scores: combinations.Scores) -> None:
        claims = (*combinations.CLAIMS, combinations.EQUAL)
        judged = combinations.judge_combinations(claims, scores, "toy", N)
        found = judged.groupby("claim")["direction"].agg(set)
        assert found["Among single sources, drums predict valence best"] == {SUPPORTED}
        best = "Among pairs of sources, bass and other predict valence best"
        assert CONTRADICTED in found[best]
        assert found[combinations.EQUAL.text] == {CONTRADICTED}
        assert len(judged[judged["claim"] == claims[0].text]) == 14
        assert len(judged) == 14 + 14 + 3 + 5 + 5 + 3 + 3 + 1

    def test_combinations_that_were_not_run(self, scores: combinations.Scores) -> None:
        known = {key: score for key, score in scores.items() if key[0] != COMBINED["B"]}
        judged = combinations.judge_combinations(combinations.CLAIMS, known, "toy", N)
        assert len(judged) == 13 + 13 + 2 + 5 + 5 + 3 + 3


def single(errors: Any) -> pd.DataFrame:
    """Predictions of the four single-source models, off by (n_folds, 4, n, 2); all clips each."""
    clips = toy_targets(N)
    labels = clips[["target_valence", "target_arousal"]].to_numpy()
    frames = [
        answers_of(system, fold, clips, labels + by_source[k])
        for fold, by_source in enumerate(errors)
        for k, system in enumerate(combinations.SINGLE_MODELS)
    ]
    return pd.concat(frames, ignore_index=True)


class TestRegions:
    def test_best_source_against_brute_force(self) -> None:
        errors = np.random.default_rng(4).normal(size=(3, 4, N, 2))
        found = combinations.source_errors(single(errors))
        rmse = np.sqrt((errors**2).mean(axis=0))
        one = found[(found["id"] == "c07") & (found["source"] == "drums")].iloc[0]
        np.testing.assert_allclose(one[["valence", "arousal"]].astype(float), rmse[2, 7])
        assert one["mean"] == pytest.approx(rmse[2, 7].mean())
        best = combinations.best_sources(found)
        names = np.asarray(SOURCES)
        assert best["valence"].tolist() == names[rmse[:, :, 0].argmin(axis=0)].tolist()
        assert best["mean"].tolist() == names[rmse.mean(axis=2).argmin(axis=0)].tolist()
        above = best["target_arousal"] > best["target_arousal"].median()
        assert best["region"].str.contains("high arousal").tolist() == above.tolist()
        shares = combinations.region_shares(best, "mean")
        np.testing.assert_allclose(shares.groupby("region")["share"].sum(), 1)
        assert shares.groupby("region")["n"].first().sum() == N

    def test_panels_stand_as_in_the_plane(self) -> None:
        errors = np.random.default_rng(4).normal(size=(3, 4, N, 2))
        best = combinations.best_sources(combinations.source_errors(single(errors)))
        shares = {c: combinations.region_shares(best, c) for c in combinations.CRITERIA}
        figure = combinations.plane_figure(shares)
        titles = [axis.get_title().partition(" (")[0] for axis in figure.axes]
        assert titles == [
            *("low valence, high arousal", "high valence, high arousal"),
            *("low valence, low arousal", "high valence, low arousal"),
        ]
        first = shares["valence"].query("region == 'low valence, high arousal'")
        assert f"({first['n'].iloc[0]} clips)" in figure.axes[0].get_title()
        drawn = figure.axes[0].lines[0].get_xdata()
        np.testing.assert_allclose(np.asarray(drawn), first["share"])

    def test_verdict_sees_an_owner(self) -> None:
        clips = toy_targets(N)
        errors = np.abs(np.random.default_rng(5).normal(1, 0.05, size=(2, 4, N, 2)))
        high = (clips["target_arousal"] > clips["target_arousal"].median()).to_numpy()
        errors[:, 2, high] = 0.1
        best = combinations.best_sources(combinations.source_errors(single(errors)))
        shares = [combinations.region_shares(best, c) for c in combinations.CRITERIA]
        assert combinations.no_owner(shares) == CONTRADICTED
        assert {rows.nlargest(1, "share")["source"].item() for rows in shares} == {"drums"}

    def test_verdict_without_owner(self) -> None:
        """Every source is best for a quarter of the clips of each region."""
        rows = pd.DataFrame({"share": [0.25] * 4, "low": [0.1] * 4, "high": [0.4] * 4})
        assert combinations.no_owner([rows]) == SUPPORTED
        assert combinations.no_owner([rows, rows.assign(high=0.6)]) == INCONCLUSIVE

    def test_one_song_tells_nothing_of_a_region(self) -> None:
        region = combinations.REGIONS[True, True]
        best = pd.DataFrame({"id": ["a"], "group": ["a"], "region": [region]})
        shares = combinations.region_shares(best.assign(valence="bass"), "valence")
        assert shares[["low", "high"]].to_numpy().tolist() == [[0, 1]] * 4

    def test_models_agree_or_not(self) -> None:
        errors = np.random.default_rng(6).normal(size=(1, 4, N, 2))
        assert combinations.model_agreement(single(errors), "mean") is None
        other = np.random.default_rng(7).normal(size=(4, 4, N, 2))
        pairs = [
            combinations.model_agreement(single(models), "mean")
            for models in (np.tile(errors, (3, 1, 1, 1)), other)
        ]
        assert pairs[0][0] == 1  # type: ignore[index]
        assert np.ptp(pairs[1]) < 0.1  # type: ignore[arg-type]


class TestLeavingOut:
    def test_against_brute_force(self, subsets: pd.DataFrame) -> None:
        table = contributions.left_out_table(subsets)
        said, labels = parts(1)[:, 7], toy_targets(N).loc[7, ["target_valence", "target_arousal"]]
        rows: Any = table[table["id"] == "c07"].set_index(["source", "dimension"]).to_dict("index")
        for k, source in enumerate(SOURCES):
            for d, dimension in enumerate(DIMENSIONS):
                row = rows[source, dimension]
                whole, less = said.sum(axis=0)[d], said.sum(axis=0)[d] - said[k, d]
                assert row["signed"] == pytest.approx(said[k, d])
                assert row["absolute"] == pytest.approx(abs(said[k, d]))
                expected = (less - labels.iloc[d]) ** 2 - (whole - labels.iloc[d]) ** 2
                assert row["error"] == pytest.approx(expected)
        assert len(table) == N * 4 * 2

    def test_it_needs_the_same_clips(self, subsets: pd.DataFrame) -> None:
        fewer = subsets[(subsets["system"] != COMBINED["V+B+D"]) | (subsets["fold"] == 0)]
        with pytest.raises(ParameterError, match="tested on different clips"):
            contributions.left_out_table(fewer)

    def test_summary(self, subsets: pd.DataFrame) -> None:
        table = contributions.left_out_table(subsets)
        found = contributions.both_methods(table, table)
        by_clip = found.groupby(["method", "dimension", "id"])["share"].sum()
        np.testing.assert_allclose(by_clip, 1)
        summary = contributions.contribution_summary(found)
        text = contributions.summary_text(summary, "valence")
        assert text["method"].tolist() == [m for m in contributions.METHODS for _ in SOURCES]
        assert list(text.index) == [*SOURCES] * 2
        values = summary.query("dimension == 'valence' and method == 'permutation'")["absolute"]
        assert text["change"].iloc[0].startswith(number(values.iloc[0]))
        assert len(summary) == 2 * 2 * 4
        for (_, dimension), rows in summary.groupby(["method", "dimension"]):
            by_source = rows.set_index("source")
            assert by_source["share"].sum() == pytest.approx(1)
            assert by_source["share"].idxmax() == "drums"
            assert by_source["error_low"]["drums"] > 0 > by_source["error_low"]["other"]
            mean = table[(table["source"] == "bass") & (table["dimension"] == dimension)]
            assert by_source.loc["bass", "error"] == pytest.approx(mean["error"].mean())
        shares = found.query("method == 'permutation' and source == 'drums'")
        by_song = shares.groupby("id")["share"].mean()
        expected = ("drums", by_song.idxmax(), by_song.idxmin())
        assert contributions.extreme_songs(found) == expected


def planned(corpus: Corpus) -> list[RunSpec]:
    return toy_plan({ALL: COMBINATIONS[ALL].configured(TINY)}, corpus, 2)


def fitted_of(spec: RunSpec, study: Study) -> FittedFusion:
    (found,) = study.inspect([spec], lambda fitted, *_: fitted)
    assert isinstance(found, FittedFusion)
    return found


class TestPermutation:
    def test_round_trip(self, study: Study, corpus: Corpus) -> None:
        specs = planned(corpus)
        execute(specs, corpus, study.store, n_jobs=1, progress=False)
        computed = contributions.permutation_table(study, specs)
        assert len(computed) == 6 * 4 * 2
        assert computed[["signed", "absolute"]].abs().to_numpy().max() > 0
        assert (computed["absolute"] >= computed["signed"].abs() - 1e-4).all()
        bare = study.settings.model_copy(update={"compute": False})
        reader = Study(bare, "regression", study.store)
        reader.corpus_name = "toy"
        pd.testing.assert_frame_equal(contributions.permutation_table(reader, specs), computed)
        with pytest.raises(MissingDataError, match="is not stored"):
            contributions.permutation_table(reader, specs[:1])

    def test_fitted_again_it_must_predict_the_same(
        self, study: Study, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (spec,) = specs = planned(corpus)[1:]
        execute(specs, corpus, study.store, n_jobs=1, progress=False)
        stored = study.store.read(spec)
        given = fitted_of(spec, study).predict(
            corpus.select(corpus.split(spec.split).folds[1].test)
        )
        np.testing.assert_allclose(
            given[[*DIMENSIONS]], stored.predictions[[*DIMENSIONS]], atol=1e-5
        )
        stored.predictions["arousal"] += 0.01
        monkeypatch.setattr(RunStore, "read", lambda self, spec: stored)
        with pytest.raises(InvalidDataError, match=r"differs by up to 0\.0100 from the stored"):
            contributions.permutation_table(study, specs)

    def test_exchanging_answers_is_exchanging_spectrograms(
        self, study: Study, corpus: Corpus
    ) -> None:
        spec, fold = planned(corpus)[0], corpus.split("nested5x5").folds[0]
        fitted = fitted_of(spec, study)
        found, _ = contributions.permuted(fitted, spec, corpus, fold)
        log_mels = fitted.system.log_mels(corpus.select(fold.test))
        given = fitted.predict_log_mels(log_mels)
        changes = []
        for other in range(1, 6):
            replaced = log_mels.copy()
            replaced[0, 2] = log_mels[other, 2]
            changes.append(given[0] - fitted.predict_log_mels(replaced)[0])
        rows = found[(found["id"] == fold.test[0]) & (found["source"] == "drums")]
        np.testing.assert_allclose(rows["signed"], np.mean(changes, axis=0), atol=1e-4)

    def test_prepared_runs_need_no_audio(
        self, study: Study, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        specs = planned(corpus)[:1]
        carriers.prepare(study, specs)
        monkeypatch.setattr(systems, "source_waveform", None)
        assert execute(specs, corpus, study.store, n_jobs=1, progress=False) == 1

    def test_other_systems(self, study: Study) -> None:
        with pytest.raises(ParameterError, match="contributions are computed for runs of"):
            contributions.permutation_table(study, [])

    def test_excerpts(self, study: Study, corpus: Corpus) -> None:
        specs = planned(corpus)
        table = contributions.excerpt_table(study, specs[0], ["c16", "c19"])
        assert table["id"].unique().tolist() == ["c16", "c19"]
        assert table["input"].unique().tolist() == ["mix", *SOURCES]
        bands = table.filter(like="band_")
        assert bands.shape[1] == 24
        assert all(pd.api.types.is_integer_dtype(kind) for kind in bands.dtypes)
        assert table["seconds"].between(0, 1.2).all()

    def test_players(self, study: Study, corpus: Corpus) -> None:
        html = contributions.players({"<b>one": (corpus[0], planned(corpus)[0])}).data
        assert "<b>" not in html
        assert "<th>&lt;b&gt;one</th>" in html
        assert html.count("<audio aria-label=") == 5
        assert html.count("data:audio/mpeg;base64,") == 5


def known_carriers(n_songs: int = 60) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Contributions where the carrier follows the label, the others a third of it."""
    rng = np.random.default_rng(8)
    labels = np.repeat(rng.choice([-1, 1], (n_songs, 2)) * rng.uniform(0.5, 1, (n_songs, 2)), 2, 0)
    carrier = np.repeat(rng.integers(4, size=(n_songs, 2)), 2, axis=0)
    strengths = np.where(np.arange(4) == carrier[:, :, None], 1.0, 1 / 3)
    inputs = (strengths * labels[:, :, None]).transpose(0, 2, 1)
    groups = np.repeat([f"song-{k}" for k in range(n_songs)], 2)
    ids = [f"c{k}" for k in range(len(groups))]
    found = exchanged(lambda x: x.mean(axis=1), inputs, labels, groups)
    frame = contributions._frame(found, pd.DataFrame({"id": ids, "group": groups}), SOURCES)
    names = np.asarray(SOURCES)[carrier]
    return frame, pd.DataFrame({"id": ids, "valence": names[:, 0], "arousal": names[:, 1]})


def hits_of(table: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Hits of these contributions, and of single sources that err the same everywhere."""
    clips = table.drop_duplicates(["id", "source"])[["id", "group", "source"]]
    errors = clips.assign(valence=0.3, arousal=0.3)
    found = carriers.source_scores(contributions.both_methods(table, table), errors)
    return carriers.hit_table(found, known)


class TestCarriers:
    def test_known_carrier_is_found(self) -> None:
        hits = hits_of(*known_carriers())
        assert len(hits) == 3 * 2 * 2
        found = hits[hits["method"] == "permutation"]
        assert (found["hits"] > 0.8).all()
        assert set(found["verdict"]) == {SUPPORTED}
        np.testing.assert_allclose(found["chance"], 0.25, atol=0.08)

    def test_what_says_nothing_finds_nothing(self) -> None:
        table, known = known_carriers()
        blind = table.assign(absolute=np.random.default_rng(9).random(len(table)))
        hits = hits_of(blind, known)
        assert SUPPORTED not in set(hits["verdict"])
        assert hits[hits["method"] == "permutation"]["hits"].between(0.1, 0.4).all()

    def test_always_the_same_is_no_more_than_the_commonest(self) -> None:
        table, known = known_carriers()
        known["valence"] = np.where(np.arange(len(known)) % 8 < 6, "drums", known["valence"])
        hits = hits_of(table.assign(absolute=(table["source"] == "drums").astype(float)), known)
        rows = hits.query("method == 'permutation' and dimension == 'valence'")
        row = rows.set_index("reading").loc[carriers.AS_IT_IS]
        assert row["hits"] == row["frequent"] > 0.7
        assert row["chance"] == pytest.approx(row["hits"])
        assert row["verdict"] == INCONCLUSIVE

    def test_composed_corpus_tells_its_carriers(self, tmp_path: Path) -> None:
        settings = Settings(profile="smoke", corpus="composed_band")
        study = Study(settings, "regression", RunStore(tmp_path))
        table = carriers.carrier_table(study)
        assert len(table) == len(study.corpus)
        assert set(table["valence"]) == {"vocals", "other"}
        assert set(table["arousal"]) <= set(SOURCES)
        assert carriers.example_clip(study) == study.corpus[0]
        bare = study.settings.model_copy(update={"compute": False})
        reader = Study(bare, "regression", study.store)
        pd.testing.assert_frame_equal(carriers.carrier_table(reader), table)

    def test_cost_of_separation(self, subsets: pd.DataFrame) -> None:
        alone = single(np.full((2, 4, N, 2), 0.1))
        alone = alone[alone["id"].str[1:].astype(int) % N_FOLDS == alone["fold"]]
        true = pd.concat([subsets[subsets["system"].isin(COMBINATIONS)], alone])
        cost = carriers.separation_cost(true, true.assign(valence=true["valence"] * 0.5))
        rows = cost.set_index(["system", "dimension"])
        assert rows.loc[(ALL, "arousal"), "cost"] == 0
        assert rows.loc[(ALL, "valence"), "verdict"] == SUPPORTED
