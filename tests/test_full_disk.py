"""A disk that is full or read-only: one sentence that names it, and nothing half-written."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from conftest import Run, notes_at, write_midi
from test_store import make_run
from test_training import fit, scripted

from mer.audio import waveform
from mer.clips import Clip
from mer.errors import MissingDataError
from mer.features.cache import cached
from mer.files import atomic_folder, atomic_path
from mer.study.store import RunStore
from mer.training.supervised import TrainingOptions

ROOT = Path(__file__).parents[1]
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


@pytest.fixture
def make_read_only(disk: Path) -> Callable[[], None]:
    """Makes the disk read-only, for root, too."""
    command = ["mount", "-o", "remount,ro", str(disk)]

    def make() -> None:
        subprocess.run(command, check=True, capture_output=True)

    return make


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


class TestReadOnly:
    @pytest.fixture(autouse=True)
    def song(self, tmp_path: Path) -> Path:
        path = tmp_path / "song.wav"
        soundfile.write(path, np.sin(np.arange(8000 * 2) / 3), 8000)
        return path

    @pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
    @pytest.mark.parametrize("place", ["a", "new/a"])
    def test_the_folder_is_named(
        self, disk: Path, make_read_only: Callable[[], None], atomic: Any, place: str
    ) -> None:
        make_read_only()
        target = disk / place
        with pytest.raises(OSError, match=rf"Read-only file system: '{target.parent}'$"):
            atomic(target).__enter__()

    def test_cache(
        self,
        disk: Path,
        tmp_path: Path,
        make_read_only: Callable[[], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("MER_CACHE", str(disk / "cache"))
        midi = write_midi(tmp_path / "a.mid", notes_at([0.0], 0.5))
        known = cached("zeros", 1, {}, midi, lambda: np.zeros(3))
        make_read_only()
        assert cached("zeros", 1, {}, midi, lambda: np.ones(3)).tolist() == known.tolist()
        hint = "Read-only file system; set MER_CACHE to a folder that can be written"
        with pytest.raises(OSError, match=f"{hint}: '{disk}/cache/features/ones/"):
            cached("ones", 1, {}, midi, lambda: np.ones(3))
        with pytest.raises(MissingDataError, match=f"cannot store a rendering in .*{hint}"):
            waveform(Clip("a", "a", midi=midi))
        with pytest.raises(OSError, match=f"{hint}: '{disk}/cache/checkpoints'"):
            fit(
                TrainingOptions(epochs=1),
                scripted([0.5]),
                checkpoint=disk / "cache" / "checkpoints" / "a.pt",
            )

    @pytest.mark.parametrize(("command", "name"), [("separate", "stems"), ("transcribe", "a.mid")])
    def test_commands(
        self,
        disk: Path,
        make_read_only: Callable[[], None],
        song: Path,
        mer: Run,
        command: str,
        name: str,
    ) -> None:
        make_read_only()
        status, _, error = mer(command, song, "-o", disk / name)
        kind = "file" if command == "transcribe" else "folder"
        expected = f"mer: {disk / name} cannot be written; name another {kind} with -o\n"
        assert (status, error) == (1, expected)

    @pytest.mark.parametrize("is_new", [True, False])
    @pytest.mark.parametrize(
        "command", [("study", "--profile", "smoke", "--notebook", "corpora"), ("book",)]
    )
    def test_study_and_book(
        self,
        disk: Path,
        make_read_only: Callable[[], None],
        mer: Run,
        monkeypatch: pytest.MonkeyPatch,
        command: tuple[str, ...],
        is_new: bool,
    ) -> None:
        (disk / "_config.yml").touch()
        (disk / "notebooks").symlink_to(ROOT / "notebooks")
        (disk / "book").symlink_to(ROOT / "book")
        if not is_new:
            (disk / "_build" / "notebooks" / "smoke").mkdir(parents=True)
            (disk / "_build" / "book.lock").touch()
        monkeypatch.setenv("MER_PROJECT", str(disk))
        make_read_only()
        status, _, error = mer(*command)
        assert status == 1
        assert error.startswith(f"mer: a file cannot be read or written: {disk}/_build")
        assert error.endswith("Read-only file system\n")
        assert error.count("\n") == 1

    def test_stored_runs(self, disk: Path, make_read_only: Callable[[], None]) -> None:
        make_read_only()
        with pytest.raises(MissingDataError, match=r"cannot store the run in .*Read-only file sys"):
            RunStore(disk).write(make_run())
        with pytest.raises(
            MissingDataError, match=r"cannot store .*toy\.json: .*Read-only file sys"
        ):
            RunStore(disk).write_card("toy", {})
        with pytest.raises(MissingDataError, match=r"cannot store .*songs-.*Read-only file system"):
            RunStore(disk).table("songs", {}, lambda: pd.DataFrame({"id": ["a"]}))
