"""Pieces that share notes: excerpts, other transcriptions, chance, and the real corpora."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import notes_at

from mer.corpora import emopia, pop1k7
from mer.features.fingerprints import LEAST_SHARE, SharedNotes, shared_pieces
from mer.features.notes import read_notes

EMPTY = np.empty((0, 4))


def piece(seed: int, n: int = 400) -> np.ndarray:
    """Notes of one octave around the middle, four a second."""
    rng = np.random.default_rng(seed)
    onsets = np.cumsum(rng.exponential(0.25, n))
    return notes_at(onsets, 0.3, rng.integers(54, 67, n), rng.integers(30, 100, n))


def excerpt(notes: np.ndarray, start: float, stop: float) -> np.ndarray:
    """What sounds from start to stop, counted from start."""
    chosen = notes[(notes[:, 0] >= start) & (notes[:, 0] < stop)].copy()
    chosen[:, :2] -= start
    return chosen


def heard_again(notes: np.ndarray, seed: int) -> np.ndarray:
    """The same performance by another transcriber: jitter, missing, wrong and added notes."""
    rng = np.random.default_rng(seed)
    found = notes[rng.random(len(notes)) > 0.08].copy()
    found[:, 0] += rng.normal(0, 0.01, len(found))
    wrong = rng.random(len(found)) < 0.04
    found[wrong, 2] += 12
    found[:, 3] = rng.integers(1, 128, len(found))
    added = piece(seed + 1000, len(notes) // 12)
    added[:, 0] *= notes[-1, 0] / added[-1, 0]
    return np.concatenate([found, added])


def pairs(shared: Sequence[SharedNotes]) -> list[tuple[int, int]]:
    return [(found.piece, found.reference) for found in shared]


PIECES = [piece(seed) for seed in range(12)]


def test_excerpts_are_found_where_they_are() -> None:
    references = [excerpt(PIECES[5], 20.0, 50.0), excerpt(PIECES[2], 0.0, 30.0), piece(99, 120)]
    found = shared_pieces(PIECES, references)
    assert pairs(found) == [(2, 1), (5, 0)]
    assert [one.share for one in found] == [1.0, 1.0]
    assert [one.offset for one in found] == pytest.approx([0.0, 20.0])


@pytest.mark.parametrize("seed", range(4))
def test_another_transcription_is_found(seed: int) -> None:
    reference = heard_again(excerpt(PIECES[7], 33.3, 63.3), seed)
    (found,) = shared_pieces(PIECES, [reference])
    assert (found.piece, found.reference) == (7, 0)
    assert 0.7 < found.share < 1.0
    assert found.offset == pytest.approx(33.3, abs=0.02)


def test_other_pieces_share_by_chance_less_than_the_threshold() -> None:
    references = [piece(seed, 120) for seed in range(100, 160)]
    assert shared_pieces(PIECES, references) == []
    chance = shared_pieces(PIECES, references, least=0.0)
    assert max((found.share for found in chance), default=0.0) < LEAST_SHARE - 0.1


def test_transposed_and_retimed_copies_do_not_count() -> None:
    copies = [PIECES[3] + [[0, 0, 1, 0]], PIECES[3] / [1.2, 1.2, 1, 1]]
    assert shared_pieces(PIECES, copies) == []


def test_the_shorter_piece_counts_on_either_side() -> None:
    short = heard_again(excerpt(PIECES[4], 10.0, 40.0), 0)
    (found,) = shared_pieces([short], PIECES)
    (other,) = shared_pieces(PIECES, [short])
    assert (found.reference, other.piece) == (4, 4)
    assert found.share == pytest.approx(other.share, abs=0.05)
    assert found.offset == pytest.approx(-other.offset, abs=0.02)


def test_the_order_of_notes_does_not_matter() -> None:
    reference = excerpt(PIECES[1], 5.0, 35.0)
    shuffled = np.random.default_rng(0).permutation(reference)
    assert shared_pieces(PIECES, [shuffled]) == shared_pieces(PIECES, [reference])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_notes_match_nothing(n: int) -> None:
    assert shared_pieces([*PIECES, PIECES[0][:n]], [PIECES[0][:n]]) == []
    assert shared_pieces([PIECES[0][:n]], PIECES) == []


def test_nothing_to_compare() -> None:
    assert shared_pieces([], [PIECES[0], EMPTY]) == []
    assert shared_pieces(PIECES, []) == []


@pytest.mark.realdata
def test_performances_of_pop1k7_that_emopia_holds(data_folder: Path) -> None:
    if not (data_folder / "pop1k7").is_dir():
        pytest.skip("no Pop1K7 below MER_DATA")
    pieces = [c for c in pop1k7.load(data_folder / "pop1k7") if c.id in SAME | OTHERS]
    clips = [c for c in emopia.load(data_folder / "emopia") if c.group in SONGS]
    found = shared_pieces(
        [read_notes(clip.midi) for clip in pieces if clip.midi],
        [read_notes(clip.midi) for clip in clips if clip.midi],
    )
    assert {pieces[one.piece].id for one in found} == SAME
    assert {clips[one.reference].group for one in found} == SONGS
    assert len(found) == 41
    # Clips were cut at whole seconds of the recording.
    seconds = np.asarray([one.offset for one in found if one.share > 0.6])
    assert len(seconds) == 40
    assert np.mean(np.abs(seconds - np.rint(seconds)) < 0.03) > 0.85


SAME = {
    *("src_001/71", "src_001/92", "src_001/93", "src_001/99", "src_002/273", "src_002/279"),
    *("src_002/291", "src_002/294", "src_002/298", "src_002/360", "src_002/367", "src_002/414"),
    "src_004/1551",
}
OTHERS = {"src_004/1195", "src_004/1235", "src_003/536", "src_001/0", "src_002/300"}
SONGS = {
    *("1EDThWjNxOI", "9Yb9OEVwups", "AWNbcxXDmt0", "D-gDPh9ZpFk", "D5kyjnlDNZs", "HY9vPoHbgaI"),
    *("Y5JcZQ0xg4Y", "dfNdpy8TUzA", "sEQf5lcnj_o", "vv6nrZ2myXw", "xrhWli_R98g", "zHwJG8Rrx6c"),
}
