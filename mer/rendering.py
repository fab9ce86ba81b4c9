"""MIDI to audio with FluidSynth."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import resources
from numbers import Integral
from pathlib import Path
from threading import Timer

import numpy as np

from mer.clips import file_digest
from mer.errors import DataWarning, InvalidDataError, MissingDataError, ParameterError
from mer.files import require_file, temporary_folder
from mer.midi import plain_content, read_score

REVISION = 1
"""Raised whenever rendered samples change."""

_RATES = (8_000, 96_000)
"""Sample rates of FluidSynth, in Hz."""

_SILENCE = 1e-4
_FRAME = 8
"""Bytes of a frame: two channels of float32."""

_TAIL = 60.0
"""Seconds that a sound may last after the last event."""

_PATIENCE = 60.0
"""Seconds that FluidSynth may take, beside those that the music lasts."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Settings of the synthesizer: gain, 0-10; level of the reverb and size of its room, 0-1."""

    gain: float = 0.6
    reverb: float = 0.0
    room: float = 0.2


DRY = Sound()
"""What corpora without recordings are rendered with."""


_DEFAULT = "TimGM6mb"
_FOLDERS = ("/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts")
_FILES = {
    "FluidR3": ("FluidR3_GM.sf2", "fluid-soundfont-gm", "74594e8f4250"),
    "MuseScore General": (
        "MuseScore_General_Lite.sf3",
        "musescore-general-soundfont-small",
        "916aaca6b0eb",
    ),
}
"""File name, Debian package and digest of soundfonts with free licences."""

SOUNDFONTS = (_DEFAULT, *_FILES)
"""Names that `find_soundfont` knows; pretty_midi carries the first."""


def default_soundfont() -> Path:
    """The TimGM6mb soundfont that pretty_midi carries."""
    return Path(str(resources.files("pretty_midi") / "TimGM6mb.sf2"))


def find_soundfont(name: str) -> Path:
    """The file of one of `SOUNDFONTS`.

    Raises
    ------
    ParameterError
        If it is none of them.
    MissingDataError
        If it is not installed; says how to install it.

    Warns
    -----
    DataWarning
        If the file is another one than that behind the stored results.
    """
    if name == _DEFAULT:
        return default_soundfont()
    if name not in _FILES:
        raise ParameterError(f"soundfont is {name!r}; expected one of {', '.join(SOUNDFONTS)}")
    file, package, digest = _FILES[name]
    for folder in _FOLDERS:
        path = Path(folder) / file
        if path.is_file():
            _warn_of_another(path, path.stat().st_mtime_ns, digest)
            return path
    raise MissingDataError(
        f"soundfont {name} ({file}) is in none of {', '.join(_FOLDERS)}; install the Debian "
        f"package {package}, or put the file there"
    )


@cache
def _warn_of_another(path: Path, modified_ns: int, digest: str) -> None:
    if not file_digest(path).startswith(digest):
        text = f"{path} is another version than that of the stored results (SHA-256 {digest}...)"
        warnings.warn(text, DataWarning, stacklevel=3)


def soundfont_digests(soundfonts: Sequence[Path], expected: str) -> list[str]:
    """What tells each soundfont from others: 12 characters of the digest of its content.

    Raises
    ------
    MissingDataError
        If one is not there; says what it is `expected` to hold.
    """
    for soundfont in soundfonts:
        if not soundfont.is_file():
            raise MissingDataError(
                f"soundfont {soundfont} does not exist; expected an SF2 file with {expected}"
            )
    return [file_digest(soundfont)[:12] for soundfont in soundfonts]


def check_rate(sample_rate: int, lowest: int, highest: int) -> None:
    """Raise a `ParameterError` unless a sample rate in Hz is a whole number from one to another."""
    if not isinstance(sample_rate, Integral) or not lowest <= sample_rate <= highest:
        raise ParameterError(
            f"sample_rate is {sample_rate!r}; expected a whole number from {lowest:,} to "
            f"{highest:,} (Hz)"
        )


