"""Whether self-learning finds wrong labels, on clips whose emotion changes at known times.

In the composed corpus with trajectories the emotion of every segment is known, and the label that
it inherits from its clip is wrong for some. Systems of segments are trained there as everywhere,
with the labels of clips only, and then compared with the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mer.clips import Clip, Corpus, Fold, Labels
from mer.corpora.composed import quadrant_shares
from mer.errors import ParameterError
from mer.evaluation.labels import (
    NoiseDetection,
    detection_by_groups,
    fold_interval,
    noise_detection,
)
from mer.evaluation.resampling import Difference, group_bootstrap
from mer.papers.sun2024.systems import FittedSegments
from mer.papers.sun2024.tables import (
    DURATIONS,
    INHERITANCE,
    NETWORKS,
    PROPOSED,
    WITHOUT_KL,
    with_duration,
)
from mer.study import plots
from mer.study.claims import COLUMNS, NOT_RUN, Claim, Comparison, Judged, judge
from mer.study.specs import RunSpec
from mer.study.study import Study
from mer.study.text import estimate, estimate_table, listing, number
from mer.tasks import TASKS as TASKS_BY_NAME
from mer.tasks import Task

CORPUS = "composed_trajectories"
LEARNING = (PROPOSED, WITHOUT_KL)
SYSTEMS = (*LEARNING, INHERITANCE)
ABLATED = 3
"""Duration of segments, in seconds, for which the KL term is left out, too."""

TASKS = ("4Q", "A", "V")
"""Those that the corpus tells for every segment."""

CLIP_LABEL = "Label of the clip"
"""Stands for giving every segment the label of its clip."""

TRAIN, TEST = "train", "test"
PARTS = {TEST: "test clips", TRAIN: "training clips"}
DIVISIONS = "training segments of the last epoch"

MEASURES = {
    "noisy": "wrong labels",
    "flagged": "called noisy",
    "precision": "precision",
    "recall": "recall",
    "auc": "AUC",
    "auc_within": "AUC within clips",
}
"""Fields of `mer.evaluation.labels.NoiseDetection`, with names for reading."""

REVISION = 1
"""Of the stored tables."""

_WHOLE = 1 - 1e-6
_KEYS = ["task", "system", "duration"]
_CLIP = [*_KEYS, "part", "id", "group"]
_PURE = ", segments of one emotion"
_COUNTS = ["models", "segments", "right", "label_right", "pure", "right_pure", "label_right_pure"]


def with_ends(name: str) -> tuple[str, str, str]:
    """Columns of an estimate and the ends of its interval."""
    return name, f"{name}_low", f"{name}_high"


_COLUMNS = {
    "epochs": [*_KEYS, "fold", "epoch", *NoiseDetection._fields],
    "detection": [
        *(*_KEYS, "folds", "clips"),
        *(column for name in MEASURES for column in with_ends(name)),
    ],
    "clips": [*_CLIP, *_COUNTS],
    "division": [*_KEYS, "fold", "id", "group", "p_clean", "noisy"],
}


class NoiseTables(NamedTuple):
    """Divisions and answers of all systems beside the truth, by task, system and duration (s).

    Attributes
    ----------
    epochs : DataFrame
        One row a model and epoch after the warm-up: fold, epoch (from 1) and the fields of
        `mer.evaluation.labels.NoiseDetection`.
    detection : DataFrame
        How well the divisions of the last epoch find wrong labels: folds (number), clips, and for
        each field of `NoiseDetection` but n its mean over folds with a 95 % bootstrap interval
        over songs (auc, auc_low, auc_high, ...).
    clips : DataFrame
        One row a clip and its part in training: part, id, group, models (number of them), and sums
        over these models: segments, right (answered with their own class), label_right (whose
        class is that of the clip), pure (wholly of one class), right_pure and label_right_pure.
    """

    epochs: pd.DataFrame
    detection: pd.DataFrame
    clips: pd.DataFrame


# Truth


def class_shares(clip: Clip, times: np.ndarray, task: Task) -> np.ndarray:
    """How much of each piece of a composed clip is of each class, shape (n, n_classes).

    Pieces have begin and end in seconds, shape (n, 2). Errors are those of
    `mer.corpora.composed.quadrant_shares`.

    Raises
    ------
    ParameterError
        If quadrants do not tell the classes of the task.
    """
    classes = [task.class_of(Labels(quadrant=quadrant)) for quadrant in (1, 2, 3, 4)]
    if None in classes:
        raise ParameterError(
            f"quadrants do not tell the classes of task {task.name!r}; take '4Q', 'A' or 'V'"
        )
    return quadrant_shares(clip, times) @ np.eye(len(task.classes))[np.asarray(classes, int)]


def with_truth(segments: pd.DataFrame, corpus: Corpus, task_name: str) -> pd.DataFrame:
    """Segments of composed clips with the classes that they and their clips have.

    `segments` has columns id, start and end in seconds; those of a clip stand together. Further
    columns are group; label (class of the clip, counted from 1); true (the class that fills most
    of the segment; of equals, the first) and pure (1 where it fills all of it, else 0).
    """
    task = TASKS_BY_NAME[task_name]
    clips = {clip.id: clip for clip in corpus}
    parts = []
    for clip_id, rows in segments.groupby("id", sort=False):
        clip = clips[str(clip_id)]
        shares = class_shares(clip, rows[["start", "end"]].to_numpy(), task)
        label = int(task.targets([clip])[0]) + 1
        pure = (shares.max(axis=1) > _WHOLE).astype(int)
        true = shares.argmax(axis=1) + 1
        parts.append(rows.assign(group=clip.group, label=label, true=true, pure=pure))
    return pd.concat(parts, ignore_index=True)


def most_probable(segments: pd.DataFrame) -> np.ndarray:
    """Class of the largest probability of each segment, counted from 1, shape (n,)."""
    found: np.ndarray = segments.filter(regex="^p_[0-9]").to_numpy().argmax(axis=1) + 1
    return found


def model_noise(
    fitted: FittedSegments, spec: RunSpec, corpus: Corpus, fold: Fold
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Epochs and clips of one fitted system as in `NoiseTables`, and its last division.

    The division has a row a segment: task, system, duration, fold, id and group of its clip,
    p_clean, noisy (1 where its label is wrong, else 0).
    """
    place = {"task": spec.task, "system": spec.system, "duration": spec.parameters["duration"]}
    clips = [
        _clip_counts(fitted, corpus.select(ids), spec.task).assign(part=part, **place)
        for part, ids in ((TRAIN, fold.train), (TEST, fold.test))
    ]
    epochs, division = (
        frame.assign(**place, fold=spec.fold) for frame in _divisions(fitted, spec, corpus)
    )
    return (
        epochs.reindex(columns=_COLUMNS["epochs"]),
        pd.concat(clips, ignore_index=True)[_COLUMNS["clips"]],
        division.reindex(columns=_COLUMNS["division"]),
    )


