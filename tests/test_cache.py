"""The feature cache and atomic files: hits, misses, damage, interruption."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from mer.clips import Clip
from mer.errors import MissingDataError
from mer.features import cache
from mer.files import atomic_folder, atomic_path
from mer.paths import cache_folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.mid"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def compute() -> Mock:
    """Gives an array, and counts how often it is called."""
    return Mock(return_value=np.arange(6, dtype=np.float16).reshape(2, 3))


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_second_call_reads_the_same_array(source: Path, compute: Mock) -> None:
    first = cache.cached("f", 1, {}, source, compute)
    second = cache.cached("f", 1, {}, source, compute)
    assert compute.call_count == 1
    assert second.dtype == np.float16
    np.testing.assert_array_equal(first, second)


def test_content_counts_and_the_name_does_not(source: Path, tmp_path: Path, compute: Mock) -> None:
    copy = tmp_path / "elsewhere.mid"
    copy.write_bytes(source.read_bytes())
    cache.cached("f", 1, {}, source, compute)
    cache.cached("f", 1, {}, copy, compute)
    assert compute.call_count == 1
    source.write_bytes(b"changed content")
    cache.cached("f", 1, {}, source, compute)
    assert compute.call_count == 2


@pytest.mark.parametrize(
    ("name", "revision", "parameters", "calls"),
    [
        ("g", 1, {"n": 1, "m": 2}, 2),
        ("f", 2, {"n": 1, "m": 2}, 2),
        ("f", 1, {"n": 2, "m": 2}, 2),
        ("f", 1, {"n": 1}, 2),
        ("f", 1, {"m": 2, "n": 1}, 1),
    ],
)
def test_other_parameters_are_other_entries_whatever_their_order(
    source: Path, compute: Mock, name: str, revision: int, parameters: dict[str, Any], calls: int
) -> None:
    cache.cached("f", 1, {"n": 1, "m": 2}, source, compute)
    cache.cached(name, revision, parameters, source, compute)
    assert compute.call_count == calls


@pytest.mark.parametrize("damage", ["empty", "cut", "header cut", "text", "bit", "pickle"])
def test_damaged_entry_is_computed_again(
    source: Path, own_cache: Path, compute: Mock, damage: str
) -> None:
    whole = cache.cached("f", 1, {}, source, compute)
    (entry,) = entries(own_cache)
    content = entry.read_bytes()
    if damage == "pickle":
        np.save(entry, np.asarray([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        damaged = {"empty": b"", "cut": content[:-3], "header cut": content[:20]}
        bit = bytes([content[-50] ^ 1])
        damaged |= {"text": b"hello", "bit": content[:-50] + bit + content[-49:]}
        entry.write_bytes(damaged[damage])
    np.testing.assert_array_equal(cache.cached("f", 1, {}, source, compute), whole)
    assert compute.call_count == 2
    assert entries(own_cache) == [entry]
    assert entry.read_bytes() == content


def test_kill_while_writing_leaves_no_entry(source: Path, own_cache: Path, compute: Mock) -> None:
    program = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        import numpy as np
        from mer.features import cache

        def killed(path, content):
            with path.open("wb") as file:
                file.write(content[:4])
            os.kill(os.getpid(), signal.SIGKILL)

        Path.write_bytes = killed
        cache.cached("f", 1, {}, Path(sys.argv[1]), lambda: np.zeros(3))
        """
    )
    result = subprocess.run([sys.executable, "-c", program, str(source)], check=False)
    assert result.returncode == -signal.SIGKILL
    assert not [path for path in entries(own_cache) if not path.name.startswith(".tmp-")]
    cache.cached("f", 1, {}, source, compute)
    cache.cached("f", 1, {}, source, compute)
    assert compute.call_count == 1


def _fill(source: Path, start: Any, results: Any) -> None:
    start.wait()
    big = np.random.default_rng(0).normal(size=200_000)
    arrays = [cache.cached("f", 1, {"n": n}, source, lambda: big) for n in range(10)]
    results.put(all(np.array_equal(array, big) for array in arrays))


def test_two_processes_at_once(source: Path, own_cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(2), context.Queue()
    processes = [context.Process(target=_fill, args=(source, start, results)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [results.get(timeout=30) for _ in processes] == [True, True]
    for process in processes:
        process.join(timeout=30)
    assert len(entries(own_cache)) == 10


def test_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"gone\.mid does not exist"):
        cache.cached("f", 1, {}, tmp_path / "gone.mid", Mock())


def test_source_of_takes_the_recording_first() -> None:
    audio, midi = Path("a.wav"), Path("a.mid")
    assert cache.source_of(Clip("a", "a", audio, midi), "audio") == audio
    assert cache.source_of(Clip("a", "a", None, midi), "audio") == midi
    assert cache.source_of(Clip("a", "a", audio, midi), "midi") == midi
    with pytest.raises(MissingDataError, match="'a' has no MIDI file"):
        cache.source_of(Clip("a", "a", audio), "midi")
    with pytest.raises(MissingDataError, match="'a' has no audio and no MIDI file"):
        cache.source_of(Clip("a", "a"), "audio")


def write(temporary: Path, text: str) -> int:
    """A file with this text, or one in the temporary folder."""
    return (temporary / "file" if temporary.is_dir() else temporary).write_text(text)


@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
def test_whole_or_not_at_all(atomic: Any, tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    file = path / "file" if atomic is atomic_folder else path
    for text in ("first", "second"):
        with atomic(path) as temporary:
            assert temporary.parent == path.parent
            write(temporary, text)
        assert file.read_text() == text
    with pytest.raises(ZeroDivisionError), atomic(path) as temporary:
        _ = write(temporary, "third") / 0
    assert file.read_text() == "second"
    assert os.listdir(path.parent) == ["a.txt"]


def test_atomic_path_keeps_the_suffix_and_others_may_read(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.txt") as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("text")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_cache_folder_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("MER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "mer"
