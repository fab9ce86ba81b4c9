"""The real datasets: published counts, statistics of the labels, and groups across splits."""

from __future__ import annotations

import warnings
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import count_of_known_groups, label_statistics
from rows import ROWS

from mer.clips import Corpus
from mer.corpora import emopia, emotify, load
from mer.errors import MerError
from mer.evaluation.labels import split_half_reliability
from mer.study.cards import label_agreement
from mer.systems.base import Context
from mer.tasks import get_task

pytestmark = pytest.mark.realdata

FOLDERS = {
    **{"pmemo": "annotations/pmemo", "four_quadrants": "annotations/4q"},
    **{"emotion_in_music": "annotations/emomusic", "deam": "annotations/deam"},
    "maestro": "maestro-v3.0.0",
}
"""Below MER_DATA, where it is not the name of the dataset."""


@cache
def loaded(data_folder: Path, name: str) -> tuple[Corpus, list[str]]:
    """A corpus, and the warnings that it gave."""
    folder = data_folder / FOLDERS.get(name, name)
    if not folder.is_dir():
        pytest.skip(f"no {name} below MER_DATA")
    options: dict[str, Any] = {"release": "deam"} if name == "deam" else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        corpus = load("emotion_in_music" if options else name, folder=folder, **options)
    return corpus, [str(warning.message) for warning in caught]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("emopia", {"audio": 0, "midi": 1078}),
        ("pmemo", {"clips": 767, "groups": 395}),
        ("emotion_in_music", {"clips": 744, "groups": 411}),
        ("deam", {"clips": 1802}),
        ("emotify", {"audio": 400}),
        (
            "mirex_mood",
            {"audio": 903, "midi": 194, "groups": 670, "Q1": 411, "Q2": 80, "Q3": 65, "Q4": 347},
        ),
        ("four_quadrants", {"clips": 900, "Q1": 225, "Q2": 225, "Q3": 225, "Q4": 225}),
        ("maestro", {}),
        ("pop1k7", {"clips": 1748}),
    ],
)
def test_published_counts(data_folder: Path, name: str, counts: dict[str, int]) -> None:
    corpus, _ = loaded(data_folder, name)
    corpus.check()
    assert corpus.counts() == corpus.counts() | counts


@pytest.mark.parametrize(
    ("name", "valence", "arousal"),
    [
        ("pmemo", [0.193, 0.324], [0.245, 0.370]),
        ("emotion_in_music", [0.002, 0.311], [-0.053, 0.344]),
        ("deam", [-0.024, 0.294], [-0.046, 0.321]),
        ("emotify", [0.218, 0.164], [-0.241, 0.179]),
        ("mirex_mood", [0.317, 0.374], [0.030, 0.243]),
    ],
)
def test_label_statistics(
    data_folder: Path, name: str, valence: list[float], arousal: list[float]
) -> None:
    found = label_statistics(loaded(data_folder, name)[0])
    assert found == {"valence": valence, "arousal": arousal}


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("pmemo", ["none of the 767 annotated clips has an audio file"]),
        ("emotion_in_music", ["none of the 744 annotated clips has an audio file"]),
        ("deam", ["stand in each other's column", "artists are not known", "none of the 1802"]),
        ("mirex_mood", [": 009, 097", "7 songs have no usable row"]),
        ("four_quadrants", ["3 clips have no artist", "none of the 900 annotated clips"]),
    ],
)
def test_warnings(data_folder: Path, name: str, texts: list[str]) -> None:
    _, found = loaded(data_folder, name)
    assert len(found) == len(texts)
    for text in texts:
        assert any(text in warning for warning in found), text


@pytest.mark.parametrize(
    ("name", "split", "expected"),
    [
        ("emopia", "split", 0),
        ("emopia", "split_cls", 0),
        ("emopia", "split_midibert", 93),
        ("mirex_mood", "cv10_ungrouped", 340),
        ("four_quadrants", "cv10_ungrouped", 331),
        ("four_quadrants", "cv10", 0),
    ],
)
def test_groups_on_both_sides(data_folder: Path, name: str, split: str, expected: int) -> None:
    assert count_of_known_groups(loaded(data_folder, name)[0], split) == expected


