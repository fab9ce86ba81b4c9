"""Systems of de Berardinis et al. 2020: excerpts, training, fusion, and their cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from torch import Tensor, nn
from toy_sources import DIMENSIONS, RATE, separate_by_tones, toy_clip

from mer.clips import Clip, Corpus
from mer.errors import ParameterError
from mer.features import spectral
from mer.models.emomucs import C1D, EmoMucs
from mer.papers.deberardinis2020 import tables as paper
from mer.papers.deberardinis2020.systems import (
    SOURCES,
    FittedFusion,
    Fusion,
    SourceNetwork,
    _folder,
    batch_indices,
    source_model_key,
    window_start,
)
from mer.study.profiles import NAMES, get_profile
from mer.systems.base import FITTED_FILE, Context, Fitted
from mer.tasks import get_task

TINY: dict[str, Any] = {"epochs": 3, "patience": 3, "batch_size": 8, "seconds": 1.2}
SOURCE: dict[str, Any] = {f"source_{name}": TINY[name] for name in ("epochs", "patience")}
SOURCE |= {"source_batch_size": 8}
ROWS = {**paper.SINGLE, **paper.UNIFIED, **paper.FUSED, **paper.COMBINATIONS}
Parts = tuple[Corpus, Corpus, Corpus]


@pytest.fixture(scope="module")
def parts(toy_clips: list[Clip]) -> Parts:
    cuts = (toy_clips[:12], toy_clips[12:16], toy_clips[16:])
    train, valid, test = (Corpus("toy", c, licence="-", citation="-") for c in cuts)
    return train, valid, test


@pytest.fixture(autouse=True)
def separated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    return separate_by_tones(monkeypatch)


def context(seed: int = 0, task: str = "VA", **options: Any) -> Context:
    return Context(get_task(task), seed=seed, device="cpu", **options)


def tiny(name: str, **changes: Any) -> Any:
    return replace(ROWS[name], **{**TINY, **changes})


def fused(name: str, **changes: Any) -> Any:
    return tiny(name, **SOURCE, **changes)


class TestRows:
    def test_sources_stand_in_order(self) -> None:
        for wrong in ((), ("bass", "vocals"), ("bass", "bass"), ("guitar",)):
            with pytest.raises(ParameterError, match="expected some of"):
                Fusion(sources=wrong)

    @pytest.mark.parametrize("name", NAMES)
    def test_fusions_start_from_the_systems_on_single_sources(self, name: str) -> None:
        profile = get_profile(name)
        rows = {**paper.FUSED, **paper.COMBINATIONS, **paper.INPUTS_KEPT_ROWS}
        for row, system in rows.items():
            assert isinstance(system, Fusion)
            if system.training != "full":
                sized = profile.sized(row, system)
                assert isinstance(sized, Fusion)
                architecture = system.model.__name__
                for source in system.sources:
                    single = paper.source_name(architecture, source)
                    expected = profile.sized(single, paper.SINGLE[single])
                    assert sized.source_system(source) == expected

    def test_example(self, parts: Parts) -> None:
        network, inputs, pictures = fused("EmoMucs-C1D, late, freeze").example(parts[0][0])
        assert network.eval()(inputs).shape == (1, 2)
        assert list(pictures) == list(SOURCES)


class TestExcerpts:
    def test_shape_and_values(self, parts: Parts, separated: list[Any]) -> None:
        clip = parts[0][0]
        found = SourceNetwork(seconds=1.0).log_mel(clip, "mix")
        assert found.shape == (96, 1 + RATE // 256)
        samples = soundfile.read(clip.audio)[0].astype(np.float32)
        start = window_start(clip.id, len(samples), RATE)
        excerpt = samples[start : start + RATE]
        expected = spectral.log_mel(excerpt, RATE, n_fft=512, hop_length=256, n_mels=96)
        np.testing.assert_allclose(found, expected, atol=0.05)
        SourceNetwork(seconds=1.0).log_mel(clip, "mix")
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
        system = SourceNetwork(seconds=1.0)
        assert system.padding(clips) == pytest.approx({"c50": 0.4})
        found = system.log_mel(clips[0], "mix")
        assert found.shape == (96, 47)
        assert (found[:, 31:] == -100).all()
        assert (found[:, :28] > -100).all()

    def test_feature_of_ones_own(self, parts: Parts) -> None:
        def level(samples: np.ndarray, sample_rate: int, hop_length: int) -> np.ndarray:
            return np.full((96, 1 + len(samples) // hop_length), samples.std())

        def small(samples: np.ndarray, sample_rate: int) -> np.ndarray:
            return np.zeros((3, 4))

        own = SourceNetwork(seconds=1.0, feature=level)
        assert own.parameters["feature"]["name"].endswith("level")
        usual = replace(own, feature=spectral.log_mel)
        clip = parts[0][1]
        assert np.ptp(own.log_mel(clip, "mix")) == 0 < np.ptp(usual.log_mel(clip, "mix"))
        wrong = replace(own, feature=small)
        with pytest.raises(ParameterError, match=r"has shape \(3, 4\); expected \(96, 47\)"):
            wrong.log_mel(clip, "mix")

    def test_wrong_settings(self) -> None:
        with pytest.raises(ParameterError, match="seconds is 0; expected more than 0"):
            SourceNetwork(seconds=0)


class TestTraining:
    @pytest.mark.parametrize("name", ["C1D-M", "C2D-V", "EmoMucs-C2D, unified"])
    def test_predicts_saves_and_loads(self, parts: Parts, tmp_path: Path, name: str) -> None:
        train, valid, test = parts
        fitted = tiny(name).fit(train, valid, context())
        found = fitted.predict(test)
        assert list(found.columns) == ["id", *DIMENSIONS]
        assert found["id"].tolist() == test.ids
        assert np.isfinite(found[[*DIMENSIONS]].to_numpy()).all()
        assert list(fitted.history[0]) == ["train_loss", "valid_rmse", "learning_rate"]
        fitted.save(tmp_path)
        pd.testing.assert_frame_equal(Fitted.load(tmp_path).predict(test), found)
        repeated = tiny(name).fit(train, valid, context()).predict(test)
        pd.testing.assert_frame_equal(repeated, found)
        other = tiny(name).fit(train, valid, context(seed=1)).predict(test)
        assert not np.allclose(other["arousal"], found["arousal"])

    def test_learns(self, parts: Parts) -> None:
        train, valid, _ = parts
        system = tiny("C1D-M", epochs=40, patience=40, dropout=0.0)
        fitted = system.fit(train, valid, context())
        errors = [row["train_loss"] for row in fitted.history]
        assert errors[-1] < errors[0] / 4
        best = min(row["valid_rmse"] for row in fitted.history)
        values = fitted.predict(valid)[[*DIMENSIONS]].to_numpy()
        targets = get_task("VA").targets(valid)
        assert np.sqrt(np.mean((values - targets) ** 2)) == pytest.approx(best, abs=1e-6)

    def test_task_with_classes(self, parts: Parts) -> None:
        with pytest.raises(ParameterError, match="predicts valence and arousal; task 'A' has"):
            tiny("C1D-M").fit(parts[0], parts[1], context(task="A"))

    def test_batches(self) -> None:
        rng = np.random.default_rng(0)
        assert [len(chosen) for chosen in batch_indices(17, 8, rng)] == [8, 9]
        joined = np.concatenate([b.numpy() for b in batch_indices(20, 8, rng)])
        assert sorted(joined) == list(range(20))
        assert [len(b) for b in batch_indices(1, 8, rng)] == [1]


class WeightedSum(nn.Module):
    """A head of one layer."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, 2))

    def forward(self, features: Tensor) -> Tensor:
        answer: Tensor = self.layers(features)
        return answer


