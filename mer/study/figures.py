"""Figures, captioned tables and players of the notebooks.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; every figure is as
wide as a page of the book.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mer.audio import crop, waveform
from mer.clips import Clip
from mer.errors import MissingDataError
from mer.evaluation.metrics import confusion_matrix
from mer.features.notes import read_notes
from mer.features.spectral import log_mel
from mer.study.players import player as player
from mer.study.store import Run
from mer.study.tables import comparison_text
from mer.tasks import TASKS

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

WIDTH = 7.2
"""Of every figure, in inches."""

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
SKY, PURPLE = "#56B4E9", "#CC79A7"

QUADRANTS = {
    "Q1": ("high valence, high arousal", ORANGE),
    "Q2": ("low valence, high arousal", VERMILLION),
    "Q3": ("low valence, low arousal", BLUE),
    "Q4": ("high valence, low arousal", GREEN),
}
"""Meaning and colour of each quadrant."""

_NOTE_STATISTICS = {
    "duration_s": "Duration (s)",
    "notes_per_s": "Notes per second",
    "mean_velocity": "Mean velocity (1-127)",
    "mean_pitch": "Mean pitch (MIDI)",
}
_TASK_TITLES = {"4Q": "Four quadrants", "A": "Arousal", "V": "Valence"}


def style() -> None:
    """Give all figures of this session the look of the book."""
    colours = [BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE]
    mpl.rcParams.update(
        {
            "figure.dpi": 144,
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.prop_cycle": cycler(color=colours),
            "grid.color": "#E3E3E3",
            "legend.frameon": False,
        }
    )


def captioned(table: pd.DataFrame, caption: str) -> Styler:
    """A table with a caption; fractions with three decimals, a dash where there is nothing."""
    styler = table.style.format(_cell, na_rep="–").set_caption(caption)
    styler = styler.hide(axis="index", names=True).hide(axis="columns", names=True)
    return styler.set_table_attributes('class="dataframe"')


def _cell(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    # An estimate may break before its interval only
    return re.sub(r" ± |(?<=\d,) (?=[+-]?\.?\d)", lambda found: _unbroken(found[0]), str(value))


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def accuracy_table(table: pd.DataFrame, task: str) -> Styler:
    """Accuracy of every system for one task, from `mer.study.tables.comparison`."""
    rows = table[table["task"] == task].set_index("system")
    text = comparison_text(rows.reset_index(), [task]).set_axis(["published", "reproduced"], axis=1)
    if rows["published"].isna().all():
        text = text.drop(columns="published")
    shown = text.join(rows[["n", "seeds", "audio"]].replace("none", "–"))
    caption = f"{_TASK_TITLES[task]}: accuracy, mean ± SD over seeds [95 % interval]."
    if rows["audio"].str.contains("rendered").any():
        caption += " Rendered audio was synthesised from the MIDI files."
    return captioned(shown, caption)


def accuracy(table: pd.DataFrame) -> Figure:
    """Forest plot: accuracy of each system, a panel a task.

    Parameters
    ----------
    table : DataFrame
        From `mer.study.tables.comparison`.

    Returns
    -------
    Figure
        Dots are means over seeds, bars their intervals, diamonds published values.
    """
    tasks, systems = table["task"].unique(), table["system"].unique()
    figure, axes = panels(1, len(tasks), 0.9 + 0.25 * len(systems), sharey=True)
    for axis, task in zip(axes[0], tasks, strict=True):
        rows = table[table["task"] == task].set_index("system").reindex(systems)
        _forest(axis, rows)
        axis.set(title=f"{_TASK_TITLES[task]} (n = {rows['n'].max():,.0f})", xlabel="Accuracy")
    axes[0, 0].set_yticks(range(len(systems)), systems)
    axes[0, 0].invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _forest(axis: Axes, rows: pd.DataFrame) -> None:
    y, mean = np.arange(len(rows)), rows["mean"].to_numpy(float)
    spread = np.abs(rows[["low", "high"]].to_numpy(float).T - mean)
    label = "reproduced, with 95 % interval"
    axis.errorbar(mean, y, xerr=spread, fmt="o", ms=4, capsize=2, color=BLUE, label=label)
    if rows["published"].notna().any():
        axis.plot(rows["published"], y, "D", ms=5, mfc="white", color=VERMILLION, label="published")
    axis.grid(axis="y", visible=False)


def confusion_matrices(
    predictions: pd.DataFrame, systems: Sequence[str], task: str = "4Q"
) -> Figure:
    """How often clips of each class (row) were given each class (column), a panel a system.

    Parameters
    ----------
    predictions : DataFrame
        From `mer.study.session.Session.run`; seeds and folds are added up.
    systems : sequence of str
        Those without predictions are left out.
    task : str

    Returns
    -------
    Figure
        Cells show percent of the row.
    """
    chosen = predictions[predictions["task"] == task]
    systems = [system for system in systems if system in set(chosen["system"])]
    names = TASKS[task].classes
    columns = min(4, len(systems))
    rows = -(-len(systems) // columns)
    figure, axes = panels(rows, columns, 2.3 * rows, sharex=True, sharey=True)
    for axis, system in zip(axes.flat, systems, strict=False):
        frame = chosen[chosen["system"] == system]
        counts = confusion_matrix(frame["target"] - 1, frame["answer"] - 1, len(names))
        _matrix(axis, counts, names)
        axis.set_title(system)
    for axis in axes.flat[len(systems) :]:
        axis.set_axis_off()
    figure.supxlabel("Answer (cells: % of the row)", fontsize=9)
    figure.supylabel("Label", fontsize=9)
    return figure


def label_disagreement(labels: pd.DataFrame, task: str = "4Q") -> Figure:
    """How many classes the clips of a song carry, and which ones go together.

    Parameters
    ----------
    labels : DataFrame
        One row a clip: group, target (class counted from 1).
    task : str

    Returns
    -------
    Figure
        On the right: class of a clip (row), class of another clip of its song (column).
    """
    names = TASKS[task].classes
    own = pd.crosstab(labels["group"], labels["target"])
    own = own.reindex(columns=range(1, len(names) + 1), fill_value=0)
    pairs = own.T @ own - np.diag(own.sum())
    kinds = {
        "one clip": (own.sum(axis=1) == 1).sum(),
        "several clips,\none label": ((own.sum(axis=1) > 1) & ((own > 0).sum(axis=1) == 1)).sum(),
        "several labels": ((own > 0).sum(axis=1) > 1).sum(),
    }
    figure, ((left, right),) = panels(1, 2, 2.6)
    bars = left.bar(list(kinds), list(kinds.values()), color=[SKY, BLUE, VERMILLION])
    left.bar_label(bars)
    left.grid(axis="x", visible=False)
    left.set_ylabel("Songs")
    _matrix(right, pairs.to_numpy(), names)
    right.set(xlabel="Another clip of the song (% of the row)", ylabel="Clip")
    return figure


def _matrix(axis: Axes, counts: np.ndarray, names: Sequence[str]) -> None:
    """Counts, shape (k, k), as a heat map of percent of each row."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour)
    ticks = [name.split()[0] for name in names]
    axis.set_xticks(range(len(names)), ticks)
    axis.set_yticks(range(len(names)), ticks)
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def label_counts(counts: Mapping[str, int]) -> Figure:
    """Number of clips of each quadrant, from `mer.clips.Corpus.counts`."""
    figure, axes = panels(1, 1, 1.9)
    axis = axes[0, 0]
    names = [f"{quadrant}: {meaning}" for quadrant, (meaning, _) in QUADRANTS.items()]
    colours = [colour for _, colour in QUADRANTS.values()]
    bars = axis.barh(names, [counts[quadrant] for quadrant in QUADRANTS], color=colours)
    axis.bar_label(bars, padding=3)
    axis.set_xlabel("Clips")
    axis.grid(axis="y", visible=False)
    axis.invert_yaxis()
    return figure


