"""Hand-crafted descriptors of audio: statistics over time of common spectral features [1]_.

Spectra are relative to the loudest bin of the clip, so that a gain changes only the levels among
`loudness_*`: mean, 10th and 90th percentile. The tonal descriptors are relative to the estimated
tonic.

References
----------
.. [1] Panda, R., Malheiro, R., Paiva, R. P.: Audio Features for Music Emotion Recognition: A
   Survey. IEEE Transactions on Affective Computing 14 (2023).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mer.errors import ParameterError
from mer.features import spectral
from mer.features.rhythm import pulse
from mer.features.spectral import Floats
from mer.features.statistics import Array, mean, sd, shares, trend
from mer.features.tonality import describe_chords, describe_keys
from mer.libraries import load_librosa

ACOUSTIC_REVISION = 1
"""Raised whenever the values of a descriptor change; part of the key of stored features."""

_N_FFT = 2048
_HOP_LENGTH = 512
_N_MFCC = 20
_SPECTRAL_RANGE_DB = 80.0
_LOUDNESS_RANGE_DB = 60.0
_CONTRAST_BANDS = 6
_CONTRAST_FMIN = 200.0
_LOWEST_SAMPLE_RATE = 12_800
_CHORD_SECONDS = 1.0
_KEY_SECONDS = 8.0


def acoustic_descriptors(y: Floats, sample_rate: int = 22050) -> dict[str, float]:
    """Describe audio by timbre, loudness, rhythm and tonality.

    Parameters
    ----------
    y : array, shape (n,)
        Mono samples in [-1, 1].
    sample_rate : int
        In Hz, above 12,800 (twice the lower edge of the highest band of the spectral contrast).

    Returns
    -------
    dict of str to float
        The same names in the same order whatever the audio; every value is finite, also for
        silence and for audio shorter than a frame.

    Raises
    ------
    InvalidDataError
        If `y` is empty, not one-dimensional, not floating point, or holds NaN or infinity.
    ParameterError
        If the sample rate is too low.
    """
    if sample_rate <= _LOWEST_SAMPLE_RATE:
        raise ParameterError(
            f"sample rate {sample_rate} Hz; acoustic descriptors need more than "
            f"{_LOWEST_SAMPLE_RATE} Hz"
        )
    power = spectral.power_spectrogram(y, n_fft=_N_FFT, hop_length=_HOP_LENGTH)
    power = power / (power.max() or np.float32(1.0))
    bands = spectral.decibels(spectral.power_to_mel(power, sample_rate))
    bands = bands.clip(min=bands.max() - _SPECTRAL_RANGE_DB)
    level = spectral.rms(y, frame_length=_N_FFT, hop_length=_HOP_LENGTH)
    chroma = spectral.power_to_chroma(power, sample_rate).T.astype(np.float64)
    frame_rate = sample_rate / _HOP_LENGTH
    keys, chords = (
        _averaged(chroma, seconds * frame_rate) for seconds in (_KEY_SECONDS, _CHORD_SECONDS)
    )
    return {
        **_cepstral(bands),
        **_contrast(power, sample_rate),
        **_spectral_shape(y, power, sample_rate),
        **_loudness(level),
        **_rhythm(bands, frame_rate),
        **describe_keys(chroma.mean(axis=0), keys),
        **describe_chords(chords[chords.any(axis=1)]),
    }


def _cepstral(bands: Floats) -> dict[str, float]:
    coefficients = spectral.cepstrum(bands, _N_MFCC)
    changes = np.abs(np.diff(coefficients, axis=1))
    return {
        f"mfcc_{i}_{name}": value
        for i, (values, change) in enumerate(zip(coefficients, changes, strict=True))
        for name, value in (("mean", mean(values)), ("sd", sd(values)), ("change", mean(change)))
    }


def _contrast(power: Floats, sample_rate: int) -> dict[str, float]:
    librosa = load_librosa()

    contrast = librosa.feature.spectral_contrast(
        S=np.sqrt(power), sr=sample_rate, n_bands=_CONTRAST_BANDS, fmin=_CONTRAST_FMIN
    )
    return {
        f"contrast_{i}_{name}": statistic(values)
        for i, values in enumerate(contrast)
        for name, statistic in (("mean", mean), ("sd", sd))
    }


def _spectral_shape(y: Floats, power: Floats, sample_rate: int) -> dict[str, float]:
    librosa = load_librosa()

    magnitude = np.sqrt(power)
    centroid, bandwidth = _centroid_and_bandwidth(magnitude, sample_rate)
    rolloff = librosa.feature.spectral_rolloff(S=magnitude, sr=sample_rate)[0]
    flatness = librosa.feature.spectral_flatness(S=power, power=1.0)[0]
    crossings = librosa.feature.zero_crossing_rate(y, frame_length=_N_FFT, hop_length=_HOP_LENGTH)[
        0
    ]
    return {
        **_distribution("centroid", centroid),
        **_distribution("bandwidth", bandwidth),
        **_distribution("rolloff", rolloff),
        **_distribution("flatness", np.log10(flatness)),
        **_distribution("zero_crossing", crossings),
    }


def _centroid_and_bandwidth(magnitude: Floats, sample_rate: int) -> tuple[Array, Array]:
    """First moment and square root of the second central moment of the spectrum, in Hz."""
    frequencies = np.linspace(0.0, sample_rate / 2, len(magnitude))
    weights = shares(magnitude.T.astype(np.float64))
    first, second = (weights @ frequencies**power for power in (1, 2))
    return first, np.sqrt(np.maximum(second - first**2, 0.0))


def _loudness(level: Floats) -> dict[str, float]:
    loudness = spectral.decibels(level**2)
    loudness = loudness.clip(min=loudness.max() - _LOUDNESS_RANGE_DB)
    return {
        **_distribution("loudness", loudness),
        "loudness_trend": trend(loudness),
        "loudness_low_share": mean(level < level.mean()),
    }


def _rhythm(bands: Floats, frame_rate: float) -> dict[str, float]:
    librosa = load_librosa()

    flux = np.diff(bands, axis=1, prepend=bands[:, :1]).clip(min=0.0).mean(axis=0)
    onsets = librosa.onset.onset_detect(onset_envelope=flux, sr=frame_rate, hop_length=1)
    tempo, clarity = pulse(flux, frame_rate)
    return {
        **_distribution("flux", flux),
        "rhythm_onset_density": len(onsets) * frame_rate / bands.shape[1],
        "rhythm_tempo": tempo,
        "rhythm_pulse_clarity": clarity,
    }


def _averaged(chroma: Array, frames: float) -> Array:
    """Mean chroma of consecutive windows (at least one) of about that many frames."""
    count = max(1, round(len(chroma) / frames))
    return np.stack([window.mean(axis=0) for window in np.array_split(chroma, count)])


def _distribution(name: str, values: NDArray[np.floating]) -> dict[str, float]:
    """Mean, deviation, skewness, percentiles and mean absolute change of a series."""
    spread = sd(values)
    low, high = np.percentile(values, [10, 90]) if len(values) else (0.0, 0.0)
    skewness = mean((values - values.mean()) ** 3) / spread**3 if spread > 1e-6 else 0.0
    return {
        f"{name}_mean": mean(values),
        f"{name}_sd": spread,
        f"{name}_skewness": skewness,
        f"{name}_p10": float(low),
        f"{name}_p90": float(high),
        f"{name}_change": mean(np.abs(np.diff(values))),
    }
