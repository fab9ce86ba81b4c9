"""MusiCNN: the module, reading the published graph, embeddings, and the system on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mer.audio import audio_seconds
from mer.clips import Clip, Corpus, file_digest
from mer.errors import InvalidDataError, MissingDataError
from mer.features.spectral import mel_spectrogram
from mer.models.musicnn import FrontEnd, MusiCNN, from_graph_weights, read_graph_weights
from mer.segments import segment_count
from mer.systems import musicnn as features


def constants() -> dict[str, np.ndarray]:
    """Random weights under the names and shapes of the published graph."""
    rng = np.random.default_rng(0)
    kernels = [(7, 38), (7, 67), (128, 1), (64, 1), (32, 1), (7, 561), (7, 64), (7, 64)]
    channels = [204, 204, 51, 51, 51, 64, 64, 64]
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (kernel, n) in enumerate(zip(kernels, channels, strict=True)):
        layer = f"conv2d_{number}" if number else "conv2d"
        shapes |= {f"{layer}/kernel": (*kernel, 1, n), f"{layer}/bias": (n,)}
    for number, n in enumerate([1, *channels]):
        norm = f"model/batch_normalization{f'_{number}' if number else ''}/FusedBatchNorm"
        shapes |= {f"{norm}/Scaled": (n,), f"{norm}/Offset": (n,)}
    for layer, number, n_in, n_out in (("dense", 9, 1506, 200), ("dense_1", 10, 200, 50)):
        shapes |= {f"{layer}/kernel": (n_in, n_out), f"{layer}/bias": (n_out,)}
        norm = f"model/batch_normalization_{number}/batchnorm"
        shapes |= {f"{norm}/mul": (n_in,), f"{norm}/sub": (n_in,)}
    return {
        name: (0.05 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_graph(folder: Path, arrays: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    axis = np.array(2, dtype=np.int32)
    arrays = {"model/concat/axis": axis, **arrays}
    entries = [
        {"name": name, "shape": list(array.shape), "dtype": str(array.dtype)}
        for name, array in arrays.items()
    ]
    manifest = [{"paths": [features.SHARD], "weights": entries}]
    (folder / "model.json").write_text(json.dumps({"weightsManifest": manifest}))
    (folder / features.SHARD).write_bytes(b"".join(array.tobytes() for array in arrays.values()))
    return folder


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A graph with random weights below a data folder, taken for the published one."""
    monkeypatch.setenv("MER_DATA", str(tmp_path))
    folder = write_graph(tmp_path / "weights" / "msd-musicnn-1", constants())
    monkeypatch.setattr(features, "SHA256", file_digest(folder / features.SHARD))
    features._network.cache_clear()
    yield folder
    features._network.cache_clear()


class TestModule:
    def test_size_and_shapes(self) -> None:
        network = MusiCNN().eval()
        assert sum(p.numel() for p in network.parameters()) == 787_159
        embedding, tags = network(torch.zeros(2, 187, 96))
        assert (embedding.shape, tags.shape) == ((2, 200), (2, 50))
        assert network(torch.zeros(1, 20, 96))[0].shape == (1, 200)

    def test_an_even_kernel_is_padded_more_at_the_end(self) -> None:
        front = FrontEnd(1, (4, 1))
        weight = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 4, 1)
        front.conv.load_state_dict({"weight": weight, "bias": torch.zeros(1)})
        pulse = torch.zeros(1, 1, 8, 1)
        pulse[0, 0, 4] = 1
        assert front(pulse).flatten().tolist() == [0, 0, 4, 3, 2, 1, 0, 0]


