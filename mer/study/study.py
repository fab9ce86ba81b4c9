"""The interface of a notebook: runs of rows, computed or stored, and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import pandas as pd

from mer.clips import Corpus
from mer.corpora import load
from mer.errors import MissingDataError, ParameterError
from mer.study.cards import describe
from mer.study.executor import execute, inspect_fitted
from mer.study.profiles import PUBLISHED, Profile, get_profile
from mer.study.project import store_folder
from mer.study.results import Results
from mer.study.settings import Settings, read_settings
from mer.study.specs import RunSpec, plan
from mer.study.store import RunStore
from mer.study.tables import Rows, Table
from mer.study.text import split_title
from mer.systems.base import System

SPLITS: Mapping[str, Sequence[str]] = {
    "single": ("split_cls", "official", "holdout"),
    "cv": ("cv5", "cv10"),
    "nested": ("nested5x5",),
}
"""Splits that the study uses, the first of them that a corpus has: one partition,
cross-validation, nested cross-validation."""

PLACES: Mapping[str, str] = {"single": "official split", "cv": "cross-validation"}
"""Their names in the book."""


class Study:
    """Corpus and store of one notebook, from its parameters.

    Parameters
    ----------
    parameters : Settings or mapping
        `globals()` of the notebook, right after its parameters cell.
    about : {"classes", "regression", "segments"}
        Which corpus of the profile is taken if the parameters name none.
    store : RunStore, optional
        The one of the profile if None.
    """

    def __init__(
        self,
        parameters: Settings | Mapping[str, Any],
        about: str = "classes",
        store: RunStore | None = None,
    ) -> None:
        self.settings: Settings = (
            parameters if isinstance(parameters, Settings) else read_settings(parameters)
        )
        self.profile: Profile = get_profile(self.settings.profile)
        self.about = about
        self.corpus_name: str = self.settings.corpus or self.profile.corpora[about][0]
        self.store = store or RunStore(store_folder(self.profile.committed))
        self._chosen: set[str] = set()  # rows that have been run, with other settings, too

    def on(self, corpus: str, *, tasks: Sequence[str] | None = None) -> Study:
        """The same study on another corpus; with other tasks, if some are given."""
        changes: dict[str, Any] = {"corpus": corpus}
        if tasks is not None:
            changes["tasks"] = list(tasks)
        return self._changed(changes)

    @property
    def at_published_size(self) -> Study:
        """The same study with what is stored of the profile of published sizes."""
        return self._changed({"profile": PUBLISHED, "compute": False})

    def of_stored(self, planned: list[RunSpec]) -> list[RunSpec]:
        """Those of some runs that are stored with all folds of their row and seed."""
        return self._possible(planned)

    def _changed(self, changes: Mapping[str, Any]) -> Study:
        """The same study with other settings; what is known of the corpus stays."""
        study = type(self)(self.settings.model_copy(update=changes), self.about, self.store)
        study._chosen = self._chosen
        if study.corpus_name == self.corpus_name:
            known = ("corpus", "card")
            study.__dict__.update({k: v for k, v in self.__dict__.items() if k in known})
        return study

    @cached_property
    def corpus(self) -> Corpus:
        """The corpus, checked.

        Raises
        ------
        MissingDataError, InvalidDataError
            If its data are missing or damaged.
        """
        corpus = load(self.corpus_name, **self.profile.corpus_options.get(self.corpus_name, {}))
        corpus.check()
        return corpus

    @cached_property
    def card(self) -> dict[str, Any]:
        """The card of the corpus: of the data, or the stored one where nothing is computed."""
        if not self.settings.compute:
            return self.store.read_card(self.corpus_name)
        card = describe(self.corpus)
        self.store.write_card(self.corpus_name, card)
        return card

    @property
    def is_known(self) -> bool:
        """Whether anything can be shown: data are at hand, or a card of the corpus is stored."""
        try:
            return self.settings.compute or bool(self.card)
        except MissingDataError:
            return False

    @contextmanager
    def skipping_missing(self) -> Iterator[None]:
        """Leave the block where something is not stored, unless things are computed."""
        try:
            yield
        except MissingDataError:
            if self.settings.compute:
                raise

    def sized(self, rows: Rows) -> dict[str, System]:
        """Rows at the sizes of the profile, with the overrides of the notebook.

        Those that the parameter `systems` leaves out are left out.
        """
        wanted = self.settings.systems
        chosen = {n: s for n, s in rows.items() if wanted is None or n in wanted}
        return {
            name: self.profile.sized(name, system).configured(self.settings.overrides.get(name, {}))
            for name, system in chosen.items()
        }

    def split_name(self, kind: str) -> str:
        """Name of the split of a kind ("single", "cv", "nested"), or of that name.

        Raises
        ------
        ParameterError
            If the corpus has no such split.
        """
        known = self.card["splits"]
        for name in SPLITS.get(kind, (kind,)):
            if name in known:
                return name
        raise ParameterError(
            f"corpus {self.corpus_name!r} has no split for {kind!r}; it has: {', '.join(known)}"
        )

    def tasks(self, default: Sequence[str]) -> list[str]:
        """Tasks of the notebook: those of the parameters, or the default ones."""
        return list(self.settings.tasks or default)

    def specs(
        self,
        rows: Rows,
        *,
        split: str = "single",
        tasks: Sequence[str] = ("4Q", "A", "V"),
        folds: Iterable[int] | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> list[RunSpec]:
        """Runs of these rows on a split of the corpus.

        Rows and tasks are those that the parameters `systems` and `tasks` leave.

        Parameters
        ----------
        split : str
            Name of a split, or "single", "cv" or "nested" for the one that the study uses.
        folds : iterable of int, optional
            All if None.
        changes : mapping, optional
            Hyper-parameters of all these rows that differ from the profile's: a variation.
        """
        name = self.split_name(split)
        n_folds = self.card["splits"][name]["folds"]
        sized = self.sized(rows)
        allowed = self.settings.tasks
        return plan(
            {row: system.configured(changes or {}) for row, system in sized.items()},
            [task for task in tasks if allowed is None or task in allowed or task == "VA"],
            corpus=self.corpus_name,
            fingerprint=self.card["fingerprint"],
            split=name,
            folds=range(n_folds) if folds is None else folds,
            seeds=self._seeds(name, n_folds),
        )

    def _seeds(self, split: str, n_folds: int) -> list[int]:
        """Training seeds on a split: in cross-validation the first few, in nested one."""
        fewer = self.profile.cv_seeds.get(self.about, 1) if split in SPLITS["cv"] else 1
        return list(self.settings.seeds or self.profile.seeds)[: fewer if n_folds > 1 else None]

    def run(self, *what: Table | list[RunSpec], split: str = "single", **options: Any) -> Results:
        """Runs of tables or of specifications; what is not stored is computed first.

        Rows that cannot be fitted here (their weights are missing) are left out, and where nothing
        is computed, seeds of which not all folds are stored: `Results.missing` has them.
        Where the parameters leave nothing of what a page shows after other rows, that is said, and
        the results are empty.

        `split` and further options are those of tables, see `specs`.

        Raises
        ------
        ParameterError
            If the parameters left nothing to run, and nothing before.
        MissingDataError
            If nothing is computed and nothing of it is stored.
        """
        planned = self._planned(what, split, options)
        tables = [part for part in what if isinstance(part, Table)]
        if not planned:
            self._nothing_of(" and ".join(table.heading for table in tables) or "this table")
        self._chosen |= {spec.system for spec in planned}
        specs = self._possible(planned)
        if self.settings.compute and specs:
            execute(specs, self.corpus, self.store, **self._processes)
        elif planned and not specs:
            raise MissingDataError(
                f"none of {len(planned)} runs is stored, the first is {planned[0].label}; "
                f"run 'mer study --profile {self.profile.name}' first"
            )
        return Results(self, planned, specs, tables, PLACES.get(split) or split_title(split))

    def _planned(
        self, what: Iterable[Table | list[RunSpec]], split: str, options: Mapping[str, Any]
    ) -> list[RunSpec]:
        """Runs of tables or of specifications, each once."""
        planned: list[RunSpec] = []
        for part in what:
            planned += part if isinstance(part, list) else self._of_table(part, split, options)
        return list({spec.key: spec for spec in planned}.values())

    def run_cv(self, table: Table, page: str) -> Results:
        """Runs of a table in cross-validation; the small profiles have fewer folds on a page."""
        return self.run(table, split="cv", folds=self.profile.of_page(page).get("folds"))

    def _nothing_of(self, tables: str) -> None:
        """Say that none of the chosen rows belongs to some tables, or raise if none was run yet."""
        systems, tasks = self.settings.systems, self.settings.tasks
        text = f"none of systems {systems} and tasks {tasks} belongs to {tables}"
        if not self._chosen:
            raise ParameterError(f"nothing to run: {text}")
        print(f"Nothing to show here: {text}.")

    def try_rows(
        self, table: Table, rows: Rows, *, split: str = "single", **options: Any
    ) -> Results | None:
        """Run further rows beside those of a table; None, with a message, without `compute`.

        They are run whatever the parameter `systems` says; for `split` and options see `specs`.
        """
        own = table.with_rows(rows)
        if not self.settings.compute:
            print("Rows of your own are computed where the parameter compute is true.")
            return None
        tasks = [task for task in self.tasks(own.tasks) if task in own.tasks] or list(own.tasks)
        return self._changed({"systems": None, "tasks": tasks}).run(own, split=split, **options)

    def _of_table(self, table: Table, split: str, options: Mapping[str, Any]) -> list[RunSpec]:
        by_tasks: dict[tuple[str, ...], dict[str, System]] = {}
        for row, system in table.all_rows.items():
            by_tasks.setdefault(table.only.get(row, table.tasks), {})[row] = system
        return [
            spec
            for tasks, rows in by_tasks.items()
            for spec in self.specs(rows, **{"split": split, "tasks": tasks, **options})
        ]

    def _possible(self, planned: list[RunSpec]) -> list[RunSpec]:
        """Runs that can be computed here, or are stored with all folds of their row and seed."""
        groups: dict[str, list[RunSpec]] = {}
        for spec in planned:
            groups.setdefault(replace(spec, fold=0).key, []).append(spec)
        return [
            spec
            for specs in groups.values()
            if (self.settings.compute and not specs[0].lacks) or not self.store.missing(specs)
            for spec in specs
        ]

    def table(
        self, name: str, key: Mapping[str, Any], compute: Callable[[], pd.DataFrame]
    ) -> pd.DataFrame:
        """A table that is no run, from the store where it is there; see `RunStore.table`."""
        return self.store.table(name, key, compute if self.settings.compute else None)

    def inspect(self, specs: Sequence[RunSpec], function: Callable[..., Any]) -> list[Any]:
        """Results of a function of fitted systems, one entry a run, in the order of the runs.

        The function takes the fitted system, its specification, the corpus and the fold. Systems
        that are not in the cache are fitted in parallel; each is stored and put into the cache as
        soon as it is, so an interrupted call loses only what was running.
        """
        return inspect_fitted(specs, self.corpus, self.store, function, **self._processes)

    @property
    def _processes(self) -> dict[str, Any]:
        return {"n_jobs": self.settings.n_jobs, "cluster": self.settings.cluster}
