"""Scores of systems from stored predictions, in one long frame for every kind of task.

Accuracy and F1 join the folds of cross-validation: a score is one over all test clips, and its
mean one over seeds. RMSE and R2 are means over models (a fold and a seed), each on its own test
clips, as in the papers. Intervals draw whole groups (songs, or artists where they are known).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mer.errors import ParameterError
from mer.evaluation.metrics import HIGH_QUADRANTS, f1, macro_f1, r2, rmse
from mer.evaluation.resampling import (
    Difference,
    difference,
    group_bootstrap,
    interval,
    resampled_f1,
    resampled_regression,
)

Published = Mapping[tuple[str, str, str], float]
"""Published score by row, task (or dimension of a regression) and metric."""

DIMENSIONS = ("valence", "arousal")
LOWER_IS_BETTER = ("rmse",)
COLUMNS = (
    *("task", "system", "metric", "published", "mean", "sd", "low", "high"),
    *("n", "seeds", "audio", "difference", "covers"),
)
OWN_MODEL, HEAD, IMPLIED = "own model", "head", "4Q answer"
"""Kinds of prediction of a binary task: its own model, a head, or implied by four quadrants."""

_HIGH = {"A": 2, "V": 2}
"""Class whose F1 is reported, as predictions count it."""

_REGRESSION = {"rmse": rmse, "r2": r2}


def metric_name(metric: str, task: str) -> str:
    """Metric for reading, with the class or the average of F1."""
    names = {"accuracy": "Accuracy", "rmse": f"RMSE {task}", "r2": f"R2 {task}"}
    return names.get(metric) or ("F1 (high)" if task in _HIGH else "F1 (macro)")


def scores(
    predictions: pd.DataFrame,
    published: Published | None = None,
    *,
    metrics: Sequence[str] = ("accuracy",),
    n_resamples: int = 2000,
) -> pd.DataFrame:
    """Scores of every row and task, with the published ones beside them.

    Parameters
    ----------
    predictions : DataFrame
        From `mer.study.study.Results`, of one split; of a regression the metrics are "rmse" and
        "r2", whatever is asked.
    published : mapping, optional
    metrics : sequence of {"accuracy", "F1"}
    n_resamples : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: mean and SD over seeds, or models (SD is missing where there is one);
        low and high (95 % interval of that mean); n (test clips), seeds (or models), audio,
        difference (mean - published), covers (whether the interval holds the published value;
        missing where there is none).
    """
    rows = []
    regression = "target_valence" in predictions and "target" not in predictions
    for (task, system), frame in predictions.groupby(["task", "system"], sort=False):
        facts = {"n": frame["id"].nunique(), "audio": frame["audio"].iloc[0]}
        scored = (
            _regression_scores(frame, n_resamples)
            if regression
            else _class_scores(frame, str(task), metrics, n_resamples)
        )
        for of, metric, values, (low, high) in scored:
            value = (published or {}).get((str(system), of, metric), np.nan)
            mean = float(np.mean(values))
            sd = np.std(values, ddof=1) if len(values) > 1 else np.nan
            covers = None if np.isnan(value) else bool(low <= value <= high)
            rows.append(
                {
                    **{"task": of, "system": system, "metric": metric, "published": value},
                    **{"mean": mean, "sd": sd, "low": low, "high": high, **facts},
                    **{"seeds": len(values), "difference": mean - value, "covers": covers},
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


_Scored = Iterator[tuple[str, str, np.ndarray, tuple[float, float]]]
"""Task (or dimension), metric, score of each seed (or model), and the interval of their mean."""


def _class_scores(
    frame: pd.DataFrame, task: str, metrics: Sequence[str], n_resamples: int
) -> _Scored:
    table = correctness(frame)
    groups, correct = table.index.get_level_values("group"), table.to_numpy().T
    if "accuracy" in metrics:
        ends = group_bootstrap(correct, groups, n_resamples=n_resamples)
        yield task, "accuracy", correct.mean(axis=1), ends
    if "F1" in metrics:
        positive = _HIGH.get(task)
        points, resampled = [], []
        for _, own in frame.sort_values(["id", "group"]).groupby("seed"):
            pair = own["target"].to_numpy(), own["answer"].to_numpy()
            points.append(macro_f1(*pair) if positive is None else f1(*pair, positive))
            options: dict[str, Any] = {"positive": positive, "n_resamples": n_resamples}
            resampled.append(resampled_f1(*pair, groups, **options))
        yield task, "F1", np.asarray(points), interval(np.mean(resampled, axis=0))


def _regression_scores(frame: pd.DataFrame, n_resamples: int) -> _Scored:
    for dimension in DIMENSIONS:
        resampled = resampled_scores(frame, dimension, n_resamples=n_resamples)
        for metric in _REGRESSION:
            values = model_scores(frame, metric, dimension)
            yield dimension, metric, values, interval(resampled[metric])


def model_scores(frame: pd.DataFrame, metric: str, dimension: str) -> np.ndarray:
    """Score of every model of one system on its test clips, shape (n_models,)."""
    score = _REGRESSION[metric]
    models = frame.groupby(["fold", "seed"], sort=False)
    return np.asarray([score(m[f"target_{dimension}"], m[dimension]) for _, m in models])


class Score(NamedTuple):
    """Mean over the models of a system, and in bootstrap resamples, shape (n_resamples,)."""

    mean: float
    resampled: np.ndarray

    def __sub__(self, other: Score) -> Difference:
        """Difference from a system that was tested on the same groups."""
        return Difference(self.mean - other.mean, *interval(self.resampled - other.resampled))


def regression_score(
    frame: pd.DataFrame, metric: str, dimension: str, *, n_resamples: int = 2000
) -> Score:
    """RMSE or R2 of one system."""
    mean = float(model_scores(frame, metric, dimension).mean())
    return Score(mean, resampled_scores(frame, dimension, n_resamples=n_resamples)[metric])


def resampled_scores(
    frame: pd.DataFrame, dimension: str, *, n_resamples: int = 2000
) -> dict[str, np.ndarray]:
    """RMSE and R2 of one system, means over models, in bootstrap resamples of groups."""
    return resampled_regression(
        frame[f"target_{dimension}"],
        frame[dimension],
        frame["group"],
        frame["seed"] * (frame["fold"].max() + 1) + frame["fold"],
        n_resamples=n_resamples,
    )


def correctness(predictions: pd.DataFrame) -> pd.DataFrame:
    """Whether each clip was classified correctly by one system: a row a clip, a column a seed.

    The index is (id, group); folds of cross-validation are joined.

    Raises
    ------
    ParameterError
        If there are none, or a clip occurs more than once in a seed or not in all seeds.
    """
    if predictions.empty:
        raise ParameterError("there are no predictions of this system and task")
    name = f"{predictions['system'].iloc[0]!r}, task {predictions['task'].iloc[0]!r}"
    if predictions.duplicated(["id", "seed"]).any():
        raise ParameterError(f"{name}: a clip was predicted twice by one seed")
    indexed = predictions.set_index(["id", "group", "seed"])["correct"]
    table = indexed.unstack()  # noqa: PD010 - a pivot table takes ten times as long
    if table.isna().any(axis=None):
        raise ParameterError(f"{name}: seeds were tested on different clips")
    return table.astype(float)


def paired_difference(
    first: pd.DataFrame, second: pd.DataFrame, metric: str = "accuracy", task: str = ""
) -> Difference:
    """Difference of two systems on the same clips, with a 95 % interval.

    For accuracy a resample draws songs, each with all its clips and for both systems, and training
    seeds, for each system by itself: a network that is trained again predicts differently, which
    songs alone do not show. From few seeds their spread comes out too small, from one not at all.
    For RMSE and R2 groups are drawn for both systems and all their models together.

    `task` is the dimension of RMSE and R2.

    Raises
    ------
    ParameterError
        If the systems were tested on different clips or folds.
    """
    if metric == "accuracy":
        tables = [correctness(frame) for frame in (first, second)]
        if not tables[0].index.equals(tables[1].index):
            raise _tested_apart(first, second)
        groups = pd.factorize(tables[0].index.get_level_values("group"))[0]
        return difference(tables[0].to_numpy(), tables[1].to_numpy(), groups)
    clips = [set(map(tuple, frame[["fold", "id"]].to_numpy())) for frame in (first, second)]
    if clips[0] != clips[1]:
        raise _tested_apart(first, second)
    return regression_score(first, metric, task) - regression_score(second, metric, task)


def _tested_apart(first: pd.DataFrame, second: pd.DataFrame) -> ParameterError:
    names = f"{first['system'].iloc[0]!r} and {second['system'].iloc[0]!r}"
    return ParameterError(f"{names} were tested on different clips or folds")


def implied_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Arousal and valence implied by four-quadrant answers, as predictions of these tasks.

    Q1 and Q2 are of high arousal, Q1 and Q4 of high valence (Russell's circumplex). The quadrant
    with the largest probability is taken for certain, so that the three predictions agree.
    """
    quadrants = predictions[predictions["task"] == "4Q"]
    frames = [
        _high_or_low(quadrants, task, quadrants["answer"].isin(high).astype(float))
        for task, high in HIGH_QUADRANTS.items()
    ]
    return pd.concat(frames, ignore_index=True)


