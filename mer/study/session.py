"""What a notebook talks to: runs of its systems, computed or stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import pandas as pd

from mer.clips import Corpus
from mer.corpora import load
from mer.errors import MissingDataError, ParameterError
from mer.evaluation.metrics import answers
from mer.study.cards import describe
from mer.study.executor import execute
from mer.study.parameters import CorpusParameters, RegressionParameters, StudyParameters
from mer.study.profiles import SPLIT_KINDS, Profile, default_split, get_profile
from mer.study.project import store_folder
from mer.study.specs import RunSpec, plan
from mer.study.store import RunStore


class Session:
    """Corpus and run store of one notebook, as its parameters say.

    Parameters
    ----------
    settings : CorpusParameters
    store : RunStore, optional
        The one of the profile if None.
    """

    def __init__(self, settings: CorpusParameters, store: RunStore | None = None) -> None:
        self.settings = settings
        self.profile: Profile = get_profile(settings.profile)
        self.corpus_name = settings.corpus or settings.default_corpus
        self.store = store or RunStore(store_folder(self.profile.committed))

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

    def specs(
        self,
        systems: Iterable[str],
        *,
        split: str,
        tasks: Iterable[str] | None = None,
        changes: Mapping[str, Any] | None = None,
        folds: Iterable[int] | None = None,
    ) -> list[RunSpec]:
        """Runs of these systems on a split of the corpus.

        Parameters
        ----------
        systems : iterable of str
            Those that the parameter `systems` leaves are planned.
        split : str
            Name of a split, or "single", "cv" or "nested" for the one that the study uses.
        tasks : iterable of str, optional
            Those that the parameter `tasks` leaves are planned; all of them if None.
        changes : mapping, optional
            Hyper-parameters of all these systems that differ from the profile's: a variation.
        folds : iterable of int, optional
            Numbers of the folds; if None all, or those of the profile for "nested".
        """
        settings = self._study_settings()
        name = default_split(self.corpus_name, split) if split in SPLIT_KINDS else split
        if folds is None and split == "nested":
            folds = self.profile.nested_folds
        if name not in self.card["splits"]:
            known = ", ".join(self.card["splits"])
            raise ParameterError(
                f"corpus {self.corpus_name!r} has no split {name!r}; it has: {known}"
            )
        chosen = [s for s in systems if settings.systems is None or s in settings.systems]
        wanted = [t for t in settings.tasks if tasks is None or t in set(tasks)]
        n_folds = self.card["splits"][name]["folds"]
        return plan(
            chosen,
            wanted,
            corpus=self.corpus_name,
            fingerprint=self.card["fingerprint"],
            split=name,
            folds=range(n_folds) if folds is None else folds,
            # Folds are the repetition in cross-validation: one seed each.
            seeds=list(settings.seeds or self.profile.seeds)[: 1 if n_folds > 1 else None],
            overrides=_merge(
                self.profile.overrides,
                settings.overrides,
                {name: changes or {} for name in chosen},
            ),
        )

    def run(self, specs: list[RunSpec]) -> pd.DataFrame:
        """Predictions of these runs; those that are not stored are computed first.

        Returns
        -------
        DataFrame
            One row a run and test clip: system, task, split, fold, seed, audio, id, group,
            target, answer (both counted from 1), correct, p_1 ... p_k; head_A and head_V where
            a system has such heads (missing in the rows of others). In rows of a regression
            target_valence, target_arousal, valence and arousal instead of target to p_k.

        Raises
        ------
        ParameterError
            If there are none: the parameters left nothing to run.
        MissingDataError
            If a run is not stored and the parameter `compute` is False.
        """
        settings = self._study_settings()
        if not specs:
            raise ParameterError(
                f"nothing to run: none of systems {settings.systems} and tasks {settings.tasks} "
                "belongs to this table"
            )
        if settings.compute:
            execute(
                specs, self.corpus, self.store, n_jobs=settings.n_jobs, cluster=settings.cluster
            )
        elif missing := self.store.missing(specs):
            raise MissingDataError(
                f"{len(missing)} of {len(specs)} runs are not stored, the first is "
                f"{missing[0].label}; run 'mer study --profile {self.profile.name}' first"
            )
        return read_predictions(self.store, specs)

    def _study_settings(self) -> StudyParameters | RegressionParameters:
        if not isinstance(self.settings, StudyParameters | RegressionParameters):
            raise TypeError("this notebook's parameters are not those of a study")
        return self.settings


def read_predictions(store: RunStore, specs: Iterable[RunSpec]) -> pd.DataFrame:
    """Predictions of stored runs, as `Session.run` gives them."""
    frames = []
    for spec in specs:
        run = store.read(spec)
        frame = run.predictions
        frames.append(
            pd.DataFrame(
                {
                    "system": spec.system,
                    "task": spec.task,
                    "split": spec.split,
                    "fold": spec.fold,
                    "seed": spec.seed,
                    "audio": run.details["audio"],
                    "id": frame["id"],
                    "group": frame["group"],
                    **_answers(frame),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def _answers(frame: pd.DataFrame) -> dict[str, Any]:
    """Targets and what was answered."""
    if "target" not in frame:
        return {c: frame[c] for c in frame.columns if c not in ("id", "group")}
    answer = answers(frame)
    return {
        "target": frame["target"],
        "answer": answer,
        "correct": answer == frame["target"],
        **{c: frame[c] for c in frame.columns if c.startswith(("p_", "head_"))},
    }


def _merge(*layers: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        for name, values in layer.items():
            merged[name] = {**merged.get(name, {}), **values}
    return merged