def render_midi(
    midi: Path,
    sample_rate: int = 22050,
    *,
    soundfont: Path | None = None,
    sound: Sound = DRY,
    trim: bool = True,
) -> np.ndarray:
    """Render a MIDI file as the mean of both channels, without chorus.

    Parameters
    ----------
    midi : Path
    sample_rate : int
        In Hz, from 8,000 to 96,000.
    soundfont : Path, optional
        An SF2 file; `default_soundfont()` if None.
    sound : Sound
    trim : bool
        Whether to cut off the silence that FluidSynth adds after the last sound.

    Returns
    -------
    np.ndarray, shape (n_samples,), float32
        Of a few loud notes in [-1, 1], of many beyond. The same file gives the same samples.

    Raises
    ------
    MissingDataError
        If the file, the soundfont or the program FluidSynth is missing.
    InvalidDataError
        If the file is none whose times can be believed (see `mer.midi.read_score`), if FluidSynth
        cannot read it, makes less sound than it has notes, or sounds on without an end.
    ParameterError
        If the sample rate is none that FluidSynth has.

    Notes
    -----
    Samples come through a pipe, so that a full disk cannot cut them short.
    """
    check_rate(sample_rate, *_RATES)
    soundfont = soundfont or default_soundfont()
    require_file(soundfont)
    score, last = read_score(midi)
    program = shutil.which("fluidsynth")
    if program is None:
        raise MissingDataError(
            "FluidSynth is not installed, so no audio can be rendered from MIDI; install the "
            "package 'fluidsynth' (apt, brew, conda or choco)"
        )
    command = [program, "-n", "-i", "-q", "-C", "0", "-g", str(sound.gain)]
    command += ["-R", str(int(sound.reverb > 0)), "-o", f"synth.reverb.level={sound.reverb}"]
    command += ["-o", f"synth.reverb.room-size={sound.room}"]
    command += ["-r", str(sample_rate), "-O", "float", "-o", "synth.cpu-cores=1"]
    command += ["-T", "raw", "-F", "-", str(soundfont.resolve())]
    with plain_file(midi) as path:
        mono = _samples_of([*command, str(path)], midi, last, sample_rate)
    notes = [track.notes.numpy() for track in score.tracks]
    begins = max((float(n["time"].max()) for n in notes if len(n["time"])), default=0.0)
    if mono.size < begins * sample_rate:
        raise InvalidDataError(
            f"{midi}: rendered to {mono.size / sample_rate:.2f} s, but its last note begins "
            f"at {begins:.2f} s; FluidSynth reads it in another way or was stopped"
        )
    return mono[: sounding_length(mono)] if trim else mono


@contextmanager
def plain_file(midi: Path) -> Iterator[Path]:
    """The file, or a copy of what FluidSynth reads where it holds more."""
    content = plain_content(midi)
    if midi.read_bytes().startswith(content):
        yield midi.resolve()
        return
    with temporary_folder() as folder:
        path = folder / "plain.mid"
        path.write_bytes(content)
        yield path


def _samples_of(command: Sequence[str], midi: Path, last: float, sample_rate: int) -> np.ndarray:
    """What FluidSynth writes to its standard output, up to `_TAIL` after the last event."""
    longest = round((last + _TAIL) * sample_rate)
    # Pages that are not written to take no memory
    mono, size = np.empty(longest + sample_rate, np.float32), 0
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, process_group=0) as process,
    ):
        assert process.stdout is not None
        clock = Timer(_PATIENCE + last, _end, [process])
        clock.start()
        try:
            while size <= longest and (block := process.stdout.read(_FRAME * sample_rate)):
                frames = np.frombuffer(block[: len(block) // _FRAME * _FRAME], np.float32)
                means = frames.reshape(-1, 2).mean(axis=1)
                mono[size : size + len(means)] = means
                size += len(means)
            status = process.wait() if size <= longest else 0
            expired = clock.finished.is_set()
        finally:
            clock.cancel()
            _end(process)
        log.seek(0)
        lines = log.read().decode(errors="replace").strip().splitlines()
    if expired:
        raise InvalidDataError(f"{midi}: FluidSynth took more than {_PATIENCE + last:.0f} s")
    if status or not size or any("error" in line for line in lines):  # such as a bad soundfont
        reason = lines[-1] if lines else f"exit status {status}"
        raise InvalidDataError(f"{midi}: FluidSynth could not render it: {reason}")
    mono = mono[:size]
    if size > longest and (np.abs(mono[-sample_rate:]) > _SILENCE).any():
        raise InvalidDataError(
            f"{midi} sounds on for {_TAIL:.0f} s after its last event, at {last:.2f} s; expected a "
            "note-off for each note"
        )
    return mono


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def sounding_length(samples: np.ndarray) -> int:
    """Number of samples up to the last one above -80 dB of full scale; all if none is."""
    for stop in range(samples.size, 0, -_BLOCK):  # from the end, since silence may last hours
        start = max(stop - _BLOCK, 0)
        sounding = np.flatnonzero(np.abs(samples[start:stop]) > _SILENCE)
        if sounding.size:
            return start + int(sounding[-1]) + 1
    return int(samples.size)


_BLOCK = 1 << 20
"""Samples."""
