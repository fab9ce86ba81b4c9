"""Note events: hand-worked values, harmonic counts against brute force, round trips, windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import notes_at

from mer.corpora import emopia
from mer.features.note_events import (
    _DURATIONS,
    _SHIFTS,
    FIELDS,
    FIRST,
    MASK,
    PAD,
    SIZES,
    START,
    note_events,
    select_events,
)
from mer.features.notes import read_notes

EMPTY = np.empty((0, 4))
SEMITONE, HARMONIC, VELOCITY, SHIFT, DURATION = range(5)

STEP = 0.01
HALF_WIDEST_BIN = 0.24
"""Between the last two bins, 9.52 s and 10 s."""


def random_notes(seed: int, n: int = 300) -> np.ndarray:
    """Chords, dense runs, notes shorter than 10 ms and silences of seconds, in no order."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(0.15, n) * (rng.random(n) < 0.7) + 3.0 * (rng.random(n) < 0.05)
    onsets = np.cumsum(gaps)
    lengths, pitches = rng.exponential(0.6, n), rng.integers(0, 128, n)
    return rng.permutation(notes_at(onsets, lengths, pitches, rng.integers(0, 128, n)))


def in_order(notes: np.ndarray) -> np.ndarray:
    """Notes as events stand: by onset to 10 ms from the first one, then pitch."""
    notes = notes.copy()
    notes[:, :2] -= notes[:, 0].min()
    return notes[np.lexsort((notes[:, 2], np.rint(notes[:, 0] / STEP)))]


def decode_note_events(events: np.ndarray) -> np.ndarray:
    """Notes from the first onset: times are multiples of 10 ms, velocities middles of bins."""
    pitches, _, velocities, shifts, durations = events[:, 1:] - FIRST
    onsets = np.cumsum(_SHIFTS[shifts])
    onsets -= onsets[:1].sum()
    times = [STEP * onsets, STEP * (onsets + _DURATIONS[durations])]
    return np.stack([*times, pitches, 4 * velocities + 2], axis=1)


def harmonic_counts(notes: np.ndarray) -> np.ndarray:
    """As events tell them: at most 16, in the order of `in_order`."""
    return note_events(notes)[HARMONIC, 1:] - FIRST + 1


def check_round_trip(notes: np.ndarray) -> None:
    """Pitch exact, velocity to half a bin, onset to half a bin of the shift, duration likewise."""
    given, decoded = in_order(notes), decode_note_events(note_events(notes))
    np.testing.assert_array_equal(decoded[:, 2], given[:, 2])
    assert np.abs(decoded[:, 3] - given[:, 3]).max() <= 2
    assert np.abs(decoded[:, 0] - given[:, 0]).max() <= HALF_WIDEST_BIN + STEP / 2 + 1e-9
    durations, found = given[:, 1] - given[:, 0], decoded[:, 1] - decoded[:, 0]
    assert found.min() >= STEP - 1e-9
    wanted = np.clip(durations, STEP, 10.0)
    assert (np.abs(found - wanted) <= STEP + 0.03 * wanted * (wanted > 0.49)).all()


class TestValues:
    def test_two_chords_by_hand(self) -> None:
        notes = np.asarray(
            [[1.0, 2.0, 64, 127], [1.0, 1.3, 60, 0], [1.5, 1.504, 62, 64], [2.0, 2.25, 67, 4]]
        )
        fields = note_events(notes)
        assert fields.shape == (len(FIELDS), 5)
        assert fields.dtype == np.int64
        np.testing.assert_array_equal(fields[:, 0], START)
        np.testing.assert_array_equal(fields[SEMITONE, 1:] - FIRST, [60, 64, 62, 67])
        np.testing.assert_array_equal(fields[HARMONIC, 1:] - FIRST, [1, 1, 1, 0])
        np.testing.assert_array_equal(fields[VELOCITY, 1:] - FIRST, [0, 31, 16, 1])
        np.testing.assert_array_equal(fields[SHIFT, 1:] - FIRST, [0, 0, 50, 50])
        assert (fields[DURATION, [1, 3, 4]] - FIRST).tolist() == [29, 0, 24]

    def test_vocabulary(self) -> None:
        assert (PAD, MASK, START, FIRST) == (0, 1, 2, 3)
        assert SIZES == (131, 19, 35, 115, 114)
        events = np.concatenate([note_events(random_notes(seed)) for seed in range(20)], axis=1)
        for values, size in zip(events, SIZES, strict=True):
            assert values.min() >= START
            assert values.max() < size

    def test_every_value_of_time_survives(self) -> None:
        events = note_events(random_notes(0, 200))
        body = np.tile(events[:, 1:2], (1, SIZES[4] - FIRST))
        body[DURATION] = np.arange(FIRST, SIZES[4])
        body[SHIFT] = np.arange(FIRST + 1, SIZES[3])
        body[[SHIFT], 0] = FIRST
        events = np.concatenate([events[:, :1], body], axis=1)
        notes = decode_note_events(events)
        again = note_events(notes)
        np.testing.assert_array_equal(again[[SHIFT, DURATION]], events[[SHIFT, DURATION]])
        assert (notes[:, 1] - notes[:, 0]).max() == pytest.approx(10.0)
        assert np.diff(notes[:, 0]).max() == pytest.approx(10.0)

    def test_more_than_sixteen_count_as_sixteen(self) -> None:
        notes = notes_at(0.0, 1.0, np.arange(40, 60))
        np.testing.assert_array_equal(note_events(notes)[HARMONIC, 1:], SIZES[1] - 1)

    def test_long_silences_and_notes_end_at_ten_seconds(self) -> None:
        notes = np.asarray([[0.0, 60.0, 60, 64], [50.0, 50.5, 62, 64], [50.1, 50.5, 64, 64]])
        decoded = decode_note_events(note_events(notes))
        expected = np.asarray([[0, 10], [10, 10.5], [10.1, 10.5]])
        np.testing.assert_allclose(decoded[:, :2], expected)

    def test_no_notes(self) -> None:
        events = note_events(EMPTY)
        np.testing.assert_array_equal(events, np.full((5, 1), START))
        assert decode_note_events(events).shape == (0, 4)
        assert harmonic_counts(EMPTY).shape == (0,)
        np.testing.assert_array_equal(select_events(events, 0, 8), events)


