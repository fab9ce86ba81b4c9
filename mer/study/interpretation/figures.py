"""Figures and players of what the sources contribute; colours and markers tell the sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mer.audio import crop
from mer.clips import Clip
from mer.evaluation.uncertainty import interval
from mer.study.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, panels
from mer.study.interpretation.carriers import UNIFORM
from mer.study.interpretation.combinations import Score
from mer.study.interpretation.contributions import METHODS, PERMUTATION, song_shares
from mer.study.interpretation.regions import CRITERIA
from mer.study.players import sound
from mer.study.regression import DIMENSIONS
from mer.study.specs import RunSpec, resolve
from mer.systems.variants import LETTERS

if TYPE_CHECKING:
    from IPython.display import HTML

STYLES = {
    "vocals": (VERMILLION, "o"),
    "bass": (BLUE, "s"),
    "drums": (GREEN, "^"),
    "other": (PURPLE, "D"),
}
"""Colour and marker of each source."""

_SIZES = {1: SKY, 2: ORANGE, 3: GREEN, 4: BLUE}
_TITLES = {"valence": "Valence", "arousal": "Arousal", "mean": "Mean of both"}
_LARGEST = 60.0
"""Range of the spectrograms in dB."""


def combinations(table: pd.DataFrame, mix: Mapping[str, Score]) -> Figure:
    """R2 of all subsets of the sources, a panel a dimension.

    Parameters
    ----------
    table : DataFrame
        From `mer.study.interpretation.combinations.combination_table`.
    mix : mapping
        By dimension: score of the network on the mix, drawn as a band.
    """
    figure, axes = panels(1, len(DIMENSIONS), 3.6, sharey=True)
    for axis, dimension in zip(axes[0], DIMENSIONS, strict=True):
        rows = table[table["dimension"] == dimension].reset_index(drop=True)
        for size, colour in _SIZES.items():
            chosen = rows[rows["size"] == size]
            label = f"{size} source{'s' if size > 1 else ''}"
            _errorbars(axis, chosen, chosen.index, label=label, color=colour)
        low, high = interval(mix[dimension].resampled)
        axis.axvspan(low, high, color="#EEEEEE", zorder=0)
        axis.axvline(mix[dimension].mean, color="grey", ls="--", lw=1, label="mix")
        axis.set(title=_TITLES[dimension], xlabel="R2")
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(rows)), rows["sources"])
    axes[0, 0].invert_yaxis()
    _legend(figure, axes[0, 0], 5)
    return figure


def _errorbars(
    axis: Axes, rows: pd.DataFrame, y: Any, *, mean: str = "mean", prefix: str = "", **options: Any
) -> None:
    values = rows[mean].to_numpy(float)
    ends = rows[[f"{prefix}low", f"{prefix}high"]].to_numpy(float).T
    options = {"fmt": "o", "ms": 4, "capsize": 2, **options}
    axis.errorbar(values, y, xerr=np.abs(ends - values), **options)


def _legend(figure: Figure, axis: Axes, columns: int) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def gains(table: pd.DataFrame) -> Figure:
    """Mean gain from adding each source, from `mer.study.interpretation.combinations.gains`."""
    figure, axes = panels(1, len(DIMENSIONS), 1.8, sharey=True, sharex=True)
    for axis, dimension in zip(axes[0], DIMENSIONS, strict=True):
        rows = table[table["dimension"] == dimension].set_index("source").loc[list(STYLES)]
        for y, (source, (colour, marker)) in enumerate(STYLES.items()):
            _errorbars(axis, rows.loc[[source]], [y], mean="gain", color=colour, fmt=marker)
        axis.axvline(0, color="grey", lw=1)
        axis.set(title=_TITLES[dimension], xlabel="Mean gain of R2")
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(STYLES)), list(STYLES))
    axes[0, 0].invert_yaxis()
    return figure


def plane(best: pd.DataFrame) -> Figure:
    """Clips at their annotated place, coloured by the source that tells them best (figure 3).

    Parameters
    ----------
    best : DataFrame
        From `mer.study.interpretation.regions.best_sources`. Dashed lines are median labels.
    """
    figure, axes = panels(1, len(CRITERIA), 2.9, sharex=True, sharey=True)
    for axis, criterion in zip(axes[0], CRITERIA, strict=True):
        for source, (colour, marker) in STYLES.items():
            clips = best[best[criterion] == source]
            place = (clips["target_valence"], clips["target_arousal"])
            axis.scatter(*place, s=14, c=colour, marker=marker, lw=0, alpha=0.8, label=source)
        axis.axvline(best["target_valence"].median(), color="grey", ls="--", lw=0.8)
        axis.axhline(best["target_arousal"].median(), color="grey", ls="--", lw=0.8)
        axis.set(title=f"By {_TITLES[criterion].lower()}", xlabel="Valence")
    axes[0, 0].set_ylabel("Arousal")
    _legend(figure, axes[0, 0], len(STYLES))
    return figure


def contributions(found: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Shares of the sources in the contributions, a panel a dimension.

    Parameters
    ----------
    found : DataFrame
        From `mer.study.interpretation.contributions.both_methods`.
    summary : DataFrame
        From `mer.study.interpretation.contributions.contribution_summary`.

    Returns
    -------
    Figure
        Small dots are clips, by permutation; large ones are means with their intervals, by both
        methods.
    """
    parts = song_shares(found).query("method == @PERMUTATION")
    figure, axes = panels(1, len(DIMENSIONS), 2.6, sharex=True, sharey=True)
    rng = np.random.default_rng(0)
    for axis, dimension in zip(axes[0], DIMENSIONS, strict=True):
        for y, (source, (colour, _)) in enumerate(STYLES.items()):
            values = parts.query("dimension == @dimension")[source].to_numpy()
            heights = y + rng.uniform(-0.3, 0.3, len(values))
            axis.plot(values, heights, ".", ms=2, color=colour, alpha=0.5)
        for method, marker, shift in zip(METHODS, ("o", "D"), (-0.12, 0.12), strict=True):
            chosen = summary[(summary["method"] == method) & (summary["dimension"] == dimension)]
            rows = chosen.set_index("source").loc[list(STYLES)]
            options = {"mean": "share", "prefix": "share_", "fmt": marker, "color": "black"}
            _errorbars(axis, rows, np.arange(len(rows)) + shift, label=method, **options)
        axis.axvline(UNIFORM, color="grey", ls="--", lw=0.8)
        axis.set(title=_TITLES[dimension], xlabel="Share of the contributions")
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticks(range(len(STYLES)), list(STYLES))
    axes[0, 0].invert_yaxis()
    _legend(figure, axes[0, 0], len(METHODS))
    return figure


