"""Options, markers and the small corpus that the tests share."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike

from mer.clips import Clip, Corpus

if TYPE_CHECKING:
    from mer.study.store import RunStore

# Networks of tests are so small that threads would only wait for each other; torch, which reads
# this when it is loaded, is not loaded yet.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SONGS = tuple(f"song-{number:06d}" for number in range(12))
PARTS = {
    "train": [f"Q{k % 4 + 1}_{SONGS[k]}_{clip}" for k in range(4) for clip in (0, 1)],
    "valid": [f"Q{k % 4 + 1}_{SONGS[k]}_0" for k in range(4, 8)],
    "test": [f"Q{k % 4 + 1}_{SONGS[k]}_0" for k in range(8, 12)],
}
"""Clips of the tiny EMOPIA: two of each quadrant to train on, one to validate and to test."""

LEAKY_PARTS = {
    "train": [clip for clip in PARTS["train"] if clip.endswith("_0")],
    "valid": PARTS["valid"],
    "test": [clip for clip in PARTS["train"] if clip.endswith("_1")],
}

INTERRUPTED = (130, -signal.SIGINT)
"""Exit status: Python ends itself by the signal where the interrupt met code given to `exec`."""

Program: TypeAlias = "subprocess.Popen[str]"
Run = Callable[..., tuple[int, str, str]]
"""Takes arguments of the command line; gives exit status, standard output, standard error."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--runslow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skip_slow = pytest.mark.skip(reason="slow: run with --runslow")
    skip_data = pytest.mark.skip(reason="no real data: set MER_DATA to a folder with 'emopia'")
    for item in items:
        if "slow" in item.keywords and not config.getoption("--runslow"):
            item.add_marker(skip_slow)
        if "realdata" in item.keywords and not _has_real_data():
            item.add_marker(skip_data)


def _has_real_data() -> bool:
    folder = os.environ.get("MER_DATA")
    return folder is not None and (Path(folder).expanduser() / "emopia").is_dir()


def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder of this test run, the same one in all processes of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keeps the tests away from the user's cache."""
    folder = shared_folder(tmp_path_factory, "cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MER_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of the real datasets; for tests marked realdata."""
    return Path(os.environ["MER_DATA"]).expanduser()


@pytest.fixture(scope="session")
def emopia_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny EMOPIA in the official layout; shared, so not to be changed."""
    folder = tmp_path_factory.mktemp("data") / "emopia"
    clips = [clip for part in PARTS.values() for clip in part]
    for number, clip in enumerate(clips):
        write_midi(folder / "midis" / f"{clip}.mid", quadrant_notes(int(clip[1]), number))
    write_table(folder / "label.csv", ["ID", "4Q", "annotator"], [[c, c[1], "A"] for c in clips])
    short = {"train": "train", "valid": "val", "test": "test"}
    for part, ids in PARTS.items():
        rows = [[k, f"{clip}.mid"] for k, clip in enumerate(ids)]
        write_table(folder / "split" / f"{short[part]}_clip.csv", ["", "clip_name"], rows)
        rows = [[clip, clip[:2]] for clip in ids]
        write_table(folder / "split_cls" / f"{short[part]}.csv", ["fname", "label"], rows)
    (folder / "split_midibert").mkdir()
    for part, ids in LEAKY_PARTS.items():
        (folder / "split_midibert" / f"{part}.txt").write_text("\n".join(ids) + "\n")
    return folder


@pytest.fixture
def emopia_copy(emopia_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny EMOPIA that a test may damage."""
    return Path(shutil.copytree(emopia_folder, tmp_path / "emopia"))


@pytest.fixture(scope="session")
def tiny(emopia_folder: Path) -> Corpus:
    """The tiny EMOPIA, loaded."""
    from mer.corpora import emopia

    return emopia.load(emopia_folder)


@pytest.fixture(scope="session")
def tiny_parts(tiny: Corpus) -> tuple[Corpus, Corpus, Corpus]:
    """Train, validation and test clips of the tiny EMOPIA."""
    fold = tiny.split("split_cls").folds[0]
    return tiny.select(fold.train), tiny.select(fold.valid), tiny.select(fold.test)


@pytest.fixture(scope="session")
def toy_clips(tmp_path_factory: pytest.TempPathFactory) -> list[Clip]:
    """Twenty recordings of a second and a half, see `toy_sources.toy_clip`."""
    from toy_sources import toy_clip

    folder = tmp_path_factory.mktemp("toy-clips")
    return [toy_clip(folder, number) for number in range(20)]


@pytest.fixture
def perfect_transcriber(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of the network of zhu2023: the notes that the audio was rendered from."""
    from mer.features.notes import read_notes
    from mer.papers.zhu2023 import systems

    def notes_of(clip: Clip, *, name: str, sample_rate: int) -> np.ndarray:
        return np.empty((0, 4)) if clip.midi is None else read_notes(clip.midi)

    monkeypatch.setattr(systems, "transcribed_notes", notes_of)


@pytest.fixture
def runs(tmp_path: Path) -> RunStore:
    """An empty store of runs."""
    from mer.study.store import RunStore

    return RunStore(tmp_path / "results")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a cell displays."""
    parts: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda *given: parts.extend(given))
    return parts


@pytest.fixture
def mer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in this process."""
    from mer.cli import main

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["mer", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def start_program(*arguments: str, environment: Mapping[str, str] | None = None) -> Program:
    """The program in a session of its own, once it handles signals.

    Interrupts reach it, which a shell has its background jobs ignore.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "mer", *arguments],
        env={**os.environ, **(environment or {})},
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not _catches(process.pid, signal.SIGTERM):
        time.sleep(0.005)
    return process


