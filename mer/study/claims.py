"""Claims of papers, judged by a rule on paired differences.

A claim says that one system is better than another, or than several. On the same clips, the
difference of accuracy has a 95 % interval (paired bootstrap over songs and training seeds), and so
has that of R2 or RMSE (over songs, the same ones for all models of both systems). The claim holds
where the whole interval lies above 0 (below 0 for RMSE), it does not hold where it lies on the
other side, and else it cannot be told. That two systems are as good as each other within a margin
holds where the whole interval lies within it, does not hold where all of it lies beyond one end,
and else cannot be told: an interval around 0 does not show that systems are equal. A claim of
several differences holds if all of them do, and does not hold if one of them does not. The rule
judges the direction; the published size stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mer.errors import ParameterError
from mer.evaluation.uncertainty import Difference
from mer.study.regression import LOWER_IS_BETTER, paired_difference, score_name
from mer.study.tables import correctness

HOLDS = "holds"
HOLDS_IN_PART = "holds as far as it was run"
FAILS = "does not hold"
OPEN = "cannot be told from this much data"
NOT_RUN = "was not run"
_SEVERAL = {HOLDS: "hold", FAILS: "do not hold", OPEN: "cannot be told"}

_EPS = 1e-9
"""An interval that ends at 0 does so only up to rounding."""

_TOLD_ONE_BY_ONE = 3
"""More differences than these are counted in a paragraph; a table has them all."""

Answers = Mapping[str, pd.DataFrame]
"""Predictions by what gave them, such as a model for the task; the first that two systems share
compares them."""

PublishedValues = Mapping[Any, float]
"""`mer.study.tables.PublishedCells`, or `mer.study.regression.PublishedScores`."""


@dataclass(frozen=True)
class Comparison:
    """That one system is better than another.

    Attributes
    ----------
    better, worse : str
        Systems.
    task : str
    score : tuple of str, optional
        Metric ("r2" or "rmse") and dimension of a regression; else accuracy is compared.
    margin : float, optional
        If given, the claim is another: that the two are as good as each other, which is that they
        differ by no more than this.
    """

    better: str
    worse: str
    task: str = "4Q"
    score: tuple[str, str] | None = None
    margin: float | None = None

    @property
    def measured(self) -> str:
        """What is compared: the task, or metric and dimension."""
        return self.task if self.score is None else score_name(*self.score)

    def cell(self, system: str) -> tuple[str, ...]:
        """Where the published value of a system stands."""
        return (system, self.task) if self.score is None else (system, *self.score)


@dataclass(frozen=True)
class Claim:
    """What a paper says of its results.

    Attributes
    ----------
    text : str
        In our words.
    table : str or None
        Number of the paper's table behind it; None for a question of our own.
    comparisons : tuple of Comparison
    """

    text: str
    table: str | None
    comparisons: tuple[Comparison, ...]


def judge(
    claims: Iterable[Claim], places: Mapping[str, Answers], published: PublishedValues
) -> pd.DataFrame:
    """All differences that the claims are about.

    Parameters
    ----------
    claims : iterable of Claim
    places : mapping of str to Answers
        Predictions, by the name of the split (or the folds of it) that they are of.
    published : mapping
        Accuracy by (system, task), or score by (system, metric, dimension).

    Returns
    -------
    DataFrame
        One row a claim, place and comparison for which both systems were run: claim, place,
        better, worse, task (or metric and dimension of a regression), answers (what gave them),
        difference (better - worse), low, high, n (clips), published
        (the difference; missing where there is none), covers (whether the interval holds it) and
        verdict.
    """
    rows = [
        {"claim": claim.text, "place": place, **found}
        for claim in claims
        for place, answers in places.items()
        for comparison in claim.comparisons
        if (found := _difference(comparison, answers, published))
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


_COLUMNS = (
    "claim",
    "place",
    "better",
    "worse",
    "task",
    "answers",
    "difference",
    "low",
    "high",
    "n",
    "published",
    "covers",
    "verdict",
)


def _difference(
    comparison: Comparison, answers: Answers, published: PublishedValues
) -> dict[str, object] | None:
    systems = (comparison.better, comparison.worse)
    chosen = {
        kind: frame[(frame["task"] == comparison.task) & frame["system"].isin(systems)]
        for kind, frame in answers.items()
    }
    shared = [kind for kind, frame in chosen.items() if set(frame["system"]) == set(systems)]
    if not shared:
        return None
    kind, frame = shared[0], chosen[shared[0]]
    found = _paired(comparison, frame)
    cells = [published.get(comparison.cell(system), np.nan) for system in systems]
    gain = cells[0] - cells[1]
    return {
        "better": comparison.better,
        "worse": comparison.worse,
        "task": comparison.measured,
        "answers": kind,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "n": frame["id"].nunique(),
        "published": gain,
        "covers": None if np.isnan(gain) else bool(found.low <= gain <= found.high),
        "verdict": _verdict(comparison, found),
    }


def _paired(comparison: Comparison, frame: pd.DataFrame) -> Difference:
    systems = (comparison.better, comparison.worse)
    if comparison.score is None:
        return difference(*(correctness(frame, system, comparison.task) for system in systems))
    first, second = (frame[frame["system"] == system] for system in systems)
    return paired_difference(first, second, *comparison.score)


def _verdict(comparison: Comparison, found: Difference) -> str:
    if comparison.margin is not None:
        return _equivalence(found, comparison.margin)
    above, below = found.low > _EPS, found.high < -_EPS
    if comparison.score is not None and comparison.score[0] in LOWER_IS_BETTER:
        above, below = below, above
    return HOLDS if above else FAILS if below else OPEN


def _equivalence(found: Difference, margin: float) -> str:
    if -margin - _EPS <= found.low and found.high <= margin + _EPS:
        return HOLDS
    return FAILS if found.low > margin + _EPS or found.high < -margin - _EPS else OPEN


def difference(
    first: pd.DataFrame, second: pd.DataFrame, *, n_resamples: int = 2000, seed: int = 0
) -> Difference:
    """Mean difference of two systems on the same clips, with a 95 % percentile interval.

    A resample draws songs, each with all its clips and for both systems, and training seeds, for
    each system by itself: a network that is trained again answers differently, which songs alone
    do not show. From few seeds their spread comes out too small, from one not at all.

    Parameters
    ----------
    first, second : DataFrame
        From `mer.study.tables.correctness`: a row a clip, a column a seed.
    n_resamples, seed : int

    Returns
    -------
    Difference

    Raises
    ------
    ParameterError
        If the systems were tested on different clips.
    """
    if not first.index.equals(second.index):
        raise ParameterError("two systems of a claim were tested on different clips")
    rng = np.random.default_rng(seed)
    codes, songs = pd.factorize(first.index.get_level_values("group"))
    drawn = rng.integers(len(songs), size=(n_resamples, len(songs)))
    clips = np.bincount(codes)[drawn].sum(axis=1)
    right = [resampled_answers(table, codes, drawn, rng) for table in (first, second)]
    low, high = np.quantile((right[0] - right[1]) / clips, (0.025, 0.975))
    mean = first.to_numpy().mean() - second.to_numpy().mean()
    return Difference(float(mean), float(low), float(high))


def resampled_answers(
    table: pd.DataFrame, codes: np.ndarray, drawn: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Right answers in each resample of songs and seeds, shape (n_resamples,).

    Parameters
    ----------
    table : DataFrame
        From `mer.study.tables.correctness`.
    codes : np.ndarray, shape (n_clips,)
        Song of each clip, counted from 0.
    drawn : np.ndarray, shape (n_resamples, n_songs)
        Songs of each resample.
    rng : np.random.Generator
        Draws the seeds.
    """
    n_seeds = table.shape[1]
    seeds = rng.integers(n_seeds, size=(len(drawn), n_seeds))
    weights = (seeds[:, None] == np.arange(n_seeds)[:, None]).mean(axis=2)
    by_song = [np.bincount(codes, weights=answers) for answers in table.to_numpy().T]
    sums = np.stack([song[drawn].sum(axis=1) for song in by_song], axis=1)
    resampled: np.ndarray = (weights * sums).sum(axis=1)
    return resampled


