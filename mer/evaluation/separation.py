"""Scale-invariant signal-to-distortion ratio of separated sources [1]_.

References
----------
.. [1] Le Roux, J., Wisdom, S., Erdogan, H., Hershey, J. R.: SDR – Half-Baked or Well Done?
   Proc. ICASSP (2019).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from mer.errors import ParameterError

LIMIT_DB = 60.0
"""Scores end here on both sides, so that one perfect or silent estimate leaves means finite."""

SILENCE = 1e-4
"""A reference with no sample above this (-80 dB of full scale) is silent."""


def si_sdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """SI-SDR of one source.

    Of the estimate, the part along the reference is signal, the rest is distortion; with `r` the
    correlation of both this is `10 log10(r^2 / (1 - r^2))`. Means are taken off first. A change
    of gain, and of sign, makes no difference.

    Parameters
    ----------
    reference, estimate : np.ndarray, shape (n_samples,)
        The true source and the separated one.

    Returns
    -------
    float
        In dB, within +-`LIMIT_DB`. NaN where the reference is silent: then nothing is there to
        find, and the ratio is not defined. The lower limit where only the estimate is.

    Raises
    ------
    ParameterError
        If the arrays are not of one shape (n,), n > 0, or not finite.
    """
    if reference.ndim != 1 or not reference.size or reference.shape != estimate.shape:
        raise ParameterError(
            f"reference has shape {reference.shape} and estimate {estimate.shape}; expected one "
            "shape (n,) with n > 0"
        )
    source, estimated = reference.astype(np.float64), estimate.astype(np.float64)
    if not (np.isfinite(source).all() and np.isfinite(estimated).all()):
        raise ParameterError("reference or estimate has values that are not finite numbers")
    if np.abs(source).max() <= SILENCE:
        return math.nan
    source, estimated = source - source.mean(), estimated - estimated.mean()
    energy = float(source @ source)
    if not energy > 0:  # a constant
        return math.nan
    signal = float(source @ estimated) / energy * source
    distortion = estimated - signal
    return _decibels(float(signal @ signal), float(distortion @ distortion))


def _decibels(signal: float, distortion: float) -> float:
    limit = 10 ** (LIMIT_DB / 10)
    if signal <= distortion / limit:
        return -LIMIT_DB
    if distortion <= signal / limit:
        return LIMIT_DB
    return 10 * math.log10(signal / distortion)


def separation_scores(
    references: Mapping[str, np.ndarray], estimates: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """SI-SDR of every source of a mix.

    Parameters
    ----------
    references, estimates : mapping of str to np.ndarray, shape (n_samples,)
        By source; both have the same sources.

    Returns
    -------
    dict of str to float
        Those of `si_sdr`, by source, in the order of the references.

    Raises
    ------
    ParameterError
        If the sources differ, or as `si_sdr`.
    """
    if set(references) != set(estimates):
        raise ParameterError(
            f"estimates are of {', '.join(sorted(estimates))}; expected "
            f"{', '.join(sorted(references))}"
        )
    return {source: si_sdr(references[source], estimates[source]) for source in references}