def note_statistics(notes: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Median and 5-95 % range over clips of plain note statistics, by quadrant.

    Parameters
    ----------
    notes : mapping
        By quadrant and statistic: 5 %, 50 % and 95 % quantile, as in the card of a corpus.
    """
    figure, axes = panels(1, len(_NOTE_STATISTICS), 2.0)
    for axis, (name, label) in zip(axes[0], _NOTE_STATISTICS.items(), strict=True):
        for quadrant, values in notes.items():
            low, middle, high = values[name]
            spread = [[middle - low], [high - middle]]
            colour = QUADRANTS[quadrant][1]
            axis.errorbar([quadrant], [middle], yerr=spread, fmt="o", ms=5, color=colour)
        axis.set_title(label)
        axis.grid(axis="x", visible=False)
        axis.margins(x=0.2)
    return figure


def interval_width(accuracy: float, gains: Mapping[str, float], sizes: Mapping[str, int]) -> Figure:
    """Half the width of a 95 % interval against the number of test clips.

    Parameters
    ----------
    accuracy : float
        Whose interval.
    gains : mapping of str to float
        Differences between systems, drawn as lines.
    sizes : mapping of str to int
        Numbers of test clips, drawn as points.
    """
    figure, axes = panels(1, 1, 3.0)
    axis = axes[0, 0]
    n = np.geomspace(30, 3000, 200)
    axis.plot(n, half_width(accuracy, n), color=BLUE)
    for (name, gain), colour in zip(gains.items(), (VERMILLION, GREEN, ORANGE), strict=False):
        axis.axhline(gain, color=colour, ls="--", lw=1)
        axis.text(30, gain, f"{name}: {gain:.3f}", va="bottom", color=colour)
    for name, size in sizes.items():
        point = (size, half_width(accuracy, size))
        axis.plot(*point, "o", color=BLUE)
        axis.annotate(f"{name}: {size:,}", point, xytext=(6, 4), textcoords="offset points")
    axis.set(xscale="log", xlabel="Test clips", ylabel="95 % interval, ±")
    axis.set_title(f"Accuracy {accuracy:.3f}")
    axis.set_ylim(0)
    axis.set_xticks([30, 100, 300, 1000, 3000], ["30", "100", "300", "1,000", "3,000"], minor=False)
    return figure


def half_width(accuracy: float, n: Any) -> Any:
    """Half the width of a 95 % interval of an accuracy on n independent clips."""
    return 1.96 * np.sqrt(accuracy * (1 - accuracy) / n)


def training_history(runs: Iterable[Run]) -> Figure:
    """Losses and validation accuracy of networks: a column a system, a line a run."""
    histories: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        frame = pd.DataFrame(run.history)
        histories.setdefault(run.spec.system, []).append(frame.set_index(frame.index + 1))
    figure, axes = panels(2, len(histories), 3.6, sharex="col", sharey="row")
    for (top, bottom), (system, frames) in zip(axes.T, histories.items(), strict=True):
        for frame in frames:
            (train,) = top.plot(frame["train_loss"], color=BLUE, lw=1)
            (valid,) = top.plot(frame["valid_loss"], color=VERMILLION, lw=1)
            bottom.plot(frame["valid_accuracy"], color=VERMILLION, lw=1)
        top.set_title(system.replace(", ", ",\n"))
        bottom.set_xlabel("Epoch")
    axes[0, 0].set_ylabel("Loss")
    axes[1, 0].set_ylabel("Accuracy")
    names = ["training", "validation"]
    figure.legend([train, valid], names, loc="outside lower center", ncols=2)
    return figure


def excerpt(clip: Clip, *, seconds: float = 10.0, sample_rate: int = 22050) -> Figure:
    """Piano roll and log-mel spectrogram of the beginning of a clip, on one time axis.

    Parameters
    ----------
    clip : Clip
        With MIDI; audio is rendered from it if there is none.
    seconds : float
    sample_rate : int
        Of the analysed audio, in Hz.

    Raises
    ------
    MissingDataError
        If the clip has no MIDI.
    """
    if clip.midi is None:
        raise MissingDataError(f"clip {clip.id!r} has no MIDI file, which a piano roll needs")
    figure, (top, bottom) = panels(2, 1, 3.6, sharex=True)
    piano_roll(top[0], read_notes(clip.midi))
    samples = crop(waveform(clip, sample_rate), int(seconds * sample_rate))
    spectrogram(figure, bottom[0], samples, sample_rate)
    bottom[0].set(xlim=(0, seconds), xlabel="Time (s)")
    return figure


def piano_roll(axis: Axes, notes: np.ndarray, colours: Any = None) -> None:
    """Notes, shape (n, 4), as bars; brighter is louder unless colours are given."""
    onsets, offsets, pitches, velocities = notes.T
    if colours is None:
        colours = mpl.colormaps["viridis"](velocities / 127)
    axis.barh(pitches, offsets - onsets, left=onsets, height=0.9, color=colours)
    axis.set_ylabel("Pitch (MIDI)")


def spectrogram(
    figure: Figure, axis: Axes, samples: np.ndarray, sample_rate: int, start: float = 0.0
) -> None:
    """Log-mel spectrogram of samples that begin at `start` seconds."""
    hop = 512
    mel = log_mel(samples, sample_rate, hop_length=hop)
    extent = (start, start + mel.shape[1] * hop / sample_rate, 0, mel.shape[0])
    low = max(float(mel.min()), float(mel.max()) - 80)
    image = axis.imshow(mel, origin="lower", aspect="auto", extent=extent, vmin=low, cmap="magma")
    axis.set_ylabel("Mel band")
    axis.grid(visible=False)
    figure.colorbar(image, ax=axis, label="dB", pad=0.01)


def panels(rows: int, columns: int, height: float, **options: Any) -> tuple[Figure, Any]:
    """A figure of book width, with axes of shape (rows, columns), that only its caller shows."""
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, height), layout="constrained", squeeze=False, **options
    )
    plt.close(figure)
    return figure, axes
