"""Clips whose emotion changes: how much of a segment is in which quadrant."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mer.clips import Clip, Corpus
from mer.corpora import composed_trajectories, load
from mer.corpora.composed_trajectories import quadrant_shares, true_quadrants
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.segments import segment_starts, segment_times

CHANGING = Clip(
    "c",
    "g",
    meta={
        "segments": [
            {"start": 0.0, "end": 10.0, "quadrant": 1},
            {"start": 10.0, "end": 16.0, "quadrant": 3},
            {"start": 16.0, "end": 30.0, "quadrant": 1},
        ]
    },
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load("composed_trajectories", size=16)


def test_name_and_changes(corpus: Corpus) -> None:
    assert corpus.name == "composed_trajectories"
    assert corpus.split_names == ["official", "cv5", "cv10", "nested5x5"]
    assert all(1 <= len(clip.meta["change_times"]) <= 3 for clip in corpus)
    same = load("composed", size=2, trajectories=True)
    assert same.name == "composed_trajectories"
    assert same.ids == corpus.ids[:2]


def test_shares_by_hand() -> None:
    times = np.array([[0, 5], [8, 12], [9, 17], [14, 19], [29, 31]])
    expected = np.zeros((5, 4))
    expected[:, 0] = [1, 0.5, 0.25, 0.6, 1]
    expected[:, 2] = [0, 0.5, 0.75, 0.4, 0]
    np.testing.assert_allclose(quadrant_shares(CHANGING, times), expected)
    assert true_quadrants(CHANGING, times).tolist() == [1, 1, 3, 1, 1]


def test_shares_of_segments(corpus: Corpus) -> None:
    for clip in corpus:
        times = segment_times(segment_starts(1292, 129, 43), 129)
        shares = quadrant_shares(clip, times)
        assert shares.shape == (28, 4)
        np.testing.assert_allclose(shares.sum(axis=1), 1.0)
        held = {segment["quadrant"] for segment in clip.meta["segments"]}
        assert set((1 + np.flatnonzero(shares.any(axis=0))).tolist()) == held


def test_short_pieces_weighted_by_length_give_the_label(corpus: Corpus) -> None:
    for clip in corpus:
        edges = np.linspace(0.0, clip.meta["duration"], 3001)
        shares = quadrant_shares(clip, np.stack([edges[:-1], edges[1:]], axis=1)).mean(axis=0)
        assert shares.argmax() + 1 == clip.labels.quadrant


def test_some_segments_contradict_the_label_of_their_clip(corpus: Corpus) -> None:
    times = segment_times(segment_starts(1292, 43, 43), 43)
    noisy = np.mean([true_quadrants(clip, times) != clip.labels.quadrant for clip in corpus])
    assert 0.2 < noisy < 0.6


def test_no_segments() -> None:
    assert quadrant_shares(CHANGING, np.empty((0, 2))).shape == (0, 4)


@pytest.mark.parametrize("times", [[[3, 3]], [[-1, 2]], [[4, 2]], [[0, float("nan")]]])
def test_pieces_must_last(times: list[list[float]]) -> None:
    with pytest.raises(InvalidDataError, match="expected rows of begin"):
        quadrant_shares(CHANGING, np.array(times))


def test_other_corpora_do_not_tell() -> None:
    with pytest.raises(MissingDataError, match="'x' does not tell its emotion over time"):
        true_quadrants(Clip("x", "x"), np.array([[0.0, 1.0]]))


def test_too_short_to_change() -> None:
    with pytest.raises(ParameterError, match="12 to 600 with trajectories"):
        composed_trajectories.load(duration=8.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load("composed_trajectories", size=1, duration=12.0)) == 1
