"""Tables of the book: published beside reproduced, each number from stored predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from mer.errors import ParameterError
from mer.evaluation.metrics import HIGH_QUADRANTS, implied
from mer.evaluation.uncertainty import group_bootstrap, mcnemar_exact, paired_bootstrap_difference
from mer.study.store import Run

PublishedCells = Mapping[tuple[str, str], float]
"""Published accuracy by (system, task)."""


def correctness(predictions: pd.DataFrame, system: str, task: str) -> pd.DataFrame:
    """Whether each clip was answered rightly: one row a clip, one column a seed.

    Parameters
    ----------
    predictions : DataFrame
        From `mer.study.session.Session.run`, of one split.
    system, task : str

    Returns
    -------
    DataFrame
        Index (id, group); folds of cross-validation are joined.

    Raises
    ------
    ParameterError
        If there are no such predictions, or a clip stands more than once in a seed.
    """
    chosen = predictions[(predictions["system"] == system) & (predictions["task"] == task)]
    if chosen.empty:
        raise ParameterError(f"no predictions of {system!r} for task {task!r}")
    if chosen.duplicated(["id", "seed"]).any():
        raise ParameterError(f"{system!r}, task {task!r}: a clip was predicted twice by one seed")
    table = chosen.pivot_table(index=["id", "group"], columns="seed", values="correct")
    if table.isna().any(axis=None):
        raise ParameterError(f"{system!r}, task {task!r}: seeds were tested on different clips")
    return table.astype(float)


def comparison(predictions: pd.DataFrame, published: PublishedCells) -> pd.DataFrame:
    """Accuracy of every system and task, with the published one beside it.

    Parameters
    ----------
    predictions : DataFrame
        From `mer.study.session.Session.run`, of one split.
    published : mapping

    Returns
    -------
    DataFrame
        One row a task and system: published; mean and SD over seeds (SD is missing where there
        is one seed); low and high (95 % group-bootstrap interval of the mean over seeds); n
        (test clips), seeds, audio, difference (mean - published), covers (whether the interval
        holds the published value; missing where there is none).
    """
    rows = []
    for (task, system), chosen in predictions.groupby(["task", "system"], sort=False):
        table = correctness(predictions, str(system), str(task))
        by_seed = table.mean(axis=0)
        interval = group_bootstrap(table.to_numpy().T, table.index.get_level_values("group"))
        value = published.get((str(system), str(task)), np.nan)
        mean = float(by_seed.mean())
        rows.append(
            {
                "task": task,
                "system": system,
                "published": value,
                "mean": mean,
                "sd": by_seed.std(ddof=1) if len(by_seed) > 1 else np.nan,
                "low": interval.low,
                "high": interval.high,
                "n": len(table),
                "seeds": len(by_seed),
                "audio": chosen["audio"].iloc[0],
                "difference": mean - value,
                "covers": None if np.isnan(value) else bool(interval.low <= value <= interval.high),
            }
        )
    return pd.DataFrame(rows)


def against(predictions: pd.DataFrame, reference: str, task: str) -> pd.DataFrame:
    """Paired difference of every other system from a reference, on the same clips.

    Returns
    -------
    DataFrame
        One row a system: difference (mean over clips and seeds), low, high (95 % paired group
        bootstrap), p (exact McNemar test on the first seed of both), discordant (its clips that
        only one of the two answers rightly).

    Raises
    ------
    ParameterError
        As in `correctness`, or if two systems were tested on different clips.
    """
    base = correctness(predictions, reference, task)
    groups = base.index.get_level_values("group")
    rows = []
    for system in predictions.loc[predictions["task"] == task, "system"].unique():
        if system == reference:
            continue
        table = correctness(predictions, system, task)
        if not table.index.equals(base.index):
            raise ParameterError(
                f"{system!r} and {reference!r}, task {task!r}, were tested on different clips"
            )
        difference = paired_bootstrap_difference(table.to_numpy().T, base.to_numpy().T, groups)
        first, base_first = table.iloc[:, 0].astype(bool), base.iloc[:, 0].astype(bool)
        rows.append(
            {
                "system": system,
                "difference": difference.mean,
                "low": difference.low,
                "high": difference.high,
                "p": mcnemar_exact(first, base_first),
                "discordant": int((first != base_first).sum()),
            }
        )
    return pd.DataFrame(rows)


def validation(runs: Iterable[Run]) -> pd.DataFrame:
    """How training went on the validation clips; the test clips play no part.

    Parameters
    ----------
    runs : iterable of Run
        Of systems that were trained.

    Returns
    -------
    DataFrame
        One row a run: system, seed, steps (epochs, or hyper-parameters tried), accuracy (the
        best), loss (the lowest; missing for systems without).
    """
    rows = []
    for run in runs:
        history = pd.DataFrame(run.history)
        loss = history["valid_loss"].min() if "valid_loss" in history else np.nan
        rows.append(
            {
                "system": run.spec.system,
                "seed": run.spec.seed,
                "steps": len(history),
                "accuracy": history["valid_accuracy"].max(),
                "loss": loss,
            }
        )
    return pd.DataFrame(rows)


def implied_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """What four-quadrant answers imply for arousal and valence, as predictions of these tasks."""
    quadrants = predictions[predictions["task"] == "4Q"].drop(columns=["answer", "correct"])
    frames = []
    for task, frame in implied(quadrants, by="answer").items():
        answer = frame["p_2"].round().astype(int) + 1
        correct = answer == frame["target"]
        frames.append(frame.assign(task=task, answer=answer, correct=correct))
    return pd.concat(frames, ignore_index=True)


def head_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """What the arousal and valence heads of four-quadrant systems say, as predictions of A and V.

    Parameters
    ----------
    predictions : DataFrame
        From `mer.study.session.Session.run`.

    Returns
    -------
    DataFrame
        The rows of task "4Q" with a head, once for each head; target and answer are 1 (low) or
        2 (high).

    Raises
    ------
    ParameterError
        If no system has a head.
    """
    quadrants = predictions[predictions["task"] == "4Q"]
    kept = [c for c in quadrants.columns if not c.startswith(("p_", "head_"))]
    frames = []
    for task, high in HIGH_QUADRANTS.items():
        if f"head_{task}" not in quadrants:
            continue
        rows = quadrants[quadrants[f"head_{task}"].notna()]
        p_high = rows[f"head_{task}"]
        target = rows["target"].isin(high).astype(int) + 1
        frame = rows[kept].assign(task=task, target=target, p_1=1 - p_high, p_2=p_high)
        frames.append(_answered(frame))
    if not frames:
        raise ParameterError("no column 'head_A' or 'head_V': none of these systems has heads")
    return pd.concat(frames, ignore_index=True)


def late_average(
    predictions: pd.DataFrame,
    systems: tuple[str, str] = ("Symbolic-only", "Acoustic-only"),
    name: str = "Late average",
) -> pd.DataFrame:
    """The mean of two systems' class probabilities, as predictions of a further system.

    Parameters
    ----------
    predictions : DataFrame
        From `mer.study.session.Session.run`; runs of the two systems are paired by task, split,
        fold and seed.
    systems : tuple of str
    name : str
        Of the new system.

    Returns
    -------
    DataFrame
        The rows of the new system alone. A head is that of the system that has it, or the mean
        of both.

    Raises
    ------
    ParameterError
        If a clip of one run has no counterpart in the other system's run.
    """
    keys = ["task", "split", "fold", "seed", "id"]
    first, second = (predictions[predictions["system"] == s].set_index(keys) for s in systems)
    same = len(first) == len(second) and set(first.index) == set(second.index)
    if first.empty or not first.index.is_unique or not same:
        raise ParameterError(
            f"{systems[0]!r} and {systems[1]!r} were not tested once each on the same clips with "
            "the same seeds; run both on one split"
        )
    columns = [c for c in predictions.columns if c.startswith(("p_", "head_"))]
    one, other = first[columns], second.loc[first.index, columns]
    means = (one.fillna(other) + other.fillna(one)) / 2
    averaged = first.assign(system=name, **{c: means[c] for c in columns}).reset_index()
    return _answered(averaged[predictions.columns])


def _answered(frame: pd.DataFrame) -> pd.DataFrame:
    """Predictions with the answers that their probabilities give."""
    columns = [c for c in frame.columns if c.startswith("p_")]
    answer = np.nanargmax(frame[columns].to_numpy(dtype=float), axis=1) + 1
    return frame.assign(answer=answer, correct=answer == frame["target"])


def comparison_text(table: pd.DataFrame, columns: Iterable[str] = ("4Q", "A", "V")) -> pd.DataFrame:
    """A comparison for reading: one row a system, a published and a reproduced column a task.

    Parameters
    ----------
    table : DataFrame
        From `comparison`.
    columns : iterable of str
        Tasks, in order.

    Returns
    -------
    DataFrame
        Text: `.684` for published, `.652 ± .012 [.561, .742]` for mean, SD and interval.
    """
    systems = table["system"].unique()
    result = pd.DataFrame(index=pd.Index(systems, name="System"))
    for task in columns:
        rows = table[table["task"] == task].set_index("system").reindex(systems)
        if rows["mean"].isna().all():
            continue
        result[f"{task} published"] = [number_text(value) for value in rows["published"]]
        result[f"{task} reproduced"] = [estimate_text(row) for _, row in rows.iterrows()]
    return result


def number_text(value: float) -> str:
    """A number with three decimals, below 1 without leading zero; a dash where it is missing."""
    if np.isnan(value):
        return "–"
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and "0." in text[:3] else text


def estimate_text(row: pd.Series) -> str:
    """Mean, SD over seeds and interval of a row of `comparison`."""
    if np.isnan(row["mean"]):
        return "–"
    spread = "" if np.isnan(row["sd"]) else f" ± {number_text(row['sd'])}"
    interval = f"[{number_text(row['low'])}, {number_text(row['high'])}]"
    return f"{number_text(row['mean'])}{spread} {interval}"