def head_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Outputs of the arousal and valence heads of four-quadrant systems, as predictions of A and V.

    Without rows where no system has a head.
    """
    quadrants = predictions[predictions["task"] == "4Q"]
    frames = [quadrants.iloc[:0]]
    for task in HIGH_QUADRANTS:
        if f"head_{task}" in quadrants:
            rows = quadrants[quadrants[f"head_{task}"].notna()]
            frames.append(_high_or_low(rows, task, rows[f"head_{task}"]))
    frames = [frame for frame in frames if len(frame)] or frames[:1]
    return pd.concat(frames, ignore_index=True)


def _high_or_low(quadrants: pd.DataFrame, task: str, p_high: pd.Series) -> pd.DataFrame:
    """Predictions of arousal or valence (1: low, 2: high), on clips labelled with quadrants."""
    columns = [c for c in quadrants.columns if not c.startswith(("p_", "head_"))]
    target = quadrants["target"].isin(HIGH_QUADRANTS[task]).astype(int) + 1
    values: dict[str, Any] = {"task": task, "target": target, "p_1": 1 - p_high, "p_2": p_high}
    return answered(quadrants[columns].assign(**values))


def answers(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Predictions by their kind.

    Returns
    -------
    dict of str to DataFrame
        `OWN_MODEL`: predictions of models that were trained for the task and, for arousal and
        valence of systems without such a model, those of heads; a column `by` says which. `HEAD`,
        where there are some: those of heads of systems that have such a model, too. `IMPLIED`,
        where there are some: what four-quadrant answers imply for arousal and valence. Of a
        regression: the predictions.
    """
    own = predictions.assign(by=OWN_MODEL)
    if "target" not in predictions:
        return {OWN_MODEL: own}
    heads = head_predictions(predictions).assign(by=HEAD)
    trained = pd.MultiIndex.from_frame(own[["system", "task"]].drop_duplicates())
    beside = pd.MultiIndex.from_frame(heads[["system", "task"]]).isin(trained)
    alone = heads[~beside]
    given = {OWN_MODEL: pd.concat([own, alone], ignore_index=True) if len(alone) else own}
    given |= {HEAD: heads[beside].reset_index(drop=True)} if beside.any() else {}
    quadrants = implied_predictions(predictions).assign(by=IMPLIED)
    return given | ({IMPLIED: quadrants} if len(quadrants) else {})


