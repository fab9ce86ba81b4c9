"""Reliability of ratings and detection of wrong labels: theory, scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from mer.evaluation.labels import (
    detection_by_groups,
    fold_interval,
    noise_detection,
    split_half_reliability,
)
from mer.evaluation.resampling import Resampler

RNG = np.random.default_rng(0)
CLEAN = RNG.integers(0, 11, 200) / 10  # with ties
NOISY = RNG.random(200) < 0.7 - 0.5 * CLEAN
CLIPS = np.repeat(np.arange(40), 5)


def test_scores_against_scikit_learn() -> None:
    found = noise_detection(CLEAN, NOISY, CLIPS, threshold=0.3)
    flagged = CLEAN <= 0.3
    assert found.n == 200
    assert found.noisy == NOISY.mean()
    assert found.flagged == flagged.mean()
    assert found.precision == pytest.approx(precision_score(NOISY, flagged))
    assert found.recall == pytest.approx(recall_score(NOISY, flagged))
    assert found.auc == pytest.approx(roc_auc_score(NOISY, -CLEAN))


@pytest.mark.parametrize(
    ("clean", "noisy", "clips", "expected"),
    [
        # All of c is noisy: only a (1) and b (1/2) can be told
        ([0.1, 0.9, 0.5, 0.5, 0.8, 0.2], [1, 0, 1, 0, 1, 1], "aabbcc", {"auc_within": 0.75}),
        # Each clip is called noisy or clean as a whole: what differs is only the clip
        ([0.1, 0.1, 0.9, 0.9], [1, 0, 0, 0], "aabb", {"auc": 2.5 / 3, "auc_within": 0.5}),
        # A collapsed mixture finds nothing
        ([1, 1, 1, 1], [1, 0, 1, 0], "aabb", {"flagged": 0, "recall": 0, "auc": 0.5}),
        ([1, 1, 1, 1], [1, 0, 1, 0], "aabb", {"precision": np.nan}),
        # One kind has no area
        ([0.2, 0.8], [0, 0], "aa", {"auc": np.nan, "auc_within": np.nan, "recall": np.nan}),
    ],
)
def test_by_hand(
    clean: list[float], noisy: list[int], clips: str, expected: dict[str, float]
) -> None:
    found = noise_detection(clean, noisy, list(clips))._asdict()
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)


def test_groups_drawn_again() -> None:
    models = np.repeat([0, 1], 100)
    found = detection_by_groups(CLEAN, NOISY, CLIPS, CLIPS // 2, models, n_resamples=300)
    by_model = [
        noise_detection(CLEAN[own], NOISY[own], CLIPS[own])._asdict()
        for own in (models == 0, models == 1)
    ]
    for name, value in found.items():
        assert value.mean == pytest.approx(np.mean([model[name] for model in by_model])), name
        assert value.low < value.mean < value.high
    assert found == detection_by_groups(CLEAN, NOISY, CLIPS, CLIPS // 2, models, n_resamples=300)
    resampler = Resampler(CLIPS // 2, n_resamples=300)
    drawn = resampler.weights[:, resampler.codes]
    areas = np.mean(
        [
            [roc_auc_score(NOISY[own], -CLEAN[own], sample_weight=row[own]) for row in drawn]
            for own in (models == 0, models == 1)
        ],
        axis=0,
    )
    np.testing.assert_allclose(found["auc"][1:], np.quantile(areas, (0.025, 0.975)))
    chance = np.arange(200) % 2 == 0
    nothing = detection_by_groups(CLEAN, chance, CLIPS, CLIPS // 2, models, n_resamples=300)
    assert nothing["auc"].low < 0.5 < nothing["auc"].high


def test_a_model_without_a_value_does_not_count() -> None:
    models = np.repeat([0, 1], 100)
    noisy = NOISY & (models == 0)
    found = detection_by_groups(CLEAN, noisy, CLIPS, CLIPS, models, n_resamples=50)
    assert found["auc"].mean == pytest.approx(roc_auc_score(NOISY[:100], -CLEAN[:100]))
    nothing = detection_by_groups(CLEAN, noisy & False, CLIPS, CLIPS, models, n_resamples=50)
    assert np.isnan(nothing["auc"]).all()
    assert nothing["noisy"].mean == 0


def test_interval_over_folds() -> None:
    values = [0.5, 0.6, 0.8]
    found = fold_interval([*values, np.nan])
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    np.testing.assert_allclose(found, [np.mean(values), *expected])
    assert fold_interval([0.5]).mean == 0.5
    assert np.isnan(fold_interval([0.5])[1:]).all()
    assert np.isnan(fold_interval([np.nan]).mean)


def simulated(
    n_items: int, n_ratings: int, noise: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Items with variance 1, rated with errors of variance noise ** 2."""
    rng = np.random.default_rng(seed)
    items = np.repeat(np.arange(n_items), n_ratings)
    return rng.standard_normal(n_items)[items] + noise * rng.standard_normal(len(items)), items


@pytest.mark.parametrize(("n_ratings", "noise"), [(4, 1.0), (10, 2.0), (20, 3.0), (7, 1.5)])
def test_theory_of_parallel_tests(n_ratings: int, noise: float) -> None:
    # Reliability of a mean of m ratings: 1 / (1 + noise variance / m)
    expected = 1 / (1 + noise**2 / n_ratings)
    found = split_half_reliability(*simulated(4000, n_ratings, noise), n_splits=20)
    assert found.mean == pytest.approx(expected, abs=0.02)


def test_limit_of_r2_for_a_perfect_model() -> None:
    rng = np.random.default_rng(3)
    truth = rng.standard_normal(3000)
    items = np.repeat(np.arange(3000), 8)
    ratings = truth[items] + 2 * rng.standard_normal(len(items))
    means = ratings.reshape(3000, 8).mean(axis=1)
    r2 = 1 - np.mean((means - truth) ** 2) / means.var()
    assert split_half_reliability(ratings, items, n_splits=20).mean == pytest.approx(r2, abs=0.02)


def test_raters_who_agree_and_raters_who_guess() -> None:
    agreed = split_half_reliability(*simulated(50, 6, 0.0), n_splits=5)
    assert agreed == pytest.approx((1.0, 0.0))
    guesses = np.random.default_rng(0).standard_normal(2000 * 10)
    found = split_half_reliability(guesses, np.repeat(np.arange(2000), 10), n_splits=50)
    assert found.mean == pytest.approx(0.0, abs=0.06)


def test_invariances() -> None:
    ratings, items = simulated(40, 5, 1.0)
    found = split_half_reliability(ratings, items, n_splits=30)
    assert split_half_reliability(3 * ratings - 7, items, n_splits=30) == pytest.approx(found)
    names = np.asarray([f"t{k:02d}" for k in items])
    assert split_half_reliability(ratings, names, n_splits=30) == pytest.approx(found)
    assert split_half_reliability(ratings, items, n_splits=30) == found
    assert split_half_reliability(ratings, items, n_splits=30, seed=1) != found


def test_order_of_items_does_not_matter_much() -> None:
    ratings, items = simulated(200, 8, 1.0)
    order = np.random.default_rng(0).permutation(len(items))
    found = [
        split_half_reliability(ratings[o], items[o], n_splits=200).mean
        for o in (order, slice(None))
    ]
    assert found[0] == pytest.approx(found[1], abs=0.01)
