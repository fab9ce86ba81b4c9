"""Contributions of inputs and tests of regions: toys whose values are known."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from mer.errors import ParameterError
from mer.evaluation.contributions import (
    agreement_by_chance,
    association,
    exchanged,
    left_out,
    shapley_values,
)

PLAYERS = ("a", "b", "c")


def worth_of(function: dict[str, float]) -> dict[frozenset[str], float]:
    return {frozenset(name): value for name, value in function.items()}


GAME = worth_of(
    {"": -0.1, "a": 0.2, "b": 0.2, "c": 0.0, "ab": 0.3, "ac": 0.5, "bc": 0.5, "abc": 0.7}
)


class TestShapley:
    def test_is_the_mean_over_all_orders(self) -> None:
        found = shapley_values(GAME, PLAYERS)
        assert sum(found.values()) == pytest.approx(0.7 + 0.1)
        assert found["a"] == pytest.approx(found["b"])
        for player in PLAYERS:
            gained = []
            for order in permutations(PLAYERS):
                before = frozenset(order[: order.index(player)])
                gained.append(GAME[before | {player}] - GAME[before])
            assert found[player] == pytest.approx(np.mean(gained))

    def test_who_adds_nothing_gets_nothing(self) -> None:
        game = worth_of({"": 0.1, "a": 0.4, "b": 0.1, "ab": 0.4})
        assert shapley_values(game, ("a", "b"))["b"] == pytest.approx(0)

    def test_arrays_are_treated_element_by_element(self) -> None:
        game = {subset: np.asarray([value, 2 * value]) for subset, value in GAME.items()}
        one = shapley_values(GAME, PLAYERS)["c"]
        np.testing.assert_allclose(shapley_values(game, PLAYERS)["c"], [one, 2 * one])

    def test_missing_subset(self) -> None:
        with pytest.raises(ParameterError, match="no worth of a and b; a Shapley value needs all"):
            shapley_values({k: v for k, v in GAME.items() if k != frozenset("ab")}, PLAYERS)


WEIGHTS = np.asarray([[0.5, 0.0], [0.0, -1.0], [0.0, 0.0]])
"""Of three sources for two outputs; the third is ignored."""


def linear(inputs: np.ndarray) -> np.ndarray:
    return inputs[:, :, 0] @ WEIGHTS


Toy = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def toy() -> Toy:
    """Inputs of 12 clips in 5 groups, targets and groups."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 3, 1)), rng.normal(size=(12, 2)), np.arange(12) % 5


class TestExchanged:
    def test_ignored_source_contributes_nothing(self, toy: Toy) -> None:
        x, y, groups = toy
        for kind in exchanged(linear, x, y, groups):
            assert kind.shape == (12, 3, 2)
            np.testing.assert_allclose(kind[:, 2], 0, atol=1e-12)
            np.testing.assert_allclose(kind[:, 0, 1], 0, atol=1e-12)
            np.testing.assert_allclose(kind[:, 1, 0], 0, atol=1e-12)

    def test_against_a_loop(self, toy: Toy) -> None:
        x, y, groups = toy
        found, given = exchanged(linear, x, y, groups), linear(x)
        for i, source in product(range(len(x)), range(3)):
            others = np.flatnonzero(groups != groups[i])
            changed = np.repeat(x[i][None], len(others), axis=0)
            changed[:, source] = x[others, source]
            less = linear(changed)
            gap = given[i] - less
            error = (less - y[i]) ** 2 - (given[i] - y[i]) ** 2
            np.testing.assert_allclose(found.signed[i, source], gap.mean(axis=0), atol=1e-12)
            np.testing.assert_allclose(found.absolute[i, source], np.abs(gap).mean(axis=0))
            np.testing.assert_allclose(found.error[i, source], error.mean(axis=0), atol=1e-12)

    def test_one_group(self) -> None:
        with pytest.raises(ParameterError, match="all clips are of one group"):
            exchanged(linear, np.zeros((3, 3, 1)), np.zeros((3, 2)), ["a"] * 3)


def test_left_out() -> None:
    given, targets = np.asarray([[0.5], [0.0]]), np.asarray([[1.0], [0.0]])
    found = left_out(given, [given, np.asarray([[0.0], [0.2]])], targets)
    np.testing.assert_allclose(found.signed[:, :, 0], [[0.0, 0.5], [0.0, -0.2]])
    np.testing.assert_allclose(found.absolute[:, :, 0], [[0.0, 0.5], [0.0, 0.2]])
    np.testing.assert_allclose(found.error[:, :, 0], [[0.0, 0.75], [0.0, 0.04]])


class TestAssociation:
    def test_cramers_v_of_a_known_table(self) -> None:
        rows, columns = np.repeat([0, 1], 50), np.r_[[0] * 35, [1] * 15, [0] * 15, [1] * 35]
        assert association(rows, columns, np.arange(100), n_permutations=9).v == pytest.approx(0.4)

    def test_one_that_tells_the_other(self) -> None:
        rows = np.arange(60) % 4
        found = association(rows, 3 - rows, np.arange(60), n_permutations=199)
        assert found.v == pytest.approx(1)
        assert found.p == pytest.approx(1 / 200)

    def test_one_class_only(self) -> None:
        assert association([0, 1, 1], [2, 2, 2], [0, 1, 2], n_permutations=9) == (0, 1)

    def test_what_songs_share_is_no_association(self) -> None:
        """Ten songs of eight alike clips: as independent clips they would often seem related."""
        options = {"songs": np.repeat(np.arange(10), 8), "clips": np.arange(80)}
        wrong = dict.fromkeys(options, 0)
        for trial in range(40):
            rng = np.random.default_rng(trial)
            rows, columns = (np.repeat(rng.integers(4, size=10), 8) for _ in range(2))
            for name, groups in options.items():
                p = association(rows, columns, groups, n_permutations=59, seed=trial).p
                wrong[name] += p < 0.05
        assert wrong["songs"] <= 5
        assert wrong["clips"] >= 30

    def test_groups_of_different_sizes(self) -> None:
        rng = np.random.default_rng(3)
        groups = np.repeat(np.arange(30), rng.integers(1, 4, 30))
        rows = rng.integers(4, size=len(groups))
        related = np.where(rng.random(len(groups)) < 0.6, rows, rng.integers(4, size=len(groups)))
        assert association(rows, related, groups, n_permutations=199).p < 0.02


def test_agreement_by_chance() -> None:
    assert agreement_by_chance(["a", "a", "b", "c"], ["a", "b", "b", "b"]) == pytest.approx(
        0.5 * 0.25 + 0.25 * 0.75
    )
