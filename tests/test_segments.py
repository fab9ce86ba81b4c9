"""Overlapping segments: exact counts, whole segments only, views that copy nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mer.corpora.tables import read_table
from mer.errors import InvalidDataError, ParameterError
from mer.segments import frames_of, segment_count, segment_starts, segment_times, segments

DURATIONS = (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        # Emotion in Music, 1,000 such clips: 29,982 / 28,981 / 27,976 / 26,973 / 25,971 published
        (45.0, (30, 29, 28, 27, 26)),
        (30.0, (30, 29, 28, 27, 26)),
        (29.99, (29, 28, 27, 26, 25)),
        (16.08, (16, 15, 14, 13, 12)),
        (3.0, (3, 2, 1, 0, 0)),
        (0.999, (0, 0, 0, 0, 0)),
    ],
)
def test_count_of_a_clip(seconds: float, expected: tuple[int, ...]) -> None:
    assert tuple(segment_count(seconds, d, d - 1) for d in DURATIONS) == expected


@pytest.mark.realdata
def test_published_counts_of_pmemo_need_more_than_its_choruses(data_folder: Path) -> None:
    # 22,945 / 22,184 / 21,411 / 20,640 / 19,869 published, said to be without padding
    folder = data_folder / "annotations" / "pmemo"
    if not folder.is_dir():
        pytest.skip("no PMEmo annotations below MER_DATA")
    labelled = {
        row["song_id"] for row in read_table(folder / "static_annotations.csv", ("song_id",))
    }
    rows = read_table(folder / "metadata.csv", ("musicId", "duration"))
    seconds = [float(row["duration"]) for row in rows if row["musicId"] in labelled]
    assert (len(seconds), sum(length < 30 for length in seconds)) == (767, 203)
    totals = [sum(segment_count(length, d, d - 1) for length in seconds) for d in DURATIONS]
    assert totals == [21_821, 21_054, 20_287, 19_520, 18_753]


def test_count_is_exact_where_binary_fractions_are_not() -> None:
    found = [segment_count(*times) for times in ((0.3, 0.1, 0.0), (2.9, 1.1, 0.2), (1.0, 0.7, 0.6))]
    assert found == [3, 3, 4]


def test_count_with_another_cut() -> None:
    assert segment_count(45.0, 5, 4, longest=45.0) == 41
    assert segment_count(45.0, 2, 0) == 15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((30.0, 0, 0), "duration is 0"),
        ((30.0, 2, 2), "overlap is 2"),
        ((30.0, 2, -1), "overlap is -1"),
        ((float("nan"), 2, 1), "nan"),
        ((-1.0, 2, 1), "-1.0"),
    ],
)
def test_count_refuses_what_makes_no_segments(
    arguments: tuple[float, float, float], message: str
) -> None:
    with pytest.raises((ParameterError, InvalidDataError), match=message):
        segment_count(*arguments)


def test_frames_of_the_published_durations() -> None:
    assert [frames_of(d) for d in DURATIONS] == [43, 86, 129, 172, 215]
    assert frames_of(1, sample_rate=16000, hop_length=256) == 62
    with pytest.raises(ParameterError, match="no frame"):
        frames_of(0.001)


@pytest.mark.parametrize("seconds", [5.0, 16.08, 28.5, 30.0])
def test_frames_give_the_same_count_as_seconds(seconds: float) -> None:
    n_frames = 1 + int(seconds * 22050) // 512
    found = [len(segment_starts(n_frames, frames_of(d), frames_of(1))) for d in DURATIONS]
    assert found == [segment_count(seconds, d, d - 1) for d in DURATIONS]


@pytest.mark.parametrize(("n", "expected"), [(10, [0, 3, 6]), (9, [0, 3]), (4, [0]), (3, [])])
def test_whole_segments_are_views_of_the_frames_from_each_start(
    n: int, expected: list[int]
) -> None:
    array = np.arange(2.0 * n, dtype=np.float32).reshape(2, n)
    starts, cut = segment_starts(n, 4, 3), segments(array, 4, 3)
    assert (starts.tolist(), starts.dtype) == (expected, np.int64)
    assert (cut.shape, cut.dtype) == ((len(expected), 2, 4), np.float32)
    for own, start in zip(cut, starts, strict=True):
        np.testing.assert_array_equal(own, array[:, start : start + 4])
        assert np.shares_memory(own, array)
        assert not own.flags.writeable


@pytest.mark.parametrize(("window", "hop"), [(0, 1), (4, 0), (-1, 3)])
def test_windows_and_hops_are_positive(window: int, hop: int) -> None:
    with pytest.raises(ParameterError, match="expected positive"):
        segments(np.zeros((2, 10)), window, hop)


def test_segments_need_bands_and_frames() -> None:
    with pytest.raises(InvalidDataError, match="shape"):
        segments(np.zeros(10), 4, 3)


def test_times_of_segments() -> None:
    times = segment_times(segment_starts(1292, 129, 43), 129)
    assert times.shape == (28, 2)
    np.testing.assert_allclose(times[0], [0.0, 129 * 512 / 22050])
    np.testing.assert_allclose(times[1, 0], 43 * 512 / 22050)
    assert times[-1, 1] <= 30.0
