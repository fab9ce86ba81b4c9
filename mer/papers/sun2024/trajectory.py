"""Class probabilities of the segments along a song (figure 2 of Sun et al. 2024)."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.audio import waveform
from mer.clips import Clip, Corpus, Fold, Labels
from mer.evaluation.resampling import group_bootstrap
from mer.papers.sun2024.noise import CORPUS as CHANGING
from mer.papers.sun2024.noise import known_tasks, most_probable, training_changes, with_truth
from mer.papers.sun2024.systems import FittedSegments
from mer.papers.sun2024.tables import INHERITANCE, NETWORKS, PROPOSED, corpora
from mer.study import players, plots
from mer.study.claims import NOT_RUN
from mer.study.specs import RunSpec
from mer.study.store import PREDICTION_DECIMALS
from mer.study.study import Study
from mer.study.text import corpus_title, estimate, listing, markdown, number
from mer.tasks import TASKS

if TYPE_CHECKING:
    from IPython.display import HTML

SYSTEMS = (PROPOSED, INHERITANCE)
"""Of the clips with changes; of the others the first alone."""

COMPOSED = (CHANGING, "composed")
"""Corpora of the project's own, whose sound may be given on: with changes, and without."""

FOLD = 0
"""Of the cross-validation; its test songs are shown."""

REVISION = 1
"""Of the stored tables."""

_RATE = 16000


@dataclass(frozen=True, eq=False)
class SongSegments:
    """Test songs of a fold, segment by segment, with the answers of systems for one task.

    `segments` has a row a system, test clip and segment: system, id, group, segment (its number),
    start, end (seconds), label (class of the clip, counted from 1), true (that of the segment;
    missing where it is not known), answer (the system's for the whole clip), p_1 ... p_k.
    """

    study: Study
    task: str
    segments: pd.DataFrame

    @property
    def name(self) -> str:
        """Corpus and task, for reading."""
        return f"{corpus_title(self.study.corpus_name)}, {self.task}"

    @property
    def is_known(self) -> bool:
        """Whether the emotion of each segment is known."""
        return bool(self.segments["true"].notna().all())

    def of(self, song: str) -> pd.DataFrame:
        """Segments of a song as SSSL answers them."""
        rows = self.segments
        return rows[(rows["id"] == song) & (rows["system"] == PROPOSED)]

    def clip(self, song: str) -> Clip | None:
        """The clip of a song; None where its sound may not be given on."""
        if self.study.corpus_name not in COMPOSED:
            return None
        return self.study.corpus.select([song])[0]


# Runs


def studies(study: Study) -> dict[str, Study]:
    """The study on the composed corpora, then on those of the parameters.

    On composed corpora the task is that of the paper's figure, four quadrants, or arousal in the
    small profiles, unless the parameters name another.
    """
    composed = {name: study.on(name, tasks=known_tasks(study)[:1]) for name in COMPOSED}
    return {**composed, **corpora(study), **composed}


def all_songs(by_corpus: Mapping[str, Study]) -> tuple[list[SongSegments], list[str]]:
    """Test songs of all corpora and tasks, and names of those of which nothing is stored.

    Where something is computed, nothing is left out but what the parameter `systems` leaves out.
    """
    shown: list[SongSegments] = []
    missing: list[str] = []
    for name, study in by_corpus.items():
        for task in study.tasks(()):
            with study.skipping_missing():
                if specs := song_specs(study, task):
                    shown.append(SongSegments(study, task, segment_table(study, task, specs)))
                continue
            missing.append(f"{corpus_title(name)}, {task}")
    return shown, missing


def segment_table(study: Study, task: str, specs: Sequence[RunSpec]) -> pd.DataFrame:
    """`SongSegments.segments` of some runs, from the store where they are there."""

    def compute() -> pd.DataFrame:
        return pd.concat(study.inspect(specs, song_segments), ignore_index=True)

    key = {"runs": [spec.key for spec in specs], "revision": REVISION}
    return study.table(f"trajectories {study.corpus_name} {task}", key, compute)


def song_specs(study: Study, task: str) -> list[RunSpec]:
    """Runs whose test songs are shown."""
    name = study.corpus_name
    return [
        spec
        for system in (SYSTEMS if name == CHANGING else SYSTEMS[:1])
        for spec in study.specs(
            {system: NETWORKS[system]},
            split="cv",
            tasks=[task],
            folds=[FOLD],
            changes=training_changes(study, system) if name in COMPOSED else None,
        )
    ]


