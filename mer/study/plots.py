"""Plots of the book: a few general functions that take plain long frames.

Colours are those of Okabe and Ito, which colour-blind readers can distinguish; every figure is as
wide as a page of the book. Functions return figures whose axes the caller may adjust.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any, Literal, TypedDict, Unpack

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from PIL import Image

from mer.audio import crop, waveform
from mer.clips import Clip
from mer.errors import MissingDataError
from mer.features.notes import read_notes
from mer.features.spectral import log_mel
from mer.libraries import load_librosa
from mer.study.text import number

WIDTH = 7.2
"""Of every figure, in inches."""

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE = "#56B4E9", "#CC79A7"
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE)

QUADRANTS = {
    "Q1": ("high valence, high arousal", ORANGE),
    "Q2": ("low valence, high arousal", VERMILLION),
    "Q3": ("low valence, low arousal", BLUE),
    "Q4": ("high valence, low arousal", GREEN),
}
"""Meaning and colour of each quadrant."""

_LARGEST_SVG = 200_000
"""Characters; a larger figure is shown as PNG."""
_DPI = 200
"""Of that PNG: two dots for each pixel of a page."""

_MOST_COLUMNS = 4
_NARROW = 4
"""Panels side by side, from which on a panel has room for few ticks and short titles."""
_TICKS, _FEW_TICKS = 9, 3
_HERTZ = (100, 500, 1000, 2000, 5000, 10000)


class Layout(TypedDict, total=False):
    """Keywords that `forest`, `curves`, `distribution` and `scatter` share.

    Reference lines and bands are given by label: a number (or two, the ends of a band), or one for
    each panel, by the value of its column, its row or both. Missing ones are not drawn; labels that
    begin with an underscore stay out of the legend.
    """

    row: str | None
    """Column of the frame: a row of panels for each value, in order of appearance."""
    column: str | None
    wrap: int
    """Most panels side by side, where there is no `row`."""
    hue: str | None
    """Column of the frame: a colour, marker and entry of the legend for each value."""
    palette: Mapping[Any, str]
    markers: Mapping[Any, str]
    dashes: Mapping[Any, Any]
    names: Mapping[Any, str]
    """How values of these columns, or pairs of those of `row` and `column`, are written."""
    vlines: Mapping[str, Any]
    hlines: Mapping[str, Any]
    bands: Mapping[str, Any]
    """Along the x axis."""
    xlabel: str
    ylabel: str
    height: float
    """In inches."""
    sharex: bool | Literal["row", "col"]
    sharey: bool | Literal["row", "col"]


def style() -> None:
    """Set the style of all figures of this session; notebooks show them as SVG with a text."""
    mpl.rcParams.update(
        {
            "figure.dpi": 144,
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.prop_cycle": cycler(color=PALETTE),
            "grid.color": "#E3E3E3",
            "legend.frameon": False,
            "svg.hashsalt": "mer",
        }
    )
    _show_as_svg()


def _show_as_svg() -> None:
    """Have notebooks show figures as SVG, those with many parts as PNG, and say what they show."""
    from IPython.core.getipython import get_ipython
    from IPython.core.pylabtools import print_figure

    shell = get_ipython()
    if shell is None or shell.display_formatter is None:
        return
    plt.switch_backend(mpl.get_backend())  # as it is loaded, that of notebooks sets its formats
    for kind in ("image/svg+xml", "image/png"):
        shell.display_formatter.formatters[kind].pop(Figure, None)

    def bundle(figure: Figure, include: Any = None, exclude: Any = None) -> Any:
        text, kind = description(figure), "image/svg+xml"
        drawn: Any = print_figure(figure, fmt="svg")
        if len(drawn) > _LARGEST_SVG:
            kind, drawn = "image/png", _small(print_figure(figure, fmt="png", dpi=_DPI))
        return {kind: drawn, "text/plain": text}, {kind: {"alt": text}}

    shell.display_formatter.mimebundle_formatter.for_type(Figure, bundle)


def _small(png: bytes) -> bytes:
    """An image in 256 colours, which takes a third of the bytes."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize().save(buffer, "png", optimize=True)
    return buffer.getvalue()


