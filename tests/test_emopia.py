"""EMOPIA: a tiny copy in the official layout, and damaged copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import LEAKY_PARTS, PARTS, SONGS
from rows import ROWS

from mer.audio import audio_source
from mer.clips import Corpus
from mer.corpora import emopia, load
from mer.corpora.annotations import CorpusWarning
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.systems.base import Context
from mer.tasks import get_task


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

    def test_folder_as_text(self, tiny: Corpus, emopia_folder: Path) -> None:
        assert load("emopia", folder=str(emopia_folder)).ids == tiny.ids

    def test_midibert_split_is_leaky(self, tiny: Corpus) -> None:
        split = tiny.split("split_midibert")
        assert split.leaky
        assert list(split.folds[0].test) == LEAKY_PARTS["test"]

    @pytest.mark.parametrize("suffix", [".mp3", ".FLAC"])
    def test_recordings_are_used_where_there_are_some(self, emopia_copy: Path, suffix: str) -> None:
        recording = emopia_copy / "audios" / f"Q1_{SONGS[0]}_0{suffix}"
        recording.parent.mkdir()
        recording.touch()
        corpus = emopia.load(emopia_copy)
        assert corpus[0].audio == recording
        assert corpus.counts()["audio"] == 1
        assert audio_source(corpus) == "partly rendered"


class TestDamaged:
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
        song = SONGS[8] if name != "split_midibert" else SONGS[0]
        path.write_text(path.read_text().replace(song, "no-such-son", 1))
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


def test_a_split_that_is_not_there_is_not_offered(emopia_copy: Path) -> None:
    shutil.rmtree(emopia_copy / "split_midibert")
    corpus = emopia.load(emopia_copy)
    assert corpus.split_names == ["split", "split_cls", "cv10"]
    with pytest.raises(ParameterError, match="no split 'split_midibert'; it has: split, split_cls"):
        corpus.split("split_midibert")


class TestOtherVersion:
    def leave_out(self, folder: Path, *clips: str) -> None:
        path = folder / "label.csv"
        rows = path.read_text().splitlines()
        kept = [row for row in rows if row.partition(",")[0] not in clips]
        path.write_text("\n".join(kept) + "\n")
        for clip in clips:
            (folder / "midis" / f"{clip}.mid").unlink()

    @pytest.mark.parametrize(("later", "version"), [({}, "another one than 1.0"), ({13: "9"}, "9")])
    def test_clips_that_it_lacks_are_left_out(
        self,
        emopia_copy: Path,
        later: dict[int, str],
        version: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(emopia, "_LATER", later)
        absent = [PARTS["train"][1], PARTS["train"][2], PARTS["test"][3]]
        self.leave_out(emopia_copy, *absent)
        with pytest.warns(CorpusWarning) as caught:
            corpus = emopia.load(emopia_copy)
        (warning,) = caught
        assert str(warning.message) == (
            f"corpus 'emopia': 13 clips in {emopia_copy}, version {version}; published results "
            "are about the 1078 of version 1.0; its splits lack 2 in train and 1 in test of "
            "'split', 2 in train and 1 in test of 'split_cls'"
            + (", 1 in train and 1 in test of 'split_midibert': " if later else ": ")
            + ", ".join(sorted(absent))
        )
        (fold,) = corpus.split("split_cls").folds
        for part, ids in PARTS.items():
            assert list(getattr(fold, part)) == [clip for clip in ids if clip not in absent]

    def test_the_table_may_list_more(
        self, emopia_copy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for clip in PARTS["test"][:2]:
            (emopia_copy / "midis" / f"{clip}.mid").unlink()
        with pytest.raises(MissingDataError, match=r"\.mid does not exist, but label\.csv lists"):
            emopia.load(emopia_copy)
        monkeypatch.setattr(emopia, "_LATER", {14: "9"})
        with pytest.warns(
            CorpusWarning, match="14 clips in .*, version 9; .* 2 in test of 'split'"
        ):
            corpus = emopia.load(emopia_copy)
        assert corpus.ids == [*PARTS["train"], *PARTS["valid"], *PARTS["test"][2:]]

    def test_a_misspelt_name_is_an_error(self, emopia_copy: Path) -> None:
        self.leave_out(emopia_copy, PARTS["test"][3])
        path = emopia_copy / "split" / "test_clip.csv"
        path.write_text(path.read_text().replace(SONGS[8], "no-such-son"))
        with pytest.warns(CorpusWarning, match=r"its splits lack 1 in test of 'split_cls': Q"):
            corpus = emopia.load(emopia_copy)
        with pytest.raises(InvalidDataError, match=r"test names 2 clips .* 'Q1_no-such-son_"):
            corpus.split("split")

    def test_a_part_without_clips(self, emopia_copy: Path) -> None:
        self.leave_out(emopia_copy, *PARTS["test"])
        with pytest.warns(CorpusWarning, match="4 in test of 'split'"):
            corpus = emopia.load(emopia_copy)
        with pytest.raises(MissingDataError, match="none of the clips in test of split 'split'"):
            corpus.split("split")

    @pytest.mark.realdata
    def test_as_many_clips_as_version_2_2(self, data_folder: Path, tmp_path: Path) -> None:
        for path in (data_folder / "emopia").iterdir():
            (tmp_path / path.name).symlink_to(path)
        rows = (data_folder / "emopia" / "label.csv").read_text().splitlines()
        (tmp_path / "label.csv").unlink()
        (tmp_path / "label.csv").write_text("\n".join(rows[:1] + rows[8:]) + "\n")
        with pytest.warns(
            CorpusWarning, match=r"1071 clips .*, version 2\.2; .*in train .*'split'"
        ):
            corpus = emopia.load(tmp_path)
        corpus.check()
        for name, sizes in emopia.SPLIT_SIZES.items():
            (fold,) = corpus.split(name).folds
            found = (len(fold.train), len(fold.valid), len(fold.test))
            assert 0 < sum(sizes) - sum(found) <= 7
