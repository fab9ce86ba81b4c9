"""mer transcribe: what it writes, what it says, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Run

from mer import transcription
from mer.features.notes import read_notes


class LevelTranscriber:
    """Hears a note of a second every five seconds, in audio that is not silent."""

    name = "level"
    revision = 1
    sample_rate = 16000

    def transcribe(self, blocks: Iterable[np.ndarray]) -> np.ndarray:
        peak, length = 0.0, 0
        for block in blocks:
            peak = max(peak, float(np.abs(block).max()))
            length += len(block)
        onset = np.arange(0, length / self.sample_rate, 5) if peak > 0.1 else np.empty(0)
        return np.stack([onset, onset + 1, 0 * onset + 60, 0 * onset + 90], axis=1)


@pytest.fixture
def transcribe(mer: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `mer transcribe` with a transcriber that needs no weights."""
    monkeypatch.setattr(transcription, "get_transcriber", lambda name: LevelTranscriber())
    return partial(mer, "transcribe")


def tone(path: Path, seconds: float, rate: int = 8000, gain: float = 0.5) -> Path:
    samples = gain * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 440 / rate)
    soundfile.write(path, np.stack([samples, samples], axis=1), rate)
    return path


def test_writes_beside_the_audio(transcribe: Run, tmp_path: Path) -> None:
    song = tone(tmp_path / "song.wav", 12)
    target = tmp_path / "song.mid"
    assert transcribe(song) == (0, f"wrote {target}: 3 notes in 12 s of audio\n", "")
    np.testing.assert_allclose(
        read_notes(target), [[0, 1, 60, 90], [5, 6, 60, 90], [10, 11, 60, 90]]
    )


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_formats(transcribe: Run, tmp_path: Path, suffix: str, rate: int) -> None:
    target = tmp_path / "out.midi"
    status, out, _ = transcribe(tone(tmp_path / f"song.{suffix}", 2, rate), "-o", target)
    assert (status, out) == (0, f"wrote {target}: 1 note in 2.0 s of audio\n")
    assert len(read_notes(target)) == 1


def test_named_output_is_replaced(transcribe: Run, tmp_path: Path) -> None:
    song, target = tone(tmp_path / "song.wav", 1), tmp_path / "out.mid"
    target.write_text("old")
    assert transcribe(song, "-o", target)[0] == 0
    assert len(read_notes(target)) == 1


def test_other_output_is_never_replaced(transcribe: Run, tmp_path: Path) -> None:
    song, target = tone(tmp_path / "song.wav", 1), tmp_path / "song.mid"
    target.write_text("a score by hand")
    status, _, err = transcribe(song)
    assert (status, err) == (
        1,
        f"mer: {target} exists already; replace it with -o {target}\n",
    )
    assert target.read_text() == "a score by hand"


def test_silence(transcribe: Run, tmp_path: Path) -> None:
    song, target = tone(tmp_path / "song.wav", 200, gain=0), tmp_path / "song.mid"
    status, out, _ = transcribe(song)
    assert (status, out) == (
        0,
        f"wrote {target}: no note was found in 3 min 20 s of audio\n",
    )
    assert read_notes(target).shape == (0, 4)


def test_a_fifth_of_a_second(transcribe: Run, tmp_path: Path) -> None:
    _, out, _ = transcribe(tone(tmp_path / "song.wav", 0.2, 96000))
    assert out.endswith("1 note in 0.2 s of audio\n")


def test_an_hour(transcribe: Run, tmp_path: Path) -> None:
    song = tone(tmp_path / "song.wav", 3600, 1000)
    _, out, _ = transcribe(song)
    assert out.endswith(" 720 notes in 1 h 0 min 0 s of audio\n")


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
    return [tone(folder / "song.wav", 1), "-o", folder / "gone" / "song.mid"]


def audio_as_output(folder: Path) -> list[str | Path]:
    return [tone(folder / "song.wav", 1), "-o", folder / "song.wav"]


def folder_as_output(folder: Path) -> list[str | Path]:
    (folder / "a.mid").mkdir()
    return [tone(folder / "song.wav", 1), "-o", folder / "a.mid"]


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        (lambda folder: [folder / "gone.wav"], "gone.wav does not exist; expected an audio file"),
        (lambda folder: [folder], " does not exist; expected an audio file"),
        (text_file, "song.wav is not readable audio: Format not recognised."),
        (nan_samples, "song.wav has samples that are not finite numbers, the first at 1.500 s"),
        (no_samples, "song.wav has no samples"),
        (missing_folder, "gone does not exist; expected a folder to write in"),
        (audio_as_output, "song.wav; expected a name that ends in .mid"),
        (folder_as_output, "a.mid cannot be written; name another file with -o"),
    ],
)
def test_mistakes_end_with_one_sentence(
    transcribe: Run, tmp_path: Path, prepare: Callable[[Path], list[str | Path]], expected: str
) -> None:
    arguments = prepare(tmp_path)
    before = sorted(tmp_path.iterdir())
    status, out, err = transcribe(*arguments)
    assert status == 1
    assert err.startswith("mer: ")
    assert expected in err
    assert err.count("\n") == 1
    assert out == ""
    assert sorted(tmp_path.iterdir()) == before


def test_unknown_transcriber(mer: Run, tmp_path: Path) -> None:
    song = tone(tmp_path / "song.wav", 1)
    status, _, err = mer("transcribe", song, "--transcriber", "ears")
    assert status == 1
    assert err.startswith("mer: unknown transcriber 'ears'; the transcribers are: onsets-frames")
    assert err.count("\n") == 1
    assert not (tmp_path / "song.mid").exists()
