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

from mer.evaluation.resampling import Difference, mcnemar_exact
from mer.study.scores import (
    LOWER_IS_BETTER,
    OWN_MODEL,
    Published,
    correctness,
    metric_name,
    paired_difference,
)
from mer.study.text import estimate, markdown, number

HOLDS = "holds"
HOLDS_IN_PART = "holds as far as it was run"
FAILS = "does not hold"
OPEN = "cannot be told from this much data"
NOT_RUN = "was not run"
_SEVERAL = {HOLDS: "hold", FAILS: "do not hold", OPEN: "cannot be told"}

_EPS = 1e-9
"""An interval that ends at 0 does so only up to rounding."""

_LISTED = 3
"""More differences than these are counted in a paragraph; a table has them all."""

Answers = Mapping[str, pd.DataFrame]
"""Predictions by their kind (`mer.study.scores.answers`); the first that two systems share
compares them."""

COLUMNS = (
    *("claim", "place", "better", "worse", "task", "answers"),
    *("difference", "low", "high", "n", "published", "covers", "verdict"),
)


@dataclass(frozen=True)
class Comparison:
    """That one system is better than another.

    Attributes
    ----------
    better, worse : str
        Rows.
    task : str
        Or dimension of a regression.
    metric : {"accuracy", "r2", "rmse"}
    margin : float, optional
        If given, the claim is another: that the two are as good as each other, which is that they
        differ by no more than this.
    """

    better: str
    worse: str
    task: str = "4Q"
    metric: str = "accuracy"
    margin: float | None = None

    @property
    def measured(self) -> str:
        """What is compared: the task, or metric and dimension."""
        return self.task if self.metric == "accuracy" else metric_name(self.metric, self.task)

    def verdict(self, difference: Difference) -> str:
        """Verdict on this difference."""
        if self.margin is not None:
            within = -self.margin - _EPS <= difference.low and difference.high <= self.margin + _EPS
            beyond = difference.low > self.margin + _EPS or difference.high < -self.margin - _EPS
            return HOLDS if within else FAILS if beyond else OPEN
        above, below = difference.low > _EPS, difference.high < -_EPS
        if self.metric in LOWER_IS_BETTER:
            above, below = below, above
        return HOLDS if above else FAILS if below else OPEN

    def judged(
        self,
        claim: str,
        place: str,
        difference: Difference,
        n: int,
        *,
        by: str = OWN_MODEL,
        published: float = np.nan,
    ) -> dict[str, Any]:
        """A row of `judge` on this difference."""
        inside = bool(difference.low <= published <= difference.high)
        covers = None if np.isnan(published) else inside
        compared = (claim, place, self.better, self.worse, self.measured, by)
        found = (*difference, n, published, covers, self.verdict(difference))
        return dict(zip(COLUMNS, (*compared, *found), strict=True))


