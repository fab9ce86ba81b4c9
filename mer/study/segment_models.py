"""Fitted systems of segments, kept in the cache so that they can be asked again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mer.clips import Clip, Corpus, Fold, Labels
from mer.corpora.composed_trajectories import quadrant_shares
from mer.errors import ParameterError
from mer.files import atomic_folder
from mer.paths import cache_folder
from mer.study.executor import fit, in_parallel
from mer.study.session import Session
from mer.study.specs import RunSpec
from mer.study.store import Run
from mer.systems.segmented import FittedSegments
from mer.tasks import Task, get_task

Look = Callable[[FittedSegments, RunSpec, Corpus, Fold], Any]
"""What is asked of a fitted system; a function of a module, as processes exchange it by name."""

_WHOLE = 1 - 1e-6


def looked_at(session: Session, specs: Sequence[RunSpec], look: Look) -> list[Any]:
    """What fitted systems tell, one entry a run, in the order of the runs.

    Systems that are neither stored as runs nor kept in the cache are fitted in parallel; each is
    stored and kept as soon as it is, so an interrupted call loses only what was running.

    Parameters
    ----------
    session : Session
    specs : sequence of RunSpec
        Of systems of segments, on the corpus of the session.
    look : callable
    """
    from tqdm.auto import tqdm

    corpus, store, settings = session.corpus, session.store, session.settings
    folds = {spec.split: corpus.split(spec.split).folds for spec in specs}
    jobs = [
        (number, spec, corpus, folds[spec.split][spec.fold], spec in store, look)
        for number, spec in enumerate(specs)
    ]
    n_jobs, cluster = (getattr(settings, name, None) for name in ("n_jobs", "cluster"))
    found: dict[int, Any] = {}
    results = in_parallel(_look, jobs, n_jobs=n_jobs, cluster=cluster)
    for number, run, told in tqdm(results, total=len(jobs), unit="model"):
        if run is not None:
            store.write(run)
        found[number] = told
    return [found[number] for number in range(len(jobs))]


def _look(
    number: int,
    spec: RunSpec,
    corpus: Corpus,
    fold: Fold,
    stored: bool,
    look: Look,
    *,
    threads: int | None,
) -> tuple[int, Run | None, Any]:
    run, fitted = fitted_segments(spec, corpus, fold, stored=stored, threads=threads)
    return number, run, look(fitted, spec, corpus, fold)


def fitted_segments(
    spec: RunSpec, corpus: Corpus, fold: Fold, *, stored: bool, threads: int | None = None
) -> tuple[Run | None, FittedSegments]:
    """A fitted system from the cache; or fitted and kept there, with its run.

    Parameters
    ----------
    spec : RunSpec
    corpus : Corpus
    fold : Fold
        Of that corpus, as `spec` says.
    stored : bool
        Whether its run is stored. If it is not, the system is fitted anew.
    threads : int, optional
        Threads that torch may use.

    Raises
    ------
    ParameterError
        If it is no system of segments.
    """
    folder = cache_folder() / "segment-models" / spec.key[:2] / spec.key[:32]
    if stored and (folder / "settings.json").is_file():
        return None, FittedSegments.load(folder)
    run, fitted = fit(spec, corpus, fold, threads=threads)
    if not isinstance(fitted, FittedSegments):
        raise ParameterError(f"system {spec.system!r} does not tell what it says of each segment")
    with atomic_folder(folder) as temporary:
        fitted.save(temporary)
    return run, fitted


def class_shares(clip: Clip, times: np.ndarray, task: Task) -> np.ndarray:
    """How much of each piece of a composed clip is of each class.

    Parameters
    ----------
    clip : Clip
        Of a composed corpus.
    times : np.ndarray, shape (n, 2)
        Begin and end of the pieces in seconds.
    task : Task
        "4Q", "A" or "V".

    Returns
    -------
    np.ndarray, shape (n, n_classes)
        Rows of sum 1.

    Raises
    ------
    MissingDataError, InvalidDataError
        As `mer.corpora.composed_trajectories.quadrant_shares`.
    ParameterError
        If quadrants do not tell the classes of the task.
    """
    told = [task.class_of(Labels(quadrant=quadrant)) for quadrant in (1, 2, 3, 4)]
    classes = [number for number in told if number is not None]
    if len(classes) < len(told):
        raise ParameterError(
            f"quadrants do not tell the classes of task {task.name!r}; take '4Q', 'A' or 'V'"
        )
    return quadrant_shares(clip, times) @ np.eye(len(task.classes))[classes]


def with_truth(segments: pd.DataFrame, corpus: Corpus, task_name: str) -> pd.DataFrame:
    """Segments of composed clips with the classes that they and their clips have.

    Parameters
    ----------
    segments : DataFrame
        With columns id, start and end in seconds; those of a clip together.
    corpus : Corpus
        The clips.
    task_name : str

    Returns
    -------
    DataFrame
        With further columns group; label (class of the clip, counted from 1); true (the class
        that fills most of the segment; of equals, the first) and pure (1 where it fills all of
        it, else 0).

    Raises
    ------
    MissingDataError, InvalidDataError, ParameterError
        As `class_shares`.
    """
    task = get_task(task_name)
    assert isinstance(task, Task), "segments have classes"
    clips = {clip.id: clip for clip in corpus}
    parts = []
    for clip_id, rows in segments.groupby("id", sort=False):
        clip = clips[str(clip_id)]
        shares = class_shares(clip, rows[["start", "end"]].to_numpy(), task)
        label = int(task.targets([clip])[0]) + 1
        pure = (shares.max(axis=1) > _WHOLE).astype(int)
        true = shares.argmax(axis=1) + 1
        parts.append(rows.assign(group=clip.group, label=label, true=true, pure=pure))
    return pd.concat(parts, ignore_index=True)
