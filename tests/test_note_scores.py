"""Scores of notes against mir_eval and against numbers counted by hand."""

from __future__ import annotations

import time

import mir_eval
import numpy as np
import pytest
from conftest import notes_at

from mer.evaluation.transcription import note_scores

NAMES = ("onset", "onset_offset", "onset_offset_velocity")
PARTS = ("precision", "recall", "f1")

SCALE = notes_at(np.arange(8), 0.9, 60 + np.arange(8), 30 + 10 * np.arange(8))
"""Eight notes of 0.9 s: the offsets may be 180 ms away."""


def shifted(notes: np.ndarray, column: int, by: float, rows: slice = slice(None)) -> np.ndarray:
    moved = notes.copy()
    moved[rows, column] += by
    return moved


def f1s(reference: np.ndarray, estimate: np.ndarray) -> list[float]:
    scores = note_scores(reference, estimate)
    return [scores[f"{name}_f1"] for name in NAMES]


def by_mir_eval(reference: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    """All notes at once, as mir_eval's own functions score them."""
    hertz = mir_eval.util.midi_to_hz
    played = (reference[:, :2], hertz(reference[:, 2]))
    heard = (estimate[:, :2], hertz(estimate[:, 2]))
    timed = mir_eval.transcription.precision_recall_f1_overlap
    loud = mir_eval.transcription_velocity.precision_recall_f1_overlap
    results = (
        timed(*played, *heard, offset_ratio=None),
        timed(*played, *heard),
        loud(*played, reference[:, 3], *heard, estimate[:, 3]),
    )
    return {
        f"{name}_{part}": value
        for name, result in zip(NAMES, results, strict=True)
        for part, value in zip(PARTS, result[:3], strict=True)
    }


def performance(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random notes, and a transcription with errors of every kind."""
    rng = np.random.default_rng(seed)
    onset = np.sort(rng.uniform(0, count / 10, count))
    lengths, pitches = rng.uniform(0.03, 1, count), rng.integers(48, 84, count)
    played = notes_at(onset, lengths, pitches, rng.integers(20, 110, count))
    heard = played[rng.uniform(size=count) < 0.9]
    heard[:, 0] = np.maximum(heard[:, 0] + rng.normal(0, 0.03, len(heard)), 0)
    heard[:, 1] = np.maximum(heard[:, 1] + rng.normal(0, 0.08, len(heard)), heard[:, 0] + 0.01)
    heard[:, 2] += rng.uniform(size=len(heard)) < 0.05
    heard[:, 3] = np.clip(0.7 * heard[:, 3] + rng.normal(10, 8, len(heard)), 1, 127).round()
    return played, np.concatenate([heard, played[::9] + np.asarray([0.2, 0.3, 1, 0])])


@pytest.mark.parametrize("seed", range(5))
def test_equals_mir_eval(seed: int) -> None:
    played, heard = performance(seed, 300)
    scores = note_scores(played, heard)
    assert scores == pytest.approx(by_mir_eval(played, heard), abs=1e-12)
    assert 0.2 < scores["onset_offset_velocity_f1"] < scores["onset_offset_f1"]
    assert scores["onset_offset_f1"] < scores["onset_f1"] < 0.95


def test_itself_is_perfect() -> None:
    scores = note_scores(SCALE, SCALE)
    assert scores == {f"{name}_{part}": 1 for name in NAMES for part in PARTS}


@pytest.mark.parametrize(("seconds", "expected"), [(0.04, 1), (-0.04, 1), (0.06, 0), (-0.06, 0)])
def test_onset_within_50_ms(seconds: float, expected: float) -> None:
    later = SCALE + np.asarray([1, 1, 0, 0])
    assert f1s(later, shifted(later, 0, seconds)) == [expected] * 3


@pytest.mark.parametrize(
    ("length", "seconds", "expected"),
    [(0.9, 0.17, 1), (0.9, -0.17, 1), (0.9, 0.19, 0), (0.1, 0.04, 1), (0.1, 0.06, 0)],
)
def test_offset_within_a_fifth_or_50_ms(length: float, seconds: float, expected: float) -> None:
    played = SCALE.copy()
    played[:, 1] = played[:, 0] + length
    assert f1s(played, shifted(played, 1, seconds)) == [1, expected, expected]


def test_pitch() -> None:
    assert f1s(SCALE, shifted(SCALE, 2, 1, slice(0, 2))) == [0.75] * 3
    assert f1s(SCALE, shifted(SCALE, 2, 12)) == [0] * 3


def test_velocity_is_fitted_by_a_line() -> None:
    quieter = SCALE.copy()
    quieter[:, 3] = 0.5 * SCALE[:, 3] + 3
    assert f1s(SCALE, quieter) == [1, 1, 1]
    one_wrong = shifted(SCALE, 3, 50, slice(3, 4))
    assert f1s(SCALE, one_wrong)[:2] == [1, 1]
    assert note_scores(SCALE, one_wrong) == pytest.approx(by_mir_eval(SCALE, one_wrong))
    assert f1s(SCALE, one_wrong)[2] < 1


def test_missed_and_invented_notes() -> None:
    scores = note_scores(SCALE, SCALE[:6])
    assert (scores["onset_precision"], scores["onset_recall"]) == (1, 0.75)
    scores = note_scores(SCALE[:6], SCALE)
    assert (scores["onset_precision"], scores["onset_recall"]) == (0.75, 1)
    assert scores["onset_f1"] == pytest.approx(2 * 0.75 / 1.75)


def test_a_note_is_matched_once() -> None:
    twice = np.concatenate([SCALE, shifted(SCALE, 0, 0.02)])
    scores = note_scores(SCALE, twice)
    assert (scores["onset_precision"], scores["onset_recall"]) == (0.5, 1)


def test_order_of_the_rows_does_not_matter() -> None:
    played, heard = performance(0, 100)
    order = np.random.default_rng(1).permutation(len(heard))
    assert note_scores(played[::-1], heard[order]) == pytest.approx(note_scores(played, heard))


def test_no_notes() -> None:
    none = np.empty((0, 4))
    for scores in (note_scores(SCALE, none), note_scores(none, SCALE)):
        assert scores == {f"{name}_{part}": 0 for name in NAMES for part in PARTS}
    assert all(np.isnan(value) for value in note_scores(none, none).values())


def test_an_hour_of_music_takes_seconds() -> None:
    played, heard = performance(0, 20_000)
    start = time.process_time()
    scores = note_scores(played, heard)
    assert time.process_time() - start < 10
    assert 0.5 < scores["onset_f1"] < 1
