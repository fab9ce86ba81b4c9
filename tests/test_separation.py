"""Separators: streaming, caching, bad input; SI-SDR; the true stems of composed clips."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
import torch

from mer import separation, weights
from mer.audio import audio_blocks, load_audio, waveform
from mer.clips import Clip
from mer.corpora import load
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.evaluation.separation import LIMIT_DB, separation_scores, si_sdr
from mer.separation import (
    SOURCES,
    get_separator,
    separate_file,
    separate_samples,
    source_waveform,
)
from mer.separation import demucs as adapters
from mer.separation.demucs import (
    OVERLAP,
    SEGMENT,
    SmallSeparator,
    separate_stream,
    small_network,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def music(seconds: float, rate: int = 22050, seed: int = 0) -> np.ndarray:
    """Noise that swells and fades: no segment has the level of the next."""
    t = np.arange(round(seconds * rate)) / rate
    level = 0.05 + 0.2 * np.sin(2 * np.pi * t / 7) ** 2
    return (level * np.random.default_rng(seed).normal(0, 1, t.size)).astype(np.float32)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallSeparator]:
    """The small separator with random weights; no file of the package is needed."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    weights.write_weights(folder / "separator.pt", small_network().state_dict(), {"seed": "0"})
    weights.register(folder / "separator.pt", "mer train separator")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "weights_folder", lambda: folder)
        weights._index.cache_clear()
        yield SmallSeparator()
    weights._index.cache_clear()


@pytest.fixture
def as_small(untrained: SmallSeparator, monkeypatch: pytest.MonkeyPatch) -> SmallSeparator:
    """The untrained separator in place of the packaged one."""
    monkeypatch.setattr(separation, "get_separator", lambda name: untrained)
    return untrained


def joined(pieces: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(pieces), axis=-1)


class TestStream:
    @pytest.mark.parametrize("n", [1, 7, 40, 75, 76, 100, 101, 1234])
    def test_copies_come_back_unchanged(self, n: int, rng: np.random.Generator) -> None:
        samples = rng.normal(0, 1, (2, n)).astype(np.float32)
        found = joined(separate_stream([samples], lambda _, piece: np.stack([piece] * 4), 100))
        assert found.shape == (4, 2, n)
        np.testing.assert_allclose(found[3], samples, atol=1e-6)

    def test_segments_are_crossfaded(self) -> None:
        """A separator that answers with the number of its segment."""
        count = iter(range(99))

        samples = np.zeros((1, 250), np.float32)
        pieces = separate_stream([samples], lambda _, p: p[None] + np.float32(next(count)), 100)
        found = joined(pieces)[0, 0]
        stride = round((1 - OVERLAP) * 100)
        assert not found[:stride].any()
        assert np.all(np.diff(found[stride:100]) > 0)
        np.testing.assert_array_equal(found[100 : 2 * stride], 1)

    def test_context_is_what_came_before(self) -> None:
        samples = np.arange(500, dtype=np.float32)[None]
        seen: list[tuple[np.ndarray, np.ndarray]] = []

        def separate(before: np.ndarray, piece: np.ndarray) -> np.ndarray:
            seen.append((before, piece))
            return piece[None]

        joined(separate_stream(np.array_split(samples, 9, axis=1), separate, 100))
        assert [piece[0, 0] for _, piece in seen] == list(range(0, 500, 75))
        for before, piece in seen:
            start = int(piece[0, 0])
            np.testing.assert_array_equal(before[0], np.arange(max(start - 100, 0), start))

    def test_memory_is_bounded(self) -> None:
        """The first sources are there before the last samples are asked for."""
        asked = 0

        def blocks() -> Iterator[np.ndarray]:
            nonlocal asked
            for _ in range(1000):
                asked += 1
                yield np.zeros((1, 50), np.float32)

        sources = separate_stream(blocks(), lambda before, piece: piece[None], 100)
        next(sources)
        assert asked == 2

    def test_no_samples_are_an_error(self) -> None:
        with pytest.raises(InvalidDataError, match="no samples"):
            joined(separate_stream([], lambda before, piece: piece[None], 100))


