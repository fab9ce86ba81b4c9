"""Figures of how well wrong labels are found and segments are labelled."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mer.study.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, panels
from mer.study.label_noise_tables import CLIP_LABEL, PARTS
from mer.study.sun2024 import INHERITANCE, PROPOSED, WITHOUT_KL

_LINES = {
    "auc": ("AUC", BLUE, "-"),
    "auc_within": ("AUC within clips", SKY, "--"),
    "precision": ("precision", VERMILLION, "-."),
    "recall": ("recall", GREEN, ":"),
}
_SHARES = {
    "flagged": ("called noisy", PURPLE, "-"),
    "noisy": ("label is wrong", "black", "--"),
}
_SYSTEMS = {
    PROPOSED: (BLUE, "o"),
    WITHOUT_KL: (SKY, "s"),
    INHERITANCE: (VERMILLION, "^"),
    CLIP_LABEL: (ORANGE, "D"),
}
_MARGIN = 0.06


def detection_curves(curves: pd.DataFrame, task: str, system: str = PROPOSED) -> Figure:
    """How well each epoch's division finds wrong labels, a column a duration.

    Parameters
    ----------
    curves : DataFrame
        From `mer.study.label_noise_tables.epoch_curves`.
    task, system : str

    Returns
    -------
    Figure
        Lines are means over folds, bands 95 % intervals over folds. Above, detection, with a
        dotted line at an AUC by chance; below, the share of the segments that is called noisy
        beside the share whose label is wrong, which is also the precision by chance.
    """
    rows = curves[(curves["task"] == task) & (curves["system"] == system)]
    durations = rows["duration"].unique()
    figure, axes = panels(2, len(durations), 4.2, sharex=True, sharey="row")
    for (top, bottom), duration in zip(axes.T, durations, strict=True):
        own = rows[rows["duration"] == duration]
        _draw(top, own, _LINES)
        _draw(bottom, own, _SHARES)
        top.axhline(0.5, color="grey", lw=0.8, ls=":")
        top.set(title=f"{duration:g} s", ylim=(0, 1.02))
        bottom.set(xlabel="Epoch", ylim=(0, 1.02))
        bottom.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("Detection")
    axes[1, 0].set_ylabel("Share of segments")
    handles = [line for axis in axes[:, 0] for line in axis.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _draw(axis: Axes, rows: pd.DataFrame, lines: dict[str, tuple[str, str, str]]) -> None:
    for measure, (name, colour, dashes) in lines.items():
        own = rows[rows["measure"] == measure]
        marker = "." if len(own) < 3 else None
        axis.plot(
            own["epoch"], own["mean"], ls=dashes, color=colour, label=name, lw=1.4, marker=marker
        )
        axis.fill_between(own["epoch"], own["low"], own["high"], color=colour, alpha=0.12, lw=0)


def accuracy(table: pd.DataFrame, task: str) -> Figure:
    """Share of segments that get their own class, by duration, a panel a part of the corpus.

    Parameters
    ----------
    table : DataFrame
        From `mer.study.label_noise_tables.segment_accuracy`.
    task : str

    Returns
    -------
    Figure
        With 95 % intervals, resampling songs; systems are moved apart sideways.
    """
    rows = table[table["task"] == task]
    figure, axes = panels(1, len(PARTS), 2.9, sharex=True, sharey=True)
    for axis, (part, name) in zip(axes[0], PARTS.items(), strict=True):
        for shift, (system, (colour, marker)) in zip(
            np.linspace(-_MARGIN, _MARGIN, len(_SYSTEMS)), _SYSTEMS.items(), strict=True
        ):
            own = rows[(rows["part"] == part) & (rows["system"] == system)]
            ends = np.abs(own[["low", "high"]].to_numpy(float).T - own["mean"].to_numpy(float))
            axis.errorbar(
                own["duration"] + shift,
                own["mean"],
                yerr=ends,
                color=colour,
                marker=marker,
                ms=4,
                lw=1,
                capsize=2,
                ls="--" if system == CLIP_LABEL else "-",
                label=system,
            )
        axis.set(title=f"Segments of {name}", xlabel="Duration of a segment (s)")
        axis.set_xticks(sorted(rows["duration"].unique()))
    axes[0, 0].set_ylabel("Answered with their own class")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(_SYSTEMS))
    return figure