def verdict(claim: Claim, judged: pd.DataFrame, place: str) -> str:
    """Verdict on a claim in one place, from `judge`."""
    found = _rows(claim, judged, place)["verdict"]
    if found.empty:
        return NOT_RUN
    if (found == FAILS).any():
        return FAILS
    if (found == OPEN).any():
        return OPEN
    return HOLDS if len(found) == len(claim.comparisons) else HOLDS_IN_PART


def paragraphs(
    claims: Sequence[Claim],
    judged: pd.DataFrame,
    places: Iterable[str],
    *,
    published_on: str | None = None,
) -> str:
    """A paragraph a claim in Markdown: verdicts, and the differences that they come from.

    Parameters
    ----------
    claims : sequence of Claim
    judged : DataFrame
        From `judge`.
    places : iterable of str
    published_on : str, optional
        What the published values were measured on, if it is not what these were.
    """
    places = list(places)
    blocks = []
    for claim in claims:
        source = f" (table {claim.table})" if claim.table else ""
        lines = [f"**{claim.text}**{source}", ""]
        for place in places:
            rows = _rows(claim, judged, place)
            found = _summed_up(rows, published_on)
            stop = f". {found}." if found else "."
            lines.append(f"- {place.capitalize()}: **{verdict(claim, judged, place)}**{stop}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _rows(claim: Claim, judged: pd.DataFrame, place: str) -> pd.DataFrame:
    return judged[(judged["claim"] == claim.text) & (judged["place"] == place)]


def _summed_up(rows: pd.DataFrame, published_on: str | None) -> str:
    if len(rows) <= _TOLD_ONE_BY_ONE:
        return "; ".join(_told(row, published_on) for _, row in rows.iterrows())
    kinds = rows["verdict"].value_counts(sort=False)
    counts = ", ".join(
        f"{n} {kind if n == 1 and kind != OPEN else _SEVERAL[str(kind)]}"
        for kind, n in kinds.items()
    )
    ends = rows["difference"].min(), rows["difference"].max()
    return f"Of {len(rows)} differences {counts}; they reach from {ends[0]:+.3f} to {ends[1]:+.3f}"


def _told(row: pd.Series, published_on: str | None) -> str:
    by = f" by {row['answers']}" if row["task"] in ("A", "V") else ""
    text = f"{row['better']} minus {row['worse']}, {row['task']}{by}: {row['difference']:+.3f} "
    text += f"[{row['low']:+.3f}, {row['high']:+.3f}]"
    if pd.isna(row["published"]):
        return text
    if published_on:
        return f"{text} (published, on {published_on}: {row['published']:+.3f})"
    where = "inside" if row["covers"] else "outside"
    return f"{text} (published {row['published']:+.3f}, {where} the interval)"


def differences_text(judged: pd.DataFrame) -> pd.DataFrame:
    """Judged differences for reading, each once: one row a difference.

    Parameters
    ----------
    judged : DataFrame
        Rows of `judge`.

    Returns
    -------
    DataFrame
        Text, indexed by "better minus worse": place, of (task, or metric and dimension),
        difference [95 % interval], published (where there is any) and verdict.
    """
    rows = judged.drop_duplicates(["place", "better", "worse", "task"])
    table = pd.DataFrame(
        {
            "place": rows["place"],
            "of": rows["task"],
            "difference": [
                f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
                for row in rows.itertuples()
            ],
            "published": ["–" if pd.isna(v) else f"{v:+.3f}" for v in rows["published"]],
            "that it is better": rows["verdict"],
        }
    )
    table.index = pd.Index(rows["better"] + " minus " + rows["worse"])
    several, known = len(set(rows["place"])) > 1, rows["published"].notna().any()
    return table.drop(columns=["place"] * (not several) + ["published"] * (not known))
