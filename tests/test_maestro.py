"""MAESTRO: a tiny copy in the official layout, damaged copies, and the published counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import quadrant_notes, write_midi, write_table

from mer.clips import Corpus, Labels
from mer.corpora import maestro
from mer.errors import InvalidDataError, MissingDataError
from mer.study.cards import describe

COLUMNS = (
    *("canonical_composer", "canonical_title", "split", "year"),
    *("midi_filename", "audio_filename", "duration"),
)
ROWS = [
    ["Alban Berg", "Sonata  Op. 1", "train", 2008, "2008/a--1.midi", "2008/a--1.wav", 12.5],
    ["Alban Berg", "sonata Op. 1 ", "train", 2017, "2017/b--2.midi", "2017/b--2.wav", 3],
    ["Joseph Haydn", "Sonata, Hob.XVI:41", "validation", 2008, "2008/c.midi", "2008/c.wav", 4],
    ["Joseph Haydn", "Sonata, Hob.XVI:41", "test", 2008, "2008/d.midi", "2008/d.wav", 5],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "maestro-v3.0.0"
    write_table(root / "maestro-v3.0.0.csv", COLUMNS, ROWS)
    for number, row in enumerate(ROWS):
        write_midi(root / str(row[4]), quadrant_notes(1, number))
    return root


class TestTiny:
    def test_clips(self, folder: Path) -> None:
        corpus = maestro.load(folder)
        corpus.check()
        assert corpus.ids == ["2008/a--1", "2017/b--2", "2008/c", "2008/d"]
        first = corpus[0]
        assert (first.midi, first.audio) == (folder / "2008" / "a--1.midi", None)
        assert first.labels == Labels()
        assert first.meta == {
            **{"composer": "Alban Berg", "title": "Sonata Op. 1"},
            **{"year": 2008, "duration": 12.5},
        }

    def test_titles_differ_in_case_and_spaces_only(self, folder: Path) -> None:
        groups = maestro.load(folder).groups
        assert groups[0] == groups[1] == "alban berg: sonata op. 1"
        assert groups[2] == groups[3] != groups[0]

    def test_official_split(self, folder: Path) -> None:
        split = maestro.load(folder).split("official")
        (fold,) = split.folds
        assert (fold.train, fold.valid) == (("2008/a--1", "2017/b--2"), ("2008/c",))
        assert fold.test == ("2008/d",)
        assert split.leaky

    def test_recordings_are_used_where_there_are_some(self, folder: Path) -> None:
        (folder / "2008" / "c.wav").touch()
        corpus = maestro.load(folder)
        assert corpus[2].audio == folder / "2008" / "c.wav"
        assert corpus.counts()["audio"] == 1

    def test_card_of_a_corpus_without_labels(self, folder: Path) -> None:
        card = describe(maestro.load(folder))
        assert (card["counts"]["clips"], card["counts"]["Q1"], card["notes"]) == (4, 0, {})
        assert card["songs"] == {
            **{"groups": 2, "groups_with_several_clips": 0},
            **{"groups_with_several_quadrants": 0, "agreement": 1.0},
        }
        assert card["splits"]["official"]["clips"] == {"train": 2, "valid": 1, "test": 1}

    def test_all_years_are_held_to_the_published_counts(self, folder: Path) -> None:
        rows = [
            [*ROWS[0][:3], year, f"{year}/a.midi", f"{year}/a.wav", 3] for year in maestro.YEARS
        ]
        for year in maestro.YEARS:
            write_midi(folder / year / "a.midi", quadrant_notes(1, 0))
        write_table(folder / "maestro-v3.0.0.csv", COLUMNS, rows)
        corpus = maestro.load(folder)
        with pytest.raises(InvalidDataError, match="found 10 clips, expected 1276"):
            corpus.check()
        with pytest.raises(InvalidDataError, match=r"\(10, 0, 0\) .* expected \(962, 137, 177\)"):
            corpus.split("official")


class TestDamaged:
    @pytest.mark.parametrize(
        ("column", "value", "message"),
        [
            (2, ["eval"], r"a--1\.midi is in split 'eval'; expected train, validation, test"),
            (3, ["MMVIII"], "has year 'MMVIII' and duration '12.5'; expected numbers"),
            (6, [""], "has year '2008' and duration ''; expected numbers"),
            (6, [], "has year '2008' and duration None; expected numbers"),
        ],
    )
    def test_row_that_does_not_fit(
        self, folder: Path, column: int, value: list[str], message: str
    ) -> None:
        row = [*ROWS[0][:column], *value, *ROWS[0][column + 1 :]]
        write_table(folder / "maestro-v3.0.0.csv", COLUMNS, [row])
        with pytest.raises(InvalidDataError, match=message):
            maestro.load(folder)

    @pytest.mark.parametrize("name", ["maestro-v3.0.0.csv", "2008/c.midi"])
    def test_missing_file(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(MissingDataError, match=f"{name} does not exist"):
            maestro.load(folder)


@pytest.fixture(scope="module")
def corpus(data_folder: Path) -> Corpus:
    if not (data_folder / "maestro-v3.0.0").is_dir():
        pytest.skip("no MAESTRO below MER_DATA")
    return maestro.load(data_folder / "maestro-v3.0.0")


@pytest.mark.realdata
class TestReal:
    def test_counts_and_parts(self, corpus: Corpus) -> None:
        corpus.check()
        (fold,) = corpus.split("official").folds
        years = {str(clip.meta["year"]) for clip in corpus}
        sizes = {"2008": 147, "2011": 163, "2013": 127, "2015": 129, "2017": 140}
        if years == set(sizes):
            assert len(corpus) == 706 == sum(sizes.values())
            assert (len(fold.train), len(fold.valid), len(fold.test)) == (525, 70, 111)
        found = [str(clip.meta["year"]) for clip in corpus]
        assert {year: found.count(year) for year in sizes if year in years} == sizes

    def test_titles_that_cross_the_official_split(self, corpus: Corpus) -> None:
        (fold,) = corpus.split("official").folds
        group = dict(zip(corpus.ids, corpus.groups, strict=True))
        parts = [{group[i] for i in part} for part in (fold.train, fold.valid, fold.test)]
        crossing = (parts[0] & parts[1]) | (parts[0] & parts[2]) | (parts[1] & parts[2])
        known = {
            "joseph haydn: sonata in b-flat major, hob.xvi:41",
            "robert schumann: romances op. 28, nos. 2 and 3",
        }
        assert crossing >= known
        if len(corpus) == 706:
            assert crossing == known