class TestSmallSeparator:
    def test_size_and_a_segment_that_needs_no_padding(self) -> None:
        assert sum(p.numel() for p in small_network().parameters()) == 2010444
        assert small_network().valid_length(SEGMENT) == SEGMENT

    def test_same_as_the_package_for_the_whole(self, untrained: SmallSeparator) -> None:
        from demucs.apply import apply_model

        samples = music(20)
        mix = torch.from_numpy(samples)[None, None]
        expected = apply_model(untrained._network, mix, shifts=0, segment=SEGMENT / 22050)
        found = joined(untrained.separate(np.array_split(samples[None], 7, axis=1)))
        np.testing.assert_allclose(found, expected[0].numpy(), atol=1e-6)

    def test_channels_are_heard_one_by_one(self, untrained: SmallSeparator) -> None:
        left, right = music(3), 0.1 * music(3, seed=1)
        both = joined(untrained.separate([np.stack([left, right])]))
        for channel, samples in enumerate((left, right)):
            alone = joined(untrained.separate([samples[None]]))[:, 0]
            np.testing.assert_allclose(both[:, channel], alone, atol=1e-6)

    @pytest.mark.parametrize("n", [1, 100, 4410, 200000])
    def test_silence_has_silent_sources(self, untrained: SmallSeparator, n: int) -> None:
        found = joined(untrained.separate([np.zeros((1, n), np.float32)]))
        assert found.shape == (4, 1, n)
        assert not found.any()

    @pytest.mark.parametrize("rate", [8000, 22050, 44100])
    def test_rate_and_length_of_samples_are_kept(
        self, untrained: SmallSeparator, rate: int
    ) -> None:
        stems = separate_samples(music(0.37, rate), rate, untrained)
        assert tuple(stems) == SOURCES
        assert {stem.shape for stem in stems.values()} == {(round(0.37 * rate),)}

    @pytest.mark.parametrize(
        "samples", [np.zeros((2, 5)), np.empty(0), np.array([0.0, np.nan]), np.array([np.inf])]
    )
    def test_bad_samples(self, untrained: SmallSeparator, samples: np.ndarray) -> None:
        with pytest.raises(InvalidDataError, match="samples"):
            separate_samples(samples, 22050, untrained)


class TestFiles:
    @pytest.mark.parametrize(("rate", "channels"), [(22050, 1), (44100, 2), (8000, 2)])
    def test_file_is_separated_like_samples(
        self, untrained: SmallSeparator, tmp_path: Path, rate: int, channels: int
    ) -> None:
        samples = np.stack([music(3, rate, k) for k in range(channels)], axis=1)
        soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
        found = joined(separate_file(tmp_path / "a.wav", untrained))
        assert found.shape == (4, channels, 3 * 22050)
        left, _ = load_audio(tmp_path / "a.wav", 22050)
        if channels == 1:
            expected = separate_samples(left, 22050, untrained)
            np.testing.assert_allclose(found[:, 0], list(expected.values()), atol=1e-6)

    @pytest.mark.parametrize("rate", [22050, 44100])
    def test_channels_average_to_mono(
        self, tmp_path: Path, rate: int, rng: np.random.Generator
    ) -> None:
        soundfile.write(tmp_path / "a.wav", rng.uniform(-0.5, 0.5, (rate, 2)), rate)
        stereo = list(audio_blocks(tmp_path / "a.wav", 22050, block_seconds=0.3, mono=False))
        mono = list(audio_blocks(tmp_path / "a.wav", 22050, block_seconds=0.3))
        assert [len(block) for block in stereo] == [len(block) for block in mono]
        both = np.concatenate(stereo)
        assert both.shape == (22050, 2)
        np.testing.assert_allclose(both.mean(axis=1), np.concatenate(mono), atol=1e-6)


@pytest.fixture(scope="module")
def band() -> Clip:
    """Band of the composed corpus."""
    return load("composed", size=1, duration=5.0, arrangement="band")[0]


