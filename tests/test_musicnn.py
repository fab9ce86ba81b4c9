"""MusiCNN: the module, reading the published checkpoint, embeddings, and the system on them."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from mer.audio import audio_seconds
from mer.clips import Clip, Corpus
from mer.errors import InvalidDataError, MissingDataError
from mer.features.spectral import mel_spectrogram
from mer.models.musicnn import FrontEnd, MusiCNN
from mer.segments import segment_count
from mer.study import musicnn_weights
from mer.study.musicnn_weights import network_from, read_checkpoint
from mer.systems import musicnn as features


def variables() -> dict[str, np.ndarray]:
    """Random weights under the names and shapes of the published checkpoint."""
    rng = np.random.default_rng(0)
    kernels = [(7, 38), (7, 67), (128, 1), (64, 1), (32, 1), (7, 561), (7, 64), (7, 64)]
    channels = [204, 204, 51, 51, 51, 64, 64, 64]
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (kernel, n) in enumerate(zip(kernels, channels, strict=True)):
        layer = f"conv2d_{number}" if number else "conv2d"
        shapes |= {f"{layer}/kernel": (*kernel, 1, n), f"{layer}/bias": (n,)}
    for layer, n_in, n_out in (("dense", 1506, 200), ("dense_1", 200, 50)):
        shapes |= {f"{layer}/kernel": (n_in, n_out), f"{layer}/bias": (n_out,)}
    for number, n in enumerate([1, *channels, 1506, 200]):
        norm = f"batch_normalization{f'_{number}' if number else ''}"
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        shapes |= {f"{norm}/{part}": (n,) for part in parts}
    return {
        name: np.abs(0.05 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def varint(value: int) -> bytes:
    head, rest = value & 127, value >> 7
    return bytes([head | 128]) + varint(rest) if rest else bytes([head])


def masked_crc32c(data: bytes) -> bytes:
    """By long division of polynomials, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    masked = (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) & 0xFFFFFFFF
    return struct.pack("<I", masked)


def checkpoint(arrays: dict[str, np.ndarray]) -> tuple[bytes, bytes]:
    """Index and values as TensorFlow writes them: names share what they begin with."""
    values, items = b"", {b"": b"header"}
    for name, array in sorted(arrays.items()):
        data = array.tobytes()
        lengths = (b"\x08" + varint(n) for n in array.shape)
        shape = b"".join(b"\x12" + varint(len(d)) + d for d in lengths)
        place = b"\x20" + varint(len(values)) + b"\x28" + varint(len(data))
        head = b"\x08\x01\x12" + varint(len(shape)) + shape
        items[name.encode()] = head + place + b"\x35" + masked_crc32c(data)
        values += data
    first = block(items)
    handle = varint(0) + varint(len(first) - 5)
    second = block({b"zzz": handle})
    footer = varint(0) + varint(0) + varint(len(first)) + varint(len(second) - 5)
    magic = bytes.fromhex("57fb808b247547db")
    return first + second + footer.ljust(40, b"\0") + magic, values


def block(items: dict[bytes, bytes]) -> bytes:
    data, before = b"", b""
    for name, value in items.items():
        pairs = enumerate(zip(before, name, strict=False))
        shared = next((i for i, (a, b) in pairs if a != b), min(len(before), len(name)))
        own, before = name[shared:], name
        data += varint(shared) + varint(len(own)) + varint(len(value)) + own + value
    data += struct.pack("<II", 0, 1) + b"\0"
    return data + masked_crc32c(data)


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

    @pytest.mark.parametrize("n_frames", [5, 256, 300, 1000])
    def test_extremes_come_before_relu_and_scale(self, n_frames: int) -> None:
        torch.manual_seed(0)
        front, bands = FrontEnd(6, (7, 38)), torch.randn(2, 1, n_frames, 96)
        scale = {"factor": torch.tensor([1.0, -1.0, 0.0, 2.0, -0.5, 3.0]), "offset": torch.randn(6)}
        front.scale.load_state_dict(scale)
        plain = front.scale(torch.relu(front.conv(front.pad(bands)))).amax(dim=3)
        torch.testing.assert_close(front(bands), plain, rtol=0, atol=1e-5)


