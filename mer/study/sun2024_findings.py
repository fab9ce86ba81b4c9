"""What the runs of SSSL come to: leakage, validation against test, and sentences on the figures."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from mer.study.claims import difference
from mer.study.figures import half_width
from mer.study.published import published, published_value
from mer.study.scores import METRICS
from mer.study.session import Session
from mer.study.sun2024 import (
    DURATIONS,
    PROPOSED,
    TASK_TITLES,
    Runs,
    accuracies,
    published_scores,
    swept,
)
from mer.study.tables import correctness, number_text

_ESTIMATE = ("mean", "low", "high")
_ALL_ALIKE = 0.99
"""Share of the most frequent answer from which on a network has stopped telling classes apart."""

_SWEPT_DATASETS = ("PMEmo", "4Q")
"""Of table 2."""


def leakage(grouped: Runs, leaky: Runs) -> pd.DataFrame:
    """What it is worth to have clips of the test's artists in training.

    Returns
    -------
    DataFrame
        One row a system and task that was run on both splits: system, task, grouped, leaky
        (accuracy), difference (leaky - grouped, on the same clips), low, high (95 %, paired
        bootstrap over artists) and n (clips).
    """
    rows = []
    for (task, system), frame in leaky.predictions.groupby(["task", "system"], sort=False):
        own = grouped.predictions.query("task == @task and system == @system")
        if own.empty:
            continue
        tables = [correctness(part, str(system), str(task)) for part in (own, frame)]
        found = difference(tables[1], tables[0])
        means = [float(table.to_numpy().mean()) for table in tables]
        rows.append(
            {
                **{"system": system, "task": task, "grouped": means[0], "leaky": means[1]},
                **{"difference": found.mean, "low": found.low, "high": found.high},
                "n": len(tables[0]),
            }
        )
    columns = ["system", "task", "grouped", "leaky", "difference", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)


def leakage_text(table: pd.DataFrame) -> pd.DataFrame:
    """`leakage` for reading, indexed by system."""
    return pd.DataFrame(
        {
            "task": [TASK_TITLES[task] for task in table["task"]],
            "artists apart": [number_text(value) for value in table["grouped"]],
            "artists on both sides": [number_text(value) for value in table["leaky"]],
            "difference": [
                f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
                for row in table.itertuples()
            ],
        }
    ).set_axis(pd.Index(table["system"]))


def validation_against_test(session: Session, runs: Runs) -> pd.DataFrame:
    """Accuracy on the clips that chose the epoch or the C, beside that on the test clips.

    The warm-up of self-learning does not count: its epochs are never chosen. SSSL is validated by
    the mean probabilities of the segments, before its support vector machine.

    Returns
    -------
    DataFrame
        One row a task and system that learns: task, system, validation (best of each run, mean
        over runs), test and gap (validation - test).
    """
    best: dict[tuple[str, str], list[float]] = {}
    for spec in runs.specs:
        history = pd.DataFrame(session.store.read(spec).history)
        if "valid_accuracy" not in history:
            continue
        if "clean_fraction" in history:
            history = history.dropna(subset=["clean_fraction"])
        best.setdefault((spec.task, spec.system), []).append(history["valid_accuracy"].max())
    tested = runs.predictions.groupby(["task", "system"])["correct"].mean()
    rows = [
        {
            "task": task,
            "system": system,
            "validation": np.mean(values),
            "test": tested[task, system],
        }
        for (task, system), values in best.items()
    ]
    table = pd.DataFrame(rows, columns=["task", "system", "validation", "test"])
    return table.assign(gap=table["validation"] - table["test"])


def published_sweep() -> pd.DataFrame:
    """Table 2 as published, as fractions: one row a duration, a column a dataset and score."""
    columns = {
        f"{dataset}, {TASK_TITLES[task].lower()}, {metric}": [
            published_scores(dataset)[(swept(d), task, metric)] for d in DURATIONS
        ]
        for dataset in _SWEPT_DATASETS
        for task in ("A", "V")
        for metric in METRICS
    }
    return pd.DataFrame(columns, index=pd.Index([f"{d} s" for d in DURATIONS]))


def published_sweep_findings() -> str:
    """How far apart the published accuracies of table 2 are, beside their sampling error."""
    lines = []
    for dataset in _SWEPT_DATASETS:
        songs = int(published_value("sun2024", "1", dataset, "#Song"))
        cells = accuracies(published_scores(dataset))
        for task in ("A", "V"):
            values = {d: cells[(swept(d), task)] for d in DURATIONS}
            best, worst = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
            text = f"- {dataset}, {TASK_TITLES[task].lower()}: highest at {best} s "
            text += f"({number_text(values[best])}), lowest at {worst} s "
            text += f"({number_text(values[worst])}). On {songs} songs such an accuracy alone has "
            text += f"a 95 % interval of ± {number_text(half_width(values[best], songs))}."
            lines.append(text)
    return "\n".join(lines)


def published_notes() -> str:
    """What is to be known of single cells of the published table 3, as Markdown."""
    cells = published("sun2024", "3").query("note != ''")
    return "\n".join(
        f"- {cell.row}, {cell.column} {cell.value}: {cell.note}." for cell in cells.itertuples()
    )


def sweep_findings(table: pd.DataFrame, tasks: Sequence[str]) -> str:
    """Best and worst duration of each task, as Markdown; from `score_table`."""
    lines = []
    for task in tasks:
        rows = table.query("task == @task and metric == 'accuracy'").set_index("system")
        if rows.empty:
            continue
        means = rows["mean"].to_dict()
        best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
        text = f"- {TASK_TITLES[task]}: the highest accuracy has {best}, {_estimate(rows, best)}, "
        text += f"the lowest {worst}, {_estimate(rows, worst)}; {rows['n'].max():,} test clips."
        lines.append(text)
    return "\n".join(lines)


def comparison_findings(table: pd.DataFrame, tasks: Sequence[str]) -> str:
    """Where SSSL stands in each task, as Markdown; from `score_table`."""
    lines = []
    for task in tasks:
        rows = table.query("task == @task and metric == 'accuracy'").set_index("system")
        if rows.empty:
            continue
        means = rows["mean"].to_dict()
        best = max(means, key=means.__getitem__)
        text = f"- {TASK_TITLES[task]}: the highest accuracy has {best}, {_estimate(rows, best)}. "
        if PROPOSED in means:
            above = sum(mean > means[PROPOSED] for mean in means.values())
            text += f"SSSL has {_estimate(rows, PROPOSED)}; {above} of {len(means) - 1} others "
            text += "have a higher mean. "
        if "Constant" in means:
            text += f"The commonest class alone gives {number_text(means['Constant'])}."
        lines.append(text.strip())
    return "\n".join(lines)


def _estimate(rows: pd.DataFrame, system: Hashable) -> str:
    mean, low, high = (number_text(rows[part].to_dict()[system]) for part in _ESTIMATE)
    return f"{mean} [{low}, {high}]"


def self_learning_findings(history: pd.DataFrame) -> str:
    """The partition in the last epoch of the runs, as Markdown; from `sun2024.diagnostics`."""
    lines = []
    for task, own in history.groupby("task", sort=False):
        divided = own.dropna(subset=["clean_fraction"])
        last = divided.groupby(["fold", "seed"]).tail(1)
        clean, agreed = last["clean_fraction"], last["agreement"]
        text = f"- {TASK_TITLES[str(task)]}: in the last epoch {clean.mean():.0%} of the segments "
        text += f"count as clean (from {clean.min():.0%} to {clean.max():.0%}; runs: {len(last)}), "
        text += f"and the network agrees with the clip's label on {agreed.mean():.0%} of all. "
        text += f"Of {len(divided)} partitions {int(divided['collapsed'].sum())} collapsed "
        text += f"to one component. In {int((last['largest_class'] > _ALL_ALIKE).sum())} of "
        text += f"{len(last)} runs the network ended with the same answer for all segments, or "
        text += f"all but {1 - _ALL_ALIKE:.0%}."
        lines.append(text)
    return "\n".join(lines)
