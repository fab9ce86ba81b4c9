"""Detection of wrong labels: against scikit-learn, by hand, and with groups drawn again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from mer.errors import ParameterError
from mer.evaluation.noise import auc, detection_by_groups, fold_interval, noise_detection

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


def test_weighted_areas_against_scikit_learn() -> None:
    weights = RNG.integers(0, 4, (3, 200))
    expected = [roc_auc_score(NOISY, -CLEAN, sample_weight=row) for row in weights]
    np.testing.assert_allclose(auc(-CLEAN, NOISY, weights), expected)


def test_within_clips_by_hand() -> None:
    clean = [0.1, 0.9, 0.5, 0.5, 0.8, 0.2]
    noisy = [1, 0, 1, 0, 1, 1]  # all of c is noisy: only a (1) and b (1/2) can be told
    assert noise_detection(clean, noisy, list("aabbcc")).auc_within == 0.75


def test_hard_clips_do_not_pass_for_noisy_segments() -> None:
    # Each clip is called noisy or clean as a whole: what differs is only the clip.
    found = noise_detection([0.1, 0.1, 0.9, 0.9], [1, 0, 0, 0], ["a", "a", "b", "b"])
    assert found.auc > 0.8
    assert found.auc_within == 0.5


def test_a_collapsed_mixture_finds_nothing() -> None:
    found = noise_detection(np.ones(4), [1, 0, 1, 0], list("aabb"))
    assert (found.flagged, found.recall, found.auc) == (0, 0, 0.5)
    assert np.isnan(found.precision)


def test_one_kind_has_no_area() -> None:
    found = noise_detection([0.2, 0.8], [0, 0], ["a", "a"])
    assert np.isnan([found.auc, found.auc_within, found.recall]).all()


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


@pytest.mark.parametrize(
    ("clean", "noisy", "told"),
    [
        ([], [], "not empty"),
        ([0.5], [1, 0], r"shapes \(1,\), \(2,\)"),
        ([0.5, 1.5], [1, 0], "not in"),
        ([0.5, float("nan")], [1, 0], "not in"),
    ],
)
def test_bad_input(clean: list[float], noisy: list[int], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        noise_detection(clean, noisy, ["a"] * len(clean))
