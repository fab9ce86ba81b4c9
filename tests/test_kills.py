"""Studies that are killed at random moments, and what is left of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import INTERRUPTED, Program, start_program

from mer.files import atomic_folder, atomic_path, clear, temporary_folder
from mer.study.specs import RunSpec
from mer.study.store import Run, RunStore

ROOT = Path(__file__).parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
CACHES = ("mer-libr", "torchind")
"""What stays in the folder of the system: locks of librosa, what torch compiles."""

SELECTION = (
    'systems=["Constant","Song-lookup","Symbolic-LR","Audio-LR","Symbolic-SVM","LSTM-Attn + REMI",'
    '"LSTM-Attn + MIDI-like"]',
    'tasks=["4Q"]',
)
N_RUNS = 15
OPTIONS = ("--profile", "smoke", "--notebook", "emopia_baselines")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


class Killed:
    """A project of its own, with a folder for each kind of temporary file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("tmp", "cache", "jupyter"):
            (folder / name).mkdir(parents=True)
        shutil.copytree(ROOT / "notebooks", folder / "notebooks")
        shutil.copyfile(ROOT / "_config.yml", folder / "_config.yml")
        self.store = RunStore(folder / "_build" / "results")

    def start(self, n_jobs: int = 2) -> Program:
        """A study whose temporary files all lie in these folders."""
        places = {"MER_PROJECT": "", "MER_CACHE": "cache", "TMPDIR": "tmp"}
        environment = {"PYTHONFAULTHANDLER": "1"}
        places |= {"JUPYTER_RUNTIME_DIR": "jupyter", "IPYTHONDIR": "jupyter"}
        environment |= {name: str(self.folder / place) for name, place in places.items()}
        parameters = [part for value in SELECTION for part in ("-p", value)]
        return start_program(
            "study", *OPTIONS, f"--n-jobs={n_jobs}", *parameters, environment=environment
        )

    def runs(self) -> dict[Path, int]:
        """When each stored run was written."""
        return {path: path.stat().st_mtime_ns for path in self.store.root.rglob("run.json")}

    def read(self) -> list[Run]:
        """All stored runs; damage raises an error."""
        specs = [RunSpec(**facts["spec"]) for facts in map(_facts, self.runs())]
        return [self.store.read(spec) for spec in specs]

    def left(self) -> list[Path]:
        """Temporary files."""
        found = [path for path in self.folder.rglob("*") if path.name.startswith(".tmp-")]
        kept = [path for path in self.folder.glob("tmp/*") if path.name[:8] not in CACHES]
        return found + kept + list(self.folder.glob("jupyter/kernel*"))


