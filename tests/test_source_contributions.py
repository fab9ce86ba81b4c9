"""Contributions of sources: stored tables, networks that are fitted again, known carriers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from mer.clips import Clip, Corpus, Fold, Labels, Split
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.evaluation.contributions import exchanged
from mer.study import executor
from mer.study.claims import HOLDS, OPEN
from mer.study.executor import execute
from mer.study.interpretation import carriers, combinations, contributions, figures
from mer.study.parameters import RegressionParameters
from mer.study.session import Session
from mer.study.specs import RunSpec, plan
from mer.study.store import RunStore
from mer.systems import sources
from mer.systems.variants import LETTERS

SOURCES = tuple(LETTERS)
DIMENSIONS = ("valence", "arousal")
RATE = 12000
TINY = {"seconds": 1.2, "epochs": 6, "batch_size": 8, "source_epochs": 1, "source_batch_size": 8}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Recordings whose sources are the mix and a tone."""
    folder = tmp_path_factory.mktemp("audio")
    clips = []
    for number in range(20):
        rng = np.random.default_rng(number)
        valence, arousal = rng.uniform(-0.9, 0.9, 2)
        path = folder / f"{number}.wav"
        samples = rng.normal(size=RATE * 3 // 2) * 10 ** (arousal - 2)
        soundfile.write(path, samples.astype(np.float32), RATE, subtype="FLOAT")
        labels = Labels(valence=float(valence), arousal=float(arousal))
        clips.append(Clip(f"c{number:02d}", f"song-{number}", audio=path, labels=labels))
    ids = [clip.id for clip in clips]
    folds = (
        Fold(tuple(ids[:10]), tuple(ids[10:14]), tuple(ids[14:])),
        Fold(tuple(ids[4:14]), tuple(ids[:4]), tuple(ids[14:])),
    )
    split = Split("nested", folds)
    return Corpus("toy", clips, licence="-", citation="-", splits={"nested": lambda _: split})


@pytest.fixture
def session(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Two stored runs of the fusion, without a separator."""
    mix = sources.source_samples

    def samples(clip: Clip, source: str, sample_rate: int, separator: str) -> np.ndarray:
        found = mix(clip, "mix", sample_rate, separator)
        if source == "mix":
            return found
        time = np.arange(len(found)) / sample_rate
        tone = 0.05 * np.sin(2 * np.pi * 220 * (1 + SOURCES.index(source)) * time)
        return (found + tone).astype(np.float32)

    monkeypatch.setattr(sources, "source_samples", samples)
    monkeypatch.setattr(sources, "separator_revision", lambda name: 1)
    monkeypatch.setattr(executor, "_limit_threads", lambda threads: None)
    found = Session(RegressionParameters(profile="smoke", n_jobs=1), RunStore(tmp_path))
    found.corpus_name, found.corpus = "toy", corpus
    return found


def planned(corpus: Corpus) -> list[RunSpec]:
    return plan(
        [combinations.ALL_SOURCES],
        ["VA"],
        corpus="toy",
        fingerprint=corpus.fingerprint,
        split="nested",
        folds=range(2),
        seeds=[0],
        overrides={combinations.ALL_SOURCES: TINY},
    )


class TestStoredContributions:
    def test_round_trip(self, session: Session, corpus: Corpus) -> None:
        specs = planned(corpus)
        execute(specs, corpus, session.store, n_jobs=1, progress=False)
        computed = contributions.permutation_table(session, specs)
        assert len(computed) == 6 * 4 * 2
        assert computed[["signed", "absolute"]].abs().to_numpy().max() > 0
        assert (computed["absolute"] >= computed["signed"].abs() - 1e-4).all()
        bare = session.settings.model_copy(update={"compute": False})
        reader = Session(bare, session.store)
        reader.corpus_name = "toy"
        pd.testing.assert_frame_equal(contributions.permutation_table(reader, specs), computed)
        with pytest.raises(MissingDataError, match="is not stored"):
            contributions.permutation_table(reader, specs[:1])

    def test_fitted_again_it_predicts_the_same(self, session: Session, corpus: Corpus) -> None:
        spec = planned(corpus)[1]
        execute([spec], corpus, session.store, n_jobs=1, progress=False)
        stored, fold = session.store.read(spec), corpus.split("nested").folds[1]
        fitted = contributions.refitted(spec, corpus, fold, stored)
        given = fitted.predict(corpus.select(fold.test))
        assert given["id"].tolist() == stored.predictions["id"].tolist()
        np.testing.assert_allclose(
            given[["valence", "arousal"]], stored.predictions[["valence", "arousal"]], atol=1e-5
        )
        stored.predictions["arousal"] += 0.01
        with pytest.raises(InvalidDataError, match=r"differs by up to 0\.0100 from the stored"):
            contributions.refitted(spec, corpus, fold, stored)

    def test_contributions_are_those_of_the_network(self, session: Session, corpus: Corpus) -> None:
        """Exchanging answers of source models is exchanging spectrograms."""
        spec = planned(corpus)[0]
        execute([spec], corpus, session.store, n_jobs=1, progress=False)
        stored, fold = session.store.read(spec), corpus.split("nested").folds[0]
        found = contributions.permuted_run(spec, corpus, fold, stored)
        fitted = contributions.refitted(spec, corpus, fold, stored)
        log_mels = fitted.system.inputs_of(corpus.select(fold.test))
        given = fitted.predict_log_mels(log_mels)
        changes = []
        for other in range(1, 6):
            replaced = log_mels.copy()
            replaced[0, 2] = log_mels[other, 2]
            changes.append(given[0] - fitted.predict_log_mels(replaced)[0])
        rows = found[(found["id"] == fold.test[0]) & (found["source"] == "drums")]
        np.testing.assert_allclose(rows["signed"], np.mean(changes, axis=0), atol=1e-4)

    def test_prepared_runs_need_no_audio(
        self, session: Session, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        specs = planned(corpus)[:1]
        carriers.prepare(session, specs)
        monkeypatch.setattr(sources, "source_samples", None)
        assert execute(specs, corpus, session.store, n_jobs=1, progress=False) == 1

    def test_other_systems(self, session: Session) -> None:
        with pytest.raises(ParameterError, match="contributions are computed for runs of"):
            contributions.permutation_table(session, [])

    def test_excerpts(self, session: Session, corpus: Corpus) -> None:
        spec = planned(corpus)[0]
        table = contributions.excerpt_table(session, spec, ["c03", "c01"])
        assert table["id"].unique().tolist() == ["c03", "c01"]
        assert table["input"].unique().tolist() == ["mix", *SOURCES]
        bands = table.filter(like="band_")
        assert bands.shape[1] == 24
        assert all(pd.api.types.is_integer_dtype(kind) for kind in bands.dtypes)
        assert table["seconds"].between(0, 1.2).all()


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
    frames = [
        pd.DataFrame(
            {
                **{"id": ids, "group": groups, "source": source, "dimension": dimension},
                **{kind: getattr(found, kind)[:, s, d] for kind in contributions.KINDS},
            }
        )
        for s, source in enumerate(SOURCES)
        for d, dimension in enumerate(DIMENSIONS)
    ]
    names = np.asarray(SOURCES)[carrier]
    known = pd.DataFrame({"id": ids, "valence": names[:, 0], "arousal": names[:, 1]})
    return pd.concat(frames, ignore_index=True), known


def errors_of(table: pd.DataFrame) -> pd.DataFrame:
    """Errors of single sources that are the same everywhere."""
    clips = table.drop_duplicates(["id", "source"])[["id", "group", "source"]]
    return clips.assign(valence=0.3, arousal=0.3)


class TestCarriers:
    def test_known_carrier_is_found(self) -> None:
        table, known = known_carriers()
        scores = carriers.source_scores(contributions.both_methods(table, table), errors_of(table))
        hits = carriers.hit_table(scores, known, n_resamples=200)
        assert len(hits) == 3 * 2 * 2
        found = hits[hits["method"] == "permutation"]
        assert (found["hits"] > 0.8).all()
        assert set(found["verdict"]) == {HOLDS}
        np.testing.assert_allclose(found["chance"], 0.25, atol=0.08)
        text = carriers.hits_paragraph({"true sources": hits})
        assert text.count("True sources,") == 2
        assert carriers.hits_text({"true": hits}, "valence").shape == (6, 2)

    def test_what_says_nothing_finds_nothing(self) -> None:
        table, known = known_carriers()
        blind = table.assign(absolute=np.random.default_rng(9).random(len(table)))
        scores = carriers.source_scores(contributions.both_methods(blind, blind), errors_of(table))
        hits = carriers.hit_table(scores, known, n_resamples=200)
        assert HOLDS not in set(hits["verdict"])
        assert hits[hits["method"] == "permutation"]["hits"].between(0.1, 0.4).all()

    def test_always_the_same_is_no_more_than_the_commonest(self) -> None:
        table, known = known_carriers()
        known["valence"] = np.where(np.arange(len(known)) % 8 < 6, "drums", known["valence"])
        same = table.assign(absolute=(table["source"] == "drums").astype(float))
        scores = carriers.source_scores(contributions.both_methods(same, same), errors_of(table))
        hits = carriers.hit_table(scores, known, n_resamples=200)
        rows = hits.query("method == 'permutation' and dimension == 'valence'")
        row = rows.set_index("reading").loc[carriers.AS_IT_IS]
        assert row["hits"] == row["frequent"] > 0.7
        assert row["chance"] == pytest.approx(row["hits"])
        assert row["verdict"] == OPEN

    def test_composed_corpus_tells_its_carriers(self, tmp_path: Path) -> None:
        settings = RegressionParameters(profile="smoke")
        session = carriers.composed_session(Session(settings, RunStore(tmp_path)))
        table = carriers.carrier_table(session)
        assert len(table) == len(session.corpus)
        assert set(table["valence"]) == {"vocals", "other"}
        assert set(table["arousal"]) <= set(SOURCES)
        assert carriers.example_clip(session) == session.corpus[0]
        reader = Session(settings.model_copy(update={"compute": False}), session.store)
        pd.testing.assert_frame_equal(carriers.carrier_table(reader), table)

    def test_session_of_another_corpus(self, tmp_path: Path) -> None:
        settings = RegressionParameters(profile="smoke", corpus="emotify", seeds=[3])
        session = carriers.composed_session(Session(settings, RunStore(tmp_path)))
        assert session.corpus_name == carriers.CORPUS
        assert session.settings.seeds == [3]  # type: ignore[attr-defined]
        assert carriers.composed_session(session) is session


class TestFigures:
    def test_excerpts(self, session: Session, corpus: Corpus) -> None:
        specs = planned(corpus)
        execute(specs, corpus, session.store, n_jobs=1, progress=False)
        table = contributions.permutation_table(session, specs)
        found = contributions.both_methods(table, table)
        heard = contributions.excerpt_table(session, specs[0], ["c16", "c19"])
        figure = figures.excerpts(heard, found)
        figure.savefig(io.BytesIO(), dpi=40)
        titles = [axis.get_title() for axis in figure.axes[:10]]
        assert titles[:2] == ["c16: mix", "c19: mix"]
        signed = table.set_index(["id", "source", "dimension"])["signed"]
        told = f"valence {signed['c19', 'bass', 'valence']:+.3f}"
        assert titles[5].startswith(f"bass: {told}, arousal ")

    def test_players(self, session: Session, corpus: Corpus) -> None:
        html = figures.players({"one": (corpus[0], planned(corpus)[0])}, seconds=0.2).data
        assert html.count("<audio controls") == 5
        assert html.count("data:audio/mpeg;base64,") == 5
        assert "<th>one</th>" in html

    def test_hits(self) -> None:
        table, known = known_carriers(20)
        scores = carriers.source_scores(contributions.both_methods(table, table), errors_of(table))
        hits = carriers.hit_table(scores, known, n_resamples=50)
        figure = figures.hits({"true": hits, "separated": hits})
        figure.savefig(io.BytesIO(), dpi=40)
        assert len(figure.axes) == 2
