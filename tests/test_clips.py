"""Clips and corpora: identity, selection, splits, fingerprints, counts."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from mer.clips import Clip, Corpus, Fold, Labels, Split, file_digest
from mer.corpora import emopia, load, remote_of
from mer.errors import InvalidDataError, MissingDataError, ParameterError


def clip(name: str, group: str = "", quadrant: int | None = 1) -> Clip:
    return Clip(id=name, group=group or name, labels=Labels(quadrant=quadrant))


def corpus(*clips: Clip, split: Split | None = None, **counts: int) -> Corpus:
    splits = {} if split is None else {"s": lambda _: split}
    return Corpus("toy", clips, licence="-", citation="-", splits=splits, expected=counts)


def split_of(train: str, valid: str, test: str, *, leaky: bool = False) -> Split:
    """One fold; each part names clips by one letter each."""
    return Split("s", (Fold(tuple(train), tuple(valid), tuple(test)),), leaky=leaky)


def test_ends_of_the_range_are_allowed() -> None:
    assert Labels(valence=-1.0, arousal=1.0).arousal == 1.0


class TestCorpus:
    def test_is_an_ordered_sequence(self) -> None:
        toy = corpus(clip("b"), clip("a", "g"), clip("c", "g"))
        assert toy.ids == [c.id for c in toy] == ["b", "a", "c"]
        assert toy.groups == ["b", "g", "g"]
        assert toy[-1].id == "c"
        assert [c.id for c in toy[:2]] == ["b", "a"]
        assert repr(toy) == "Corpus('toy', 3 clips, 2 groups)"

    def test_an_id_stands_once(self) -> None:
        with pytest.raises(InvalidDataError, match="'toy': clip id 'a' stands more than once"):
            corpus(clip("a"), clip("b"), clip("a"))

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ((1, "g"), "clip id is 1; expected one line of text"),
            (("a", None), "group of clip 'a' is None; expected one line"),
            (("a\nb", "g"), r"clip id is 'a\\nb'; expected one line of text"),
            (("a", "g\r"), r"group of clip 'a' is 'g\\r'; expected one line of text"),
            (("a\udcff", "g"), r"clip id is 'a\\udcff', which comes from a name that is not UTF-8"),
            (
                ("a", "g\udcff"),
                r"group of clip 'a' is 'g\\udcff', which comes from a name .*rename",
            ),
        ],
    )
    def test_ids_and_groups_are_text(self, values: tuple[Any, Any], message: str) -> None:
        with pytest.raises(InvalidDataError, match=f"^corpus 'toy': {message}"):
            corpus(Clip(*values))

    @pytest.mark.parametrize("kind", ["audio", "midi"])
    def test_files_are_paths(self, kind: str) -> None:
        given: Any = {kind: "a.mid"}
        message = f"'toy': {kind} of clip 'a' is 'a.mid'; expected a pathlib.Path or None$"
        with pytest.raises(InvalidDataError, match=message):
            corpus(Clip("a", "g", **given))

    def test_there_are_clips(self) -> None:
        with pytest.raises(InvalidDataError, match="'toy' has no clips"):
            corpus()

    def test_select_keeps_the_order_asked_for(self) -> None:
        chosen = corpus(clip("a"), clip("b"), clip("c")).select(iter(["c", "a"]))
        assert chosen.ids == ["c", "a"]
        assert chosen.split_names == []

    def test_select_refuses_unknown_and_repeated_ids(self) -> None:
        toy = corpus(clip("a"), clip("b"))
        with pytest.raises(MissingDataError, match=r"no clip 'x' \(2 ids unknown\)"):
            toy.select(["a", "x", "y"])
        with pytest.raises(InvalidDataError, match="'a' stands more than once"):
            toy.select(["a", "a"])

    def test_counts_and_check(self) -> None:
        toy = corpus(clip("a", "g", 2), clip("b", "g", 2), clip("c", quadrant=None), Q2=2, clips=3)
        assert toy.counts() == {
            **{"clips": 3, "groups": 2, "Q1": 0, "Q2": 2, "Q3": 0, "Q4": 0},
            **{"audio": 0, "midi": 0},
        }
        toy.check()
        with pytest.raises(InvalidDataError, match="found 1 clips, expected 4"):
            corpus(clip("a"), clips=4).check()

    def test_frame_has_a_row_a_clip(self) -> None:
        frame = corpus(clip("a", "g", 3), clip("b")).to_frame()
        assert frame["id"].tolist() == ["a", "b"]
        assert frame["quadrant"].tolist() == [3, 1]
        assert frame["valence"].isna().all()


class TestFingerprint:
    def test_does_not_depend_on_where_the_files_are(self, tiny: Corpus, emopia_copy: Path) -> None:
        assert emopia.load(emopia_copy).fingerprint == tiny.fingerprint

    def test_changes_with_the_bytes_of_a_file(self, tiny: Corpus, emopia_copy: Path) -> None:
        midis = sorted((emopia_copy / "midis").iterdir())
        shutil.copy(midis[0], midis[1])
        assert emopia.load(emopia_copy).fingerprint != tiny.fingerprint

    @pytest.mark.parametrize(
        "change",
        [
            {"id": "x"},
            {"group": "x"},
            {"labels": Labels(quadrant=2)},
            {"labels": Labels(quadrant=1, valence=0.0)},
            {"labels": Labels(quadrant=1, arousal=0.0)},
            {"labels": Labels(quadrant=1, cluster=1)},
        ],
    )
    def test_changes_with_ids_groups_and_labels(self, change: dict) -> None:
        first = clip("a", "g")
        other = dataclasses.replace(first, **change)
        assert corpus(first).fingerprint != corpus(other).fingerprint

    def test_changes_with_the_order(self) -> None:
        a, b = clip("a"), clip("b")
        assert corpus(a, b).fingerprint != corpus(b, a).fingerprint

    def test_missing_file_is_named(self, tmp_path: Path) -> None:
        gone = Clip(id="a", group="a", midi=tmp_path / "gone.mid")
        with pytest.raises(MissingDataError, match=r"gone\.mid does not exist"):
            _ = corpus(gone).fingerprint

    def test_digest_is_sha256(self, tmp_path: Path) -> None:
        path = tmp_path / "abc"
        path.write_bytes(b"abc")
        assert file_digest(path).startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")


class TestSplit:
    clips = (clip("a", "g"), clip("b", "g"), clip("c"), clip("d"))

    def test_good_split(self) -> None:
        split = split_of("ab", "c", "d")
        assert corpus(*self.clips, split=split).split("s") == split

    def test_unknown_name_lists_the_known_ones(self) -> None:
        with pytest.raises(ParameterError, match="has no split 't'; it has: s"):
            corpus(*self.clips, split=split_of("ab", "c", "d")).split("t")
        with pytest.raises(ParameterError, match="it has: none"):
            corpus(*self.clips).split("s")

    @pytest.mark.parametrize(
        ("parts", "leaky", "message"),
        [
            (("ab", "c", "dxy"), False, "fold 0: test names 2 clips that .* the first is 'x'"),
            (("abc", "c", "d"), False, "clip 'c' stands in train and in valid"),
            (("ac", "d", "b"), False, "group 'g' stands in train and in test"),
            (("abb", "c", "d"), False, "clip 'b' stands more than once in train"),
            (("ac", "d", "a"), True, "clip 'a' stands in train and in test"),
        ],
    )
    def test_broken_rules_are_named(
        self, parts: tuple[str, str, str], leaky: bool, message: str
    ) -> None:
        with pytest.raises(InvalidDataError, match=message):
            corpus(*self.clips, split=split_of(*parts, leaky=leaky)).split("s")

    def test_leaky_split_may_share_groups(self) -> None:
        assert corpus(*self.clips, split=split_of("ac", "d", "b", leaky=True)).split("s").leaky

    def test_later_folds_are_checked(self) -> None:
        good, bad = split_of("ab", "c", "d").folds[0], split_of("ab", "c", "c").folds[0]
        with pytest.raises(InvalidDataError, match="fold 1: clip 'c'"):
            corpus(*self.clips, split=Split("s", (good, bad))).split("s")


@pytest.mark.parametrize("name", ["emopia", "maestro", "pop1k7"])
def test_missing_dataset_says_how_to_get_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_DATA", str(tmp_path))
    folder = tmp_path / remote_of(name).folder
    with pytest.raises(MissingDataError, match=f"^{folder} .* fetch {name}' or set MER_DATA"):
        load(name)


@pytest.mark.parametrize("clip", [..., "a.mid", {"id": "a"}])
def test_clips_that_are_none(clip: Any) -> None:
    with pytest.raises(InvalidDataError, match=r"'mine': a clip is .*; expected a mer.clips.Clip"):
        Corpus("mine", [Clip("a", "a"), clip], licence="-", citation="-")
