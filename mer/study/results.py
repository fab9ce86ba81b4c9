"""Runs of some tables, and their display: tables, plots, training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.evaluation.metrics import confusion_matrix
from mer.study import plots
from mer.study.claims import PUBLISHED_SIZE, against, against_text
from mer.study.profiles import STORED
from mer.study.scores import OWN_MODEL, Published, answered, answers, scores
from mer.study.specs import RunSpec
from mer.study.store import Run, RunStore
from mer.study.tables import (
    AT_PUBLISHED_SIZE,
    HERE,
    KNOWN_ROWS,
    PUBLISHED,
    Table,
    deviations,
    task_table,
)
from mer.study.text import captioned, count, estimate, fold, listing, markdown, number
from mer.systems.base import System
from mer.tasks import TASKS

if TYPE_CHECKING:
    from mer.study.study import Study

TASK_TITLES = {
    **{"4Q": "Four quadrants", "A": "Arousal", "V": "Valence", "cluster": "Mood clusters"},
    **{"valence": "Valence", "arousal": "Arousal"},
}
_COLUMNS = (
    *("system", "task", "split", "fold", "seed", "audio"),
    *("id", "group", "target", "answer", "correct"),
)


@dataclass
class Results:
    """Runs of some tables on one split.

    Attributes
    ----------
    study : Study
    planned, specs : list of RunSpec
        Those of the tables, and those that are stored.
    tables : list of Table
    place : str
        Name of the split, for reading.
    extend : callable, optional
        Adds rows that are made of others to the predictions.
    made_of : mapping of str to sequence of str
        By such a row: the rows that it is made of.
    names : dict of str to str
        By key of the run: another name of the row, such as that of a variation.
    """

    study: Study
    planned: list[RunSpec]
    specs: list[RunSpec]
    tables: list[Table]
    place: str
    extend: Callable[[pd.DataFrame], pd.DataFrame] | None = None
    made_of: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    @cached_property
    def runs(self) -> list[Run]:
        """The stored runs."""
        return [self.study.store.read(spec) for spec in self.specs]

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row a run and test clip.

        Columns system, task, split, fold, seed, audio, id, group, target, answer (both counted from
        1), correct, p_1 ... p_k; head_A and head_V where a system has such heads (missing in the
        rows of others). In rows of a regression target_valence, target_arousal, valence and
        arousal instead of target to p_k.
        """
        if not self.specs:
            return pd.DataFrame(columns=list(_COLUMNS))
        predictions = joined_predictions(self.runs, self.names)
        return self.extend(predictions) if self.extend else predictions

    @property
    def published(self) -> Published:
        """Published scores of the tables, if they make sense beside this corpus."""
        tables = [t for t in self.tables if self.study.corpus_name in t.beside]
        return {key: value for table in tables for key, value in table.published.items()}

    @property
    def published_on(self) -> str:
        """Datasets of the published values of the tables; empty if there are none."""
        return ", ".join(sorted({t.published_on for t in self.tables if t.published}))

    @property
    def order(self) -> list[str]:
        """Names of the rows of all tables, in order."""
        return list(dict.fromkeys(name for table in self.tables for name in table.order))

    @cached_property
    def answers(self) -> dict[str, pd.DataFrame]:
        """Predictions by their kind, see `mer.study.scores.answers`."""
        return answers(self.predictions)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Accuracy of every row and task, see `mer.study.scores.scores`."""
        return scores(self.answers[OWN_MODEL], self.published)

    @property
    def tasks(self) -> list[str]:
        """Tasks of the tables, in order."""
        return list(dict.fromkeys(spec.task for spec in self.planned))

    @property
    def missing(self) -> list[RunSpec]:
        """Runs of the tables of which no seed is stored."""
        stored = {_row(spec) for spec in self.specs}
        return [spec for spec in self.planned if _row(spec) not in stored]

    @property
    def missing_text(self) -> str:
        """What was not run and how to get it, in Markdown; empty if everything is there."""
        reasons: dict[str, dict[tuple[str, str], list[str]]] = {}
        for spec in self.missing:
            tasks = reasons.setdefault(spec.lacks, {}).setdefault((spec.system, spec.split), [])
            tasks += [spec.task] * (spec.task not in tasks)
        lines = []
        for needed, places in reasons.items():
            names = [
                f"{markdown(name)} ({self.place}: {', '.join(t)})"
                for (name, _), t in places.items()
            ]
            what = f"- {'; '.join(names)}: **was not run**"
            lines.append(f"{what}; first {needed}." if needed else f"{what}.")
        return "\n".join(lines)

    def of(self, *systems: str, task: str | None = None) -> list[RunSpec]:
        """Runs of some rows that are there."""
        return [s for s in self.specs if s.system in systems and task in (None, s.task)]

    def rows(self) -> dict[str, System]:
        """Systems of the planned runs, by row."""
        return {spec.system: spec.built for spec in self.planned if spec.built}

    @cached_property
    def labels(self) -> dict[str, str]:
        """Names of the rows that are networks of the papers, with their numbers of parameters."""
        from mer.study.model_card import network_counts

        stored = {spec.system for spec in self.specs}
        rows = {n: KNOWN_ROWS[n] for n in self.order if n in stored and n in KNOWN_ROWS}
        counts = network_counts(self.study, rows)["here"]
        return {str(name): f"{name} ({count(n)})" for name, n in counts.items()}

    @cached_property
    def at_published_size(self) -> Results | None:
        """These results with networks of published size, as far as such are stored; else None.

        Systems that have no size are among them.
        """
        networks = {name: row for name, row in self.rows().items() if row.family}
        if self.names or not networks or self.study.profile.name != STORED:
            return None
        study = self.study.at_published_size
        places = {(spec.system, spec.task, spec.split) for spec in self.planned}
        folds = sorted({spec.fold for spec in self.planned})
        planned = [
            spec
            for name, task, split in sorted(places)
            if name in networks and name in KNOWN_ROWS
            for spec in study.specs(
                {name: KNOWN_ROWS[name]}, split=split, tasks=[task], folds=folds
            )
        ]
        found = study.of_stored(planned)
        if not found:
            return None
        same = [spec for spec in self.specs if spec.system not in networks]
        place = f"{self.place}, {PUBLISHED_SIZE}"
        return Results(study, planned, [*found, *same], self.tables, place)

    def show(self, tasks: Sequence[str] | None = None) -> None:
        """Display every table, published beside ours; folded, how the rows were run."""
        from IPython.display import Markdown, display

        tasks = tasks or self.tasks
        made_of_others = [s for s in self.scores["system"].unique() if s not in self.order]
        for table in self.tables:
            parts = {task: self._part(table, task, made_of_others) for task in tasks}
            main = {TASK_TITLES[t]: part[_main(part)] for t, part in parts.items()}
            scores, about = pd.concat(main, axis=1), f"{table.heading}, {self.place}"
            ours = [(title, HERE) for title in main]
            known = [title for title, part in main.items() if PUBLISHED in part]
            beside = {(title, PUBLISHED): (title, HERE) for title in known}
            caption = f"{about}. Accuracy, mean ± SD over seeds"
            display(captioned(scores, caption, best=ours, inside=beside))
            details = {TASK_TITLES[t]: part.drop(columns=_main(part)) for t, part in parts.items()}
            fold(
                "Seeds, sound and other answers",
                captioned(pd.concat(details, axis=1), f"{about}: how it was run"),
            )
        if self.missing:
            display(Markdown(self.missing_text))

    def _part(self, table: Table, task: str, made_of_others: Iterable[str]) -> pd.DataFrame:
        larger = self.at_published_size
        beside = self.study.corpus_name in table.beside
        text = task_table(
            self.answers,
            task,
            [*table.order, *made_of_others],
            self.published,
            quoted=table.quoted,
            other_split=table.other_split if beside else None,
            at_published_size=_of_networks(larger) if larger else None,
        )
        return text.rename(index=self.labels)

    def plot(self) -> Figure:
        """Forest plot: accuracy of each row with its interval, a panel a task."""
        table = self.scores
        if table.empty:
            return plots.empty("none of these rows was run")
        titles = {
            t: f"{TASK_TITLES[str(t)]} (n = {n:,})"
            for t, n in table.groupby("task")["n"].max().items()
        }
        known = "published" if table["published"].notna().any() else None
        chance = {task: 1 / len(TASKS[str(task)].classes) for task in titles}
        return plots.forest(
            table,
            "system",
            published=known,
            column="task",
            names=titles,
            vlines={"chance": chance},
            sharex=True,
            xlabel="Accuracy",
        )

    def confusions(self, rows: Sequence[str], task: str = "4Q") -> Figure:
        """How often clips of each class (row) were given each class (column), in % of the row."""
        names = [name.split()[0] for name in TASKS[task].classes]
        chosen = self.predictions[self.predictions["task"] == task]
        tables = {}
        for row in rows:
            frame = chosen[chosen["system"] == row]
            if len(frame):
                counts = confusion_matrix(frame["target"] - 1, frame["answer"] - 1, len(names))
                shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
                tables[row] = pd.DataFrame(shares, index=names, columns=names)
        return plots.heatmaps(tables, percent=True, xlabel="Answer", ylabel="Label")

    def against(self, reference: str, tasks: Sequence[str] = ("4Q",)) -> None:
        """Display the differences of a row from all others on the same clips."""
        from IPython.display import display

        for task in tasks:
            table = against(self.answers[OWN_MODEL], reference, task)
            if len(table):
                caption = (
                    f"{TASK_TITLES[task]}, {self.place}: difference of accuracy [95 % interval]"
                )
                display(captioned(against_text(table, reference), caption))

    def standing(self, row: str, task: str = "4Q") -> str:
        """Rank of a row among the others on one task, in Markdown; empty if it was not run."""
        rows = self.scores[self.scores["task"] == task].set_index("system")
        if row not in rows.index:
            return ""
        own = rows.loc[row]
        accuracy = estimate(own["mean"], own["low"], own["high"])
        text = f"On {own['n']} test clips {markdown(row)} has an accuracy of {accuracy} ({task}). "
        if own["covers"] is not None:
            where = "inside" if own["covers"] else "outside"
            text += f"The published {number(own['published'])} lies {where} this interval. "
        above = list(rows.index[rows["mean"] > own["mean"]])
        text += f"Of the {len(rows) - 1} other systems, {len(above)} have a higher mean"
        return text + (f": {listing(above)}. " if above else ". ")

    def spread(self, task: str = "4Q") -> str:
        """How far apart the rows of one task lie, beside their intervals, in Markdown."""
        rows = self.scores[self.scores["task"] == task].set_index("system")
        width = number(np.ptp(rows["mean"]))
        half = number((rows["high"] - rows["low"]).mean() / 2)
        text = f"The {len(rows)} rows lie within {width} of each other; on {rows['n'].max()} test "
        text += f"clips the mean half-width of an interval is {half}. "
        known = rows.dropna(subset=["published"])
        outside = known[known["covers"].eq(False)]["difference"]
        names = [f"{markdown(name)} ({number(gap, signed=True)})" for name, gap in outside.items()]
        if len(known):
            text += f"The published value is outside the interval in {len(outside)} of "
            text += f"{len(known)} rows: {'; '.join(names) or 'none'}."
        return text

    def one_model(self, row: str) -> str:
        """Whether the three accuracies of a row could come from one model, in Markdown."""
        columns = self.scores[self.scores["system"] == row].set_index("task")
        text = ""
        for source, values in columns[["mean", "published"]].dropna(axis=1).items():
            if {"4Q", "A", "V"} <= set(values.index):
                floor = number(values["A"] + values["V"] - 1)
                whose = "own" if source == "mean" else "published"
                text += f"In its {whose} row, A + V - 1 is {floor} and the four-quadrant accuracy "
                text += f"is {number(values['4Q'])}. "
        return text

    def history(self, *rows: str, task: str | None = None) -> Figure:
        """Losses and validation scores of some rows while they were trained."""
        specs = self.of(*rows, task=task)
        return plots.history((s.system, self.study.store.read(s).history) for s in specs)

    def deviations(self, *rows: str) -> Any:
        """Hyper-parameters that differ from the published ones, of all rows or of some.

        Rows of one's own have no published ones and are left out.
        """
        wanted = rows or self.order
        used = {n: s for n, s in self.rows().items() if n in wanted and n in KNOWN_ROWS}
        table = deviations(used, KNOWN_ROWS).set_index("Hyper-parameter")
        shown = table[["Published", "Here", "System"]].replace("; ".join(used), "all rows")
        shown = shown.rename(columns={"Published": "Default"})
        return captioned(shown, "Hyper-parameters: default and used here")


def _of_networks(results: Results) -> dict[str, pd.DataFrame]:
    """Answers of rows that have a size."""
    names = {name for name, row in results.rows().items() if row.family}
    return {kind: frame[frame["system"].isin(names)] for kind, frame in results.answers.items()}


def _main(part: pd.DataFrame) -> list[str]:
    """Columns of a task's part that a table shows first."""
    return [c for c in part if c in (PUBLISHED, AT_PUBLISHED_SIZE, HERE)]


def _row(spec: RunSpec) -> str:
    """Key of a row of the tables, which is the same for all folds and seeds."""
    return replace(spec, fold=0, seed=0).key


def read_predictions(store: RunStore, specs: Iterable[RunSpec]) -> pd.DataFrame:
    """Predictions of stored runs, see `Results.predictions`."""
    return joined_predictions([store.read(spec) for spec in specs])


def joined_predictions(runs: Sequence[Run], names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Predictions of runs, see `Results.predictions` and `Results.names`."""
    predictions = pd.concat([run.predictions for run in runs], ignore_index=True)
    rows = [len(run.predictions) for run in runs]
    names = names or {}
    facts: dict[str, list[Any]] = {
        "system": [names.get(run.spec.key, run.spec.system) for run in runs],
        **{n: [getattr(r.spec, n) for r in runs] for n in ("task", "split", "fold", "seed")},
    }
    for name, values in {**facts, "audio": [run.details["audio"] for run in runs]}.items():
        predictions[name] = np.repeat(np.asarray(values, object), rows).tolist()
    if "target" in predictions:
        predictions = answered(predictions)
    first = [name for name in _COLUMNS if name in predictions]
    return predictions[[*first, *predictions.columns.difference(first, sort=False)]]
