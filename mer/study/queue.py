"""Training from a queue until a deadline, by processes that may share a GPU."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any

from mer.clips import Corpus
from mer.corpora import load
from mer.errors import MerError
from mer.study.executor import in_parallel, kept_memory, run
from mer.study.processes import end_with
from mer.study.profiles import get_profile
from mer.study.results import Results
from mer.study.specs import RunSpec
from mer.study.store import Run, RunStore
from mer.study.study import PLACES, Study
from mer.study.tables import Table
from mer.systems.base import System

Say = Callable[[str], None]
"""Takes a line of progress."""


class Plan(Study):
    """A study that notes the runs which it is asked for, and computes nothing."""

    noted: list[RunSpec]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.noted = []

    def _changed(self, changes: Mapping[str, Any]) -> Study:
        study = super()._changed(changes)
        assert isinstance(study, Plan), "a changed study is of the same class"
        study.noted = self.noted
        return study

    def run(self, *what: Table | list[RunSpec], split: str = "single", **options: Any) -> Results:
        """Note the runs; the results are empty."""
        planned = self._planned(what, split, options)
        self.noted += planned
        tables = [part for part in what if isinstance(part, Table)]
        return Results(self, planned, [], tables, PLACES.get(split, split))

    def inspect(self, specs: Sequence[RunSpec], function: Callable[..., Any]) -> list[Any]:
        """Note the runs."""
        self.noted += specs
        return []


@dataclass
class Progress:
    """What became of the runs of a queue.

    Attributes
    ----------
    done, waiting : int
        Runs that were stored, and that are left for another call.
    failed : list of str
        Runs that end with an error whenever they are tried, with the error.
    """

    done: int = 0
    waiting: int = 0
    failed: list[str] = field(default_factory=list)


def lacking(specs: Iterable[RunSpec]) -> dict[str, int]:
    """What has to be done before runs can be computed, and how many wait for it."""
    return dict(Counter(spec.lacks for spec in specs if spec.lacks))


def in_order(specs: Iterable[RunSpec]) -> list[RunSpec]:
    """Runs, each once: the first seed of all before the second of any, else as they came."""
    unique = {spec.key: spec for spec in specs if not spec.lacks}
    return sorted(unique.values(), key=lambda spec: spec.seed)


def work_off(
    specs: Sequence[RunSpec],
    store: RunStore,
    profile: str,
    *,
    deadline: float,
    n_jobs: int | None = None,
    say: Say = print,
) -> Progress:
    """Compute and store runs from a queue until all are done or the time is over.

    First the features of all clips are cached, on all cores. Then processes take the runs in their
    order. Each run is stored as it ends; what is running at the end of the time is ended, and a
    network goes on from its last epoch in the next call. A process that runs out of memory puts its
    run back, and there is one process less.

    Parameters
    ----------
    specs : sequence of RunSpec
        From `in_order`; those that are stored are left out.
    store : RunStore
    profile : str
        Whose options the corpora are loaded with.
    deadline : float
        Time of `time.monotonic` by which it ends.
    n_jobs : int, optional
        Processes; one a core if None.
    say : callable
    """
    missing = store.missing(specs)
    if not missing:
        return Progress()
    _cache_features(missing, profile, deadline, say)
    if time.monotonic() > deadline:
        return Progress(waiting=len(missing))
    crew = _Crew(store, profile, min(n_jobs or os.cpu_count() or 1, len(missing)), say)
    try:
        return crew.work(deque(missing), deadline)
    finally:
        crew.end()


def _cache_features(specs: Sequence[RunSpec], profile: str, deadline: float, say: Say) -> None:
    systems: dict[str, dict[str, System]] = {}
    for spec in specs:
        if spec.built is not None:
            systems.setdefault(spec.corpus, {})[spec.system] = spec.built
    jobs = [
        (profile, name, clip_id, [*rows.values()], time.time() + deadline - time.monotonic())
        for name, rows in systems.items()
        for clip_id in _corpus(profile, name).ids
    ]
    began = time.monotonic()
    done = sum(in_parallel(_cache_clip, jobs))
    say(f"features of {done} of {len(jobs)} clips, {time.monotonic() - began:.0f} s")


def _cache_clip(
    profile: str, name: str, clip_id: str, systems: list[System], until: float, *, threads: int
) -> bool:
    """Whether there was time to compute the features of a clip."""
    if time.time() > until:
        return False
    clip = _corpus(profile, name).select([clip_id])[0]
    for system in systems:
        with suppress(MerError):  # the run says it
            system.cache_features(clip)
    return True


@cache
def _corpus(profile: str, name: str) -> Corpus:
    return load(name, **get_profile(profile).corpus_options.get(name, {}))


class _Crew:
    """Processes that compute runs, each at the other end of a pipe."""

    def __init__(self, store: RunStore, profile: str, n_jobs: int, say: Say) -> None:
        self._store, self._say, self._context = store, say, get_context("spawn")
        threads = max((os.cpu_count() or 1) // n_jobs, 1)
        self._arguments = (os.getpid(), store, profile, threads)
        self._workers: dict[Connection, Any] = {}
        self._running: dict[Connection, RunSpec] = {}
        for _ in range(n_jobs):
            self._hire()

    def _hire(self) -> Connection:
        own, other = self._context.Pipe()
        worker = self._context.Process(target=_work, args=(other, *self._arguments), daemon=True)
        with kept_memory():
            worker.start()
        other.close()
        self._workers[own] = worker
        return own

    def work(self, waiting: deque[RunSpec], deadline: float) -> Progress:
        """Hand out runs until the deadline or until all are done."""
        progress, total, began = Progress(), len(waiting), time.monotonic()
        for pipe in self._workers:
            self._hand_out(pipe, waiting)
        while self._running and time.monotonic() < deadline:
            left = deadline - time.monotonic()
            ready = wait(list(self._running), timeout=min(max(left, 0), 5))
            for pipe in [pipe for pipe in self._running if pipe in ready]:
                spec = self._running.pop(pipe)
                outcome, text = _answer(pipe)
                if outcome == "stored":
                    progress.done += 1
                    hours = (time.monotonic() - began) / progress.done * len(waiting) / 3600
                    rest = f"{len(waiting)} wait, about {hours:.1f} h" if waiting else "none waits"
                    self._say(f"{progress.done} of {total}: {spec.label}: {text}; {rest}")
                elif outcome == "memory" and len(self._workers) > 1:
                    waiting.appendleft(spec)
                    self._dismiss(pipe)
                    left_over = f"it is put back, processes: {len(self._workers)}"
                    self._say(f"{spec.label}: {text}; {left_over}")
                    continue
                else:
                    progress.failed.append(f"{spec.label}: {text}")
                    self._say(f"failed: {spec.label}: {text}")
                    if outcome == "memory":
                        self._dismiss(pipe)
                        pipe = self._hire()
                self._hand_out(pipe, waiting)
        progress.waiting = len(waiting) + len(self._running)
        return progress

    def _hand_out(self, pipe: Connection, waiting: deque[RunSpec]) -> None:
        while waiting and waiting[0] in self._store:  # another call has stored it meanwhile
            waiting.popleft()
        if waiting:
            self._running[pipe] = waiting.popleft()
            with suppress(OSError):  # it has ended; the next answer says so
                pipe.send(self._running[pipe])

    def _dismiss(self, pipe: Connection) -> None:
        worker = self._workers.pop(pipe)
        pipe.close()
        worker.terminate()
        worker.join()

    def end(self) -> None:
        """End all processes, whatever they compute."""
        for pipe in list(self._workers):
            self._dismiss(pipe)


def _answer(pipe: Connection) -> tuple[str, str]:
    try:
        outcome, text = pipe.recv()
    except (EOFError, OSError):  # such as by the kernel, for want of memory
        return "memory", "the process was ended"
    return str(outcome), str(text)


def _work(pipe: Connection, parent: int, store: RunStore, profile: str, threads: int) -> None:
    """Body of a process: compute runs as they come and answer with what became of each."""
    import torch

    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends this process
    while True:
        try:
            spec = pipe.recv()
        except EOFError:
            return
        try:
            corpus = _corpus(profile, spec.corpus)
            fold = corpus.split(spec.split).folds[spec.fold]
            result = run(spec, corpus, fold, threads=threads)
            store.write(result)
        except (MemoryError, torch.OutOfMemoryError):
            pipe.send(("memory", "out of memory"))
            return
        except MerError as error:
            pipe.send(("failed", str(error)))
        else:
            name, value = next(iter(result.details["metrics"].items()))
            seconds = result.details["wall_seconds"]
            pipe.send(("stored", f"{name} {value:.3f} in {seconds:.0f} s"))


def expected_hours(
    specs: Iterable[RunSpec], known: Mapping[str, Run], shares: Mapping[str, float]
) -> tuple[float, int]:
    """How long runs would take one process of the machine that stored runs are of.

    In proportion to epochs and parameters, which is rough.

    Parameters
    ----------
    specs : iterable of RunSpec
    known : mapping of str to Run
        A stored run of each row, of any size.
    shares : mapping of str to float
        Parameters of its network over those of the given one, by row; 1 if there is none.

    Returns
    -------
    hours : float
    unknown : int
        Runs of rows that are not known.
    """
    seconds, unknown = 0.0, 0
    for spec in specs:
        if spec.system not in known:
            unknown += 1
            continue
        run = known[spec.system]
        epochs = spec.parameters.get("epochs", 1) / run.spec.parameters.get("epochs", 1)
        seconds += run.details["wall_seconds"] * epochs / shares.get(spec.system, 1.0)
    return seconds / 3600, unknown
