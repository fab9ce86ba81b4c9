"""Emotify: a tiny copy in the official layout, the projection by hand, and the real ratings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import label_statistics, write_table

from mer.clips import Corpus
from mer.corpora import emotify, load
from mer.corpora.emotify import EMOTIONS, GENRES
from mer.errors import InvalidDataError, MissingDataError
from mer.evaluation.labels import split_half_reliability

COLUMNS = ("track id", " genre", *(f" {emotion}" for emotion in EMOTIONS), " mood", " liked")
LEXICON = {emotion: (1 + k, 9 - k) for k, emotion in enumerate(EMOTIONS)}
"""Valence 1 ... 9 and arousal 9 ... 1, that is -1 ... 1 and 1 ... -1 in steps of 1/4."""

PER_GENRE = 10


def rating(track: int, *chosen: int) -> list[object]:
    """A rating in which the emotions with these numbers were chosen."""
    genre = GENRES[(track - 1) // 100]
    return [track, genre, *(int(k in chosen) for k in range(9)), 3, 1]


def tracks() -> list[int]:
    return [100 * genre + number for genre in range(4) for number in range(1, PER_GENRE + 1)]


def write_lexicon(path: Path, **changed: tuple[object, object]) -> None:
    rows = [[word, *values, "norm"] for word, values in (LEXICON | changed).items()]
    write_table(path, ("emotion", "valence", "arousal", "source"), rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Track 1: three ratings, one of them empty; all others: two ratings."""
    root = tmp_path / "emotify"
    rows = [rating(1, 0, 8), rating(1), rating(1, 7)]
    rows += [rating(k, *chosen) for k in tracks()[1:] for chosen in ((k % 9,), ((k + 1) % 9,))]
    write_table(root / "data.csv", COLUMNS, rows)
    write_lexicon(root / "lexicon.csv")
    for genre in GENRES:
        (root / genre).mkdir()
        for number in range(1, PER_GENRE + 1):
            (root / genre / f"{number}.mp3").touch()
    return root


