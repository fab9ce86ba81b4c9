"""Figures of attention: what they colour and measure, on maps that are known."""

from __future__ import annotations

import numpy as np
import pytest

from mer.clips import Corpus
from mer.papers.zhu2023 import attention
from mer.papers.zhu2023.systems import AttentionMap

HEADS = 2


def known_map(*, notes: int = 4) -> AttentionMap:
    """The sound looks at note 0 only, each note at the state of its own second."""
    steps = np.arange(4.0)
    onsets = np.arange(notes) % 4 + 0.1
    table = np.stack(
        [onsets, onsets + 0.5, 60.0 + np.arange(notes), 100.0 - np.arange(notes)], axis=1
    )
    acoustic = np.zeros((HEADS, 4, 1 + notes))
    acoustic[:, :, 0] = 0.5
    acoustic[:, :, min(1, notes)] += 0.5
    symbolic = np.zeros((HEADS, 1 + notes, 4))
    symbolic[:, 0] = 0.25
    symbolic[:, np.arange(1, 1 + notes), onsets.astype(int)] = 1.0
    return AttentionMap(steps, table, acoustic, symbolic)


def test_received_attention_has_mean_one_and_leaves_the_start_out() -> None:
    sound, notes = attention.received(known_map())
    np.testing.assert_allclose(sound, 1.0)
    np.testing.assert_allclose(notes, [4.0, 0.0, 0.0, 0.0])


def test_notes_that_look_at_their_own_time_are_told_from_chance() -> None:
    share, chance = attention.own_time(known_map(), seconds=0.5)
    assert share == pytest.approx(1.0)
    assert chance == pytest.approx(0.25)


def test_correlations_name_what_notes_are() -> None:
    found = attention.correlations(known_map())
    assert list(found) == ["pitch", "velocity"]  # all notes last equally long
    assert found["pitch"] < 0 < found["velocity"]


@pytest.mark.parametrize("notes", [4, 0])
def test_figure_shows_sound_and_notes_on_one_time_axis(tiny: Corpus, notes: int) -> None:
    figure = attention.attention_figure(known_map(notes=notes), tiny[0])
    top, middle, bottom = figure.axes[:3]
    assert top.get_xlim() == middle.get_xlim() == bottom.get_xlim() == (0.0, 4.0)
    assert len(bottom.patches) == notes
    figure.draw_without_rendering()