def _clip_counts(fitted: FittedSegments, corpus: Corpus, task: str) -> pd.DataFrame:
    segments = with_truth(fitted.segment_probabilities(list(corpus)), corpus, task)
    right = most_probable(segments) == segments["true"]
    label_right, pure = segments["label"] == segments["true"], segments["pure"] > 0
    counts = {"segments": True, "right": right, "label_right": label_right, "pure": pure}
    counts |= {"right_pure": right & pure, "label_right_pure": label_right & pure}
    counted = segments[["id", "group"]].assign(**counts)
    return counted.groupby(["id", "group"], sort=False).sum().reset_index().assign(models=1)


def _divisions(
    fitted: FittedSegments, spec: RunSpec, corpus: Corpus
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Epochs and last division of a system; without rows if it divides nothing."""
    partitions = fitted.partitions()
    if partitions.empty:
        return pd.DataFrame(), pd.DataFrame()
    known = with_truth(fitted.training_segments, corpus, spec.task)
    known["noisy"] = (known["true"] != known["label"]).astype(int)
    keys = ["id", "segment"]
    divided = partitions.merge(known[[*keys, "group", "noisy"]], on=keys)
    rows = [
        {"epoch": int(str(epoch)) + 1, **_detected(frame, fitted.system.threshold)}
        for epoch, frame in divided.groupby("epoch")
    ]
    return pd.DataFrame(rows), divided[divided["epoch"] == divided["epoch"].max()]


def _detected(division: pd.DataFrame, threshold: float) -> dict[str, Any]:
    columns = (division[name] for name in ("p_clean", "noisy", "id"))
    return noise_detection(*columns, threshold=threshold)._asdict()


# Runs


def noise_study(study: Study) -> Study:
    """The study on the one corpus that tells the truth, whatever the parameter `corpus`.

    Raises
    ------
    ParameterError
        If all tasks are others than those that this corpus tells for every segment.
    """
    wanted = study.settings.tasks
    if wanted and not set(wanted) & set(TASKS):
        raise ParameterError(
            f"tasks is {wanted}; of segments of corpus '{CORPUS}' only {', '.join(TASKS)} "
            "are known: expected one of these"
        )
    return study.on(CORPUS, tasks=known_tasks(study))


def known_tasks(study: Study) -> list[str]:
    """Tasks of pages on composed corpora: those that the parameters name, if segments tell them.

    By default that is arousal in all profiles but `paper`: each further task trains as much again.
    """
    default = study.profile.of_page("sun2024_noise").get("tasks", ["A"])
    return [task for task in study.settings.tasks or () if task in TASKS] or default


def noise_specs(study: Study) -> list[RunSpec]:
    """All runs of the page: systems, tasks, durations of segments and folds.

    The ablation is that of the paper, with segments of `ABLATED` seconds only.
    """
    page = study.profile.of_page("sun2024_noise")
    return [
        spec
        for duration in page.get("durations", DURATIONS)
        for system in SYSTEMS
        if system != WITHOUT_KL or duration == ABLATED
        for spec in study.specs(
            {system: NETWORKS[system]},
            split="cv",
            folds=page.get("folds"),
            changes={**training_changes(study, system), "duration": float(duration)},
        )
    ]


def training_changes(study: Study, system: str) -> dict[str, Any]:
    """Hyper-parameters that differ on composed corpora, which have fewer clips than recordings.

    More segments of each clip make up for that. In the profile `quick` the warm-up is longer: a
    mixture that divides the losses of an untrained network divides the classes.
    """
    page = study.profile.of_page("sun2024_noise")
    learns = system in LEARNING and "warm_up" in page
    return {**page.get("training", {}), **({"warm_up": page["warm_up"]} if learns else {})}


def noise_tables(study: Study) -> NoiseTables:
    """Tables of all systems on a `noise_study`, from the store where they are there.

    Where nothing is to be computed, what is not stored is left out.
    """
    groups: dict[tuple[str, str], list[RunSpec]] = {}
    for spec in noise_specs(study) if study.is_known else []:
        groups.setdefault((spec.task, spec.system), []).append(spec)
    tables: dict[str, list[pd.DataFrame]] = {kind: [] for kind in NoiseTables._fields}
    for (task, system), specs in groups.items():
        computed = cache(partial(_compute, study, specs))
        key = {"runs": [spec.key for spec in specs], "revision": REVISION}
        for kind in NoiseTables._fields if system in LEARNING else ("clips",):
            name = f"label noise {kind} {task} {system} {study.corpus_name}"
            compute = partial(_of_kind, kind, computed)
            with study.skipping_missing():
                tables[kind].append(study.table(name, key, compute))
    return NoiseTables(
        *(
            pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=_COLUMNS[kind])
            for kind, frames in tables.items()
        )
    )


def _of_kind(kind: str, computed: Callable[[], NoiseTables]) -> pd.DataFrame:
    table: pd.DataFrame = getattr(computed(), kind)
    return table


def _compute(study: Study, specs: Sequence[RunSpec]) -> NoiseTables:
    found = zip(*study.inspect(specs, model_noise), strict=True)
    epochs, clips, division = (pd.concat(frames, ignore_index=True) for frames in found)
    summed = clips.groupby(_CLIP, sort=False)[_COUNTS].sum().reset_index()
    return NoiseTables(epochs, detection(division), summed)


def tables_text(tables: NoiseTables, tasks: Iterable[str]) -> str:
    """How much the tables hold and what is not stored, in Markdown."""
    tasks, clips, folds = list(tasks), tables.clips["id"].nunique(), tables.epochs["fold"].nunique()
    there = set(zip(tables.clips["task"], tables.clips["system"], strict=True))
    missing = [f"{s}, {task}" for task in tasks for s in SYSTEMS if (task, s) not in there]
    lines = [f"- {name}: **{NOT_RUN}**." for name in missing]
    return "\n".join([f"Task {listing(tasks)}; {clips} clips; {folds} folds.\n", *lines])


# Tables


def detection(divisions: pd.DataFrame) -> pd.DataFrame:
    """`NoiseTables.detection` of the divisions of several models, see `model_noise`."""
    rows = []
    for place, division in divisions.groupby(_KEYS, sort=False):
        columns = (division[name] for name in ("p_clean", "noisy", "id", "group", "fold"))
        scores = [value for found in detection_by_groups(*columns).values() for value in found]
        rows.append((*place, division["fold"].nunique(), division["id"].nunique(), *scores))
    return pd.DataFrame(rows, columns=_COLUMNS["detection"])


def detection_text(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """`NoiseTables.detection` of one task for reading: a row a system and duration."""
    rows = _named(table[table["task"] == task])
    cells = {
        name: [estimate(*ends) for ends in rows[[*with_ends(measure)]].to_numpy()]
        for measure, name in MEASURES.items()
    }
    # The share of wrong labels is known, not estimated
    cells[MEASURES["noisy"]] = list(map(number, rows["noisy"]))
    return pd.DataFrame(cells, index=pd.Index(rows["row"]))


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """A table with the name of system and duration in a column row."""
    pairs = zip(table["system"], table["duration"], strict=True)
    return table.assign(row=[with_duration(*pair) for pair in pairs])


def epoch_curves(epochs: pd.DataFrame) -> pd.DataFrame:
    """Mean of each measure over folds, by epoch: task, system, duration, epoch, measure, mean, low,
    high (95 %, Student).
    """
    keys = [*_KEYS, "epoch"]
    rows = [
        (*place, measure, *fold_interval(frame[measure]))
        for place, frame in epochs.groupby(keys, sort=False)
        for measure in MEASURES
    ]
    return pd.DataFrame(rows, columns=[*keys, "measure", "mean", "low", "high"])


def segment_accuracy(clips: pd.DataFrame) -> pd.DataFrame:
    """Share of segments that get their own class, by part, task, system and duration.

    `CLIP_LABEL` is among the systems. Further columns are clips (number), mean over clips with low
    and high (95 % bootstrap interval over songs), and pure, the share among segments that are
    wholly of one class.
    """
    rows = []
    for place, frame in with_labels(clips).groupby(["part", *_KEYS], sort=False):
        share = frame["right"] / frame["segments"]
        interval = group_bootstrap(share, frame["group"])
        pure = frame["right_pure"].sum() / max(frame["pure"].sum(), 1)
        rows.append((*place, len(frame), share.mean(), *interval, pure))
    columns = ["part", *_KEYS, "clips", "mean", "low", "high", "pure"]
    return pd.DataFrame(rows, columns=columns)


def with_labels(clips: pd.DataFrame) -> pd.DataFrame:
    """`NoiseTables.clips` with `CLIP_LABEL` as one more system."""
    first = clips.drop_duplicates(["task", "duration", "part", "id"])
    right = {"right": first["label_right"], "right_pure": first["label_right_pure"]}
    return pd.concat([clips, first.assign(system=CLIP_LABEL, **right)], ignore_index=True)


def accuracy_text(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """Segment accuracy of one task for reading: a row a system and duration."""
    rows = _named(table[table["task"] == task]).replace({"part": PARTS})
    pure = rows.assign(part=rows["part"] + _PURE, mean=rows["pure"], low=np.nan)
    columns = [name + kind for name in PARTS.values() for kind in ("", _PURE)]
    return estimate_table(pd.concat([rows, pure]), "row", "part")[columns]


# Claims

_CHANCE = "chance"
_DETECTION_CLAIMS = {
    "auc": ("AUC of", "The two-component mixture finds wrong labels better than chance"),
    "auc_within": (
        "AUC within clips of",
        "Within one clip, the mixture also finds segments with a wrong label better than chance",
    ),
}
_SEGMENT_CLAIMS = {
    TEST: {
        "Self-learning labels the segments of new clips better than inheritance": INHERITANCE,
        "The KL term improves the labels of segments of new clips": WITHOUT_KL,
    },
    TRAIN: {
        "For training segments, the predictions of self-learning are better than the inherited "
        "labels": CLIP_LABEL,
    },
}
"""By part: questions, and what self-learning is compared with."""


def detection_claims(tasks: Iterable[str], durations: Iterable[float]) -> tuple[Claim, ...]:
    """Questions of ours on the mixture, as they were put before any run was tested."""
    places = [(task, with_duration(PROPOSED, d)) for task in tasks for d in durations]
    return tuple(
        Claim(text, None, tuple(Comparison(f"{name} {row}", _CHANCE, task) for task, row in places))
        for name, text in _DETECTION_CLAIMS.values()
    )


def judge_detection(table: pd.DataFrame, claims: Iterable[Claim]) -> pd.DataFrame:
    """Differences of `NoiseTables.detection` behind `detection_claims`, as `judge` gives them."""
    rows = []
    for claim, (column, (name, _)) in zip(claims, _DETECTION_CLAIMS.items(), strict=True):
        known = _named(table.dropna(subset=f"{column}_low")).to_dict("records")
        found = {(f"{name} {row['row']}", row["task"]): row for row in known}
        for comparison in claim.comparisons:
            if row := found.get((comparison.better, comparison.task)):
                above = Difference(*(row[end] - 0.5 for end in with_ends(column)))
                place = (claim.text, DIVISIONS, above, row["clips"])
                rows.append(comparison.judged(*place, by="the mixture"))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def segment_claims(
    tasks: Iterable[str], durations: Iterable[float]
) -> dict[str, tuple[Claim, ...]]:
    """Questions of ours on the answers for segments, by part, put before any run was tested."""
    places = [(task, duration) for task in tasks for duration in durations]

    def comparisons(other: str) -> tuple[Comparison, ...]:
        return tuple(
            Comparison(with_duration(PROPOSED, d), with_duration(other, d), task)
            for task, d in places
            if other != WITHOUT_KL or d == ABLATED
        )

    return {
        part: tuple(Claim(text, None, comparisons(other)) for text, other in questions.items())
        for part, questions in _SEGMENT_CLAIMS.items()
    }


def judge_segments(clips: pd.DataFrame, claims: Mapping[str, Iterable[Claim]]) -> pd.DataFrame:
    """Differences of `NoiseTables.clips` behind `segment_claims`, as `judge` gives them.

    They are paired differences of the share of a clip's segments that get their own class.
    """
    counted = _named(with_labels(clips))
    correct = counted["right"] / counted["segments"].astype(float)
    shares = counted.assign(system=counted["row"], seed=0, correct=correct)
    rows = [
        row
        for part, own in claims.items()
        for answers in [{"the network": shares[shares["part"] == part]}]
        for row in judge(own, {PARTS[part]: answers}, {}).to_dict("records")
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def judged_questions(study: Study, tables: NoiseTables) -> list[Judged]:
    """`detection_claims`, then `segment_claims` of each part; composed music has no grade."""
    tasks, durations = study.tasks(TASKS), sorted(tables.clips["duration"].unique())
    claims, asked = detection_claims(tasks, durations), segment_claims(tasks, durations)
    found, corpus = judge_detection(tables.detection, claims), study.corpus_name
    answered = judge_segments(tables.clips, asked)
    return [
        Judged(claims, found, corpus, {DIVISIONS: {}}),
        *(Judged(own, answered, corpus, {PARTS[part]: {}}) for part, own in asked.items()),
    ]


# Text and figures


def noise_summary(table: pd.DataFrame, accuracy: pd.DataFrame) -> str:
    """`NoiseTables.detection` and `segment_accuracy` in Markdown: an item a task."""
    lines = []
    for task, rows in table[table["system"] == PROPOSED].groupby("task", sort=False):
        wrong, called = (_range(rows[name]) for name in ("noisy", "flagged"))
        best = rows.nlargest(1, "auc").iloc[0]
        own = accuracy[(accuracy["task"] == task) & (accuracy["part"] == TEST)]
        shares = [f"{s} {_range(cells['mean'])}" for s, cells in own.groupby("system", sort=False)]
        lines.append(
            f"- {task}: the inherited label is wrong for {wrong} of the training segments; the "
            f"last partition marks {called} as noisy. Its AUC is largest with segments of "
            f"{best['duration']:g} s: {estimate(*(best[c] for c in with_ends('auc')))}. "
            "Share of test segments whose own class is predicted, over durations: "
            f"{'; '.join(shares)}."
        )
    return "\n".join(lines)


def _range(values: pd.Series) -> str:
    """Smallest and largest of some shares, in percent."""
    low, high = (number(value, percent=True) for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


_DASHES = {"auc_within": "--", "precision": "-.", "recall": ":", "noisy": "--"}
_MARKERS = {PROPOSED: "o", WITHOUT_KL: "s", INHERITANCE: "^", CLIP_LABEL: "D"}


def detection_figure(curves: pd.DataFrame, task: str) -> Figure:
    """How well SSSL finds wrong labels in each epoch, a column a duration; from `epoch_curves`.

    Above, detection, with a line at an AUC by chance; below, the share of the segments that is
    called noisy beside the share whose label is wrong, which is also the precision by chance.
    """
    rows = curves[(curves["task"] == task) & (curves["system"] == PROPOSED)]
    shares = rows["measure"].isin(["noisy", "flagged"])
    rows = rows.assign(panel=np.where(shares, "Share of segments", "Detection"))
    figure = plots.curves(
        rows.sort_values("panel", kind="stable"),
        "epoch",
        ends=("low", "high"),
        row="panel",
        column="duration",
        hue="measure",
        dashes=_DASHES,
        names={**MEASURES, **{d: f"{d:g} s" for d in rows["duration"].unique()}},
        hlines={"_chance": {"Detection": 0.5}},
        xlabel="Epoch",
    )
    for axis in figure.axes:
        axis.set_ylim(0, 1.02)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    return figure


def accuracy_figure(table: pd.DataFrame, task: str) -> Figure:
    """Share of segments that get their own class, by duration; from `segment_accuracy`.

    A panel a part of the corpus, with 95 % bootstrap intervals over songs.
    """
    rows = table[table["task"] == task]
    rows = pd.concat([rows[rows["part"] == part] for part in PARTS])
    return plots.curves(
        rows,
        "duration",
        ends=("low", "high"),
        errors="bars",
        shift=0.04,
        column="part",
        hue="system",
        markers=_MARKERS,
        dashes={CLIP_LABEL: "--"},
        names={part: f"Segments of {name}" for part, name in PARTS.items()},
        xlabel="Duration of a segment (s)",
        ylabel="Own class predicted",
        height=2.9,
    )
