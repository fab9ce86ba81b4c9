"""A disk that is full: one sentence that names it, and nothing half-written."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from conftest import Run, notes_at, write_midi

from mer.audio import waveform
from mer.clips import Clip
from mer.errors import MissingDataError
from mer.features.cache import cached
from mer.files import atomic_folder, atomic_path

SIZE = 256 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def sound(path: Path) -> None:
    soundfile.write(path, np.zeros(SIZE), 8000, format="WAV")


def state(path: Path) -> None:
    torch.save({"weights": torch.zeros(SIZE)}, path)


def text(path: Path) -> None:
    path.write_text("x" * 2 * SIZE)


@pytest.mark.parametrize("write", [sound, state, text])
@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
def test_every_library(disk: Path, write: Any, atomic: Any) -> None:
    target = disk / "target.bin"
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*/disk'$"),
        atomic(target) as new,
    ):
        write(new / "a.bin" if new.is_dir() else new)
    assert not list(disk.iterdir())


def test_an_error_of_another_kind_stays(disk: Path) -> None:
    with pytest.raises(KeyError), atomic_path(disk / "a"):
        raise KeyError


def test_cache(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MER_CACHE", str(disk / "cache"))
    midi = write_midi(tmp_path / "a.mid", notes_at(np.arange(30.0), 0.9, 40 + np.arange(30)))
    with pytest.raises(MissingDataError, match=r"cannot store a rendering in .*: .*No space left"):
        waveform(Clip("a", "a", midi=midi))
    with pytest.raises(OSError, match="No space left on device"):
        cached("zeros", 1, {}, midi, lambda: np.zeros(SIZE))
    assert not [path for path in disk.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("command", "name"), [("separate", "stems"), ("transcribe", "a.mid")])
def test_commands(disk: Path, tmp_path: Path, mer: Run, command: str, name: str) -> None:
    song = tmp_path / "song.wav"
    soundfile.write(song, np.sin(np.arange(8000 * 10) / 3), 8000)
    if command == "transcribe":
        (disk / "other").write_bytes(bytes(SIZE))
    before = sorted(disk.rglob("*"))
    status, _, error = mer(command, song, "-o", disk / name)
    assert status == 1
    assert error.startswith("mer: a file cannot be read or written: ")
    assert error.endswith("No space left on device\n")
    assert error.count("\n") == 1
    assert sorted(disk.rglob("*")) == before
