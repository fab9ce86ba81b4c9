"""Fitted systems, kept in the cache so that they can be asked again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mer.clips import Corpus, Fold
from mer.errors import ParameterError
from mer.files import atomic_folder
from mer.paths import cache_folder
from mer.study.executor import fit, in_parallel
from mer.study.session import Session
from mer.study.specs import RunSpec
from mer.study.store import Run
from mer.systems.base import Fitted

Look = Callable[[Any, RunSpec, Corpus, Fold], Any]
"""What is asked of a fitted system; a function of a module, as processes exchange it by name."""

Kind = TypeVar("Kind", bound=Fitted)


def looked_at(
    session: Session, specs: Sequence[RunSpec], look: Look, kind: type[Fitted], folder: str
) -> list[Any]:
    """What fitted systems tell, one entry a run, in the order of the runs.

    Systems that are neither stored as runs nor kept in the cache are fitted in parallel; each is
    stored and kept as soon as it is, so an interrupted call loses only what was running.

    Parameters
    ----------
    session : Session
    specs : sequence of RunSpec
        On the corpus of the session.
    look : callable
    kind, folder
        As in `kept`.
    """
    from tqdm.auto import tqdm

    corpus, store, settings = session.corpus, session.store, session.settings
    folds = {spec.split: corpus.split(spec.split).folds for spec in specs}
    jobs = [
        (number, spec, corpus, folds[spec.split][spec.fold], spec in store, look, kind, folder)
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
    kind: type[Fitted],
    folder: str,
    *,
    threads: int | None,
) -> tuple[int, Run | None, Any]:
    run, fitted = kept(spec, corpus, fold, kind, folder, stored=stored, threads=threads)
    return number, run, look(fitted, spec, corpus, fold)


def kept(
    spec: RunSpec,
    corpus: Corpus,
    fold: Fold,
    kind: type[Kind],
    folder: str,
    *,
    stored: bool,
    threads: int | None = None,
) -> tuple[Run | None, Kind]:
    """A fitted system from the cache; or fitted and kept there, with its run.

    Parameters
    ----------
    spec : RunSpec
    corpus : Corpus
    fold : Fold
        Of that corpus, as `spec` says.
    kind : type
        Of the fitted system.
    folder : str
        Name of the folder in the cache.
    stored : bool
        Whether its run is stored. If it is not, the system is fitted anew.
    threads : int, optional
        Threads that torch may use.

    Raises
    ------
    ParameterError
        If the fitted system is of another kind.
    """
    path = cache_folder() / folder / spec.key[:2] / spec.key[:32]
    if stored and (path / "settings.json").is_file():
        loaded = kind.load(path)
        assert isinstance(loaded, kind)
        return None, loaded
    run, fitted = fit(spec, corpus, fold, threads=threads)
    if not isinstance(fitted, kind):
        raise ParameterError(
            f"system {spec.system!r} is fitted to {type(fitted).__name__}, not to "
            f"{kind.__name__}: it cannot tell what is asked here"
        )
    with atomic_folder(path) as temporary:
        fitted.save(temporary)
    return run, fitted
