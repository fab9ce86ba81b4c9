"""Pop1K7: a tiny copy in the layout of the release, and the published count."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import quadrant_notes, write_midi

from mer.clips import Labels
from mer.corpora import pop1k7
from mer.errors import MissingDataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pop1k7"
    for number, name in enumerate(["src_001/0", "src_001/2", "src_001/10", "src_002/11"]):
        write_midi(root / "midi_transcribed" / f"{name}.midi", quadrant_notes(1, number))
    (root / "midi_transcribed" / "src_001" / ".DS_Store").touch()
    return root


def test_pieces_in_order_of_their_number(folder: Path) -> None:
    corpus = pop1k7.load(folder)
    assert corpus.ids == ["src_001/0", "src_001/2", "src_001/10", "src_002/11"]
    assert corpus.groups == corpus.ids
    assert corpus.split_names == []
    assert (corpus[0].audio, corpus[0].labels) == (None, Labels())
    assert corpus[3].midi == folder / "midi_transcribed" / "src_002" / "11.midi"
    assert corpus[3].meta == {"source": "src_002"}


def test_folder_without_pieces(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"holds no file midi_transcribed/src_\*/\*\.midi"):
        pop1k7.load(tmp_path)


@pytest.mark.realdata
def test_published_count(data_folder: Path) -> None:
    if not (data_folder / "pop1k7").is_dir():
        pytest.skip("no Pop1K7 below MER_DATA")
    corpus = pop1k7.load(data_folder / "pop1k7")
    corpus.check()
    sources = [clip.meta["source"] for clip in corpus]
    assert [sources.count(f"src_00{n}") for n in (1, 2, 3, 4)] == [111, 378, 286, 973]
