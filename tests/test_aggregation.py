"""The seven statistics of segment probabilities, against numpy and by hand."""

from __future__ import annotations

import numpy as np

from mer.features.aggregation import song_statistics


def test_against_numpy() -> None:
    values = np.random.default_rng(0).dirichlet(np.ones(4), size=27)
    found = song_statistics(values, threshold=0.3).reshape(4, 7)
    for k, column in enumerate(values.T):
        expected = [
            *(np.max(column), np.min(column)),
            *(np.percentile(column, 25), np.median(column), np.percentile(column, 75)),
            *(np.mean(column), np.count_nonzero(column > 0.3) / 27),
        ]
        np.testing.assert_allclose(found[k], expected, rtol=1e-12)


def test_by_hand() -> None:
    high = np.array([0.9, 0.5, 0.1, 0.7, 0.3])
    found = song_statistics(np.stack([1 - high, high], axis=1)).reshape(2, 7)
    np.testing.assert_allclose(found[1], [0.9, 0.1, 0.3, 0.5, 0.7, 0.5, 0.4], atol=1e-12)
    np.testing.assert_allclose(found[0], [0.9, 0.1, 0.3, 0.5, 0.7, 0.5, 0.4], atol=1e-12)


def test_one_segment_is_its_own_statistics() -> None:
    found = song_statistics(np.array([[0.2, 0.8]], dtype=np.float32)).reshape(2, 7)
    np.testing.assert_allclose(found, [[*[0.2] * 6, 0.0], [*[0.8] * 6, 1.0]], atol=1e-6)
    assert found.dtype == np.float64


def test_order_of_the_segments_does_not_matter() -> None:
    values = np.random.default_rng(1).random((10, 3))
    np.testing.assert_allclose(song_statistics(values), song_statistics(values[::-1]), rtol=1e-12)
