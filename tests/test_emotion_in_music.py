"""EmoMusic and DEAM: tiny copies in the official layouts, and the real labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import label_statistics, write_table

from mer.clips import Corpus, Labels
from mer.corpora import emotion_in_music, load
from mer.corpora.annotations import CorpusWarning
from mer.errors import InvalidDataError, MissingDataError, ParameterError

N = 20
EMOMUSIC = ("song_id", "mean_arousal", "std_arousal", "mean_valence", "std_valence")
DEAM = ("song_id", " valence_mean", " valence_std", " arousal_mean", " arousal_std")
SONG_LEVEL = Path("annotations") / "annotations averaged per song" / "song_level"
INFO = (
    *("song_id", "file_name", "Artist", "Song title", "start of the segment (min.sec)"),
    *("end of the segment (min.sec)", "Genre", "Mediaeval 2013 set"),
)


def levels(k: int) -> tuple[float, float]:
    """Valence and arousal of song k, 1-9."""
    return 1 + 8 * k / N, 9 - 8 * (k % 7) / 7


def write_info(path: Path) -> None:
    """Text padded with tabs, as published."""
    rest = ("\t0.48\t", "\t1.33\t", "\tBlues\t", "development")
    rows = [
        [k, f"\t{k}.mp3", f"Artist {k // 2}\t", f"\tTitle {k}\t", *rest] for k in range(1, N + 1)
    ]
    write_table(path, INFO, rows)


@pytest.fixture
def emomusic(tmp_path: Path) -> Path:
    root = tmp_path / "emotion_in_music"
    rows = [[k, levels(k)[1], 1, levels(k)[0], 1] for k in range(1, N + 1)]
    write_table(root / "annotations" / "static_annotations.csv", EMOMUSIC, rows)
    write_info(root / "annotations" / "songs_info.csv")
    (root / "clips_45seconds").mkdir()
    for k in range(1, N + 1):
        (root / "clips_45seconds" / f"{k}.mp3").touch()
    return root


@pytest.fixture
def deam(tmp_path: Path) -> Path:
    """Songs 1-20 with columns exchanged, one more of 2014 and one of 2015."""
    root = tmp_path / "deam"
    table = root / SONG_LEVEL / "static_annotations_averaged_songs_1_2000.csv"
    rows = [[k, f" {levels(k)[1]}", " 1", f" {levels(k)[0]}", " 1"] for k in range(1, N + 1)]
    write_table(table, DEAM, [*rows, ["1001", " 3", " 1", " 9", " 1"]])
    columns: tuple[str, ...] = (
        "song_id",
        " valence_mean",
        " valence_std",
        " valence_ max_mean",
        " arousal_mean",
    )
    later = table.with_name("static_annotations_averaged_songs_2000_2058.csv")
    write_table(later, columns, [["2001", " 5", " 1", " 8", " 1"]])
    write_info(root / "metadata" / "metadata_2013.csv")
    columns = ("Id", "Artist", "Album", "Track", "Genre", "segment start", "segment end")
    row = [1001, "Artist 3", "Album", "Title", "Rock", "0:10", "0:55", "label", "another label"]
    write_table(root / "metadata" / "metadata_2014.csv", columns, [row])
    columns = ("id", "Filename", "title", "artist", "album", "genre")
    row = [2001, "a.mp3", "Title", "Someone", "Album", "Jazz"]
    write_table(root / "metadata" / "metadata_2015.csv", columns, [row])
    (root / "MEMD_audio").mkdir()
    for song in (*range(1, N + 1), 1001, 2001):
        (root / "MEMD_audio" / f"{song}.mp3").touch()
    return root


class TestEmoMusic:
    @pytest.mark.filterwarnings("error")
    def test_clips(self, emomusic: Path) -> None:
        corpus = emotion_in_music.load(emomusic)
        assert corpus.name == "emotion_in_music"
        assert corpus.ids == [str(k) for k in range(1, N + 1)]
        assert corpus.groups[:3] == ["artist 0", "artist 1", "artist 1"]
        assert corpus[0].audio == emomusic / "clips_45seconds" / "1.mp3"
        assert corpus[0].meta == {"artist": "Artist 0", "title": "Title 1", "genre": "Blues"}
        labels = corpus[4].labels
        assert (labels.valence, labels.arousal) == pytest.approx((-0.5, 1 - 10 / 7))

    def test_columns_exchanged(self, emomusic: Path) -> None:
        published = emotion_in_music.load(emomusic)
        exchanged = emotion_in_music.load(emomusic, columns="exchanged")
        for a, b in zip(published, exchanged, strict=True):
            assert (a.labels.valence, a.labels.arousal) == (b.labels.arousal, b.labels.valence)
        assert published.fingerprint != exchanged.fingerprint

    def test_folder_as_the_archive_unpacks(self, emomusic: Path) -> None:
        (emomusic / "clips_45sec").mkdir()
        inner = emomusic / "clips_45sec" / "clips_45seconds"
        (emomusic / "clips_45seconds").rename(inner)
        assert emotion_in_music.load(emomusic)[0].audio == inner / "1.mp3"

    def test_annotation_outside_the_scale(self, emomusic: Path) -> None:
        path = emomusic / "annotations" / "static_annotations.csv"
        path.write_text(path.read_text().replace("\n20,", "\n20,9", 1))
        message = r"row 21: mean_arousal of song '20' is '9.*'; expected a number from 1 to 9"
        with pytest.raises(InvalidDataError, match=message):
            emotion_in_music.load(emomusic)

    def test_song_without_artist(self, emomusic: Path) -> None:
        path = emomusic / "annotations" / "songs_info.csv"
        lines = path.read_text().splitlines()
        path.write_text("\n".join(lines[:-1]) + "\n")
        with pytest.raises(InvalidDataError, match="song '20' has labels, but no table has its a"):
            emotion_in_music.load(emomusic)
        path.unlink()
        with pytest.warns(CorpusWarning, match="artists are not known; each song is a group"):
            corpus = emotion_in_music.load(emomusic)
        assert corpus.groups == corpus.ids

    def test_environment_and_what_is_missing(
        self, emomusic: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MER_DATA", str(emomusic.parent))
        assert len(load("emotion_in_music")) == N
        with pytest.raises(MissingDataError, match=r"songs_1_2000\.csv does not exist; .*cvml"):
            load("emotion_in_music", release="deam")

    def test_unknown_options(self, emomusic: Path) -> None:
        with pytest.raises(ParameterError, match="release is 'moods'"):
            load("emotion_in_music", folder=emomusic, release="moods")
        with pytest.raises(ParameterError, match="columns is 'swapped'; expected"):
            load("emotion_in_music", folder=emomusic, columns="swapped")


class TestDeam:
    def test_clips(self, deam: Path) -> None:
        with pytest.warns(CorpusWarning, match="stand in each other's column .*as published"):
            corpus = emotion_in_music.load(deam, release="deam")
        assert (corpus.name, len(corpus)) == ("deam", N + 2)
        assert corpus[20].id == "1001"
        assert corpus[20].group == corpus[5].group == "artist 3"
        assert corpus[20].labels == Labels(valence=-0.5, arousal=1.0)
        assert corpus[21].labels == Labels(valence=0.0, arousal=-1.0)
        assert corpus[21].meta == {"artist": "Someone", "title": "Title", "genre": "Jazz"}

    @pytest.mark.filterwarnings("error")
    def test_exchange_agrees_with_emomusic(self, deam: Path, emomusic: Path) -> None:
        exchanged = emotion_in_music.load(deam, release="deam", columns="exchanged")
        first = emotion_in_music.load(emomusic)
        for a, b in zip(exchanged, first, strict=False):
            assert (a.labels.valence, a.labels.arousal) == pytest.approx(
                (b.labels.valence, b.labels.arousal)
            )

    def test_both_tables_are_needed(self, deam: Path) -> None:
        (deam / SONG_LEVEL / "static_annotations_averaged_songs_2000_2058.csv").unlink()
        with pytest.raises(MissingDataError, match=r"songs_2000_2058\.csv does not exist"):
            emotion_in_music.load(deam, release="deam", columns="exchanged")


@pytest.fixture(scope="module")
def real(data_folder: Path) -> dict[str, Corpus]:
    folder = data_folder / "annotations"
    if not (folder / "emomusic").is_dir():
        pytest.skip("no labels of EmoMusic below MER_DATA")
    with pytest.warns(CorpusWarning, match="none of the 744 annotated clips has an audio file"):
        emomusic = emotion_in_music.load(folder / "emomusic")
    with pytest.warns(CorpusWarning) as caught:
        deam = emotion_in_music.load(folder / "deam", release="deam")
    assert len(caught) == 3
    return {"emomusic": emomusic, "deam": deam}


@pytest.mark.realdata
class TestReal:
    def test_published_counts(self, real: dict[str, Corpus]) -> None:
        for corpus in real.values():
            corpus.check()
        assert {name: len(corpus) for name, corpus in real.items()} == {
            **{"emomusic": 744, "deam": 1802}
        }
        assert len(set(real["emomusic"].groups)) == 411
        assert set(real["emomusic"].ids) < set(real["deam"].ids)

    def test_label_statistics(self, real: dict[str, Corpus]) -> None:
        assert {name: label_statistics(corpus) for name, corpus in real.items()} == {
            "emomusic": {"valence": [0.002, 0.311], "arousal": [-0.053, 0.344]},
            "deam": {"valence": [-0.024, 0.294], "arousal": [-0.046, 0.321]},
        }

    def test_deam_contradicts_emomusic(self, real: dict[str, Corpus]) -> None:
        names = ["valence", "arousal"]
        frames = [real[name].to_frame().set_index("id")[names] for name in ("emomusic", "deam")]
        table = pd.concat(frames, axis=1, join="inner").corr().to_numpy()[:2, 2:]
        assert np.round(table, 4).tolist() == [[0.5991, 0.9999], [0.9998, 0.5987]]

    def test_genres_speak_for_emomusic(self, real: dict[str, Corpus]) -> None:
        corpus = real["emomusic"]
        frame = corpus.to_frame().assign(genre=[clip.meta["genre"] for clip in corpus])
        means = frame.groupby("genre")[["valence", "arousal"]].mean()
        assert len(means) == 8
        assert (means["arousal"].idxmax(), means["arousal"].idxmin()) == ("Rock", "Classical")
        assert np.round(means["arousal"][["Rock", "Classical"]], 3).tolist() == [0.128, -0.281]
