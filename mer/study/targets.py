"""What is known of the targets of regression, and of clips that are shorter than the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from mer.corpora import emotify
from mer.evaluation.reliability import split_half_reliability
from mer.study.regression import DIMENSIONS
from mer.study.session import Session

RATINGS: Mapping[str, Callable[[], pd.DataFrame]] = MappingProxyType({"emotify": emotify.ratings})
"""Single ratings (id, valence, arousal), of the corpora that come with them."""


def target_facts(session: Session) -> pd.DataFrame:
    """Distribution and reliability of valence and arousal, from the store where it is there.

    Parameters
    ----------
    session : Session

    Returns
    -------
    DataFrame
        Index dimension; mean, sd, min and max of the labels over clips; where the corpus comes
        with single ratings also ratings (that tell something of the dimension), reliability
        (split-half) and its standard deviation over random halves, else missing.

    Raises
    ------
    MissingDataError
        If nothing is stored and nothing is to be computed, or the data are missing.
    """
    name = session.corpus_name
    spec = {"corpus": name, "fingerprint": session.card["fingerprint"]}

    def compute() -> tuple[pd.DataFrame, dict[str, Any]]:
        ratings = RATINGS[name]() if name in RATINGS else None
        labels = session.corpus.to_frame()
        rows = [{"dimension": d, **_facts(labels[d], ratings)} for d in DIMENSIONS]
        return pd.DataFrame(rows), {}

    run = compute if session.settings.compute else None
    return session.store.table(f"targets {name}", spec, run).set_index("dimension")


def _facts(labels: pd.Series, ratings: pd.DataFrame | None) -> dict[str, float]:
    named = {"mean": "mean", "sd": "std", "min": "min", "max": "max"}
    facts = {name: float(labels.agg(function)) for name, function in named.items()}
    if ratings is None:
        return {**facts, "ratings": np.nan, "reliability": np.nan, "reliability_sd": np.nan}
    told = ratings.dropna(subset=[str(labels.name)])
    found = split_half_reliability(told[labels.name], told["id"])
    return {
        **facts,
        "ratings": len(told),
        "reliability": found.mean,
        "reliability_sd": found.std,
    }


def padding(session: Session, seconds: float) -> pd.DataFrame:
    """Clips that are shorter than the excerpts which networks hear, from the store if possible.

    Parameters
    ----------
    session : Session
    seconds : float
        Length of an excerpt.

    Returns
    -------
    DataFrame
        One row a short clip: id, seconds of silence that are added.

    Raises
    ------
    MissingDataError
        As `target_facts`.
    """
    name = session.corpus_name
    spec = {"corpus": name, "fingerprint": session.card["fingerprint"], "seconds": seconds}

    def compute() -> tuple[pd.DataFrame, dict[str, Any]]:
        from mer.systems.sources import Excerpts

        missing = Excerpts(seconds=seconds).padding(session.corpus)
        return pd.DataFrame(missing.items(), columns=["id", "seconds"]), {}

    return session.store.table(
        f"padding {name}", spec, compute if session.settings.compute else None
    )
