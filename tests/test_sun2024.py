"""Systems of Sun et al. 2024: segments, decisions on clips, own features, 2-Stage, bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from torch import nn

from mer.clips import Clip, Corpus, Labels
from mer.errors import InvalidDataError, ParameterError
from mer.features.aggregation import song_statistics
from mer.models.two_stage import SegmentAutoencoder, SequenceClassifier
from mer.papers.sun2024.systems import FittedSegments, SegmentClassifier, majority_vote
from mer.papers.sun2024.tables import NETWORKS
from mer.papers.sun2024.two_stage import (
    TwoStage,
    classify,
    random_masks,
    segment_codes,
    train_encoder,
)
from mer.segments import segment_count
from mer.study.profiles import NAMES as PROFILES
from mer.study.profiles import get_profile
from mer.systems.base import Context, Fitted
from mer.tasks import get_task

RATE = 22050
CPU = torch.device("cpu")
INPUT: dict[str, Any] = {"n_mels": 32, "batch_size": 8, "learning_rate": 3e-3, "epochs": 3}
NETWORK: dict[str, Any] = {**INPUT, "width": 1 / 32}
SEGMENTS: dict[str, Any] = {**NETWORK, "duration": 1.0}
TINY: dict[str, dict[str, Any]] = {
    "SSSL": {**SEGMENTS, "warm_up": 1},
    "SSSL, no KL": {**SEGMENTS, "warm_up": 1},
    "Segment inheritance": SEGMENTS,
    "Segment inheritance, SVM": SEGMENTS,
    "VGG16, whole clip": {**NETWORK, "duration": 4.0},
    "2-Stage": {
        **INPUT,
        **{"code": 8, "channels": 4, "hidden": 8},
        **{"encoder_epochs": 5, "encoder_batch_size": 8, "encoder_learning_rate": 3e-3},
    },
}
Parts = tuple[Corpus, Corpus, Corpus]


def levels(samples: np.ndarray, sample_rate: int, hop_length: int) -> np.ndarray:
    """Mean and largest amplitude of each frame."""
    frames = np.abs(samples[: len(samples) // hop_length * hop_length].reshape(-1, hop_length))
    return np.stack([frames.mean(axis=1), frames.max(axis=1)])


class Plain(nn.Module):
    """A network that refuses empty batches."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.layer = nn.Linear(2, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert len(x)
        logits: torch.Tensor = self.layer(self.norm(x).mean(dim=2))
        return logits


def toy_clip(folder: Path, number: int, *, seconds: float = 3.2, gain: float = 1.0) -> Clip:
    """Louder for high arousal, low-passed for low valence."""
    rng = np.random.default_rng(number)
    quadrant = number % 4 + 1
    samples = rng.normal(size=round(seconds * RATE)) * (0.1 if quadrant in (1, 2) else 0.004)
    if quadrant in (2, 3):
        samples = np.convolve(samples, np.ones(16) / 16, mode="same")
    path = folder / f"{number}-{seconds}-{gain}.wav"
    soundfile.write(path, (gain * samples).astype(np.float32), RATE, subtype="FLOAT")
    labels = Labels(quadrant=quadrant, cluster=number % 5 + 1)
    return Clip(f"clip-{number}", f"song-{number}", audio=path, labels=labels)


def corpus(clips: list[Clip]) -> Corpus:
    return Corpus("toy", clips, licence="-", citation="-")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    folder = tmp_path_factory.mktemp("audio")
    clips = [toy_clip(folder, number) for number in range(20)]
    return corpus(clips[:12]), corpus(clips[12:16]), corpus(clips[16:])


def tiny(name: str, **changes: Any) -> Any:
    return NETWORKS[name].configured({**TINY[name], **changes})


def fitted(name: str, parts: Parts, *, task: str = "4Q", **changes: Any) -> Any:
    context = Context(get_task(task), device="cpu")
    return tiny(name, **changes).fit(parts[0], parts[1], context)


@pytest.fixture(scope="module")
def learned(parts: Parts) -> FittedSegments:
    """SSSL on all segments."""
    found: FittedSegments = fitted("SSSL", parts)
    return found


