"""MIDI to audio with FluidSynth."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from mer.clips import file_digest
from mer.errors import InvalidDataError, MissingDataError
from mer.files import require_file

REVISION = 1
"""Raised whenever rendered samples change."""

_SILENCE = 1e-4


@dataclass(frozen=True, slots=True)
class Sound:
    """Settings of the synthesizer: gain, 0-10; level of the reverb and size of its room, 0-1."""

    gain: float = 0.6
    reverb: float = 0.0
    room: float = 0.2


DRY = Sound()
"""What corpora without recordings are rendered with."""


def default_soundfont() -> Path:
    """The TimGM6mb soundfont that pretty_midi carries."""
    return Path(str(resources.files("pretty_midi") / "TimGM6mb.sf2"))


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
        In Hz.
    soundfont : Path, optional
        An SF2 file; `default_soundfont()` if None.
    sound : Sound
    trim : bool
        Whether to cut off the silence that FluidSynth adds after the last sound.

    Returns
    -------
    np.ndarray, shape (n_samples,), float32
        In [-1, 1]. The same file gives the same samples.

    Raises
    ------
    MissingDataError
        If the file, the soundfont or the program FluidSynth is missing.
    InvalidDataError
        If FluidSynth cannot read the file. (Of one that is cut short it makes silence.)
    """
    import soundfile

    soundfont = soundfont or default_soundfont()
    for path in (midi, soundfont):
        require_file(path)
    program = shutil.which("fluidsynth")
    if program is None:
        raise MissingDataError(
            "FluidSynth is not installed, so no audio can be rendered from MIDI; install the "
            "package 'fluidsynth' (apt, brew, conda or choco)"
        )
    with tempfile.TemporaryDirectory(prefix="mer-render-") as folder:
        wav = Path(folder) / "out.wav"
        command = [program, "-n", "-i", "-q", "-C", "0", "-g", str(sound.gain)]
        command += ["-R", str(int(sound.reverb > 0)), "-o", f"synth.reverb.level={sound.reverb}"]
        command += ["-o", f"synth.reverb.room-size={sound.room}"]
        command += ["-r", str(sample_rate), "-O", "float", "-o", "synth.cpu-cores=1"]
        command += ["-T", "wav", "-F", str(wav), str(soundfont), str(midi)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0 or not wav.is_file() or wav.stat().st_size == 0:
            raise InvalidDataError(f"{midi}: FluidSynth could not render it: {_reason(result)}")
        samples, _ = soundfile.read(wav, dtype="float32", always_2d=True)
    if not samples.size:
        raise InvalidDataError(f"{midi}: rendered to no samples; expected a MIDI file with notes")
    mono = samples.mean(axis=1)
    return mono[: sounding_length(mono)] if trim else mono


def sounding_length(samples: np.ndarray) -> int:
    """Number of samples up to the last one above -80 dB of full scale; all if none is."""
    sounding = np.flatnonzero(np.abs(samples) > _SILENCE)
    return int(sounding[-1]) + 1 if sounding.size else samples.size


def _reason(result: subprocess.CompletedProcess[str]) -> str:
    lines = (result.stderr + result.stdout).strip().splitlines()
    return lines[-1] if lines else f"exit status {result.returncode}"
