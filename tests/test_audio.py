"""Decoding, resampling, cropping, and rendering MIDI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import write_midi

from mer import libraries, rendering
from mer.audio import (
    audio_blocks,
    audio_channels,
    audio_seconds,
    audio_source,
    crop,
    load_audio,
    resample,
    waveform,
)
from mer.clips import Clip
from mer.errors import DataWarning, InvalidDataError, MissingDataError, ParameterError

RATE = 22050


def sine(hertz: float, seconds: float, rate: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def peak_hertz(samples: np.ndarray, rate: int) -> float:
    """Frequency of the strongest bin of a windowed spectrum."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


class TestLoad:
    @pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
    def test_stereo_becomes_the_mean(self, tmp_path: Path, suffix: str) -> None:
        tone = 0.5 * sine(440, 0.5, RATE)
        path = tmp_path / f"a.{suffix}"
        soundfile.write(path, np.stack([tone, 0 * tone], axis=1), RATE)
        samples, rate = load_audio(path)
        assert (samples.dtype, rate) == (np.float32, RATE)
        tolerance = 0.01 if suffix == "ogg" else 1 / 32768
        np.testing.assert_allclose(samples, tone / 2, atol=tolerance)

    def test_resamples(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        soundfile.write(path, 0.5 * sine(1000, 1, 44100), 44100)
        samples, rate = load_audio(path, 16000)
        assert (len(samples), rate) == (16000, 16000)
        assert peak_hertz(samples, 16000) == 1000
        inner = samples[1000:-1000]
        np.testing.assert_allclose(inner, 0.5 * sine(1000, 1, 16000)[1000:-1000], atol=1e-3)

    def test_resampling_is_band_limited(self) -> None:
        # 7 kHz is above half of 12 kHz: without a filter it would come out at 5 kHz
        samples = resample(sine(7000, 1, RATE).astype(np.float32), RATE, 12000)
        assert np.abs(samples[1000:-1000]).max() < 1e-3

    def test_length_is_rounded_up(self) -> None:
        assert resample(np.zeros(1001, dtype=np.float32), 44100, 22050).shape == (501,)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", r"is empty \(0 bytes\)"),
            (b"this is a text file\n" * 20, "is not readable audio: "),
            (b"RIFF\0\0\0\0WAVE", "is not readable audio: "),
            (b"\n <!DOCTYPE html><html>", r"is not audio but a web page \(HTML\)"),
        ],
    )
    def test_file_that_is_not_audio(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = tmp_path / "a.wav"
        path.write_bytes(content)
        for read in (load_audio, audio_seconds, lambda path: list(audio_blocks(path, RATE))):
            with pytest.raises(InvalidDataError, match=rf"a\.wav {message}"):
                read(path)

    def test_file_that_takes_ffmpeg(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        path = tmp_path / "a.wav"
        path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
        message = (
            r"a\.wav is an MP4 file \(m4a, AAC, video\), which cannot be read without ffmpeg; "
            "install ffmpeg, or convert it to WAV or FLAC"
        )
        for read in (load_audio, audio_seconds, lambda path: list(audio_blocks(path, RATE))):
            with pytest.raises(InvalidDataError, match=message):
                read(path)

    def test_holes(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ogg"
        soundfile.write(path, 0.5 * np.random.default_rng(0).normal(size=2 * RATE), RATE)
        content = path.read_bytes()
        for start in range(0, len(content) - 200, len(content) // 20):
            path.write_bytes(content[:start] + bytes(200) + content[start + 200 :])
            with suppress(InvalidDataError), warnings.catch_warnings(action="ignore"):
                joined = np.concatenate(list(audio_blocks(path, RATE)))
                np.testing.assert_array_equal(load_audio(path)[0], joined)

    def test_file_that_is_shorter_than_its_header_says(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mp3"
        soundfile.write(path, 0.5 * sine(440, 4, RATE), RATE)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.warns(DataWarning, match=r"a.mp3 ends after 1.\d+ s; its header says 4.0\d s"):
            samples, _ = load_audio(path)
        assert 1.8 < len(samples) / RATE < 2.1
        with pytest.warns(DataWarning, match=r"a.mp3 ends after 1.\d+ s; its header says 4.0\d s"):
            assert sum(map(len, audio_blocks(path, RATE, block_seconds=0.5))) == len(samples)

    @pytest.mark.parametrize(("size", "promised"), [(0, 4.0), (10_000, 4.0)])
    def test_wav_that_is_shorter_than_its_header_says(
        self, tmp_path: Path, size: int, promised: float
    ) -> None:
        """Libsndfile takes what is there for all; other chunks may stand before the samples."""
        path = tmp_path / "a.wav"
        soundfile.write(path, 0.5 * sine(440, 4, RATE), RATE)
        content = path.read_bytes()
        extra = b"LIST" + size.to_bytes(4, "little") + bytes(size) if size else b""
        path.write_bytes((content[:12] + extra + content[12:])[: len(extra) + 44 + 2 * RATE])
        with pytest.warns(DataWarning, match=rf"a.wav ends after 1.00 s; .* {promised:.2f} s"):
            assert len(load_audio(path)[0]) == RATE

    def test_ogg_that_ends_within_a_page(self, tmp_path: Path) -> None:
        path = tmp_path / "a.ogg"
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, 20 * RATE)
        soundfile.write(path, noise, RATE, format="OGG")
        load_audio(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.warns(DataWarning, match=r"a.ogg ends after .* it was cut short"):
            load_audio(path)

    @pytest.mark.filterwarnings("error")
    def test_length_of_a_stream(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        soundfile.write(path, 0.5 * sine(440, 1, RATE), RATE)
        content = bytearray(path.read_bytes())
        content[40:44] = b"\xff\xff\xff\x7f"
        path.write_bytes(content)
        assert len(load_audio(path)[0]) == RATE

    def test_raw_samples(self, tmp_path: Path) -> None:
        path = tmp_path / "a.RAW"
        soundfile.write(tmp_path / "a.wav", 0.5 * sine(440, 1, RATE), RATE)
        (tmp_path / "a.wav").rename(path)
        for read in (load_audio, audio_seconds):
            with pytest.raises(InvalidDataError, match=r"a\.RAW has raw samples without a header"):
                read(path)

    @pytest.mark.parametrize(("right", "warned"), [(-1.0, True), (-0.99, True), (-0.9, False)])
    def test_channels_that_cancel_each_other(
        self, tmp_path: Path, right: float, warned: bool, recwarn: pytest.WarningsRecorder
    ) -> None:
        tone = 0.5 * sine(440, 1, RATE)
        soundfile.write(tmp_path / "a.wav", np.stack([tone, right * tone], axis=1), RATE)
        load_audio(tmp_path / "a.wav")
        list(audio_blocks(tmp_path / "a.wav", RATE, block_seconds=0.3))
        list(audio_blocks(tmp_path / "a.wav", RATE, mono=False))
        shown = [str(warning.message) for warning in recwarn]
        assert len(shown) == 2 * warned
        assert all("a.wav: its channels cancel each other in their mean" in m for m in shown)

    @pytest.mark.parametrize(
        ("samples", "message"),
        [([], "has no samples"), ([0, np.nan, 0], "not finite"), ([0, np.inf, 0], "not finite")],
    )
    def test_samples_that_are_none(
        self, tmp_path: Path, samples: list[float], message: str
    ) -> None:
        path = tmp_path / "a.wav"
        soundfile.write(path, np.asarray(samples), RATE, subtype="FLOAT")
        with pytest.raises(InvalidDataError, match=rf"a\.wav .*{message}"):
            load_audio(path)

    @pytest.mark.parametrize("value", [1e38, -3e38, 32767])
    def test_samples_beyond_all_loudness(self, tmp_path: Path, value: float) -> None:
        path = tmp_path / "a.wav"
        samples = np.zeros((RATE, 2))
        samples[RATE // 2] = value, -value  # nothing is left of them in the mean
        soundfile.write(path, samples, RATE, subtype="FLOAT")
        message = re.escape(f"a.wav has a sample of {abs(value):g} at 0.500 s; expected -1 to 1")
        for read in (load_audio, lambda path: list(audio_blocks(path, RATE, mono=False))):
            with pytest.raises(InvalidDataError, match=message):
                read(path)

    @pytest.mark.parametrize("rate", [1, 999, 768_001, 1_000_000_000])
    def test_rates_that_no_recording_has(self, tmp_path: Path, rate: int) -> None:
        """At 1 Hz, 88 KB would become 4 GiB."""
        path = tmp_path / "a.wav"
        soundfile.write(path, np.zeros(44100), 44100)
        content = bytearray(path.read_bytes())
        content[24:28] = rate.to_bytes(4, "little")
        path.write_bytes(content)
        message = rf"a\.wav has a sample rate of {rate:,} Hz; expected 1,000 to 768,000 Hz"
        for read in (load_audio, audio_seconds, lambda path: list(audio_blocks(path, RATE))):
            with pytest.raises(InvalidDataError, match=message):
                read(path)

    @pytest.mark.parametrize("rate", [22050.5, -1, 0, 999, 1e9])
    def test_rates_that_nobody_wants(self, tmp_path: Path, rate: float) -> None:
        path = tmp_path / "a.wav"
        soundfile.write(path, np.zeros(RATE), RATE)
        clip = Clip("a", "a", path)
        message = rf"sample_rate is {rate!r}; expected a whole number from 1,000 to 768,000 \(Hz\)"
        reads: list[Any] = [load_audio, lambda *given: list(audio_blocks(*given))]
        for read in reads:
            with pytest.raises(ParameterError, match=message):
                read(path, rate)
        with pytest.raises(ParameterError, match=message):
            waveform(clip, rate)  # type: ignore[arg-type]
        with pytest.raises(ParameterError, match=message):
            resample(np.zeros(100, np.float32), rate, RATE)  # type: ignore[arg-type]

    @pytest.mark.parametrize("frames", [0, 2**36 - 1])
    def test_length_that_a_header_invents(self, tmp_path: Path, frames: int) -> None:
        """Unknown, as streams leave it, or 256 GiB."""
        path = tmp_path / "a.flac"
        soundfile.write(path, 0.5 * sine(440, 1, RATE), RATE)
        content = bytearray(path.read_bytes())
        content[21] = content[21] & 0xF0 | frames >> 32
        content[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
        path.write_bytes(content)
        for read in (load_audio, audio_seconds, lambda path: list(audio_blocks(path, RATE))):
            with pytest.raises(
                InvalidDataError, match=r"a\.flac has a header that says more than 24 h; the"
            ):
                read(path)

    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        for path, state in ((tmp_path / "gone.wav", "does not exist"), (tmp_path, "is a folder")):
            with pytest.raises(MissingDataError, match=f"{state}; expected an audio file"):
                load_audio(path)


def test_crop() -> None:
    samples = np.arange(10.0)
    np.testing.assert_array_equal(crop(samples, 3), [0, 1, 2])
    np.testing.assert_array_equal(crop(samples, 3, start=8), [8, 9, 0])
    np.testing.assert_array_equal(crop(samples, 2, start=20), [0, 0])


class TestRendering:
    @pytest.fixture
    def a4(self, tmp_path: Path) -> Path:
        return write_midi(tmp_path / "a4.mid", np.asarray([[0.5, 2.5, 69, 90]]))

    def test_is_deterministic(self, a4: Path) -> None:
        first = rendering.render_midi(a4, RATE)
        assert first.dtype == np.float32
        np.testing.assert_array_equal(first, rendering.render_midi(a4, RATE))

    @pytest.mark.parametrize("rate", [16000, 22050])
    def test_time_and_pitch(self, a4: Path, rate: int) -> None:
        samples = rendering.render_midi(a4, rate)
        assert 2.5 * rate < len(samples) < 4 * rate
        loud = np.abs(samples) > 0.05 * np.abs(samples).max()
        assert loud.argmax() / rate == pytest.approx(0.5, abs=0.02)
        assert peak_hertz(samples[rate : 2 * rate], rate) == pytest.approx(440, abs=1)

    def test_silence_at_the_end_is_cut_off(self, a4: Path) -> None:
        whole = rendering.render_midi(a4, RATE, trim=False)
        trimmed = rendering.render_midi(a4, RATE)
        assert trimmed.size < whole.size
        np.testing.assert_array_equal(trimmed, whole[: trimmed.size])
        assert np.abs(whole[trimmed.size :]).max() <= 1e-4 < abs(trimmed[-1])

    def test_louder_velocity_is_louder(self, tmp_path: Path) -> None:
        levels = []
        for velocity in (30, 60, 90, 120):
            notes = np.asarray([[0, 1, 60, velocity]])
            midi = write_midi(tmp_path / f"{velocity}.mid", notes)
            levels.append(np.sqrt(np.mean(rendering.render_midi(midi, RATE)[:RATE] ** 2)))
        assert np.all(np.diff(levels) > 0.2 * np.asarray(levels[:-1]))
        assert levels[-1] < 1

    def test_missing_fluidsynth(self, a4: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(a4.parent))
        with pytest.raises(MissingDataError, match=r"FluidSynth is not installed.* install the pa"):
            rendering.render_midi(a4)

    def test_missing_files(self, a4: Path, tmp_path: Path) -> None:
        with pytest.raises(MissingDataError, match=r"gone\.mid does not exist"):
            rendering.render_midi(tmp_path / "gone.mid")
        with pytest.raises(MissingDataError, match=r"gone\.sf2 does not exist"):
            rendering.render_midi(a4, soundfont=tmp_path / "gone.sf2")


class TestWaveform:
    @pytest.fixture
    def midi(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("MER_CACHE", str(tmp_path / "cache"))
        return write_midi(tmp_path / "a.mid", np.asarray([[0, 0.5, 69, 90], [0.5, 1, 72, 90]]))

    def test_recording_comes_first(self, tmp_path: Path, midi: Path) -> None:
        soundfile.write(tmp_path / "a.wav", 0.5 * sine(100, 1, 44100), 44100)
        samples = waveform(Clip("a", "a", tmp_path / "a.wav", midi), RATE)
        assert samples.shape == (RATE,)
        assert peak_hertz(samples, RATE) == 100

    def test_midi_is_rendered_once(self, midi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        clip = Clip("a", "a", midi=midi)
        first = waveform(clip, RATE)
        np.testing.assert_allclose(first, rendering.render_midi(midi, RATE), atol=1 / 32768)
        monkeypatch.setattr(rendering, "render_midi", pytest.fail)
        np.testing.assert_array_equal(waveform(clip, RATE), first)

    def test_rates_are_kept_apart(self, midi: Path) -> None:
        clip = Clip("a", "a", midi=midi)
        assert waveform(clip, 8000).size < waveform(clip, RATE).size

    @pytest.mark.parametrize("damage", ["empty", "cut"])
    def test_damaged_rendering_is_made_again(self, midi: Path, tmp_path: Path, damage: str) -> None:
        clip = Clip("a", "a", midi=midi)
        first = waveform(clip, RATE)
        (entry,) = (tmp_path / "cache").rglob("*.flac")
        content = entry.read_bytes()
        entry.write_bytes(b"" if damage == "empty" else content[:30])
        np.testing.assert_array_equal(waveform(clip, RATE), first)
        assert entry.read_bytes() == content

    def test_midi_without_notes(self, midi: Path) -> None:
        write_midi(midi, np.empty((0, 4)))
        with pytest.raises(InvalidDataError, match=r"a\.mid: rendered to silence"):
            waveform(Clip("a", "a", midi=midi))

    def test_rendering_that_cannot_be_stored_whole(
        self, midi: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A full disk may cut a file short without an error."""
        write = soundfile.write
        with monkeypatch.context() as patch:
            patch.setattr("soundfile.write", lambda p, x, *a, **k: write(p, x[:100], *a, **k))
            with pytest.raises(MissingDataError, match=r"cannot store .*: 100 of \d+ samples were"):
                waveform(Clip("a", "a", midi=midi))
        assert waveform(Clip("a", "a", midi=midi)).size > 100

    def test_missing_files(self, tmp_path: Path) -> None:
        with pytest.raises(MissingDataError, match="'a' has no audio and no MIDI file"):
            waveform(Clip("a", "a"))
        with pytest.raises(MissingDataError, match=r"gone\.mid does not exist"):
            waveform(Clip("a", "a", midi=tmp_path / "gone.mid"))


def test_audio_source() -> None:
    path = Path("x")
    recorded, rendered = Clip("a", "a", audio=path, midi=path), Clip("b", "b", midi=path)
    assert audio_source([recorded]) == "recorded"
    assert audio_source([rendered, rendered]) == "rendered"
    assert audio_source([recorded, rendered]) == "partly rendered"
    assert audio_source([Clip("c", "c")]) == "none"


def test_librosa_is_compiled_by_one_process_at_a_time(tmp_path: Path) -> None:
    """Two that write numba's files at once can leave some that crash (numba issue 10128)."""
    (tmp_path / "compiled.py").write_text(
        "import pathlib, time\n"
        "alone = pathlib.Path('alone')\n"
        "alone.touch(exist_ok=False)\n"
        "time.sleep(1)\n"
        "alone.unlink()\n"
    )
    command = "from mer import libraries; libraries._COMPILED = ('compiled',);"
    command += "libraries.load_librosa()"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", command], cwd=tmp_path, env=environment)
        for _ in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]


def test_librosa_is_locked_only_while_numba_may_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks: list[Path] = []

    def lock(path: Path) -> nullcontext[None]:
        locks.append(path)
        return nullcontext()

    monkeypatch.setattr(libraries, "_import", lambda: "librosa")
    monkeypatch.setattr("filelock.FileLock", lock)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    load = libraries.load_librosa.__wrapped__
    compiled = tmp_path / "numba" / "guf.py311.nbi"
    compiled.parent.mkdir()
    for content, expected in (("index", 1), ("index", 1), ("longer index", 2), ("", 3), ("", 3)):
        if not compiled.is_file() or compiled.read_text() != content:
            compiled.write_text(content)
        load()
        assert len(locks) == expected
    monkeypatch.setattr(libraries, "_compiled_files", lambda: None)
    load()
    load()
    assert len(locks) == 5


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
class TestFfmpeg:
    @staticmethod
    def encode(path: Path, *options: str, seconds: float = 4.0) -> Path:
        wav = path.with_name("source.wav")
        left, right = 0.5 * sine(1000, seconds, RATE), 0.25 * sine(3000, seconds, RATE)
        soundfile.write(wav, np.stack([left, right], axis=1), RATE)
        command = ["ffmpeg", "-v", "error", "-y", "-i", str(wav), *options, f"file:{path}"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        return path

    @pytest.mark.parametrize(
        ("name", "codec"),
        [("é -b%d:1.m4a", "aac"), ("a.aac", "aac"), ("a.wma", "wmav2"), ("a.webm", "libvorbis")],
    )
    def test_lossy(self, tmp_path: Path, name: str, codec: str) -> None:
        path = self.encode(tmp_path / name, "-c:a", codec)
        assert (audio_seconds(path), audio_channels(path)) == (pytest.approx(4, abs=0.4), 2)
        samples, rate = load_audio(path, 16000)
        assert (rate, len(samples) / rate) == (16000, pytest.approx(4, abs=0.1))
        assert peak_hertz(samples, rate) == pytest.approx(1000, abs=1)
        joined = np.concatenate(list(audio_blocks(path, 16000, block_seconds=0.7)))
        np.testing.assert_allclose(joined, samples, atol=1e-6)

    def test_lossless(self, tmp_path: Path) -> None:
        path = self.encode(tmp_path / "a.m4a", "-c:a", "alac")
        wav, _ = soundfile.read(tmp_path / "source.wav", dtype="float32")
        blocks = list(audio_blocks(path, RATE, block_seconds=1.0, mono=False))
        np.testing.assert_array_equal(np.concatenate(blocks), wav)
        np.testing.assert_array_equal(load_audio(path)[0], wav.mean(axis=1))

    def test_a_length_that_is_not_told(self, tmp_path: Path) -> None:
        path = self.encode(tmp_path / "a.webm", "-c:a", "libvorbis")
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-c", "copy", "-f", "webm", "-"]
        done = subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        path.write_bytes(done.stdout)
        assert audio_seconds(path) == pytest.approx(4, abs=0.05)

    @pytest.mark.parametrize("mark", ["AVI ", "MAC "])
    def test_a_list_of_other_files_is_none(self, tmp_path: Path, mark: str) -> None:
        self.encode(tmp_path / "other.aac", "-c:a", "aac")
        lines = ["#EXTM3U", mark, "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", "other.aac"]
        path = tmp_path / "a.avi"
        path.write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
        for text in (path.read_text(), "RIFF1234AVI " + path.read_text()):
            path.write_text(text)
            with pytest.raises(InvalidDataError, match=r"a\.avi is "):
                load_audio(path)

    @pytest.mark.parametrize("answer", ["", "{}", '{"streams": [{"sample_rate": "N/A"}]}'])
    def test_an_odd_answer_of_ffprobe(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
    ) -> None:
        for name in ("ffmpeg", "ffprobe"):
            (tmp_path / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        path = tmp_path / "a.m4a"
        path.write_bytes(b"\0\0\0 ftypM4A ")
        with pytest.raises(InvalidDataError, match=r"a\.m4a is an MP4 file .*(no audio|not known)"):
            load_audio(path)

    def test_only_pictures(self, tmp_path: Path) -> None:
        path, picture = tmp_path / "a.mp4", "color=duration=1:size=32x32:rate=5"
        command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", picture, "-c:v", "mpeg4"]
        subprocess.run([*command, str(path)], check=True, stdin=subprocess.DEVNULL)
        with pytest.raises(InvalidDataError, match=r"a\.mp4 is an MP4 file .* and has no audio"):
            load_audio(path)

    def test_cut_short(self, tmp_path: Path) -> None:
        path = self.encode(tmp_path / "a.m4a", "-c:a", "aac")
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        message = r"a\.m4a is an MP4 file .* that ffmpeg cannot decode: moov atom not found; copy"
        with pytest.raises(InvalidDataError, match=message):
            audio_seconds(path)
        path = self.encode(tmp_path / "a.m4a", "-c:a", "aac", "-movflags", "+faststart")
        path.write_bytes(path.read_bytes()[: len(content) // 2])
        with pytest.warns(
            DataWarning, match=r"a\.m4a ends after [12]\.\d+ s; its header says 4\.0"
        ):
            load_audio(path)

    def test_reading_a_part_ends_ffmpeg(self, tmp_path: Path) -> None:
        path = self.encode(tmp_path / "a.m4a", "-c:a", "aac", seconds=60)
        blocks = audio_blocks(path, RATE, block_seconds=1.0)
        next(blocks)
        del blocks
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        names = [Path(f"/proc/{child}/comm").read_text().strip() for child in children]
        assert "ffmpeg" not in names
