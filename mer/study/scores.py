"""Accuracy and F1 of classification, from stored predictions.

Folds of cross-validation are joined: a score is one over all test clips, and its mean one over
seeds. F1 is that of the high class for arousal and valence, and for several classes the mean over
classes (macro average).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from mer.evaluation.metrics import f1, macro_f1
from mer.evaluation.uncertainty import group_bootstrap, interval, resampled_f1
from mer.study.claims import NOT_RUN
from mer.study.tables import correctness, estimate_text, number_text

METRICS = ("accuracy", "F1")

_HIGH = {"A": 2, "V": 2}
"""Class whose F1 is reported, as predictions count it."""

_COLUMNS = (
    *("task", "system", "metric", "published", "mean", "sd", "low", "high"),
    *("n", "seeds", "audio"),
)

PublishedScores = Mapping[tuple[str, str, str], float]
"""Published score by (system, task, metric)."""


def metric_name(metric: str, task: str) -> str:
    """Metric for reading: says of which class F1 is, or how it is averaged."""
    if metric == "accuracy":
        return metric
    return "F1 (high)" if task in _HIGH else "F1 (macro)"


def score_table(
    predictions: pd.DataFrame, published: PublishedScores, *, n_resamples: int = 2000
) -> pd.DataFrame:
    """Accuracy and F1 of every system and task.

    Parameters
    ----------
    predictions : DataFrame
        From `mer.study.session.Session.run`, of one split.
    published : mapping
    n_resamples : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        One row a task, system and metric: published (missing where there is none); mean and sd
        over seeds; low and high (95 % interval of that mean, resampling groups); n (clips),
        seeds, audio.
    """
    rows = []
    for (task, system), frame in predictions.groupby(["task", "system"], sort=False):
        shared = {"task": task, "system": system}
        facts = {"seeds": frame["seed"].nunique(), "audio": frame["audio"].iloc[0]}
        for metric in METRICS:
            by_seed, (low, high) = _scored(frame, str(system), str(task), metric, n_resamples)
            rows.append(
                {
                    **shared,
                    "metric": metric,
                    "published": published.get((str(system), str(task), metric), np.nan),
                    "mean": by_seed.mean(),
                    "sd": by_seed.std(ddof=1) if len(by_seed) > 1 else np.nan,
                    "low": low,
                    "high": high,
                    "n": frame["id"].nunique(),
                    **facts,
                }
            )
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _scored(
    frame: pd.DataFrame, system: str, task: str, metric: str, n_resamples: int
) -> tuple[np.ndarray, tuple[float, float]]:
    """Score of each seed, and the interval of their mean."""
    correct = correctness(frame, system, task)
    groups = correct.index.get_level_values("group")
    if metric == "accuracy":
        values = correct.to_numpy().T
        return values.mean(axis=1), group_bootstrap(values, groups, n_resamples=n_resamples)
    positive = _HIGH.get(task)
    points, resampled = [], []
    for _, own in frame.sort_values(["id", "group"]).groupby("seed"):
        target, answer = own["target"].to_numpy(), own["answer"].to_numpy()
        point = macro_f1(target, answer) if positive is None else f1(target, answer, positive)
        points.append(point)
        resampled.append(
            resampled_f1(target, answer, groups, positive=positive, n_resamples=n_resamples)
        )
    return np.asarray(points), interval(np.mean(resampled, axis=0))


def score_text(
    table: pd.DataFrame, task: str, systems: Iterable[str], published: PublishedScores
) -> pd.DataFrame:
    """Scores of one task for reading: one row a system, those that were not run included.

    Parameters
    ----------
    table : DataFrame
        From `score_table`.
    task : str
    systems : iterable of str
        Rows, in order.
    published : mapping

    Returns
    -------
    DataFrame
        Text: for each metric a published column, where anything is published, and one of ours
        (mean ± SD over seeds, where there are several, and 95 % interval).
    """
    chosen = table[table["task"] == task]
    result = pd.DataFrame(index=pd.Index(list(systems)))
    for metric in METRICS:
        rows = chosen[chosen["metric"] == metric].set_index("system").reindex(result.index)
        name = metric_name(metric, task)
        known = [published.get((system, task, metric), np.nan) for system in result.index]
        if not np.isnan(known).all():
            result[f"{name}, published"] = [number_text(value) for value in known]
        text = [estimate_text(row) for _, row in rows.iterrows()]
        result[name] = [
            NOT_RUN if np.isnan(m) else t for m, t in zip(rows["mean"], text, strict=True)
        ]
    return result
