"""Figures of the pages on SSSL: segment counts, durations, comparisons, self-learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mer.study.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, panels
from mer.study.scores import METRICS, PublishedScores, metric_name
from mer.study.sun2024 import DURATIONS, PROPOSED, TASK_TITLES, swept

_PUBLISHED_LOOK = {"PMEmo": (VERMILLION, "^"), "4Q": (GREEN, "s"), "EiM": (ORANGE, "v")}
_LINES = {
    "Clean segments\n(share)": {"clean_fraction": ("clean", BLUE)},
    "Mean loss\n(nats)": {
        "clean_mean": ("clean component", BLUE),
        "noisy_mean": ("noisy component", VERMILLION),
    },
    "Network agrees with\nthe clip's label (share)": {
        "agreement": ("all segments", BLUE),
        "noisy_agreement": ("noisy segments", VERMILLION),
    },
    "Most frequent\nanswer (share)": {"largest_class": ("all segments", BLUE)},
    "Same decision as\nbefore (share)": {"stability": ("all segments", BLUE)},
}
"""By what the axis says: columns of `mer.study.sun2024.diagnostics`."""


def missing_segments(published: pd.DataFrame, counted: pd.DataFrame) -> Figure:
    """How many segments are lost where segments grow, beyond one a song for each second.

    Parameters
    ----------
    published, counted : DataFrame
        From `mer.study.segment_counts`; those of the paper are dashed.
    """
    figure, axes = panels(1, 1, 2.6)
    axis = axes[0, 0]
    own = zip((BLUE, PURPLE, SKY), "oDP", strict=True)
    for table, line, where in ((published, "--", "published"), (counted, "-", "here")):
        for name, rows in table.groupby("dataset", sort=False):
            colour, marker = _PUBLISHED_LOOK[str(name)] if where == "published" else next(own)
            lost = 1000 * (rows["fewer"] - rows["fewer"].iloc[0]) / rows["songs"]
            look: dict[str, Any] = {"ls": line, "marker": marker, "ms": 4, "color": colour}
            axis.plot(rows["duration"], lost, label=f"{name}, {where}", **look)
    axis.set_xlabel("Duration of a segment (s)")
    axis.set_ylabel("Lost beyond one a second\n(segments per 1,000 songs)")
    axis.set_xticks(DURATIONS)
    figure.legend(loc="outside right upper")
    return figure


def sweep(
    table: pd.DataFrame, tasks: Sequence[str], published: Mapping[str, PublishedScores]
) -> Figure:
    """Accuracy and F1 against the duration of segments: a row a metric, a column a task.

    Parameters
    ----------
    table : DataFrame
        From `mer.study.scores.score_table`, of `swept` systems.
    tasks : sequence of str
    published : mapping
        By dataset: scores to draw beside, dashed.
    """
    figure, axes = panels(
        len(METRICS), len(tasks), 4.4, sharex=True, sharey="row" if len(tasks) > 1 else False
    )
    for row, metric in zip(axes, METRICS, strict=True):
        for axis, task in zip(row, tasks, strict=True):
            _swept(axis, table[(table["task"] == task) & (table["metric"] == metric)])
            for dataset, scores in published.items():
                values = [scores.get((swept(d), task, metric), np.nan) for d in DURATIONS]
                _published(axis, dataset, values)
            name = metric_name(metric, task)
            axis.set_ylabel(name[0].upper() + name[1:])
            axis.set_xticks(DURATIONS)
    for axis, task in zip(axes[0], tasks, strict=True):
        axis.set_title(TASK_TITLES[task])
    for axis in axes[-1]:
        axis.set_xlabel("Duration of a segment (s)")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _swept(axis: Axes, rows: pd.DataFrame) -> None:
    own = rows.set_index("system").reindex([swept(d) for d in DURATIONS])
    mean = own["mean"].to_numpy(float)
    spread = np.abs(own[["low", "high"]].to_numpy(float).T - mean)
    look: dict[str, Any] = {"fmt": "-o", "ms": 4, "capsize": 2, "color": BLUE}
    axis.errorbar(DURATIONS, mean, yerr=spread, label="here, with 95 % interval", **look)


def _published(axis: Axes, dataset: str, values: Sequence[float]) -> None:
    if np.isnan(values).any():
        return
    colour, marker = _PUBLISHED_LOOK[dataset]
    look: dict[str, Any] = {
        "ls": "--",
        "lw": 1,
        "marker": marker,
        "ms": 4,
        "mfc": "white",
        "color": colour,
    }
    axis.plot(DURATIONS, values, label=f"published, on {dataset}", **look)


def comparison(
    table: pd.DataFrame, tasks: Sequence[str], systems: Sequence[str], published_on: str | None
) -> Figure:
    """Forest plot: a row of panels a task, accuracy on the left and F1 on the right.

    Parameters
    ----------
    table : DataFrame
        From `mer.study.scores.score_table`.
    tasks, systems : sequence of str
        Systems that were not run keep an empty row.
    published_on : str or None
        Dataset of the published values, which are drawn where the table has some.
    """
    size = 0.9 + len(tasks) * (0.45 + 0.2 * len(systems))
    figure, axes = panels(len(tasks), len(METRICS), size, sharey=True)
    for row, task in zip(axes, tasks, strict=True):
        for axis, metric in zip(row, METRICS, strict=True):
            chosen = table[(table["task"] == task) & (table["metric"] == metric)]
            _forest(axis, chosen.set_index("system").reindex(list(systems)), published_on)
            name = metric_name(metric, task)
            axis.set_title(f"{TASK_TITLES[task]}: {name} (n = {chosen['n'].max():,.0f})")
    axes[0, 0].set_yticks(range(len(systems)), systems)
    axes[0, 0].set_ylim(len(systems) - 0.5, -0.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _forest(axis: Axes, rows: pd.DataFrame, published_on: str | None) -> None:
    y, mean = np.arange(len(rows)), rows["mean"].to_numpy(float)
    spread = np.abs(rows[["low", "high"]].to_numpy(float).T - mean)
    label = "here, with 95 % interval"
    axis.errorbar(mean, y, xerr=spread, fmt="o", ms=4, capsize=2, color=BLUE, label=label)
    if rows["published"].notna().any():
        label = f"published, on {published_on}"
        axis.plot(rows["published"], y, "D", ms=4, mfc="white", color=VERMILLION, label=label)
    proposed = rows["mean"].to_dict().get(PROPOSED, np.nan)
    if np.isfinite(proposed):
        axis.axvline(proposed, color="grey", lw=0.8, ls=":", label=PROPOSED)
    axis.grid(axis="y", visible=False)


def self_learning(history: pd.DataFrame, tasks: Sequence[str]) -> Figure:
    """What each epoch's partition was like: a column a task, thick the mean, thin each run.

    Parameters
    ----------
    history : DataFrame
        From `mer.study.sun2024.diagnostics`, of one system.
    tasks : sequence of str
    """
    tasks = [task for task in tasks if (history["task"] == task).any()]
    figure, axes = panels(len(_LINES), len(tasks), 8.0, sharex=True, sharey="row")
    for column, task in zip(axes.T, tasks, strict=True):
        own = history[history["task"] == task]
        for axis, lines in zip(column, _LINES.values(), strict=True):
            for measure, (label, colour) in lines.items():
                _epochs(axis, own, measure, label, colour)
            axis.set_xlim(1, own["epoch"].max())
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        column[0].set_title(TASK_TITLES[task])
        column[-1].set_xlabel("Epoch")
    for axis, name in zip(axes[:, 0], _LINES, strict=True):
        axis.set_ylabel(name)
        if len(axis.get_legend_handles_labels()[1]) > 1:
            axis.legend(fontsize=8)
    return figure


def _epochs(axis: Axes, own: pd.DataFrame, measure: str, label: str, colour: str) -> None:
    if measure not in own:
        return
    for _, run in own.groupby(["fold", "seed"]):
        axis.plot(run["epoch"], run[measure], color=colour, lw=0.5, alpha=0.35)
    mean = own.groupby("epoch")[measure].mean()
    axis.plot(mean.index, mean, color=colour, lw=2, label=label)
