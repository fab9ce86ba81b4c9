"""PMEmo: a tiny copy in the official layout, damaged copies, and the real labels."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Run, label_statistics, write_table

from mer.clips import Corpus, Labels
from mer.corpora import load, pmemo
from mer.corpora.annotations import CorpusWarning, audio_files, on_scale
from mer.errors import InvalidDataError, MissingDataError

N = 20
METADATA = (
    *("musicId", "fileName", "title", "artist", "album", "duration"),
    *("chorus_start_time", "chorus_end_time"),
)
ANNOTATIONS = ("musicId", "Arousal(mean)", "Valence(mean)")


def annotation_rows() -> list[list[object]]:
    return [[k, k / N, 1 - k / N] for k in range(1, N + 1)]


def metadata_rows() -> list[list[object]]:
    """Two songs an artist, and one song, 99, that has no labels."""
    songs = [*range(1, N + 1), 99]
    return [
        [k, f"{k}.mp3", f"Title {k}", f"The  Artist {(k + 1) // 2}", "", 30.5, "00:10", "00:40"]
        for k in songs
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pmemo"
    write_table(root / "metadata.csv", METADATA, metadata_rows())
    write_table(root / "annotations" / "static_annotations.csv", ANNOTATIONS, annotation_rows())
    (root / "chorus").mkdir()
    for k in range(1, N + 1):
        (root / "chorus" / f"{k}.mp3").touch()
    return root


@pytest.fixture
def table(folder: Path) -> Path:
    return folder / "annotations" / "static_annotations.csv"


class TestTiny:
    @pytest.mark.filterwarnings("error")
    def test_clips(self, folder: Path) -> None:
        corpus = pmemo.load(folder)
        assert corpus.ids == [str(k) for k in range(1, N + 1)]
        assert corpus.groups[:3] == ["the artist 1", "the artist 1", "the artist 2"]
        first = corpus[0]
        assert first.audio == folder / "chorus" / "1.mp3"
        assert (first.labels.valence, first.labels.arousal) == pytest.approx((0.9, -0.9))
        assert first.meta == {"artist": "The  Artist 1", "title": "Title 1"}
        assert corpus[-1].labels == Labels(valence=-1.0, arousal=1.0)

    def test_splits_are_artist_disjoint(self, folder: Path) -> None:
        corpus = pmemo.load(folder)
        assert corpus.split_names == ["holdout", "cv10", "nested5x5"]
        assert [len(corpus.split(name).folds) for name in corpus.split_names] == [1, 10, 25]

    def test_any_readable_suffix(self, folder: Path) -> None:
        (folder / "chorus" / "1.mp3").rename(folder / "chorus" / "1.flac")
        (folder / "chorus" / "2.wav").touch()
        corpus = pmemo.load(folder)
        assert [clip.audio and clip.audio.name for clip in corpus[:2]] == ["1.flac", "2.mp3"]

    def test_labels_as_passed_on(self, folder: Path, table: Path) -> None:
        table.unlink()
        columns = ("song_id", "valence_mean", "valence_std", "arousal_mean", "arousal_std")
        rows = [[k, 9 - 8 * k / N, 1, 1 + 8 * k / N, 1] for k in range(1, N + 1)]
        write_table(folder / "static_annotations.csv", columns, rows)
        labels = [clip.labels for clip in pmemo.load(folder)]
        assert labels[0].valence == pytest.approx(0.9)
        assert labels[-1] == Labels(valence=-1.0, arousal=1.0)

    def test_folder_of_the_archive_and_environment(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("MER_DATA", str(tmp_path))
        assert len(load("pmemo")) == N
        folder.rename(tmp_path / "PMEmo2019")
        folder.mkdir()
        (tmp_path / "PMEmo2019").rename(folder / "PMEmo2019")
        assert len(load("pmemo")) == N

    def test_command_line_says_how_to_get_it(self, mer: Run) -> None:
        status, _, error = mer("data", "fetch", "pmemo")
        assert status == 1
        assert "cannot be downloaded by this command: PMEmo is given out by its authors" in error


class TestGaps:
    def test_audio_without_annotation(self, folder: Path) -> None:
        (folder / "chorus" / "99.mp3").touch()
        (folder / "chorus" / "100.mp3").touch()
        with pytest.warns(CorpusWarning, match=r"2 audio files have no annot.*chorus\): 99, 100$"):
            corpus = pmemo.load(folder)
        assert len(corpus) == N

    def test_annotation_without_audio(self, folder: Path) -> None:
        whole = pmemo.load(folder).split("nested5x5")
        for song in ("3", "17"):
            (folder / "chorus" / f"{song}.mp3").unlink()
        with pytest.warns(CorpusWarning, match=r"2 annotated clips have no audio .*: 3, 17$"):
            corpus = pmemo.load(folder)
        assert len(corpus) == N - 2
        assert {"3", "17"}.isdisjoint(corpus.ids)
        assert corpus.split_names == ["holdout", "cv10", "nested5x5"]
        for before, after in zip(whole.folds, corpus.split("nested5x5").folds, strict=True):
            for part in ("train", "valid", "test"):
                kept = [clip for clip in getattr(before, part) if clip not in ("3", "17")]
                assert list(getattr(after, part)) == kept

    def test_too_little_audio_for_the_folds(self, folder: Path) -> None:
        for song in range(1, 19):
            (folder / "chorus" / f"{song}.mp3").unlink()
        with pytest.warns(CorpusWarning, match="18 annotated clips"):
            corpus = pmemo.load(folder)
        with pytest.raises(MissingDataError, match=r"18 of 20 audio files are missing"):
            corpus.split("nested5x5")

    def test_no_audio_at_all_leaves_the_labels(self, folder: Path) -> None:
        for path in (folder / "chorus").iterdir():
            path.unlink()
        with pytest.warns(CorpusWarning, match="none of the 20 annotated clips has an audio file"):
            corpus = pmemo.load(folder)
        assert corpus.counts()["clips"] == N
        assert corpus.counts()["audio"] == 0

    def test_many_names_are_cut_short(self, folder: Path) -> None:
        for k in range(1000, 1050):
            (folder / "chorus" / f"{k}.mp3").touch()
        with pytest.warns(CorpusWarning, match=r": 50 audio files .*, 1039 and 10 more$"):
            pmemo.load(folder)


class TestDamaged:
    @pytest.mark.parametrize(
        ("value", "shown"), [("1.2", "'1.2'"), ("-0.01", "'-0.01'"), ("", "''"), ("nan", "'nan'")]
    )
    def test_annotation_outside_the_scale(
        self, folder: Path, table: Path, value: str, shown: str
    ) -> None:
        rows = annotation_rows()
        rows[4][2] = value
        write_table(table, ANNOTATIONS, rows)
        message = (
            rf"static_annotations\.csv, row 6: Valence\(mean\) of song '5' is {shown}; "
            "expected a number from 0 to 1"
        )
        with pytest.raises(InvalidDataError, match=message):
            pmemo.load(folder)

    def test_row_cut_short(self, folder: Path, table: Path) -> None:
        write_table(table, ANNOTATIONS, [[1, 0.5]])
        with pytest.raises(InvalidDataError, match=r"row 2: Valence\(mean\) of song '1' is None"):
            pmemo.load(folder)

    def test_song_that_stands_twice(self, folder: Path, table: Path) -> None:
        write_table(table, ANNOTATIONS, [*annotation_rows(), [1, 0.5, 0.5]])
        with pytest.raises(InvalidDataError, match="row 22: song '1' stands more than once"):
            pmemo.load(folder)

    def test_song_without_metadata(self, folder: Path) -> None:
        write_table(folder / "metadata.csv", METADATA, metadata_rows()[1:])
        with pytest.raises(InvalidDataError, match=r"metadata\.csv has no song '1'; it has label"):
            pmemo.load(folder)
        rows = metadata_rows()
        rows[0][3] = ""
        write_table(folder / "metadata.csv", METADATA, rows)
        with pytest.raises(InvalidDataError, match=r"metadata\.csv, row 2: song '1' has no artist"):
            pmemo.load(folder)

    @pytest.mark.parametrize("name", ["metadata.csv", "annotations/static_annotations.csv"])
    def test_missing_file_says_how_to_get_it(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(MissingDataError, match=rf"{name} does not exist; .*MER_DATA"):
            pmemo.load(folder)
        with pytest.raises(MissingDataError, match="HuiZhangDB/PMEmo"):
            pmemo.load(folder / "none")


def test_scale_is_mapped_linearly() -> None:
    assert [on_scale(x, (1.0, 9.0), "") for x in ("1", "5", "7.0", "9")] == [-1.0, 0.0, 0.5, 1.0]


def test_audio_files_by_name(tmp_path: Path) -> None:
    for name in ("b.opus", "a.wav", "a.mp3", "c.txt"):
        (tmp_path / name).touch()
    found = {name: path.name for name, path in audio_files(tmp_path).items()}
    assert found == {"a": "a.mp3", "b": "b.opus"}
    assert audio_files(tmp_path / "none") == {}


@pytest.fixture(scope="module")
def corpus(data_folder: Path) -> Corpus:
    if not (data_folder / "annotations" / "pmemo").is_dir():
        pytest.skip("no labels of PMEmo below MER_DATA")
    with pytest.warns(CorpusWarning, match="none of the 767 annotated clips has an audio file"):
        return pmemo.load(data_folder / "annotations" / "pmemo")


@pytest.mark.realdata
class TestReal:
    def test_published_counts(self, corpus: Corpus) -> None:
        corpus.check()
        assert (len(corpus), len(set(corpus.groups))) == (767, 395)

    def test_label_statistics(self, corpus: Corpus) -> None:
        expected = {"valence": [0.193, 0.324], "arousal": [0.245, 0.370]}
        assert label_statistics(corpus) == expected
        frame = corpus.to_frame()
        assert frame["valence"].corr(frame["arousal"]) == pytest.approx(0.711, abs=5e-4)

    def test_most_songs_are_high(self, corpus: Corpus) -> None:
        frame = corpus.to_frame()
        high = [(frame[name] > 0).mean() for name in ("valence", "arousal")]
        assert high == pytest.approx([0.72, 0.75], abs=0.02)
