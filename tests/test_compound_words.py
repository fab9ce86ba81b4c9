"""Compound words: grid, pitches, order, classes of velocity and key, round trips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import notes_at

from mer.features.compound_words import (
    FIRST,
    MASK,
    PAD,
    SIZES,
    compound_words,
    key_classes,
    velocity_classes,
)
from mer.features.notes import read_notes

NEW_BAR, SAME_BAR = FIRST, FIRST + 1


def notes_of(*rows: tuple[float, float, int, int]) -> np.ndarray:
    return np.asarray(rows, dtype=float).reshape(-1, 4)


def notes_from(words: np.ndarray) -> np.ndarray:
    """Onset and offset in seconds from the first bar, and pitch; silent bars are left out."""
    _, positions, pitches, durations = words - FIRST
    bars = np.cumsum(words[0] == NEW_BAR) - 1
    onsets = 2.0 * bars + 0.125 * positions
    return np.stack([onsets, onsets + (durations + 1) / 16, pitches + 22], axis=1)


class TestWords:
    def test_sizes_are_the_published_ones(self) -> None:
        assert SIZES == (4, 18, 88, 66)

    def test_by_hand(self) -> None:
        notes = notes_of(
            (10.0, 10.5, 60, 80),  # 8 thirty-seconds
            (10.13, 10.14, 22, 80),  # nearest position 1; shortest duration
            (11.93, 19.0, 107, 80),  # nearest position 15; longest duration
            (11.95, 12.2, 64, 80),  # rounds into the next bar
            (16.0, 16.25, 65, 80),  # a bar without notes before it
        )
        expected = [
            [NEW_BAR, SAME_BAR, SAME_BAR, NEW_BAR, NEW_BAR],
            [0, 1, 15, 0, 0],
            [60 - 22, 0, 85, 64 - 22, 65 - 22],
            [7, 0, 63, 3, 3],
        ]
        found = compound_words(notes)
        assert found[0].tolist() == expected[0]
        assert (found[1:] - FIRST).tolist() == expected[1:]

    def test_order_of_the_notes_does_not_matter(self) -> None:
        rng = np.random.default_rng(0)
        onsets = rng.uniform(0, 20, 200)
        notes = notes_at(onsets, 0.3, rng.integers(21, 109, 200), onsets + 50)
        shuffled = notes[rng.permutation(200)] + [5.0, 5.0, 0, 0]
        np.testing.assert_array_equal(compound_words(shuffled), compound_words(notes))
        np.testing.assert_array_equal(velocity_classes(shuffled), velocity_classes(notes))

    @pytest.mark.parametrize(
        ("pitch", "word"), [(21, 33), (10, 22), (0, 24), (108, 96), (119, 107), (127, 103)]
    )
    def test_other_pitches_keep_their_class(self, pitch: int, word: int) -> None:
        found = compound_words(notes_of((0, 1, pitch, 64)))
        assert found[2, 0] - FIRST + 22 == word
        assert (word - pitch) % 12 == 0

    def test_no_note_and_one_note(self) -> None:
        assert compound_words(np.empty((0, 4))).shape == (4, 0)
        assert velocity_classes(np.empty((0, 4))).shape == (0,)
        assert (compound_words(notes_of((3.3, 3.4, 60, 1)))[:2, 0] == [NEW_BAR, FIRST]).all()


class TestRoundTrip:
    def test_notes_on_the_grid_come_back(self) -> None:
        rng = np.random.default_rng(1)
        steps = np.sort(rng.integers(0, 64, 100))
        onsets = (steps - steps[0]) * 0.125
        notes = notes_at(onsets, rng.integers(1, 65, 100) / 16, rng.integers(22, 108, 100))
        notes = notes[np.lexsort((notes[:, 2], notes[:, 0]))]
        np.testing.assert_array_equal(notes_from(compound_words(notes)), notes[:, :3])

    @pytest.mark.realdata
    def test_every_clip_of_emopia(self, data_folder: Path) -> None:
        for path in sorted((data_folder / "emopia" / "midis").glob("*.mid")):
            notes = read_notes(path)
            words = compound_words(notes)
            assert words.shape == (4, len(notes))
            assert (words >= FIRST).all()
            assert (words < np.reshape(SIZES, (4, 1))).all()
            on_grid = np.insert(notes_from(words), 3, 64.0, axis=1)
            np.testing.assert_array_equal(compound_words(on_grid), words, err_msg=path.name)


class TestClasses:
    def test_velocity(self) -> None:
        velocities = [1, 31, 32, 47, 48, 63, 64, 79, 80, 95, 96, 127]
        notes = notes_at(np.arange(12), 0.5, velocities=velocities)
        assert velocity_classes(notes).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]

    @pytest.mark.parametrize("tonic", range(12))
    @pytest.mark.parametrize("minor", [False, True])
    def test_key(self, tonic: int, minor: bool) -> None:
        scale = [0, 2, 3, 5, 7, 8, 11] if minor else [0, 2, 4, 5, 7, 9, 11]
        triad = [0, 3 if minor else 4, 7, 0]
        pitches = 48 + tonic + np.asarray(scale + 3 * triad)
        words = compound_words(notes_at(0.5 * np.arange(len(pitches)), 0.5, pitches))
        assert key_classes(words[None]).tolist() == [tonic + 12 * minor]

    def test_long_notes_count_more(self) -> None:
        onsets, lengths = [0, 4, 8, 12, 12.2], [4, 4, 4, 0.1, 0.1]
        words = compound_words(notes_at(onsets, lengths, [60, 64, 67, 61, 63]))
        assert key_classes(words[None]).tolist() == [0]

    def test_windows_do_not_mix_and_special_words_do_not_count(self) -> None:
        g, silent = compound_words(notes_at([0, 1, 2], 1, [67, 71, 74])), 0
        padded = np.full((4, 3), PAD)
        assert key_classes(np.stack([g, padded, g])).tolist() == [7, silent, 7]
        hidden = np.concatenate([g, np.full((4, 2), MASK)], axis=1)
        assert key_classes(hidden[None]).tolist() == [7]
