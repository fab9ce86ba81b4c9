"""Descriptors of notes and audio: hand-worked music, librosa's values, invariances, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import notes_at

from mer.features.descriptors import acoustic_descriptors, pulse, symbolic_descriptors
from mer.features.spectral import Floats
from mer.features.statistics import Array
from mer.features.tonality import interval_classes, key_strengths, tonnetz
from mer.libraries import load_librosa

SAMPLE_RATE = 22050
C_MAJOR = (60, 62, 64, 65, 67, 69, 71, 72)
A_HARMONIC_MINOR = (57, 59, 60, 62, 64, 65, 68, 69)
BASE = np.array([[0.0, 1.0, 60.0, 64.0]])


def sequence(pitches: tuple[int, ...], seconds: float = 0.5, velocity: float = 80.0) -> Array:
    """One note after the other, legato."""
    return notes_at(seconds * np.arange(len(pitches)), seconds, pitches, velocity)


def block(pitches: tuple[int, ...]) -> Array:
    """A chord of one second."""
    return notes_at(0.0, 1.0, pitches, 80)


def differing(a: dict[str, float], b: dict[str, float]) -> set[str]:
    return {name for name in a if not np.isclose(a[name], b[name], rtol=1e-6, atol=1e-9)}


@pytest.fixture(scope="module")
def piece() -> Array:
    """Random chords of one to four notes in uneven time, without ties between keys."""
    rng = np.random.default_rng(3)
    onset = np.repeat(np.cumsum(rng.uniform(0.1, 0.8, 60)), rng.integers(1, 5, 60))
    n = len(onset)
    length, pitch = rng.uniform(0.1, 1.5, n), rng.integers(40, 80, n)
    return np.column_stack([onset, onset + length, pitch, rng.integers(30, 60, n)])


LOUDER = np.vstack([sequence((60,) * 10, velocity=40), sequence((72,) * 10)])
LOUDER[10:, 3] = np.linspace(60, 100, 10)

BY_HAND: dict[str, tuple[Array, dict[str, float]]] = {
    "C major triad": (
        block((60, 64, 67)),
        {
            **{"n_notes": 3, "texture_voices_mean": 3, "texture_chord_size": 3},
            **{"register_mean": 191 / 3, "pitch_outer_distance": 7},
            **{"pitch_class_entropy": np.log2(3), "chord_major": 1, "chord_fit": 1},
            **{"key_degree_0": 1 / 3, "key_degree_4": 1 / 3, "key_degree_7": 1 / 3},
            **{"interval_class_3": 1 / 3, "interval_class_4": 1 / 3, "interval_class_5": 1 / 3},
            "interval_dissonance": (0.2 + 0.15) / 3,
        },
    ),
    "C major scale": (
        sequence(C_MAJOR),
        {
            **{"rhythm_duration": 4, "rhythm_note_density": 2, "rhythm_gap_mean": 0.5},
            **{"rhythm_gap_npvi": 0, "rhythm_tempo": 120},
            **{"texture_voices_mean": 1, "texture_articulation": 1},
            **{"melody_semitone_share": 2 / 7, "melody_tone_share": 5 / 7},
            **{"melody_rising_share": 1, "melody_interval_mean": 12 / 7},
            **{"key_degree_0": 2 / 8, "key_degree_1": 0},
        },
    ),
    "a rest and an overlap": (
        np.array([[0.0, 1.0, 60, 64], [3.0, 4.0, 64, 64], [3.5, 4.0, 67, 64]]),
        {
            **{"texture_silence_share": 0.5, "texture_voices_mean": 2.5 / 4},
            **{"texture_overlap_share": 0.5, "texture_staccato_share": 0.5},
        },
    ),
    "a melody that gets louder": (
        LOUDER,
        {
            **{"dynamics_mean": 60, "dynamics_melody_accent": 20, "dynamics_min": 40},
            **{"dynamics_melody_change": 40 / 9, "dynamics_max": 100},
        },
    ),
}


@pytest.mark.parametrize("music", BY_HAND)
def test_by_hand(music: str) -> None:
    notes, expected = BY_HAND[music]
    found = symbolic_descriptors(notes)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_mode() -> None:
    assert symbolic_descriptors(block((60, 64, 67)))["key_mode"] > 0
    assert symbolic_descriptors(sequence(C_MAJOR))["key_mode"] > 0
    minor = symbolic_descriptors(sequence(A_HARMONIC_MINOR))
    assert max(minor["key_mode"], minor["key_parallel_mode"]) < 0
    assert minor["key_degree_3"] > minor["key_degree_4"] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("pitches", "quality"),
    [
        ((57, 60, 64), "minor"),
        ((59, 62, 65), "diminished"),
        ((60, 64, 68), "augmented"),
        ((55, 59, 62, 65), "dominant7"),
        ((60, 64, 67, 71), "major7"),
        ((62, 65, 69, 72), "minor7"),
    ],
)
def test_chord_qualities(pitches: tuple[int, ...], quality: str) -> None:
    assert symbolic_descriptors(block(pitches))[f"chord_{quality}"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("added", "factor", "changed"),
    [
        ([12.25, 12.25, 0, 0], [1, 1, 1, 1], set()),
        *(([0, 0, semitones, 0], [1, 1, 1, 1], {"register"}) for semitones in (-5, 3, 12)),
        ([0, 0, 0, 0], [1, 1, 1, 2], {"dynamics"}),
    ],
)
def test_what_responds_to_a_change(
    piece: Array, added: list[float], factor: list[float], changed: set[str]
) -> None:
    before = symbolic_descriptors(piece)
    after = symbolic_descriptors(np.random.default_rng(0).permutation(piece * factor + added))
    assert {name.split("_")[0] for name in differing(before, after)} == changed
    assert after["register_mean"] - before["register_mean"] == pytest.approx(added[2])
    for name in ("mean", "sd", "min", "max", "range", "melody_accent", "phrase_sd"):
        assert after[f"dynamics_{name}"] == pytest.approx(factor[3] * before[f"dynamics_{name}"])
    assert after["dynamics_trend"] == pytest.approx(before["dynamics_trend"])


def test_double_tempo(piece: Array) -> None:
    before, after = symbolic_descriptors(piece), symbolic_descriptors(piece * [0.5, 0.5, 1, 1])
    for name in ("note_density", "onset_density"):
        assert after[f"rhythm_{name}"] == pytest.approx(2 * before[f"rhythm_{name}"])
    for name in ("duration", "length_mean", "length_sd", "length_median", "gap_mean"):
        assert after[f"rhythm_{name}"] == pytest.approx(before[f"rhythm_{name}"] / 2)
    kinds = {name.split("_")[0] for name in differing(before, after)}
    assert kinds.isdisjoint({"n", "register", "pitch", "melody", "bass", "texture"})
    assert differing(before, after).isdisjoint({"rhythm_gap_variation", "rhythm_gap_npvi"})


def test_nothing_is_all_zero() -> None:
    d = symbolic_descriptors(np.empty((0, 4)))
    assert list(d) == list(symbolic_descriptors(BASE))
    assert set(d.values()) == {0.0}


@pytest.mark.parametrize(
    "notes",
    [
        BASE,
        BASE * [1, 0, 1, 1],
        np.tile(BASE, (50, 1)),
        np.tile(BASE * [1, 0, 1, 1], (50, 1)),
        block(tuple(range(128))),
        np.vstack([BASE, BASE + np.array([3600, 3600, 0, 0])]),
        np.random.default_rng(0).uniform([0, 40, 0, 1], [30, 60, 127, 127], (20_000, 4)).round(2),
    ],
    ids=["one", "no length", "doubled", "doubled, no length", "cluster", "far apart", "dense"],
)
def test_always_finite_and_named_alike(notes: Array) -> None:
    d = symbolic_descriptors(notes)
    assert list(d) == list(symbolic_descriptors(BASE))
    assert np.isfinite(list(d.values())).all()


def test_key_profile_correlates_perfectly_with_its_own_key() -> None:
    d_minor = np.roll([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17], 2)
    strengths = key_strengths(d_minor)
    assert strengths.shape == (2, 12)
    assert strengths[1, 2] == pytest.approx(1.0)
    assert strengths[1, 2] == strengths.max()
    np.testing.assert_allclose(strengths[1, 5], np.corrcoef(d_minor, np.roll(d_minor, 3))[0, 1])


def test_tritone_is_counted_once() -> None:
    histogram = np.zeros(12)
    histogram[[0, 1, 6]] = 1.0
    np.testing.assert_allclose(interval_classes(histogram), [1 / 3, 0, 0, 0, 1 / 3, 1 / 3])


def test_tonnetz_is_librosas() -> None:
    librosa = load_librosa()
    chroma = np.random.default_rng(0).uniform(size=(12, 20))
    np.testing.assert_allclose(tonnetz(chroma.T).T, librosa.feature.tonnetz(chroma=chroma))


@pytest.mark.parametrize(("bpm", "rate"), [(100, 50.0), (75, 43.0), (150, 100.0)])
def test_pulse_of_a_metronome(bpm: float, rate: float) -> None:
    onsets = np.bincount(np.round(np.arange(0, 30, 60 / bpm) * rate).astype(int))
    tempo, clarity = pulse(onsets, rate)
    assert tempo == pytest.approx(bpm, rel=0.03)
    assert clarity > 0.7


@pytest.mark.parametrize("onsets", [[1.0], [0.0] * 500, [1.0] * 500])
def test_no_pulse_is_zero_or_unclear(onsets: list[float]) -> None:
    tempo, clarity = pulse(onsets, 50.0)
    assert (tempo, clarity) == (0.0, 0.0) or clarity < 0.5


@pytest.fixture(scope="module")
def music() -> Floats:
    """C, F, G7, C in half notes, struck on every beat at 120 per minute, and some noise."""
    rng = np.random.default_rng(0)
    t = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    chords = [(60, 64, 67), (60, 65, 69), (59, 62, 65, 67), (60, 64, 67)] * 2
    beats = [
        sum(
            np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * k * t) / k**2
            for p in chord
            for k in (1, 2, 3)
        )
        * np.exp(-6 * t)
        for chord in chords
        for _ in range(2)
    ]
    y = 0.1 * np.concatenate(beats)
    return (y + 1e-3 * rng.normal(size=len(y))).astype(np.float32)


def test_acoustic_values_are_librosas(music: Floats) -> None:
    librosa = load_librosa()
    frame: dict[str, Any] = {"n_fft": 2048, "hop_length": 512}
    magnitude = np.abs(librosa.stft(music, **frame))
    mel = librosa.feature.melspectrogram(y=music, sr=SAMPLE_RATE, **frame)
    decibels = librosa.power_to_db(mel, ref=magnitude.max() ** 2, top_db=80.0)
    series = {
        "mfcc_3": librosa.feature.mfcc(S=decibels, n_mfcc=20)[3],
        "contrast_2": librosa.feature.spectral_contrast(S=magnitude, sr=SAMPLE_RATE)[2],
        "centroid": librosa.feature.spectral_centroid(S=magnitude, sr=SAMPLE_RATE)[0],
        "bandwidth": librosa.feature.spectral_bandwidth(S=magnitude, sr=SAMPLE_RATE)[0],
        "rolloff": librosa.feature.spectral_rolloff(S=magnitude, sr=SAMPLE_RATE)[0],
        "zero_crossing": librosa.feature.zero_crossing_rate(music)[0],
    }
    d = acoustic_descriptors(music, SAMPLE_RATE)
    for name, values in series.items():
        assert d[f"{name}_mean"] == pytest.approx(values.mean(), rel=1e-3), name
        assert d[f"{name}_sd"] == pytest.approx(values.std(), rel=1e-3), name


def test_acoustic_tempo_key_and_chords(music: Floats) -> None:
    d = acoustic_descriptors(music, SAMPLE_RATE)
    assert d["rhythm_tempo"] == pytest.approx(120.0, rel=0.03)
    assert d["rhythm_onset_density"] == pytest.approx(2.0, rel=0.1)
    assert d["key_mode"] > 0
    assert sum(d[f"key_degree_{i}"] for i in (0, 2, 4, 5, 7, 9, 11)) > 0.7
    assert d["chord_major"] + d["chord_dominant7"] > 0.7


def test_gain_changes_loudness_levels_alone(music: Floats) -> None:
    before = acoustic_descriptors(music, SAMPLE_RATE)
    after = acoustic_descriptors(music * np.float32(0.25), SAMPLE_RATE)
    changed = {n for n in before if not np.isclose(before[n], after[n], rtol=1e-3, atol=1e-3)}
    assert changed == {"loudness_mean", "loudness_p10", "loudness_p90"}
    assert before["loudness_mean"] - after["loudness_mean"] == pytest.approx(12.04, abs=0.01)


@pytest.mark.parametrize(
    "y",
    [
        np.zeros(1, dtype=np.float32),
        np.zeros(SAMPLE_RATE, dtype=np.float32),
        np.ones(SAMPLE_RATE, dtype=np.float32),
        np.random.default_rng(0).normal(size=300).astype(np.float32),
        np.eye(1, 2 * SAMPLE_RATE, 5000, dtype=np.float32)[0],
    ],
    ids=["one sample", "silence", "constant", "short noise", "click"],
)
def test_acoustic_always_finite_and_named_alike(y: Floats, music: Floats) -> None:
    d = acoustic_descriptors(y, SAMPLE_RATE)
    assert list(d) == list(acoustic_descriptors(music, SAMPLE_RATE))
    assert np.isfinite(list(d.values())).all()


@pytest.mark.realdata
def test_descriptors_tell_arousal_on_emopia(data_folder: Path) -> None:
    from mer.features.notes import read_notes

    density: dict[bool, list[float]] = {True: [], False: []}
    for path in sorted((data_folder / "emopia" / "midis").glob("*.mid"))[::10]:
        d = symbolic_descriptors(read_notes(path))
        assert np.isfinite(list(d.values())).all()
        density[path.name[1] in "12"].append(d["rhythm_note_density"])
    assert np.mean(density[True]) > 1.5 * np.mean(density[False])
