"""Which combination of sources tells valence and arousal best.

After figure 4 of de Berardinis et al. 2020, from stored predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from mer.errors import ParameterError
from mer.evaluation.contributions import shapley_values
from mer.evaluation.uncertainty import interval, resampled_regression
from mer.study.claims import FAILS, HOLDS, OPEN, Claim, Comparison
from mer.study.deberardinis2020 import COMBINATIONS
from mer.study.regression import DIMENSIONS, model_scores, paired_difference
from mer.systems.variants import LETTERS, VARIANTS, source_name

NO_SOURCE = "Mean"
"""The system that hears nothing: the worth of the empty subset."""

MIX = source_name("C2D", "mix")
ALL_SOURCES = COMBINATIONS[-1]

COMPARABLE = 0.02
"""Our reading of "comparable": R2 differs by no more."""


class Score(NamedTuple):
    """R2, the mean over models, and in bootstrap resamples of groups, shape (n_resamples,)."""

    mean: float
    resampled: np.ndarray


Scores = Mapping[tuple[str, str], Score]
"""By (system, dimension)."""


def sources_of(system: str) -> tuple[str, ...]:
    """Sources of a fusion."""
    sources: tuple[str, ...] = VARIANTS[system][1]["sources"]
    return sources


def label_of(system: str) -> str:
    """Sources of a fusion in letters, such as "V+B"."""
    return "+".join(LETTERS[source] for source in sources_of(system))


BY_LABEL = {label_of(system): system for system in COMBINATIONS}


def r2_scores(predictions: pd.DataFrame, *, n_resamples: int = 2000) -> Scores:
    """R2 of every system, with resamples that are the same for all of them.

    Parameters
    ----------
    predictions : DataFrame
        Rows of task "VA" from `mer.study.session.Session.run`, of one split.
    n_resamples : int

    Raises
    ------
    ParameterError
        If two systems were tested on different clips or folds.
    """
    scores = model_scores(predictions).query("metric == 'r2'")
    means = scores.groupby(["system", "dimension"])["score"].mean()
    tested = predictions.groupby("system", sort=False)[["fold", "id"]].agg(frozenset)
    if len(set(map(tuple, tested.to_numpy()))) > 1:
        raise ParameterError("the systems were tested on different clips or folds")
    return {
        (str(system), d): Score(float(means[system, d]), _resampled(frame, d, n_resamples))
        for system, frame in predictions.groupby("system", sort=False)
        for d in DIMENSIONS
    }


def _resampled(frame: pd.DataFrame, dimension: str, n_resamples: int) -> np.ndarray:
    return resampled_regression(
        frame[f"target_{dimension}"],
        frame[dimension],
        frame["group"],
        frame.groupby(["seed", "fold"]).ngroup(),
        n_resamples=n_resamples,
    )["r2"]


def combination_table(scores: Scores) -> pd.DataFrame:
    """R2 of all subsets of the sources (figure 4).

    Returns
    -------
    DataFrame
        One row a subset and dimension, in order of size: system, sources (letters), size,
        dimension, mean, low and high (95 % interval, resampling groups).
    """
    rows = []
    for system in sorted(COMBINATIONS, key=lambda name: len(sources_of(name))):
        for dimension in DIMENSIONS:
            found = scores[system, dimension]
            low, high = interval(found.resampled)
            rows.append(
                {
                    "system": system,
                    "sources": label_of(system),
                    "size": len(sources_of(system)),
                    "dimension": dimension,
                    "mean": found.mean,
                    "low": low,
                    "high": high,
                }
            )
    return pd.DataFrame(rows)


def gains(scores: Scores) -> pd.DataFrame:
    """Mean gain of R2 from adding a source, over all orders of adding them (Shapley values).

    Parameters
    ----------
    scores : Scores
        Of all combinations, and of `NO_SOURCE`.

    Returns
    -------
    DataFrame
        One row a dimension and source: dimension, source, gain, low, high. Gains of a dimension
        sum to the R2 of all sources less that of none.

    Raises
    ------
    ParameterError
        If a combination is missing.
    """
    rows = []
    for dimension in DIMENSIONS:
        subsets = {frozenset[str](): NO_SOURCE}
        subsets |= {frozenset(sources_of(system)): system for system in COMBINATIONS}
        known = {
            s: scores[name, dimension] for s, name in subsets.items() if (name, dimension) in scores
        }
        means = shapley_values({s: score.mean for s, score in known.items()}, tuple(LETTERS))
        resampled = shapley_values(
            {s: score.resampled for s, score in known.items()}, tuple(LETTERS)
        )
        for source in LETTERS:
            low, high = interval(resampled[source])
            found = {"gain": float(means[source]), "low": low, "high": high}
            rows.append({"dimension": dimension, "source": source, **found})
    return pd.DataFrame(rows)


def _best(text: str, dimension: str, best: str, size: int | None = None) -> Claim:
    """That one combination has a higher R2 than all others, or than all others of its size."""
    others = [b for b in BY_LABEL if b != best and size in (None, b.count("+") + 1)]
    compared = (
        Comparison(BY_LABEL[best], BY_LABEL[other], "VA", ("r2", dimension)) for other in others
    )
    return Claim(text, None, tuple(compared))


CLAIMS = (
    _best("All four sources together tell valence best (figure 4)", "valence", "V+B+D+O"),
    _best("All four sources together tell arousal best (figure 4)", "arousal", "V+B+D+O"),
    _best("Of single sources, drums tell valence best (table 1)", "valence", "D", 1),
    _best("Of two sources, bass and other tell valence best (figure 4)", "valence", "B+O", 2),
    _best("Of two sources, vocals and other tell arousal best (figure 4)", "arousal", "V+O", 2),
    _best("Of three sources, all but vocals tell valence best (figure 4)", "valence", "B+D+O", 3),
    _best("Of three sources, all but bass tell arousal best (figure 4)", "arousal", "V+D+O", 3),
)
"""What the paper reads from its figure 4, and of single sources from its table 1."""


def comparable_text(predictions: pd.DataFrame, first: str, second: str, dimension: str) -> str:
    """Whether two combinations do equally well, as a paragraph in Markdown.

    It holds where the whole interval of the difference lies within `COMPARABLE`, it does not
    hold where it lies outside.

    Parameters
    ----------
    predictions : DataFrame
        As in `r2_scores`.
    first, second : str
        In letters, such as "V+D+O".
    dimension : str
    """
    one, other = (predictions[predictions["system"] == BY_LABEL[s]] for s in (first, second))
    gap = paired_difference(one, other, "r2", dimension)
    inside = gap.low >= -COMPARABLE and gap.high <= COMPARABLE
    outside = gap.low > COMPARABLE or gap.high < -COMPARABLE
    verdict = HOLDS if inside else FAILS if outside else OPEN
    return (
        f"**On {dimension}, {first} does as well as {second}** (figure 4; R2 within {COMPARABLE}): "
        f"**{verdict}**. Difference {gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]."
    )


def in_letters(text: str) -> str:
    """A text in which the combinations go by the letters of their sources."""
    for label, system in BY_LABEL.items():
        if system != ALL_SOURCES:
            text = text.replace(system, label)
    return text.replace(ALL_SOURCES, label_of(ALL_SOURCES))


def combination_text(table: pd.DataFrame) -> pd.DataFrame:
    """A combination table for reading: one row a subset."""
    rows = {}
    for sources, frame in table.groupby("sources", sort=False):
        cells = {row["dimension"]: _estimate(row) for _, row in frame.iterrows()}
        rows[sources] = {f"R2 {dimension}": cells[dimension] for dimension in DIMENSIONS}
    return pd.DataFrame(rows).T


def _estimate(row: pd.Series) -> str:
    return f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"


def findings(table: pd.DataFrame, gained: pd.DataFrame, scores: Scores) -> str:
    """What figure 4 shows, in Markdown.

    Parameters
    ----------
    table, gained : DataFrame
        From `combination_table` and `gains`.
    scores : Scores
    """
    lines = []
    for dimension in DIMENSIONS:
        rows = table[table["dimension"] == dimension]
        best = rows.nlargest(1, "mean").iloc[0]
        sizes = rows.groupby("size")["mean"].mean()
        ranked = gained[gained["dimension"] == dimension].sort_values("gain", ascending=False)
        added = "; ".join(
            f"{row['source']} {row['gain']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
            for _, row in ranked.iterrows()
        )
        lines.append(
            f"- {dimension.capitalize()}: the highest R2 has {best['sources']}, {_estimate(best)}; "
            f"the mix has {scores[MIX, dimension].mean:.3f}. Subsets of one, two, three and four "
            f"sources have {', '.join(f'{mean:.3f}' for mean in sizes)} on average. Mean gain "
            f"from adding {added}."
        )
    return "\n".join(lines)