@dataclass(frozen=True)
class Claim:
    """A statement of a paper about its results.

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
    claims: Iterable[Claim], places: Mapping[str, Answers], published: Published
) -> pd.DataFrame:
    """All differences that the claims are about.

    `places` are predictions by the name of the split (or the folds of it) that they are of.

    Returns
    -------
    DataFrame
        One row a claim, place and comparison for which both systems were run: claim, place,
        better, worse, task (or metric and dimension of a regression), answers (kind of prediction),
        difference (better - worse), low, high, n (clips), published
        (the difference; missing where there is none), covers (whether the interval holds it) and
        verdict.
    """
    rows = [
        row
        for claim in claims
        for place, answers in places.items()
        for comparison in claim.comparisons
        if (row := _judged(claim, place, comparison, answers, published))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _judged(
    claim: Claim, place: str, comparison: Comparison, answers: Answers, published: Published
) -> dict[str, Any] | None:
    systems = (comparison.better, comparison.worse)
    task = comparison.task if comparison.metric == "accuracy" else "VA"
    for kind, frame in answers.items():
        of_task = frame[frame["task"] == task]
        first, second = (of_task[of_task["system"] == system] for system in systems)
        if first.empty or second.empty:
            continue
        difference = paired_difference(first, second, comparison.metric, comparison.task)
        keys = [(system, comparison.task, comparison.metric) for system in systems]
        gain = published.get(keys[0], np.nan) - published.get(keys[1], np.nan)
        n = pd.concat([first, second])["id"].nunique()
        return comparison.judged(claim.text, place, difference, n, by=kind, published=gain)
    return None


def verdict(claim: Claim, judged: pd.DataFrame, place: str) -> str:
    """Verdict on a claim on one split, from `judge`."""
    verdicts = _rows(claim, judged, place)["verdict"]
    if verdicts.empty:
        return NOT_RUN
    for decisive in (FAILS, OPEN):
        if decisive in set(verdicts):
            return decisive
    return HOLDS if len(verdicts) == len(claim.comparisons) else HOLDS_IN_PART


def paragraphs(
    claims: Sequence[Claim],
    judged: pd.DataFrame,
    places: Iterable[str],
    *,
    published_on: str | None = None,
) -> str:
    """A paragraph a claim in Markdown: verdicts, and the differences (of `judge`) behind them.

    `published_on` is what the published values were measured on, if it is not what these were.
    """
    places = list(places)
    blocks = []
    for claim in claims:
        source = f" (table {claim.table})" if claim.table else ""
        lines = [f"**{claim.text}**{source}", ""]
        for place in places:
            summary = _summary(_rows(claim, judged, place), published_on)
            stop = f". {summary}." if summary else "."
            lines.append(f"- {place.capitalize()}: **{verdict(claim, judged, place)}**{stop}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _rows(claim: Claim, judged: pd.DataFrame, place: str) -> pd.DataFrame:
    return judged[(judged["claim"] == claim.text) & (judged["place"] == place)]


def _summary(rows: pd.DataFrame, published_on: str | None) -> str:
    if len(rows) <= _LISTED:
        return "; ".join(_sentence(row, published_on) for _, row in rows.iterrows())
    kinds = rows["verdict"].value_counts(sort=False)
    counts = ", ".join(
        f"{n} {kind if n == 1 and kind != OPEN else _SEVERAL[str(kind)]}"
        for kind, n in kinds.items()
    )
    ends = (number(end, signed=True) for end in rows["difference"].agg(["min", "max"]))
    return f"Of {len(rows)} differences {counts}; they reach from {' to '.join(ends)}"


def _sentence(row: pd.Series, published_on: str | None) -> str:
    by = f" by {row['answers']}" if row["task"] in ("A", "V") else ""
    text = f"{markdown(row['better'])} minus {markdown(row['worse'])}, {row['task']}{by}: "
    text += _difference(row)
    if pd.isna(row["published"]):
        return text
    value = number(row["published"], signed=True)
    if published_on:
        return f"{text} (published, on {published_on}: {value})"
    return f"{text} (published {value}, {'inside' if row['covers'] else 'outside'} the interval)"


def _difference(row: Any) -> str:
    return estimate(row["difference"], row["low"], row["high"], signed=True)


def differences_text(judged: pd.DataFrame) -> pd.DataFrame:
    """Rows of `judge` as text, each difference once, indexed by "better minus worse".

    Columns place, of (task, or metric and dimension), difference [95 % interval], published (where
    there is any) and verdict.
    """
    rows = judged.drop_duplicates(["place", "better", "worse", "task"])
    table = pd.DataFrame(
        {
            "place": rows["place"],
            "of": rows["task"],
            "difference": [_difference(row) for row in rows.to_dict("records")],
            "published": [number(value, signed=True) for value in rows["published"]],
            "that it is better": rows["verdict"],
        }
    )
    table.index = pd.Index(rows["better"] + " minus " + rows["worse"])
    several, known = len(set(rows["place"])) > 1, rows["published"].notna().any()
    return table.drop(columns=["place"] * (not several) + ["published"] * (not known))


def against(predictions: pd.DataFrame, reference: str, task: str) -> pd.DataFrame:
    """Difference of a reference from every other system on the same clips of one split.

    Returns
    -------
    DataFrame
        One row a system: system, difference (reference - system), low, high (as
        `paired_difference`), p (exact McNemar test on the first seed of both), discordant (its
        clips that only one of the two classifies correctly). Empty if the reference was not run.
    """
    chosen = predictions[predictions["task"] == task]
    own = chosen[chosen["system"] == reference]
    rows = []
    for system, frame in chosen.groupby("system", sort=False):
        if system == reference or own.empty:
            continue
        difference = paired_difference(own, frame)
        first, second = (correctness(part).iloc[:, 0].astype(bool) for part in (own, frame))
        facts = {"p": mcnemar_exact(second, first), "discordant": int((first != second).sum())}
        ends = {"difference": difference.mean, "low": difference.low, "high": difference.high}
        rows.append({"system": system, **ends, **facts})
    return pd.DataFrame(rows)


def against_text(table: pd.DataFrame, reference: str) -> pd.DataFrame:
    """`against` for reading, indexed by "reference minus system"."""
    p = ["< .001" if value < 0.001 else number(value) for value in table["p"]]
    return pd.DataFrame(
        {
            "difference": [_difference(row) for row in table.to_dict("records")],
            "p (McNemar)": p,
            "clips that only one has right": table["discordant"],
        }
    ).set_axis(pd.Index([f"{reference} minus {name}" for name in table["system"]]))
