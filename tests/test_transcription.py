"""Audio read block by block, MIDI files of notes, and transcribers behind one interface."""

from __future__ import annotations

import enum
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import write_midi as write_reference_midi

from mer import transcription
from mer.audio import audio_blocks, audio_seconds, load_audio
from mer.clips import Clip
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.features.notes import read_notes
from mer.transcription import (
    get_transcriber,
    transcribe_file,
    transcribe_samples,
    transcribed_notes,
    transcriber_revision,
    write_midi,
)
from mer.transcription.adapters import BasicPitch, PianoTranscriptionInference

RATE = 22050


def noise(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    shape = (round(seconds * rate), channels)
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


def all_blocks(path: Path) -> list[np.ndarray]:
    return list(audio_blocks(path, RATE))


class TestBlocks:
    @pytest.mark.parametrize("channels", [1, 2])
    @pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 96000])
    @pytest.mark.parametrize("to_rate", [16000, 22050])
    def test_are_the_whole(self, tmp_path: Path, rate: int, channels: int, to_rate: int) -> None:
        path = tmp_path / "a.wav"
        for seconds in (1 / rate, 0.2, 3 + 7 / rate):
            soundfile.write(path, noise(seconds, rate, channels), rate, subtype="FLOAT")
            blocks = list(audio_blocks(path, to_rate, block_seconds=0.7))
            assert all(block.dtype == np.float32 and block.size for block in blocks)
            whole, _ = load_audio(path, to_rate)
            joined = np.concatenate(blocks)
            assert joined.shape == whole.shape
            np.testing.assert_allclose(joined, whole, atol=1e-6)

    @pytest.mark.parametrize("block_seconds", [1e-9, 0.01, 0.5, 100])
    def test_length_makes_no_difference(self, tmp_path: Path, block_seconds: float) -> None:
        path = tmp_path / "a.ogg"
        soundfile.write(path, noise(0.05 if block_seconds < 0.01 else 1, 44100), 44100)
        joined = np.concatenate(list(audio_blocks(path, 16000, block_seconds=block_seconds)))
        np.testing.assert_allclose(joined, load_audio(path, 16000)[0], atol=1e-6)

    def test_memory_does_not_grow_with_the_file(self, tmp_path: Path) -> None:
        peaks = []
        for seconds in (20, 200):
            path = tmp_path / f"{seconds}.wav"
            soundfile.write(path, np.zeros((seconds * 8000, 2), dtype=np.int16), 8000)
            for measured in (False, True):  # the first round imports
                if measured:
                    tracemalloc.start()
                for _ in audio_blocks(path, 16000, block_seconds=5):
                    pass
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] == pytest.approx(peaks[0], rel=0.1)
        assert peaks[1] < 8 * 5 * 16000 * 4

    @pytest.mark.parametrize("read", [all_blocks, load_audio])
    def test_cut_short_or_empty_files(self, tmp_path: Path, read: Callable[..., object]) -> None:
        path = tmp_path / "a.flac"
        soundfile.write(path, noise(5, 44100), 44100)
        path.write_bytes(path.read_bytes()[:200_000])
        with pytest.raises(InvalidDataError, match=r"a\.flac is not readable audio: \w"):
            read(path)
        soundfile.write(tmp_path / "a.wav", np.empty(0), RATE)
        with pytest.raises(InvalidDataError, match=r"a\.wav has no samples"):
            read(tmp_path / "a.wav")

    @pytest.mark.parametrize("value", [np.nan, -np.inf])
    def test_samples_that_are_not_finite(self, tmp_path: Path, value: float) -> None:
        path = tmp_path / "a.wav"
        samples = noise(3, 8000, 2)
        samples[20000, 1] = value
        soundfile.write(path, samples, 8000, subtype="FLOAT")
        message = r"a\.wav has samples that are not finite numbers, the first at 2\.500 s"
        blocks = audio_blocks(path, 8000, block_seconds=1)
        assert [len(next(blocks)) for _ in range(2)] == [8000, 8000]
        with pytest.raises(InvalidDataError, match=message):
            next(blocks)
        with pytest.raises(InvalidDataError, match=message):
            load_audio(path)

    def test_impossible_length(self, tmp_path: Path) -> None:
        with pytest.raises(ParameterError, match="block_seconds is 0"):
            next(audio_blocks(tmp_path / "a.wav", RATE, block_seconds=0))

    def test_seconds(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.flac", noise(2.5, 44100, 2), 44100)
        assert audio_seconds(tmp_path / "a.flac") == 2.5


class TestMidi:
    def test_round_trip(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        onset, duration = np.sort(rng.uniform(0, 4000, 2000)), rng.uniform(0.01, 0.5, 2000)
        pitch = rng.permutation(np.arange(2000) % 88 + 21)
        notes = np.stack([onset, onset + duration, pitch, rng.integers(1, 128, 2000)], axis=1)
        write_midi(notes, tmp_path / "a.mid")
        again = read_notes(tmp_path / "a.mid")
        np.testing.assert_allclose(again[:, :2], notes[:, :2], atol=0.00051)
        np.testing.assert_array_equal(again[:, 2:], notes[:, 2:])
        write_midi(notes[:0], tmp_path / "a.mid")
        assert read_notes(tmp_path / "a.mid").shape == (0, 4)

    def test_pitch_struck_again(self, tmp_path: Path) -> None:
        notes = np.asarray(
            [[0, 2, 60, 50], [1, 3, 60, 60], [1, 9, 64, 1], [3, 4, 60, 127], [4, 4.0001, 60, 8]]
        )
        write_midi(notes, tmp_path / "a.mid")
        expected = notes.copy()
        expected[0, 1] = 1
        expected[4, 1] = 4.001
        np.testing.assert_allclose(read_notes(tmp_path / "a.mid"), expected, atol=1e-9)

    def test_order_of_the_rows_does_not_matter(self, tmp_path: Path) -> None:
        notes = np.asarray([[0, 2, 60, 50], [1, 3, 60, 60], [0, 9, 64, 1]])
        write_midi(notes, tmp_path / "a.mid")
        write_midi(notes[::-1], tmp_path / "b.mid")
        assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()

    def test_other_libraries_read_it(self, tmp_path: Path) -> None:
        import pretty_midi

        write_midi(np.asarray([[0.123, 1.456, 60, 99]]), tmp_path / "a.mid")
        (track,) = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid")).instruments
        (note,) = track.notes
        assert (note.pitch, note.velocity, track.program) == (60, 99, 0)
        assert (note.start, note.end) == (pytest.approx(0.123), pytest.approx(1.456))

    @pytest.mark.parametrize(
        "row",
        [
            *([-1, 1, 60, 50], [0, np.nan, 60, 50], [0, np.inf, 60, 50]),
            *([0, 1, 128, 50], [0, 1, 60, 0], [0, 1, 60, 128]),
        ],
    )
    def test_values_out_of_range(self, tmp_path: Path, row: list[float]) -> None:
        with pytest.raises(ParameterError, match=r"note 1 is \[.*expected an onset"):
            write_midi(np.asarray([[0, 1, 60, 50], row]), tmp_path / "a.mid")
        assert not list(tmp_path.iterdir())

    def test_wrong_shape(self, tmp_path: Path) -> None:
        with pytest.raises(ParameterError, match=r"shape \(4,\); expected \(n, 4\)"):
            write_midi(np.zeros(4), tmp_path / "a.mid")


class Listener:
    """A transcriber that hears one note as long as the audio, as loud as its peak."""

    name = "listener"
    revision = 1
    sample_rate = 16000

    def __init__(self) -> None:
        self.lengths: list[int] = []

    def transcribe(self, blocks: Iterable[np.ndarray]) -> np.ndarray:
        peak, self.lengths = 0.0, []
        for block in blocks:
            assert block.dtype == np.float32
            self.lengths.append(len(block))
            peak = max(peak, float(np.abs(block).max()))
        return np.asarray([[0, sum(self.lengths) / self.sample_rate, 60, round(127 * peak)]])


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Listener:
    """In place of all transcribers, with an empty cache."""
    monkeypatch.setenv("MER_CACHE", str(tmp_path / "cache"))
    found = Listener()
    monkeypatch.setattr(transcription, "get_transcriber", lambda name: found)
    return found


class TestInterface:
    def test_samples_are_resampled(self) -> None:
        notes = transcribe_samples(noise(1.5, 44100)[:, 0].astype(float), 44100, Listener())
        np.testing.assert_array_equal(notes[0, :3], [0, 1.5, 60])

    @pytest.mark.parametrize(
        ("samples", "message"),
        [
            (np.empty(0), "no samples"),
            (np.zeros((10, 2)), r"shape \(10, 2\)"),
            (np.asarray([0, np.nan]), "NaN or infinite"),
            (np.asarray([0, 1e38]), r"of up to 1e\+38; expected samples in \[-1, 1\]"),
        ],
    )
    def test_samples_that_cannot_be_used(self, samples: np.ndarray, message: str) -> None:
        with pytest.raises(InvalidDataError, match=message):
            transcribe_samples(samples, 16000, Listener())

    def test_file_comes_in_blocks(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", noise(70, 8000), 8000)
        listener, seconds = Listener(), list[float]()
        notes = transcribe_file(tmp_path / "a.wav", listener, on_block=seconds.append)
        assert notes[0, 1] == 70
        assert sum(seconds) == pytest.approx(70)
        assert len(listener.lengths) > 2
        np.testing.assert_array_equal(transcribe_file(tmp_path / "a.wav", listener), notes)

    @pytest.mark.parametrize("rate", [0, -1, 22050.5])
    def test_rates_that_no_audio_has(self, rate: float) -> None:
        with pytest.raises(ParameterError, match=f"sample_rate is {rate}; expected a whole number"):
            transcribe_samples(np.zeros(10), rate, Listener())  # type: ignore[arg-type]

    def test_unknown_name(self) -> None:
        with pytest.raises(ParameterError, match=r"'onset-frames'; the transcribers are: onsets-f"):
            get_transcriber("onset-frames")

    def test_revision_is_known_without_loading(self) -> None:
        assert transcriber_revision("onsets-frames") == get_transcriber().revision
        assert transcriber_revision("basic-pitch") == BasicPitch.revision
        with pytest.raises(ParameterError, match="unknown transcriber 'ears'"):
            transcriber_revision("ears")

    def test_notes_of_a_clip_are_kept(self, tmp_path: Path, listener: Listener) -> None:
        soundfile.write(tmp_path / "a.wav", noise(2, 44100), 44100)
        clip = Clip("a", "a", audio=tmp_path / "a.wav")
        first = transcribed_notes(clip)
        assert first[0, 1] == pytest.approx(2)
        listener.lengths = []
        np.testing.assert_array_equal(transcribed_notes(clip), first)
        assert not listener.lengths
        listener.revision = 2
        transcribed_notes(clip)
        assert listener.lengths

    @pytest.mark.usefixtures("listener")
    def test_clip_without_audio_is_rendered(self, tmp_path: Path) -> None:
        midi = write_reference_midi(tmp_path / "a.mid", np.asarray([[0, 0.5, 69, 90]]))
        notes = transcribed_notes(Clip("a", "a", midi=midi))
        assert 0.5 < notes[0, 1] < 5
        assert list((tmp_path / "cache").rglob("*-22050.flac"))
        with pytest.raises(MissingDataError, match="'b' has no audio and no MIDI"):
            transcribed_notes(Clip("b", "b"))


class FakePianoTranscription:
    """The signature of piano_transcription_inference 0.0.6."""

    heard: np.ndarray
    events: tuple[dict[str, float], ...] = ()

    def __init__(
        self, model_type: str = "Note_pedal", checkpoint_path: Any = None, *args: int, device: Any
    ) -> None:
        print(f"Checkpoint path: {checkpoint_path}")

    def transcribe(self, audio: np.ndarray, midi_path: str | None) -> dict[str, Any]:
        assert midi_path is None
        FakePianoTranscription.heard = audio
        return {"output_dict": {}, "est_note_events": list(self.events), "est_pedal_events": []}


Piano = type[FakePianoTranscription]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def piano_package(monkeypatch: pytest.MonkeyPatch) -> Piano:
    module: Any = ModuleType("piano_transcription_inference")
    module.PianoTranscription = FakePianoTranscription
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return FakePianoTranscription


class TestPianoTranscriptionInference:
    def test_notes_and_blocks(
        self, piano_package: Piano, monkeypatch: pytest.MonkeyPatch, capsys: Capture
    ) -> None:
        events = [(1.0, 2.0, 64, 83), (0.5, 1.5, 70, 0), (0.5, 1.5, 60, 127)]
        keys = ("onset_time", "offset_time", "midi_note", "velocity")
        found = tuple(dict(zip(keys, event, strict=True)) for event in events)
        silence, samples = np.zeros(3200), noise(2, 16000)[:, 0]
        assert PianoTranscriptionInference().transcribe([silence]).shape == (0, 4)
        monkeypatch.setattr(piano_package, "events", found)
        notes = PianoTranscriptionInference().transcribe(iter(np.split(samples, [10, 900])))
        np.testing.assert_array_equal(
            notes, [[0.5, 1.5, 60, 127], [0.5, 1.5, 70, 1], [1, 2, 64, 83]]
        )
        np.testing.assert_array_equal(piano_package.heard, samples)
        assert capsys.readouterr().out == ""

    def test_weights_that_do_not_load(
        self, piano_package: Piano, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(self: object, device: Any) -> None:
            raise EOFError("Ran out of input\nmore")

        monkeypatch.setattr(piano_package, "__init__", broken)
        message = r"could not load its weights \(EOFError: Ran out of input\); expected"
        with pytest.raises(InvalidDataError, match=message):
            PianoTranscriptionInference()


def fake_basic_pitch(monkeypatch: pytest.MonkeyPatch, events: list[Any]) -> list[Any]:
    """Modules with the signatures of basic_pitch 0.4.0; the list gets what `predict` is given."""

    class FilenameSuffix(enum.Enum):
        tf = "nmp"
        onnx = "nmp.onnx"

    given: list[Any] = []

    class Model:
        def __init__(self, model_path: Path | str) -> None:
            given.append(model_path)

    def predict(
        audio_path: Path | str,
        model_or_model_path: Any = None,
        onset_threshold: float = 0.5,
        frame_threshold: float = 0.3,
    ) -> tuple[dict[str, np.ndarray], object, list[Any]]:
        assert isinstance(model_or_model_path, Model)
        given.extend(soundfile.read(audio_path, dtype="float32"))
        print(f"Predicting MIDI for {audio_path}...")
        return {}, object(), events

    package: Any = ModuleType("basic_pitch")
    package.FilenameSuffix = FilenameSuffix
    package.build_icassp_2022_model_path = lambda suffix: Path("icassp_2022") / suffix.value
    inference: Any = ModuleType("basic_pitch.inference")
    inference.Model, inference.predict = Model, predict
    for module in (package, inference, ModuleType("onnxruntime")):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return given


class TestBasicPitch:
    def test_notes_and_blocks(self, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
        events = [(1.0, 2.0, 64, 0.5, [0, 1]), (0.5, 1.5, 70, 0.001, None), (0.5, 1, 60, 1.1, [0])]
        given = fake_basic_pitch(monkeypatch, events)
        notes = BasicPitch().transcribe(iter(np.split(noise(2, RATE)[:, 0], [10, 900])))
        np.testing.assert_array_equal(notes, [[0.5, 1, 60, 127], [0.5, 1.5, 70, 1], [1, 2, 64, 64]])
        model, samples, rate = given
        assert (model, rate) == (Path("icassp_2022/nmp.onnx"), RATE)
        np.testing.assert_array_equal(samples, noise(2, RATE)[:, 0])
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("package", ["piano_transcription_inference", "onnxruntime", "basic_pitch"])
def test_package_that_is_not_installed(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = package.replace("_", "-").replace("onnxruntime", "basic-pitch")
    fake_basic_pitch(monkeypatch, [])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDataError, match=rf"'{name}' needs the package '{package}'.*pip "):
        get_transcriber(name)


def test_package_imports_without_audio_libraries() -> None:
    heavy = ["librosa", "soundfile", "soxr", "symusic", "tqdm", "torch", "mir_eval"]
    program = (
        f"import sys\nfor name in {heavy!r}:\n    sys.modules[name] = None\n"
        "import mer.transcription, mer.evaluation.transcription"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
