"""mer separate: what it writes, what it says, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Run

from mer import separation
from mer.separation import SOURCES

FILES = [f"{source}.wav" for source in SOURCES]


class GainSeparator:
    """Its sources are the mix, each at a gain of its own."""

    name = "gain"
    revision = 1
    sample_rate = 16000
    gains = (1.5, -0.5, 0.25, 0.0)

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            yield np.stack([np.float32(gain) * block for gain in self.gains])


class InterruptedSeparator(GainSeparator):
    """Somebody presses Ctrl-C after the first piece."""

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        yield next(iter(super().separate(blocks)))
        raise KeyboardInterrupt


@pytest.fixture
def separate(mer: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `mer separate` with a separator that needs no weights."""
    monkeypatch.setattr(separation, "get_separator", lambda name: GainSeparator())
    return partial(mer, "separate")


def tone(
    path: Path, seconds: float, rate: int = 16000, gain: float = 0.8, channels: int = 2
) -> Path:
    samples = gain * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 440 / rate)
    soundfile.write(path, np.stack([samples] * channels, axis=1), rate, subtype=None)
    return path


def stems_in(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: soundfile.read(path, dtype="float32")[0] for path in folder.iterdir()}


def test_writes_beside_the_audio(separate: Run, tmp_path: Path) -> None:
    song = tone(tmp_path / "song.wav", 12)
    target = tmp_path / "song-stems"
    assert separate(song) == (
        0,
        f"wrote drums, bass, other, vocals in {target}: 12 s at 16000 Hz, by separator small\n",
        "",
    )
    mix, _ = soundfile.read(song, dtype="float32")
    stems = stems_in(target)
    assert set(stems) == set(SOURCES)
    for source, gain in zip(SOURCES, GainSeparator.gains, strict=True):
        # Beyond full scale, too: nothing is clipped
        np.testing.assert_allclose(stems[source], gain * mix, atol=1e-6)


def test_files_say_what_made_them(separate: Run, tmp_path: Path) -> None:
    separate(tone(tmp_path / "song.wav", 1), "-o", tmp_path / "out")
    with soundfile.SoundFile(tmp_path / "out" / "bass.wav") as file:
        assert file.title == "bass"
        assert "separator small" in file.software


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("channels", [1, 2])
def test_formats(separate: Run, tmp_path: Path, suffix: str, channels: int) -> None:
    song = tone(tmp_path / f"song.{suffix}", 2, 44100, channels=channels)
    status, out, _ = separate(song, "-o", tmp_path / "out")
    assert (status, out.split(": ")[-1]) == (0, "2.0 s at 16000 Hz, by separator small\n")
    info = soundfile.info(tmp_path / "out" / "drums.wav")
    assert (info.channels, info.samplerate, info.subtype) == (channels, 16000, "FLOAT")
    assert info.frames == pytest.approx(32000, abs=2000)  # MP3 pads


def test_named_folder_keeps_other_files(separate: Run, tmp_path: Path) -> None:
    song, target = tone(tmp_path / "song.wav", 1), tmp_path / "out"
    target.mkdir()
    (target / "drums.wav").write_text("old")
    (target / "notes.txt").write_text("mine")
    assert separate(song, "-o", target)[0] == 0
    assert soundfile.info(target / "drums.wav").frames == 16000
    assert (target / "notes.txt").read_text() == "mine"


def test_other_stems_are_never_replaced(separate: Run, tmp_path: Path) -> None:
    song, target = tone(tmp_path / "song.wav", 1), tmp_path / "song-stems"
    target.mkdir()
    (target / "bass.wav").write_text("by another separator")
    status, _, err = separate(song)
    assert (status, err) == (
        1,
        f"mer: {target} has stems already; replace them with -o {target}\n",
    )
    assert (target / "bass.wav").read_text() == "by another separator"


@pytest.mark.parametrize("seconds", [0.2, 40.0])
def test_silence_and_a_fifth_of_a_second(separate: Run, tmp_path: Path, seconds: float) -> None:
    status, _, _ = separate(tone(tmp_path / "song.wav", seconds, 8000, gain=0))
    assert status == 0
    for stem in stems_in(tmp_path / "song-stems").values():
        assert stem.shape == (round(seconds * 16000), 2)
        assert not stem.any()


@pytest.mark.parametrize("exists", [True, False])
def test_interrupted_leaves_nothing_half_written(
    mer: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    monkeypatch.setattr(separation, "get_separator", lambda name: InterruptedSeparator())
    song, target = tone(tmp_path / "song.wav", 1), tmp_path / "out"
    if exists:
        target.mkdir()
        (target / "bass.wav").write_text("earlier")
    assert mer("separate", song, "-o", target)[0] == 130
    assert target.exists() == exists
    if exists:
        assert [path.name for path in target.iterdir()] == ["bass.wav"]
        assert (target / "bass.wav").read_text() == "earlier"


def text_file(folder: Path) -> list[str | Path]:
    (folder / "song.wav").write_text("this is a text file\n" * 20)
    return [folder / "song.wav"]


def nan_samples(folder: Path) -> list[str | Path]:
    samples = np.zeros(16000)
    samples[12000] = np.nan
    soundfile.write(folder / "song.wav", samples, 8000, subtype="FLOAT")
    return [folder / "song.wav"]


def no_samples(folder: Path) -> list[str | Path]:
    soundfile.write(folder / "song.wav", np.empty(0), 8000)
    return [folder / "song.wav"]


def missing_folder(folder: Path) -> list[str | Path]:
    return [tone(folder / "song.wav", 1), "-o", folder / "gone" / "stems"]


def file_as_output(folder: Path) -> list[str | Path]:
    return [tone(folder / "song.wav", 1), "-o", folder / "song.wav"]


def audio_among_the_stems(folder: Path) -> list[str | Path]:
    return [tone(folder / "vocals.wav", 1), "-o", folder]


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (lambda folder: [folder / "gone.wav"], "gone.wav does not exist; expected an audio file"),
        (lambda folder: [folder], " does not exist; expected an audio file"),
        (text_file, "song.wav is not readable audio: Format not recognised."),
        (nan_samples, "song.wav has samples that are not finite numbers, the first at 1.500 s"),
        (no_samples, "song.wav has no samples"),
        (missing_folder, "gone does not exist; expected a folder to write in"),
        (file_as_output, "song.wav, a file; expected a folder"),
        (audio_among_the_stems, "cannot take the stems; name another folder with -o"),
    ],
)
def test_mistakes_end_with_one_sentence(
    separate: Run, tmp_path: Path, prepare: Callable[[Path], list[str | Path]], expected: str
) -> None:
    arguments = prepare(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    status, out, err = separate(*arguments)
    assert status == 1
    assert err.startswith("mer: ")
    assert expected in err
    assert err.count("\n") == 1
    assert out == ""
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_unknown_separator(mer: Run, tmp_path: Path) -> None:
    song = tone(tmp_path / "song.wav", 1)
    status, _, err = mer("separate", song, "--separator", "ears")
    assert (status, err) == (
        1,
        "mer: unknown separator 'ears'; the separators are: small, htdemucs\n",
    )
    assert not (tmp_path / "song-stems").exists()