def values(predictions: pd.DataFrame) -> np.ndarray:
    return predictions.filter(regex="^p_[0-9]").to_numpy()


class TestRows:
    def test_published_settings(self) -> None:
        system = SegmentClassifier()
        assert (system.n_mels, system.n_fft, system.hop_length) == (128, 1024, 512)
        assert (system.width, system.segments_per_epoch) == (1.0, None)
        assert (system.threshold, system.temperature, system.mixup) == (0.5, 0.5, 4.0)

    @pytest.mark.parametrize("profile", PROFILES)
    def test_rows_differ_in_what_their_names_say(self, profile: str) -> None:
        sizes = get_profile(profile)
        built = {name: sizes.sized(name, system).parameters for name, system in NETWORKS.items()}
        assert {**built["SSSL"], "kl_weight": 0.0} == built["SSSL, no KL"]
        without = {**built["SSSL"], "learning": "inherited"}
        assert without == built["Segment inheritance, SVM"]
        assert {**without, "decision": "vote"} == built["Segment inheritance"]

    def test_revisions_are_those_of_what_counts(self) -> None:
        names = {name: set(system.revisions) for name, system in NETWORKS.items()}
        shared = {"rendering", "spectral"}
        assert names["SSSL"] == shared | {"vgg", "aggregation", "self_learning"}
        assert names["Segment inheritance, SVM"] == shared | {"vgg", "aggregation"}
        assert names["VGG16, whole clip"] == shared | {"vgg"}
        assert names["2-Stage"] == shared | {"two_stage"}

    def test_inheritance_differs_in_the_decision_only(self, parts: Parts) -> None:
        majority, machine = (
            fitted(name, parts) for name in ("Segment inheritance", "Segment inheritance, SVM")
        )
        assert majority.history == machine.history
        networks = (found.network.parameters() for found in (majority, machine))
        assert all(map(torch.equal, *networks))

    def test_hears_loudness(self, parts: Parts) -> None:
        for name, epochs in (("SSSL", 8), ("Segment inheritance", 8), ("2-Stage", 30)):
            predictions = fitted(name, parts, task="A", epochs=epochs).predict(parts[2])
            assert values(predictions).argmax(axis=1).tolist() == [1, 1, 0, 0], name

    def test_feature_and_network_of_ones_own(self, parts: Parts, tmp_path: Path) -> None:
        own = replace(tiny("SSSL", epochs=2), feature=levels, model=Plain)
        assert own.parameters["feature"]["name"] == "levels"
        found = own.fit(parts[0], parts[1], Context(get_task("A"), device="cpu"))
        assert found.network.network.layer.in_features == 2
        found.save(tmp_path)
        predictions = found.predict(parts[2])
        pd.testing.assert_frame_equal(Fitted.load(tmp_path).predict(parts[2]), predictions)


class TestSegments:
    def test_as_many_as_counted_of_the_first_half_minute(self, tmp_path: Path) -> None:
        clips = [toy_clip(tmp_path, k, seconds=s) for k, s in enumerate((30.0, 31.5, 12.25))]
        items = SegmentClassifier(n_mels=32).items(clips)
        assert [item.shape for item in items[:2]] == [(32, 1292)] * 2
        assert items[1].dtype == np.float16
        assert items[1].base is None
        for duration in (1, 2, 3, 4, 5):
            found = SegmentClassifier(duration=duration, n_mels=32).segment_set(items)
            counts = [segment_count(s, duration, duration - 1) for s in (30.0, 30.0, 12.25)]
            assert found.counts.tolist() == counts

    @pytest.mark.parametrize("name", ["SSSL", "2-Stage"])
    def test_clip_shorter_than_a_segment(self, name: str, parts: Parts, tmp_path: Path) -> None:
        short = corpus([toy_clip(tmp_path, 0, seconds=0.7)])
        message = r"clip 'clip-0' has 0\.7. s; expected at least one segment of 1 s: take shorter"
        with pytest.raises(InvalidDataError, match=message):
            fitted(name, (parts[0], short, short))

    def test_segments_too_short_for_the_network(self) -> None:
        with pytest.raises(ParameterError, match="segments are 128 bands x 22 frames; VGG16 needs"):
            SegmentClassifier(duration=1.0, hop_length=1024)
        with pytest.raises(ParameterError, match=r"duration is 0\.0; expected more than 0"):
            TwoStage(duration=0.0)

    def test_whole_clips_end_in_silence(self, parts: Parts) -> None:
        system = tiny("VGG16, whole clip")
        item, whole = (s.item(parts[0][0]) for s in (system, SegmentClassifier(n_mels=32)))
        assert item.shape == (32, system.window)
        np.testing.assert_array_equal(item[:, : whole.shape[1]], whole)
        assert np.all(item[:, whole.shape[1] :] == -100)
        assert system.segment_set(system.items(parts[0])).counts.tolist() == [1] * 12
        assert tiny("VGG16, whole clip", duration=1.0).item(parts[0][0]).shape == (32, 43)

    def test_options_of_self_learning_count_with_it_only(self) -> None:
        with pytest.raises(ParameterError, match="expected fewer epochs of warm-up"):
            SegmentClassifier(epochs=5)
        assert SegmentClassifier(learning="inherited", epochs=5).warm_up == 10

    def test_silent_segments(self, parts: Parts, tmp_path: Path) -> None:
        silent = toy_clip(tmp_path, 99, gain=0.0)
        train = corpus([*parts[0][:8], silent])
        predictions = fitted("SSSL", (train, parts[1], parts[2])).predict(corpus([silent]))
        assert np.isfinite(values(predictions)).all()