class TestReading:
    SMALL: ClassVar = {
        name: np.arange(size, dtype=np.float32).reshape(-1, 2)
        for name, size in (("dense/bias", 4), ("dense/kernel", 6), ("dense/kernel/Adam", 2))
    }

    def test_round_trip_without_the_optimiser(self) -> None:
        found = read_checkpoint(*checkpoint(self.SMALL))
        assert list(found) == ["dense/bias", "dense/kernel"]
        for name, array in found.items():
            np.testing.assert_array_equal(array, self.SMALL[name])

    def test_kernels_and_batch_normalisation(self) -> None:
        written = variables()
        state = network_from(written).state_dict()
        kernel = written["conv2d_5/kernel"]
        assert state["middle.0.conv.weight"][3, 100, 2] == kernel[2, 100, 0, 3]
        kernel = written["conv2d_1/kernel"]
        assert state["front.1.conv.weight"][7, 0, 2, 50] == kernel[2, 50, 0, 7]
        gamma, beta, mean, variance = (
            float(written[f"batch_normalization_9/{part}"][5])
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scaled = gamma * (2 - mean) / math.sqrt(variance + 1e-3) + beta
        found = state["pooled_scale.factor"][5] * 2 + state["pooled_scale.offset"][5]
        assert float(found) == pytest.approx(scaled, abs=1e-5)

    @pytest.mark.parametrize(
        ("file", "at", "found"),
        [
            ("index", -1, "does not end as one does"),
            ("index", 30, "a checksum is wrong"),
            ("values", 9, "a checksum is wrong"),
        ],
    )
    def test_changed_bytes(self, file: str, at: int, found: str) -> None:
        parts = dict(zip(("index", "values"), map(bytearray, checkpoint(self.SMALL)), strict=True))
        parts[file][at] ^= 1
        with pytest.raises(InvalidDataError, match=found):
            read_checkpoint(*map(bytes, parts.values()))

    def test_a_variable_without_checksum(self) -> None:
        with pytest.raises(ValueError, match="a variable has no place or no checksum"):
            musicnn_weights._variable({1: [1]}, b"")

    def test_cut_off(self) -> None:
        index, values = checkpoint(self.SMALL)
        for cut in (b"", index[:20], index[20:]):
            with pytest.raises(InvalidDataError, match="this is not a checkpoint of TensorFlow"):
                read_checkpoint(cut, values)
        with pytest.raises(InvalidDataError, match="a variable is cut off"):
            read_checkpoint(index, values[:12])

    def test_weights_of_another_network(self) -> None:
        lacking = variables()
        del lacking["dense/kernel"]
        other = variables() | {"dense/bias": np.zeros(100, dtype=np.float32)}
        for arrays in (lacking, other):
            with pytest.raises(InvalidDataError, match="these are not the variables of MusiCNN"):
                network_from(arrays)

    def test_no_wheel(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(musicnn_weights, "PACKAGE", "musicnn==9.9.9")
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        with pytest.raises(MissingDataError, match="pip could not download musicnn==9"):
            musicnn_weights.convert_wheel(tmp_path / "musicnn.pt", (), 0)
        assert not list(tmp_path.iterdir())


class TestFeatures:
    def test_bands_are_those_of_the_publication(self) -> None:
        y = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
        mel = mel_spectrogram(y, 16000, n_fft=512, hop_length=256, n_mels=96)
        found = features.log_bands(y)
        assert (found.shape, found.dtype) == ((63, 96), np.float32)
        np.testing.assert_allclose(found, np.log10(10000 * mel + 1).T, atol=1e-4)

    @pytest.mark.parametrize(("frames", "patches"), [(374, 2), (373, 1), (187, 1), (50, 1)])
    def test_whole_patches_or_one_short_one(self, frames: int, patches: int) -> None:
        network = network_from(variables())
        bands = np.random.default_rng(0).random((frames, 96), np.float32)
        found = features.embed(network, bands)
        assert found.shape == (patches, 200)
        with torch.inference_mode():
            last = network(torch.from_numpy(bands[187 * (patches - 1) :][None, :187]))[0]
        np.testing.assert_allclose(found[-1:], last, atol=1e-6)

    def test_statistics_of_a_clip(self, tiny: Corpus) -> None:
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


@pytest.mark.realdata
class TestPublished:
    @pytest.fixture
    def reference(self, data_folder: Path) -> dict[str, np.ndarray]:
        path = data_folder / "weights" / "msd-musicnn-1" / "reference.npz"
        if not path.is_file():
            pytest.skip("no reference of the published MusiCNN below MER_DATA")
        return dict(np.load(path))

    def test_the_published_graph_is_met(self, reference: dict[str, np.ndarray]) -> None:
        with torch.inference_mode():
            embedding, tags = features.network()(torch.from_numpy(reference["patches"]))
        np.testing.assert_allclose(embedding, reference["embedding"], atol=1e-4, rtol=0)
        np.testing.assert_allclose(tags, reference["tags"], atol=1e-6, rtol=0)

    def test_a_real_clip(self, reference: dict[str, np.ndarray], data_folder: Path) -> None:
        path = next((data_folder / "mirex_mood" / "Audio").glob("001.*"))
        found = features.embeddings(Clip("001", "g", path))
        seconds = audio_seconds(path)
        assert found.shape == (segment_count(seconds, 187 * 0.016, 0.0), 200)
        assert 0.5 < found.std() < 5
