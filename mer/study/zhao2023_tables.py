"""Tables and findings of the pages on Zhao and Yoshii (2023), from stored predictions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from mer.features.compound_words import FIELDS
from mer.study.claims import NOT_RUN, resampled_answers
from mer.study.runs import Runs
from mer.study.specs import RunSpec
from mer.study.tables import (
    PublishedCells,
    against,
    comparison,
    correctness,
    estimate_text,
    implied_predictions,
    number_text,
)
from mer.study.zhao2023 import OWN_MODEL, PRETRAINED, PROPOSED, encoder_of, missing_weights


def answers(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Predictions as `mer.study.claims.judge` takes them: every task has a model of its own."""
    return {OWN_MODEL: predictions}


def task_table(
    predictions: pd.DataFrame, published: PublishedCells, task: str, systems: Iterable[str]
) -> pd.DataFrame:
    """Published and reproduced accuracy of some systems on one task, as text.

    Parameters
    ----------
    predictions : DataFrame
        From `mer.study.session.Session.run`, of one split.
    published : mapping
        Accuracy by (system, task).
    task : str
    systems : iterable of str
        Rows, in order; those that were not run say so.

    Returns
    -------
    DataFrame
        Columns published (where there is any), reproduced, for a binary task what four-quadrant
        answers imply (where there are any), seeds, audio.
    """
    systems = list(systems)
    quadrants = predictions[predictions["task"] == "4Q"]
    found = {"reproduced": _texts(predictions[predictions["task"] == task])}
    if task != "4Q" and len(quadrants):
        implied = implied_predictions(quadrants)
        found["implied by 4Q"] = _texts(implied[implied["task"] == task])
    table = pd.DataFrame(
        {kind: [texts.get(name, "–") for name in systems] for kind, texts in found.items()},
        index=pd.Index(systems),
    )
    table["reproduced"] = table["reproduced"].replace("–", NOT_RUN)
    known = [published.get((name, task), np.nan) for name in systems]
    if not np.isnan(known).all():
        table.insert(0, "published", [number_text(value) for value in known])
    return table.join(_facts(predictions[predictions["task"] == task])).fillna("–")


def _texts(predictions: pd.DataFrame) -> dict[str, str]:
    if predictions.empty:
        return {}
    table = comparison(predictions, {}).set_index("system")
    return {str(system): estimate_text(row) for system, row in table.iterrows()}


def _facts(predictions: pd.DataFrame) -> pd.DataFrame:
    by_system = predictions.groupby("system")
    seeds = by_system["seed"].nunique().astype(str)
    return pd.DataFrame({"seeds": seeds, "audio": by_system["audio"].first().replace("none", "–")})


def paired(predictions: pd.DataFrame, task: str) -> pd.DataFrame:
    """Paired differences from the proposed model, for reading; empty if it was not run.

    Returns
    -------
    DataFrame
        As `mer.study.tables.against`, indexed by system, with p as text.
    """
    chosen = predictions[predictions["task"] == task]
    if PROPOSED not in set(chosen["system"]):
        return pd.DataFrame()
    pairs = against(chosen, PROPOSED, task)
    if pairs.empty:
        return pairs
    p = [f"{value:.3f}" if value >= 0.001 else "< 0.001" for value in pairs["p"]]
    return pairs.assign(p=p).set_index("system")


def leak_table(
    official: pd.DataFrame,
    leaky: pd.DataFrame,
    published: PublishedCells,
    *,
    n_resamples: int = 2000,
) -> pd.DataFrame:
    """Four-quadrant accuracy on the official split and on one that songs cross.

    The two have different test clips: songs and seeds are drawn again for each by itself.

    Parameters
    ----------
    official, leaky : DataFrame
        From `mer.study.session.Session.run`.
    published : mapping
        Accuracy by (system, task).
    n_resamples : int

    Returns
    -------
    DataFrame
        One row a system of both: system, official, leaky (means), difference (leaky - official),
        low, high (95 %), published.
    """
    rows = []
    for system in leaky["system"].unique():
        if system not in set(official["system"]):
            continue
        tables = [correctness(frame, system, "4Q") for frame in (leaky, official)]
        drawn = [_resampled(t, seed, n_resamples) for seed, t in enumerate(tables)]
        low, high = np.quantile(drawn[0] - drawn[1], (0.025, 0.975))
        means = [float(table.to_numpy().mean()) for table in tables]
        rows.append(
            {
                "system": system,
                "official": means[1],
                "leaky": means[0],
                "difference": means[0] - means[1],
                "low": low,
                "high": high,
                "published": published.get((system, "4Q"), np.nan),
            }
        )
    return pd.DataFrame(rows)


def _resampled(table: pd.DataFrame, seed: int, n_resamples: int) -> np.ndarray:
    """Accuracy in each resample of songs and training seeds."""
    rng = np.random.default_rng(seed)
    codes, songs = pd.factorize(table.index.get_level_values("group"))
    drawn = rng.integers(len(songs), size=(n_resamples, len(songs)))
    clips = np.bincount(codes)[drawn].sum(axis=1)
    accuracy: np.ndarray = resampled_answers(table, codes, drawn, rng) / clips
    return accuracy


