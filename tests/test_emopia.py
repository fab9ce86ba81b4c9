"""EMOPIA: a tiny copy in the official layout, damaged copies, and the published counts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import LEAKY_PARTS, PARTS, SONGS, count_of_known_groups
from rows import ROWS

from mer.audio import audio_source
from mer.clips import Corpus
from mer.corpora import emopia
from mer.errors import InvalidDataError, MerError, MissingDataError, ParameterError
from mer.study.cards import label_agreement
from mer.systems.base import Context
from mer.tasks import get_task


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


class TestTiny:
    def test_clips(self, tiny: Corpus, emopia_folder: Path) -> None:
        assert tiny.ids == [clip for part in PARTS.values() for clip in part]
        assert tiny.counts()["groups"] == len(SONGS)
        assert [tiny.counts()[f"Q{q}"] for q in (1, 2, 3, 4)] == [4, 4, 4, 4]
        first = tiny[0]
        assert (first.id, first.group, first.audio) == (f"Q1_{SONGS[0]}_0", SONGS[0], None)
        assert first.midi == emopia_folder / "midis" / f"Q1_{SONGS[0]}_0.mid"
        assert first.meta == {"annotator": "A"}

    @pytest.mark.parametrize("name", ["split", "split_cls"])
    def test_published_splits(self, tiny: Corpus, name: str) -> None:
        split = tiny.split(name)
        (fold,) = split.folds
        assert not split.leaky
        assert {part: list(getattr(fold, part)) for part in PARTS} == PARTS

    def test_midibert_split_is_leaky(self, tiny: Corpus) -> None:
        split = tiny.split("split_midibert")
        assert split.leaky
        assert list(split.folds[0].test) == LEAKY_PARTS["test"]

    def test_recordings_are_used_where_there_are_some(self, emopia_copy: Path) -> None:
        recording = emopia_copy / "audios" / f"Q1_{SONGS[0]}_0.mp3"
        recording.parent.mkdir()
        recording.touch()
        corpus = emopia.load(emopia_copy)
        assert corpus[0].audio == recording
        assert corpus.counts()["audio"] == 1
        assert audio_source(corpus) == "partly rendered"


LABELS = f"Q1_{SONGS[0]}_0,1,A\n"


class TestDamaged:
    @pytest.mark.parametrize(
        ("new", "message"),
        [
            (f"Q1_{SONGS[0]}_0,5,A\n", r"label\.csv: clip 'Q1_.*' has label '5'; expected 1-4"),
            (f"Q1_{SONGS[0]}_0,,A\n", r"has label ''; expected 1-4"),
            (f"Q1_{SONGS[0]}_0\n", r"has label None; expected 1-4"),
            (f"Q1_{SONGS[0]}_0,2,A\n", r"has label 2, its name says 1"),
            (f"Q5_{SONGS[0]}_0,1,A\n", r"clip 'Q5_.*'; expected a name like Q1_<song>_0"),
            (LABELS + LABELS, r"clip id 'Q1_.*' stands more than once"),
        ],
    )
    def test_label_that_does_not_fit(self, emopia_copy: Path, new: str, message: str) -> None:
        replace(emopia_copy / "label.csv", LABELS, new)
        with pytest.raises(InvalidDataError, match=message):
            emopia.load(emopia_copy)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "no column 'ID'"),
            (b"ID,quadrant,annotator\n", "no column '4Q'; expected ID, 4Q, annotator"),
            (b"\xff\xfe\x00ID,4Q\n\x80\x81", r"label\.csv is not a table in UTF-8"),
        ],
    )
    def test_table_that_does_not_fit(self, emopia_copy: Path, content: bytes, message: str) -> None:
        (emopia_copy / "label.csv").write_bytes(content)
        with pytest.raises(InvalidDataError, match=message):
            emopia.load(emopia_copy)

    @pytest.mark.parametrize("name", ["label.csv", f"midis/Q1_{SONGS[0]}_0.mid"])
    def test_missing_file(self, emopia_copy: Path, name: str) -> None:
        (emopia_copy / name).unlink()
        with pytest.raises(MissingDataError, match=f"{name} does not exist"):
            emopia.load(emopia_copy)

    @pytest.mark.parametrize(
        ("name", "file"),
        [
            ("split", "split/test_clip.csv"),
            ("split_cls", "split_cls/test.csv"),
            ("split_midibert", "split_midibert/test.txt"),
        ],
    )
    def test_damaged_split(self, emopia_copy: Path, name: str, file: str) -> None:
        path = emopia_copy / file
        replace(path, SONGS[8] if name != "split_midibert" else SONGS[0], "no-such-son")
        with pytest.raises(InvalidDataError, match=r"test names 1 clips .* 'Q1_no-such-son_"):
            emopia.load(emopia_copy).split(name)
        path.unlink()
        with pytest.raises(MissingDataError, match=f"{file} does not exist"):
            emopia.load(emopia_copy).split(name)

    @pytest.mark.parametrize("content", [b"", b"MThd", b"not MIDI at all"])
    def test_damaged_midi(self, emopia_copy: Path, content: bytes) -> None:
        path = emopia_copy / "midis" / f"Q1_{SONGS[0]}_0.mid"
        path.write_bytes(content)
        corpus = emopia.load(emopia_copy)
        context = Context(get_task("4Q"))
        with pytest.raises(InvalidDataError, match=path.name):
            ROWS["Symbolic-LR"].fit(corpus, corpus, context)
        with pytest.raises(InvalidDataError, match=path.name):
            ROWS["Audio-LR"].fit(corpus, corpus, context)


@pytest.fixture(scope="module")
def corpus(data_folder: Path) -> Corpus:
    return emopia.load(data_folder / "emopia")


@pytest.mark.realdata
class TestReal:
    def test_published_counts(self, corpus: Corpus) -> None:
        corpus.check()
        assert (corpus.counts()["audio"], corpus.counts()["midi"]) == (0, 1078)

    def test_only_the_midibert_split_leaks(self, corpus: Corpus) -> None:
        siblings = {name: count_of_known_groups(corpus, name) for name in emopia.SPLIT_SIZES}
        assert siblings == {"split": 0, "split_cls": 0, "split_midibert": 93}

    def test_song_lookup_shows_the_leak(self, corpus: Corpus) -> None:
        (fold,) = corpus.split("split_midibert").folds
        train, test = corpus.select(fold.train), corpus.select(fold.test)
        fitted = ROWS["Song-lookup"].fit(train, train, Context(get_task("4Q")))
        answers = fitted.predict(test).drop(columns="id").to_numpy().argmax(axis=1)
        assert (answers == get_task("4Q").targets(test)).sum() == 82  # .766 of 107

    def test_songs_with_several_quadrants(self, corpus: Corpus) -> None:
        agreement = label_agreement(corpus)
        assert agreement["groups_with_several_quadrants"] == 72
        assert agreement["agreement"] == pytest.approx(0.62, abs=0.005)

    def test_cross_validation(self, corpus: Corpus) -> None:
        folds = corpus.split("cv10").folds
        assert len(folds) == 10
        assert sorted(sum((fold.test for fold in folds), ())) == sorted(corpus.ids)
        assert {len(fold.train + fold.valid + fold.test) for fold in folds} == {1078}

    def test_a_split_cut_short_is_noticed(
        self, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(emopia.SPLIT_SIZES, "split_cls", (767, 198, 87))
        with pytest.raises(MerError, match=r"have \(767, 198, 86\) clips, expected \(767, 198, 8"):
            corpus.split("split_cls")


def test_a_split_that_is_not_there_is_not_offered(emopia_copy: Path) -> None:
    shutil.rmtree(emopia_copy / "split_midibert")
    corpus = emopia.load(emopia_copy)
    assert corpus.split_names == ["split", "split_cls", "cv10"]
    with pytest.raises(ParameterError, match="no split 'split_midibert'; it has: split, split_cls"):
        corpus.split("split_midibert")