class TestEmopia:
    def test_song_lookup_shows_the_leak(self, data_folder: Path) -> None:
        corpus, _ = loaded(data_folder, "emopia")
        (fold,) = corpus.split("split_midibert").folds
        train, test = corpus.select(fold.train), corpus.select(fold.test)
        fitted = ROWS["Song-lookup"].fit(train, train, Context(get_task("4Q")))
        answers = fitted.predict(test).drop(columns="id").to_numpy().argmax(axis=1)
        assert (answers == get_task("4Q").targets(test)).sum() == 82  # .766 of 107

    def test_songs_with_several_quadrants(self, data_folder: Path) -> None:
        agreement = label_agreement(loaded(data_folder, "emopia")[0])
        assert agreement["groups_with_several_quadrants"] == 72
        assert agreement["agreement"] == pytest.approx(0.62, abs=0.005)

    def test_a_split_cut_short_is_noticed(
        self, data_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(emopia.SPLIT_SIZES, "split_cls", (767, 198, 87))
        with pytest.raises(MerError, match=r"have \(767, 198, 86\) clips, expected \(767, 198, 8"):
            loaded(data_folder, "emopia")[0].split("split_cls")


class TestEmotionInMusic:
    def test_deam_contradicts_emomusic(self, data_folder: Path) -> None:
        corpora = [loaded(data_folder, name)[0] for name in ("emotion_in_music", "deam")]
        frames = [corpus.to_frame().set_index("id")[["valence", "arousal"]] for corpus in corpora]
        table = pd.concat(frames, axis=1, join="inner")
        assert len(table) == 744
        correlations = table.corr().to_numpy()[:2, 2:]
        assert np.round(correlations, 4).tolist() == [[0.5991, 0.9999], [0.9998, 0.5987]]

    def test_genres_speak_for_emomusic(self, data_folder: Path) -> None:
        corpus, _ = loaded(data_folder, "emotion_in_music")
        frame = corpus.to_frame().assign(genre=[clip.meta["genre"] for clip in corpus])
        means = frame.groupby("genre")[["valence", "arousal"]].mean()
        assert len(means) == 8
        assert (means["arousal"].idxmax(), means["arousal"].idxmin()) == ("Rock", "Classical")
        assert np.round(means["arousal"][["Rock", "Classical"]], 3).tolist() == [0.128, -0.281]


def test_most_songs_of_pmemo_are_high(data_folder: Path) -> None:
    frame = loaded(data_folder, "pmemo")[0].to_frame()
    assert frame["valence"].corr(frame["arousal"]) == pytest.approx(0.711, abs=5e-4)
    high = [(frame[name] > 0).mean() for name in ("valence", "arousal")]
    assert high == pytest.approx([0.72, 0.75], abs=0.02)


class TestEmotify:
    def test_ratings(self, data_folder: Path) -> None:
        corpus, _ = loaded(data_folder, "emotify")
        genres = Counter(clip.meta["genre"] for clip in corpus)
        assert genres == dict.fromkeys(emotify.GENRES, 100)
        numbers = [clip.meta["ratings"] for clip in corpus]
        assert (sum(numbers), min(numbers), max(numbers)) == (8407, 11, 59)
        assert sum(clip.meta["ratings without emotion"] for clip in corpus) == 103

    def test_quadrants_cut_at_the_medians(self, data_folder: Path) -> None:
        frame = loaded(data_folder, "emotify")[0].to_frame()
        above = {name: frame[name] > frame[name].median() for name in ("valence", "arousal")}
        assert (above["valence"] == frame["quadrant"].isin([1, 4])).all()
        assert (above["arousal"] == frame["quadrant"].isin([1, 2])).all()
        assert frame["quadrant"].value_counts().to_dict() == {1: 115, 3: 115, 2: 85, 4: 85}

    @pytest.mark.parametrize(
        ("name", "expected", "tolerance"), [("valence", 0.715, 0.006), ("arousal", 0.870, 0.003)]
    )
    def test_reliability_of_the_targets(
        self, data_folder: Path, name: str, expected: float, tolerance: float
    ) -> None:
        loaded(data_folder, "emotify")
        table = emotify.ratings(data_folder / "emotify").dropna()
        found = split_half_reliability(table[name], table["id"], n_splits=100)
        assert found.mean == pytest.approx(expected, abs=tolerance)


def test_clusters_and_words_of_mirex_mood(data_folder: Path) -> None:
    corpus, _ = loaded(data_folder, "mirex_mood")
    clusters = Counter(clip.labels.cluster for clip in corpus)
    assert [clusters[k] for k in range(1, 6)] == [170, 164, 215, 191, 163]
    assert len({clip.meta["word"] for clip in corpus}) == 28
    for fold in corpus.split("cv10_ungrouped").folds:
        assert len(set(get_task("cluster").targets(corpus.select(fold.test)))) == 5


def test_artists_of_four_quadrants(data_folder: Path) -> None:
    corpus, _ = loaded(data_folder, "four_quadrants")
    artists = {clip.meta["artist"] for clip in corpus} - {None}
    assert len(artists) == 661
    assert {"Einstürzende Neubauten", "Antônio Carlos Jobim", "Pérez Prado"} <= artists
    (figure_2,) = corpus.select(["MT0010465830"])
    assert (figure_2.labels.quadrant, figure_2.group) == (1, 'bobby "blue" bland')


class TestMaestro:
    def test_years_and_parts(self, data_folder: Path) -> None:
        corpus, _ = loaded(data_folder, "maestro")
        (fold,) = corpus.split("official").folds
        years = Counter(clip.meta["year"] for clip in corpus)
        sizes = {2008: 147, 2011: 163, 2013: 127, 2015: 129, 2017: 140}
        assert {year: years[year] for year in sizes if year in years} == sizes
        if set(years) == set(sizes):
            assert (len(fold.train), len(fold.valid), len(fold.test)) == (525, 70, 111)

    def test_titles_that_cross_the_official_split(self, data_folder: Path) -> None:
        corpus, _ = loaded(data_folder, "maestro")
        (fold,) = corpus.split("official").folds
        parts = [set(corpus.select(ids).groups) for ids in (fold.train, fold.valid, fold.test)]
        crossing = (parts[0] & parts[1]) | (parts[0] & parts[2]) | (parts[1] & parts[2])
        known = {
            "joseph haydn: sonata in b-flat major, hob.xvi:41",
            "robert schumann: romances op. 28, nos. 2 and 3",
        }
        assert crossing >= known
        if len(corpus) == 706:
            assert crossing == known


def test_sources_of_pop1k7(data_folder: Path) -> None:
    sources = Counter(clip.meta["source"] for clip in loaded(data_folder, "pop1k7")[0])
    assert sources == {"src_001": 111, "src_002": 378, "src_003": 286, "src_004": 973}
