"""Spectral features: librosa's values, hand-worked signals, invariances, damaged input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mer.errors import InvalidDataError
from mer.features import spectral
from mer.features.spectral import Floats
from mer.libraries import load_librosa

SAMPLE_RATE = 22050


@pytest.fixture(scope="module")
def music() -> Floats:
    """Two seconds of a decaying chord in noise; the length is no multiple of the hop."""
    rng = np.random.default_rng(0)
    t = np.arange(2 * SAMPLE_RATE + 123) / SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * f * t) for f in (261.63, 329.63, 392.0, 1046.5))
    return (0.1 * chord * np.exp(-t) + 0.01 * rng.normal(size=len(t))).astype(np.float32)


def tone(frequency: float, seconds: float = 1.0, amplitude: float = 0.5) -> Floats:
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (amplitude * np.sin(2 * np.pi * frequency * t)).astype(np.float32)


FRAME: dict[str, Any] = {"n_fft": 1024, "hop_length": 512}
MEL: dict[str, Any] = {"sr": SAMPLE_RATE, **FRAME}
LONG_FRAME: dict[str, Any] = {"sr": SAMPLE_RATE, "n_fft": 2048, "hop_length": 512}

FEATURES: dict[str, Callable[[Floats], Floats]] = {
    "power_spectrogram": spectral.power_spectrogram,
    "mel_spectrogram": lambda y: spectral.mel_spectrogram(y, SAMPLE_RATE),
    "log_mel": lambda y: spectral.log_mel(y, SAMPLE_RATE),
    "mfcc": lambda y: spectral.mfcc(y, SAMPLE_RATE),
    "chroma": lambda y: spectral.chroma(y, SAMPLE_RATE),
    "spectral_centroid": lambda y: spectral.stacked(y, SAMPLE_RATE)[-2],
    "rms": spectral.rms,
    "stacked": lambda y: spectral.stacked(y, SAMPLE_RATE),
}


def decibels(y: Floats) -> Floats:
    librosa = load_librosa()
    return librosa.power_to_db(librosa.feature.melspectrogram(y=y, **MEL), top_db=None)


LIBROSA: dict[str, Callable[[Any, Floats], Floats]] = {
    "power_spectrogram": lambda librosa, y: np.abs(librosa.stft(y, **FRAME)) ** 2,
    "mel_spectrogram": lambda librosa, y: librosa.feature.melspectrogram(y=y, **MEL),
    "log_mel": lambda _, y: decibels(y),
    "mfcc": lambda librosa, y: librosa.feature.mfcc(S=decibels(y), n_mfcc=20),
    "chroma": lambda librosa, y: librosa.feature.chroma_stft(y=y, tuning=0.0, **LONG_FRAME),
    "spectral_centroid": lambda librosa, y: librosa.feature.spectral_centroid(y=y, **MEL)[0],
    "rms": lambda librosa, y: librosa.feature.rms(y=y, frame_length=1024, hop_length=512)[0],
}


@pytest.mark.parametrize("name", LIBROSA)
def test_values_are_librosas(name: str, music: Floats) -> None:
    ours, theirs = FEATURES[name](music), LIBROSA[name](load_librosa(), music)
    assert ours.dtype == np.float32
    # Bins near zero carry the rounding error of the largest one.
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6 * np.abs(theirs).max())


def test_mel_spectrogram_takes_other_parameters_as_librosa_does(music: Floats) -> None:
    librosa = load_librosa()
    settings: dict[str, Any] = {"n_fft": 512, "hop_length": 256, "n_mels": 96}
    theirs = librosa.feature.melspectrogram(y=music, sr=12000, **settings)
    ours = spectral.mel_spectrogram(music, 12000, **settings)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6 * theirs.max())


def test_stacked_is_its_parts(music: Floats) -> None:
    stacked = spectral.stacked(music, SAMPLE_RATE)
    assert stacked.shape == (150, 1 + len(music) // 512)
    parts = ("log_mel", "mfcc", "spectral_centroid", "rms")
    np.testing.assert_array_equal(stacked, np.vstack([FEATURES[name](music) for name in parts]))


def test_long_signal_equals_its_blocks() -> None:
    y = np.random.default_rng(1).normal(size=512 * 400).astype(np.float32)
    whole = spectral.power_spectrogram(y)
    tail = spectral.power_spectrogram(y[512 * 200 :])
    np.testing.assert_allclose(whole[:, 202:], tail[:, 2:], rtol=1e-6)


def test_gain_shifts_log_mel_by_a_constant(music: Floats) -> None:
    loud = spectral.log_mel(music, SAMPLE_RATE)
    soft = spectral.log_mel(music * np.float32(0.1), SAMPLE_RATE)
    np.testing.assert_allclose(loud - soft, 20.0, atol=1e-3)


def test_gain_moves_only_the_first_mfcc(music: Floats) -> None:
    loud = spectral.mfcc(music, SAMPLE_RATE)
    soft = spectral.mfcc(music * np.float32(0.1), SAMPLE_RATE)
    np.testing.assert_allclose(loud[0] - soft[0], 20.0 * np.sqrt(128), rtol=1e-4)
    np.testing.assert_allclose(loud[1:], soft[1:], atol=1e-3)


def test_pure_tone() -> None:
    y = tone(1000.0)
    inner = slice(3, -3)
    assert FEATURES["spectral_centroid"](y)[inner] == pytest.approx(1000.0, rel=0.01)
    assert spectral.rms(y)[inner] == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    peak = spectral.power_spectrogram(y)[:, inner].argmax(axis=0)
    assert (peak == round(1000.0 * 1024 / SAMPLE_RATE)).all()


@pytest.mark.parametrize(("frequency", "pitch_class"), [(440.0, 9), (261.63, 0), (1864.66, 10)])
def test_chroma_names_the_pitch_class(frequency: float, pitch_class: int) -> None:
    chroma = spectral.chroma(tone(frequency), SAMPLE_RATE)
    assert (chroma.argmax(axis=0) == pitch_class).all()
    assert chroma.max(axis=0) == pytest.approx(1.0)


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("samples", [1, 700, 5000])
def test_silence_is_finite_at_any_length(name: str, samples: int) -> None:
    feature = FEATURES[name](np.zeros(samples, dtype=np.float32))
    assert feature.shape[-1] == 1 + samples // 512
    assert np.isfinite(feature).all()


def test_silence_has_the_floor_value() -> None:
    silence = np.zeros(2048, dtype=np.float32)
    assert spectral.log_mel(silence, SAMPLE_RATE) == pytest.approx(-100.0)
    assert (FEATURES["spectral_centroid"](silence) == 0.0).all()
    assert (spectral.chroma(silence, SAMPLE_RATE) == 0.0).all()


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (np.zeros(0, dtype=np.float32), "no samples"),
        (np.array([0.0, np.nan, np.inf], dtype=np.float32), "2 samples that are NaN or infinite"),
        (np.zeros((2, 4096), dtype=np.float32), r"shape \(2, 4096\).*mix the channels"),
        (np.zeros(4096, dtype=np.int16), "int16.*floating-point"),
    ],
)
def test_damaged_audio_is_named(name: str, damaged: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidDataError, match=message):
        FEATURES[name](damaged)