_COLUMNS = ("system", "id", "group", "segment", "start", "end", "label", "true", "answer")


def song_segments(
    fitted: FittedSegments, spec: RunSpec, corpus: Corpus, fold: Fold
) -> pd.DataFrame:
    """Answers of a fitted system for its test songs, see `SongSegments`."""
    test = corpus.select(fold.test)
    segments = fitted.segment_probabilities(list(test))
    songs = pd.DataFrame({"id": test.ids, "group": test.groups, "system": spec.system})
    songs["label"] = TASKS[spec.task].targets(test) + 1
    songs["answer"] = most_probable(fitted.predict(test))
    known = all("segments" in clip.meta for clip in test)
    segments["true"] = with_truth(segments, test, spec.task)["true"] if known else np.nan
    probabilities = [name for name in map(str, segments) if name.startswith("p_")]
    decimals = dict.fromkeys(("start", "end"), PREDICTION_DECIMALS)
    decimals |= dict.fromkeys(probabilities, 3)
    rows = segments.merge(songs, on="id", how="left").round(decimals)
    return rows[[*_COLUMNS, *probabilities]]


# Tables


def song_table(songs: SongSegments) -> pd.DataFrame:
    """Agreement and changes along each song: one row a system and song.

    Columns system, id, group, segments (number), agree (share of them whose most probable class is
    the song's label), right (share for which it is their own class; missing where it is not known),
    changes (of the most probable class from one segment to the next), true_changes (of the own
    class), correct (whether the song's answer is right).
    """
    rows = []
    for (system, song), frame in songs.segments.groupby(["system", "id"], sort=False):
        answers, true = most_probable(frame), frame["true"].to_numpy(float)
        known = bool(np.isfinite(true).all())
        first = frame.iloc[0]
        rows.append(
            {
                **{"system": system, "id": song, "group": first["group"], "segments": len(frame)},
                "agree": (answers == frame["label"]).mean(),
                "right": (answers == true).mean() if known else np.nan,
                "changes": np.count_nonzero(np.diff(answers)),
                "true_changes": np.count_nonzero(np.diff(true)) if known else np.nan,
                "correct": bool(first["answer"] == first["label"]),
            }
        )
    return pd.DataFrame(rows)


def _of_proposed(songs: SongSegments) -> pd.DataFrame:
    table = song_table(songs)
    return table[table["system"] == PROPOSED]


def typical_song(songs: SongSegments) -> str:
    """The song for which SSSL (or, if it was not run, all systems) is right as for the median song.

    Right is the own class of a segment or, where that is not known, the class of the song. Of songs
    that are equally near the median, the first.
    """
    own = _of_proposed(songs)
    own = song_table(songs) if own.empty else own
    measure = own["right"] if own["right"].notna().all() else own["agree"]
    return str(own["id"].iloc[int(np.argmin(np.abs(measure - measure.median())))])


_MEASURES: dict[str, tuple[str, dict[str, Any]]] = {
    "agree": ("segments with the song's class", {"percent": True}),
    "right": ("segments with their own class", {"percent": True}),
    "changes": ("changes a song", {"decimals": 1}),
    "true_changes": ("true changes a song", {"decimals": 1}),
}


def song_means(shown: Iterable[SongSegments], missing: Iterable[str] = ()) -> pd.DataFrame:
    """Means of `song_table` over the songs of a corpus, as text with 95 % intervals over groups.

    `missing` has names of corpora and tasks of which nothing is stored; their rows say so.
    """
    text = {name: {"songs": NOT_RUN} for name in missing}
    for songs in shown:
        for system, table in song_table(songs).groupby("system", sort=False):
            means = {
                name: _mean_text(table[column].astype(float), table["group"], **form)
                for column, (name, form) in _MEASURES.items()
            }
            other = number((table["agree"] < 1).mean(), percent=True)
            row = {"songs": str(len(table)), **means, "songs with another class somewhere": other}
            text[f"{songs.name}: {system}"] = row
    return pd.DataFrame.from_dict(text, orient="index").fillna("–")


