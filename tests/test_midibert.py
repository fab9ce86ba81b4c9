"""MidiBERT: the encoder against plain equations, its sizes, and the fine-tuned systems."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rows
import torch
from conftest import random_fields, toy_corpus, write_midi
from rows import Parts, fitted
from torch import Tensor, nn

from mer import weights
from mer.clips import Clip, Corpus, Labels
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.features.compound_words import FIRST, PAD, SIZES, key_classes, velocity_classes
from mer.features.notes import read_notes
from mer.models.emomucs import parameter_count
from mer.models.layers import AttentionPooling
from mer.models.midibert import (
    ENCODERS,
    MAX_LENGTH,
    DistanceAttention,
    MidiBert,
    MultiTaskClassifier,
    Positions,
    RotaryAttention,
    SequenceClassifier,
)
from mer.models.symbolic_encoder import SelfAttention
from mer.papers.zhao2023 import midibert as systems
from mer.papers.zhao2023.midibert import MidiBERT
from mer.papers.zhao2023.tables import LANGUAGE_MODELS

TINY: dict[str, Any] = {"width": 32, "layers": 2, "heads": 2, "feedforward": 48, "embedding": 8}


def random_words(batch: int, length: int) -> Tensor:
    return torch.from_numpy(random_fields(SIZES, FIRST, batch, length))


def encoder(positions: Positions = "rotary") -> MidiBert:
    torch.manual_seed(0)
    network = MidiBert(**TINY, positions=positions).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network


def scores_by_hand(layer: SelfAttention, query: Tensor, keys: Tensor, i: int) -> Tensor:
    """Products of query i, four components, and the keys, which depend on their distances."""
    distances = i - torch.arange(len(keys))
    if isinstance(layer, DistanceAttention):
        apart = layer.distances.weight[distances + MAX_LENGTH - 1]
        return keys @ query + apart @ query + (keys * apart).sum(dim=1)
    first, second = (torch.complex(x[..., :2], x[..., 2:]) for x in (query, keys))
    turns = torch.exp(1j * distances[:, None] * torch.tensor([1.0, 0.01]))
    return (first * turns * second.conj()).real.sum(dim=1)


class TestEncoder:
    def test_published_size(self) -> None:
        published = ENCODERS["published"]
        none, one = (parameter_count(MidiBert(**{**published, "layers": n})) for n in (0, 1))
        assert none + published["layers"] * (one - none) == 86_673_920
        assert parameter_count(MidiBert(**ENCODERS["small"])) == 837_504

    def test_embeddings_are_joined_and_projected(self) -> None:
        network, words = encoder(), random_words(3, 11)
        with torch.no_grad():
            fields = [t(words[:, k]) for k, t in enumerate(network.tables)]
            expected = network.merge(torch.cat(fields, dim=2))
            torch.testing.assert_close(network.embedded(words), expected)

    @pytest.mark.parametrize("length", [1, 2, 7])
    @pytest.mark.parametrize("kind", [DistanceAttention, RotaryAttention])
    def test_attention_by_hand(self, kind: type[SelfAttention], length: int) -> None:
        torch.manual_seed(1)
        layer, states = kind(12, 3), torch.randn(2, length, 12)
        if isinstance(layer, DistanceAttention):
            nn.init.normal_(layer.distances.weight)
        with torch.no_grad():
            query, key, value = layer.projection(states).view(2, length, 3, 3, 4).unbind(dim=2)
            mixed = torch.zeros(2, length, 3, 4)
            for b, h, i in np.ndindex(2, 3, length):
                scores = scores_by_hand(layer, query[b, i, h], key[b, :, h], i)
                mixed[b, i, h] = (scores / 2).softmax(dim=0) @ value[b, :, h]
            expected = layer.output(mixed.flatten(2))
            torch.testing.assert_close(layer(states, None), expected, rtol=1e-4, atol=1e-5)
        # With gradients rotary attention is computed in another way.
        torch.testing.assert_close(layer(states, None), expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("positions", ["rotary", "distances"])
    def test_only_distances_count(self, positions: Positions) -> None:
        words = random_words(1, 1).expand(1, 4, 9)
        with torch.no_grad():
            states = encoder(positions)(words)
        assert states.std(dim=1).max() < 1e-5


class TestClassifiers:
    def test_pooling_by_hand(self) -> None:
        torch.manual_seed(0)
        pooling, states = AttentionPooling(6, 5, 3), torch.randn(2, 7, 6)
        hidden, hops = (pooling.scores[k].get_parameter("weight").detach() for k in (0, 2))
        expected = []
        for row in states:
            scores = torch.tanh(row @ hidden.T) @ hops.T
            expected.append((scores.exp() / scores.exp().sum(dim=0)).T @ row)
        with torch.no_grad():
            torch.testing.assert_close(pooling(states), torch.stack(expected).flatten(1))

    def test_published_head(self) -> None:
        network = SequenceClassifier(MidiBert(**TINY), 4)
        head = 32 * 128 + 128 * 4 + (4 * 32 * 256 + 256) + (256 * 4 + 4)
        assert parameter_count(network) - parameter_count(network.encoder) == head

    def test_other_tasks_by_hand(self) -> None:
        network = MultiTaskClassifier(encoder(), 4)
        with torch.no_grad():
            for head in (network.key, network.velocity):
                for parameter in head[2].parameters():
                    parameter.zero_()
            network.key[2].get_parameter("bias")[3] = 1.0
            found = network(random_words(2, 5), torch.zeros(2, 5).long(), torch.tensor([3, 4]))
        assert float(found["velocity"]) == pytest.approx(math.log(6))
        assert float(found["key"]) == pytest.approx(math.log(23 + math.e) - 0.5)
        assert found["label"].shape == (2, 4)


@pytest.fixture
def tiny_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the small encoder, a smaller one."""
    positions = {"small": "rotary", "published": "distances"}
    sizes = {name: {**TINY, "positions": known} for name, known in positions.items()}
    monkeypatch.setattr(systems, "ENCODERS", sizes)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_size: None) -> Path:
    """A folder of weights with one pre-trained encoder, in place of the package's."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr(weights, "weights_folder", lambda: folder)
    weights._index.cache_clear()
    path = folder / "midibert-small.pt"
    weights.write_weights(path, encoder().state_dict(), {"seed": "0"})
    weights.register(path, "mer train midibert-small")
    return folder


def small(name: str = "MidiBERT, no pre-training", **changes: Any) -> MidiBERT:
    pretraining = LANGUAGE_MODELS[name].pretraining  # type: ignore[attr-defined]
    return rows.small(name, **{"pretraining": pretraining, "window": 16, **changes})


class TestSystems:
    def test_published_training(self) -> None:
        system = MidiBERT()
        assert (system.batch_size, system.learning_rate, system.epochs) == (12, 2e-5, 10)
        assert (system.encoder_size, system.window) == ("published", 512)
        assert (system.schedule, system.pretraining) == ("constant", "midibert")

    def test_bad_window(self) -> None:
        with pytest.raises(ParameterError, match="window is 513; expected 1-512 words"):
            small(window=513)

    @pytest.mark.usefixtures("folder")
    def test_revisions_follow_the_weights(self) -> None:
        assert "encoder_weights" not in small().revisions
        assert small("MidiBERT").revisions["encoder_weights"] == 1
        assert small("QM-MidiBERT").revisions["encoder_weights"] == 0

    @pytest.mark.usefixtures("folder")
    @pytest.mark.parametrize("name", ["MidiBERT", "MT-MidiBERT"])
    def test_training_starts_from_the_weights(self, name: str) -> None:
        network: Any = small(name).network(4, np.empty(0))
        small(name).prepare(network, [])
        expected = encoder().state_dict()
        for key, value in network.encoder.state_dict().items():
            torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-3)

    @pytest.mark.usefixtures("folder")
    @pytest.mark.parametrize(
        ("name", "size", "missing"),
        [
            ("QM-MidiBERT", "small", "qm-midibert-small"),
            ("MidiBERT", "published", "midibert-published"),
        ],
    )
    def test_encoder_that_was_not_pretrained(
        self, name: str, size: str, missing: str, tiny_parts: Parts
    ) -> None:
        message = f"'{missing}' is not there; train it: mer train {missing}, or .* 'none'"
        with pytest.raises(MissingDataError, match=message):
            fitted(small(name, encoder_size=size), tiny_parts)
        fitted(small(name, encoder_size=size, pretraining="none"), tiny_parts)

    def test_file_that_is_gone(self, folder: Path, tiny_parts: Parts) -> None:
        (folder / "midibert-small.pt").unlink()
        with pytest.raises(MissingDataError, match=r"does not exist.*mer train midibert-small"):
            fitted(small("MidiBERT"), tiny_parts)

    @pytest.mark.usefixtures("tiny_size")
    @pytest.mark.parametrize("name", ["MidiBERT", "MT-MidiBERT"])
    def test_eight_clips_are_learnt(self, name: str, tiny_parts: Parts) -> None:
        train = tiny_parts[0]
        training = {"epochs": 25, "batch_size": 4, "learning_rate": 5e-3, "schedule": "cosine"}
        system = small(name, pretraining="none", dropout=0.0, patience=25, window=32, **training)
        model = fitted(system, (train, train, train))
        assert max(row["valid_accuracy"] for row in model.history) == 1.0
        assert model.history[-1]["valid_loss"] < 0.1

    def test_other_tasks_are_read_off_the_music(self, tiny: Corpus) -> None:
        system, clip = small("MT-MidiBERT"), tiny[0]
        item = system.item(clip)
        assert clip.midi is not None
        np.testing.assert_array_equal(item[4], velocity_classes(read_notes(clip.midi)))
        words, velocities, keys = system.batch([(item, 0, 12), (item, 4, 16)])
        assert words.shape == (2, 4, 12)
        np.testing.assert_array_equal(words[1], item[:4, 4:16])
        np.testing.assert_array_equal(velocities[1], item[4, 4:16])
        np.testing.assert_array_equal(keys, key_classes(words.numpy()))

    def test_losses_are_added_with_their_weights(self) -> None:
        system = small("MT-MidiBERT", key_weight=0.5, velocity_weight=2.0)
        output = {"label": torch.zeros(2, 4), "key": torch.tensor(3.0), "velocity": torch.ones(())}
        found = system.loss(output, torch.tensor([0, 3]))
        assert float(found) == pytest.approx(math.log(4) + 1.5 + 2.0)


@pytest.mark.usefixtures("tiny_size")
class TestOddClips:
    def clip(self, folder: Path, n_notes: int) -> Clip:
        onsets = np.arange(n_notes) * 0.1
        notes = np.stack([onsets, onsets + 0.1, 60 + np.arange(n_notes) % 12, onsets + 64], axis=1)
        path = write_midi(folder / f"{n_notes}.mid", notes[:, :4].clip(max=127))
        return Clip(f"{n_notes} notes", "x", midi=path, labels=Labels(quadrant=1))

    @pytest.mark.parametrize("name", ["MidiBERT, no pre-training", "MT-MidiBERT"])
    def test_no_note_one_note_and_many(self, name: str, tiny_parts: Parts, tmp_path: Path) -> None:
        model = fitted(small(name, pretraining="none"), tiny_parts)
        clips = [self.clip(tmp_path, n) for n in (0, 1, 3, 700)]
        assert (model.system.item(clips[0])[:4] == PAD).all()
        with pytest.warns(UserWarning, match="1 of 4 clips have no notes, the first is '0 notes'"):
            predictions = model.predict(toy_corpus(*clips))
        found = predictions.drop(columns="id").to_numpy()
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)

    def test_training_needs_notes(self, tiny_parts: Parts, tmp_path: Path) -> None:
        train, valid, test = tiny_parts
        one = toy_corpus(*train, self.clip(tmp_path, 1))
        fitted(small(), (one, valid, test))
        none = toy_corpus(*train, self.clip(tmp_path, 0))
        with pytest.raises(InvalidDataError, match="'0 notes' has no notes; training needs some"):
            fitted(small(), (none, valid, test))
