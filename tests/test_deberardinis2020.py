"""Systems of de Berardinis et al. 2020: names, excerpts, training, fusion, and their cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from mer.clips import Clip, Corpus, Labels
from mer.errors import MissingDataError, ParameterError
from mer.features import spectral
from mer.models.emomucs import EmoMucs
from mer.paths import cache_folder
from mer.study.deberardinis2020 import COMBINATIONS, FUSED, SINGLE, published_scores
from mer.study.profiles import PROFILES
from mer.study.specs import resolve
from mer.systems import SYSTEMS, get_system, source_models, sources
from mer.systems.base import Context
from mer.systems.deberardinis2020 import (
    FrozenFusion,
    RegressionNetwork,
    SourceNetwork,
    batch_indices,
)
from mer.systems.source_models import FittedRegressor
from mer.systems.sources import Excerpts, window_start
from mer.systems.variants import LETTERS, VARIANTS
from mer.tasks import get_task

RATE = 12000
TINY: dict[str, Any] = {"epochs": 3, "patience": 3, "batch_size": 8, "seconds": 1.2}
SOURCE: dict[str, Any] = {f"source_{name}": TINY[name] for name in ("epochs", "patience")}
SOURCE |= {"source_batch_size": 8}
PITCHES = {"vocals": 440.0, "bass": 110.0, "drums": 2000.0, "other": 880.0}


def toy_clip(folder: Path, number: int, seconds: float = 1.5) -> Clip:
    """Louder for more arousal, brighter for more valence."""
    rng = np.random.default_rng(number)
    valence, arousal = rng.uniform(-0.9, 0.9, 2)
    samples = rng.normal(size=round(seconds * RATE)) * 10 ** (arousal - 2)
    samples = np.convolve(samples, [1.0, -valence / 2], mode="same")
    path = folder / f"{number}.wav"
    soundfile.write(path, samples.astype(np.float32), RATE, subtype="FLOAT")
    labels = Labels(valence=float(valence), arousal=float(arousal))
    return Clip(f"clip-{number}", f"song-{number}", audio=path, labels=labels)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, Corpus, Corpus]:
    folder = tmp_path_factory.mktemp("audio")
    clips = [toy_clip(folder, number) for number in range(20)]
    cuts = (clips[:12], clips[12:16], clips[16:])
    train, valid, test = (Corpus("toy", c, licence="-", citation="-") for c in cuts)
    return train, valid, test


@pytest.fixture(autouse=True)
def separated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A separator that gives the mix and a tone; keeps what it was asked for."""
    asked: list[tuple[str, str]] = []
    mix = sources.source_samples

    def samples(clip: Clip, source: str, sample_rate: int, separator: str) -> np.ndarray:
        asked.append((clip.id, source))
        found = mix(clip, "mix", sample_rate, separator)
        if source == "mix":
            return found
        time = np.arange(len(found)) / sample_rate
        tone = 0.05 * np.sin(2 * np.pi * PITCHES[source] * time)
        return (found + tone).astype(np.float32)

    monkeypatch.setattr(sources, "source_samples", samples)
    monkeypatch.setattr(sources, "separator_revision", lambda name: 1)
    return asked


def context(seed: int = 0, task: str = "VA") -> Context:
    return Context(get_task(task), seed=seed, device="cpu")


def tiny(name: str, **changes: Any) -> RegressionNetwork:
    system = get_system(name, {**TINY, **changes})
    assert isinstance(system, RegressionNetwork)
    return system


class TestNames:
    def test_each_variant_has_its_own(self) -> None:
        assert len(set(SYSTEMS)) == len(SYSTEMS)
        for name in VARIANTS:
            assert get_system(name).name == name

    def test_rows_of_the_tables(self) -> None:
        assert set(SINGLE) | set(FUSED) | set(COMBINATIONS) <= set(SYSTEMS)
        assert len(SINGLE) == 10
        assert len(FUSED) == 15
        assert len(set(COMBINATIONS)) == 15
        assert COMBINATIONS[0] == "EmoMucs-C2D, late, freeze, V"
        assert COMBINATIONS[-1] == "EmoMucs-C2D, late, freeze"

    def test_published_scores(self) -> None:
        scores = published_scores()
        assert len(scores) == 84
        assert scores["C2D-D", "r2", "valence"] == 0.3613
        assert scores["EmoMucs-C1D, mid, freeze", "rmse", "valence"] == 0.2428
        assert scores["EmoMucs-C2D, late, freeze", "r2", "valence"] == 0.4814
        assert {system for system, _, _ in scores} <= set(SYSTEMS)

    def test_a_name_stands_for_its_variant(self) -> None:
        with pytest.raises(ParameterError, match="is 'C2D-B'; ask for that one"):
            get_system("C2D-V", {"source": "bass"})
        with pytest.raises(ParameterError, match="expected some of"):
            get_system("EmoMucs-C2D, late, freeze", {"sources": ("bass", "vocals")})

    @pytest.mark.parametrize("profile", PROFILES)
    def test_fusions_start_from_the_systems_on_single_sources(self, profile: str) -> None:
        overrides = PROFILES[profile].overrides
        for name in (*FUSED, *COMBINATIONS):
            system = resolve(name, overrides.get(name, {}))
            if isinstance(system, FrozenFusion):
                for source in system.sources:
                    single = system.source_system(source)
                    assert single == resolve(single.name, overrides.get(single.name, {}))


