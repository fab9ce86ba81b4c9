"""Tables of regression: RMSE and R2 of valence and arousal, from stored predictions.

A model is one run: a fold of cross-validation and a seed. As in the papers, a score is the mean
over models, each on its own test clips.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

import numpy as np
import pandas as pd

from mer.errors import ParameterError
from mer.evaluation.metrics import r2, regression_report, rmse
from mer.evaluation.uncertainty import Difference, interval, resampled_regression
from mer.study.specs import RunSpec
from mer.study.store import RunStore
from mer.study.tables import estimate_text, number_text

DIMENSIONS = ("valence", "arousal")
METRICS = ("rmse", "r2")
LOWER_IS_BETTER = ("rmse",)
ENSEMBLE = "ensemble of inner models"

_SCORES = {"rmse": rmse, "r2": r2}

PublishedScores = Mapping[tuple[str, str, str], float]
"""Published score by (system, metric, dimension)."""


def score_name(metric: str, dimension: str) -> str:
    """Metric and dimension for reading, such as "R2 valence"."""
    return f"{metric.upper()} {dimension}"


def model_scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """Scores of every model on its test clips.

    Parameters
    ----------
    predictions : DataFrame
        Rows of task "VA" from `mer.study.session.Session.run`.

    Returns
    -------
    DataFrame
        One row a system, fold, seed, metric and dimension: system, fold, seed, metric,
        dimension, score and n (clips).
    """
    rows = []
    for (system, fold, seed), frame in predictions.groupby(["system", "fold", "seed"], sort=False):
        report = regression_report(frame, DIMENSIONS)
        place = {"system": system, "fold": fold, "seed": seed, "n": report["n"]}
        rows += [
            {**place, "metric": m, "dimension": d, "score": report[f"{m}_{d}"]}
            for m in METRICS
            for d in DIMENSIONS
        ]
    return pd.DataFrame(rows)


def regression_comparison(
    predictions: pd.DataFrame, published: PublishedScores, *, n_resamples: int = 2000
) -> pd.DataFrame:
    """Scores of every system, with the published ones beside them.

    Parameters
    ----------
    predictions : DataFrame
        Rows of task "VA" from `mer.study.session.Session.run`, of one split.
    published : mapping
    n_resamples : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        One row a system, metric and dimension: system, metric, dimension, published; mean and sd
        over models; low and high (95 % interval of that mean, resampling groups); n (clips),
        models, audio, difference (mean - published), covers (whether the interval holds the
        published value; missing where there is none).
    """
    scores = model_scores(predictions).set_index(["system", "dimension", "metric"])["score"]
    rows = []
    for system, frame in predictions.groupby("system", sort=False):
        shared = {"n": frame["id"].nunique(), "audio": frame["audio"].iloc[0]}
        for dimension in DIMENSIONS:
            resampled = _resampled(frame, dimension, n_resamples)
            for metric in METRICS:
                found = scores.loc[[(system, dimension, metric)]]
                low, high = interval(resampled[metric])
                value = published.get((str(system), metric, dimension), np.nan)
                rows.append(
                    {
                        "system": system,
                        "metric": metric,
                        "dimension": dimension,
                        "published": value,
                        "mean": found.mean(),
                        "sd": found.std(ddof=1) if len(found) > 1 else np.nan,
                        "low": low,
                        "high": high,
                        **shared,
                        "models": len(found),
                        "difference": found.mean() - value,
                        "covers": None if np.isnan(value) else bool(low <= value <= high),
                    }
                )
    return pd.DataFrame(rows)


def regression_against(
    predictions: pd.DataFrame, reference: str, *, n_resamples: int = 2000
) -> pd.DataFrame:
    """Paired difference of every other system from a reference, on the same test clips.

    Returns
    -------
    DataFrame
        One row a system, metric and dimension: system, metric, dimension, difference (of the
        means over models), low, high (95 %, the same groups resampled for both), better (whether
        the whole interval lies on the better side; below 0 for RMSE, above for R2), worse.

    Raises
    ------
    ParameterError
        If two systems were tested on different clips.
    """
    base = predictions[predictions["system"] == reference]
    if base.empty:
        raise ParameterError(f"no predictions of {reference!r}")
    rows = []
    for system, frame in predictions.groupby("system", sort=False):
        if system == reference:
            continue
        for dimension, metric in product(DIMENSIONS, METRICS):
            found = paired_difference(frame, base, metric, dimension, n_resamples=n_resamples)
            below, above = found.high < 0, found.low > 0
            rows.append(
                {
                    "system": system,
                    "metric": metric,
                    "dimension": dimension,
                    "difference": found.mean,
                    "low": found.low,
                    "high": found.high,
                    "better": below if metric in LOWER_IS_BETTER else above,
                    "worse": above if metric in LOWER_IS_BETTER else below,
                }
            )
    return pd.DataFrame(rows)


def paired_difference(
    first: pd.DataFrame,
    second: pd.DataFrame,
    metric: str,
    dimension: str,
    *,
    n_resamples: int = 2000,
) -> Difference:
    """Difference of two systems' mean score over models, with a 95 % percentile interval.

    Parameters
    ----------
    first, second : DataFrame
        Predictions of one system each, of the same folds.
    metric, dimension : str
    n_resamples : int
        Of groups, drawn for both systems and all their models together.

    Raises
    ------
    ParameterError
        If the systems were tested on different clips.
    """
    _check_same_clips(first, second)
    means = [_mean_score(frame, metric, dimension) for frame in (first, second)]
    drawn = [_resampled(frame, dimension, n_resamples)[metric] for frame in (first, second)]
    return Difference(means[0] - means[1], *interval(drawn[0] - drawn[1]))


def _mean_score(frame: pd.DataFrame, metric: str, dimension: str) -> float:
    score = _SCORES[metric]
    models = frame.groupby(["fold", "seed"])
    found = [score(part[f"target_{dimension}"], part[dimension]) for _, part in models]
    return float(np.mean(found))


def _resampled(frame: pd.DataFrame, dimension: str, n_resamples: int) -> dict[str, np.ndarray]:
    return resampled_regression(
        frame[f"target_{dimension}"],
        frame[dimension],
        frame["group"],
        frame["seed"] * (frame["fold"].max() + 1) + frame["fold"],
        n_resamples=n_resamples,
    )


def _check_same_clips(frame: pd.DataFrame, base: pd.DataFrame) -> None:
    keys = ["fold", "id"]
    if set(map(tuple, frame[keys].to_numpy())) != set(map(tuple, base[keys].to_numpy())):
        names = f"{frame['system'].iloc[0]!r} and {base['system'].iloc[0]!r}"
        raise ParameterError(f"{names} were tested on different clips or folds")


def by_folds(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Predictions of systems that can be compared, by the models that they are of.

    Parameters
    ----------
    predictions : DataFrame
        Of systems of which some were run on fewer folds than others.

    Returns
    -------
    dict of str to DataFrame
        Those of the systems that were run on all folds, and where others were not, those of all
        systems on the folds that all of them share (if there are such).
    """
    folds = {name: frozenset(part["fold"]) for name, part in predictions.groupby("system")}
    everywhere = frozenset(predictions["fold"])
    whole = [name for name, found in folds.items() if found == everywhere]
    parts = {}
    if whole:
        name = f"all {len(everywhere)} models" if len(everywhere) > 1 else "one model"
        parts[name] = predictions[predictions["system"].isin(whole)]
    shared = frozenset.intersection(*folds.values())
    if len(whole) < len(folds) and shared:
        listed = ", ".join(map(str, sorted(shared)))
        name = f"the models of folds {listed}" if len(shared) > 1 else f"the model of fold {listed}"
        parts[name] = predictions[predictions["fold"].isin(shared)]
    return parts


