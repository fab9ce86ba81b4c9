"""Splits, metrics and uncertainty: hand-worked values, invariances, damaged input."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike
from scipy import stats

from mer.clips import Fold
from mer.errors import ParameterError
from mer.evaluation import metrics, splits, uncertainty

NAN = float("nan")


def clips(n_groups: int, seed: int = 0) -> tuple[list[str], list[str], list[int]]:
    """Ids, groups of one to five clips, and four classes, mostly shared within a group."""
    rng = np.random.default_rng(seed)
    ids, groups, labels = [], [], []
    for group in range(n_groups):
        usual = int(rng.integers(1, 5))
        for clip in range(rng.integers(1, 6)):
            ids.append(f"{group}-{clip}")
            groups.append(f"song {group}")
            labels.append(usual if rng.random() < 0.7 else int(rng.integers(1, 5)))
    return ids, groups, labels


def parts(fold: Fold) -> tuple[tuple[str, ...], ...]:
    return fold.train, fold.valid, fold.test


def check_partition(fold: Fold, ids: list[str], groups: list[str]) -> None:
    group_of = dict(zip(ids, groups, strict=True))
    assert sorted(sum(parts(fold), ())) == sorted(ids)
    owners = [{group_of[clip] for clip in part} for part in parts(fold)]
    assert sum(len(owner) for owner in owners) == len(set(groups))
    for part in parts(fold):
        assert list(part) == [clip for clip in ids if clip in set(part)]


class TestSplits:
    def test_each_clip_is_tested_once_and_no_group_crosses(self) -> None:
        ids, groups, labels = clips(80)
        folds = splits.grouped_folds(ids, groups, labels, 5, seed=3)
        for fold in folds:
            check_partition(fold, ids, groups)
        assert sorted(sum((fold.test for fold in folds), ())) == sorted(ids)

    def test_validation_is_the_next_folds_test(self) -> None:
        folds = splits.grouped_folds(*clips(40), 4, seed=0)
        assert [fold.valid for fold in folds] == [folds[(k + 1) % 4].test for k in range(4)]

    def test_parts_keep_the_proportions_of_the_classes(self) -> None:
        ids, groups, labels = clips(300)
        label_of = dict(zip(ids, labels, strict=True))
        share = Counter(labels)
        folds = splits.grouped_folds(ids, groups, labels, 10, seed=0)
        folds.append(splits.grouped_holdout(ids, groups, labels, seed=0))
        for fold in folds:
            for part in parts(fold):
                found = Counter(label_of[clip] for clip in part)
                for label in range(1, 5):
                    wanted = share[label] / len(ids)
                    assert found[label] / len(part) == pytest.approx(wanted, abs=0.03)

    def test_holdout_meets_its_fractions(self) -> None:
        ids, groups, labels = clips(300)
        fold = splits.grouped_holdout(ids, groups, labels, fractions=(0.5, 0.3, 0.2), seed=1)
        check_partition(fold, ids, groups)
        found = [len(part) / len(ids) for part in parts(fold)]
        assert found == pytest.approx([0.5, 0.3, 0.2], abs=0.01)

    def test_holdout_of_a_few_clips_has_every_class_everywhere(self) -> None:
        ids = [str(k) for k in range(16)]
        labels = [k % 4 for k in range(16)]
        fold = splits.grouped_holdout(ids, ids, labels, seed=0)
        assert [sorted(int(clip) % 4 for clip in part) for part in parts(fold)] == [
            [0, 0, 1, 1, 2, 2, 3, 3],
            [0, 1, 2, 3],
            [0, 1, 2, 3],
        ]

    def test_the_seed_decides(self) -> None:
        data = clips(60)
        assert splits.grouped_folds(*data, 5, seed=1) == splits.grouped_folds(*data, 5, seed=1)
        assert splits.grouped_folds(*data, 5, seed=1) != splits.grouped_folds(*data, 5, seed=2)
        first = splits.grouped_holdout(*data, seed=1)
        assert first == splits.grouped_holdout(*data, seed=1)
        assert first != splits.grouped_holdout(*data, seed=2)

    @pytest.mark.parametrize(
        ("ids", "groups", "labels", "message"),
        [
            (["a", "b"], ["a"], [1, 2], "found 2 ids, 1 groups and 2 labels"),
            ([], [], [], "no clips"),
            (["a", "a", "b"], ["a", "b", "c"], [1, 1, 1], "more than once"),
            (["a", "b", "c"], ["a", "b", "c"], [1, None, 2], "label is missing"),
            (["a", "b", "c"], ["a", "a", "b"], [1, 1, 1], "found 2 groups for 3 folds|empty"),
        ],
    )
    def test_clips_that_cannot_be_split(
        self, ids: list[str], groups: list[str], labels: list[int], message: str
    ) -> None:
        with pytest.raises(ParameterError, match=message):
            splits.grouped_folds(ids, groups, labels, 3, seed=0)
        with pytest.raises(ParameterError, match=message):
            splits.grouped_holdout(ids, groups, labels, seed=0)

    def test_impossible_numbers_of_folds_and_fractions(self) -> None:
        ids, groups, labels = clips(40)
        with pytest.raises(ParameterError, match="n_folds is 2; expected at least 3"):
            splits.grouped_folds(ids, groups, labels, 2, seed=0)
        with pytest.raises(ParameterError, match="largest class has 2 clips for 3 folds"):
            splits.grouped_folds(list("abcd"), list("abcd"), [1, 1, 2, 2], 3, seed=0)
        for fractions in ((0.7, 0.3, 0.3), (0.8, 0.2, 0.0)):
            with pytest.raises(ParameterError, match="positive numbers with sum 1"):
                splits.grouped_holdout(ids, groups, labels, fractions=fractions, seed=0)


def frame_4q() -> pd.DataFrame:
    """Four clips, of which the first three are answered rightly."""
    return pd.DataFrame(
        {
            "id": list("abcd"),
            "target": [1, 2, 3, 4],
            "p_1": [0.4, 0.1, 0.0, 0.3],
            "p_2": [0.0, 0.7, 0.2, 0.4],
            "p_3": [0.3, 0.1, 0.8, 0.1],
            "p_4": [0.3, 0.1, 0.0, 0.2],
        }
    )


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
        report = metrics.classification_report(frame_4q())
        assert report["n"] == 4
        assert report["accuracy"] == 0.75
        # Class 2 is answered twice, once rightly; class 4 is never answered
        assert report["macro_f1"] == pytest.approx((1 + 2 / 3 + 1 + 0) / 4)
        assert report["confusion"] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]]

    def test_report_does_not_depend_on_the_order_of_rows_and_columns(self) -> None:
        frame = frame_4q()
        shuffled = frame.iloc[::-1, ::-1]
        assert metrics.classification_report(shuffled) == metrics.classification_report(frame)

    def test_what_the_4q_answer_implies(self) -> None:
        both = metrics.implied(frame_4q())
        assert both["A"]["target"].tolist() == [2, 2, 1, 1]
        assert both["V"]["target"].tolist() == [2, 1, 1, 2]
        assert metrics.answers(both["A"]).tolist() == [2, 2, 1, 2]
        assert metrics.answers(both["V"]).tolist() == [2, 1, 1, 1]
        assert both["A"]["id"].tolist() == list("abcd")

    def test_what_the_4q_probabilities_imply(self) -> None:
        both = metrics.implied(frame_4q(), by="probability")
        assert both["A"]["p_2"].tolist() == pytest.approx([0.4, 0.8, 0.2, 0.7])
        assert both["V"]["p_2"].tolist() == pytest.approx([0.7, 0.2, 0.0, 0.5])
        for frame in both.values():
            assert (frame["p_1"] + frame["p_2"]).tolist() == pytest.approx([1] * 4)

    def test_4q_is_right_exactly_where_both_implied_answers_are(self) -> None:
        rng = np.random.default_rng(1)
        frame = pd.DataFrame(
            rng.dirichlet(np.ones(4), 200), columns=[f"p_{k}" for k in range(1, 5)]
        )
        frame["target"] = rng.integers(1, 5, size=200)
        both = metrics.implied(frame)
        right = [metrics.answers(f) == f["target"].to_numpy() for f in (frame, *both.values())]
        assert np.array_equal(right[0], right[1] & right[2])

    @pytest.mark.parametrize("values", [[], [1.0, NAN], [[1.0], [2.0]], ["a", "b"]])
    @pytest.mark.parametrize("metric", [metrics.accuracy, metrics.macro_f1, metrics.rmse])
    def test_damaged_arrays(self, metric: object, values: ArrayLike) -> None:
        assert callable(metric)
        with pytest.raises(ParameterError):
            metric(values, values)

    def test_lengths_must_agree_and_r2_needs_spread(self) -> None:
        with pytest.raises(ParameterError, match=r"shape \(2,\) and predictions of shape \(3,\)"):
            metrics.accuracy([1, 2], [1, 2, 3])
        with pytest.raises(ParameterError, match="all targets are equal"):
            metrics.r2([1.0, 1.0], [0.0, 1.0])
        with pytest.raises(ParameterError, match=r"outside 0 ... 1"):
            metrics.confusion_matrix([0, 2], [0, 1], 2)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            ({"p_2": [0.0, NAN, 0.2, 0.4]}, "not a probability distribution"),
            ({"p_2": [0.5, 0.7, 0.2, 0.4]}, "not a probability distribution"),
            ({"target": [1, 2, 3, 5]}, "not a class number"),
            ({"target": [1, 2, 3, NAN]}, "not a class number"),
        ],
    )
    def test_damaged_frames(self, damage: dict[str, list[float]], message: str) -> None:
        frame = frame_4q().assign(**damage)
        with pytest.raises(ParameterError, match=message):
            metrics.classification_report(frame)
        with pytest.raises(ParameterError, match=message):
            metrics.implied(frame)

    def test_frames_with_missing_columns_or_rows(self) -> None:
        frame = frame_4q()
        with pytest.raises(ParameterError, match="no column 'target'"):
            metrics.classification_report(frame.drop(columns="target"))
        for broken in (frame.drop(columns="p_1"), frame.iloc[:0]):
            with pytest.raises(ParameterError, match="probability columns"):
                metrics.answers(broken)
        with pytest.raises(ParameterError, match="expected the four quadrants"):
            metrics.implied(pd.DataFrame({"target": [1], "p_1": [1.0], "p_2": [0.0]}))
        with pytest.raises(ParameterError, match="by is 'vote'"):
            metrics.implied(frame, by="vote")  # type: ignore[arg-type]


class TestGroupBootstrap:
    def test_groups_of_one_clip_are_the_ordinary_bootstrap(self) -> None:
        rng = np.random.default_rng(5)
        values = rng.integers(2, size=86).astype(float)
        drawn = np.random.default_rng(7).integers(86, size=(500, 86))
        expected = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
        interval = uncertainty.group_bootstrap(values, np.arange(86), n_resamples=500, seed=7)
        assert interval == pytest.approx(expected)

    def test_agrees_with_scipy(self) -> None:
        values = np.random.default_rng(0).normal(size=200)
        theirs = stats.bootstrap(
            (values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1)
        ).confidence_interval
        ours = uncertainty.group_bootstrap(values, np.arange(200), n_resamples=5000)
        assert ours == pytest.approx([theirs.low, theirs.high], abs=0.01)

    def test_two_groups_by_hand(self) -> None:
        # Draws: both first (1/4) mean 1, one of each (1/2) mean 1/4, both second (1/4) mean 0
        interval = uncertainty.group_bootstrap([1, 0, 0, 0], ["a", "b", "b", "b"], level=0.4)
        assert interval == pytest.approx((0.25, 0.25))
        interval = uncertainty.group_bootstrap([1, 0, 0, 0], ["a", "b", "b", "b"], level=0.6)
        assert interval == (0, 1)

    def test_copies_of_clips_in_a_group_add_no_certainty(self) -> None:
        values = np.random.default_rng(2).integers(2, size=60).astype(float)
        one = uncertainty.group_bootstrap(values, np.arange(60))
        five = uncertainty.group_bootstrap(np.repeat(values, 5), np.repeat(np.arange(60), 5))
        ignored = uncertainty.group_bootstrap(np.repeat(values, 5), np.arange(300))
        assert five == pytest.approx(one)
        assert one.high - one.low > 1.8 * (ignored.high - ignored.low)

    def test_order_of_clips_does_not_matter(self) -> None:
        rng = np.random.default_rng(3)
        values, groups = rng.normal(size=100), rng.integers(30, size=100)
        order = rng.permutation(100)
        shuffled = uncertainty.group_bootstrap(values[order], groups[order])
        assert shuffled == pytest.approx(uncertainty.group_bootstrap(values, groups))

    def test_seeds_are_averaged_clip_by_clip(self) -> None:
        rng = np.random.default_rng(4)
        correct, groups = rng.integers(2, size=(3, 50)), np.repeat(np.arange(25), 2)
        averaged = uncertainty.group_bootstrap(correct.mean(axis=0), groups)
        assert uncertainty.group_bootstrap(correct, groups) == averaged

    def test_coverage_on_clustered_clips(self) -> None:
        rng = np.random.default_rng(6)
        groups = np.repeat(np.arange(60), 3)
        inside = {"song": 0, "clip": 0}
        for trial in range(200):
            values = np.repeat(rng.normal(size=60), 3) + 0.5 * rng.normal(size=180)
            for unit, codes in (("song", groups), ("clip", np.arange(180))):
                low, high = uncertainty.group_bootstrap(values, codes, n_resamples=200, seed=trial)
                inside[unit] += low <= 0 <= high
        assert 0.89 <= inside["song"] / 200 <= 0.98
        # An interval that takes clips for independent is far too short
        assert inside["clip"] / 200 < 0.85

    def test_metric_version_equals_the_fast_one_for_a_mean(self) -> None:
        rng = np.random.default_rng(8)
        target, given = rng.integers(4, size=(2, 80))
        groups = rng.integers(25, size=80)
        slow = uncertainty.group_bootstrap_metric(metrics.accuracy, (target, given), groups)
        fast = uncertainty.group_bootstrap(target == given, groups)
        assert slow == pytest.approx(fast)

    def test_metric_interval_of_r2_encloses_the_estimate(self) -> None:
        rng = np.random.default_rng(9)
        target = rng.normal(size=150)
        given = target + rng.normal(size=150)
        low, high = uncertainty.group_bootstrap_metric(
            metrics.r2, (target, given), np.repeat(np.arange(50), 3), n_resamples=300
        )
        assert low < metrics.r2(target, given) < high

    @pytest.mark.parametrize(
        ("values", "groups", "message"),
        [
            ([], [], "no values"),
            ([1.0, NAN], ["a", "b"], "not finite"),
            ([1.0, 0.0], ["a", "b", "c"], "for 2 clips"),
            ([1.0, 0.0], ["a", "a"], "all clips are of one group"),
            (1.0, ["a"], r"shape \(\)"),
        ],
    )
    def test_damaged_values(self, values: ArrayLike, groups: ArrayLike, message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            uncertainty.group_bootstrap(values, groups)

    def test_parameters_out_of_range(self) -> None:
        with pytest.raises(ParameterError, match="level is 95"):
            uncertainty.group_bootstrap([1, 0], ["a", "b"], level=95)
        with pytest.raises(ParameterError, match="n_resamples is 0"):
            uncertainty.group_bootstrap([1, 0], ["a", "b"], n_resamples=0)

    def test_damaged_arrays_of_a_metric(self) -> None:
        for arrays in ((), ([1, 0], [1, 0, 1])):
            with pytest.raises(ParameterError, match="equal length"):
                uncertainty.group_bootstrap_metric(metrics.accuracy, arrays, ["a", "b"])
        with pytest.raises(ParameterError, match="no values"):
            uncertainty.group_bootstrap_metric(metrics.rmse, ([], []), [])
        with pytest.raises(ParameterError, match="not finite"):
            uncertainty.group_bootstrap_metric(metrics.rmse, ([1.0, NAN], [1.0, 2.0]), ["a", "b"])
        with pytest.raises(ParameterError, match="metric of a resample is not finite"):
            uncertainty.group_bootstrap_metric(lambda a: NAN, ([1, 2],), ["a", "b"])


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
        assert uncertainty.mcnemar_exact(first, second) == pytest.approx(p)
        swapped = uncertainty.mcnemar_exact(np.array(second) > 0, np.array(first) > 0)
        assert swapped == pytest.approx(p)

    @pytest.mark.parametrize(
        ("first", "second", "message"),
        [
            ([], [], "no values"),
            ([1, 0], [1], "found 2 and 1 clips"),
            ([1, 0.5], [1, 0], "right"),
            ([1, NAN], [1, 0], "right"),
            ([[1, 0]], [[1, 0]], "right"),
        ],
    )
    def test_mcnemar_with_damaged_input(
        self, first: ArrayLike, second: ArrayLike, message: str
    ) -> None:
        with pytest.raises(ParameterError, match=message):
            uncertainty.mcnemar_exact(first, second)

    def test_difference_changes_sign_with_its_order_and_pairs_clips(self) -> None:
        rng = np.random.default_rng(11)
        hard = rng.normal(size=90)
        first, second = hard + 0.1, hard + 0.01 * rng.normal(size=90)
        groups = np.repeat(np.arange(30), 3)
        gain = uncertainty.paired_bootstrap_difference(first, second, groups)
        loss = uncertainty.paired_bootstrap_difference(second, first, groups)
        assert gain.mean == pytest.approx(-loss.mean)
        assert (gain.low, gain.high) == pytest.approx((-loss.high, -loss.low))
        # What makes a clip hard for both cancels out
        assert 0.09 < gain.low < gain.mean < gain.high < 0.11

    def test_difference_takes_different_numbers_of_seeds(self) -> None:
        rng = np.random.default_rng(12)
        first, second = rng.integers(2, size=(5, 40)), rng.integers(2, size=(3, 40))
        difference = uncertainty.paired_bootstrap_difference(first, second, np.arange(40))
        assert difference.mean == pytest.approx(first.mean() - second.mean())
        assert difference.low < difference.mean < difference.high

    def test_difference_needs_the_same_clips(self) -> None:
        with pytest.raises(ParameterError, match="found 3 and 2 clips"):
            uncertainty.paired_bootstrap_difference([1, 0, 1], [1, 0], ["a", "b", "c"])
