"""mer transcribe and mer separate: what they write, what they say, and what they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import Run

from mer import separation, transcription
from mer.audio import load_audio
from mer.errors import InvalidDataError
from mer.features.notes import read_notes
from mer.separation import SOURCES
from mer.transcription import TRANSCRIBERS

Arguments = list[str | Path]


class LevelTranscriber:
    """Finds a note of a second every five seconds, in audio that is not silent."""

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
def transcribe(mer: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `mer transcribe` with a transcriber that needs no weights."""
    monkeypatch.setattr(transcription, "get_transcriber", lambda name: LevelTranscriber())
    return partial(mer, "transcribe")


@pytest.fixture
def separate(mer: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `mer separate` with a separator that needs no weights."""
    monkeypatch.setattr(separation, "get_separator", lambda name: GainSeparator())
    return partial(mer, "separate")


def tone(
    path: Path, seconds: float, rate: int = 16000, *, gain: float = 0.8, channels: int = 2
) -> Path:
    samples = gain * np.sin(np.arange(round(seconds * rate)) * 2 * np.pi * 440 / rate)
    soundfile.write(path, np.stack([samples] * channels, axis=1), rate)
    return path


def contents(folder: Path) -> dict[str, bytes | None]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir()}


def stems_in(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: soundfile.read(path, dtype="float32")[0] for path in folder.iterdir()}


def text_file(folder: Path) -> Arguments:
    (folder / "song.wav").write_text("this is a text file\n" * 20)
    return [folder / "song.wav"]


def recording(samples: np.ndarray) -> Callable[[Path], Arguments]:
    def prepare(folder: Path) -> Arguments:
        soundfile.write(folder / "song.wav", samples, 8000, subtype="FLOAT")
        return [folder / "song.wav"]

    return prepare


NOT_FINITE = np.where(np.arange(16000) == 12000, np.nan, 0.0)


def output(name: str, *, audio: str = "song.wav") -> Callable[[Path], Arguments]:
    """A song, and that output; a name that ends in "/" is a folder which exists."""

    def prepare(folder: Path) -> Arguments:
        if name.endswith("/"):
            (folder / name).mkdir(exist_ok=True)
        return [tone(folder / audio, 1), "-o", folder / name]

    return prepare


UNUSABLE: list[tuple[Callable[[Path], Arguments], str]] = [
    (lambda folder: [folder / "gone.wav"], "gone.wav does not exist; expected an audio file"),
    (lambda folder: [folder], " is a folder; expected an audio file"),
    (text_file, "song.wav is not readable audio: Format not recognised."),
    (recording(NOT_FINITE), "song.wav has samples that are not finite numbers, the first at 1.500"),
    (recording(np.nan_to_num(NOT_FINITE, nan=1e38)), "song.wav has a sample of 1e+38 at 1.500 s"),
    (recording(np.nan_to_num(NOT_FINITE, nan=np.inf)), "song.wav has samples that are not finite"),
    (recording(np.empty(0)), "song.wav has no samples"),
]
MISTAKES = [
    *(("transcribe", *case) for case in UNUSABLE),
    ("transcribe", output("gone/song.mid"), "gone does not exist; expected a folder to write in"),
    ("transcribe", output("song.wav"), "song.wav; expected a name that ends in .mid"),
    ("transcribe", output("a.mid/"), "a.mid cannot be written; name another file with -o"),
    ("transcribe", output(f"{256 * 'a'}.mid"), "File name too long; give a shorter one, for what"),
    ("transcribe", lambda _: [Path(256 * "a")], "aa cannot be read: File name too long; expected"),
    *(("separate", *case) for case in UNUSABLE),
    ("separate", output("gone/stems"), "gone does not exist; expected a folder to write in"),
    ("separate", output("song.wav"), "song.wav, a file; expected a folder"),
    ("separate", output(256 * "a"), "File name too long; give a shorter one, for what is written"),
    ("separate", output("./", audio="vocals.wav"), "cannot take the stems; name another folder"),
]


@pytest.mark.usefixtures("transcribe", "separate")
@pytest.mark.parametrize(("command", "prepare", "expected"), MISTAKES)
def test_mistakes_end_with_one_sentence(
    mer: Run, tmp_path: Path, command: str, prepare: Callable[[Path], Arguments], expected: str
) -> None:
    arguments = prepare(tmp_path)
    before = contents(tmp_path)
    status, out, err = mer(command, *arguments)
    assert (status, out) == (1, "")
    assert err.startswith("mer: ")
    assert expected in err
    assert err.count("\n") == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("command", "option", "known"),
    [
        ("transcribe", "transcriber", ", ".join(TRANSCRIBERS)),
        ("separate", "separator", "small, htdemucs"),
    ],
)
def test_unknown_converter(mer: Run, tmp_path: Path, command: str, option: str, known: str) -> None:
    song = tone(tmp_path / "song.wav", 1)
    status, _, err = mer(command, song, f"--{option}", "ears")
    assert (status, err) == (1, f"mer: unknown {option} 'ears'; the {option}s are: {known}\n")
    assert list(tmp_path.iterdir()) == [song]


# A name that looks like markup, one of 255 bytes, one that is not UTF-8
NAMES = ("[/b] [bold]x", 125 * "ü" + "x", "\udcff x")


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files(
    mer: Run, transcribe: Run, separate: Run, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    song = tone(tmp_path / "song.wav", 1).rename(tmp_path / f"{name}.wav")
    shown = str(tmp_path / name).replace("\udcff", "\\udcff")
    assert transcribe(song) == (0, f"wrote {shown}.mid: 1 note in 1.0 s of audio\n", "")
    assert len(read_notes(tmp_path / f"{name}.mid")) == 1
    status, out, err = separate(song, "-o", tmp_path / name)
    assert (status, err) == (0, "")
    assert out.startswith(f"wrote {', '.join(SOURCES)} in {shown}: 1.0 s at 16000 Hz")
    assert sorted(path.stem for path in (tmp_path / name).iterdir()) == sorted(SOURCES)
    song.write_bytes(b"x")
    with pytest.raises(InvalidDataError, match=re.escape(shown)) as caught:
        load_audio(song)
    assert str(caught.value).encode()


class TestTranscribe:
    def test_writes_beside_the_audio(self, transcribe: Run, tmp_path: Path) -> None:
        song, target = tone(tmp_path / "song.wav", 12), tmp_path / "song.mid"
        assert transcribe(song) == (0, f"wrote {target}: 3 notes in 12 s of audio\n", "")
        np.testing.assert_allclose(
            read_notes(target), [[0, 1, 60, 90], [5, 6, 60, 90], [10, 11, 60, 90]]
        )

    @pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
    @pytest.mark.parametrize("rate", [8000, 44100])
    def test_formats(self, transcribe: Run, tmp_path: Path, suffix: str, rate: int) -> None:
        target = tmp_path / "out.midi"
        status, out, _ = transcribe(tone(tmp_path / f"song.{suffix}", 2, rate), "-o", target)
        assert (status, out) == (0, f"wrote {target}: 1 note in 2.0 s of audio\n")
        assert len(read_notes(target)) == 1

    def test_only_named_output_is_replaced(self, transcribe: Run, tmp_path: Path) -> None:
        song, target = tone(tmp_path / "song.wav", 1), tmp_path / "song.mid"
        target.write_text("a score by hand")
        message = f"mer: {target} exists already; replace it with -o {target}\n"
        assert transcribe(song) == (1, "", message)
        assert target.read_text() == "a score by hand"
        assert transcribe(song, "-o", target)[0] == 0
        assert len(read_notes(target)) == 1

    @pytest.mark.parametrize(
        ("seconds", "rate", "gain", "message"),
        [
            (200, 8000, 0.0, "no note was found in 3 min 20 s of audio"),
            (0.2, 96000, 0.5, "1 note in 0.2 s of audio"),
            (3600, 1000, 0.5, "720 notes in 1 h 0 min 0 s of audio"),
        ],
    )
    def test_lengths(
        self, transcribe: Run, tmp_path: Path, seconds: float, rate: int, gain: float, message: str
    ) -> None:
        song, target = tone(tmp_path / "song.wav", seconds, rate, gain=gain), tmp_path / "song.mid"
        assert transcribe(song)[:2] == (0, f"wrote {target}: {message}\n")
        assert len(read_notes(target)) == (
            0 if message.startswith("no") else int(message.split()[0])
        )


class TestSeparate:
    def test_writes_beside_the_audio(self, separate: Run, tmp_path: Path) -> None:
        song, target = tone(tmp_path / "song.wav", 12), tmp_path / "song-stems"
        message = (
            f"wrote drums, bass, other, vocals in {target}: 12 s at 16000 Hz, by separator small"
        )
        assert separate(song) == (0, f"{message}\n", "")
        mix, _ = soundfile.read(song, dtype="float32")
        stems = stems_in(target)
        assert set(stems) == set(SOURCES)
        for source, gain in zip(SOURCES, GainSeparator.gains, strict=True):
            # Beyond full scale, too: nothing is clipped
            np.testing.assert_allclose(stems[source], gain * mix, atol=1e-6)
        with soundfile.SoundFile(target / "bass.wav") as file:
            assert file.title == "bass"
            assert "separator small" in file.software

    @pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
    @pytest.mark.parametrize("channels", [1, 2])
    def test_formats(self, separate: Run, tmp_path: Path, suffix: str, channels: int) -> None:
        song = tone(tmp_path / f"song.{suffix}", 2, 44100, channels=channels)
        status, out, _ = separate(song, "-o", tmp_path / "out")
        assert (status, out.split(": ")[-1]) == (0, "2.0 s at 16000 Hz, by separator small\n")
        info = soundfile.info(tmp_path / "out" / "drums.wav")
        assert (info.channels, info.samplerate, info.subtype) == (channels, 16000, "FLOAT")
        assert info.frames == pytest.approx(32000, abs=2000)  # MP3 pads

    def test_named_folder_keeps_other_files(self, separate: Run, tmp_path: Path) -> None:
        song, target = tone(tmp_path / "song.wav", 1), tmp_path / "out"
        target.mkdir()
        (target / "drums.wav").write_text("old")
        (target / "notes.txt").write_text("mine")
        assert separate(song, "-o", target)[0] == 0
        assert soundfile.info(target / "drums.wav").frames == 16000
        assert (target / "notes.txt").read_text() == "mine"

    def test_other_stems_are_never_replaced(self, separate: Run, tmp_path: Path) -> None:
        song, target = tone(tmp_path / "song.wav", 1), tmp_path / "song-stems"
        target.mkdir()
        (target / "bass.wav").write_text("by another separator")
        message = f"mer: {target} has stems already; replace them with -o {target}\n"
        assert separate(song) == (1, "", message)
        assert (target / "bass.wav").read_text() == "by another separator"

    @pytest.mark.parametrize("seconds", [0.2, 40.0])
    def test_silence_and_a_fifth_of_a_second(
        self, separate: Run, tmp_path: Path, seconds: float
    ) -> None:
        status, _, _ = separate(tone(tmp_path / "song.wav", seconds, 8000, gain=0))
        assert status == 0
        for stem in stems_in(tmp_path / "song-stems").values():
            assert stem.shape == (round(seconds * 16000), 2)
            assert not stem.any()

    @pytest.mark.parametrize("exists", [True, False])
    def test_interrupted_leaves_nothing_half_written(
        self, mer: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
    ) -> None:
        monkeypatch.setattr(separation, "get_separator", lambda name: InterruptedSeparator())
        song, target = tone(tmp_path / "song.wav", 1), tmp_path / "out"
        if exists:
            target.mkdir()
            (target / "bass.wav").write_text("earlier")
        assert mer("separate", song, "-o", target)[0] == 130
        assert target.exists() == exists
        assert not exists or contents(target) == {"bass.wav": b"earlier"}


@pytest.mark.parametrize(("command", "output"), [("separate", "-stems"), ("transcribe", "-o.mid")])
def test_names_that_look_like_options(
    command: str,
    output: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("-a.wav", np.zeros(22050), 22050)
    run = request.getfixturevalue(command)
    status, out, error = run(f"--output={output}", "--", "-a.wav")
    assert (status, error) == (0, "")
    assert output in out
    assert Path(output).exists()
