"""Split-half reliability: known variances, limits, and what cannot be computed."""

from __future__ import annotations

import numpy as np
import pytest

from mer.errors import ParameterError
from mer.evaluation.reliability import split_half_reliability


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
    ratings, items = simulated(50, 6, 0.0)
    assert split_half_reliability(ratings, items, n_splits=5) == pytest.approx((1.0, 0.0))
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


@pytest.mark.parametrize(
    ("ratings", "items", "message"),
    [
        ([1.0, 2.0], [0], r"shape \(2,\) and items of shape \(1,\)"),
        ([1.0, np.nan, 2.0, 1.0, 2.0, 3.0], [0, 0, 1, 1, 2, 2], "not a finite number"),
        ([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1], "found 2 items; expected 3 or more"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], [0, 0, 1, 1, 2], "item 2 has one rating"),
        ([1.0] * 6, [0, 0, 1, 1, 2, 2], "same mean rating"),
    ],
)
def test_what_cannot_be_computed(ratings: list[float], items: list[int], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        split_half_reliability(ratings, items, n_splits=3)


def test_number_of_halves() -> None:
    with pytest.raises(ParameterError, match="n_splits is 0"):
        split_half_reliability(*simulated(5, 2, 1.0), n_splits=0)
