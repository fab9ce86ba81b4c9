"""What the pages of all papers share: scores and claims in one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mer.study.claims import Answers, Claim, against, direction, judge
from mer.study.scores import scores
from mer.study.settings import Settings
from mer.study.study import Study

Frames = dict[str, pd.DataFrame]


def study(about: str = "classes", **changes: Any) -> Study:
    """A study that only reads what is stored."""
    return Study(Settings(profile="cpu", compute=False, **changes), about)


def class_scores(predictions: pd.DataFrame, published: Any = None) -> pd.DataFrame:
    """Accuracy: task, system, published, mean, sd, low, high, n."""
    columns = ["task", "system", "published", "mean", "sd", "low", "high", "n"]
    return scores(predictions, published)[columns]


def regression_scores(predictions: pd.DataFrame, published: Any = None) -> pd.DataFrame:
    """RMSE and R2: system, metric, dimension, published, mean, sd, low, high, n."""
    table = scores(predictions, published).rename(columns={"task": "dimension"})
    columns = ["system", "metric", "dimension", "published", "mean", "sd", "low", "high", "n"]
    return table[columns]


def claims(claimed: Sequence[Claim], places: Mapping[str, Answers], published: Any) -> Frames:
    """Differences behind claims, and the verdicts."""
    judged = judge(claimed, places, published)
    columns = ["claim", "place", "better", "worse", "task", "difference", "low", "high", "n"]
    verdicts = [
        {"claim": claim.text, "place": place, "direction": direction(claim, judged, place)}
        for claim in claimed
        for place in places
    ]
    return {
        "differences": judged[[*columns, "published", "direction"]],
        "verdicts": pd.DataFrame(verdicts),
    }


def named(name: str, frames: Frames) -> Frames:
    """Frames whose names begin with one more word."""
    return {f"{name}, {kind}": frame for kind, frame in frames.items()}


def mcnemar(predictions: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Exact McNemar tests of all rows against one, on four quadrants."""
    return against(predictions, reference, "4Q")[["system", "p", "discordant"]]
