"""Pulse of an onset function, from notes or from audio."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.signal import correlate

_PERIOD_SECONDS = (0.25, 2.0)
_PREFERRED_PERIOD = 0.5
_PREFERENCE_OCTAVES = 0.9
_SMOOTHING = (0.5, 1.0, 0.5)


def pulse(onsets: ArrayLike, rate: float) -> tuple[float, float]:
    """Tempo and its clarity, by autocorrelation.

    The period is the lag between 0.25 and 2 s with the largest autocorrelation, weighted towards
    120 beats per minute [1]_.

    Parameters
    ----------
    onsets : array, shape (n,)
        Onset strength, or number of onsets, in equal steps of time.
    rate : float
        Steps per second.

    Returns
    -------
    tempo : float
        In beats per minute, 30 to 240; 0 where no period shows.
    clarity : float
        Autocorrelation at the period, in [0, 1].

    References
    ----------
    .. [1] Ellis, D. P. W.: Beat Tracking by Dynamic Programming. J. New Music Research 36 (2007),
       equation 6.
    """
    shortest, longest = (round(seconds * rate) for seconds in _PERIOD_SECONDS)
    smooth = np.convolve(np.asarray(onsets, dtype=np.float64), _SMOOTHING)
    smooth = np.pad(smooth - smooth.mean(), (0, longest))
    correlation = correlate(smooth, smooth, method="fft")[len(smooth) - 1 :]
    lags = np.arange(shortest, longest + 1)
    octaves = np.log2(lags / rate / _PREFERRED_PERIOD)
    weighted = correlation[lags] * np.exp(-0.5 * (octaves / _PREFERENCE_OCTAVES) ** 2)
    best = int(weighted.argmax())
    if weighted[best] <= 1e-9 * correlation[0]:
        return 0.0, 0.0
    return float(60.0 * rate / lags[best]), float(correlation[lags[best]] / correlation[0])
