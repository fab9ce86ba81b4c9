"""MIREX-like mood: a tiny copy, damaged copies, and the real dataset."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from conftest import (
    count_of_known_groups,
    label_statistics,
    quadrant_notes,
    write_midi,
    write_table,
)

from mer.clips import Corpus, Labels, file_digest
from mer.corpora import mirex_mood
from mer.corpora.annotations import CorpusWarning
from mer.errors import InvalidDataError, MissingDataError
from mer.tasks import get_task

N = 60
WORDS = {"Fun": (8, 6), "Volatile": (3, 6), "Brooding": (3, 4), "Sweet": (8, 4), "Plain": (5, 5)}
"""One word a cluster; of the quadrants 1, 2, 3, 4, and the middle of the scale."""


def write_tracks(path: Path, rows: list[str]) -> None:
    path.write_text("\n".join(["Title;Artist;Album;Track;Year;Filename", *rows]) + "\n")


def track_rows() -> list[str]:
    return [f"Title {k};Artist {k // 2};Album;1;1999;{k:03d}.mp3" for k in range(1, N + 1)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "mirex_mood"
    for name in ("Audio", "MIDIs"):
        (root / name).mkdir(parents=True)
    words = [list(WORDS)[k % 5] for k in range(N)]
    (root / "categories.txt").write_text("\n".join(words) + "\n")
    (root / "clusters.txt").write_text("\n".join(f"Cluster {k % 5 + 1}" for k in range(N)) + "\n")
    rows = [[word, *values, "norm"] for word, values in WORDS.items()]
    write_table(root / "lexicon.csv", ("word", "valence", "arousal", "source"), rows)
    write_tracks(root / "tracks.csv", track_rows())
    for k in range(1, N + 1):
        (root / "Audio" / f"{k:03d}.mp3").touch()
    for k in (2, 9):
        write_midi(root / "MIDIs" / f"{k:03d}.mid", quadrant_notes(1, k))
    return root


class TestTiny:
    @pytest.mark.filterwarnings("error")
    def test_clips(self, folder: Path) -> None:
        corpus = mirex_mood.load(folder)
        assert corpus.ids == [f"{k:03d}" for k in range(1, N + 1)]
        assert corpus.groups[:3] == ["artist 0", "artist 1", "artist 1"]
        first = corpus[0]
        assert (first.audio, first.midi) == (folder / "Audio" / "001.mp3", None)
        assert first.labels == Labels(quadrant=1, valence=0.75, arousal=0.25, cluster=1)
        assert first.meta == {
            **{"word": "Fun", "word source": "norm", "artist": "Artist 0", "title": "Title 1"},
            **{"weak_labels": ["quadrant", "valence", "arousal"]},
        }
        assert [clip.id for clip in corpus if clip.midi is not None] == ["002", "009"]

    def test_weak_quadrants(self, folder: Path) -> None:
        corpus = mirex_mood.load(folder)
        assert [clip.labels.quadrant for clip in corpus[:5]] == [1, 2, 3, 4, 3]
        assert [clip.labels.cluster for clip in corpus[:6]] == [1, 2, 3, 4, 5, 1]
        assert get_task("A").targets(corpus[:4]).tolist() == [1, 1, 0, 0]

    def test_splits_are_stratified_by_cluster(self, folder: Path) -> None:
        corpus = mirex_mood.load(folder)
        assert corpus.split_names == ["holdout", "cv10", "cv10_ungrouped"]
        for name, leaky in (("cv10", False), ("cv10_ungrouped", True)):
            split = corpus.split(name)
            assert (split.name, split.leaky) == (name, leaky)
            assert sorted(sum((fold.test for fold in split.folds), ())) == corpus.ids
        assert len(corpus.split("holdout").folds) == 1

    def test_rows_without_artist(self, folder: Path) -> None:
        rows = track_rows()
        rows[4] = ";;;;;005.mp3"
        rows[6] = "World's a Mess; It's in My Kiss;X [1];Los Angeles;9;22-05-2011"
        write_tracks(folder / "tracks.csv", rows)
        with pytest.warns(CorpusWarning, match=r"2 songs have no usable row .*: 005, 007$"):
            corpus = mirex_mood.load(folder)
        assert [corpus[k].group for k in (4, 6)] == ["song 005", "song 007"]
        assert corpus[4].meta["artist"] is None

    def test_damaged_midi_is_reported(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        digest = file_digest(folder / "MIDIs" / "009.mid")
        monkeypatch.setitem(mirex_mood.DAMAGED_MIDI, "009", digest)
        with pytest.warns(CorpusWarning, match=r"1 MIDI files are damaged and left out .*: 009$"):
            corpus = mirex_mood.load(folder)
        assert corpus[8].midi is None
        assert corpus[1].midi == folder / "MIDIs" / "002.mid"


class TestDamaged:
    @pytest.mark.parametrize(
        ("name", "old", "new", "message"),
        [
            ("clusters.txt", "Cluster 2", "Cluster 6", r"line 2: found 'Cluster 6'; expected 'C"),
            ("categories.txt", "Volatile", "Glad", r"line 2: word 'Glad' is not in lexicon\.csv"),
            ("clusters.txt", "Cluster 1\n", "", "found 59 clusters, 60 categories and 60 tracks"),
            ("lexicon.csv", "Fun,8", "Fun,0.5", r"row 2: valence of word 'Fun' is '0\.5'; expect"),
            ("tracks.csv", "Artist", "By", "has no column 'Artist'"),
        ],
    )
    def test_what_does_not_fit(
        self, folder: Path, name: str, old: str, new: str, message: str
    ) -> None:
        path = folder / name
        path.write_text(path.read_text().replace(old, new, 1))
        with pytest.raises(InvalidDataError, match=message):
            mirex_mood.load(folder)

    @pytest.mark.parametrize(
        "name", ["clusters.txt", "categories.txt", "tracks.csv", "lexicon.csv"]
    )
    def test_missing_file(self, folder: Path, name: str) -> None:
        (folder / name).unlink()
        with pytest.raises(MissingDataError, match=f"{name} does not exist"):
            mirex_mood.load(folder)


@pytest.fixture(scope="module")
def corpus(data_folder: Path) -> Corpus:
    if not (data_folder / "mirex_mood").is_dir():
        pytest.skip("no MIREX-like mood below MER_DATA")
    with pytest.warns(CorpusWarning) as caught:
        corpus = mirex_mood.load(data_folder / "mirex_mood")
    texts = [str(warning.message) for warning in caught]
    assert any(text.endswith(": 009, 097") for text in texts)
    assert any("7 songs have no usable row" in text for text in texts)
    return corpus


@pytest.mark.realdata
class TestReal:
    def test_counts(self, corpus: Corpus) -> None:
        corpus.check()
        assert corpus.counts() == {
            **{"clips": 903, "groups": 670, "audio": 903, "midi": 194},
            **{"Q1": 411, "Q2": 80, "Q3": 65, "Q4": 347},
        }
        clusters = Counter(clip.labels.cluster for clip in corpus)
        assert [clusters[k] for k in range(1, 6)] == [170, 164, 215, 191, 163]
        assert len({clip.meta["word"] for clip in corpus}) == 28

    def test_artists_cross_the_ungrouped_split(self, corpus: Corpus) -> None:
        assert count_of_known_groups(corpus, "cv10_ungrouped") == 340
        for fold in corpus.split("cv10_ungrouped").folds:
            assert len(set(get_task("cluster").targets(corpus.select(fold.test)))) == 5

    def test_weak_label_statistics(self, corpus: Corpus) -> None:
        expected = {"valence": [0.317, 0.374], "arousal": [0.030, 0.243]}
        assert label_statistics(corpus) == expected