NARROW = r"^model Narrow gave a Tensor of shape \(\d+, 1\) .* of shape \(\d+, 2\): a row"


class TestFusion:
    @pytest.mark.parametrize("name", ["C1D, early", "C1D, mid", "C2D, late"])
    def test_frozen_head_is_the_whole_network(
        self, parts: Parts, tmp_path: Path, name: str
    ) -> None:
        train, valid, test = parts
        fitted = fused(f"EmoMucs-{name}, freeze").fit(train, valid, context())
        found = fitted.predict(test)
        whole = fitted.predict_log_mels(fitted.system.log_mels(test))
        np.testing.assert_allclose(whole, found[[*DIMENSIONS]], atol=5e-3)
        fitted.save(tmp_path)
        pd.testing.assert_frame_equal(Fitted.load(tmp_path).predict(test), found)

    def test_source_models_are_those_of_the_single_systems(
        self, parts: Parts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        train, valid, test = parts
        seed = 7
        single = tiny("C1D-B").fit(train, valid, context(seed))
        fits: list[tuple[str, ...]] = []
        fit = SourceNetwork.fit

        def spy(self: SourceNetwork, *args: Any) -> Any:
            fits.append(self.sources)
            return fit(self, *args)

        monkeypatch.setattr(SourceNetwork, "fit", spy)
        late = fused("EmoMucs-C1D, late, freeze")
        fitted = replace(late, sources=("bass", "other")).fit(train, valid, context(seed))
        assert fits == [("other",)]
        assert isinstance(fitted, FittedFusion)
        bass = fitted.models[0].predict(test)
        pd.testing.assert_frame_equal(bass, single.predict(test))
        features = fitted.features(test)
        np.testing.assert_allclose(features[:, :2], bass[[*DIMENSIONS]], atol=1e-6)
        late.fit(train, valid, context(seed))
        assert fits == [("other",), ("vocals",), ("drums",)]

    def test_damaged_source_model_is_trained_again(self, parts: Parts) -> None:
        train, valid, test = parts
        fusion = fused("EmoMucs-C1D, late, freeze", sources=("vocals",))
        whole = fusion.fit(train, valid, context(8)).predict(test)
        key = source_model_key(fusion.source_system("vocals"), train, valid, context(8))
        network = _folder(key) / FITTED_FILE
        network.write_bytes(network.read_bytes()[:100])
        pd.testing.assert_frame_equal(fusion.fit(train, valid, context(8)).predict(test), whole)

    @pytest.mark.parametrize(
        "name", ["EmoMucs-C1D, early, finetune", "EmoMucs-C2D, late, finetune"]
    )
    def test_finetuning_moves_everything(self, parts: Parts, name: str) -> None:
        train, valid, _ = parts
        system = fused(name, finetune_epochs=1)
        fitted = system.fit(train, valid, context())
        key = source_model_key(system.source_system("bass"), train, valid, context())
        before = Fitted.load(_folder(key)).network
        network = fitted.network
        assert isinstance(network, EmoMucs)
        after = network.sources[SOURCES.index("bass")]
        pairs = zip(before.parameters(), after.parameters(), strict=True)
        moved = [(a - b).abs().max().item() for a, b in pairs if a.dim() > 1]
        assert all(0 < change < 0.01 for change in moved[: None if "late" in name else 2])

    @pytest.mark.parametrize("name", ["EmoMucs-C1D, mid, full", "EmoMucs-C2D, early, full"])
    def test_full_training(self, parts: Parts, name: str) -> None:
        train, valid, test = parts
        fitted = tiny(name, epochs=2).fit(train, valid, context())
        assert len(fitted.predict(test)) == len(test)
        inputs = fitted.system.log_mels(test)
        assert inputs.shape[:2] == (len(test), 4)
        permuted = inputs[:, [0, 1, 3, 2]]
        found = fitted.predict_log_mels(inputs)
        assert not np.allclose(fitted.predict_log_mels(permuted), found, atol=1e-6)

    def test_head_of_one_dimension(self, parts: Parts) -> None:
        class Narrow(WeightedSum):
            def forward(self, features: Tensor) -> Tensor:
                return super().forward(features)[:, :1]

        system = fused("EmoMucs-C1D, late, freeze", head=Narrow)
        with pytest.raises(ParameterError, match=NARROW):
            system.fit(parts[0], parts[1], context())

    def test_source_model_of_one_dimension(self, parts: Parts) -> None:
        class Narrow(C1D):
            def forward(self, *inputs: Any, **options: Any) -> Tensor:
                return super().forward(*inputs, **options)[:, :1]

        system = fused("EmoMucs-C1D, late, freeze", model=Narrow)
        with pytest.raises(ParameterError, match=NARROW):
            system.fit(parts[0], parts[1], context())

    def test_parts_of_ones_own(self, parts: Parts) -> None:
        class Wide(C1D):
            """Another architecture."""

        train, valid, test = parts
        system = fused("EmoMucs-C1D, late, freeze", model=Wide, head=WeightedSum)
        assert system.family == "C1D fusion"
        assert {system.parameters[name]["name"] for name in ("model", "head")} == {
            Wide.__qualname__,
            "WeightedSum",
        }
        fitted = system.fit(train, valid, context())
        assert fitted.network.head.layers[0].weight.shape == (2, 8)
        assert np.isfinite(fitted.predict(test)[[*DIMENSIONS]].to_numpy()).all()