def _mean_text(values: pd.Series, groups: pd.Series, **form: Any) -> str:
    if values.isna().any() or groups.nunique() < 2:
        return number(values.mean(skipna=False), **form)
    return estimate(values.mean(), *group_bootstrap(values, groups), **form)


# Text


def about_song(songs: SongSegments, song: str) -> str:
    """A sentence on the answers of SSSL along a song, in Markdown."""
    rows = _of_proposed(songs).query("id == @song").iloc[0]
    corpus = corpus_title(songs.study.corpus_name, article=True)
    first, names = songs.of(song).iloc[0], TASKS[songs.task].classes
    agree, right = (number(rows[name], percent=True) for name in ("agree", "right"))
    text = (
        f"**{markdown(song)}** of {corpus}, a test song labelled "
        f"*{names[int(first['label']) - 1]}*; {PROPOSED} predicts "
        f"*{names[int(first['answer']) - 1]}* for the whole song. {agree} of its "
        f"{rows['segments']} segments have the class of the label; the most probable class "
        f"changes {_times(int(rows['changes']))}"
    )
    if songs.is_known:
        changes = _times(int(rows["true_changes"]))
        text += f", the true class {changes}; {right} of the segments are predicted correctly"
    return f"{text}."


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def trajectory_summary(shown: Iterable[SongSegments]) -> str:
    """Changes of the answers of SSSL along the songs, in Markdown: an item a corpus and task."""
    lines, constant = [], []
    for songs in shown:
        table = _of_proposed(songs)
        if table.empty:
            continue
        changes, true = (number(table[c].mean(), 1) for c in ("changes", "true_changes"))
        other = number((table["agree"] < 1).mean(), percent=True)
        emotion = f", the emotion itself {true} times" if songs.is_known else ""
        lines.append(
            f"- {songs.name}: in {other} of {len(table)} test songs some segments have another "
            f"class than the song's label; the most probable class changes {changes} times a song"
            f"{emotion}."
        )
        if songs.is_known and not table["true_changes"].any():
            constant.append(f"{changes} times a song ({songs.name})")
    if constant:
        lines.append(
            f"\nIn clips of constant emotion, the most probable class of {PROPOSED} changes "
            f"{listing(constant)}. So as many changes on recordings are no evidence of a change of "
            "emotion."
        )
    return "\n".join(lines)


# Figures and player


class ClassLine(NamedTuple):
    """How the probability of a class is drawn; dashes in points of matplotlib."""

    column: str
    name: str
    colour: str
    dashes: Any


_DASHES = ("-", (0, (3.5, 1.5)), (0, (1, 1)), (0, (4.5, 1, 1.5, 1)), (0, (6, 1.5)))
"""Of the classes: with the colours they tell the lines apart."""


def class_lines(task: str) -> list[ClassLine]:
    """Lines of a task: one a class, or that of "high" alone where there are two."""
    names = TASKS[task].classes
    if len(names) == 2:
        return [ClassLine("p_2", names[1], plots.BLUE, "-")]
    meanings, colours = list(names), list(plots.PALETTE)
    if task == "4Q":
        meanings = [f"{name}: {plots.QUADRANTS[name][0]}" for name in names]
        colours = [plots.QUADRANTS[name][1] for name in names]
    columns = [f"p_{k + 1}" for k in range(len(names))]
    return [ClassLine(*row) for row in zip(columns, meanings, colours, _DASHES, strict=False)]


def true_spans(clip: Clip, task: str) -> pd.DataFrame:
    """Stretches of a composed clip with one class: start, end (seconds), name and colour."""
    names, colours = TASKS[task].classes, [line.colour for line in class_lines(task)]
    colours = ["white"] * (len(names) - len(colours)) + colours
    rows: list[dict[str, Any]] = []
    for piece in clip.meta["segments"]:
        index = TASKS[task].class_of(Labels(quadrant=piece["quadrant"]))
        assert index is not None, "quadrants tell the class"
        name = names[index].split()[0]
        if rows and rows[-1]["name"] == name:
            rows[-1]["end"] = piece["end"]
        else:
            times = {"start": piece["start"], "end": piece["end"]}
            rows.append({**times, "name": name, "colour": colours[index]})
    return pd.DataFrame(rows)