class TestTiny:
    @pytest.mark.filterwarnings("error")
    def test_projection_by_hand(self, folder: Path) -> None:
        first = emotify.load(folder)[0]
        # (-1 + 1) / 2 = 0 and .75; the empty rating does not count
        assert first.labels.valence == pytest.approx((0.0 + 0.75) / 2)
        assert first.labels.arousal == pytest.approx((0.0 - 0.75) / 2)
        assert first.meta["ratings"] == 3
        assert first.meta["ratings without emotion"] == 1
        assert first.meta["emotions"]["tension"] == pytest.approx(1 / 3)

    def test_clips(self, folder: Path) -> None:
        corpus = emotify.load(folder)
        assert corpus.counts()["clips"] == corpus.counts()["audio"] == 4 * PER_GENRE
        assert corpus.groups == corpus.ids
        clip = corpus[PER_GENRE]
        assert (clip.id, clip.meta["genre"], clip.meta["track"]) == ("rock/1", "rock", 101)
        assert clip.audio == folder / "rock" / "1.mp3"

    def test_ratings(self, folder: Path) -> None:
        table = emotify.ratings(folder)
        assert list(table) == ["id", "track", *EMOTIONS, "valence", "arousal"]
        assert len(table) == 3 + 2 * (4 * PER_GENRE - 1)
        assert table["valence"][:3].tolist()[::2] == [0.0, 0.75]
        assert np.isnan(table["valence"][1])
        by_track = table.groupby("id", sort=False)["arousal"].mean()
        assert by_track.to_dict() == pytest.approx(
            {clip.id: clip.labels.arousal for clip in emotify.load(folder)}
        )

    def test_projection_is_linear_in_the_lexicon(self, folder: Path) -> None:
        before = emotify.ratings(folder)["valence"]
        mirrored = {word: (10 - v, a) for word, (v, a) in LEXICON.items()}
        write_lexicon(folder / "lexicon.csv", **mirrored)
        after = emotify.ratings(folder)["valence"]
        pd.testing.assert_series_equal(after, -before)

    def test_order_of_the_ratings_does_not_matter(self, folder: Path) -> None:
        before = emotify.load(folder).to_frame()
        lines = (folder / "data.csv").read_text().splitlines()
        (folder / "data.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
        pd.testing.assert_frame_equal(emotify.load(folder).to_frame(), before)

    def test_splits_are_stratified_by_genre(self, folder: Path) -> None:
        corpus = emotify.load(folder)
        assert corpus.split_names == ["holdout", "cv10", "nested5x5"]
        for fold in corpus.split("nested5x5").folds:
            genres = Counter(clip_id.partition("/")[0] for clip_id in fold.test)
            assert genres == dict.fromkeys(GENRES, 2)

    def test_folder_of_the_archive_and_environment(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MER_DATA", str(folder.parent))
        (folder / "emotifymusic").mkdir()
        for genre in GENRES:
            (folder / genre).rename(folder / "emotifymusic" / genre)
        assert load("emotify")[0].audio == folder / "emotifymusic" / "classical" / "1.mp3"


class TestDamaged:
    @pytest.mark.parametrize(
        ("column", "value", "message"),
        [
            (0, "401", r"data\.csv, row 2: track id is '401'; expected 1 to 400"),
            (0, "one", r"row 2: track id is 'one'"),
            (1, "pop", r"row 2: track 1 is of genre 'pop'; expected 'classical'"),
            (2, "2", r"row 2: amazement of track 1 is '2'; expected 0 or 1"),
            (10, "", r"row 2: sadness of track 1 is ''; expected 0 or 1"),
        ],
    )
    def test_rating_that_does_not_fit(
        self, folder: Path, column: int, value: str, message: str
    ) -> None:
        row = rating(1, 0)
        row[column] = value
        write_table(folder / "data.csv", COLUMNS, [row])
        with pytest.raises(InvalidDataError, match=message):
            emotify.load(folder)

    def test_word_outside_the_scale(self, folder: Path) -> None:
        write_lexicon(folder / "lexicon.csv", power=(5, 9.5))
        message = r"lexicon\.csv, row 7: arousal of 'power' is '9.5'; expected a number from 1 to 9"
        with pytest.raises(InvalidDataError, match=message):
            emotify.load(folder)

    def test_word_that_is_missing(self, folder: Path) -> None:
        path = folder / "lexicon.csv"
        path.write_text(path.read_text().replace("sadness", "gloom"))
        with pytest.raises(InvalidDataError, match=r"lexicon\.csv has no emotion 'sadness'"):
            emotify.load(folder)

    def test_track_without_any_emotion(self, folder: Path) -> None:
        write_table(folder / "data.csv", COLUMNS, [rating(1), rating(1), rating(2, 3)])
        with pytest.raises(MissingDataError, match="'classical/1' has 2 ratings, in none of which"):
            emotify.load(folder)

    @pytest.mark.parametrize(
        ("name", "message"), [("data.csv", "memotion"), ("lexicon.csv", "Warriner et al")]
    )
    def test_missing_file(self, folder: Path, name: str, message: str) -> None:
        (folder / name).unlink()
        with pytest.raises(MissingDataError, match=rf"{name} does not exist; .*{message}"):
            emotify.load(folder)


@pytest.fixture(scope="module")
def corpus(data_folder: Path) -> Corpus:
    if not (data_folder / "emotify").is_dir():
        pytest.skip("no Emotify below MER_DATA")
    return emotify.load(data_folder / "emotify")


@pytest.mark.realdata
class TestReal:
    def test_counts(self, corpus: Corpus) -> None:
        corpus.check()
        assert corpus.counts()["audio"] == 400
        assert Counter(clip.meta["genre"] for clip in corpus) == dict.fromkeys(GENRES, 100)
        numbers = [clip.meta["ratings"] for clip in corpus]
        assert (sum(numbers), min(numbers), max(numbers)) == (8407, 11, 59)
        assert sum(clip.meta["ratings without emotion"] for clip in corpus) == 103

    def test_label_statistics(self, corpus: Corpus) -> None:
        expected = {"valence": [0.218, 0.164], "arousal": [-0.241, 0.179]}
        assert label_statistics(corpus) == expected

    def test_quadrants_cut_at_the_medians(self, corpus: Corpus) -> None:
        frame = corpus.to_frame()
        above = {name: frame[name] > frame[name].median() for name in ("valence", "arousal")}
        assert (above["valence"] == frame["quadrant"].isin([1, 4])).all()
        assert (above["arousal"] == frame["quadrant"].isin([1, 2])).all()
        assert frame["quadrant"].value_counts().to_dict() == {1: 115, 3: 115, 2: 85, 4: 85}

    def test_reliability_of_the_targets(self, data_folder: Path, corpus: Corpus) -> None:
        table = emotify.ratings(data_folder / "emotify").dropna()
        found = {
            name: split_half_reliability(table[name], table["id"], n_splits=100)
            for name in ("valence", "arousal")
        }
        assert found["valence"].mean == pytest.approx(0.715, abs=0.006)
        assert found["arousal"].mean == pytest.approx(0.870, abs=0.003)