class TestExcerpts:
    def test_shape_and_values(self, parts: tuple[Corpus, ...], separated: list[Any]) -> None:
        clip = parts[0][0]
        found = Excerpts(seconds=1.0).log_mel(clip, "mix")
        assert found.shape == (96, 1 + RATE // 256)
        samples = soundfile.read(clip.audio)[0].astype(np.float32)
        start = window_start(clip.id, len(samples), RATE)
        expected = spectral.log_mel(
            samples[start : start + RATE], RATE, n_fft=512, hop_length=256, n_mels=96
        )
        np.testing.assert_allclose(found, expected, atol=0.05)
        Excerpts(seconds=1.0).log_mel(clip, "mix")
        assert separated == [(clip.id, "mix")]  # the second one is from the cache

    def test_window_is_drawn_by_the_clip_alone(self) -> None:
        starts = [window_start(f"clip-{n}", 30 * RATE, 20 * RATE) for n in range(2000)]
        assert min(starts) >= 0
        assert max(starts) <= 10 * RATE
        assert np.mean(starts) == pytest.approx(5 * RATE, rel=0.05)
        assert window_start("clip-3", 30 * RATE, 20 * RATE) == starts[3]
        assert window_start("clip-3", 19 * RATE, 20 * RATE) == 0

    def test_short_clips_end_in_silence_and_are_counted(self, tmp_path: Path) -> None:
        clips = [toy_clip(tmp_path, 50, seconds=0.6), toy_clip(tmp_path, 51, seconds=1.5)]
        excerpts = Excerpts(seconds=1.0)
        assert excerpts.padding(clips) == pytest.approx({"clip-50": 0.4})
        found = excerpts.log_mel(clips[0], "mix")
        assert found.shape == (96, 47)
        assert (found[:, 31:] == -100).all()
        assert (found[:, :28] > -100).all()

    def test_wrong_settings(self) -> None:
        with pytest.raises(ParameterError, match="seconds is 0; expected more than 0"):
            get_system("C1D-M", {"seconds": 0})


class TestTraining:
    @pytest.mark.parametrize("name", ["C1D-M", "C2D-V", "EmoMucs-C2D, unified"])
    def test_predicts_saves_and_loads(
        self, parts: tuple[Corpus, Corpus, Corpus], tmp_path: Path, name: str
    ) -> None:
        train, valid, test = parts
        fitted = tiny(name).fit(train, valid, context())
        found = fitted.predict(test)
        assert list(found.columns) == ["id", "valence", "arousal"]
        assert found["id"].tolist() == test.ids
        assert np.isfinite(found[["valence", "arousal"]].to_numpy()).all()
        assert list(fitted.history[0]) == ["train_loss", "valid_rmse", "learning_rate"]
        fitted.save(tmp_path)
        again = FittedRegressor.load(tmp_path)
        pd.testing.assert_frame_equal(again.predict(test), found)
        repeated = tiny(name).fit(train, valid, context()).predict(test)
        pd.testing.assert_frame_equal(repeated, found)
        other = tiny(name).fit(train, valid, context(seed=1)).predict(test)
        assert not np.allclose(other["arousal"], found["arousal"])

    def test_learns(self, parts: tuple[Corpus, Corpus, Corpus]) -> None:
        train, valid, _ = parts
        system = tiny("C1D-M", epochs=40, patience=40, dropout=0.0)
        fitted = system.fit(train, valid, context())
        errors = [row["train_loss"] for row in fitted.history]
        assert errors[-1] < errors[0] / 4
        best = min(row["valid_rmse"] for row in fitted.history)
        values = fitted.predict(valid)[["valence", "arousal"]].to_numpy()
        targets = get_task("VA").targets(valid)
        assert np.sqrt(np.mean((values - targets) ** 2)) == pytest.approx(best, abs=1e-6)

    def test_task_with_classes(self, parts: tuple[Corpus, Corpus, Corpus]) -> None:
        with pytest.raises(ParameterError, match="system 'C1D-M' predicts valence and arousal"):
            tiny("C1D-M").fit(parts[0], parts[1], context(task="A"))

    def test_clip_without_a_label(self, parts: tuple[Corpus, Corpus, Corpus]) -> None:
        clip = Clip("bare", "bare", audio=parts[0][0].audio, labels=Labels(valence=0.1))
        bare = Corpus("toy", [clip], licence="-", citation="-")
        with pytest.raises(MissingDataError, match="clip 'bare' has no arousal"):
            tiny("C1D-M").fit(bare, parts[1], context())

    def test_batches(self) -> None:
        rng = np.random.default_rng(0)
        sizes = [len(chosen) for chosen in batch_indices(17, 8, rng)]
        assert sizes == [8, 9]
        joined = np.concatenate([b.numpy() for b in batch_indices(20, 8, rng)])
        assert sorted(joined) == list(range(20))
        assert [len(b) for b in batch_indices(1, 8, rng)] == [1]


class TestFusion:
    @pytest.mark.parametrize(
        "name",
        [
            "EmoMucs-C1D, early, freeze",
            "EmoMucs-C1D, mid, freeze",
            "EmoMucs-C2D, late, freeze",
            "EmoMucs-C2D, late, freeze, V+D",
        ],
    )
    def test_frozen_head_is_the_whole_network(
        self, parts: tuple[Corpus, Corpus, Corpus], tmp_path: Path, name: str
    ) -> None:
        train, valid, test = parts
        fitted = tiny(name, **SOURCE).fit(train, valid, context())
        found = fitted.predict(test)
        fitted.save(tmp_path)
        whole = FittedRegressor.load(tmp_path).predict(test)
        for dimension in ("valence", "arousal"):
            np.testing.assert_allclose(whole[dimension], found[dimension], atol=5e-3)

    def test_source_models_are_those_of_the_single_systems(
        self, parts: tuple[Corpus, Corpus, Corpus], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        train, valid, test = parts
        seed = 7
        single = tiny("C1D-B").fit(train, valid, context(seed))
        fits: list[str] = []
        fit = SourceNetwork.fit

        def spy(self: SourceNetwork, *args: Any) -> FittedRegressor:
            fits.append(self.name)
            return fit(self, *args)

        monkeypatch.setattr(SourceNetwork, "fit", spy)
        fusion = tiny("EmoMucs-C1D, late, freeze, B+O", **SOURCE)
        fitted = fusion.fit(train, valid, context(seed))
        assert fits == ["C1D-O"]
        assert isinstance(fitted, source_models.FittedFusion)
        kept = fitted.models.fitted[0].predict(test)
        pd.testing.assert_frame_equal(kept, single.predict(test))
        features = fitted.models.features(test, "late")
        np.testing.assert_allclose(features[:, :2], kept[["valence", "arousal"]], atol=1e-6)
        tiny("EmoMucs-C1D, late, freeze", **SOURCE).fit(train, valid, context(seed))
        assert fits == ["C1D-O", "C1D-V", "C1D-D"]

    def test_damaged_source_model_is_trained_again(
        self, parts: tuple[Corpus, Corpus, Corpus]
    ) -> None:
        train, valid, test = parts
        fusion = tiny("EmoMucs-C1D, late, freeze, V", **SOURCE)
        whole = fusion.fit(train, valid, context(8)).predict(test)
        assert isinstance(fusion, FrozenFusion)
        system = fusion.source_system("vocals")
        key = source_models.source_model_key(system, train, valid, context(8))
        network = cache_folder() / "source-models" / key[:2] / key[:32] / "network.pt"
        network.write_bytes(network.read_bytes()[:100])
        pd.testing.assert_frame_equal(fusion.fit(train, valid, context(8)).predict(test), whole)

    @pytest.mark.parametrize(
        "name", ["EmoMucs-C1D, early, finetune", "EmoMucs-C2D, late, finetune"]
    )
    def test_finetuning_moves_everything(
        self, parts: tuple[Corpus, Corpus, Corpus], name: str
    ) -> None:
        train, valid, _ = parts
        system = tiny(name, finetune_epochs=1, **SOURCE)
        assert isinstance(system, FrozenFusion)
        fitted = system.fit(train, valid, context())
        key = source_models.source_model_key(system.source_system("bass"), train, valid, context())
        before = FittedRegressor.load(cache_folder() / "source-models" / key[:2] / key[:32])
        network = fitted.network
        assert isinstance(network, EmoMucs)
        after = network.sources[list(LETTERS).index("bass")]
        pairs = zip(before.network.parameters(), after.parameters(), strict=True)
        moved = [(a - b).abs().max().item() for a, b in pairs if a.dim() > 1]
        late = "late" in name
        assert all(0 < change < 0.01 for change in moved[: None if late else 2])

    @pytest.mark.parametrize("name", ["EmoMucs-C1D, mid, full", "EmoMucs-C2D, early, full"])
    def test_full_training(self, parts: tuple[Corpus, Corpus, Corpus], name: str) -> None:
        train, valid, test = parts
        fitted = tiny(name, epochs=2).fit(train, valid, context())
        assert len(fitted.predict(test)) == len(test)
        inputs = fitted.system.inputs_of(test)
        assert inputs.shape[:2] == (len(test), 4)
        permuted = inputs[:, [0, 1, 3, 2]]
        assert not np.allclose(
            fitted.predict_log_mels(permuted), fitted.predict_log_mels(inputs), atol=1e-6
        )