class TestReading:
    def test_round_trip(self, tmp_path: Path) -> None:
        written = constants()
        found = read_graph_weights(write_graph(tmp_path, written))
        assert found["model/concat/axis"] == 2
        for name, array in written.items():
            np.testing.assert_array_equal(found[name], array)
        state = from_graph_weights(found).state_dict()
        kernel = written["conv2d_5/kernel"]
        assert state["middle.0.conv.weight"][3, 100, 2] == kernel[2, 100, 0, 3]
        kernel = written["conv2d_1/kernel"]
        assert state["front.1.conv.weight"][7, 0, 2, 50] == kernel[2, 50, 0, 7]

    def test_missing_files(self, tmp_path: Path) -> None:
        with pytest.raises(MissingDataError, match=r"model\.json does not exist"):
            read_graph_weights(tmp_path)
        (write_graph(tmp_path, constants()) / features.SHARD).unlink()
        with pytest.raises(MissingDataError, match=f"{features.SHARD} does not exist"):
            read_graph_weights(tmp_path)

    @pytest.mark.parametrize("text", ["{}", "no JSON", "[]"])
    def test_not_a_graph(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "model.json").write_text(text)
        with pytest.raises(InvalidDataError, match=r"is not a TensorFlow\.js graph model"):
            read_graph_weights(tmp_path)

    def test_shard_cut_short(self, tmp_path: Path) -> None:
        shard = write_graph(tmp_path, constants()) / features.SHARD
        shard.write_bytes(shard.read_bytes()[:-4])
        with pytest.raises(InvalidDataError, match=r"the shards have \d+ bytes; model.json says"):
            read_graph_weights(tmp_path)

    def test_weights_of_another_network(self) -> None:
        lacking = constants()
        del lacking["dense/kernel"]
        other = constants() | {"dense/bias": np.zeros(100, dtype=np.float32)}
        for arrays in (lacking, other):
            with pytest.raises(InvalidDataError, match="the weights are not those of MusiCNN"):
                from_graph_weights(arrays)


class TestFeatures:
    def test_bands_are_those_of_the_publication(self) -> None:
        y = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
        mel = mel_spectrogram(y, 16000, n_fft=512, hop_length=256, n_mels=96)
        found = features.log_bands(y)
        assert (found.shape, found.dtype) == ((63, 96), np.float32)
        np.testing.assert_allclose(found, np.log10(10000 * mel + 1).T, atol=1e-4)

    @pytest.mark.parametrize(("frames", "patches"), [(374, 2), (373, 1), (187, 1), (50, 1)])
    def test_whole_patches_or_one_short_one(self, frames: int, patches: int) -> None:
        network = from_graph_weights(constants())
        bands = np.random.default_rng(0).random((frames, 96), np.float32)
        found = features.embed(network, bands)
        assert found.shape == (patches, 200)
        with torch.inference_mode():
            last = network(torch.from_numpy(bands[187 * (patches - 1) :][None, :187]))[0]
        np.testing.assert_allclose(found[-1:], last, atol=1e-6)

    def test_statistics_of_a_clip(self, graph: Path, tiny: Corpus) -> None:
        found = features.embedding_statistics(tiny[0])
        embeddings = features.embeddings(tiny[0])
        assert (found.shape, embeddings.shape) == ((400,), (1, 200))
        np.testing.assert_allclose(found[:200], embeddings[0], atol=1e-6)
        assert not found[200:].any()

    def test_statistics_of_the_first_30_s(
        self, tiny: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        values = np.random.default_rng(0).random((20, 200), np.float32)
        monkeypatch.setattr(features, "embeddings", lambda clip: values)
        found = features.embedding_statistics_30s(tiny[0])
        np.testing.assert_allclose(found[:200], values[:10].mean(axis=0), atol=1e-6)
        assert np.abs(found - features.embedding_statistics(tiny[0])).max() > 0.01

    def test_no_weights(
        self, tiny: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MER_DATA", str(tmp_path))
        with pytest.raises(
            MissingDataError, match=r"model\.json does not exist; get msd-musicnn-1"
        ):
            features.published_network()
        assert not features.has_weights()

    def test_other_weights(self, graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert features.has_weights()
        monkeypatch.setattr(features, "SHA256", "0" * 64)
        with pytest.raises(InvalidDataError, match=r"has SHA-256 .*, expected 000000000000"):
            features.published_network()


@pytest.mark.realdata
class TestPublished:
    @pytest.fixture
    def reference(self, data_folder: Path) -> dict[str, np.ndarray]:
        path = data_folder / "weights" / "msd-musicnn-1" / "reference.npz"
        if not path.is_file():
            pytest.skip("no published MusiCNN weights below MER_DATA")
        return dict(np.load(path))

    def test_the_published_graph_is_met(self, reference: dict[str, np.ndarray]) -> None:
        with torch.inference_mode():
            embedding, tags = features.published_network()(torch.from_numpy(reference["patches"]))
        np.testing.assert_allclose(embedding, reference["embedding"], atol=1e-4, rtol=0)
        np.testing.assert_allclose(tags, reference["tags"], atol=1e-6, rtol=0)

    def test_a_real_clip(self, reference: dict[str, np.ndarray], data_folder: Path) -> None:
        path = next((data_folder / "mirex_mood" / "Audio").glob("001.*"))
        found = features.embeddings(Clip("001", "g", path))
        seconds = audio_seconds(path)
        assert found.shape == (segment_count(seconds, 187 * 0.016, 0.0), 200)
        assert 0.5 < found.std() < 5