def trajectory_figure(
    songs: SongSegments, song: str, systems: Sequence[str] | None = None
) -> Figure:
    """Probabilities of the segments of a song, a panel a system, of all or some (figure 2).

    Each point stands in the middle of its segment. Where the emotion is known, backgrounds have
    the name and colour of the true class, and dashed lines stand where it changes.
    """
    rows = songs.segments[songs.segments["id"] == song]
    rows = rows[rows["system"].isin(rows["system"] if systems is None else systems)]
    lines, clip = class_lines(songs.task), songs.clip(song)
    columns = {line.column: line.name for line in lines}
    rows = rows.assign(middle=(rows["start"] + rows["end"]) / 2).rename(columns=columns)
    spans = None if clip is None else true_spans(clip, songs.task)
    figure = plots.curves(
        rows.melt(["system", "middle"], list(columns.values()), "class", "probability"),
        "middle",
        "probability",
        row="system",
        hue="class",
        palette={line.name: line.colour for line in lines},
        dashes={line.name: line.dashes for line in lines},
        spans=spans,
        hlines={"_half": 0.5 if len(lines) == 1 else np.nan},
        xlabel="Time (s)",
    )
    for axis in figure.axes:
        axis.set(title=axis.get_ylabel(), ylabel="Probability")
        axis.set(ylim=(0, 1.14), xlim=(0, rows["end"].max()), yticks=[0, 0.25, 0.5, 0.75, 1])
        for start in [] if spans is None else spans["start"].iloc[1:]:
            axis.axvline(start, color="grey", lw=0.8, ls="--")
    classes = ", ".join(columns.values())
    return plots.describe(figure, f"Probability of {classes} in the segments of {song} over time")


def trajectory_player(songs: SongSegments, song: str) -> HTML:
    """A player whose cursor moves along the answers of SSSL for a clip of a composed corpus.

    One piece of HTML that needs nothing else: it works in a notebook and in the built book.
    """
    from IPython.display import HTML

    clip = songs.clip(song)
    assert clip is not None, "only composed clips are played"
    rows, lines = songs.of(song), class_lines(songs.task)
    figure = trajectory_figure(songs, song, [PROPOSED])
    image, box = _image(figure)
    end = float(figure.axes[0].get_xlim()[1])
    facts = {
        "end": end,
        "middle": ((rows["start"] + rows["end"]) / 2).round(3).tolist(),
        "names": [line.name.split(":")[0] for line in lines],
        "values": [rows[line.column].tolist() for line in lines],
        "spans": true_spans(clip, songs.task)[["start", "end", "name"]].to_numpy().tolist(),
    }
    sound = players.sound(waveform(clip, _RATE), _RATE, clip.id, seconds=end)
    digest = hashlib.sha256(f"{songs.name}/{song}/{PROPOSED}".encode()).hexdigest()
    template = resources.files("mer.papers.sun2024").joinpath("player.html")
    return HTML(
        Template(template.read_text(encoding="utf-8")).substitute(
            name=f"trajectory-{digest[:12]}",
            title=html.escape(f"{PROPOSED} on {song}: probability of each class over time"),
            image=image,
            facts=json.dumps(facts).replace("<", r"\u003c"),
            sound=sound.src_attr(),
            **{name: round(100 * value, 3) for name, value in box.items()},
        )
    )


def _image(figure: Figure) -> tuple[str, dict[str, float]]:
    """A figure as data URI, and the place of its panel as fractions of its size."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    data = base64.b64encode(buffer.getvalue()).decode()
    at = figure.axes[0].get_position()
    box = {"left": at.x0, "top": 1 - at.y1, "width": at.width, "height": at.height}
    return f"data:image/svg+xml;base64,{data}", box


def song_overview(shown: Iterable[SongSegments]) -> Figure:
    """All songs by the share of their segments to which SSSL gives their class, and by changes."""
    measures = {
        "agree": ("Segments with the song's class", "Share"),
        "changes": ("Changes of the most probable class", "Number in a song"),
    }
    rows = pd.concat([_of_proposed(songs).assign(place=songs.name) for songs in shown])
    frame = rows.melt(["place"], list(measures), "measure", "value")
    titles = {measure: title for measure, (title, _) in measures.items()}
    figure = plots.distribution(
        frame, "value", "place", mean=True, column="measure", names=titles, xlabel=""
    )
    for axis, (_, unit) in zip(figure.axes, measures.values(), strict=True):
        axis.set_xlabel(unit)
    return figure