class TestHarmonic:
    @pytest.mark.parametrize("seed", range(5))
    def test_against_brute_force(self, seed: int) -> None:
        notes = in_order(random_notes(seed))
        onsets, offsets = np.rint(notes[:, :2].T / STEP).astype(int)
        offsets = np.maximum(offsets, onsets + 1)
        expected = [
            sum(onset <= now < offset for onset, offset in zip(onsets, offsets, strict=True))
            for now in onsets
        ]
        np.testing.assert_array_equal(harmonic_counts(notes), np.minimum(expected, 16))

    def test_a_note_that_ends_at_the_onset_does_not_count(self) -> None:
        notes = np.asarray([[0.0, 0.5, 60, 64], [0.5, 1.0, 60, 64], [0.6, 0.9, 64, 64]])
        np.testing.assert_array_equal(harmonic_counts(notes), [1, 1, 2])


class TestRoundTrip:
    @pytest.mark.parametrize("seed", range(5))
    def test_random_notes(self, seed: int) -> None:
        check_round_trip(random_notes(seed))

    @pytest.mark.parametrize("seed", range(3))
    def test_dense_notes_are_exact_to_the_grid(self, seed: int) -> None:
        notes = random_notes(seed)
        notes[:, 0] /= 8
        notes[:, 1] = notes[:, 0] + 0.3
        decoded = decode_note_events(note_events(notes))
        assert np.abs(decoded[:, 0] - in_order(notes)[:, 0]).max() <= STEP / 2 + 1e-9

    def test_errors_do_not_add_up(self) -> None:
        onsets = np.arange(2000) * 0.777
        error = decode_note_events(note_events(notes_at(onsets, 0.2)))[:, 0] - onsets
        assert np.abs(error).max() <= 0.03
        assert abs(error[-200:].mean()) <= 0.01

    def test_rounding_after_a_silence_is_made_good(self) -> None:
        onsets = np.asarray([0.0, 5.13, 5.13, 5.4, 5.6])
        notes = notes_at(onsets, 0.2, [60, 60, 64, 60, 60])
        found = decode_note_events(note_events(notes))[:, 0]
        assert found[1] == found[2] != 5.13
        np.testing.assert_allclose(found[3:], onsets[3:])

    def test_order_and_start_do_not_matter(self) -> None:
        notes = random_notes(1)
        notes[:, :2] = np.rint(notes[:, :2] / STEP) * STEP
        moved = notes[np.lexsort((notes[:, 1], notes[:, 3], notes[:, 2], notes[:, 0]))]
        moved[:, :2] += 7.0
        found, expected = (decode_note_events(note_events(table)) for table in (moved, notes))
        for column in range(4):
            np.testing.assert_allclose(np.sort(found[:, column]), np.sort(expected[:, column]))

    @pytest.mark.realdata
    def test_every_clip_of_emopia(self, data_folder: Path) -> None:
        for clip in emopia.load(data_folder / "emopia"):
            assert clip.midi is not None
            check_round_trip(read_notes(clip.midi))


class TestWindows:
    def test_columns(self) -> None:
        events = note_events(random_notes(0, 10))
        window = select_events(events, 3, 7)
        np.testing.assert_array_equal(window[:, 0], START)
        np.testing.assert_array_equal(window[:, 1:], events[:, 4:8])
        np.testing.assert_array_equal(select_events(events, 0, 99), events)
        assert select_events(events, 12, 20).shape == (5, 1)

    def test_notes_of_a_window(self) -> None:
        events = note_events(random_notes(2, 50))
        notes = decode_note_events(events)[20:30]
        notes[:, :2] -= notes[0, 0]
        found = decode_note_events(select_events(events, 20, 30))
        np.testing.assert_allclose(found, notes, atol=1e-9)
