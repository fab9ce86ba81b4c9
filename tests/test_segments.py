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
        (30.0, (30, 29, 28, 27, 26)),
        (45.0, (30, 29, 28, 27, 26)),
        (29.99, (29, 28, 27, 26, 25)),
        (16.08, (16, 15, 14, 13, 12)),
        (3.0, (3, 2, 1, 0, 0)),
        (0.999, (0, 0, 0, 0, 0)),
    ],
)
def test_count_of_a_clip(seconds: float, expected: tuple[int, ...]) -> None:
    assert tuple(segment_count(seconds, d, d - 1) for d in DURATIONS) == expected


def test_counts_are_those_of_the_published_table_but_for_the_clips_that_are_too_short() -> None:
    # Emotion in Music, 1,000 clips of 45 s: 29,982 / 28,981 / 27,976 / 26,973 / 25,971 published
    published = (29_982, 28_981, 27_976, 26_973, 25_971)
    ours = [1000 * segment_count(45.0, d, d - 1) for d in DURATIONS]
    assert ours == [30_000, 29_000, 28_000, 27_000, 26_000]
    assert all(0 <= our - their < 30 for our, their in zip(ours, published, strict=True))


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
    assert len(seconds) == 767
    assert sum(length < 30 for length in seconds) == 203
    totals = [sum(segment_count(length, d, d - 1) for length in seconds) for d in DURATIONS]
    assert totals == [21_821, 21_054, 20_287, 19_520, 18_753]


def test_count_is_exact_where_binary_fractions_are_not() -> None:
    assert segment_count(0.3, 0.1, 0.0) == 3
    assert segment_count(2.9, 1.1, 0.2) == 3
    assert segment_count(1.0, 0.7, 0.6) == 4


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


@pytest.mark.parametrize("duration", DURATIONS)
@pytest.mark.parametrize("seconds", [5.0, 16.08, 28.5, 30.0])
def test_frames_give_the_same_count_as_seconds(seconds: float, duration: int) -> None:
    n_frames = 1 + int(seconds * 22050) // 512
    starts = segment_starts(n_frames, frames_of(duration), frames_of(1))
    assert len(starts) == segment_count(seconds, duration, duration - 1)


def test_starts_are_whole_segments_only() -> None:
    assert segment_starts(10, 4, 3).tolist() == [0, 3, 6]
    assert segment_starts(9, 4, 3).tolist() == [0, 3]
    assert segment_starts(4, 4, 3).tolist() == [0]
    assert segment_starts(3, 4, 3).tolist() == []
    assert segment_starts(10, 4, 3).dtype == np.int64


def test_segments_are_the_frames_from_each_start() -> None:
    array = np.arange(20.0, dtype=np.float32).reshape(2, 10)
    cut = segments(array, 4, 3)
    assert cut.shape == (3, 2, 4)
    for number, start in enumerate(segment_starts(10, 4, 3)):
        np.testing.assert_array_equal(cut[number], array[:, start : start + 4])


def test_segments_are_views() -> None:
    array = np.zeros((128, 1292), dtype=np.float32)
    cut = segments(array, frames_of(5), frames_of(1))
    assert cut.shape == (26, 128, 215)
    assert np.shares_memory(cut, array)
    assert not cut.flags.owndata
    assert not cut.flags.writeable


def test_a_clip_shorter_than_a_segment_has_none() -> None:
    cut = segments(np.zeros((8, 40), dtype=np.float32), 43, 43)
    assert cut.shape == (0, 8, 43)
    assert cut.dtype == np.float32


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
