"""Tables and figures of regression: valence and arousal as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mer.evaluation.metrics import r2
from mer.study.figures import BLUE, GREEN, VERMILLION, captioned, panels
from mer.study.regression import DIMENSIONS, regression_text, score_name
from mer.study.store import Run

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def score_table(table: pd.DataFrame, metric: str, caption: str, published_on: str) -> Styler:
    """Scores of every system in one metric, from `mer.study.regression.regression_comparison`.

    Parameters
    ----------
    table : DataFrame
    metric : str
    caption : str
    published_on : str
        Corpus of the published values.

    Returns
    -------
    Styler
        For each dimension a published column, where anything is published, and a reproduced
        one: mean over models, SD over them and 95 % interval of the mean.
    """
    text = regression_text(table)
    text = text[[name for name in text.columns if name.startswith(f"{metric.upper()} ")]]
    names = {"published": f"published ({published_on})", "reproduced": "here"}
    for dimension in DIMENSIONS:
        start = score_name(metric, dimension)
        text = text.rename(columns={f"{start} {k}": f"{dimension}, {v}" for k, v in names.items()})
    models = table.groupby("system", sort=False)["models"].first()
    return captioned(text.assign(models=models.reindex(text.index)), caption)


def scores(
    table: pd.DataFrame,
    published_on: str,
    bounds: Mapping[str, float] | None = None,
    *,
    metric: str = "r2",
) -> Figure:
    """Forest plot: score of each system, a panel a dimension.

    Parameters
    ----------
    table : DataFrame
        From `mer.study.regression.regression_comparison`.
    published_on : str
        Corpus of the published values.
    bounds : mapping of str to float, optional
        By dimension: the highest score that the labels allow, drawn as a line; NaN draws none.
    metric : str

    Returns
    -------
    Figure
        Dots are means over models, bars their 95 % intervals, diamonds published values. What
        is below -1 is cut off.
    """
    chosen, systems = table[table["metric"] == metric], table["system"].unique()
    figure, axes = panels(1, len(DIMENSIONS), 1.2 + 0.22 * len(systems), sharey=True)
    for axis, dimension in zip(axes[0], DIMENSIONS, strict=True):
        rows = chosen[chosen["dimension"] == dimension].set_index("system").reindex(systems)
        _forest(axis, rows, published_on)
        bound = (bounds or {}).get(dimension, np.nan)
        if np.isfinite(bound):
            axis.axvline(bound, color=GREEN, ls="--", lw=1, label="reliability of the labels")
        axis.set(title=dimension.capitalize(), xlabel=metric.upper())
        axis.set_xlim(left=max(axis.get_xlim()[0], -1))
    axes[0, 0].set_yticks(range(len(systems)), systems)
    axes[0, 0].invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _forest(axis: Axes, rows: pd.DataFrame, published_on: str) -> None:
    y, mean = np.arange(len(rows)), rows["mean"].to_numpy(float)
    spread = np.abs(rows[["low", "high"]].to_numpy(float).T - mean)
    label = "here, with 95 % interval"
    axis.errorbar(mean, y, xerr=spread, fmt="o", ms=4, capsize=2, color=BLUE, label=label)
    if rows["published"].notna().any():
        label = f"published, on {published_on}"
        axis.plot(rows["published"], y, "D", ms=4, mfc="white", color=VERMILLION, label=label)
    axis.axvline(0, color="grey", lw=0.8)
    axis.grid(axis="y", visible=False)


def scatter(predictions: pd.DataFrame, systems: Sequence[str]) -> Figure:
    """Predicted against annotated values of every clip: a row a system, a column a dimension.

    Parameters
    ----------
    predictions : DataFrame
        From `mer.study.session.Session.run`; where several models were tested on a clip, their
        mean prediction is drawn.
    systems : sequence of str
        Those without predictions are left out.
    """
    present = set(predictions["system"])
    systems = [system for system in systems if system in present]
    size = {"sharex": "col", "sharey": "col"}
    figure, axes = panels(len(systems), len(DIMENSIONS), 0.3 + 2.6 * len(systems), **size)
    for row, system in zip(axes, systems, strict=True):
        clips = predictions[predictions["system"] == system].groupby("id")
        for axis, dimension in zip(row, DIMENSIONS, strict=True):
            target, given = (clips[name].mean() for name in (f"target_{dimension}", dimension))
            _diagonal(axis, target.to_numpy(), given.to_numpy())
            axis.set_title(f"{system}: {dimension}, R2 {r2(target, given):.3f}")
        row[0].set_ylabel("Predicted")
    for axis in axes[-1]:
        axis.set_xlabel("Annotated")
    return figure


def _diagonal(axis: Axes, target: np.ndarray, given: np.ndarray) -> None:
    ends = [min(target.min(), given.min()), max(target.max(), given.max())]
    axis.plot(ends, ends, color="grey", lw=0.8, ls="--")
    axis.plot(target, given, ".", ms=4, alpha=0.6, color=BLUE)


def training_history(runs: Iterable[Run], *, columns: int = 5) -> Figure:
    """RMSE while networks are trained, over both dimensions: a panel a system, a line a model."""
    histories: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        frame = pd.DataFrame(run.history)
        histories.setdefault(run.spec.system, []).append(frame.set_index(frame.index + 1))
    columns = min(columns, len(histories))
    rows = -(-len(histories) // columns)
    figure, axes = panels(rows, columns, 0.6 + 1.7 * rows, sharey=True)
    for axis, (system, frames) in zip(axes.flat, histories.items(), strict=False):
        for frame in frames:
            (train,) = axis.plot(frame["train_loss"] ** 0.5, color=BLUE, lw=0.6, alpha=0.6)
            (valid,) = axis.plot(frame["valid_rmse"], color=VERMILLION, lw=0.6, alpha=0.6)
        axis.set_title(system.replace(", ", ",\n"), fontsize=8)
    for axis in axes.flat[len(histories) :]:
        axis.set_axis_off()
    for axis in axes.flat[max(len(histories) - columns, 0) : len(histories)]:
        axis.set_xlabel("Epoch")
    figure.supylabel("RMSE", fontsize=9)
    names = ["training", "validation"]
    figure.legend([train, valid], names, loc="outside lower center", ncols=2)
    return figure
