"""Running what is not stored yet, on this machine or on a dask cluster."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd

from mer.audio import audio_source
from mer.clips import Corpus, Fold
from mer.cluster import on_cluster
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.evaluation.metrics import classification_report, regression_report
from mer.files import atomic_folder
from mer.paths import cache_folder
from mer.study.processes import end_with
from mer.study.specs import RunSpec
from mer.study.store import PREDICTION_DECIMALS, Run, RunStore, environment
from mer.systems.base import Context, Fitted
from mer.tasks import AnyTask, RegressionTask, get_task


def execute(
    specs: Sequence[RunSpec],
    corpus: Corpus,
    store: RunStore,
    *,
    n_jobs: int | None = None,
    cluster: str | None = None,
    progress: bool = True,
) -> int:
    """Run and store every run that is not stored.

    Each run is stored as soon as it ends, so an interrupted call loses only what was running,
    and a network resumes from its last epoch.

    Parameters
    ----------
    n_jobs : int, optional
        Processes; one for each core if None.
    cluster : str, optional
        Address of a dask scheduler whose workers see the same data folder.

    Returns
    -------
    int
        Number of runs that were computed.

    Raises
    ------
    ParameterError
        If no scheduler answers at that address.
    """
    missing = store.missing(specs)
    if not missing:
        return 0
    folds = {spec.split: corpus.split(spec.split).folds for spec in missing}
    jobs = [(spec, corpus, folds[spec.split][spec.fold]) for spec in missing]
    results = in_parallel(run, jobs, n_jobs=n_jobs, cluster=cluster)
    for result in _with_progress(results, len(missing), progress):
        store.write(result)
    return len(missing)


def in_parallel(
    function: Callable[..., Any],
    jobs: Sequence[tuple[Any, ...]],
    *,
    n_jobs: int | None = None,
    cluster: str | None = None,
) -> Iterator[Any]:
    """Results of a function for several jobs, each as soon as it is there.

    It takes what a job holds, and `threads`, the number of threads that torch may use. `n_jobs`,
    `cluster` and errors are as in `execute`.
    """
    from joblib import Parallel, cpu_count, delayed

    cores = cpu_count()
    n_jobs = min(n_jobs or cores, max(len(jobs), 1))
    parent = None if cluster else os.getpid()
    threads = max(cores // n_jobs, 1)
    calls = (delayed(_in_worker)(parent, function, *job, threads=threads) for job in jobs)
    with on_cluster(cluster), kept_memory():
        yield from Parallel(n_jobs=n_jobs, return_as="generator_unordered")(calls)


def _in_worker(parent: int | None, function: Callable[..., Any], *job: Any, threads: int) -> Any:
    if parent is not None and parent != os.getpid():
        end_with(parent)
    return function(*job, threads=threads)


_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
    "MALLOC_TOP_PAD_": str(2**27),
}
"""Has glibc keep the memory of large arrays in worker processes (see mallopt(3)). Given back, it
is zeroed page by page for the next array; that was a third to a half of a step of C2D."""


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Worker processes that start here keep their memory, unless the user has settings."""
    added = {name: value for name, value in _MALLOC.items() if name not in os.environ}
    os.environ.update(added)
    try:
        with warnings.catch_warnings():
            # loky takes kept memory for a leak and replaces the worker; nothing is lost
            warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
            yield
    finally:
        for name in added:
            del os.environ[name]


def _with_progress(results: Any, total: int, progress: bool) -> Iterator[Run]:
    from tqdm import tqdm

    with tqdm(total=total, unit="run", disable=not progress, file=sys.stdout, mininterval=5) as bar:
        for result in results:
            spec = result.spec
            place = f"{spec.task} {spec.split} fold {spec.fold} seed {spec.seed}"
            first = next(iter(result.details["metrics"].items()))
            bar.set_postfix_str(f"{spec.system}, {place}: {first[0]} {first[1]:.3f}")
            bar.update()
            yield result


def run(spec: RunSpec, corpus: Corpus, fold: Fold, *, threads: int | None = None) -> Run:
    """Train and evaluate one system on its fold of the corpus.

    `threads` is how many torch may use, unless the environment says it (OMP_NUM_THREADS).
    """
    return fit(spec, corpus, fold, threads=threads)[0]


