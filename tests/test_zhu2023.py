"""Systems of Zhu et al.: aligned windows, losses, heads, clips without notes, storing, learning."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rows
import soundfile
import torch
from conftest import toy_corpus, write_midi
from rows import ROWS, Parts, fitted

from mer import weights
from mer.audio import waveform
from mer.clips import Clip, Corpus, Labels
from mer.errors import ParameterError
from mer.features import spectral
from mer.features.cache import source_of
from mer.features.note_events import FIRST, PAD, START, note_events
from mer.features.notes import read_notes
from mer.models.symbolic_encoder import SymbolicEncoder
from mer.papers.zhu2023 import attention, systems
from mer.papers.zhu2023 import tables as paper
from mer.papers.zhu2023 import tables as zhu2023
from mer.papers.zhu2023.systems import (
    DomainItem,
    SymbolicAcoustic,
    attention_map,
    event_order,
    events_batch,
)
from mer.study.profiles import Profile, get_profile
from mer.study.weights import train_weights
from mer.systems.base import Fitted
from mer.training.windows import window_starts

HEADS = {
    **dict.fromkeys(("Symbolic & Acoustic", "STFT-input", *zhu2023.VARIANTS), ("A", "V")),
    **{"Symbolic-only": ("V",), "Acoustic-only": ("A",), "Single-loss": ()},
}
PROPOSED = "Symbolic & Acoustic"
pytestmark = pytest.mark.usefixtures("perfect_transcriber")


def small(name: str = PROPOSED, **changes: Any) -> SymbolicAcoustic:
    sizes = {"window_seconds": 1.5, "dropout": 0.0}
    return rows.small(name, **{**sizes, **changes})


def one_note_clip(folder: Path, seconds: float) -> Clip:
    """A single loud note, struck at that time, after a very soft one at 0."""
    notes = np.asarray([[0.0, 0.1, 60, 2], [seconds, seconds + 1.0, 72, 120]])
    return Clip("note", "note", midi=write_midi(folder / "note.mid", notes))


def sine_clip(folder: Path, seconds: float, amplitude: float = 0.5) -> Clip:
    samples = amplitude * np.sin(np.arange(int(seconds * 22050)) / 8)
    path = folder / f"{seconds}-{amplitude}.wav"
    soundfile.write(path, samples, 22050)
    return Clip(path.name, path.name, audio=path, labels=Labels(quadrant=1))


class TestRows:
    @pytest.mark.parametrize("name", HEADS)
    def test_published_training_and_heads(self, name: str) -> None:
        system: Any = ROWS[name]
        assert (system.batch_size, system.learning_rate, system.weight_decay) == (64, 1e-4, 0.0)
        assert system.inputs == ("audio + MIDI" if "released" in name else "audio")
        assert (system.head_names(4), system.head_names(2)) == (HEADS[name], ())

    def test_revisions_name_what_the_result_depends_on(self) -> None:
        both = {"rendering", "spectral", "note_events", "symbolic_encoder", "multi_domain"}
        found = {name: set(ROWS[name].revisions) for name in HEADS}
        assert found[PROPOSED] == both | {"transcriber", "encoder_weights"}
        assert found["Symbolic & Acoustic, no pre-training"] == both | {"transcriber"}
        assert found["Symbolic & Acoustic, released MIDI"] == both | {"notes", "encoder_weights"}
        assert found["Acoustic-only"] == {"rendering", "spectral", "multi_domain"}
        assert found["Symbolic-only"] == found[PROPOSED] - {"spectral"}

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"pool": 0}, "pool is 0; expected more than 0"),
            ({"window_seconds": 0.0}, "window_seconds is 0.0; expected more than 0"),
            ({"heads": 3}, "width 16 is no multiple of 3 heads"),
            ({"pretraining": "maestro"}, "pre-trained encoders have .*'width': 512.*'width': 128"),
            ({"epochs": 0}, "epochs is 0"),
        ],
    )
    def test_bad_parameters(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            small(**changes)

    @pytest.mark.parametrize(
        ("seconds", "pool", "steps"), [(10.0, 4, 104), (30.0, 2, 648), (0.1, 1, 8)]
    )
    def test_window_is_a_multiple_of_eight_steps(
        self, seconds: float, pool: int, steps: int
    ) -> None:
        assert small(window_seconds=seconds, pool=pool).window == steps


class TestAcousticFeature:
    def test_means_of_the_mixed_feature(self, tiny: Corpus) -> None:
        found = rows.row("Acoustic-only", pool=3).item(tiny[0]).feature
        whole = spectral.stacked(waveform(tiny[0]), 22050)
        assert found.shape == (150, -(-whole.shape[1] // 3))
        assert found.dtype == np.float16
        np.testing.assert_allclose(found[:, 4], whole[:, 12:15].mean(axis=1), rtol=1e-3, atol=1e-3)

    def test_spectrum_in_decibels(self, tiny: Corpus) -> None:
        found = rows.row("STFT-input", pool=1).item(tiny[0]).feature
        assert found.shape[0] == 513
        power = spectral.power_spectrogram(waveform(tiny[0]))
        np.testing.assert_allclose(found, 10 * np.log10(np.maximum(power, 1e-10)), atol=0.05)

    @pytest.mark.parametrize("seconds", [0.01, 0.2])
    def test_short_audio_goes_on_in_silence(self, tmp_path: Path, seconds: float) -> None:
        feature = small("Acoustic-only", pool=4).item(sine_clip(tmp_path, seconds)).feature
        assert feature.shape[1] >= 8
        assert feature[:20, 0].max() > -80
        assert np.all(feature[:20, -1] == -100)


class TestWindows:
    def item(self) -> DomainItem:
        """Ten steps; three notes in step 0, then one in every second step."""
        onsets = np.asarray([0.0, 0.2, 0.9, 2.0, 4.5, 6.0, 8.999])
        pitches = np.arange(60, 67)
        seconds = onsets * 0.1
        notes = np.stack([seconds, seconds + 0.05, pitches, np.full(7, 64)], axis=1)
        feature = np.arange(10.0)[None].repeat(2, axis=0)
        return DomainItem(10, feature, note_events(notes), notes, onsets)

    def pitches(self, start: int, stop: int) -> list[int]:
        events = events_batch([(self.item(), start, stop)])
        assert events.shape == (1, 5, 32)
        assert torch.all(events[0, :, 0] == START)
        row = events[0, 0, 1:]
        assert torch.all(events[0][:, 1:][:, row == PAD] == PAD)
        return (row[row != PAD] - FIRST).tolist()

    @pytest.mark.parametrize(
        ("start", "stop", "pitches"),
        [
            (0, 1, [60, 61, 62]),
            (1, 2, []),
            (2, 5, [63, 64]),
            (4, 9, [64, 65, 66]),
            (0, 10, list(range(60, 67))),
        ],
    )
    def test_notes_begin_in_the_window(self, start: int, stop: int, pitches: list[int]) -> None:
        assert self.pitches(start, stop) == pitches

    def test_both_domains_come_from_one_window(self) -> None:
        feature, events = SymbolicAcoustic().batch([(self.item(), 0, 4), (self.item(), 6, 10)])
        assert feature[:, 0].tolist() == [[0, 1, 2, 3], [6, 7, 8, 9]]
        assert events[1, 0, 1:3].tolist() == [65 + FIRST, 66 + FIRST]
        assert int((events[:, 0] > PAD).sum()) == 5 + 3

    @pytest.mark.parametrize("seconds", [1.0, 2.5])
    def test_sound_and_note_stand_at_one_step(self, tmp_path: Path, seconds: float) -> None:
        system = small(pool=2)
        item = system.item(one_note_clip(tmp_path, seconds))
        rms = item.feature[-1].astype(float)
        loud = int(np.argmax(rms > 0.5 * rms.max()))
        assert abs(loud - item.onsets[1]) < 1.5
        assert item.onsets[1] == pytest.approx(seconds / system.step_seconds)

    def test_windows_of_a_clip_hold_every_note_once(self, tiny: Corpus) -> None:
        system = small()
        item = system.item(tiny[0])
        length = item.length // 3
        starts = [s for s in window_starts(item.length, length) if s % length == 0]
        windows = [(item, s, s + length) for s in starts] + [(item, 3 * length, item.length)]
        pitch = events_batch(windows)[:, 0]
        assert pitch[pitch >= FIRST].tolist() == (item.notes[:, 2].astype(int) + FIRST).tolist()

    def test_order_of_notes_is_that_of_events(self) -> None:
        rng = np.random.default_rng(0)
        onsets = rng.integers(0, 30, 200) * 0.01 + rng.uniform(0, 0.008, 200)
        notes = np.stack([onsets, onsets + 0.2, rng.integers(21, 109, 200), [64] * 200], axis=1)
        expected = note_events(notes)[0, 1:] - FIRST
        np.testing.assert_array_equal(notes[event_order(notes), 2], expected)
        assert event_order(np.empty((0, 4))).shape == (0,)


class TestLoss:
    @pytest.mark.parametrize(
        ("quadrant", "arousal", "valence"), [(1, 1, 1), (2, 1, 0), (3, 0, 0), (4, 0, 1)]
    )
    def test_by_hand(self, quadrant: int, arousal: int, valence: int) -> None:
        heads = {"A": torch.tensor([2.0]), "V": torch.tensor([-1.0])}
        output = {"label": torch.zeros(1, 4), **heads}
        system = small(arousal_weight=0.5, valence_weight=2.0)
        found = float(system.loss(output, torch.tensor([quadrant - 1])))
        high = {"A": 1 / (1 + np.exp(-2.0)), "V": 1 / (1 + np.exp(1.0))}
        expected = np.log(4)
        expected -= 0.5 * np.log(high["A"] if arousal else 1 - high["A"])
        expected -= 2.0 * np.log(high["V"] if valence else 1 - high["V"])
        assert found == pytest.approx(expected, abs=1e-6)

    def test_two_classes_have_the_label_alone(self) -> None:
        output = {"label": torch.tensor([[0.0, 0.0]])}
        assert float(small().loss(output, torch.tensor([1]))) == pytest.approx(np.log(2))


class TestFitted:
    def test_eight_clips_are_learnt(self, tiny_parts: Parts) -> None:
        train = tiny_parts[0]
        options: dict[str, Any] = {"epochs": 40, "learning_rate": 3e-3, "schedule": "cosine"}
        system = small(**options, batch_size=4, window_seconds=3.0, pool=8)
        model = fitted(system, (train, train, train))
        assert max(row["valid_accuracy"] for row in model.history) == 1.0
        # The sum of three losses, which is 2.8 for guessing
        assert model.history[-1]["train_loss"] < 0.5
        assert model.history[-1]["valid_loss"] < 0.05
        quadrants = np.asarray([clip.labels.quadrant for clip in train])
        predictions = model.predict(train)
        for head, high in (("A", (1, 2)), ("V", (1, 4))):
            said = predictions[f"head_{head}"].to_numpy() > 0.5
            np.testing.assert_array_equal(said, np.isin(quadrants, high))

    def test_standardised_by_the_training_clips(self, tiny_parts: Parts) -> None:
        model = fitted(small("Acoustic-only"), tiny_parts)
        items = model.system.items(tiny_parts[0], training=True)
        frames = np.concatenate([item.feature for item in items], axis=1).astype(float)
        mean = model.network.state_dict()["acoustic.standardise.mean"][:, 0]
        np.testing.assert_allclose(mean, frames.mean(axis=1), rtol=1e-4, atol=1e-4)


class TestPretraining:
    @pytest.fixture
    def stored(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Weights of an encoder that knows nothing; the names under which they are asked for."""
        asked: list[str] = []
        torch.manual_seed(5)
        parameters = SymbolicEncoder().state_dict()

        def load_weights(name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
            asked.append(name)
            return parameters, {}

        monkeypatch.setattr(systems, "load_weights", load_weights)
        return asked

    @pytest.mark.parametrize(
        ("name", "weights"),
        [
            (PROPOSED, ["encoder-maestro"]),
            ("Symbolic-only", ["encoder-maestro"]),
            ("Symbolic & Acoustic, MAESTRO + Pop1K7", ["encoder-maestro-pop1k7"]),
            ("Symbolic & Acoustic, no pre-training", []),
        ],
    )
    def test_training_starts_from_the_weights(
        self, stored: list[str], name: str, weights: list[str]
    ) -> None:
        system: Any = ROWS[name].configured({"width": 128, "heads": 4})
        item = DomainItem(8, feature=np.zeros((150, 8), np.float16))
        network: Any = system.network(4, item)
        before = network.symbolic.embeddings[0].weight.clone()
        system.prepare(network, [item])
        torch.manual_seed(5)
        fresh: Any = SymbolicEncoder()
        after = fresh.embeddings[0].weight if weights else before
        assert stored == weights
        assert torch.equal(network.symbolic.embeddings[0].weight, after)

    def test_published_size_needs_weights_of_its_size(self) -> None:
        system: Any = ROWS[PROPOSED]
        assert (system.width, system.layers, system.heads) == (512, 4, 8)
        assert system.weights == "encoder-maestro-published"
        assert system.lacks == "train the encoder with `mer train encoder-maestro-published`"
        assert system.revisions["encoder_weights"] == 0
        assert ROWS["Acoustic-only"].lacks == ""

    def test_a_stored_system_does_not_need_them(
        self, stored: list[str], tiny_parts: Parts, tmp_path: Path
    ) -> None:
        default = {"width": 128, "layers": 4, "heads": 4, "pretraining": "maestro"}
        model = fitted(small("Symbolic-only", **default), tiny_parts)
        assert stored == ["encoder-maestro"]
        model.save(tmp_path / "stored")
        Fitted.load(tmp_path / "stored").predict(tiny_parts[2])
        assert stored == ["encoder-maestro"]


class TestClipsWithoutNotes:
    @pytest.mark.parametrize("name", [PROPOSED, "Symbolic-only"])
    def test_are_answered_with_a_warning(
        self, name: str, tiny_parts: Parts, tmp_path: Path
    ) -> None:
        model = fitted(small(name), tiny_parts)
        hum, silence = sine_clip(tmp_path, 0.2), sine_clip(tmp_path, 2.0, amplitude=0.0)
        corpus = toy_corpus(tiny_parts[2][0], hum, silence)
        with pytest.warns(UserWarning, match=r"no note was found in 2 of 3 clips, the first is"):
            predictions = model.predict(corpus)
        values = predictions.drop(columns="id").to_numpy()
        assert np.isfinite(values).all()
        np.testing.assert_allclose(values[:, :4].sum(axis=1), 1, atol=1e-6)

    def test_may_be_trained_on(self, tiny_parts: Parts, tmp_path: Path) -> None:
        train = toy_corpus(*tiny_parts[0], sine_clip(tmp_path, 2.0))
        with pytest.warns(UserWarning, match=r"found in 1 of 9 clips, the first is '2\.0-0\.5"):
            fitted(small("Symbolic-only"), (train, tiny_parts[1], tiny_parts[2]))

    def test_acoustic_branch_needs_none(self, tiny_parts: Parts, tmp_path: Path) -> None:
        model = fitted(small("Acoustic-only"), tiny_parts)
        corpus = toy_corpus(sine_clip(tmp_path, 0.2))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.predict(corpus)


class TestAttentionMap:
    @pytest.mark.parametrize("seconds", [1.0, 99.0])
    def test_window_of_a_clip(self, seconds: float, tiny_parts: Parts) -> None:
        system = small(pool=1)
        model, clip = fitted(system, tiny_parts), tiny_parts[2][0]
        found = attention_map(model, clip, start_seconds=seconds)
        length = system.window * system.step_seconds
        last = system.item(clip).length * system.step_seconds - length
        assert found.steps[0] == pytest.approx(min(seconds, last), abs=system.step_seconds)
        np.testing.assert_allclose(np.diff(found.steps), 8 * system.step_seconds)
        heard = read_notes(source_of(clip, "midi"))
        inside = (heard[:, 0] >= found.steps[0]) & (heard[:, 0] < found.steps[0] + length)
        np.testing.assert_array_equal(found.notes, heard[inside])
        n, m = len(found.notes), len(found.steps)
        assert found.acoustic.shape == (2, m, 1 + n)
        assert found.symbolic.shape == (2, 1 + n, m)
        np.testing.assert_allclose(found.acoustic.sum(axis=2), 1, atol=1e-5)
        np.testing.assert_allclose(found.symbolic.sum(axis=2), 1, atol=1e-5)

    def test_only_where_domains_meet(self, tiny_parts: Parts) -> None:
        model = fitted(small("Acoustic-only"), tiny_parts)
        with pytest.raises(ParameterError, match="this system has no cross-domain attention"):
            attention_map(model, tiny_parts[2][0])


class TestPackagedModel:
    def test_is_of_the_size_that_its_file_says(self, tiny_parts: Parts) -> None:
        model = attention.load_fitted()
        assert model.system == get_profile("cpu").sized(PROPOSED, attention.proposed)
        values = model.predict(tiny_parts[2]).drop(columns="id").to_numpy()
        assert values.shape == (4, 6)
        np.testing.assert_allclose(values[:, :4].sum(axis=1), 1, atol=1e-6)

    def test_comes_back_as_it_was_trained(
        self, tiny: Corpus, tiny_parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(weights, "weights_folder", lambda: tmp_path)
        monkeypatch.setattr(attention, "load", lambda name: tiny)
        monkeypatch.setattr(Profile, "sized", lambda profile, name, system: small(name))
        train_weights(attention.WEIGHTS, folder=tmp_path, trainers=attention.TRAINERS)
        loaded = attention.load_fitted()
        assert loaded.system == small()
        models = (loaded, fitted(small(), tiny_parts))
        found, expected = (model.predict(tiny_parts[2]).set_index("id") for model in models)
        # Stored with half the digits
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_acoustic_encoder_is_that_of_table_1() -> None:
    styler: Any = paper.acoustic_encoder_table()
    table = styler.data
    assert list(table.index) == ["conv1", "conv2", "conv3"]
    columns = ("Channel", "Kernel Size", "Stride", "Maxpooling")
    assert list(table) == [f"{c}, {whose}" for c in columns for whose in ("published", "here")]
    for column in columns:
        assert list(table[f"{column}, here"]) == list(table[f"{column}, published"])