class TestDecisions:
    def test_majority_vote_by_hand(self) -> None:
        segments = np.asarray([[0.6, 0.4], [0.55, 0.45], [0.01, 0.99]])
        found = majority_vote(segments)
        np.testing.assert_allclose(found, (np.asarray([2, 1]) + segments.mean(axis=0)) / 4)
        assert (found.argmax(), segments.mean(axis=0).argmax()) == (0, 1)
        # Of equals, the more probable
        assert majority_vote(np.asarray([[0.6, 0.4], [0.1, 0.9]])).argmax() == 1
        assert majority_vote(np.asarray([[0.9, 0.1], [0.4, 0.6]])).argmax() == 0

    def test_song_classifier_hears_the_statistics(
        self, parts: Parts, learned: FittedSegments
    ) -> None:
        segments = learned.segment_probabilities(list(parts[2]))
        statistics = [song_statistics(values(own)) for _, own in segments.groupby("id", sort=False)]
        expected = learned.song_classifier.predict(np.stack(statistics))
        assert values(learned.predict(parts[2])).argmax(axis=1).tolist() == expected.tolist()

    def test_fold_with_a_class_missing(self, parts: Parts) -> None:
        train, valid, test = parts
        known = train.select(clip.id for clip in train if clip.labels.quadrant != 2)
        found = values(fitted("SSSL", (known, valid, test)).predict(test))
        assert np.all(found[:, 1] == 0)
        np.testing.assert_allclose(found.sum(axis=1), 1)
        one = train.select(clip.id for clip in train if clip.labels.quadrant == 1)
        with pytest.raises(InvalidDataError, match="all 3 training clips are of one class of task"):
            fitted("SSSL", (one, valid, test))


class TestTrajectory:
    def test_segment_by_segment(self, parts: Parts, learned: FittedSegments) -> None:
        found = learned.segment_probabilities([parts[2][1]])
        assert found["id"].unique().tolist() == ["clip-17"]
        assert found["segment"].tolist() == [0, 1, 2]
        frame = 512 / RATE
        np.testing.assert_allclose(found["start"], np.arange(3) * 43 * frame)
        np.testing.assert_allclose(found["end"] - found["start"], 43 * frame)
        np.testing.assert_allclose(values(found).sum(axis=1), 1)

    def test_partitions(self, parts: Parts, learned: FittedSegments, tmp_path: Path) -> None:
        found = learned.partitions()
        assert list(found) == ["epoch", "id", "segment", "start", "end", "p_clean"]
        assert found.groupby("epoch").size().to_dict() == {1: 36, 2: 36}
        assert found["id"].unique().tolist() == parts[0].ids
        clean = (found["p_clean"] > 0.5).groupby(found["epoch"]).mean()
        np.testing.assert_allclose(clean, [row["clean_fraction"] for row in learned.history[1:]])
        learned.save(tmp_path)
        again: Any = Fitted.load(tmp_path)
        pd.testing.assert_frame_equal(again.partitions(), found)

    def test_without_self_learning_there_are_none(self, parts: Parts) -> None:
        found = fitted("Segment inheritance", parts, task="cluster", epochs=1)
        assert found.partitions().empty
        assert values(found.predict(parts[2])).shape == (4, 5)