def _facts(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def processes(session: int) -> list[int]:
    """Numbers of the processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, its_session = path.read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(int(path.parent.name))
    return found


def end(process: Program, how: signal.Signals) -> None:
    """Send a signal; Ctrl-C reaches all processes of a terminal, other signals one."""
    if how is signal.SIGINT:
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)


def check_end(process: Program, how: signal.Signals) -> bool:
    """Whether the study had ended before; else it ends in 10 s as this signal has it end."""
    last = time.monotonic() + 10
    while left := processes(process.pid):
        if time.monotonic() > last:
            for number in left:  # has Python show where it is
                os.kill(number, signal.SIGABRT)
            pytest.fail(f"{left} have not ended: {process.communicate()[1]}")
        time.sleep(0.1)
    output, errors = process.communicate(timeout=last - time.monotonic())
    if process.returncode == 0:
        return True
    assert "Traceback" not in errors, errors
    if how is signal.SIGKILL:
        assert process.returncode == -how, (output, errors)
    else:
        assert process.returncode in INTERRUPTED, (output, errors)
        assert errors.splitlines()[-1] == "mer: interrupted; what was stored is kept"
    return False


def kill_at(killed: Killed, moment: float, how: signal.Signals, n_jobs: int) -> bool:
    """Whether a study was at its end before it was killed at a moment, after some seconds."""
    before = killed.runs()
    process = killed.start(n_jobs)
    time.sleep(moment)
    at_kill = killed.runs()
    end(process, how)
    finished = check_end(process, how)
    assert before.items() <= at_kill.items() <= killed.runs().items()
    killed.read()
    return finished


def check_kills(n: int, killed: Killed, seconds: float, expected: list[Run] | None) -> None:
    """Kill a study at n moments of its first seconds; where all is stored, begin anew."""
    rng = np.random.default_rng(n)
    counts = {how.name: {"killed": 0, "ended before": 0, "stored": 0} for how in SIGNALS}
    for number in range(n):
        how = SIGNALS[number % len(SIGNALS)]
        n_jobs = 1 + number // len(SIGNALS) % 2
        finished = kill_at(killed, rng.uniform(0, seconds), how, n_jobs)
        counts[how.name]["ended before" if finished else "killed"] += 1
        counts[how.name]["stored"] += len(killed.runs())
        if len(killed.runs()) == N_RUNS and number < n - 1:
            check_same(killed.read(), expected)
            shutil.rmtree(killed.store.root)
    print(counts, "left before the next start:", len(killed.left()))
    check_next_start(killed)
    check_same(killed.read(), expected)


def check_next_start(killed: Killed) -> None:
    """It computes what lacks and nothing else, and leaves no temporary file."""
    stored = killed.runs()
    process = killed.start()
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert f"{N_RUNS - len(stored)} runs computed" in output
    assert stored.items() <= killed.runs().items()
    assert len(killed.runs()) == N_RUNS
    assert killed.left() == []


def check_same(runs: list[Run], expected: list[Run] | None) -> None:
    known = {run.spec.key: run for run in expected or runs}
    assert {run.spec.key for run in runs} == known.keys()
    for run in runs:
        assert run.predictions.equals(known[run.spec.key].predictions), run.spec.label
        assert run.history == known[run.spec.key].history


def test_three_kills(tmp_path: Path) -> None:
    check_kills(3, Killed(tmp_path), 12, None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """A study that nothing disturbed."""
    whole = Killed(tmp_path_factory.mktemp("whole"))
    check_next_start(whole)
    return whole


@pytest.mark.slow
def test_fifty_kills(whole: Killed, tmp_path: Path) -> None:
    expected = whole.read()
    shutil.rmtree(whole.store.root)
    started = time.monotonic()
    check_next_start(whole)
    seconds = time.monotonic() - started
    check_same(whole.read(), expected)
    killed = Killed(tmp_path)
    shutil.copytree(whole.folder / "cache", killed.folder / "cache", dirs_exist_ok=True)
    check_kills(50, killed, seconds, expected)


@pytest.mark.slow
def test_two_studies_at_once(whole: Killed, tmp_path: Path) -> None:
    both = Killed(tmp_path)
    pair = []
    for _ in range(2):
        pair.append(both.start())
        time.sleep(4)
    for process in pair:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    check_next_start(both)
    check_same(both.read(), whole.read())


class TestClear:
    def test_what_is_in_use_stays(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "system"))
        (tmp_path / "system").mkdir()
        with (
            atomic_path(tmp_path / "a" / "file") as file,
            atomic_folder(tmp_path / "a" / "folder") as folder,
            temporary_folder() as other,
        ):
            (folder / "part").touch()
            make_old(file, folder, other)
            clear(tmp_path)
            assert (folder / "part").exists()
            assert file.exists()
            assert other.exists()
        assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["file", "folder"]

    def test_forked_processes_leave_it_to_their_caller(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process of multiprocessing drops what its caller holds, and so ends its blocks."""
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        blocks = [temporary_folder(), atomic_path(tmp_path / "file")]
        held = [block.__enter__() for block in blocks]
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                for block in blocks:
                    block.__exit__(GeneratorExit, GeneratorExit(), None)
            os._exit(0)
        os.waitpid(child, 0)
        assert all(path.exists() for path in held)
        for block in blocks:
            block.__exit__(None, None, None)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_what_is_left_goes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "system"))
        left = [tmp_path / "a" / ".tmp-b", tmp_path / "system" / "mer-tmp-b"]
        others = [tmp_path / "system" / "else", tmp_path / "a" / "tmp"]
        for path in (*left, *others):
            (path / ".tmp-c").mkdir(parents=True)
        files = [tmp_path / "a" / ".tmp-file", tmp_path / "system" / ".tmp-file"]
        for path in files:
            path.touch()
        make_old(*tmp_path.rglob("*"))
        clear(tmp_path / "a", tmp_path / "gone")
        remaining = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")]
        expected = ["a", "a/tmp", "system", "system/.tmp-file", "system/else", "system/else/.tmp-c"]
        assert sorted(remaining) == expected

    def test_pipes_stay(self, tmp_path: Path) -> None:
        """To open one would wait for whoever writes to it."""
        os.mkfifo(tmp_path / ".tmp-pipe")
        make_old(tmp_path / ".tmp-pipe")
        clear(tmp_path)
        assert (tmp_path / ".tmp-pipe").exists()

    def test_folder_of_sockets_has_a_short_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        system = tmp_path / ("a" * 80)
        system.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(system))
        with temporary_folder(for_sockets=True) as folder, temporary_folder() as other:
            assert folder.parent == Path("/tmp")
            assert other.parent == system

    def test_new_ones_stay(self, tmp_path: Path) -> None:
        (tmp_path / ".tmp-a").touch()
        clear(tmp_path)
        assert (tmp_path / ".tmp-a").exists()


def make_old(*paths: Path) -> None:
    for path in paths:
        os.utime(path, (time.time() - 60,) * 2)
