"""Claims of papers, judged by a rule on paired differences.

A claim says that one system is better than another, or than several. On the same clips, the
difference of accuracy has a 95 % interval (paired bootstrap over songs and training seeds), and so
has that of R2 or RMSE (over songs, the same ones for all models of both systems). The difference is
*supported* where the whole interval lies above 0 (below 0 for RMSE), *contradicted* where it lies
on the other side, else *inconclusive*. That two systems are as good as each other within a margin
is supported where the whole interval lies within it, contradicted where all of it lies beyond one
end: an interval around 0 does not show that systems are equal.

A claim of several differences is supported if all of them are, and contradicted if one of them is
and stays so under Holm's correction [1]_ within the claim; else it is mixed where some are
supported. What a direction says of the paper depends on how near the runs are to its experiment:
see `mer.study.admissibility`.

References
----------
.. [1] S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
   Statistics 6(2), 65-70, 1979.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from mer.evaluation.resampling import Difference, mcnemar_exact
from mer.study.admissibility import Standing
from mer.study.scores import (
    LOWER_IS_BETTER,
    OWN_MODEL,
    Published,
    correctness,
    metric_name,
    paired_difference,
)
from mer.study.text import estimate, markdown, number, number_range

SUPPORTED = "supported"
SUPPORTED_IN_PART = "supported as far as it was run"
CONTRADICTED = "contradicted"
INCONCLUSIVE = "inconclusive"
NOT_REPRODUCED = "not reproduced"
NO_VERDICT = "no verdict"
NOT_RUN = "was not run"
PUBLISHED_SIZE = "published size"
"""End of the name of a place whose networks have it; only claims with such runs have it."""

_LEVEL = 0.05
"""Of Holm's correction, two-sided."""

_EPS = 1e-9
"""An interval that ends at 0 does so only up to rounding."""

_LISTED = 3
"""More differences than these are counted in a paragraph; a table has them all."""

Standings = Mapping[tuple[str, str], Standing]
"""By row and task (of a regression, "VA"), as `mer.study.standings.standings` gives them."""

Answers = Mapping[str, pd.DataFrame]
"""Predictions by their kind (`mer.study.scores.answers`); the first that two systems share
compares them."""