def description(figure: Figure) -> str:
    """What a figure shows, for those who do not see it: its label, or what its axes say."""
    if figure.get_label():
        return str(figure.get_label())
    parts = []
    for axis in figure.axes:
        about = [axis.get_title(), axis.get_ylabel(), axis.get_xlabel()]
        labels = [*axis.get_yticklabels(), *axis.get_xticklabels()]
        names = [name for label in labels if re.search("[A-Za-z]", name := label.get_text())]
        about += [f"of {', '.join(dict.fromkeys(names))}"] if names else []
        parts.append(", ".join(filter(None, about)))
    return f"Plot: {'; '.join(dict.fromkeys(filter(None, parts)))}".replace("\\$", "$")


def describe(figure: Figure, text: str) -> Figure:
    """The figure with a description."""
    figure.set_label(" ".join(text.split()))
    return figure


def panels(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure of book width, with axes of shape (rows, columns), that only its caller shows."""
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, height), layout="constrained", squeeze=False, **options
    )
    plt.close(figure)
    return figure, axes


def empty(reason: str) -> Figure:
    """What stands where there is nothing to show."""
    figure, axes = panels(1, 1, 0.4)
    axes[0, 0].set_axis_off()
    text = f"Nothing to show: {reason}."
    axes[0, 0].text(0.5, 0.5, text, ha="center", va="center")
    return describe(figure, text)


def verbatim(name: Any) -> str:
    """A name as matplotlib writes it as it is, even if it has dollar signs."""
    return str(name).replace("$", r"\$")


def legend(figure: Figure) -> None:
    """One legend below a figure: each label of its axes once, estimates first."""
    entries: dict[str, Any] = {}
    for axis in figure.axes:
        pairs = zip(*axis.get_legend_handles_labels(), strict=True)
        for handle, label in sorted(pairs, key=lambda pair: not isinstance(pair[0], Container)):
            entries.setdefault(label, handle)
    if entries:
        fitting = 100 // (6 + max(map(len, entries)))
        columns = min(len(entries), max(fitting, 1))
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=columns)


class _Grid:
    """Panels of a figure, each with its part of a frame."""

    def __init__(self, frame: pd.DataFrame, layout: Layout, height: float, **share: Any) -> None:
        self.layout: dict[str, Any] = dict(layout)
        self.names: Mapping[Any, str] = self.layout.get("names", {})
        self.hue = self.layout.get("hue")
        self.keys = [self.layout.get("row"), self.layout.get("column")]
        rows, columns = ([None] if key is None else list(frame[key].unique()) for key in self.keys)
        panel_keys = [(row, column) for row in rows for column in columns]
        wide = min(len(columns), self.layout.get("wrap", len(columns)))
        tall = -(-len(panel_keys) // wide)
        share |= {key: value for key, value in layout.items() if key.startswith("share")}
        height = self.layout.get("height", 0.9 + tall * height)
        self.figure, self.axes = panels(tall, wide, height, **share)
        parts = [(self.part(frame, panel), panel) for panel in panel_keys]
        self.panels = [(axis, *part) for axis, part in zip(self.axes.flat, parts, strict=False)]
        for axis in self.axes.flat[len(panel_keys) :]:
            axis.set_axis_off()
        levels = [None] if self.hue is None else list(frame[self.hue].unique())
        colours = dict(zip(levels, cycle(PALETTE), strict=False)) | self.layout.get("palette", {})
        markers, dashes = (self.layout.get(key, {}) for key in ("markers", "dashes"))
        self.styles = {
            v: {"color": colours[v], "marker": markers.get(v), "ls": dashes.get(v, "-")}
            for v in levels
        }

    def part(self, frame: pd.DataFrame, panel: tuple[Any, Any]) -> pd.DataFrame:
        for key, value in zip(self.keys, panel, strict=True):
            if key is not None and key in frame:
                frame = frame[frame[key] == value]
        return frame

    def by_hue(
        self, rows: pd.DataFrame, label: str = "_"
    ) -> Iterator[tuple[pd.DataFrame, dict[str, Any]]]:
        """Rows and style of each value of `hue`, or all rows where there is none."""
        for level, style in self.styles.items():
            if level is None:
                yield rows, style | {"label": label}
            else:
                yield rows[rows[self.hue] == level], style | {"label": self.name(level)}

    def name(self, value: Any) -> str:
        return verbatim(self.names.get(value, value))

    def finish(self, xlabel: str, ylabel: str, *, rows_as_labels: bool = False) -> Figure:
        """Titles, labels, references and legend."""
        for axis, _, panel in self.panels:
            self._references(axis, panel)
            spec, row = axis.get_subplotspec(), panel[0] if rows_as_labels else None
            last = spec.is_last_row() or not self.axes[-1, -1].axison
            if not self.axes[-1, -1].axison:
                axis.tick_params(labelbottom=True)
            axis.set_xlabel(self.layout.get("xlabel", xlabel) if last else "")
            if spec.is_first_col():
                label = self.layout.get("ylabel", ylabel)
                axis.set_ylabel(label if row is None else self.name(row))
            parts = [self.name(v) for v in panel[row is not None :] if v is not None]
            if row is None or spec.is_first_row():
                axis.set_title(self.name(panel) if panel in self.names else ": ".join(parts))
        legend(self.figure)
        return self.figure

    def _references(self, axis: Axes, panel: tuple[Any, Any]) -> None:
        for draw, kind in ((axis.axvline, "vlines"), (axis.axhline, "hlines")):
            lines = self.layout.get(kind, {})
            for (label, value), dashes in zip(lines.items(), ("--", ":", "-.", "-"), strict=False):
                if not pd.isna(at := _of_panel(value, panel)):
                    draw(at, color="grey", lw=0.9, ls=dashes, label=label)
        for label, value in self.layout.get("bands", {}).items():
            if not np.any(pd.isna(ends := _of_panel(value, panel))):
                axis.axvspan(*ends, color="#EEEEEE", zorder=0, label=label)


def _of_panel(value: Any, panel: tuple[Any, Any]) -> Any:
    if not isinstance(value, Mapping):
        return value
    keys = (key for key in (panel, panel[1], panel[0]) if key in value)
    return value.get(next(keys, None), np.nan)


def forest(
    frame: pd.DataFrame,
    y: str,
    x: str = "mean",
    *,
    ends: tuple[str, str] | None = ("low", "high"),
    label: str = "here, with 95 % interval",
    published: str | None = None,
    published_label: str = "published",
    points: pd.DataFrame | None = None,
    order: Sequence[Any] | None = None,
    **layout: Unpack[Layout],
) -> Figure:
    """Dots with intervals, one below the other.

    Parameters
    ----------
    frame : DataFrame
        A row for each dot.
    y, x : str
        Columns of the categories and of the values. Dots that share a category are moved apart by
        `hue`; where it is `y` itself, it has no legend.
    ends : tuple of str, optional
        Columns of the ends of the intervals.
    label, published_label : str
        Of dots (where there is no `hue`) and diamonds in the legend.
    published : str, optional
        Column of values that are drawn as diamonds.
    points : DataFrame, optional
        Single values to draw behind, in the same columns.
    order : sequence, optional
        Categories from above; those without a row stay empty, others are left out.
    **layout
        See `Layout`.
    """
    levels = list(frame[y].unique() if order is None else order)
    frame = frame[frame[y].isin(levels)]
    grid = _Grid(frame, layout, 0.3 + 0.24 * len(levels), sharey=True)
    panel_keys = [key for key in (*grid.keys, y) if key is not None]
    n = len(grid.styles) if frame.duplicated(panel_keys).any() else 1
    shifts = np.linspace(-0.2, 0.2, n) if n > 1 else np.zeros(len(grid.styles))
    for axis, rows, panel in grid.panels:
        if points is not None:
            _strip(axis, grid, grid.part(points, panel), x, y, levels)
        for (part, style), shift in zip(grid.by_hue(rows, label), shifts, strict=True):
            heights, values = _heights(part[y], levels) + shift, part[x].to_numpy(float)
            spread = None if ends is None else np.abs(part[[*ends]].to_numpy(float).T - values)
            style |= {"marker": style["marker"] or "o", "ms": 4, "ls": ""}
            style |= {"label": "_"} if grid.hue == y else {}
            axis.errorbar(values, heights, xerr=spread, capsize=2, **style)
        if published is not None and rows[published].notna().any():
            style = {"mfc": "white", "color": "black", "label": published_label}
            axis.plot(rows[published], _heights(rows[y], levels), "D", ms=4.5, **style)
    _categories(grid, levels)
    return describe(grid.finish(x, ""), _extremes(grid, y, x))


def _extremes(grid: _Grid, y: str, x: str) -> str:
    """The largest and the smallest value of each panel, in words."""
    parts = []
    for _, rows, panel in grid.panels:
        known = rows.dropna(subset=x)
        if known.empty:
            continue
        where = ", ".join(str(grid.names.get(v, v)) for v in panel if v is not None)
        values = known[x].to_numpy(float)
        high, low = (known.iloc[int(place)] for place in (values.argmax(), values.argmin()))
        ends = [f"{grid.names.get(e[y], e[y])} ({number(e[x])})" for e in (high, low)]
        text = f"highest {ends[0]}, lowest {ends[1]}"
        parts.append(f"{where}: {text}" if where else text)
    return f"{grid.layout.get('xlabel', x)}. {'; '.join(parts) or 'Nothing to show'}."


def _heights(categories: pd.Series, levels: Sequence[Any]) -> np.ndarray:
    return np.asarray([levels.index(value) for value in categories], dtype=float)


def _strip(
    axis: Axes, grid: _Grid, rows: pd.DataFrame, x: str, y: str, levels: Sequence[Any]
) -> None:
    """Single values as small dots, spread at random within their category."""
    rng = np.random.default_rng(0)
    for part, style in grid.by_hue(rows) if grid.hue in rows else [(rows, {"color": SKY})]:
        heights = _heights(part[y], levels) + rng.uniform(-0.3, 0.3, len(part))
        axis.plot(part[x], heights, ".", ms=3, alpha=0.5, color=style["color"], zorder=1)


def _categories(grid: _Grid, levels: Sequence[Any]) -> None:
    """Categories on the y axes, the first one above."""
    for axis in grid.axes.flat:
        axis.set_yticks(range(len(levels)), [grid.name(level) for level in levels])
        axis.set_ylim(len(levels) - 0.5, -0.5)
        axis.grid(axis="y", visible=False)


def distribution(
    frame: pd.DataFrame, x: str, y: str, *, mean: bool = False, **layout: Unpack[Layout]
) -> Figure:
    """All values `x` of each category `y` as dots, with their mean as diamond or in a box.

    Boxes reach from quartile to quartile, with the median inside. Further keywords: see `Layout`.
    """
    levels = list(frame[y].unique())
    grid = _Grid(frame, layout, 0.25 + 0.3 * len(levels), sharey=True)
    for axis, rows, _ in grid.panels:
        rows = rows.dropna(subset=x)
        _strip(axis, grid, rows, x, y, levels)
        if mean:
            means = rows.groupby(y)[x].mean().reindex(levels)
            axis.plot(means, range(len(levels)), "D", ms=6, color=VERMILLION, mec="white")
        else:
            groups = [rows.loc[rows[y] == level, x] for level in levels]
            style: dict[str, Any] = {"positions": range(len(levels)), "widths": 0.5, "sym": ""}
            axis.boxplot(groups, orientation="horizontal", medianprops={"color": "black"}, **style)
    _categories(grid, levels)
    return grid.finish(x, "")


def curves(
    frame: pd.DataFrame,
    x: str,
    y: str = "mean",
    *,
    ends: tuple[str, str] | None = None,
    errors: Literal["band", "bars"] = "band",
    units: Sequence[str] = (),
    mean: bool = True,
    shift: float = 0.0,
    spans: pd.DataFrame | None = None,
    **layout: Unpack[Layout],
) -> Figure:
    """Lines over epochs, durations or seconds; values of `row` are written at the y axes.

    Parameters
    ----------
    frame : DataFrame
        A row for each point.
    x, y : str
        Columns of the points.
    ends : tuple of str, optional
        Columns of the ends of their intervals, drawn according to `errors`.
    units : sequence of str
        Columns that identify single runs, which are drawn as thin lines, with their `mean`.
    shift : float
        Distance along x between the values of `hue`.
    spans : DataFrame, optional
        Stretches to shade in all panels: start, end, name, colour.
    **layout
        See `Layout`.
    """
    grid = _Grid(frame, layout, 1.7, sharex=True, sharey="row")
    offsets = shift * (np.arange(len(grid.styles)) - (len(grid.styles) - 1) / 2)
    for axis, rows, _ in grid.panels:
        for (part, style), offset in zip(grid.by_hue(rows), offsets, strict=True):
            if units:
                thin = {"lw": 0.6, "alpha": 0.5, "label": "_"} if mean else {"lw": 0.9}
                for _, run in part.groupby(list(units), sort=False):
                    axis.plot(run[x], run[y], **style | thin)
                part = part.groupby(x)[y].mean().reset_index()
            if mean or not units:
                part = part.assign(**{x: part[x] + offset})
                _curve(axis, part, x, y, ends, errors, style | {"ms": 4})
        for span in [] if spans is None else spans.to_dict("records"):
            start, end = span["start"], span["end"]
            axis.axvspan(start, end, color=span["colour"], alpha=0.15, lw=0)
            center: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8}
            above = axis.get_xaxis_transform()
            axis.text((start + end) / 2, 0.94, verbatim(span["name"]), transform=above, **center)
        if frame[x].nunique() <= 8:
            axis.set_xticks(sorted(frame[x].unique()))
        elif frame[x].dtype.kind in "iu":
            most = _TICKS if grid.axes.shape[1] < _NARROW else _FEW_TICKS
            axis.xaxis.set_major_locator(MaxNLocator(most, integer=True))
    return grid.finish(x, y, rows_as_labels=True)


def _curve(
    axis: Axes, part: pd.DataFrame, x: str, y: str, ends: Any, errors: str, style: dict[str, Any]
) -> None:
    if len(part) < 3:
        style["marker"] = style["marker"] or "."
    if ends is not None and errors == "bars":
        spread = np.abs(part[[*ends]].to_numpy(float).T - part[y].to_numpy(float))
        axis.errorbar(part[x], part[y], yerr=spread, lw=1.2, capsize=2, **style)
        return
    axis.plot(part[x], part[y], lw=1.6, **style)
    if ends is not None:
        band = {"color": style["color"], "alpha": 0.12, "lw": 0}
        axis.fill_between(part[x], part[ends[0]], part[ends[1]], **band)


def history(runs: Iterable[tuple[str, Sequence[Mapping[str, float]]]]) -> Figure:
    """Losses and validation scores while networks are trained: a column a system, a line a run.

    Runs are pairs of a system and a row an epoch: train_loss, and either valid_loss and
    valid_accuracy, or valid_rmse; then the training loss is the mean squared error, of which the
    root is drawn. Runs of systems that are no networks are left out.
    """
    frames = [
        _measures(pd.DataFrame(rows)).assign(system=textwrap.fill(system, 16), run=run)
        for run, (system, rows) in enumerate(runs)
        if rows and "train_loss" in rows[0]
    ]
    if not frames:
        return empty("no network of these rows was run")
    table = pd.concat(frames, ignore_index=True)
    measures = list(table["measure"].unique())
    layout: Layout = {"row": "measure"} if len(measures) > 1 else {"wrap": _MOST_COLUMNS}
    layout |= {"column": "system", "hue": "part", "ylabel": measures[0], "sharex": "col"}
    return curves(table, "Epoch", "value", units=("run",), mean=False, **layout)


def _measures(rows: pd.DataFrame) -> pd.DataFrame:
    """Curves of one run: Epoch, measure, part, value."""
    train, valid = "training", "validation"
    if "valid_rmse" in rows:
        lines = [("RMSE", train, rows["train_loss"] ** 0.5), ("RMSE", valid, rows["valid_rmse"])]
    else:
        lines = [(name, valid, rows[f"valid_{name.lower()}"]) for name in ("Loss", "Accuracy")]
        lines.insert(0, ("Loss", train, rows["train_loss"]))
    keys = ("measure", "part", "value")
    parts = [pd.DataFrame(dict(zip(keys, line, strict=True))) for line in lines]
    return pd.concat([part.assign(Epoch=part.index + 1) for part in parts])


def scatter(
    frame: pd.DataFrame, x: str, y: str, *, diagonal: bool = False, **layout: Unpack[Layout]
) -> Figure:
    """A dot for each row; `diagonal` draws where `x` and `y` are equal. Keywords: see `Layout`."""
    grid = _Grid(frame, layout, 2.3, sharex=True, sharey=True)
    for axis, rows, _ in grid.panels:
        if diagonal:
            ends = [rows[[x, y]].min(axis=None), rows[[x, y]].max(axis=None)]
            axis.plot(ends, ends, color="grey", lw=0.8, ls="--")
        for part, style in grid.by_hue(rows):
            style |= {"marker": style["marker"] or "o", "ms": 3.5, "mew": 0, "ls": "", "alpha": 0.7}
            axis.plot(part[x], part[y], **style)
    return grid.finish(x, y)


def heatmaps(
    tables: Mapping[str, pd.DataFrame], xlabel: str, ylabel: str, *, percent: bool = False
) -> Figure:
    """Tables with the same rows and columns, by title, as `heatmap` draws them."""
    if not tables:
        return empty("none of these rows was run")
    wide = min(4, len(tables))
    tall = -(-len(tables) // wide)
    figure, axes = panels(tall, wide, 2.3 * tall, sharex=True, sharey=True)
    for axis, (title, table) in zip(axes.flat, tables.items(), strict=False):
        heatmap(axis, table, percent=percent)
        axis.set_title(verbatim(title))
    for axis in axes.flat[len(tables) :]:
        axis.set_axis_off()
    figure.supxlabel(xlabel, fontsize=9)
    figure.supylabel(ylabel, fontsize=9)
    return figure


def heatmap(axis: Axes, table: pd.DataFrame, *, percent: bool = False) -> None:
    """A table as colours from 0 to 1, with its numbers; percent without their sign."""
    decimals = 0 if percent else 2
    text = table.map(lambda v: number(v, decimals, percent=percent).removesuffix("%"))
    table = table.rename(index=verbatim, columns=verbatim)
    style = {"cmap": "Blues", "vmin": 0, "vmax": 1, "cbar": False}
    sns.heatmap(table, annot=text, fmt="", ax=axis, **style)
    axis.set(xlabel="", ylabel="")
    axis.tick_params(length=0, labelrotation=0)


def bars(
    axis: Axes, values: pd.Series, *, colours: Sequence[str] = PALETTE, horizontal: bool = False
) -> None:
    """A bar with its number for each value, the first one on the left (or above)."""
    draw = axis.barh if horizontal else axis.bar
    names = [verbatim(name) for name in values.index]
    container = draw(names, values.to_numpy(), color=list(colours)[: len(names)])
    axis.bar_label(container, [number(value) for value in values], padding=2)
    axis.margins(x=0.12 if horizontal else None, y=None if horizontal else 0.12)
    if horizontal:
        axis.invert_yaxis()
    axis.grid(axis="y" if horizontal else "x", visible=False)


def piano_roll(axis: Axes, notes: np.ndarray, colours: Any = None) -> None:
    """Notes, shape (n, 4), as bars; brighter is louder unless colours are given."""
    onsets, offsets, pitches, velocities = notes.T
    if colours is None:
        colours = mpl.colormaps["viridis"](velocities / 127)
    axis.barh(pitches, offsets - onsets, left=onsets, height=0.9, color=colours)
    axis.set_ylabel("Pitch (MIDI)")


def spectrogram(
    axis: Axes,
    levels: np.ndarray,
    frequencies: np.ndarray,
    end: float,
    *,
    start: float = 0.0,
    top: float | None = None,
    range_db: float = 80.0,
) -> AxesImage:
    """Levels over time and frequency; `figure.colorbar` takes what is returned.

    Parameters
    ----------
    axis : Axes
    levels : np.ndarray, shape (n_bands, n_frames)
        In dB; what is `range_db` below `top` (if None, the largest) is black.
    frequencies : np.ndarray, shape (n_bands,)
        Centres of the bands in Hz.
    end, start : float
        Of the frames, in seconds.
    """
    high = float(levels.max()) if top is None else top
    extent = (start, end, -0.5, len(levels) - 0.5)
    limits: dict[str, Any] = {"vmin": high - range_db, "vmax": high, "cmap": "magma"}
    image = axis.imshow(levels, origin="lower", aspect="auto", extent=extent, **limits)
    ticks = hertz_ticks(frequencies)
    axis.set_yticks([*ticks], [*ticks.values()])
    axis.set_ylabel("Frequency (Hz)")
    axis.grid(visible=False)
    return image


def hertz_ticks(frequencies: np.ndarray) -> dict[float, str]:
    """Text by place among the bands that have these centres in Hz; places are not too near."""
    hertz = [hertz for hertz in _HERTZ if frequencies[0] <= hertz <= frequencies[-1]]
    places = np.interp(hertz, frequencies, np.arange(len(frequencies)))
    ticks = dict(zip(places.tolist(), map(number, hertz), strict=True))
    return spread_ticks(ticks, len(frequencies))


def spread_ticks(ticks: Mapping[float, str], n_rows: int) -> dict[float, str]:
    """Those of some ticks that a short axis of so many rows has room for, the first ones first."""
    chosen: dict[float, str] = {}
    for place, text in ticks.items():
        if all(abs(place - other) >= n_rows / 12 for other in chosen):
            chosen[place] = text
    return chosen


def mel_levels(samples: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, float]:
    """What `spectrogram` takes: levels of 128 mel bands, their centres, the end of the samples."""
    hop = 512
    levels = log_mel(samples, sample_rate, hop_length=hop)
    edges = load_librosa().mel_frequencies(len(levels) + 2, fmin=0, fmax=sample_rate / 2)
    return levels, edges[1:-1], levels.shape[1] * hop / sample_rate


def excerpt(clip: Clip) -> Figure:
    """Piano roll and log-mel spectrogram of the first ten seconds of a clip, on one time axis.

    Audio is rendered from the MIDI if there is none.

    Raises
    ------
    MissingDataError
        If the clip has no MIDI.
    """
    if clip.midi is None:
        raise MissingDataError(f"clip {clip.id!r} has no MIDI file, which a piano roll needs")
    figure, ((top,), (bottom,)) = panels(2, 1, 3.6, sharex=True)
    sample_rate, seconds = 22050, 10
    piano_roll(top, read_notes(clip.midi))
    samples = crop(waveform(clip, sample_rate), seconds * sample_rate)
    image = spectrogram(bottom, *mel_levels(samples, sample_rate))
    figure.colorbar(image, ax=bottom, label="dB", pad=0.01)
    bottom.set(xlim=(0, seconds), xlabel="Time (s)")
    return figure
