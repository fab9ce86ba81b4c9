"""How well wrong labels are found and segments are labelled: tables, claims and paragraphs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mer.evaluation.noise import fold_interval
from mer.evaluation.uncertainty import group_bootstrap
from mer.study.claims import FAILS, HOLDS, NOT_RUN, OPEN, Claim, Comparison, judge
from mer.study.label_noise import ABLATED, LEARNING, PLACE, SYSTEMS, TEST, TRAIN, Found, with_ends
from mer.study.sun2024 import INHERITANCE, PROPOSED, WITHOUT_KL

CLIP_LABEL = "Label of the clip"
"""Stands for giving every segment the label of its clip."""

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
"""Fields of `mer.evaluation.noise.NoiseDetection`, with names for reading."""

_CHANCE = "chance"
_KINDS = {
    "auc": ("AUC of", "The two-component mixture finds wrong labels better than chance"),
    "auc_within": (
        "AUC within clips of",
        "It also tells which segments of one clip have a wrong label, better than chance",
    ),
}
_SEGMENT_CLAIMS = (
    ("Self-learning labels the segments of new clips better than inheritance", INHERITANCE),
    ("The KL term helps to label the segments of new clips", WITHOUT_KL),
)
_TRAINING_CLAIM = (
    "What self-learning says of its training segments is better than the labels that they inherited"
)


def detection_text(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """`Found.detection` of one task for reading: a row a system and duration."""
    rows = table[table["task"] == task].to_dict("records")
    text = {
        swept(row["system"], row["duration"]): {
            name: _cell(*(row[c] for c in with_ends(measure)[: 1 if measure == "noisy" else 3]))
            for measure, name in MEASURES.items()
        }
        for row in rows
    }
    return pd.DataFrame.from_dict(text, orient="index", columns=list(MEASURES.values()))


def _cell(mean: float, low: float = np.nan, high: float = np.nan) -> str:
    if np.isnan(mean):
        return "–"
    return f"{mean:.2f}" + ("" if np.isnan(low) else f" [{low:.2f}, {high:.2f}]")


def swept(system: str, duration: float) -> str:
    """A system with segments of some seconds, for reading."""
    return f"{system}, {duration:g} s"


def epoch_curves(epochs: pd.DataFrame) -> pd.DataFrame:
    """Scores of each epoch over folds.

    Returns
    -------
    DataFrame
        One row a task, system, duration, epoch and measure: mean, low and high (95 %, Student).
    """
    keys = [*PLACE, "epoch"]
    rows = [
        (*place, measure, *fold_interval(frame[measure]))
        for place, frame in epochs.groupby(keys, sort=False)
        for measure in MEASURES
    ]
    return pd.DataFrame(rows, columns=[*keys, "measure", "mean", "low", "high"])


def segment_accuracy(clips: pd.DataFrame) -> pd.DataFrame:
    """Share of segments that get their own class.

    Returns
    -------
    DataFrame
        One row a part, task, system and duration, `CLIP_LABEL` among the systems: clips (number),
        mean over clips with low and high (95 % interval, resampling songs), and pure, the share
        among segments that are wholly of one class.
    """
    rows = []
    for place, frame in with_labels(clips).groupby(["part", *PLACE], sort=False):
        share = frame["right"] / frame["segments"]
        interval = group_bootstrap(share, frame["group"])
        pure = frame["right_pure"].sum() / max(frame["pure"].sum(), 1)
        rows.append((*place, len(frame), share.mean(), *interval, pure))
    columns = ["part", *PLACE, "clips", "mean", "low", "high", "pure"]
    return pd.DataFrame(rows, columns=columns)


def with_labels(clips: pd.DataFrame) -> pd.DataFrame:
    """Counts of `mer.study.label_noise.Found` with `CLIP_LABEL` as one more system."""
    first = clips.drop_duplicates(["task", "duration", "part", "id"])
    right = {"right": first["label_right"], "right_pure": first["label_right_pure"]}
    return pd.concat([clips, first.assign(system=CLIP_LABEL, **right)], ignore_index=True)


def accuracy_text(table: pd.DataFrame, task: str) -> pd.DataFrame:
    """Segment accuracy of one task for reading: a row a system and duration."""
    text: dict[str, dict[str, str]] = {}
    for row in table[table["task"] == task].to_dict("records"):
        cells = text.setdefault(swept(row["system"], row["duration"]), {})
        name = PARTS[row["part"]]
        cells[name] = _cell(row["mean"], row["low"], row["high"])
        cells[_of_one(name)] = _cell(row["pure"])
    columns = [column for name in PARTS.values() for column in (name, _of_one(name))]
    return pd.DataFrame.from_dict(text, orient="index", columns=columns)


def _of_one(name: str) -> str:
    return f"{name}, segments of one emotion"


def detection_claims(tasks: Iterable[str], durations: Iterable[float]) -> tuple[Claim, ...]:
    """Questions of ours on the mixture, as they were put before any run was looked at."""
    places = [(task, duration) for task in tasks for duration in durations]
    return tuple(
        Claim(
            text,
            None,
            tuple(Comparison(f"{name} {swept(PROPOSED, d)}", _CHANCE, task) for task, d in places),
        )
        for name, text in _KINDS.values()
    )


def judge_detection(table: pd.DataFrame, claims: Iterable[Claim]) -> pd.DataFrame:
    """What the divisions say to `detection_claims`, in the columns of `mer.study.claims.judge`.

    Parameters
    ----------
    table : DataFrame
        `mer.study.label_noise.Found.detection`.
    claims : iterable of Claim
    """
    estimates = {
        (f"{name} {swept(row['system'], row['duration'])}", row["task"]): (
            *(row[column] - 0.5 for column in with_ends(kind)),
            row["clips"],
        )
        for row in table.to_dict("records")
        for kind, (name, _) in _KINDS.items()
        if not np.isnan(row[f"{kind}_low"])
    }
    rows = [
        {"claim": claim.text, **_judged(comparison, estimates[comparison.better, comparison.task])}
        for claim in claims
        for comparison in claim.comparisons
        if (comparison.better, comparison.task) in estimates
    ]
    return pd.DataFrame(rows, columns=list(judge([], {}, {}).columns))


def _judged(comparison: Comparison, estimate: tuple[float, ...]) -> dict[str, Any]:
    difference, low, high, clips = estimate
    return {
        "place": DIVISIONS,
        "better": comparison.better,
        "worse": comparison.worse,
        "task": comparison.task,
        "answers": "the mixture",
        "difference": difference,
        "low": low,
        "high": high,
        "n": clips,
        "published": np.nan,
        "covers": None,
        "verdict": HOLDS if low > 0 else FAILS if high < 0 else OPEN,
    }


def segment_claims(
    tasks: Iterable[str], durations: Iterable[float]
) -> dict[str, tuple[Claim, ...]]:
    """Questions of ours on the answers for segments, by part, put before any run was looked at."""
    places = [(task, duration) for task in tasks for duration in durations]

    def claim(text: str, other: str) -> Claim:
        pairs = [
            (swept(PROPOSED, d), swept(other, d), task)
            for task, d in places
            if other != WITHOUT_KL or d == ABLATED
        ]
        return Claim(text, None, tuple(Comparison(*pair) for pair in pairs))

    return {
        TEST: tuple(claim(text, other) for text, other in _SEGMENT_CLAIMS),
        TRAIN: (claim(_TRAINING_CLAIM, CLIP_LABEL),),
    }


def judge_segments(clips: pd.DataFrame, claims: Mapping[str, Iterable[Claim]]) -> pd.DataFrame:
    """What the answers for segments say to `segment_claims`, from `mer.study.claims.judge`.

    The paired difference is that of the share of a clip's segments that get their own class.
    """
    counted = with_labels(clips)
    names = [swept(s, d) for s, d in zip(counted["system"], counted["duration"], strict=True)]
    shares = counted.assign(
        system=names, seed=0, correct=counted["right"] / counted["segments"].astype(float)
    )
    judged = [
        judge(own, {PARTS[part]: {"the network": shares[shares["part"] == part]}}, {})
        for part, own in claims.items()
    ]
    kept = [frame for frame in judged if len(frame)]
    return pd.concat(kept, ignore_index=True) if kept else judged[0]


def absent(found: Found, tasks: Iterable[str]) -> pd.DataFrame:
    """What is not stored, for reading: a row a task and system; empty if everything is."""
    there = set(zip(found.clips["task"], found.clips["system"], strict=True))
    rows = [f"{task}: {s}" for task in tasks for s in SYSTEMS if (task, s) not in there]
    return pd.DataFrame({"segments": NOT_RUN}, index=pd.Index(rows))


def findings(table: pd.DataFrame, accuracy: pd.DataFrame) -> str:
    """What the tables show of the proposed system, in Markdown: an item a task.

    Parameters
    ----------
    table, accuracy : DataFrame
        `mer.study.label_noise.Found.detection`, and from `segment_accuracy`.
    """
    lines = []
    for task, rows in table[table["system"] == LEARNING[0]].groupby("task", sort=False):
        wrong, called = (_range(rows[name]) for name in ("noisy", "flagged"))
        best = rows.nlargest(1, "auc").iloc[0]
        own = accuracy[(accuracy["task"] == task) & (accuracy["part"] == TEST)]
        told = [
            f"{system} {_range(cells['mean'])}"
            for system, cells in own.groupby("system", sort=False)
        ]
        lines.append(
            f"- {task}: the inherited label is wrong for {wrong} of the training segments; the "
            f"last division calls {called} noisy. Its AUC is largest with segments of "
            f"{best['duration']:g} s: {_cell(best['auc'], best['auc_low'], best['auc_high'])}. "
            f"Share of the segments of test clips that get their own class, over durations: "
            f"{'; '.join(told)}."
        )
    return "\n".join(lines)


def _range(values: pd.Series) -> str:
    """Smallest and largest of some shares, in percent."""
    low, high = f"{values.min():.0%}", f"{values.max():.0%}"
    return low if low == high else f"{low} to {high}"