def excerpts(table: pd.DataFrame, found: pd.DataFrame) -> Figure:
    """What the networks hear of some clips, a column a clip, with each source's contributions.

    Parameters
    ----------
    table : DataFrame
        From `mer.study.interpretation.contributions.excerpt_table`.
    found : DataFrame
        From `mer.study.interpretation.contributions.both_methods`.
    """
    clips, inputs = table["id"].unique(), table["input"].unique()
    figure, axes = panels(len(inputs), len(clips), 6.0, sharex=True, sharey=True)
    bands = list(table.filter(like="band_"))
    permuted = found[found["method"] == PERMUTATION]
    signed = permuted.set_index(["id", "source", "dimension"])["signed"]
    for column, clip in enumerate(clips):
        frames = table[table["id"] == clip]
        top = frames[bands].to_numpy().max()
        for axis, name in zip(axes[:, column], inputs, strict=True):
            rows = frames[frames["input"] == name]
            end = rows["seconds"].iloc[-1] + rows["seconds"].diff().mean()
            image = axis.imshow(
                rows[bands].to_numpy(float).T - top,
                origin="lower",
                aspect="auto",
                extent=(0, end, 0, len(bands)),
                vmin=-_LARGEST,
                vmax=0,
                cmap="magma",
            )
            axis.set_title(_title(name, clip, signed))
            axis.grid(visible=False)
        axis.set_xlabel("Time (s)")
    figure.supylabel("Mel band", fontsize=9)
    figure.colorbar(image, ax=axes, label="dB below the loudest", pad=0.01, aspect=60)
    return figure


def _title(name: str, clip: str, signed: pd.Series) -> str:
    if name not in LETTERS:
        return f"{clip}: {name}"
    told = [f"{d} {signed[clip, name, d]:+.3f}" for d in DIMENSIONS]
    return f"{name}: {', '.join(told)}"


def players(columns: Mapping[str, tuple[Clip, RunSpec]], *, seconds: float = 10.0) -> HTML:
    """Players of the mix and the sources of some clips, as the networks hear them.

    Parameters
    ----------
    columns : mapping
        By title: a clip, of a corpus whose sound may be given on or for the ears of the one who
        runs this; and a run that tells the separator and the excerpt, whose beginning is played.
    seconds : float
    """
    from IPython.display import HTML

    from mer.systems.sources import MIX, Excerpts, source_samples, window_start

    rows = []
    for name in (MIX, *LETTERS):
        cells = []
        for clip, spec in columns.values():
            system = resolve(spec.system, spec.parameters)
            assert isinstance(system, Excerpts)
            samples = source_samples(clip, name, system.sample_rate, system.separator)
            start = window_start(clip.id, len(samples), system.n_samples)
            played = crop(samples, system.n_samples, start)
            address = sound(played, system.sample_rate, seconds=seconds).src_attr()
            cells.append(f'<audio controls style="width: 15em" src="{address}"></audio>')
        rows.append("".join(f"<td>{cell}</td>" for cell in (name, *cells)))
    head = "".join(f"<th>{name}</th>" for name in ("", *columns))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return HTML(f'<table class="dataframe"><tr>{head}</tr>{body}</table>')


def hits(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """How often each method finds the carrier, a panel a dimension.

    Parameters
    ----------
    tables : mapping
        By separator, from `mer.study.interpretation.carriers.hit_table`.

    Returns
    -------
    Figure
        Dashed lines: naming a source by lot, and always the commonest carrier.
    """
    figure, axes = panels(1, len(DIMENSIONS), 3.0, sharex=True, sharey=True)
    shifts = np.linspace(-0.15, 0.15, len(tables)) if len(tables) > 1 else [0.0]
    for axis, dimension in zip(axes[0], DIMENSIONS, strict=True):
        for (name, table), colour, shift in zip(
            tables.items(), (BLUE, VERMILLION), shifts, strict=False
        ):
            rows = table[table["dimension"] == dimension]
            y = np.arange(len(rows)) + shift
            _errorbars(axis, rows, y, mean="hits", color=colour, label=name)
        axis.axvline(UNIFORM, color="grey", ls=":", lw=1)
        axis.axvline(rows["frequent"].iloc[0], color="grey", ls="--", lw=1)
        axis.set(title=_TITLES[dimension], xlabel="Carrier found")
        axis.grid(axis="y", visible=False)
    labels = [f"{row['method']},\n{row['reading']}" for _, row in rows.iterrows()]
    axes[0, 0].set_yticks(range(len(labels)), labels)
    axes[0, 0].invert_yaxis()
    _legend(figure, axes[0, 0], len(tables))
    return figure
