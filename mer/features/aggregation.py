"""From the predictions for the segments of a song to features of the song."""

from __future__ import annotations

import numpy as np

from mer.errors import InvalidDataError

REVISION = 1


def song_statistics(probabilities: np.ndarray, *, threshold: float = 0.5) -> np.ndarray:
    """Seven statistics of the probability of each class over the segments of a song.

    Equation 10 of Sun, Zhang, Zhou and Li (2024), which gives no threshold. Quartiles are
    interpolated linearly between segments; the share is of segments strictly above the threshold.

    Parameters
    ----------
    probabilities : np.ndarray, shape (n_segments, n_classes)
        Class probabilities of the segments, in [0, 1].
    threshold : float

    Returns
    -------
    np.ndarray, shape (7 * n_classes,), float64
        Maximum, minimum, first quartile, median, third quartile, mean and share above the
        threshold of the first class, then of the second, and so on.

    Raises
    ------
    InvalidDataError
        If there is no segment, or a value is not in [0, 1].
    """
    values = np.asarray(probabilities, dtype=np.float64)
    if values.ndim != 2 or not len(values):
        raise InvalidDataError(
            f"probabilities have shape {values.shape}; expected (n_segments, n_classes) and one "
            "segment or more"
        )
    # Written so that NaN fails
    if not np.all((values >= 0) & (values <= 1)):
        raise InvalidDataError("a probability is not a number from 0 to 1")
    statistics = np.stack(
        [
            values.max(axis=0),
            values.min(axis=0),
            *np.quantile(values, (0.25, 0.5, 0.75), axis=0),
            values.mean(axis=0),
            (values > threshold).mean(axis=0),
        ]
    )
    return statistics.T.ravel()