def fit(
    spec: RunSpec, corpus: Corpus, fold: Fold, *, threads: int | None = None
) -> tuple[Run, Fitted]:
    """As `run`, with the fitted system."""
    started = time.perf_counter()
    system = spec.built
    assert system is not None, "a planned run has its system"
    task = get_task(spec.task)
    _limit_threads(threads)
    checkpoint = cache_folder() / "checkpoints" / f"{spec.key[:32]}.pt"
    context = Context(task, seed=spec.seed, checkpoint=checkpoint)
    test = corpus.select(fold.test)
    try:
        fitted = system.fit(corpus.select(fold.train), corpus.select(fold.valid), context)
        predictions = with_targets(fitted.predict(test), test, task)
    except ParameterError as error:
        raise ParameterError(f"row {spec.system!r}: {error}") from None
    details = {
        "metrics": _metrics(predictions, task),
        "audio": audio_source(test) if "audio" in system.inputs else "none",
        "clips": {part: len(getattr(fold, part)) for part in ("train", "valid", "test")},
        "environment": environment(),
        "wall_seconds": round(time.perf_counter() - started, 2),
        "peak_memory_mib": _peak_memory_mib(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return Run(spec, predictions, fitted.history, details), fitted


def inspect_fitted(
    specs: Sequence[RunSpec],
    corpus: Corpus,
    store: RunStore,
    function: Callable[..., Any],
    *,
    n_jobs: int | None = None,
    cluster: str | None = None,
) -> list[Any]:
    """Results of a function of fitted systems, one a run; see `mer.study.study.Study.inspect`.

    Processes exchange the function by its name, so it stands in a module. Other parameters are
    those of `execute`.
    """
    folds = {spec.split: corpus.split(spec.split).folds for spec in specs}
    jobs = [
        (number, spec, corpus, folds[spec.split][spec.fold], spec in store, function)
        for number, spec in enumerate(specs)
    ]
    results: dict[int, Any] = {}
    for number, run, value in in_parallel(_inspect, jobs, n_jobs=n_jobs, cluster=cluster):
        if run is not None:
            store.write(run)
        results[number] = value
    return [results[number] for number in range(len(jobs))]


def _inspect(
    number: int,
    spec: RunSpec,
    corpus: Corpus,
    fold: Fold,
    stored: bool,
    function: Callable[..., Any],
    *,
    threads: int,
) -> tuple[int, Run | None, Any]:
    """The value of a function, and the run where it was not stored or the system not cached."""
    folder = cache_folder() / "fitted" / spec.key[:2] / spec.key[:32]
    found = None
    if stored:
        with contextlib.suppress(MissingDataError, InvalidDataError):  # a damaged one: fit again
            found = Fitted.load(folder)
    if found is not None:
        return number, None, function(found, spec, corpus, fold)
    result, fitted = fit(spec, corpus, fold, threads=threads)
    with atomic_folder(folder) as temporary:
        fitted.save(temporary)
    return number, result, function(fitted, spec, corpus, fold)


def with_targets(predictions: pd.DataFrame, test: Corpus, task: AnyTask) -> pd.DataFrame:
    """Predictions for test clips as the store keeps them, with groups and targets.

    Columns id, group, then target (class counted from 1) or target_<dimension>, then what was
    predicted. Rounded, so that metrics of stored predictions are the same.
    """
    targets = task.targets(test)
    columns: dict[str, Any] = {"id": predictions["id"], "group": test.groups}
    if isinstance(task, RegressionTask):
        columns |= {f"target_{name}": targets[:, k] for k, name in enumerate(task.dimensions)}
    else:
        columns |= {"target": targets + 1}
    columns |= {str(name): values for name, values in predictions.items()}
    return pd.DataFrame(columns).round(PREDICTION_DECIMALS)


def _metrics(predictions: pd.DataFrame, task: AnyTask) -> dict[str, float]:
    if isinstance(task, RegressionTask):
        report, names = regression_report(predictions, task.dimensions), None
    else:
        report, names = classification_report(predictions), ("accuracy", "macro_f1")
    return {name: round(report[name], 5) for name in names or report if name != "n"}


def _limit_threads(threads: int | None) -> None:
    # Who sets the variable has reasons; joblib sets it, too, for its own processes
    torch = None if "OMP_NUM_THREADS" in os.environ else sys.modules.get("torch")
    if torch is not None and threads is not None:
        torch.set_num_threads(threads)


def _peak_memory_mib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (1024 * 1024 if sys.platform == "darwin" else 1024))
