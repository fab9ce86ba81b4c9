"""Time-frequency features of mono audio.

Every feature is a pure function of the samples. Frames are centred: frame `t` stands for the time
`t * hop_length / sample_rate`, the signal is padded with `n_fft // 2` zeros on both sides, and
there are `1 + len(y) // hop_length` frames, so features with one `hop_length` line up. Audio
shorter than a frame is padded with zeros like the edges of any other.

The definitions are librosa's [1]_, with three choices that make a feature independent of the rest
of its clip: decibels have the fixed reference 1.0, no `top_db` floor relative to the loudest frame,
and chroma is computed at A4 = 440 Hz without estimating the tuning.

References
----------
.. [1] McFee, B. et al.: librosa: Audio and Music Signal Analysis in Python. Proc. SciPy (2015).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import dct, rfft
from scipy.signal import get_window

from mer.audio import checked_mono, waveform
from mer.clips import Clip
from mer.errors import ParameterError
from mer.features.cache import cached, source_of
from mer.libraries import load_librosa
from mer.rendering import REVISION as RENDERING_REVISION

REVISION = 1
"""Raised whenever the values of a feature change; part of the key of stored features."""

Floats: TypeAlias = NDArray[np.float32]

_POWER_FLOOR = 1e-10
_RELATIVE_FLOOR_DB = -40.0
# Frames of one block stay in the processor's cache between windowing, transform and power.
_FRAMES_PER_BLOCK = 128
# A band covers few bins: multiplying groups of bands by their own bins skips most of the zeros.
_BANDS_PER_GROUP = 16


def power_spectrogram(y: Floats, *, n_fft: int = 1024, hop_length: int = 512) -> Floats:
    """Squared magnitude of the short-time Fourier transform (periodic Hann window).

    Parameters
    ----------
    y : array, shape (n,)
        Mono samples in [-1, 1].
    n_fft : int
        Frame length in samples, even.
    hop_length : int
        Distance between frames in samples.

    Returns
    -------
    array, shape (1 + n_fft // 2, frames), float32

    Raises
    ------
    InvalidDataError
        If `y` is empty, not one-dimensional, not floating point, or holds NaN or infinity.
    ParameterError
        If `n_fft` is not a positive even number or `hop_length` is not positive.
    """
    frames = _frames(y, n_fft, hop_length)
    window = _hann(n_fft)
    power = np.empty((len(frames), 1 + n_fft // 2), dtype=np.float32)
    for start in range(0, len(frames), _FRAMES_PER_BLOCK):
        block = slice(start, start + _FRAMES_PER_BLOCK)
        spectrum = rfft(frames[block] * window, overwrite_x=True)
        np.square(spectrum.real, out=power[block])
        power[block] += np.square(spectrum.imag)
    return power.T


def mel_spectrogram(
    y: Floats,
    sample_rate: int,
    *,
    n_fft: int = 1024,
    hop_length: int = 512,
    n_mels: int = 128,
) -> Floats:
    """Power in mel bands from 0 Hz to half the rate (Slaney's scale, area-normalised triangles).

    Parameters
    ----------
    y, n_fft, hop_length
        As in `power_spectrogram`.
    sample_rate : int
        In Hz.
    n_mels : int
        Number of bands.

    Returns
    -------
    array, shape (n_mels, frames), float32

    Raises
    ------
    InvalidDataError, ParameterError
        As `power_spectrogram`, and if there is no band.
    """
    power = power_spectrogram(y, n_fft=n_fft, hop_length=hop_length)
    return power_to_mel(power, sample_rate, n_mels=n_mels)


def log_mel(
    y: Floats,
    sample_rate: int,
    *,
    n_fft: int = 1024,
    hop_length: int = 512,
    n_mels: int = 128,
) -> Floats:
    """Mel spectrogram in decibels, shape (n_mels, frames), float32.

    The reference is 1.0 and the floor -100 dB, whatever the clip: a gain of g dB adds g to every
    value above the floor. Parameters and errors are those of `mel_spectrogram`.
    """
    return decibels(
        mel_spectrogram(y, sample_rate, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels)
    )


def relative_log_mel(
    y: Floats,
    sample_rate: int,
    *,
    n_fft: int = 1024,
    hop_length: int = 512,
    n_mels: int = 128,
) -> Floats:
    """Mel spectrogram in dB relative to the loudest band of the clip, not below -40 dB.

    A gain changes nothing. Shape, parameters and errors are those of `log_mel`.
    """
    mel = mel_spectrogram(y, sample_rate, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels)
    return decibels(mel / (mel.max() or np.float32(1.0))).clip(min=_RELATIVE_FLOOR_DB)


def clip_log_mel(
    clip: Clip, sample_rate: int, *, n_fft: int, hop_length: int, n_mels: int
) -> np.ndarray:
    """Mel spectrogram of a clip's audio in decibels, cached; shape (n_mels, frames), float16.

    Parameters are those of `log_mel`, errors those of `mer.audio.waveform`.
    """
    settings = {"n_fft": n_fft, "hop_length": hop_length, "n_mels": n_mels}
    return cached(
        "log-mel",
        REVISION,
        {**settings, "sample_rate": sample_rate, "rendering": RENDERING_REVISION},
        source_of(clip, "audio"),
        lambda: log_mel(waveform(clip, sample_rate), sample_rate, **settings).astype(np.float16),
    )


def mfcc(
    y: Floats,
    sample_rate: int,
    *,
    n_mfcc: int = 20,
    n_fft: int = 1024,
    hop_length: int = 512,
    n_mels: int = 128,
) -> Floats:
    """Mel-frequency cepstral coefficients: orthonormal DCT-II of `log_mel` over the bands.

    Shape (n_mfcc, frames), float32. Parameters and errors are those of `mel_spectrogram`; there
    are at most as many coefficients as bands.
    """
    bands = log_mel(y, sample_rate, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels)
    return cepstrum(bands, n_mfcc)


def chroma(y: Floats, sample_rate: int, *, n_fft: int = 2048, hop_length: int = 512) -> Floats:
    """Energy of the twelve pitch classes, each frame divided by its largest.

    Shape (12, frames), float32, in [0, 1]; row 0 is C, a silent frame is all zero. The default
    frame is longer than that of the other features, because semitones below about 200 Hz lie
    closer than the bins of a shorter one. Parameters and errors are those of `power_spectrogram`.
    """
    power = power_spectrogram(y, n_fft=n_fft, hop_length=hop_length)
    return power_to_chroma(power, sample_rate)


def rms(y: Floats, *, frame_length: int = 1024, hop_length: int = 512) -> Floats:
    """Root mean square of the samples of each frame, linear, shape (frames,), float32.

    Computed from the samples themselves, without a window. Parameters and errors are those of
    `power_spectrogram`.
    """
    frames = _frames(y, frame_length, hop_length)
    return np.sqrt(np.einsum("tn,tn->t", frames, frames) / np.float32(frame_length))


def stacked(
    y: Floats,
    sample_rate: int,
    *,
    n_fft: int = 1024,
    hop_length: int = 512,
    n_mels: int = 128,
    n_mfcc: int = 20,
) -> Floats:
    """Mixed acoustic feature of Zhu et al. [1]_, all rows from one Fourier transform.

    The rows are, from the top, `log_mel` in dB, `mfcc`, the centre of gravity of the magnitude
    spectrum in Hz (0 in silence) and `rms` (linear). Their scales differ by orders of
    magnitude: standardise each row with statistics of the training set before a network sees it.

    Shape (n_mels + n_mfcc + 2, frames), float32. Parameters and errors are those of `mfcc`. The
    paper gives 20 coefficients; the other values are the defaults here.

    References
    ----------
    .. [1] Zhu, K. et al.: Symbolic & Acoustic: Multi-domain Music Emotion Modeling for
       Instrumental Music (2023), acoustic-domain feature.
    """
    power = power_spectrogram(y, n_fft=n_fft, hop_length=hop_length)
    bands = decibels(power_to_mel(power, sample_rate, n_mels=n_mels))
    return np.vstack(
        [
            bands,
            cepstrum(bands, n_mfcc),
            _centroid(np.sqrt(power), sample_rate),
            rms(y, frame_length=n_fft, hop_length=hop_length),
        ]
    )


def power_to_mel(power: Floats, sample_rate: int, *, n_mels: int = 128) -> Floats:
    """The step of `mel_spectrogram` that follows `power_spectrogram`."""
    mel = np.empty((n_mels, power.shape[1]), dtype=np.float32)
    for bands, bins, weights in _mel_filters(sample_rate, 2 * (len(power) - 1), n_mels):
        np.matmul(weights, power[bins], out=mel[bands])
    return mel


def power_to_chroma(power: Floats, sample_rate: int) -> Floats:
    """The step of `chroma` that follows `power_spectrogram`."""
    energy = _chroma_filters(sample_rate, 2 * (len(power) - 1)) @ power
    return energy / _nonzero(energy.max(axis=0))


def decibels(power: Floats) -> Floats:
    """Power in dB relative to 1.0, not below -100 dB."""
    return np.float32(10.0) * np.log10(np.maximum(power, np.float32(_POWER_FLOOR)))


def cepstrum(bands: Floats, n_mfcc: int) -> Floats:
    """The step of `mfcc` that follows `log_mel`."""
    if not 1 <= n_mfcc <= len(bands):
        raise ParameterError(
            f"{n_mfcc} MFCCs from {len(bands)} mel bands; expected between 1 and {len(bands)}"
        )
    return dct(bands, axis=0, type=2, norm="ortho")[:n_mfcc]


def transposed_bins(values: np.ndarray, frequencies: np.ndarray, semitones: int) -> np.ndarray:
    """A spectrum or spectrogram in dB as if every frequency were some semitones higher.

    Each bin takes the value, interpolated, that the bins have so many semitones below it; beyond
    the first and the last bin theirs. How much a mel band sums grows with its frequency, which
    makes up to 1.5 dB for half an octave; that is not corrected.

    Parameters
    ----------
    values : np.ndarray, shape (n_bins, ...)
    frequencies : np.ndarray, shape (n_bins,)
        Centres of the bins, increasing, in Hz.
    semitones : int

    Returns
    -------
    np.ndarray
        Of the same shape and type.
    """
    sources = np.interp(frequencies * 2 ** (-semitones / 12), frequencies, np.arange(len(values)))
    below = np.minimum(sources.astype(int), max(len(values) - 2, 0))
    above = np.minimum(below + 1, len(values) - 1)
    share = (sources - below).reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
    return (values[below] * (1 - share) + values[above] * share).astype(values.dtype)


@lru_cache(maxsize=16)
def mel_centres(sample_rate: int, n_mels: int) -> Floats:
    """Centre frequencies of the bands of `mel_spectrogram`, shape (n_mels,), in Hz."""
    edges = load_librosa().mel_frequencies(n_mels=n_mels + 2, fmin=0.0, fmax=sample_rate / 2)
    return _frozen(edges[1:-1].astype(np.float32))


def pooled(feature: np.ndarray, size: int) -> np.ndarray:
    """Mean over groups of `size` frames of a feature, (n_bins, frames); the last may be smaller."""
    firsts = np.arange(0, feature.shape[1], size)
    sums: np.ndarray = np.add.reduceat(feature, firsts, axis=1)
    return sums / np.diff(firsts, append=feature.shape[1])


def standardised_rows(feature: np.ndarray) -> np.ndarray:
    """Rows of a feature with mean 0 and standard deviation 1, or 0 where they do not change."""
    rows = feature.astype(float)
    deviation = rows - rows.mean(axis=1, keepdims=True)
    return deviation / (rows.std(axis=1, keepdims=True) + 1e-6)


def _frames(y: Floats, frame_length: int, hop_length: int) -> Floats:
    """Read-only view of the centred frames, shape (frames, frame_length)."""
    if frame_length < 2 or frame_length % 2 or hop_length < 1:
        raise ParameterError(
            f"frame length {frame_length} and hop length {hop_length} samples; "
            "expected a positive even frame length and a positive hop length"
        )
    padded = np.pad(checked_mono(y), frame_length // 2)
    return sliding_window_view(padded, frame_length)[::hop_length]


def _centroid(magnitude: Floats, sample_rate: int) -> Floats:
    n_bins = len(magnitude)
    frequencies = np.linspace(0.0, sample_rate / 2, n_bins, dtype=np.float32)
    return frequencies @ magnitude / _nonzero(magnitude.sum(axis=0))


def _nonzero(divisor: Floats) -> Floats:
    return np.where(divisor > np.finfo(np.float32).tiny, divisor, np.float32(1.0))


def _frozen(array: NDArray[np.floating]) -> Floats:
    frozen = np.ascontiguousarray(array, dtype=np.float32)
    frozen.flags.writeable = False
    return frozen


@lru_cache(maxsize=16)
def _hann(n_fft: int) -> Floats:
    return _frozen(get_window("hann", n_fft, fftbins=True))


@lru_cache(maxsize=16)
def _mel_filters(
    sample_rate: int, n_fft: int, n_mels: int
) -> tuple[tuple[slice, slice, Floats], ...]:
    """Groups of neighbouring bands: their rows, the bins that they cover, and the weights."""
    if n_mels < 1:
        raise ParameterError(f"{n_mels} mel bands; expected at least one")
    filters = load_librosa().filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels)
    groups = []
    for start in range(0, n_mels, _BANDS_PER_GROUP):
        rows = slice(start, min(start + _BANDS_PER_GROUP, n_mels))
        covered = np.flatnonzero(filters[rows].any(axis=0))
        bins = slice(covered[0], covered[-1] + 1) if len(covered) else slice(0, 1)
        groups.append((rows, bins, _frozen(filters[rows, bins])))
    return tuple(groups)


@lru_cache(maxsize=16)
def _chroma_filters(sample_rate: int, n_fft: int) -> Floats:
    return _frozen(load_librosa().filters.chroma(sr=sample_rate, n_fft=n_fft))