class TestCache:
    @pytest.mark.usefixtures("as_small")
    def test_separated_once(
        self, untrained: SmallSeparator, band: Clip, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        separate = Mock(side_effect=untrained.separate)
        monkeypatch.setattr(untrained, "separate", separate)
        first = {source: source_waveform(band, source, 12000) for source in SOURCES}
        for source in SOURCES:
            again = source_waveform(band, source, 12000, separator="small")
            np.testing.assert_array_equal(first[source], again)
        separate.assert_called_once()
        assert first["bass"].dtype == np.float32
        assert abs(len(first["bass"]) - len(waveform(band, 22050)) * 12000 / 22050) <= 1

    @pytest.mark.usefixtures("as_small")
    def test_stored_as_good_as_computed(self, untrained: SmallSeparator, band: Clip) -> None:
        stems = separate_samples(waveform(band), 22050, untrained)
        for source in SOURCES:
            stored = source_waveform(band, source)
            assert si_sdr(stems[source], stored) > 50
            np.testing.assert_array_equal(stored, stems[source].astype(np.float16))

    def test_true_sources_add_up_to_the_mix(self, band: Clip) -> None:
        stems = [source_waveform(band, source, separator="true") for source in SOURCES]
        mix = source_waveform(band, "mix", separator="true")
        n = min(len(mix), len(stems[0]))
        np.testing.assert_allclose(np.sum(stems, axis=0)[:n], mix[:n], atol=2e-3)
        assert all(stem.any() for stem in stems)

    def test_true_sources_of_a_recording(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", np.zeros(1000), 8000)
        clip = Clip(id="a", group="a", audio=tmp_path / "a.wav")
        with pytest.raises(MissingDataError, match="only clips of corpus 'composed' have stems"):
            source_waveform(clip, "bass", separator="true")

    @pytest.mark.usefixtures("as_small")
    @pytest.mark.parametrize("separator", ["true", "small"])
    def test_unknown_source(self, band: Clip, separator: str) -> None:
        with pytest.raises(ParameterError, match="unknown source 'piano'; the sources are: drums"):
            source_waveform(band, "piano", separator=separator)

    def test_unknown_separator(self, band: Clip) -> None:
        with pytest.raises(ParameterError, match=r"unknown separator 'ears'.*small, htdemucs"):
            source_waveform(band, "bass", separator="ears")


def tiny_htdemucs(folder: Path) -> str:
    """Name of a file in the manner of the authors' one, with a small random network in it."""
    from fractions import Fraction

    from demucs.htdemucs import HTDemucs

    torch.manual_seed(0)
    sizes = {"channels": 8, "t_layers": 1, "bottom_channels": 16, "t_heads": 2}
    options: dict[str, Any] = {"sources": list(SOURCES), **sizes, "segment": Fraction(1)}
    state = HTDemucs(**options).state_dict()
    content = {"klass": HTDemucs, "args": (), "kwargs": options, "state": state}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "new.th"
    torch.save(content, path)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return path.rename(folder / f"955717e8-{digits}.th").name


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MER_CACHE", str(tmp_path))
    return tmp_path


class TestHybridDemucs:
    @pytest.fixture
    def tiny(self, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(adapters, "FILE", tiny_htdemucs(cache_folder / "demucs"))
        monkeypatch.setattr(torch.hub, "download_url_to_file", None)
        return adapters.weights_file()

    @pytest.mark.usefixtures("tiny")
    def test_same_as_the_package_for_the_whole(self) -> None:
        from demucs.apply import apply_model

        separator = adapters.HybridDemucs()
        samples = np.stack([music(2.3, 44100, seed) for seed in (0, 1)])
        mix = torch.from_numpy(samples)[None]
        expected = apply_model(separator._network, mix, shifts=0)[0].numpy()
        found = joined(separator.separate(np.array_split(samples, 3, axis=1)))
        np.testing.assert_allclose(found, expected, atol=1e-5)

    @pytest.mark.usefixtures("tiny")
    def test_one_channel_and_three(self) -> None:
        separator = adapters.HybridDemucs()
        mono = joined(separator.separate([music(0.2, 44100)[None]]))
        assert mono.shape == (4, 1, 8820)
        with pytest.raises(InvalidDataError, match="3 channels; separator 'htdemucs' takes one"):
            joined(separator.separate([np.ones((3, 100), np.float32)]))

    def test_damaged_weights(self, tiny: Path) -> None:
        content = bytearray(tiny.read_bytes())
        content[len(content) // 2] ^= 1
        tiny.write_bytes(content)
        with pytest.raises(InvalidDataError, match=r"is damaged.*remove it to fetch it again"):
            adapters.HybridDemucs()

    @pytest.mark.parametrize(
        "failure", [OSError("no route to host"), RuntimeError("invalid hash value")]
    )
    def test_weights_that_cannot_be_fetched(
        self, cache_folder: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
    ) -> None:
        def fail(url: str, path: str, hash_prefix: str) -> None:
            assert url.endswith("hybrid_transformer/955717e8-8726e21a.th")
            assert hash_prefix == "8726e21a"
            raise failure

        monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
        expected = rf"fetched from .*{failure}.*put it at {cache_folder}.*or take separator 'small'"
        with pytest.raises(MissingDataError, match=expected):
            get_separator("htdemucs")


class TestScores:
    @pytest.mark.parametrize("decibels", [-20.0, -3.0, 0.0, 10.0, 40.0])
    def test_orthogonal_noise_gives_its_ratio(self, decibels: float) -> None:
        t = np.arange(8000) / 8000
        source, noise = np.sin(2 * np.pi * 100 * t), np.sin(2 * np.pi * 250 * t)
        estimate = source + 10 ** (-decibels / 20) * noise
        assert si_sdr(source, estimate) == pytest.approx(decibels, abs=1e-6)

    def test_reference_value(self) -> None:
        """Worked by hand: projection 2/3 on (1, -1, 0) is signal 8/9, distortion 8/3 - 8/9."""
        found = si_sdr(np.array([1.0, -1.0, 0.0]), np.array([0.0, -1.0, 1.0]))
        assert found == pytest.approx(10 * np.log10((1 / 2) ** 2 / (1 - (1 / 2) ** 2)))

    def test_gain_sign_and_offset_make_no_difference(self, rng: np.random.Generator) -> None:
        source, noise = rng.normal(0, 0.1, (2, 1000))
        expected = si_sdr(source, source + noise)
        for change in (lambda x: 7 * x, lambda x: -0.01 * x, lambda x: x + 3):
            assert si_sdr(source, change(source + noise)) == pytest.approx(expected, abs=1e-6)

    def test_limits(self, rng: np.random.Generator) -> None:
        source = rng.normal(0, 0.1, 1000)
        assert si_sdr(source, source) == LIMIT_DB
        assert si_sdr(source, np.zeros(1000)) == -LIMIT_DB

    def test_silent_reference_has_no_score(self, rng: np.random.Generator) -> None:
        assert np.isnan(si_sdr(np.zeros(100), rng.normal(0, 0.1, 100)))
        assert np.isnan(si_sdr(np.full(100, 5e-5), rng.normal(0, 0.1, 100)))
        assert np.isnan(si_sdr(np.ones(100), rng.normal(0, 0.1, 100)))

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda: si_sdr(np.zeros(5), np.zeros(6)),
            lambda: si_sdr(np.zeros((2, 5)), np.zeros((2, 5))),
            lambda: si_sdr(np.empty(0), np.empty(0)),
            lambda: si_sdr(np.ones(3), np.array([0, np.nan, 1])),
            lambda: separation_scores({"bass": np.ones(3)}, {"drums": np.ones(3)}),
        ],
    )
    def test_bad_arrays(self, wrong: Callable[[], object]) -> None:
        with pytest.raises(ParameterError):
            wrong()
