"""4Q: a tiny copy in the official layout, damaged copies, and the real annotations."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import count_of_known_groups, write_table

from mer.clips import Corpus, Labels
from mer.corpora import four_quadrants, load
from mer.corpora.annotations import CorpusWarning
from mer.errors import InvalidDataError, MissingDataError
from mer.tasks import get_task

N = 48
COLUMNS = (
    *("Song", "Artist", "Title", "Quadrant", "PQuad", "MoodsTotal", "Moods", "MoodsFoundStr"),
    *("MoodsStr", "MoodsStrSplit", "Genres", "GenresStr", "Sample", "SampleURL"),
)
ANNOTATIONS = "panda_dataset_taffc_annotations.csv"
METADATA = "panda_dataset_taffc_metadata.csv"


def song(k: int) -> str:
    return f"MT{k:010d}"


def quadrant(k: int) -> str:
    return f"Q{k % 4 + 1}"


def metadata_row(k: int) -> list[object]:
    """Two clips an artist."""
    moods = "Nervous/Jittery, Tense"
    return [
        *(song(k), f"Motörhead  {k // 2}", f"Title {k}", quadrant(k), 0.75, 2, 2, "jittery, tense"),
        *(moods, "Nervous, Jittery, Tense", 2, "Pop/Rock, R&B", 1, "http://example.org/x.mp3"),
    ]


def write_metadata(path: Path, rows: list[list[object]]) -> None:
    write_table(path, COLUMNS, rows)
    path.write_bytes(path.read_text(encoding="utf-8").encode("cp1252"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "four_quadrants"
    write_table(
        root / ANNOTATIONS, ("Song", "Quadrant"), [[song(k), quadrant(k)] for k in range(N)]
    )
    write_metadata(root / METADATA, [metadata_row(k) for k in range(N)])
    for k in range(N):
        path = root / quadrant(k) / f"{song(k)}.mp3"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return root


class TestTiny:
    @pytest.mark.filterwarnings("error")
    def test_clips(self, folder: Path) -> None:
        corpus = four_quadrants.load(folder)
        assert corpus.ids == [song(k) for k in range(N)]
        assert corpus.groups[:3] == ["motörhead 0", "motörhead 0", "motörhead 1"]
        second = corpus[1]
        assert second.audio == folder / "Q2" / "MT0000000001.mp3"
        assert second.labels == Labels(quadrant=2)
        assert second.meta == {
            "artist": "Motörhead 0",
            "title": "Title 1",
            "moods": ["Nervous", "Jittery", "Tense"],
            "genres": ["Pop/Rock", "R&B"],
        }
        assert get_task("4Q").targets(corpus[:4]).tolist() == [0, 1, 2, 3]
        assert get_task("V").targets(corpus[:4]).tolist() == [1, 0, 0, 1]

    def test_artists_cross_the_ungrouped_split_alone(self, folder: Path) -> None:
        corpus = four_quadrants.load(folder)
        assert corpus.split_names == ["holdout", "cv10", "cv10_ungrouped"]
        assert count_of_known_groups(corpus, "cv10") == 0
        assert count_of_known_groups(corpus, "cv10_ungrouped") > 5
        assert [corpus.split(name).leaky for name in corpus.split_names] == [False, False, True]

    def test_clips_without_artist(self, folder: Path) -> None:
        rows = [metadata_row(k) for k in range(N)]
        rows[4][1] = " "
        write_metadata(folder / METADATA, rows)
        with pytest.warns(CorpusWarning, match=r"1 clips have no artist .*: MT0000000004$"):
            corpus = four_quadrants.load(folder)
        assert corpus[4].group == "song MT0000000004"
        assert corpus[4].meta["artist"] is None

    def test_folder_of_the_archive_environment_and_counts(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("MER_DATA", str(tmp_path))
        assert len(load("four_quadrants")) == N
        folder.rename(tmp_path / four_quadrants.VERSION)
        folder.mkdir()
        (tmp_path / four_quadrants.VERSION).rename(folder / four_quadrants.VERSION)
        with pytest.raises(InvalidDataError, match="found 48 clips, expected 900"):
            load("four_quadrants").check()


class TestDamaged:
    @pytest.mark.parametrize("name", [ANNOTATIONS, METADATA])
    def test_missing_table(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(MissingDataError, match=f"{name} does not exist; the 4Q audio emotion"):
            four_quadrants.load(folder)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("Q5", r"row 2: song 'MT0000000000' is of quadrant 'Q5'; expected Q1, Q2, Q3, Q4"),
            ("Q2", r"song 'MT0000000000' is of quadrant 'Q2' in .*; .*metadata\.csv says 'Q1'"),
        ],
    )
    def test_quadrant(self, folder: Path, value: str, message: str) -> None:
        path = folder / ANNOTATIONS
        path.write_text(path.read_text().replace("Q1", value, 1))
        with pytest.raises(InvalidDataError, match=message):
            four_quadrants.load(folder)

    def test_song_that_stands_twice(self, folder: Path) -> None:
        path = folder / ANNOTATIONS
        path.write_text(path.read_text() + f"{song(0)},Q1\n")
        with pytest.raises(InvalidDataError, match=r"row 50: song .* stands more than once"):
            four_quadrants.load(folder)

    def test_song_without_metadata(self, folder: Path) -> None:
        write_metadata(folder / METADATA, [metadata_row(k) for k in range(N - 1)])
        with pytest.raises(InvalidDataError, match=r"metadata\.csv does not have it"):
            four_quadrants.load(folder)

    def test_recording_in_the_folder_of_another_quadrant(self, folder: Path) -> None:
        (folder / "Q1" / f"{song(0)}.mp3").rename(folder / "Q3" / f"{song(0)}.mp3")
        with pytest.raises(InvalidDataError, match="is annotated as Q1; expected it in the folder"):
            four_quadrants.load(folder)


@pytest.fixture(scope="module")
def corpus(data_folder: Path) -> Corpus:
    folder = data_folder / "annotations" / "4q"
    if not folder.is_dir():
        pytest.skip("no 4Q annotations below MER_DATA")
    with pytest.warns(CorpusWarning) as caught:
        corpus = four_quadrants.load(folder)
    texts = [str(warning.message) for warning in caught]
    assert any("3 clips have no artist" in text for text in texts)
    assert any("none of the 900 annotated clips has an audio file" in text for text in texts)
    return corpus


@pytest.mark.realdata
class TestReal:
    def test_counts(self, corpus: Corpus) -> None:
        corpus.check()
        counts = corpus.counts()
        assert [counts[f"Q{q}"] for q in (1, 2, 3, 4)] == [225] * 4
        assert counts["clips"] == 900
        assert len({clip.meta["artist"] for clip in corpus} - {None}) == 661

    def test_the_clip_of_figure_2(self, corpus: Corpus) -> None:
        clip = next(clip for clip in corpus if clip.id == "MT0010465830")
        assert clip.labels.quadrant == 1
        assert clip.group == 'bobby "blue" bland'

    def test_text_is_decoded(self, corpus: Corpus) -> None:
        artists = {clip.meta["artist"] for clip in corpus}
        assert {"Einstürzende Neubauten", "Antônio Carlos Jobim", "Pérez Prado"} <= artists

    def test_artists_stand_on_both_sides_of_the_ungrouped_split(self, corpus: Corpus) -> None:
        assert count_of_known_groups(corpus, "cv10_ungrouped") == 331
        assert count_of_known_groups(corpus, "cv10") == 0