class TestTwoStage:
    @pytest.mark.parametrize("window", [43, 64, 215])
    def test_autoencoder_keeps_the_shape(self, window: int) -> None:
        encoder = SegmentAutoencoder(32, window, size=5, channels=2)
        x = torch.randn(3, 32, window)
        assert encoder(x, torch.ones_like(x)).shape == x.shape
        assert encoder.encode(x).shape == (3, 5)

    def test_masks(self) -> None:
        visible = random_masks((200, 32, 43), np.random.default_rng(0)).numpy()
        bands, frames = (visible == 0).all(axis=2), (visible == 0).all(axis=1)
        assert (bands.sum(axis=1).max(), frames.sum(axis=1).max()) == (8, 10)
        for masked in (*bands, *frames):
            assert (np.diff(np.flatnonzero(masked)) == 1).all()
        np.testing.assert_array_equal(visible, ~(bands[:, :, None] | frames[:, None, :]))

    def test_masked_values_do_not_count(self) -> None:
        encoder = SegmentAutoencoder(32, 43, size=5, channels=2)
        x, visible = torch.randn(2, 32, 43), random_masks((2, 32, 43), np.random.default_rng(1))
        other = torch.where(visible == 0, torch.full_like(x, 99.0), x)
        torch.testing.assert_close(encoder(other, visible), encoder(x, visible))

    def test_autoencoder_learns(self, parts: Parts) -> None:
        system = tiny("2-Stage", encoder_epochs=15)
        items = system.items(parts[0])
        torch.manual_seed(0)
        encoder = system.network(4, items[0]).encoder
        encoder.standardise.fit(items)
        sets = (system.segment_set(items), system.segment_set(system.items(parts[1])))
        x = sets[1].batch(np.arange(len(sets[1])))

        def error() -> float:
            with torch.inference_mode():
                found = encoder(x, torch.ones_like(x)) - encoder.standardise(x)
            return float(found.square().mean())

        before = error()
        context = Context(get_task("4Q"), device="cpu")
        train_encoder(encoder, sets, system.encoder_options, context)
        assert error() < 0.7 * before

    def test_order_of_the_segments_matters(self) -> None:
        torch.manual_seed(0)
        classifier = SequenceClassifier(4, 3, hidden=5)
        codes = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
        found = classify(classifier, [codes, codes[:, ::-1].copy(), codes[:, :2]], CPU)
        assert found.shape == (3, 3)
        assert not np.allclose(found[0], found[1])

    def test_segments_do_not_overlap(self, parts: Parts) -> None:
        system = tiny("2-Stage")
        items = system.items(parts[0])
        found = system.segment_set(items)
        assert found.starts[:3].tolist() == [0, 43, 86]
        codes = segment_codes(system.network(4, items[0]).encoder, found, CPU)
        assert [own.shape for own in codes] == [(8, 3)] * 12


@pytest.mark.parametrize("decision", ["svm", "mean"])
def test_the_decision_chooses_the_epoch(parts: Parts, decision: Any) -> None:
    changes = {"epoch_by": "decision", "decision": decision, "epochs": 4, "patience": 4}
    model = fitted("SSSL", parts, task="A", **changes)
    predicted = values(model.predict(parts[1])).argmax(axis=1)
    accuracy = (predicted == get_task("A").targets(parts[1])).mean()
    learned = [row for row in model.history if "clean_fraction" in row]
    assert max(row["valid_accuracy"] for row in learned) == pytest.approx(accuracy)


def test_what_chooses_the_epoch_stays_out_of_keys_unless_it_is_the_decision() -> None:
    assert "epoch_by" not in NETWORKS["SSSL"].parameters
    assert NETWORKS["SSSL, epoch by the decision"].parameters["epoch_by"] == "decision"