def _catches(process: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    handled = next((line for line in status.splitlines() if line.startswith("SigCgt")), None)
    return handled is None or bool(int(handled.split()[1], 16) >> (number - 1) & 1)  # None: ended


def toy_corpus(*clips: Clip) -> Corpus:
    """A corpus of some clips without splits."""
    return Corpus("toy", clips, licence="-", citation="-")


def interrupted(function: Callable[..., Any], call: int) -> Callable[..., Any]:
    """A function that is interrupted at one of its calls, counted from 0."""
    calls = iter(range(call + 1))

    def interrupted_function(*arguments: Any) -> Any:
        if next(calls) == call:
            raise KeyboardInterrupt
        return function(*arguments)

    return interrupted_function


def quadrant_notes(quadrant: int, seed: int, seconds: float = 3.0) -> np.ndarray:
    """Notes as `read_notes` gives them: high arousal is fast and loud, high valence major."""
    rng = np.random.default_rng(seed)
    fast, major = quadrant in (1, 2), quadrant in (1, 4)
    onsets = np.arange(0.0, seconds, 0.125 if fast else 0.5)
    scale = np.asarray([0, 4, 7, 12] if major else [0, 3, 7, 12])
    pitches = 60 + rng.choice(scale, len(onsets))
    velocities = rng.integers(95, 115, len(onsets)) - (0 if fast else 55)
    return notes_at(onsets, 0.12, pitches, velocities)


def notes_at(
    onsets: ArrayLike, lengths: ArrayLike, pitches: ArrayLike = 60, velocities: ArrayLike = 64
) -> np.ndarray:
    """Notes as `read_notes` gives them; what is one number holds for all."""
    ends = np.add(onsets, lengths)
    columns = np.broadcast_arrays(onsets, ends, pitches, velocities)
    return np.stack(columns, axis=1).astype(float)


def class_predictions(
    system: str,
    target: Sequence[int] | np.ndarray,
    answer: Sequence[int] | np.ndarray,
    *,
    task: str = "4Q",
    seed: int = 0,
    fold: int = 0,
    first: int = 0,
    per_group: int = 2,
    audio: str = "none",
) -> pd.DataFrame:
    """Predictions of a run as `Results.predictions` has them, answers certain, clips by song."""
    numbers = np.arange(first, first + len(target))
    target, answer = np.asarray(target), np.asarray(answer)
    chances = {f"p_{k}": (answer == k).astype(float) for k in range(1, 5 if task == "4Q" else 3)}
    place = {"system": system, "task": task, "split": "s", "fold": fold, "seed": seed}
    clips = {
        "id": [f"clip {k:03d}" for k in numbers],
        "group": [f"song {k // per_group}" for k in numbers],
        "target": target,
        "answer": answer,
        "correct": answer == target,
    }
    return pd.DataFrame({**place, "audio": audio, **clips, **chances})


def random_fields(
    sizes: Sequence[int], first: int, batch: int, n: int, seed: int = 0
) -> np.ndarray:
    """Random values from `first` of fields of some sizes, shape (batch, n_fields, n)."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(first, size, (batch, n)) for size in sizes], axis=1)


def write_midi(path: Path, notes: np.ndarray, *, program: int = 0) -> Path:
    """Notes, shape (n, 4), as a MIDI file of 1,000 ticks a second."""
    import symusic

    score: Any = symusic.Score(500)
    score.tempos.append(symusic.Tempo(time=0, qpm=120.0))
    track: Any = symusic.Track(program=program)
    for onset, offset, pitch, velocity in notes:
        start, end = round(onset * 1000), round(offset * 1000)
        track.notes.append(symusic.Note(start, end - start, int(pitch), int(velocity)))
    score.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    score.dump_midi(path)
    return path


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def label_statistics(corpus: Corpus) -> dict[str, list[float]]:
    """Mean and standard deviation of valence and arousal, to three digits."""
    frame = corpus.to_frame()
    names = ("valence", "arousal")
    return {name: np.round([frame[name].mean(), frame[name].std()], 3).tolist() for name in names}


def count_of_known_groups(corpus: Corpus, split: str) -> int:
    """Number of tests of clips whose group has clips in training, too."""
    group = dict(zip(corpus.ids, corpus.groups, strict=True))
    folds = corpus.split(split).folds
    trained = [{group[clip] for clip in fold.train} for fold in folds]
    return sum(
        group[clip] in known
        for fold, known in zip(folds, trained, strict=True)
        for clip in fold.test
    )


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """Address of a dask scheduler with two workers, started from the command line."""
    file = tmp_path / "scheduler.json"
    shared = [sys.executable, "-m", "dask"]
    where = ["--scheduler-file", str(file)]
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    commands = [[*shared, "scheduler", *local, "--port", "0", *where]]
    commands += [[*shared, "worker", *local, "--nworkers", "1", "--nthreads", "1", *where]] * 2
    processes = []
    for command in commands:
        processes.append(subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL))
        for _ in range(300):
            if file.is_file():
                break
            time.sleep(0.1)
    address = re.search(r"tcp://127\.0\.0\.1:\d+", file.read_text())
    assert address is not None
    yield address[0]
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        process.wait(timeout=30)
