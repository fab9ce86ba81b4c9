"""Limits of the usual evaluation: test sets, leaks, labels, and the published tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import binomtest

from mer.corpora import emopia as corpus
from mer.papers import emopia
from mer.papers.published import published
from mer.study import plots
from mer.study.results import Results
from mer.study.study import Study
from mer.study.tables import KNOWN_ROWS, NamedRows, Rows
from mer.study.text import corpus_title, number, split_title
from mer.tasks import TASKS

ROWS: Rows = NamedRows({**emopia.WITHOUT_MUSIC, "Symbolic-SVM": emopia.SVM["Symbolic-SVM"]})
TEST_CLIPS = corpus.SPLIT_SIZES["split_cls"][2]
BASELINE = "LSTM-Attn+MIDI-like"
_PAPERS = {"zhu2023": "Zhu et al. 2023", "zhao2023": "Zhao and Yoshii 2023"}
_PROPOSED = {paper: f"proposed model of {title}" for paper, title in _PAPERS.items()}
_NAMES = {
    "proposed model": _PROPOSED["zhu2023"],
    "Ours": _PROPOSED["zhao2023"],
    "symbolic-LR": "Symbolic-LR",
}
_SIBLINGS = "of them with a sibling in training"
_NESTED = "nested5x5"


def published_answers() -> pd.DataFrame:
    """Published four-quadrant accuracies on the official split as numbers of correct clips.

    Returns
    -------
    DataFrame
        Indexed by row, the highest accuracy first: accuracy, correct clips, whole number of
        clips (whether the accuracy is one), exact 95 % interval (of the proportion, as text).
    """
    tables = (("zhu2023", "2"), ("zhu2023", "3"), ("zhao2023", "I"))
    cells = pd.concat([published(paper, table) for paper, table in tables])
    cells = cells[(cells["column"] == "4Q") & ~cells["row"].str.contains("MIDIBERT")]
    rows = cells.assign(row=cells["row"].replace(_NAMES)).drop_duplicates("row")
    table = rows.set_index("row")[["number"]].rename_axis(None).set_axis(["accuracy"], axis=1)
    right = (table["accuracy"] * TEST_CLIPS).round().astype(int)
    intervals = [binomtest(k, TEST_CLIPS).proportion_ci() for k in right]
    columns: dict[str, Any] = {
        "correct clips": right,
        "whole number of clips": (right / TEST_CLIPS).round(3) == table["accuracy"],
        "exact 95 % interval": [f"[{number(i.low)}, {number(i.high)}]" for i in intervals],
    }
    return table.assign(**columns).sort_values("accuracy", ascending=False)


def published_gains() -> dict[str, float]:
    """What the proposed models gain over the best baseline, as published."""
    accuracy = published_answers()["accuracy"].to_dict()
    return {paper: accuracy[name] - accuracy[BASELINE] for paper, name in _PROPOSED.items()}


def half_width(accuracy: float, n: np.ndarray | float) -> np.ndarray:
    """Half the width of a 95 % interval of an accuracy on n independent clips."""
    return np.asarray(1.96 * np.sqrt(accuracy * (1 - accuracy) / n))


def interval_figure() -> Figure:
    """Half the width of a 95 % interval against the number of test clips; published gains."""
    accuracy = published_answers()["accuracy"].to_dict()[BASELINE]
    names = ("split_cls", "split_midibert")
    sizes = {
        **{split_title(n): corpus.SPLIT_SIZES[n][2] for n in names},
        "all clips": corpus.EXPECTED["clips"],
    }
    figure, axes = plots.panels(1, 1, 3.0)
    axis, n = axes[0, 0], np.geomspace(30, 3000, 200)
    axis.plot(n, half_width(accuracy, n), color=plots.BLUE)
    for (paper, gain), colour in zip(
        published_gains().items(), (plots.VERMILLION, plots.GREEN), strict=True
    ):
        axis.axhline(gain, color=colour, ls="--", lw=1)
        axis.text(30, gain, f"{_PAPERS[paper]}: {number(gain)}", va="bottom", color=colour)
    for name, size in sizes.items():
        point = (size, float(half_width(accuracy, size)))
        axis.plot(*point, "o", color=plots.BLUE)
        label = f"{name}: {number(size)}"
        axis.annotate(label, point, xytext=(6, 4), textcoords="offset points")
    axis.set(xscale="log", xlabel="Test clips", ylabel="95 % interval, ±", ylim=(0, None))
    axis.set_title(f"Accuracy {number(accuracy)}")
    ticks = [30, 100, 300, 1000, 3000]
    axis.set_xticks(ticks, [number(tick) for tick in ticks], minor=False)
    return figure


def interval_summary() -> str:
    """What the published gains are beside the interval of an accuracy, in Markdown."""
    accuracy = published_answers()["accuracy"].to_dict()[BASELINE]
    lines = [
        f"- On {TEST_CLIPS} clips the interval is ±{number(half_width(accuracy, TEST_CLIPS))}."
    ]
    for paper, gain in published_gains().items():
        needed = (1.96 / gain) ** 2 * accuracy * (1 - accuracy)
        lines.append(
            f"- The gain of {_PAPERS[paper]} over LSTM-Attn + MIDI-like, {number(gain)}, is "
            f"{number(gain * TEST_CLIPS, 1)} clips; an interval as narrow as ±{number(gain)} needs "
            f"about {number(round(needed))} clips."
        )
    return "\n".join(lines)


def run_splits(study: Study, task: str) -> dict[str, Results]:
    """Rows on every split of the corpus but nested cross-validation, by split.

    These are `ROWS`, unless the parameter `systems` names others.
    """
    rows = {name: KNOWN_ROWS[name] for name in study.settings.systems or ROWS}
    return {
        name: study.run(study.specs(rows, split=name, tasks=[task]), split=name)
        for name in study.card["splits"]
        if name != _NESTED
    }


def leak_table(study: Study, results: Mapping[str, Results]) -> pd.DataFrame:
    """Accuracy by split: test clips, those with a sibling in training, and a column a row."""
    rows: dict[str, dict[str, Any]] = {}
    for name, part in results.items():
        siblings = study.card["splits"][name]["test_clips_with_sibling_in_train"]
        clips = {"test clips": part.predictions["id"].nunique()}
        means = {str(k): v for k, v in part.scores.set_index("system")["mean"].items()}
        rows[name] = {**clips, _SIBLINGS: siblings, **means}
    return pd.DataFrame.from_dict(rows, orient="index")


def leak_text(table: pd.DataFrame) -> pd.DataFrame:
    """`leak_table` for reading."""
    return table.rename(index=split_title)


def leak_summary(study: Study, table: pd.DataFrame) -> str:
    """What is reached where songs cross the split, in Markdown."""
    lines = []
    for name in (n for n in table.index if study.card["splits"][n]["leaky"]):
        row = table.loc[name].to_dict()
        clips, siblings = int(row.pop("test clips")), int(row.pop(_SIBLINGS))
        reached = ", ".join(f"{system} {number(value)}" for system, value in row.items())
        lines.append(
            f"- On {split_title(name, article=True)}, {siblings} of {clips} test clips have a "
            f"sibling among the training clips. Accuracy there: {reached}."
        )
    name = corpus_title(study.corpus_name, article=True)
    return "\n".join(lines) or f"No split of {name} leaks songs."


def quoted_language_models() -> pd.DataFrame:
    """MIDI-BERT and its successors as zhao2023 quotes them: accuracy and note."""
    rows = published("zhao2023", "II").set_index("row")[["number", "note"]]
    rows = rows[rows.index.str.contains("MidiBERT")]
    return rows.rename(columns={"number": "4Q accuracy"}).rename_axis(None)


def lookup_summary(study: Study, table: pd.DataFrame) -> str:
    """How many quoted accuracies a lookup without music exceeds, in Markdown."""
    quoted = quoted_language_models()["4Q accuracy"]
    leaky = [name for name in table.index if study.card["splits"][name]["leaky"]]
    reached = [table.loc[name, "Song-lookup"] for name in leaky if "Song-lookup" in table]
    return " ".join(
        f"Song-lookup, which does not use the music, reaches {number(value)} on the leaky split. "
        f"This is above {(quoted < value).sum()} of the {len(quoted)} quoted accuracies."
        for value in reached
    )


def largest(results: Mapping[str, Results]) -> tuple[str, pd.DataFrame]:
    """The split with most test clips, and its labels: a row a clip."""
    name = max(results, key=lambda n: results[n].predictions["id"].nunique())
    return name, results[name].predictions.drop_duplicates("id")


def disagreement_figure(labels: pd.DataFrame, task: str) -> Figure:
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
    names = [name.split()[0] for name in TASKS[task].classes]
    own = pd.crosstab(labels["group"], labels["target"])
    own = own.reindex(columns=range(1, len(names) + 1), fill_value=0)
    pairs = (own.T @ own - np.diag(own.sum())).to_numpy()
    shares = pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1)
    one, several = own.sum(axis=1) == 1, (own > 0).sum(axis=1) > 1
    kinds = {
        "one clip": one.sum(),
        "several clips,\none label": (~one & ~several).sum(),
        "several labels": several.sum(),
    }
    figure, ((left, right),) = plots.panels(1, 2, 2.6)
    plots.bars(left, pd.Series(kinds), colours=[plots.SKY, plots.BLUE, plots.VERMILLION])
    left.set_ylabel("Songs")
    plots.heatmap(right, pd.DataFrame(shares, index=names, columns=names), percent=True)
    right.set(xlabel="Another clip of the song (% of the row)", ylabel="Clip")
    return figure


def disagreement_summary(split: str, labels: pd.DataFrame) -> str:
    """How often songs carry several labels, in Markdown."""
    songs = labels.groupby("group")["target"]
    ceiling = songs.agg(lambda target: target.value_counts().iloc[0]).sum() / len(labels)
    several = songs.agg(lambda target: len(set(target)) > 1).sum()
    place = split_title(split, article=True)
    return (
        f"Over the {number(len(labels))} test clips of {place}: {several} of {songs.ngroups} songs "
        f"have more than one label. One answer for each song can reach {number(ceiling)} at most."
    )


def impossible_rows() -> tuple[pd.DataFrame, int]:
    """Published rows whose 4Q accuracy lies below A + V - 1, and the number of complete rows.

    A row that several tables repeat or quote counts once. The rows are indexed by name: tables, 4Q,
    A, V and A + V - 1.
    """
    rows = pd.concat({p: published(p) for p in ("zhu2023", "zhao2023")}, names=["paper"])
    names = {"Arousal": "A", "Valence": "V"}
    rows = rows.assign(column=rows["column"].replace(names)).query("column in ['4Q', 'A', 'V']")
    cells = rows.pivot_table(index=["paper", "table", "row"], columns="column", values="number")
    complete = cells.dropna().reset_index()
    complete["tables"] = complete["paper"].map(_PAPERS) + ", table " + complete["table"]
    unique = complete.groupby(["4Q", "A", "V"], sort=False).agg(
        {"row": "first", "tables": "; ".join}
    )
    table = unique.reset_index().set_index("row")[["tables", "4Q", "A", "V"]]
    table["A + V - 1"] = table["A"] + table["V"] - 1
    return table[table["4Q"] < table["A + V - 1"]].rename_axis(None), len(table)