def mean_of(predictions: pd.DataFrame, systems: Iterable[str], name: str) -> pd.DataFrame:
    """The mean of two systems' class probabilities: the rows of a new system of that name.

    Runs of the two are paired by task, split, fold and seed; others are left out. A head is that
    of the system that has it, or the mean of both.

    Raises
    ------
    ParameterError
        If a clip of one run has no counterpart in the other system's run.
    """
    place = ["task", "split", "fold", "seed"]
    parts = [predictions[predictions["system"] == s].set_index(place) for s in systems]
    first, second = (
        own[own.index.isin(other.index)].reset_index().set_index([*place, "id"])
        for own, other in (parts, parts[::-1])
    )
    same = len(first) == len(second) and set(first.index) == set(second.index)
    if first.empty or not first.index.is_unique or not same:
        raise ParameterError(
            f"the systems of {name!r} were not tested once each on the same clips with the same "
            "seeds; run both on one split"
        )
    columns = [c for c in predictions.columns if c.startswith(("p_", "head_"))]
    one, other = first[columns], second.loc[first.index, columns]
    means = (one.fillna(other) + other.fillna(one)) / 2
    averaged = first.assign(system=name, **{c: means[c] for c in columns}).reset_index()
    return answered(averaged[predictions.columns])


def answered(frame: pd.DataFrame) -> pd.DataFrame:
    """Predictions with their most probable class (the lower one on a tie), and if it is right."""
    columns = [c for c in frame.columns if c.startswith("p_")]
    answer = np.nanargmax(frame[columns].to_numpy(dtype=float), axis=1) + 1
    return frame.assign(answer=answer, correct=answer == frame["target"])


def validation(runs: Iterable[Any]) -> pd.DataFrame:
    """How training went on the validation clips, a row a `Run`; the test clips play no part.

    Columns system, seed, steps (epochs, or hyper-parameters tried), accuracy (the best), loss (the
    lowest; missing for systems without).
    """
    rows = []
    for run in runs:
        history = pd.DataFrame(run.history)
        loss = history["valid_loss"].min() if "valid_loss" in history else np.nan
        facts = {"system": run.spec.system, "seed": run.spec.seed, "steps": len(history)}
        rows.append({**facts, "accuracy": history["valid_accuracy"].max(), "loss": loss})
    return pd.DataFrame(rows)
