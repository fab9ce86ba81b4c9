"""Which MIDI files are believed, and what is rendered of them."""

from __future__ import annotations

import hashlib
import shutil
import time
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import write_midi

from mer import rendering
from mer.audio import waveform
from mer.clips import Clip
from mer.errors import DataWarning, InvalidDataError, MerError, MissingDataError, ParameterError
from mer.features.notes import read_notes
from mer.midi import read_score

RATE = 8000
ON, OFF = "00 90 3c 50", "83 60 80 3c 00"
"""A note on middle C, and its end after 480 ticks."""
TEMPO = "00 ff 51 03 "
END = " 00 ff 2f 00"


def midi_file(path: Path, *tracks: str, form: int = 0, division: int = 480, end: str = END) -> Path:
    """A file of tracks that are written as hexadecimal bytes."""
    data = b"MThd" + b"".join(n.to_bytes(k, "big") for n, k in ((6, 4), (form, 2)))
    data += len(tracks).to_bytes(2, "big") + division.to_bytes(2, "big")
    for track in tracks:
        content = bytes.fromhex(track + end)
        data += b"MTrk" + len(content).to_bytes(4, "big") + content
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("tracks", "options", "message"),
    [
        ([ON + OFF], {"division": 0}, "has a division of 0 ticks a beat"),
        ([ON + OFF], {"division": 0xE728}, "counts time in SMPTE frames"),
        ([ON + OFF] * 2, {"form": 2}, "is of MIDI format 2, whose tracks are pieces"),
        ([TEMPO + "00 00 00" + ON + OFF], {}, "has a tempo of 0 microseconds a beat, at 0.0 s"),
        ([ON + OFF + TEMPO + "00 00 00" + ON + OFF], {}, "has a tempo of 0 .* at 0.5 s"),
        (["ff ff ff 7f 90 3c 50" + OFF], {}, "has an event at 279,620.77 s; expected no more"),
        ([ON + OFF], {"end": "ff ff ff 7f ff 2f 00"}, "has an event at 279,620.77 s"),
        (["ff ff ff 7f 90 3c 50" + OFF] * 2 + [ON], {"form": 1}, "has an event at 279,620.77 s"),
        ([ON + OFF[:-3]], {"end": ""}, "is not a readable MIDI file"),
        ([ON + "00 f8" + OFF], {}, "track 1 has the status byte 0xF8; expected 0x80-0xF0 or 0xFF"),
        ([ON + "00 f1 00" + OFF], {}, "track 1 has the status byte 0xF1; expected"),
        ([ON + OFF, "00 f7 01 02" + ON], {"form": 1}, "track 2 has the status byte 0xF7; expected"),
        (["00 ff 51 02 01 02" + ON + OFF], {}, "track 1 has a meta event 0x51 of 2 bytes; exp"),
        (["00 ff 59 01 02" + ON + OFF], {}, "track 1 has a meta event 0x59 of 1 bytes; exp"),
    ],
)
def test_times_that_cannot_be_believed(
    tracks: list[str], options: dict[str, int | str], message: str, tmp_path: Path
) -> None:
    path = midi_file(tmp_path / "a.mid", *tracks, **options)  # type: ignore[arg-type]
    for use in (read_notes, rendering.render_midi):
        with pytest.raises(InvalidDataError, match=f"a.mid,? {message}"):
            use(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"RIFF\x00\x00\x00\x00RMIDdata", "is a RIFF file; export it as a standard MIDI file"),
        (b"<!DOCTYPE html><html>", "begins with b'<!DOCTYPE html'; expected b'MThd'"),
        (b"MThd\x00\x00", "is not a readable MIDI file"),
        (b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0MT", "is not a readable MIDI file"),
    ],
)
def test_files_that_are_not_midi(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(content)
    with pytest.raises(InvalidDataError, match=message):
        read_notes(tmp_path / "a.mid")


def chunk(content: str, kind: bytes = b"MTrk", length: int | None = None) -> bytes:
    data = bytes.fromhex(content)
    return kind + (len(data) if length is None else length).to_bytes(4, "big") + data


HEADER = "4d 54 68 64 00 00 00 {:02x} 00 01 00 {:02x} 01 e0"
TRACK = chunk(ON + OFF + END)


@pytest.mark.parametrize(
    ("header", "chunks", "n_notes", "warning"),
    [
        ((6, 2), [TRACK, TRACK], 2, None),
        ((6, 1), [chunk("01 02 03", b"XFIH"), TRACK], 1, None),
        ((6, 2), [TRACK, chunk("01 02 03", b"XFIH"), TRACK], 2, None),
        ((6, 1), [TRACK, chunk("01 02 03", b"XFIH")], 1, None),
        ((6, 1), [TRACK, bytes(10)], 1, None),
        ((8, 1), [bytes(2), TRACK], 1, None),
        ((6, 1), [chunk(ON + OFF + END + ON + OFF + END)], 1, None),
        ((6, 0), [TRACK], 1, "its header says 0 tracks, but it has 1; all are read"),
        ((6, 1), [TRACK, TRACK], 2, "its header says 1 tracks, but it has 2; all are read"),
        ((6, 3), [TRACK, TRACK], 2, "its header says 3 tracks, but it has 2; all are read"),
        ((6, 2), [chunk(""), TRACK], 1, "its header says 2 tracks, but it has 1; all are read"),
    ],
)
def test_chunks_are_read_as_they_sound(
    header: tuple[int, int],
    chunks: list[bytes],
    n_notes: int,
    warning: str | None,
    tmp_path: Path,
    recwarn: pytest.WarningsRecorder,
) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(bytes.fromhex(HEADER.format(*header)) + b"".join(chunks))
    notes = read_notes(path)
    assert notes.tolist() == [[0.0, 0.5, 60.0, 80.0]] * n_notes
    sound = rendering.render_midi(path, RATE)
    plain = midi_file(tmp_path / "b.mid", *[ON + OFF] * n_notes, form=1)
    np.testing.assert_array_equal(sound, rendering.render_midi(plain, RATE))
    shown = {str(seen.message) for seen in recwarn}
    assert shown == ({f"{path}: {warning}"} if warning else set())


@pytest.mark.parametrize(
    ("header", "chunks", "message"),
    [
        ((6, 1), [chunk(ON + OFF + END, length=0)], "says 1 tracks, but after 0 that are not emp"),
        ((6, 1), [], "says 1 tracks, but after 0 that are not empty comes b''; expected b'MTrk'"),
        ((6, 0), [], "says 0 tracks, but after 0 that are not empty comes b''; expected b'MTrk'"),
        ((6, 2), [chunk(ON + OFF + END, length=4), TRACK], "2 tracks, but after 1 that .* comes b"),
        ((6, 1), [chunk(ON + OFF + END, length=99)], "track 1 is cut short, 13 of 99 bytes are"),
        ((5, 1), [TRACK], "it begins with b'MThd"),
    ],
)
def test_chunks_that_are_no_tracks(
    header: tuple[int, int], chunks: list[bytes], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.mid"
    path.write_bytes(bytes.fromhex(HEADER.format(*header)) + b"".join(chunks))
    for use in (read_notes, rendering.render_midi):
        with pytest.raises(InvalidDataError, match=f"a.mid is not a readable .*{message}"):
            use(path)


def test_files_cut_at_every_byte(tmp_path: Path) -> None:
    """Cut or with a byte too large, a file gives notes or an error of one sentence."""
    whole = midi_file(tmp_path / "a.mid", ON + OFF + TEMPO + "07 a1 20" + ON + OFF).read_bytes()
    lengthened = whole[:18] + b"\0\0\0\x7f" + whole[22:]
    for k in range(len(whole)):
        for content in (whole[:k], lengthened[:k], whole[:k] + b"\xff" + whole[k + 1 :]):
            (tmp_path / "b.mid").write_bytes(content)
            with suppress(InvalidDataError), warnings.catch_warnings(action="ignore"):
                assert np.isfinite(read_notes(tmp_path / "b.mid")).all()


def test_suffix_does_not_matter(tmp_path: Path) -> None:
    for name in ("a.kar", "a.MID", "a"):
        assert len(read_notes(midi_file(tmp_path / name, ON + OFF))) == 1


def test_notes_without_a_note_off_are_left_out_and_counted(tmp_path: Path) -> None:
    path = midi_file(tmp_path / "a.mid", ON + OFF + "00 90 40 50 00 90 43 50")
    with pytest.warns(DataWarning, match="a.mid: 2 notes have no note-off; left out"):
        notes = read_notes(path)
    assert notes.tolist() == [[0.0, 0.5, 60.0, 80.0]]


@pytest.mark.parametrize(
    "track",
    [
        ON + OFF + ON + OFF,
        ON + "83 60 3c 00" + "00 3c 50 83 60 3c 00",  # running status, velocity 0
        ON + OFF + "00 c0 05 00 b0 40 7f 00 f0 03 01 02 f7 00 ff 01 02 41 42" + ON + OFF,
    ],
)
def test_every_note_has_a_note_off(track: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notes = read_notes(midi_file(tmp_path / "a.mid", track))
    assert notes[:, :2].tolist() == [[0.0, 0.5], [0.5, 1.0]]


def test_last_event_follows_the_tempos(tmp_path: Path) -> None:
    """A beat at 120, a beat at 60, and the end of the track two beats later."""
    track = ON + OFF + TEMPO + "0f 42 40" + ON + OFF
    path = midi_file(tmp_path / "a.mid", track, end="87 40 ff 2f 00")
    score, last = read_score(path)
    assert score.tracks[0].notes.numpy()["duration"].tolist() == [0.5, 1.0]
    assert last == 3.5


@pytest.mark.realdata
def test_real_files_are_believed(data_folder: Path) -> None:
    """Their notes are the same bytes as ever, and they sound without a copy."""
    files = sorted((data_folder / "emopia").rglob("*.mid"))
    assert len(files) == 1078
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(read_score(path)[1] > 1 for path in files[::20])
        notes = b"".join(read_notes(path).tobytes() for path in files[::45])
    assert hashlib.sha256(notes).hexdigest()[:16] == "37c818902ab9a700"
    for path in files[::20]:
        with rendering.plain_file(path) as used:
            assert used == path.resolve()


@pytest.mark.parametrize("use", [read_notes, rendering.render_midi])
def test_name_that_is_too_long(use: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(
        MissingDataError, match=r"a\.mid cannot be read: .* too long; expected a MIDI"
    ):
        use(tmp_path / f"{'a' * 5000}.mid")


class TestRendering:
    @pytest.mark.parametrize("controller", ["07", "0b"])
    def test_softer_than_16_bits(
        self, controller: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MER_CACHE", str(tmp_path))
        silent = midi_file(tmp_path / "a.mid", f"00 b0 {controller} 00" + ON + OFF)
        with pytest.raises(InvalidDataError, match="rendered to silence"):
            waveform(Clip("a", "a", midi=silent), RATE)

    def test_more_tracks_than_fluidsynth_plays(self, tmp_path: Path) -> None:
        path = midi_file(tmp_path / "a.mid", *[ON + OFF] * 128, form=1)
        with pytest.raises(InvalidDataError, match=r"has 128 tracks; expected 127 or fewer"):
            read_notes(path)
        midi_file(path, *[ON + OFF] * 127, form=1)
        assert rendering.render_midi(path, RATE).any()

    def test_louder_than_full_scale(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MER_CACHE", str(tmp_path))
        notes = np.asarray([[0, 1, pitch, 127] for pitch in range(30, 100)])
        clip = Clip("a", "a", midi=write_midi(tmp_path / "a.mid", notes))
        with pytest.warns(DataWarning, match=r"has a peak of 1\.\d+; it is clipped to 1"):
            waveform(clip, RATE)

    def test_sound_without_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        organ = midi_file(tmp_path / "a.mid", "00 c0 13" + ON + OFF + "00 90 40 50")
        monkeypatch.setattr(rendering, "_TAIL", 2.0)
        with (
            pytest.warns(DataWarning, match="no note-off"),
            pytest.raises(
                InvalidDataError, match=r"sounds on for 2 s after .* at 0.50 s; expected"
            ),
        ):
            rendering.render_midi(organ, RATE)

    @pytest.mark.parametrize(
        ("program", "message"),
        [
            ("head -c 64000 /dev/zero", r"rendered to 1.00 s, but its last note begins at 2.00 s"),
            ("exec sleep 30", "FluidSynth took more than [23] s"),
            ("sleep 30; true", "FluidSynth took more than [23] s"),
            ("sleep 30 & exit 0", "FluidSynth took more than [23] s"),
            ("echo no such synthesizer >&2; exit 3", "could not render it: no such synthesizer"),
            ("exit 3", "could not render it: exit status 3"),
            ("true", "could not render it: exit status 0"),
        ],
    )
    def test_program_that_fails(
        self, program: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake = tmp_path / "fluidsynth"
        fake.write_text(f"#!/bin/sh\n{program}\n")
        fake.chmod(0o755)
        path = write_midi(tmp_path / "a.mid", np.asarray([[0, 1, 60, 80], [2, 2.5, 60, 80]]))
        monkeypatch.setattr(shutil, "which", lambda name: str(fake))
        monkeypatch.setattr(rendering, "_PATIENCE", 0.5)
        began = time.monotonic()
        with pytest.raises(InvalidDataError, match=message):
            rendering.render_midi(path, RATE)
        assert time.monotonic() - began < 15

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"RIFF\0\0\1\0sfbkLIST"])
    def test_damaged_soundfont(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "bad.sf2").write_bytes(content)
        path = midi_file(tmp_path / "a.mid", ON + OFF)
        with pytest.raises(InvalidDataError, match=r"could not render it: .*"):
            rendering.render_midi(path, RATE, soundfont=tmp_path / "bad.sf2")

    def test_name_that_looks_like_an_option(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        midi_file(tmp_path / "-f.mid", ON + OFF)
        assert rendering.render_midi(Path("-f.mid"), RATE).size > RATE / 2
        with pytest.raises(MerError, match=r"-g\.mid does not exist"):
            rendering.render_midi(Path("-g.mid"), RATE)

    @pytest.mark.parametrize("rate", [-1, 0, 22050.5, 1_000_000_000, np.nan])
    def test_rates_that_fluidsynth_does_not_have(self, tmp_path: Path, rate: float) -> None:
        path = midi_file(tmp_path / "a.mid", ON + OFF)
        message = r"sample_rate is .*; expected a whole number from 8,000 to 96,000 \(Hz\)"
        with pytest.raises(ParameterError, match=message):
            rendering.render_midi(path, rate)  # type: ignore[arg-type]

    def test_memory_of_a_long_silence(self, tmp_path: Path) -> None:
        """No more than the samples themselves, at 4 bytes each, and a few blocks."""
        path = write_midi(tmp_path / "a.mid", np.asarray([[0, 1, 60, 80], [1000, 1001, 60, 80]]))
        clip = Clip("a", "a", midi=path)
        rendering.render_midi(write_midi(tmp_path / "b.mid", np.asarray([[0, 1, 60, 80]])), RATE)
        tracemalloc.start()
        samples = waveform(clip, RATE)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert 1000 * RATE < samples.size < 1010 * RATE
        assert peak < 2.5 * samples.nbytes
