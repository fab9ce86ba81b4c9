"""Transposition of notes, tokens and spectra, and systems that train on transposed music."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from torch import nn

from mer.clips import Clip, Corpus
from mer.corpora import load
from mer.errors import ParameterError
from mer.features import compound_words, note_events, spectral, tokens
from mer.features.notes import transposed_pitches
from mer.papers import emopia, transposition
from mer.papers.emopia.systems import SpectrogramNetwork, TokenNetwork
from mer.papers.zhao2023.systems import Multifaceted
from mer.papers.zhu2023.systems import SymbolicAcoustic, mixed, stft
from mer.systems.base import Context
from mer.systems.classical import PitchClassClassifier
from mer.systems.clip_descriptors import pitch_class_shares
from mer.systems.network import SEMITONES, FittedNetwork
from mer.tasks import get_task
from mer.training.supervised import _State

NOTES = np.asarray(
    [[0.0, 0.5, 60, 80], [0.0, 0.7, 64, 70], [0.6, 1.2, 27, 90], [1.0, 2.0, 100, 40]]
)
SMALL: dict[str, Any] = {"embedding": 4, "hidden": 4, "window": 32, "epochs": 2}


def moved(notes: np.ndarray, semitones: int) -> np.ndarray:
    """Notes that are some semitones higher."""
    return notes + np.asarray([0, 0, semitones, 0])


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    """A few composed clips."""
    return load("composed", size=24, duration=8.0)


def test_semitones_are_every_pitch_class_once() -> None:
    assert sorted(k % 12 for k in SEMITONES) == list(range(12))


@pytest.mark.parametrize("semitones", [-5, 0, 6])
def test_transposed_features_are_those_of_transposed_notes(semitones: int) -> None:
    given = moved(NOTES, semitones)
    for feature, transposed in (
        (tokens.midi_like, tokens.transposed_midi_like),
        (note_events.note_events, note_events.transposed_events),
        (compound_words.compound_words, compound_words.transposed_words),
    ):
        np.testing.assert_array_equal(transposed(feature(NOTES), semitones), feature(given))


def test_features_are_not_changed_in_place() -> None:
    events = note_events.note_events(NOTES)
    before = events.copy()
    note_events.transposed_events(events, 3)
    np.testing.assert_array_equal(events, before)


def test_pitches_beyond_the_range_move_by_octaves() -> None:
    found = transposed_pitches(np.asarray([125, 60, 2]), 6)
    assert found.tolist() == [119, 66, 8]
    assert transposed_pitches(np.asarray([125, 60, 2]), -5).tolist() == [120, 55, 9]
    assert transposed_pitches(np.asarray([22, 107]), 1, 22, 107).tolist() == [23, 96]


@pytest.mark.parametrize("semitones", [-5, 3, 6])
def test_transposed_mel_bands_are_near_those_of_higher_sound(semitones: int) -> None:
    def bands(factor: float) -> np.ndarray:
        seconds = np.arange(22050) / 22050
        partials = [np.sin(2 * np.pi * 330 * factor * k * seconds) / k for k in (1, 2, 3, 4, 6, 9)]
        return spectral.log_mel(np.sum(partials, axis=0).astype(np.float32), 22050)[:, 10:30]

    known, given = bands(2 ** (semitones / 12)), bands(1.0)
    found = spectral.transposed_bins(given, spectral.mel_centres(22050, 128), semitones)
    loud = known > known.max() - 30
    assert np.abs(found - known)[loud].mean() < np.abs(given - known)[loud].mean() / 4


def test_bins_without_transposition_are_the_same() -> None:
    values = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float16)
    frequencies = np.linspace(0, 100, 20)
    np.testing.assert_array_equal(spectral.transposed_bins(values, frequencies, 0), values)


def test_branches_are_transposed_as_their_clip(corpus: Corpus) -> None:
    system = Multifaceted(pool=4)
    item = system.item(corpus[0])
    found = system.transposed(item, 2)
    np.testing.assert_array_equal(found.sound["harmony"][2:], item.sound["harmony"][:-2])
    np.testing.assert_array_equal(found.sound["tone color"], item.sound["tone color"])
    np.testing.assert_array_equal(found.times, item.times)
    assert (found.tokens != item.tokens).any()


@pytest.mark.parametrize("feature", [mixed, stft])
def test_domains_are_transposed_together(corpus: Corpus, feature: Any) -> None:
    system = SymbolicAcoustic(acoustic_feature=feature, notes="released", n_mels=32, pool=8)
    item = system.item(corpus[0])
    found = system.transposed(item, 4)
    np.testing.assert_array_equal(found.notes[:, 2], item.notes[:, 2] + 4)
    np.testing.assert_array_equal(found.events[0, 1:], item.events[0, 1:] + 4)
    assert found.feature.dtype == item.feature.dtype
    assert found.feature.shape == item.feature.shape
    assert (found.feature != item.feature).any()
    if feature is mixed:
        bands = found.feature[:32].astype(np.float32)
        cepstrum = spectral.cepstrum(bands, 20)
        np.testing.assert_allclose(found.feature[32:52], cepstrum, atol=0.5)


def test_options_stay_out_of_keys_unless_they_are_used() -> None:
    plain = TokenNetwork()
    assert "transpose_training" not in plain.parameters
    assert replace(plain, transpose_training=True).parameters["transpose_training"] is True
    assert replace(plain, transpose_training=True).differing(plain) == ["transpose_training"]


def test_what_cannot_be_transposed_is_refused(corpus: Corpus) -> None:
    remi = replace(emopia.SYMBOLIC["LSTM-Attn + REMI"], transpose_training=True, **SMALL)  # type: ignore[call-arg]
    with pytest.raises(ParameterError, match="remi cannot be transposed; expected midi_like"):
        remi.fit(corpus, corpus, Context(get_task("V")))
    system = SpectrogramNetwork(feature=spectral.chroma, window=16)
    with pytest.raises(ParameterError, match="chroma cannot be transposed; expected log_mel"):
        system.transposed(np.zeros((12, 20)), 1)


def test_training_sees_other_pitches_and_the_same_validation_clips(corpus: Corpus) -> None:
    seen: list[int] = []

    class Spy(TokenNetwork):
        def transposed(self, item: np.ndarray, semitones: int) -> np.ndarray:
            seen.append(semitones)
            return super().transposed(item, semitones)

    system = Spy(transpose_training=True, **SMALL)
    fitted = system.fit(corpus, corpus, Context(get_task("V")))
    assert len(seen) == 2 * len(corpus)
    assert set(seen) <= {*SEMITONES}
    assert len(set(seen)) > 6
    plain = TokenNetwork(**SMALL).fit(corpus, corpus, Context(get_task("V")))
    assert fitted.history != plain.history


def test_answers_are_the_mean_over_transpositions(corpus: Corpus) -> None:
    fitted = TokenNetwork(**SMALL).fit(corpus, corpus, Context(get_task("V")))
    system = fitted.system
    averaged = FittedNetwork(
        replace(system, transpose_test=True), fitted.network, 2, fitted.device, []
    )
    items = [system.item(clip) for clip in corpus]
    parts = [
        system.predict_items(
            fitted.network, [system.transposed(item, k) for item in items], fitted.device
        )
        for k in SEMITONES
    ]
    found = averaged.predict(corpus)[["p_1", "p_2"]].to_numpy()
    np.testing.assert_allclose(found, np.mean(parts, axis=0))


def test_pitch_class_shares_add_up(corpus: Corpus) -> None:
    shares = pitch_class_shares(corpus[0])
    assert shares.shape == (12,)
    assert shares.sum() == pytest.approx(1)


def test_pitch_class_classifier_does_not_depend_on_the_key(corpus: Corpus) -> None:
    def turned(clip: Clip) -> np.ndarray:
        return np.roll(pitch_class_shares(clip), 5)

    system = PitchClassClassifier(c_grid=(1.0,))
    fitted = system.fit(corpus, corpus, Context(get_task("V")))
    other = replace(fitted, system=replace(system, features=(turned,)))
    found, known = (f.predict(corpus)[["p_1", "p_2"]] for f in (other, fitted))
    np.testing.assert_allclose(found, known)
    with pytest.raises(ParameterError, match="the features have 3 values; expected 12"):
        replace(system, features=(lambda clip: np.zeros(3),)).fit(
            corpus, corpus, Context(get_task("V"))
        )


def test_every_network_of_the_page_can_be_transposed(corpus: Corpus) -> None:
    for name, system in transposition.NETWORKS.items():
        item = system.item(corpus[0])  # type: ignore[attr-defined]
        assert system.transposed(item, 1) is not item, name  # type: ignore[attr-defined]


def test_checkpoints_of_earlier_trainings_are_still_taken() -> None:
    network = nn.Linear(2, 2)
    plain, transposed = TokenNetwork(), TokenNetwork(transpose_training=True)
    assert "transpose_training" not in _State(network, plain, 0).identity
    assert _State(network, transposed, 0).identity["transpose_training"] is True