COLUMNS = (
    *("claim", "place", "better", "worse", "task", "answers"),
    *("difference", "low", "high", "n", "published", "covers", "direction", "p"),
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

    def direction(self, difference: Difference) -> str:
        """What this difference says of the comparison."""
        low, high = self._beyond(difference)
        if self.margin is not None:
            within = max(-difference.low, difference.high) <= self.margin + _EPS
            return SUPPORTED if within else CONTRADICTED if low or high else INCONCLUSIVE
        if self.metric in LOWER_IS_BETTER:
            low, high = high, low
        return SUPPORTED if high else CONTRADICTED if low else INCONCLUSIVE

    def _beyond(self, difference: Difference) -> tuple[bool, bool]:
        """Whether the whole interval lies below 0 (or the margin), and whether above it."""
        bound = (self.margin or 0.0) + _EPS
        return difference.high < -bound, difference.low > bound

    def p(self, difference: Difference) -> float:
        """Two-sided p value of a difference as far from 0 (or the margin), NaN where it is within.

        From the width of the interval, as if resamples were normal.
        """
        distance = abs(difference.mean) - (self.margin or 0.0)
        width = difference.high - difference.low
        if np.isnan(width) or distance < 0:
            return np.nan
        error = max(width / (2 * norm.ppf(0.975)), _EPS)
        return float(2 * norm.sf(distance / error))

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
        judgement = (self.direction(difference), self.p(difference))
        found = (*difference, n, published, covers, *judgement)
        return dict(zip(COLUMNS, (*compared, *found), strict=True))


@dataclass(frozen=True)
class Claim:
    """A statement of a paper about its results.

    Attributes
    ----------
    text : str
        In our words.
    table : str or None
        Number of the paper's table behind it, or "figure 4"; None for a question of our own.
    comparisons : tuple of Comparison
    """

    text: str
    table: str | None
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class Judged:
    """Claims, and the differences by which they are judged on some splits of a corpus.

    Attributes
    ----------
    claims : sequence of Claim
    differences : DataFrame
        From `judge`.
    corpus : str
        Its name.
    standings : mapping
        Standings of the rows by split, of all splits in order; empty ones where runs have no grade.
    """

    claims: Sequence[Claim]
    differences: pd.DataFrame
    corpus: str
    standings: Mapping[str, Standings]


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
        (the difference; missing where there is none), covers (whether the interval holds it),
        direction and p (see `Comparison`).
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


def direction(claim: Claim, judged: pd.DataFrame, place: str) -> str:
    """Direction of a claim on one split, from `judge`."""
    rows = _rows(claim, judged, place)
    supported = int((rows["direction"] == SUPPORTED).sum())
    if rows.empty:
        return NOT_RUN
    if supported == len(rows):
        return SUPPORTED if len(rows) == len(claim.comparisons) else SUPPORTED_IN_PART
    against = rows["direction"] == CONTRADICTED
    if len(rows) > 1:
        against &= holm(rows["p"].to_numpy(float)) <= _LEVEL
    if against.any():
        return CONTRADICTED
    return f"mixed ({supported} of {len(rows)})" if supported else INCONCLUSIVE


def kinds(verdicts: pd.Series) -> pd.Series:
    """Verdicts without what they are about: "mixed", "supported"."""
    return verdicts.str.replace(r" \(.*| as far.*", "", regex=True)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p values of p values, both of shape (n,); NaN counts as 1."""
    order = np.argsort(np.nan_to_num(p, nan=1.0), kind="stable")
    steps = np.nan_to_num(p, nan=1.0)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def verdict(claim: Claim, judged: pd.DataFrame, place: str, graded: Iterable[Standing] = ()) -> str:
    """Verdict on a claim on one split: its direction, as far as the runs behind it allow.

    `graded` are the standings of its rows, the lowest grade first (`standings_of`).
    """
    found, lowest = direction(claim, judged, place), next(iter(graded), None)
    if found == NOT_RUN or lowest is None or lowest.grade == "A":
        return found
    if lowest.grade == "D":
        return NO_VERDICT
    if found != CONTRADICTED:
        return found
    return f"not seen {lowest.elsewhere}" if lowest.grade == "B" else NOT_REPRODUCED


def standings_of(claim: Claim, standings: Standings) -> list[Standing]:
    """Of the rows of a claim, the lowest grade first."""
    found = {}
    for comparison in claim.comparisons:
        task = comparison.task if comparison.metric == "accuracy" else "VA"
        for row in (comparison.better, comparison.worse):
            # Arousal and valence of heads come from runs on four quadrants
            standing = standings.get((row, task)) or standings.get((row, "4Q"))
            if standing:
                found[row, standing] = standing
    return sorted(found.values(), key=lambda standing: standing.grade, reverse=True)


def anchor(corpus: str, claim: str) -> str:
    """The id of the paragraph of a claim; a page may have the same claim on several corpora."""
    return "claim-" + re.sub(r"[^a-z0-9]+", "-", f"{corpus} {claim}".lower()).strip("-")


def paragraphs(judged: Judged, *, published_on: str | None = None) -> str:
    """A paragraph a claim in Markdown: verdicts, and the differences behind them.

    Parameters
    ----------
    judged : Judged
    published_on : str, optional
        What the published values were measured on, if it is not what these were.
    """
    blocks = []
    for claim in judged.claims:
        place_of = f'<span id="{anchor(judged.corpus, claim.text)}"></span>'
        lines = [f"{place_of}**{claim.text}**{_source(claim)}", ""]
        for place, standings in judged.standings.items():
            rows = _rows(claim, judged.differences, place)
            if rows.empty and place.endswith(PUBLISHED_SIZE):
                continue
            graded = standings_of(claim, standings)
            parts = [_summary(rows, published_on)] if len(rows) else []
            parts += [markdown(lowest_grade(graded))] if len(rows) and graded else []
            text = "".join(f" {part}." for part in parts)
            found = verdict(claim, judged.differences, place, graded)
            lines.append(f"- {place.capitalize()}: **{found}**.{text}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _source(claim: Claim) -> str:
    if claim.table is None:
        return ""
    return f" ({claim.table})" if claim.table.startswith("figure") else f" (table {claim.table})"


def lowest_grade(graded: Sequence[Standing]) -> str:
    """The lowest grade of a claim, and the rows that have it, from `standings_of`."""
    by_row = {s.system: s.text for s in graded if s.grade == graded[0].grade}
    shown = "; ".join([*by_row.values()][:_LISTED])
    more = len(by_row) - _LISTED
    return f"Grade {graded[0].grade}: {shown}" + (f"; and {more} more" if more > 0 else "")


def _rows(claim: Claim, judged: pd.DataFrame, place: str) -> pd.DataFrame:
    return judged[(judged["claim"] == claim.text) & (judged["place"] == place)]


def _summary(rows: pd.DataFrame, published_on: str | None) -> str:
    if len(rows) <= _LISTED:
        return "; ".join(_sentence(row, published_on) for _, row in rows.iterrows())
    counts = rows["direction"].value_counts(sort=False)
    kinds = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    ends = number_range(*rows["difference"].agg(["min", "max"]), signed=True)
    return f"{len(rows)} differences: {kinds} ({ends})"


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
    there is any) and direction.
    """
    rows = judged.drop_duplicates(["place", "better", "worse", "task"])
    table = pd.DataFrame(
        {
            "place": rows["place"],
            "of": rows["task"],
            "difference": [_difference(row) for row in rows.to_dict("records")],
            "published": [number(value, signed=True) for value in rows["published"]],
            "direction": rows["direction"],
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
            "discordant clips": table["discordant"],
        }
    ).set_axis(pd.Index([f"{reference} minus {name}" for name in table["system"]]))