def inner_ensembles(predictions: pd.DataFrame, inner_folds: int = 5) -> pd.DataFrame:
    """The mean of the predictions of the models that share a test part, as further systems.

    Parameters
    ----------
    predictions : DataFrame
        Rows of task "VA" from `mer.study.session.Session.run`, of nested cross-validation, in
        which fold `inner_folds` * outer + inner tests on the outer part.
    inner_folds : int

    Returns
    -------
    DataFrame
        Systems are named "<system>, ensemble of inner models"; fold is the outer one.
    """
    keys = ["system", "task", "split", "fold", "seed", "audio", "id", "group"]
    keys += [f"target_{name}" for name in DIMENSIONS]
    outer = predictions.assign(
        system=predictions["system"] + f", {ENSEMBLE}", fold=predictions["fold"] // inner_folds
    )
    return outer.groupby(keys, sort=False)[list(DIMENSIONS)].mean().reset_index()


def best_inner_models(
    store: RunStore, specs: Iterable[RunSpec], inner_folds: int = 5
) -> list[RunSpec]:
    """Of the models that share a test part, the one with the lowest validation RMSE.

    This is what the published code of deberardinis2020 scores, one model an outer fold.

    Parameters
    ----------
    store : RunStore
    specs : iterable of RunSpec
        Stored runs of nested cross-validation.
    inner_folds : int
    """
    best: dict[tuple[str, int, int], tuple[float, RunSpec]] = {}
    for spec in specs:
        key = (spec.system, spec.fold // inner_folds, spec.seed)
        value = min((row["valid_rmse"] for row in store.read(spec).history), default=0.0)
        if key not in best or value < best[key][0]:
            best[key] = (value, spec)
    return [spec for _, spec in best.values()]


def regression_text(table: pd.DataFrame) -> pd.DataFrame:
    """A comparison for reading: one row a system.

    Parameters
    ----------
    table : DataFrame
        From `regression_comparison`.

    Returns
    -------
    DataFrame
        Text: a published column, where anything is published, and a reproduced one for each
        metric and dimension, such as "R2 valence reproduced".
    """
    systems = table["system"].unique()
    result = pd.DataFrame(index=pd.Index(systems, name="System"))
    for metric in METRICS:
        for dimension in DIMENSIONS:
            chosen = table[(table["metric"] == metric) & (table["dimension"] == dimension)]
            rows = chosen.set_index("system").reindex(systems)
            name = score_name(metric, dimension)
            if rows["published"].notna().any():
                result[f"{name} published"] = [number_text(v) for v in rows["published"]]
            result[f"{name} reproduced"] = [estimate_text(row) for _, row in rows.iterrows()]
    return result
