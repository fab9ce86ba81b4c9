"""Figures of what the self-attention of Zhao and Yoshii (2023) looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mer.clips import Clip
from mer.features.notes import read_notes
from mer.study.factor_attention import (
    EXAMPLE,
    FACTORS,
    TEST,
    UNIFORM,
    Attended,
    by_head,
    by_pair,
    by_quadrant,
    received,
)
from mer.study.factor_importance import changes
from mer.study.figures import BLUE, GREEN, QUADRANTS, VERMILLION, panels, piano_roll

COLOURS = dict(zip(FACTORS, (BLUE, GREEN, VERMILLION), strict=True))
_TICKS = [factor.replace(" ", "\n") for factor in FACTORS]


def heads(found: Attended) -> Figure:
    """Mean attention over test clips: from factor to factor, and by head of each model.

    Returns
    -------
    Figure
        Left: rows attend, columns are attended to. Right: a row a head, the mean over the factors
        that attend.
    """
    own = found.part(TEST)
    pair, head = by_pair(own), by_head(own)
    height = 0.7 + 0.24 * max(len(head), 8)
    figure, ((left, right),) = panels(1, 2, height, gridspec_kw={"width_ratios": (1, 1.2)})
    _heat(left, pair, list(FACTORS))
    left.set(ylabel="Factor that attends", title="All heads and seeds")
    names = [f"seed {seed}, head {number}" for seed, number in head.index]
    _heat(right, head, names)
    right.set_title("By head")
    figure.supxlabel("Factor attended to (uniform: .33)", fontsize=9)
    return figure


def _heat(axis: Axes, values: pd.DataFrame, names: Sequence[str]) -> None:
    axis.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        colour = "white" if value > 0.55 else "black"
        text = f"{value:.2f}".removeprefix("0")
        axis.text(column, row, text, ha="center", va="center", color=colour)
    axis.set_xticks(range(len(FACTORS)), _TICKS)
    axis.set_yticks(range(len(names)), names)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def quadrants(told: Sequence[Attended]) -> Figure:
    """Attention that each factor gets in test clips of each quadrant, a row of panels a task.

    Returns
    -------
    Figure
        Means over clips, heads and seeds with 95 % intervals over songs; dashed: uniform.
    """
    size = (len(told), len(FACTORS))
    figure, axes = panels(*size, 0.7 + 1.7 * len(told), sharex=True, sharey=True)
    for row, found in zip(axes, told, strict=True):
        table = by_quadrant(found.part(TEST)).query("quadrant > 0")
        for axis, factor in zip(row, FACTORS, strict=True):
            _quadrants(axis, table[table["factor"] == factor])
        row[0].set_ylabel(f"{found.task}: attention")
    for axis, factor in zip(axes[0], FACTORS, strict=True):
        axis.set_title(factor.capitalize())
    figure.supxlabel("Quadrant of the clip", fontsize=9)
    return figure


def _quadrants(axis: Axes, rows: pd.DataFrame) -> None:
    axis.axhline(UNIFORM, color="grey", lw=0.8, ls="--")
    for row in rows.to_dict("records"):
        name, mean = f"Q{row['quadrant']}", row["mean"]
        spread = [[mean - row["low"]], [row["high"] - mean]]
        colour = QUADRANTS[name][1]
        axis.errorbar([name], [mean], yerr=spread, fmt="o", ms=4, capsize=2, color=colour)
    axis.grid(axis="x", visible=False)
    axis.margins(x=0.15)


def importance(found: Attended) -> Figure:
    """Attention to a factor against the change without it: a dot a test clip, a panel a seed."""
    frame = changes(found.part(TEST))
    seeds = frame["seed"].unique()
    figure, axes = panels(1, len(seeds), 2.7, sharex=True, sharey=True)
    for axis, seed in zip(axes[0], seeds, strict=True):
        for factor, rows in frame[frame["seed"] == seed].groupby("factor", sort=False):
            label = str(factor)
            axis.plot(
                rows["attention"], rows["change"], ".", ms=4, color=COLOURS[label], label=label
            )
        axis.axvline(UNIFORM, color="grey", lw=0.8, ls="--")
        axis.set(title=f"{found.task}, seed {seed}", xlabel="Attention to the factor")
    axes[0, 0].set_ylabel("Change without the factor")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def example(told: Sequence[Attended], clip: Clip) -> Figure:
    """A composed clip: its notes, and the attention that each factor gets, a colour a task.

    Returns
    -------
    Figure
        Bars are means over seeds, dots single seeds; dashed: uniform.
    """
    figure, ((left, right),) = panels(1, 2, 2.3, gridspec_kw={"width_ratios": (2, 1)})
    assert clip.midi is not None, "composed clips have notes"
    piano_roll(left, read_notes(clip.midi))
    left.set_xlabel("Time (s)")
    width = 0.8 / len(told)
    for number, found in enumerate(told):
        own = received(found.part(EXAMPLE)).query("id == @clip.id")
        places = np.arange(len(FACTORS)) + (number - (len(told) - 1) / 2) * width
        right.bar(places, own.mean(), 0.9 * width, label=found.task, alpha=0.6)
        for _, seed in own.iterrows():
            right.plot(places, seed, "k.", ms=3)
    right.axhline(UNIFORM, color="grey", lw=0.8, ls="--")
    right.set_xticks(range(len(FACTORS)), _TICKS)
    right.set(ylabel="Attention", ylim=(0, 1))
    right.grid(axis="x", visible=False)
    if len(told) > 1:
        right.legend(ncols=len(told), loc="upper center")
    return figure
