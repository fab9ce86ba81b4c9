"""Running what is not stored yet, on this machine or on a dask cluster."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from mer import __version__
from mer.audio import audio_source
from mer.clips import Corpus, Fold
from mer.errors import ParameterError
from mer.evaluation.metrics import classification_report
from mer.paths import cache_folder
from mer.study.specs import RunSpec, resolve
from mer.study.store import PREDICTION_DECIMALS, Run, RunStore
from mer.systems.base import Context
from mer.tasks import get_task


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
    specs : sequence of RunSpec
    corpus : Corpus
    store : RunStore
    n_jobs : int, optional
        Processes; one for each core if None.
    cluster : str, optional
        Address of a dask scheduler whose workers see the same data folder.
    progress : bool

    Returns
    -------
    int
        Number of runs that were computed.

    Raises
    ------
    ParameterError
        If no scheduler answers at that address.
    """
    from joblib import Parallel, delayed

    missing = store.missing(specs)
    if not missing:
        return 0
    cores = os.cpu_count() or 1
    n_jobs = min(n_jobs or cores, len(missing))
    threads = max(cores // n_jobs, 1)
    folds = {spec.split: corpus.split(spec.split).folds for spec in missing}
    jobs = (
        delayed(run)(spec, corpus, folds[spec.split][spec.fold], threads=threads)
        for spec in missing
    )
    with _backend(cluster):
        results = Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs)
        for result in _with_progress(results, len(missing), progress):
            store.write(result)
    return len(missing)


@contextlib.contextmanager
def _backend(cluster: str | None) -> Iterator[None]:
    if cluster is None:
        yield
        return
    from dask.distributed import Client
    from joblib import parallel_config

    try:
        client = Client(cluster, timeout="20s")
    except (OSError, ValueError) as error:
        raise ParameterError(f"no dask scheduler answers at {cluster!r}: {error}") from None
    with client, parallel_config(backend="dask"):
        yield


def _with_progress(results: Any, total: int, progress: bool) -> Iterator[Run]:
    from tqdm import tqdm

    with tqdm(total=total, unit="run", disable=not progress, file=sys.stdout, mininterval=5) as bar:
        for result in results:
            spec = result.spec
            place = f"{spec.task} {spec.split} fold {spec.fold} seed {spec.seed}"
            bar.set_postfix_str(
                f"{spec.system}, {place}: {result.details['metrics']['accuracy']:.3f}"
            )
            bar.update()
            yield result


def run(spec: RunSpec, corpus: Corpus, fold: Fold, *, threads: int | None = None) -> Run:
    """Train and evaluate one system on one fold.

    Parameters
    ----------
    spec : RunSpec
    corpus : Corpus
    fold : Fold
        Of that corpus, as `spec` says.
    threads : int, optional
        Threads that torch may use.
    """
    started = time.perf_counter()
    system = resolve(spec.system, spec.parameters)
    task = get_task(spec.task)
    _limit_threads(threads)
    context = Context(task, seed=spec.seed, checkpoint=_checkpoint(spec))
    fitted = system.fit(corpus.select(fold.train), corpus.select(fold.valid), context)
    test = corpus.select(fold.test)
    # As the store keeps them, so that metrics of stored predictions are the same.
    predictions = fitted.predict(test).round(PREDICTION_DECIMALS)
    predictions.insert(1, "group", test.groups)
    predictions.insert(2, "target", task.targets(test) + 1)
    details = {
        "metrics": _metrics(predictions),
        "audio": audio_source(test) if "audio" in system.inputs else "none",
        "clips": {part: len(getattr(fold, part)) for part in ("train", "valid", "test")},
        "environment": environment(),
        "wall_seconds": round(time.perf_counter() - started, 2),
        "peak_memory_mib": _peak_memory_mib(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return Run(spec, predictions, fitted.history, details)


def _metrics(predictions: pd.DataFrame) -> dict[str, float]:
    report = classification_report(predictions)
    return {name: round(report[name], 5) for name in ("accuracy", "macro_f1")}


def _checkpoint(spec: RunSpec) -> Path:
    return cache_folder() / "checkpoints" / f"{spec.key[:32]}.pt"


def _limit_threads(threads: int | None) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and threads is not None:
        torch.set_num_threads(threads)


def _peak_memory_mib() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (1024 * 1024 if sys.platform == "darwin" else 1024))


def environment() -> dict[str, Any]:
    """Versions and processor that a result was computed with."""
    torch = sys.modules.get("torch")
    bfloat16 = torch is not None and torch.cpu._is_avx512_bf16_supported()
    return {
        "mer": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "bfloat16": bfloat16,
        **{name: version(name) for name in ("numpy", "scikit-learn", "torch", "librosa")},
    }
