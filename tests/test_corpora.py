"""Loaders on tiny datasets in the official layouts: clips, splits, gaps and damage."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SONGS, Run, count_of_known_groups, write_table
from toy_datasets import (
    BUILDERS,
    DEAM_TABLES,
    EMOTIFY_LEXICON,
    N,
    rating,
    touch,
    write_lexicon,
    write_maestro,
    write_ratings,
)

from mer.clips import Clip, Corpus, Labels, file_digest
from mer.corpora import emotify, four_quadrants, load, maestro, mirex_mood, pmemo
from mer.corpora.annotations import CorpusWarning, audio_files, on_scale
from mer.corpora.tables import read_lines, read_table
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.study.cards import describe
from mer.tasks import get_task

Build = Callable[[str], Path]


@pytest.fixture
def build(tmp_path: Path, emopia_folder: Path) -> Build:
    """Writes the tiny dataset of a name, for the test alone."""

    def write(name: str) -> Path:
        folder = tmp_path / ("maestro-v3.0.0" if name == "maestro" else name)
        if name == "emopia":
            shutil.copytree(emopia_folder, folder)
        else:
            BUILDERS[name](folder)
        return folder

    return write


def load_from(folder: Path, name: str, **options: Any) -> Corpus:
    if name == "deam":
        return load("emotion_in_music", folder=folder, release="deam", **options)
    return load(name, folder=folder, **options)


def change(path: Path, old: str, new: str) -> None:
    """Replace a text once; without one, the whole file. Bytes of any encoding survive."""
    text = path.read_bytes().decode("latin-1").replace("\r\n", "\n")
    assert old in text
    path.write_bytes(text.replace(old or text, new, 1).encode("latin-1"))


CLIPS = {
    "pmemo": Clip(
        *("1", "the artist 1", Path("chorus/1.mp3")),
        labels=Labels(valence=0.9, arousal=-0.9),
        meta={"artist": "The  Artist 1", "title": "Title 1"},
    ),
    "emotion_in_music": Clip(
        *("5", "artist 2", Path("clips_45seconds/5.mp3")),
        labels=Labels(valence=-0.5, arousal=-0.428571),
        meta={"artist": "Artist 2", "title": "Title 5", "genre": "Blues"},
    ),
    "deam": Clip(
        *("1001", "artist 3", Path("MEMD_audio/1001.mp3")),
        labels=Labels(valence=1.0, arousal=-0.5),
        meta={"artist": "Artist 3", "title": "Title", "genre": "Rock"},
    ),
    "mirex_mood": Clip(
        *("009", "artist 4", Path("Audio/009.mp3"), Path("MIDIs/009.mid")),
        labels=Labels(quadrant=4, valence=0.75, arousal=-0.25, cluster=4),
        meta={
            **{"word": "Sweet", "word source": "norm", "artist": "Artist 4", "title": "Title 9"},
            **{"weak_labels": ["quadrant", "valence", "arousal"]},
        },
    ),
    "four_quadrants": Clip(
        *("MT0000000001", "motörhead 0", Path("Q2/MT0000000001.mp3")),
        labels=Labels(quadrant=2),
        meta={
            **{"artist": "Motörhead 0", "title": "Title 1"},
            **{"moods": ["Nervous", "Jittery", "Tense"], "genres": ["Pop/Rock", "R&B"]},
        },
    ),
    "maestro": Clip(
        *("2008/a--1", "alban berg: sonata op. 1", None, Path("2008/a--1.midi")),
        meta={
            **{"composer": "Alban Berg", "title": "Sonata Op. 1", "year": 2008, "duration": 12.5}
        },
    ),
    "pop1k7": Clip(
        *("src_002/11", "src_002/11", None, Path("midi_transcribed/src_002/11.midi")),
        meta={"source": "src_002"},
    ),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", CLIPS)
def test_clip(build: Build, name: str) -> None:
    folder, expected = build(name), CLIPS[name]
    corpus = load_from(folder, name, **({"columns": "exchanged"} if name == "deam" else {}))
    (clip,) = corpus.select([expected.id])
    values = {
        dimension: value and round(value, 6)
        for dimension in ("valence", "arousal")
        for value in [getattr(clip.labels, dimension)]
    }
    audio, midi = (path and folder / path for path in (expected.audio, expected.midi))
    expected = replace(expected, audio=audio, midi=midi)
    assert replace(clip, labels=replace(clip.labels, **values)) == expected


REGRESSION = ["holdout", "cv10", "nested5x5"]
CLASSES = ["holdout", "cv10", "cv10_ungrouped"]


@pytest.mark.parametrize(
    ("name", "ids", "splits"),
    [
        ("pmemo", [str(k) for k in range(1, 21)], REGRESSION),
        ("emotion_in_music", [str(k) for k in range(1, 21)], REGRESSION),
        ("emotify", [f"{g}/{k}" for g in emotify.GENRES for k in range(1, 11)], REGRESSION),
        ("mirex_mood", [f"{k:03d}" for k in range(1, 61)], CLASSES),
        ("four_quadrants", [f"MT{k:010d}" for k in range(48)], CLASSES),
        ("maestro", ["2008/a--1", "2017/b--2", "2008/c", "2008/d"], ["official"]),
        ("pop1k7", ["src_001/0", "src_001/2", "src_001/10", "src_002/11"], []),
    ],
)
def test_ids_and_splits(build: Build, name: str, ids: list[str], splits: list[str]) -> None:
    corpus = load_from(build(name), name)
    assert (corpus.ids, corpus.split_names) == (ids, splits)
    n_folds = {"holdout": 1, "cv10": 10, "cv10_ungrouped": 10, "nested5x5": 25, "official": 1}
    for split in map(corpus.split, splits):
        assert len(split.folds) == n_folds[split.name]
        assert split.leaky == (split.name in ("cv10_ungrouped", "official"))
        assert (count_of_known_groups(corpus, split.name) > 0) == (split.name == "cv10_ungrouped")
        tested = Counter(clip for fold in split.folds for clip in fold.test)
        if len(split.folds) > 1:
            assert tested == dict.fromkeys(ids, 5 if split.name == "nested5x5" else 1)


@pytest.mark.parametrize(
    ("name", "inner", "moved"),
    [
        ("pmemo", pmemo.VERSION, ["*"]),
        ("four_quadrants", four_quadrants.VERSION, ["*"]),
        ("emotify", "emotifymusic", emotify.GENRES),
        ("emotion_in_music", "clips_45sec", ["clips_45seconds"]),
    ],
)
def test_environment_and_folder_of_the_archive(
    build: Build, monkeypatch: pytest.MonkeyPatch, name: str, inner: str, moved: list[str]
) -> None:
    folder = build(name)
    monkeypatch.setenv("MER_DATA", str(folder.parent))
    names = [clip.audio and clip.audio.relative_to(folder) for clip in load(name)]
    paths = [path for pattern in moved for path in folder.glob(pattern)]
    (folder / inner).mkdir()
    for path in paths:
        path.rename(folder / inner / path.name)
    archived = [clip.audio and clip.audio.relative_to(folder / inner) for clip in load(name)]
    assert archived == names


RATINGS = "annotations/static_annotations.csv"
Q4_LABELS, Q4_METADATA = (f"panda_dataset_taffc_{n}.csv" for n in ("annotations", "metadata"))
CLIP = f"Q1_{SONGS[0]}_0"

DAMAGE = {
    f"pmemo/{RATINGS}": [
        (
            "5,0.25,0.75",
            "5,0.25,1.2",
            r"row 6: Valence\(mean\) of song '5' is '1.2'; expected a num",
        ),
        ("5,0.25,0.75", "5,0.25,-0.01", "song '5' is '-0.01'; expected a number from 0 to 1"),
        ("5,0.25,0.75", "5,0.25,", "song '5' is ''; expected a number"),
        ("5,0.25,0.75", "5,0.25,nan", "song '5' is 'nan'; expected a number"),
        ("1,0.05,0.95", "1,0.05", r"row 2: Valence\(mean\) of song '1' is None"),
        ("20,1.0,0.0", "19,1.0,0.0", "row 21: song '19' stands more than once"),
    ],
    "pmemo/metadata.csv": [
        ("\n1,", "\n98,", r"metadata\.csv has no song '1'; it has labels"),
        ("The  Artist 1", "", r"metadata\.csv, row 2: song '1' has no artist"),
    ],
    f"emotion_in_music/{RATINGS}": [
        ("\n20,", "\n20,9", "row 21: mean_arousal of song '20' is '9.*'; expected a number from 1"),
    ],
    "emotion_in_music/annotations/songs_info.csv": [
        ("\n20,", "\n98,", "song '20' has labels, but no table has its artist"),
    ],
    "emotify/data.csv": [
        ("\n1,", "\n401,", r"data\.csv, row 2: track id is '401'; expected 1 to 400"),
        ("\n1,", "\none,", "row 2: track id is 'one'"),
        ("classical", "pop", "row 2: track 1 is of genre 'pop'; expected 'classical'"),
        ("l,1,", "l,2,", "row 2: amazement of track 1 is '2'; expected 0 or 1"),
        ("1,3,1", ",3,1", "row 2: sadness of track 1 is ''; expected 0 or 1"),
    ],
    "emotify/lexicon.csv": [
        (
            "power,6,4",
            "power,5,9.5",
            "row 7: arousal of 'power' is '9.5'; expected a number from 1",
        ),
        ("sadness", "gloom", r"lexicon\.csv has no emotion 'sadness'"),
    ],
    "mirex_mood/clusters.txt": [
        ("Cluster 2", "Cluster 6", "line 2: found 'Cluster 6'; expected 'Cluster 1'"),
        ("Cluster 1\n", "", "found 59 clusters, 60 categories and 60 tracks"),
    ],
    "mirex_mood/categories.txt": [
        ("Volatile", "Glad", r"line 2: word 'Glad' is not in lexicon\.csv"),
    ],
    "mirex_mood/lexicon.csv": [
        ("Fun,8", "Fun,0.5", r"row 2: valence of word 'Fun' is '0\.5'; expected a number"),
    ],
    "mirex_mood/tracks.csv": [("Artist", "By", "has no column 'Artist'")],
    f"four_quadrants/{Q4_LABELS}": [
        ("Q1", "Q5", "row 2: song 'MT0000000000' is of quadrant 'Q5'; expected Q1, Q2, Q3, Q4"),
        ("Q1", "Q2", r"'MT0000000000' is of quadrant 'Q2' in .*; .*metadata\.csv says 'Q1'"),
        ("47,Q4", "46,Q3", "row 49: song .* stands more than once"),
    ],
    f"four_quadrants/{Q4_METADATA}": [("47,", "48,", r"metadata\.csv does not have it")],
    "maestro/maestro-v3.0.0.csv": [
        ("train", "eval", r"a--1\.midi is in split 'eval'; expected train, validation, test"),
        (",2008,", ",MM,", "has year 'MM' and duration '12.5'; expected numbers"),
        (",12.5", ",", "year '2008' and duration ''; expected numbers"),
        (",12.5", "", "year '2008' and duration None; expected numbers"),
    ],
    "emopia/label.csv": [
        (f"{CLIP},1", f"{CLIP},5", r"label\.csv, row 2: clip 'Q1_.*' has label '5'; expected 1-4"),
        (f"{CLIP},1", f"{CLIP},", "has label ''; expected 1-4"),
        (f"{CLIP},1,A", CLIP, "has label None; expected 1-4"),
        (f"{CLIP},1", f"{CLIP},2", "has label 2, its name says 1"),
        ("\nQ1", "\nQ5", "clip 'Q5_.*'; expected a name like Q1_<song>_0"),
        (f"{CLIP},1,A\n", 2 * f"{CLIP},1,A\n", "clip id 'Q1_.*' stands more than once"),
        ("", "", "no column 'ID'"),
        ("4Q", "quadrant", "no column '4Q'; expected ID, 4Q, annotator"),
        ("", "\xff\xfe\0ID,4Q\n\x80\x81", r"label\.csv is not a table in UTF-8"),
    ],
}
"""By table: what is replaced, by what, and the message."""


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [(table, *case) for table, cases in DAMAGE.items() for case in cases],
)
def test_damaged_table(build: Build, table: str, old: str, new: str, message: str) -> None:
    name, _, file = table.partition("/")
    folder = build(name)
    change(folder / file, old, new)
    with pytest.raises(InvalidDataError, match=message):
        load_from(folder, name)


def test_table_with_a_byte_order_mark(build: Build) -> None:
    folder = build("emopia")
    expected = load("emopia", folder=folder).ids
    change(folder / "label.csv", "ID,", "\xef\xbb\xbfID,")
    assert load("emopia", folder=folder).ids == expected


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("pmemo", "metadata.csv", "HuiZhangDB/PMEmo .*MER_DATA"),
        ("pmemo", RATINGS, "HuiZhangDB/PMEmo .*MER_DATA"),
        ("emotion_in_music", RATINGS, "cvml.unige.ch"),
        ("deam", f"{DEAM_TABLES}_songs_1_2000.csv", "cvml.unige.ch"),
        ("deam", f"{DEAM_TABLES}_songs_2000_2058.csv", "cvml.unige.ch"),
        ("emotify", "data.csv", "memotion"),
        ("emotify", "lexicon.csv", "Warriner et al"),
        ("mirex_mood", "clusters.txt", "mir.dei.uc.pt"),
        ("mirex_mood", "categories.txt", "mir.dei.uc.pt"),
        ("mirex_mood", "tracks.csv", ""),
        ("mirex_mood", "lexicon.csv", "Warriner et al"),
        ("four_quadrants", Q4_LABELS, "the 4Q audio emotion"),
        ("four_quadrants", Q4_METADATA, "the 4Q audio emotion"),
        ("maestro", "maestro-v3.0.0.csv", ""),
        ("maestro", "2008/c.midi", ", but maestro-v3.0.0.csv lists it"),
        ("emopia", "label.csv", ""),
        ("emopia", f"midis/Q1_{SONGS[0]}_0.mid", r", but label\.csv lists the clip"),
    ],
)
def test_missing_file(build: Build, name: str, file: str, message: str) -> None:
    folder = build(name)
    (folder / file).unlink()
    with pytest.raises(MissingDataError, match=f"{file} does not exist.*{message}"):
        load_from(folder, name)


class TestGaps:
    def test_any_readable_suffix(self, build: Build) -> None:
        chorus = build("pmemo") / "chorus"
        (chorus / "1.mp3").rename(chorus / "1.flac")
        (chorus / "2.wav").touch()
        names = [clip.audio and clip.audio.name for clip in load("pmemo", folder=chorus.parent)]
        assert names[:3] == ["1.flac", "2.mp3", "3.mp3"]

    def test_audio_without_annotation(self, build: Build) -> None:
        folder = build("pmemo")
        touch(folder / "chorus", (99, 100))
        with pytest.warns(CorpusWarning, match=r"2 audio files have no annot.*chorus\): 99, 100$"):
            assert len(load("pmemo", folder=folder)) == N
        touch(folder / "chorus", range(1000, 1048))
        with pytest.warns(CorpusWarning, match=r": 50 audio files .*, 1037 and 10 more$"):
            load("pmemo", folder=folder)

    def test_annotation_without_audio(self, build: Build) -> None:
        folder = build("pmemo")
        whole = load("pmemo", folder=folder).split("nested5x5")
        for song in ("3", "17"):
            (folder / "chorus" / f"{song}.mp3").unlink()
        with pytest.warns(CorpusWarning, match=r"2 annotated clips have no audio .*: 3, 17$"):
            corpus = load("pmemo", folder=folder)
        assert corpus.ids == [str(k) for k in range(1, N + 1) if k not in (3, 17)]
        assert corpus.split_names == REGRESSION
        for before, after in zip(whole.folds, corpus.split("nested5x5").folds, strict=True):
            for part in ("train", "valid", "test"):
                kept = [clip for clip in getattr(before, part) if clip not in ("3", "17")]
                assert list(getattr(after, part)) == kept

    def test_too_little_audio_for_the_folds_and_none(self, build: Build) -> None:
        folder = build("pmemo")
        for song in range(1, 19):
            (folder / "chorus" / f"{song}.mp3").unlink()
        with pytest.warns(CorpusWarning, match="18 annotated clips"):
            corpus = load("pmemo", folder=folder)
        with pytest.raises(MissingDataError, match="18 of 20 audio files are missing"):
            corpus.split("nested5x5")
        shutil.rmtree(folder / "chorus")
        with pytest.warns(CorpusWarning, match="none of the 20 annotated clips has an audio file"):
            corpus = load("pmemo", folder=folder)
        assert (corpus.counts()["clips"], corpus.counts()["audio"]) == (N, 0)

    def test_recordings_of_maestro(self, build: Build) -> None:
        folder = build("maestro")
        (folder / "2008" / "c.wav").touch()
        corpus = load("maestro", folder=folder)
        assert [clip.audio for clip in corpus] == [None, None, folder / "2008" / "c.wav", None]

    def test_folder_without_pieces(self, tmp_path: Path) -> None:
        with pytest.raises(
            MissingDataError, match=r"holds no file midi_transcribed/src_\*/\*\.midi"
        ):
            load("pop1k7", folder=tmp_path)

    def test_helpers(self, tmp_path: Path) -> None:
        for name in ("b.opus", "a.wav", "a.mp3", "c.txt"):
            (tmp_path / name).touch()
        found = {name: path.name for name, path in audio_files(tmp_path).items()}
        assert found == {"a": "a.mp3", "b": "b.opus"}
        assert audio_files(tmp_path / "none") == {}
        assert [on_scale(x, (1, 9), "") for x in ("1", "5", "7.0", "9")] == [-1.0, 0.0, 0.5, 1.0]


def test_command_line_says_how_to_get_pmemo(mer: Run) -> None:
    status, _, error = mer("data", "fetch", "pmemo")
    assert status == 1
    assert "cannot be downloaded by this command: PMEmo is given out by its authors" in error


def test_pmemo_as_passed_on(build: Build) -> None:
    folder = build("pmemo")
    published = load("pmemo", folder=folder).to_frame()
    (folder / RATINGS).unlink()
    columns = ("song_id", "valence_mean", "valence_std", "arousal_mean", "arousal_std")
    rows = [[k, 9 - 8 * k / N, 1, 1 + 8 * k / N, 1] for k in range(1, N + 1)]
    write_table(folder / "static_annotations.csv", columns, rows)
    pd.testing.assert_frame_equal(load("pmemo", folder=folder).to_frame(), published)


class TestEmotionInMusic:
    def test_columns_exchanged(self, build: Build) -> None:
        folder = build("emotion_in_music")
        published = load("emotion_in_music", folder=folder)
        exchanged = load("emotion_in_music", folder=folder, columns="exchanged")
        for a, b in zip(published, exchanged, strict=True):
            assert (a.labels.valence, a.labels.arousal) == (b.labels.arousal, b.labels.valence)
        assert published.fingerprint != exchanged.fingerprint

    def test_no_table_of_artists(self, build: Build) -> None:
        folder = build("emotion_in_music")
        (folder / "annotations" / "songs_info.csv").unlink()
        with pytest.warns(CorpusWarning, match="artists are not known; each song is a group"):
            corpus = load("emotion_in_music", folder=folder)
        assert corpus.groups == corpus.ids

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"release": "moods"}, "release is 'moods'"),
            ({"columns": "swapped"}, "columns is 'swapped'; expected"),
        ],
    )
    def test_unknown_options(self, options: dict[str, str], message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            load("emotion_in_music", **options)

    def test_deam(self, build: Build) -> None:
        folder = build("deam")
        with pytest.warns(CorpusWarning, match="stand in each other's column .*as published"):
            corpus = load_from(folder, "deam")
        assert (corpus.name, len(corpus)) == ("deam", N + 2)
        assert corpus[20].group == corpus[5].group == "artist 3"
        assert corpus[21].labels == Labels(valence=0.0, arousal=-1.0)
        assert corpus[21].meta == {"artist": "Someone", "title": "Title", "genre": "Jazz"}
        exchanged = load_from(folder, "deam", columns="exchanged").to_frame()[:N]
        first = load("emotion_in_music", folder=build("emotion_in_music")).to_frame()
        pd.testing.assert_frame_equal(exchanged, first)


class TestEmotify:
    @pytest.mark.filterwarnings("error")
    def test_projection_by_hand(self, build: Build) -> None:
        folder = build("emotify")
        corpus = load("emotify", folder=folder)
        first = corpus[0]
        # (-1 + 1) / 2 = 0 and .75; the empty rating does not count
        assert first.labels.valence == pytest.approx((0.0 + 0.75) / 2)
        assert first.labels.arousal == pytest.approx((0.0 - 0.75) / 2)
        assert (first.meta["ratings"], first.meta["ratings without emotion"]) == (3, 1)
        assert first.meta["emotions"]["tension"] == pytest.approx(1 / 3)
        assert corpus.groups == corpus.ids
        assert (corpus[10].meta["genre"], corpus[10].meta["track"]) == ("rock", 101)
        assert corpus[10].audio == folder / "rock" / "1.mp3"

    def test_ratings(self, build: Build) -> None:
        folder = build("emotify")
        table = emotify.ratings(folder)
        assert list(table) == ["id", "track", *emotify.EMOTIONS, "valence", "arousal"]
        assert len(table) == 3 + 2 * 39
        np.testing.assert_array_equal(table["valence"][:3], [0.0, np.nan, 0.75])
        by_track = table.groupby("id", sort=False)["arousal"].mean()
        arousal = load("emotify", folder=folder).to_frame()["arousal"]
        np.testing.assert_allclose(by_track, arousal)

    def test_projection_is_linear_in_the_lexicon(self, build: Build) -> None:
        folder = build("emotify")
        before = emotify.ratings(folder)["valence"]
        mirrored = {word: (10 - v, a) for word, (v, a) in EMOTIFY_LEXICON.items()}
        write_lexicon(folder / "lexicon.csv", "emotion", mirrored)
        pd.testing.assert_series_equal(emotify.ratings(folder)["valence"], -before)

    def test_order_of_the_ratings_does_not_matter(self, build: Build) -> None:
        folder = build("emotify")
        before = load("emotify", folder=folder).to_frame()
        lines = (folder / "data.csv").read_text().splitlines()
        (folder / "data.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
        pd.testing.assert_frame_equal(load("emotify", folder=folder).to_frame(), before)

    def test_splits_are_stratified_by_genre(self, build: Build) -> None:
        for fold in load("emotify", folder=build("emotify")).split("nested5x5").folds:
            genres = Counter(clip.partition("/")[0] for clip in fold.test)
            assert genres == dict.fromkeys(emotify.GENRES, 2)

    def test_track_without_any_emotion(self, build: Build) -> None:
        folder = build("emotify")
        write_ratings(folder, [rating(1), rating(1), rating(2, 3)])
        with pytest.raises(MissingDataError, match="'classical/1' has 2 ratings, in none of which"):
            load("emotify", folder=folder)


class TestMirexMood:
    def test_weak_quadrants(self, build: Build) -> None:
        corpus = load("mirex_mood", folder=build("mirex_mood"))
        assert [clip.labels.quadrant for clip in corpus[:5]] == [1, 2, 3, 4, 3]
        assert [clip.labels.cluster for clip in corpus[:6]] == [1, 2, 3, 4, 5, 1]
        assert get_task("A").targets(corpus[:4]).tolist() == [1, 1, 0, 0]

    def test_rows_without_artist(self, build: Build) -> None:
        folder = build("mirex_mood")
        change(folder / "tracks.csv", "Title 5;Artist 2;Album;1;1999", ";;;;")
        change(folder / "tracks.csv", "Title 7;", "World's a Mess; It's in My Kiss;")
        with pytest.warns(CorpusWarning, match=r"2 songs have no usable row .*: 005, 007$"):
            corpus = load("mirex_mood", folder=folder)
        assert [corpus[k].group for k in (4, 6)] == ["song 005", "song 007"]
        assert corpus[4].meta["artist"] is None

    def test_damaged_midi_is_reported(self, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = build("mirex_mood")
        digest = file_digest(folder / "MIDIs" / "009.mid")
        monkeypatch.setitem(mirex_mood.DAMAGED_MIDI, "009", digest)
        with pytest.warns(CorpusWarning, match=r"1 MIDI files are damaged and left out .*: 009$"):
            corpus = load("mirex_mood", folder=folder)
        assert (corpus[8].midi, corpus[1].midi) == (None, folder / "MIDIs" / "002.mid")


class TestFourQuadrants:
    def test_clips_without_artist(self, build: Build) -> None:
        folder = build("four_quadrants")
        change(folder / Q4_METADATA, "04,Mot\xf6rhead  2,", "04, ,")
        with pytest.warns(CorpusWarning, match=r"1 clips have no artist .*: MT0000000004$"):
            corpus = load("four_quadrants", folder=folder)
        assert (corpus[4].group, corpus[4].meta["artist"]) == ("song MT0000000004", None)
        assert get_task("4Q").targets(corpus[:4]).tolist() == [0, 1, 2, 3]
        assert get_task("V").targets(corpus[:4]).tolist() == [1, 0, 0, 1]
        with pytest.raises(InvalidDataError, match="found 48 clips, expected 900"):
            corpus.check()

    def test_recording_in_the_folder_of_another_quadrant(self, build: Build) -> None:
        folder = build("four_quadrants")
        (folder / "Q1" / "MT0000000000.mp3").rename(folder / "Q3" / "MT0000000000.mp3")
        with pytest.raises(InvalidDataError, match="is annotated as Q1; expected it in the folder"):
            load("four_quadrants", folder=folder)


class TestMaestro:
    def test_groups_and_official_split(self, build: Build) -> None:
        corpus = load("maestro", folder=build("maestro"))
        corpus.check()
        # titles differ in case and spaces only
        assert corpus.groups[0] == corpus.groups[1]
        assert corpus.groups[2] == corpus.groups[3] != corpus.groups[0]
        (fold,) = corpus.split("official").folds
        assert (fold.train, fold.valid) == (("2008/a--1", "2017/b--2"), ("2008/c",))
        assert fold.test == ("2008/d",)

    def test_card_of_a_corpus_without_labels(self, build: Build) -> None:
        card = describe(load("maestro", folder=build("maestro")))
        assert (card["counts"]["clips"], card["counts"]["Q1"], card["notes"]) == (4, 0, {})
        assert card["songs"] == {
            **{"groups": 2, "groups_with_several_clips": 0},
            **{"groups_with_several_quadrants": 0, "agreement": 1.0},
        }
        assert card["splits"]["official"]["clips"] == {"train": 2, "valid": 1, "test": 1}

    def test_all_years_are_held_to_the_published_counts(self, tmp_path: Path) -> None:
        rows: list[list[object]] = [
            ["Alban Berg", "Sonata", "train", year, f"{year}/a.midi", f"{year}/a.wav", 3]
            for year in maestro.YEARS
        ]
        write_maestro(tmp_path, rows)
        corpus = load("maestro", folder=tmp_path)
        with pytest.raises(InvalidDataError, match="found 10 clips, expected 1276"):
            corpus.check()
        with pytest.raises(InvalidDataError, match=r"\(10, 0, 0\) .* expected \(962, 137, 177\)"):
            corpus.split("official")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "id;valence\na;0,5\n",
            "no column 'id'; expected id, valence; its separator seems to be ';'",
        ),
        ("id,valence\n\x00,\xff", "is not a table in UTF-8"),
        ("id,valence\na,\xff", r"a\.csv is not a table in UTF-8: .*; save it as UTF-8$"),
        (
            "id,valence\na,0".encode("utf-16").decode("latin-1"),
            "UTF-8: it holds zero bytes, as UTF-16 and binary files do; save it as UTF-8$",
        ),
        ("id,valence\n\n\na,0,5\n", r"a\.csv, row 4 has 3 cells, the header 2; expected quotes"),
    ],
)
def test_tables_of_other_programs(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InvalidDataError, match=message):
        read_table(path, ("id", "valence"))


def test_empty_rows_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,valence\n\na,0.5\n,\n,,\nb, 0.25,\n\n", encoding="utf-8-sig")
    rows = read_table(path, ("id", "valence"))
    assert [(row["id"], row["valence"]) for row in rows] == [("a", "0.5"), ("b", "0.25")]
    assert [row.where for row in rows] == [f"{path}, row 3", f"{path}, row 6"]


def test_lists_of_other_programs(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\nQ1_a\r\n Q2_b\n", encoding="utf-8-sig")
    assert read_lines(path) == ["Q1_a", "Q2_b"]
    path.write_text("Q1_a", encoding="utf-16")
    with pytest.raises(InvalidDataError, match=r"a\.txt is not text in UTF-8: .*save it as UTF-8"):
        read_lines(path)


def test_an_empty_row_above_a_bad_cell(build: Build) -> None:
    folder = build("pmemo")
    change(folder / RATINGS, "5,0.25,0.75", "\n\n5,0.25,1.2")
    with pytest.raises(InvalidDataError, match=r"row 8: Valence\(mean\) of song '5' is '1\.2'"):
        load("pmemo", folder=folder)
