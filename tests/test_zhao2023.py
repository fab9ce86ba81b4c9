"""Systems of Zhao and Yoshii: windows, clips without notes, gain, storing, learning, attention."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rows
import soundfile
import torch
from conftest import toy_corpus, write_midi
from numpy.testing import assert_allclose
from rows import ROWS, Parts, fitted

from mer.audio import waveform
from mer.clips import Clip, Corpus, Labels
from mer.errors import InvalidDataError, ParameterError
from mer.features import spectral, tokens
from mer.features.notes import read_notes
from mer.papers.zhao2023.attention import (
    NOTHING,
    answers_without,
    attention_weights,
    factor_means,
)
from mer.papers.zhao2023.systems import FACTORS, FactorItem, Multifaceted, tokens_batch
from mer.papers.zhao2023.tables import TABLE_III
from mer.systems.network import FittedNetwork
from mer.tasks import get_task
from mer.training.windows import window_length, window_starts

FULL, SYMBOLIC, HARMONY = "Multifaceted", "Symbolic branch", "Harmony branch"
JOINED = "Without MHSA"
SIZES: dict[str, Any] = {"window_seconds": 1.5, "pool": 1, "width": 16}


def small(name: str = FULL, **changes: Any) -> Multifaceted:
    return rows.small(name, **{**SIZES, **changes})


def recorded(clip: Clip, folder: Path, gain: float) -> Clip:
    """The clip with a recording: its rendering, louder or softer."""
    path = folder / f"{clip.id}-{gain}.wav"
    soundfile.write(path, gain * waveform(clip), 22050, subtype="FLOAT")
    return Clip(clip.id, clip.group, path, clip.midi, clip.labels)


def one_clip(folder: Path, notes: np.ndarray, name: str = "clip") -> Clip:
    path = write_midi(folder / f"{name}.mid", notes)
    return Clip(name, name, midi=path, labels=Labels(quadrant=1))


class TestRows:
    @pytest.mark.parametrize("name", TABLE_III.all_rows)
    def test_factors_and_inputs(self, name: str, tiny: Corpus) -> None:
        system = small(name)
        kinds = {"MIDI": "symbolic" in system.factors, "audio": system.factors != ("symbolic",)}
        assert set(system.inputs.split(" + ")) == {kind for kind, used in kinds.items() if used}
        network, inputs, pictures = system.example(tiny[0])
        assert tuple(network.branches) == tuple(pictures) == system.factors  # type: ignore[arg-type]
        assert network.eval()(*inputs).shape == (1, 4)
        several = len(system.factors) > 1 and name != JOINED
        assert (network.attention is not None) == several

    def test_revisions_name_what_the_result_depends_on(self) -> None:
        sound = {"rendering", "spectral", "multifaceted"}
        symbols = {"notes", "tokens", "token_gru", "multifaceted"}
        assert set(ROWS[HARMONY].revisions) == sound
        assert set(ROWS[SYMBOLIC].revisions) == symbols
        assert set(ROWS[FULL].revisions) == sound | symbols

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"pool": 0}, "pool is 0; expected more than 0"),
            ({"heads": 3}, "width 16 is no multiple of 3 heads"),
            ({"epochs": 0}, "epochs is 0"),
            ({"factors": ()}, "factors are"),
            ({"factors": ("harmony", "symbolic")}, "expected some of .* in order"),
        ],
    )
    def test_bad_parameters(self, changes: dict[str, Any], message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            small(**changes)


class TestFeatures:
    def test_chromagram_and_mfccs(self, tiny: Corpus) -> None:
        found = small(pool=3).item(tiny[0]).sound
        y = waveform(tiny[0])
        chroma = spectral.chroma(y, 22050, n_fft=2048)
        mfcc = spectral.mfcc(y, 22050, n_mfcc=25, n_fft=2048)
        steps = -(-chroma.shape[1] // 3)
        assert [array.shape for array in found.values()] == [(12, steps), (25, steps)]
        assert_allclose(found["harmony"][:, 4], chroma[:, 12:15].mean(axis=1), atol=1e-3)
        mean = mfcc[:, 12:15].mean(axis=1)
        assert_allclose(found["tone color"][:, 4], mean, rtol=1e-3, atol=0.1)

    def test_features_of_ones_own(self, tiny_parts: Parts) -> None:
        def flat(samples: np.ndarray, sample_rate: int, *, hop_length: int) -> np.ndarray:
            return np.full((7, 1 + len(samples) // hop_length), float(sample_rate))

        system = small("Harmony + tone color", tone_color_feature=flat)
        model = fitted(system, tiny_parts)
        item = system.item(tiny_parts[2][0])
        assert item.sound["tone color"].shape == (7, item.length)
        assert np.isfinite(model.predict(tiny_parts[2]).iloc[:, 1:].to_numpy()).all()
        wrong = small(HARMONY, harmony_feature=flat)
        with pytest.raises(ParameterError, match=r"harmony is an array of shape \(7.*12 bins and"):
            wrong.item(tiny_parts[2][0])

    def test_tokens_stand_at_their_time(self, tmp_path: Path) -> None:
        notes = np.asarray([[0.5, 0.7, 60, 64], [2.0, 2.1, 72, 120]])
        item = small(SYMBOLIC).item(one_clip(tmp_path, notes))
        onsets = item.times[(item.tokens >= 2) & (item.tokens < 130)]
        assert_allclose(onsets * small().step_seconds, [0.5, 2.0])

    def test_gain_changes_only_the_first_mfcc(self, tiny: Corpus, tmp_path: Path) -> None:
        soft, loud = (small().item(recorded(tiny[0], tmp_path, g)).sound for g in (0.25, 0.5))
        heard = soft["tone color"][0] > -900  # mel bands far above the floor of -100 dB
        assert_allclose(loud["harmony"][:, heard], soft["harmony"][:, heard], atol=0.01)
        difference = (loud["tone color"] - soft["tone color"])[:, heard].astype(float)
        assert_allclose(difference[0].max(), 6.02 * np.sqrt(128), rtol=0.02)


class TestWindows:
    def item(self) -> FactorItem:
        sound = {"harmony": np.arange(10.0)[None].repeat(12, axis=0)}
        sound["tone color"] = np.arange(10.0)[None].repeat(25, axis=0)
        times = np.asarray([0.0, 0.0, 0.9, 2.0, 4.5, 9.9])
        return FactorItem(10, sound, np.arange(10, 16), times)

    @pytest.mark.parametrize(
        ("start", "stop", "expected"),
        [(0, 1, [10, 11, 12]), (1, 2, []), (2, 5, [13, 14]), (0, 10, list(range(10, 16)))],
    )
    def test_tokens_of_a_window(self, start: int, stop: int, expected: list[int]) -> None:
        batch = tokens_batch([self.item().window(start, stop)])
        assert batch.shape == (1, 32)
        assert batch[0][batch[0] != tokens.PAD].tolist() == [tokens.START, *expected]

    def test_all_branches_see_one_window(self) -> None:
        notes, chroma, mfcc = small().batch([(self.item(), 0, 4), (self.item(), 6, 10)])
        assert (chroma.shape, mfcc.shape) == ((2, 12, 4), (2, 25, 4))
        assert chroma[:, 0].tolist() == mfcc[:, 24].tolist() == [[0, 1, 2, 3], [6, 7, 8, 9]]
        assert notes[1, :2].tolist() == [tokens.START, 15]

    def test_windows_of_a_clip_hold_every_token_once(self, tiny: Corpus) -> None:
        item = small().item(tiny[0])
        length = item.length // 3
        ends = [0, length, 2 * length, item.length]
        windows = [item.window(*pair) for pair in pairwise(ends)]
        batch = tokens_batch(windows)[:, 1:]
        assert batch[batch != tokens.PAD].tolist() == item.tokens.tolist()

    def test_prediction_is_the_mean_over_the_windows(self, tiny_parts: Parts) -> None:
        model = fitted(small(), tiny_parts)
        system, clip = model.system, tiny_parts[2][0]
        item = system.item(clip)
        length = window_length(item.length, system.window)
        starts = window_starts(item.length, length)
        assert len(starts) > 1
        found = []
        with torch.inference_mode():
            for start in starts:
                inputs = system.batch([(item, start, start + length)])
                found.append(torch.softmax(model.network(*inputs), dim=1)[0].numpy())
        values = model.predict(toy_corpus(clip)).iloc[0, 1:].to_numpy(float)
        assert_allclose(values, np.mean(found, axis=0), atol=0.02)

    def test_clips_of_like_density_share_a_batch(self) -> None:
        items = [
            FactorItem(64, {}, np.full(n, 5), np.linspace(0, 63, n))
            for n in (5, 200, 6, 210, 7, 220, 8, 230)
        ]
        system, rng = small(SYMBOLIC, batch_size=4), np.random.default_rng(0)
        batches = system._training_batches(items, np.zeros(8, dtype=np.int64), rng)
        filled = sorted(int((x[0] != tokens.PAD).sum()) for x, _ in batches)
        assert filled[0] == 4 + 5 + 6 + 7 + 8


class TestFitted:
    @pytest.mark.parametrize(("name", "rate", "least"), [(FULL, 3e-3, 7), (SYMBOLIC, 5e-3, 8)])
    def test_overfits_eight_clips(
        self, name: str, rate: float, least: int, tiny_parts: Parts
    ) -> None:
        train = tiny_parts[0]
        training = {"epochs": 60, "patience": 60, "batch_size": 4, "learning_rate": rate}
        sizes = {"hidden": 16, "width": 32, "classifier": 32, "dropout": 0.0}
        system = small(name, window_seconds=3.5, pool=4, **training, **sizes)
        model = fitted(system, (train, train, train))
        assert model.history[-1]["train_loss"] < 0.2
        # Batch norm answers a little differently once its statistics are fixed.
        answers = model.predict(train).iloc[:, 1:].to_numpy().argmax(axis=1)
        assert (answers == get_task("4Q").targets(train)).sum() >= least


@pytest.fixture(scope="module")
def model(tiny_parts: Parts) -> FittedNetwork:
    return fitted(small(), tiny_parts)


@pytest.fixture(scope="module")
def long_windows(tiny_parts: Parts) -> FittedNetwork:
    """A model that sees whole clips."""
    return fitted(small(window_seconds=60.0), tiny_parts)


class TestUnusualClips:
    def test_no_notes(self, tiny_parts: Parts, tmp_path: Path) -> None:
        bare = one_clip(tmp_path, np.empty((0, 4)))
        symbolic = fitted(small(SYMBOLIC), tiny_parts)
        with pytest.warns(UserWarning, match="1 of 2 clips have no notes, the first is 'clip'"):
            values = symbolic.predict(toy_corpus(tiny_parts[2][0], bare)).iloc[:, 1:].to_numpy()
        assert_allclose(values.sum(axis=1), 1, atol=1e-6)

    def test_no_notes_but_sound(
        self, model: FittedNetwork, tiny_parts: Parts, tmp_path: Path
    ) -> None:
        bare, heard = one_clip(tmp_path, np.empty((0, 4))), tiny_parts[2][0]
        both = Clip("both", "both", recorded(heard, tmp_path, 0.5).audio, bare.midi)
        with pytest.warns(UserWarning, match="1 of 1 clips have no notes"):
            assert np.isfinite(model.predict(toy_corpus(both)).iloc[:, 1:].to_numpy()).all()
        with pytest.raises(InvalidDataError, match=r"expected a .*MIDI file with notes"):
            model.predict(toy_corpus(bare))

    def test_one_note_and_long_clips(self, model: FittedNetwork, tmp_path: Path) -> None:
        one = one_clip(tmp_path, np.asarray([[0.0, 0.1, 60, 80]]), "one")
        onsets = np.arange(0, 12, 0.2)
        many = np.stack([onsets, onsets + 0.1, np.full(60, 62.0), np.full(60, 70.0)], axis=1)
        long = one_clip(tmp_path, many, "long")
        predictions = model.predict(toy_corpus(one, long))
        assert np.isfinite(predictions.iloc[:, 1:].to_numpy()).all()
        item = model.system.item(long)
        assert len(window_starts(item.length, model.system.window)) >= 8
        assert long.midi is not None
        assert len(item.tokens) == len(tokens.midi_like(read_notes(long.midi))) - 1


class TestAttention:
    def test_weights_of_clips(self, model: FittedNetwork, tiny_parts: Parts) -> None:
        found = attention_weights(model, list(tiny_parts[2]))
        assert list(found) == ["id", "head", "from", *FACTORS]
        assert len(found) == len(tiny_parts[2]) * 4 * 3
        assert_allclose(found[[*FACTORS]].sum(axis=1), 1, atol=0.01)
        assert found["id"].unique().tolist() == tiny_parts[2].ids

    def test_one_window_by_hand(self, long_windows: FittedNetwork, tiny_parts: Parts) -> None:
        system, clip, network = long_windows.system, tiny_parts[2][0], long_windows.network
        item = system.item(clip)
        length = window_length(item.length, system.window)
        windows = [(item, s, s + length) for s in window_starts(item.length, length)]
        with torch.inference_mode():
            weights = network.attention_weights(*system.batch(windows)).mean(dim=0)  # type: ignore[operator]
        found: Any = attention_weights(long_windows, [clip]).set_index(["head", "from"])
        expected = float(weights[1, 2, 0])
        assert found.loc[(2, "tone color"), "symbolic"] == pytest.approx(expected, abs=0.01)

    def test_nothing_removed_is_the_prediction(
        self, model: FittedNetwork, tiny_parts: Parts
    ) -> None:
        test, means = tiny_parts[2], factor_means(model, list(tiny_parts[0]))
        assert means.shape == (3, 16)
        found = answers_without(model, list(test), means)
        assert list(found) == ["id", "removed", "p_1", "p_2", "p_3", "p_4"]
        assert found["removed"].tolist() == [NOTHING, *FACTORS] * len(test)
        whole = found[found["removed"] == NOTHING].drop(columns="removed")
        expected = model.predict(test)
        assert whole["id"].tolist() == expected["id"].tolist()
        assert_allclose(whole.iloc[:, 1:], expected.iloc[:, 1:], atol=5e-3)

    def test_a_clips_own_feature_in_its_place_changes_nothing(
        self, long_windows: FittedNetwork, tiny_parts: Parts
    ) -> None:
        clips = [tiny_parts[2][0]]
        own, other = (
            answers_without(long_windows, clips, means).iloc[:, 2:].to_numpy()
            for means in (factor_means(long_windows, clips), np.full((3, 16), 3.0))
        )
        assert_allclose(own, np.broadcast_to(own[0], own.shape), atol=0.02)
        assert np.abs(other[1:] - other[0]).max() > np.abs(own[1:] - own[0]).max()

    def test_only_where_factors_attend(self, tiny_parts: Parts) -> None:
        joined, clips = fitted(small(JOINED), tiny_parts), list(tiny_parts[2])
        for function in (attention_weights, factor_means):
            with pytest.raises(ParameterError, match="this system has no self-attention to show"):
                function(joined, clips)
