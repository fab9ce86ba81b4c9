"""Metrics and resampling: hand-worked values, invariances, damaged input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mer.evaluation import metrics, resampling

NAN = float("nan")


FRAME_4Q = pd.DataFrame(
    {
        **{"id": list("abcd"), "target": [1, 2, 3, 4]},
        **{"p_1": [0.4, 0.1, 0.0, 0.3], "p_2": [0.0, 0.7, 0.2, 0.4]},
        **{"p_3": [0.3, 0.1, 0.8, 0.1], "p_4": [0.3, 0.1, 0.0, 0.2]},
    }
)
"""Four clips, of which the first three are answered rightly."""


class TestMetrics:
    def test_hand_worked_classification(self) -> None:
        target, given = [0, 0, 1, 1, 2], [0, 1, 1, 1, 0]
        assert metrics.accuracy(target, given) == pytest.approx(3 / 5)
        # F1: class 0 = 2*1/(2+2), class 1 = 2*2/(2+3), class 2 = 0
        assert metrics.macro_f1(target, given) == pytest.approx((0.5 + 0.8 + 0) / 3)
        expected = [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
        assert metrics.confusion_matrix(target, given, 4).tolist() == expected
        # Classes 1 and 2 do not occur and are left out
        assert metrics.macro_f1([0, 3], [0, 3]) == 1.0

    def test_hand_worked_regression(self) -> None:
        target, given = [1.0, 2.0, 3.0], [1.0, 2.0, 5.0]
        assert metrics.rmse(target, given) == pytest.approx((4 / 3) ** 0.5)
        assert metrics.r2(target, given) == pytest.approx(1 - 4 / 2)
        assert metrics.r2(target, [2.0, 2.0, 2.0]) == 0

    def test_report(self) -> None:
        report = metrics.classification_report(FRAME_4Q)
        assert report["n"] == 4
        assert report["accuracy"] == 0.75
        # Class 2 is answered twice, once rightly; class 4 is never answered
        assert report["macro_f1"] == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)

    def test_report_does_not_depend_on_the_order_of_rows_and_columns(self) -> None:
        shuffled = FRAME_4Q.iloc[::-1, ::-1]
        assert metrics.classification_report(shuffled) == metrics.classification_report(FRAME_4Q)


class TestResampler:
    GROUPS = ("b", "a", "b", "c")

    def test_resamples_have_as_many_groups_as_there_are(self) -> None:
        resampler = resampling.Resampler(self.GROUPS, n_resamples=100, seed=1)
        drawn = np.random.default_rng(1).integers(3, size=(100, 3))
        expected = [[(row == group).sum() for group in range(3)] for row in drawn]
        np.testing.assert_array_equal(resampler.weights, expected)
        np.testing.assert_array_equal(resampler.codes, [1, 0, 1, 2])

    def test_sums_and_means_are_those_of_the_drawn_clips(self) -> None:
        resampler = resampling.Resampler(self.GROUPS, n_resamples=100)
        values = np.random.default_rng(0).normal(size=(4, 2))
        times = resampler.weights[:, resampler.codes].astype(int)
        clips = [np.repeat(np.arange(4), row) for row in times]
        expected = np.stack([values[own].sum(axis=0) for own in clips])
        np.testing.assert_allclose(resampler.sums(values), expected)
        np.testing.assert_allclose(resampler.sums(values[:, 0]), expected[:, 0])
        means = np.stack([values[own].mean(axis=0) for own in clips])
        np.testing.assert_allclose(resampler.means(values), means)
        np.testing.assert_allclose(resampler.means(values[:, 0]), means[:, 0])

    def test_seeds_are_drawn_anew_in_each_call(self) -> None:
        resampler = resampling.Resampler(self.GROUPS, n_resamples=50)
        first, second = resampler.seed_weights(4), resampler.seed_weights(4)
        assert set(np.unique(first)) <= {0, 0.25, 0.5, 0.75, 1}
        np.testing.assert_array_equal(first.sum(axis=1), 1)
        assert not np.array_equal(first, second)


class TestGroupBootstrap:
    def test_groups_of_one_clip_are_the_ordinary_bootstrap(self) -> None:
        rng = np.random.default_rng(5)
        values = rng.integers(2, size=86).astype(float)
        drawn = np.random.default_rng(7).integers(86, size=(500, 86))
        expected = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
        interval = resampling.group_bootstrap(values, np.arange(86), n_resamples=500, seed=7)
        assert interval == pytest.approx(expected)

    def test_two_groups_by_hand(self) -> None:
        # Draws: both first (1/4) mean 1, one of each (1/2) mean 1/4, both second (1/4) mean 0
        resampler = resampling.Resampler(["a", "b", "b", "b"])
        found, counts = np.unique(resampler.means([1, 0, 0, 0]), return_counts=True)
        assert found.tolist() == [0, 0.25, 1]
        assert counts / 2000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
        assert resampling.group_bootstrap([1, 0, 0, 0], ["a", "b", "b", "b"]) == (0, 1)

    def test_copies_of_clips_in_a_group_add_no_certainty(self) -> None:
        values = np.random.default_rng(2).integers(2, size=60).astype(float)
        one = resampling.group_bootstrap(values, np.arange(60))
        five = resampling.group_bootstrap(np.repeat(values, 5), np.repeat(np.arange(60), 5))
        ignored = resampling.group_bootstrap(np.repeat(values, 5), np.arange(300))
        assert five == pytest.approx(one)
        assert one.high - one.low > 1.8 * (ignored.high - ignored.low)

    def test_order_of_clips_does_not_matter(self) -> None:
        rng = np.random.default_rng(3)
        values, groups = rng.normal(size=100), rng.integers(30, size=100)
        order = rng.permutation(100)
        shuffled = resampling.group_bootstrap(values[order], groups[order])
        assert shuffled == pytest.approx(resampling.group_bootstrap(values, groups))

    def test_seeds_are_averaged_clip_by_clip(self) -> None:
        rng = np.random.default_rng(4)
        correct, groups = rng.integers(2, size=(3, 50)), np.repeat(np.arange(25), 2)
        averaged = resampling.group_bootstrap(correct.mean(axis=0), groups)
        assert resampling.group_bootstrap(correct, groups) == averaged

    def test_coverage_on_clustered_clips(self) -> None:
        rng = np.random.default_rng(6)
        groups = np.repeat(np.arange(60), 3)
        inside = {"song": 0, "clip": 0}
        for trial in range(200):
            values = np.repeat(rng.normal(size=60), 3) + 0.5 * rng.normal(size=180)
            for unit, codes in (("song", groups), ("clip", np.arange(180))):
                low, high = resampling.group_bootstrap(values, codes, n_resamples=200, seed=trial)
                inside[unit] += low <= 0 <= high
        assert 0.89 <= inside["song"] / 200 <= 0.98
        # An interval that takes clips for independent is far too short
        assert inside["clip"] / 200 < 0.85


class TestComparison:
    @pytest.mark.parametrize(
        ("only_first", "only_second", "p"),
        [
            (5, 0, 2 / 2**5),
            (0, 5, 2 / 2**5),
            (8, 2, 2 * (1 + 10 + 45) / 2**10),
            (3, 3, 1.0),
            (1, 0, 1.0),
            (0, 0, 1.0),
        ],
    )
    def test_mcnemar_by_hand(self, only_first: int, only_second: int, p: float) -> None:
        first = [1] * only_first + [0] * only_second + [1, 1, 0]
        second = [0] * only_first + [1] * only_second + [1, 1, 0]
        assert resampling.mcnemar_exact(first, second) == pytest.approx(p)
        swapped = resampling.mcnemar_exact(np.array(second) > 0, np.array(first) > 0)
        assert swapped == pytest.approx(p)

    def test_difference_changes_sign_with_its_order_and_pairs_clips(self) -> None:
        rng = np.random.default_rng(11)
        hard = rng.normal(size=(90, 1))
        first, second = hard + 0.1, hard + 0.01 * rng.normal(size=(90, 1))
        groups = np.repeat(np.arange(30), 3)
        gain = resampling.difference(first, second, groups)
        loss = resampling.difference(second, first, groups)
        assert gain == pytest.approx((-loss.mean, -loss.high, -loss.low))
        # What makes a clip hard for both cancels out
        assert 0.09 < gain.low < gain.mean < gain.high < 0.11
        low, high = resampling.group_bootstrap((first - second)[:, 0], groups)
        assert gain[1:] == pytest.approx((low, high))

    def test_difference_draws_songs_and_then_the_seeds_of_each_system(self) -> None:
        rng = np.random.default_rng(12)
        tables = rng.integers(2, size=(40, 5)), rng.integers(2, size=(40, 3))
        groups = rng.integers(12, size=40)
        groups[:12] = np.arange(12)
        generator = np.random.default_rng(3)
        songs = generator.integers(12, size=(200, 12))
        members = [np.flatnonzero(groups == song) for song in range(12)]
        clips = [np.concatenate([members[song] for song in row]) for row in songs]
        means = []
        for table in tables:
            seeds = generator.integers(table.shape[1], size=(200, table.shape[1]))
            pairs = zip(clips, seeds, strict=True)
            means.append(np.asarray([table[np.ix_(c, s)].mean() for c, s in pairs]))
        found = resampling.difference(*tables, groups, n_resamples=200, seed=3)
        expected = np.quantile(means[0] - means[1], (0.025, 0.975))
        assert found.mean == tables[0].mean() - tables[1].mean()
        assert found[1:] == pytest.approx(tuple(expected))