def leak_text(table: pd.DataFrame) -> pd.DataFrame:
    """`leak_table` for reading, indexed by system."""
    text = {
        row["system"]: {
            "published": number_text(row["published"]),
            "official split": number_text(row["official"]),
            "leaky split": number_text(row["leaky"]),
            "difference": f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]",
        }
        for row in table.to_dict("records")
    }
    shown = pd.DataFrame.from_dict(text, orient="index")
    return shown.drop(columns="published") if table["published"].isna().all() else shown


def leak_findings(table: pd.DataFrame) -> str:
    """What a leak is worth, in Markdown; empty if no such system was run."""
    if table.empty:
        return ""
    rows = table.set_index("system")
    gains = rows["difference"].drop(["Constant", "Song-lookup"], errors="ignore")
    if gains.empty:
        return ""
    sure = [str(name) for name in gains.index if rows.loc[name, "low"] > 0]
    text = (
        f"Systems that hear or read music ({len(gains)}) gain {gains.mean():+.3f} on average on "
        f"the leaky split, from {gains.min():+.3f} to {gains.max():+.3f}; the interval lies above "
        f"0 for {', '.join(sure) or 'none'}. "
    )
    reached = rows["leaky"].to_dict()
    if "Song-lookup" in reached:
        lookup = reached["Song-lookup"]
        above = [str(name) for name in gains.index if reached[name] > lookup]
        text += f"Song-lookup reaches {lookup:.3f} there; above it: {', '.join(above) or 'none'}."
        told = rows["published"].reindex(PRETRAINED).dropna()
        below = [f"{name} {value:.3f}" for name, value in told.items() if value < lookup]
        if below:
            text += f" Published values of language models below it: {', '.join(below)}."
    return text


def findings(table: pd.DataFrame, task: str = "4Q") -> str:
    """What a table says of the proposed model on one task, in Markdown.

    Parameters
    ----------
    table : DataFrame
        From `mer.study.tables.comparison`.
    task : str
    """
    rows = table[table["task"] == task].set_index("system")
    if PROPOSED not in rows.index:
        return ""
    own = rows.loc[PROPOSED]
    text = f"On {own['n']} test clips {PROPOSED} reaches {own['mean']:.3f} ({task}) "
    text += f"[{own['low']:.3f}, {own['high']:.3f}]. "
    if own["covers"] is not None:
        where = "inside" if own["covers"] else "outside"
        text += f"The published {own['published']:.3f} lies {where} this interval. "
    above = rows.index[rows["mean"] > own["mean"]]
    text += f"Of the {len(rows) - 1} other systems, {len(above)} have a higher mean"
    return text + (f": {', '.join(above)}. " if len(above) else ". ")


def one_model(table: pd.DataFrame) -> str:
    """Whether the three accuracies of the proposed model could come from one, in Markdown."""
    columns = table[table["system"] == PROPOSED].set_index("task")[["mean", "published"]]
    text = ""
    for source, values in columns.dropna(axis=1).items():
        if {"4Q", "A", "V"} <= set(values.index):
            floor = values["A"] + values["V"] - 1
            text += f"In its {'own' if source == 'mean' else 'published'} row A + V - 1 is "
            text += f"{floor:.3f}, four quadrants {values['4Q']:.3f}. "
    return text


def absent(*tables: Runs) -> str:
    """What was not run and how to get it, in Markdown; empty if everything is there."""
    reasons: dict[str | None, dict[tuple[str, str], list[str]]] = {}
    for spec in (spec for runs in tables for spec in runs.absent):
        places = reasons.setdefault(missing_weights(spec), {})
        tasks = places.setdefault((spec.system, spec.split), [])
        if spec.task not in tasks:
            tasks.append(spec.task)
    lines = []
    for weights, places in reasons.items():
        names = [f"{name} ({split}: {', '.join(t)})" for (name, split), t in places.items()]
        text = f"- {'; '.join(names)}: **{NOT_RUN}**"
        if weights is not None:
            text += f"; first train the encoder with `mer train {weights}`"
        lines.append(f"{text}.")
    return "\n".join(lines)


def encoders(specs: Iterable[RunSpec]) -> pd.DataFrame:
    """How well the encoders that some runs start from had learned to fill in what was masked.

    Returns
    -------
    DataFrame
        Text, indexed by encoder: notes, epochs, and accuracy on masked words of validation
        pieces by field and, where it was predicted, of the key.
    """
    from mer.weights import load_weights

    specs = list(specs)
    names = {encoder_of(spec) for spec in specs} - {missing_weights(spec) for spec in specs}
    rows = {}
    for name in sorted(name for name in names if name is not None):
        facts = load_weights(name)[1]
        found = {field: facts.get(f"validation_{field}") for field in (*FIELDS, "key")}
        rows[name] = {
            "notes": f"{int(facts['notes']):,}",
            "epochs": facts["epochs"],
            **{f: number_text(np.nan if v is None else float(v)) for f, v in found.items()},
        }
    return pd.DataFrame.from_dict(rows, orient="index")
