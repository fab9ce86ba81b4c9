"""Which combination of sources predicts best (figure 4), and which source each clip (figure 3).

All from stored predictions of C2D: late fusions with frozen source models, and single sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.errors import ParameterError
from mer.evaluation.contributions import agreement_by_chance, association, shapley_values
from mer.evaluation.resampling import Interval, Resampler, interval
from mer.papers.deberardinis2020.systems import SOURCES
from mer.papers.deberardinis2020.tables import (
    COMBINED,
    COMBINED_MEANS,
    SINGLE,
    SUBSETS,
    about,
    letters,
    source_name,
)
from mer.separation import MIX
from mer.study import plots
from mer.study.claims import (
    COLUMNS,
    CONTRADICTED,
    INCONCLUSIVE,
    SUPPORTED,
    Claim,
    Comparison,
    Judged,
    Standings,
)
from mer.study.results import Results
from mer.study.scores import DIMENSIONS, Score, regression_score
from mer.study.study import Study
from mer.study.tables import NamedRows, Rows
from mer.study.text import estimate, number
from mer.study.verdicts import standings

NO_SOURCE, MIX_ROW, ALL_SOURCES = "Mean", source_name("C2D", MIX), COMBINED[letters(SOURCES)]
"""Rows: the worth of the empty subset, the network on the mix, the fusion of all sources."""

JOINED_BY = {"head of the paper": COMBINED, "mean": COMBINED_MEANS}
"""Rows by the letters of their sources, by how the predictions of sources are joined."""

SINGLE_MODELS = {source_name("C2D", source): source for source in SOURCES}
"""Rows on one source, each with its source."""

SINGLE_ROWS: Rows = NamedRows({name: SINGLE[name] for name in SINGLE_MODELS})
_COLOURS = (plots.VERMILLION, plots.BLUE, plots.GREEN, plots.PURPLE)
_BY_SOURCE: dict[str, Any] = {
    "hue": "source",
    "palette": dict(zip(SOURCES, _COLOURS, strict=True)),
    "markers": dict(zip(SOURCES, "os^D", strict=True)),
}
"""How figures show each source."""

CRITERIA = (*DIMENSIONS, "mean")
"""By which a source is best for a clip: the error of valence, of arousal, or the mean of both."""

REGIONS = {
    (True, True): "high valence, high arousal",
    (False, True): "low valence, high arousal",
    (False, False): "low valence, low arousal",
    (True, False): "high valence, low arousal",
}
"""Quarters of the plane around the median labels: around 0, a corpus may have empty ones."""

_PLANE = [REGIONS[valence, arousal] for arousal in (True, False) for valence in (False, True)]
"""From above and from the left."""

MAJORITY = 0.5
"""Our reading of "owns": best for more than this part of the clips of a region."""


Scores = Mapping[tuple[str, str], Score]
"""By row and dimension."""


def r2_scores(predictions: pd.DataFrame) -> Scores:
    """R2 of every row, with resamples that are the same for all of them.

    A ParameterError says if two systems were tested on different clips or folds.
    """
    tested = predictions.groupby("system", sort=False)[["fold", "id"]].agg(frozenset)
    if len(set(map(tuple, tested.to_numpy()))) > 1:
        raise ParameterError("the systems were tested on different clips or folds")
    return {
        (str(system), dimension): regression_score(frame, "r2", dimension)
        for system, frame in predictions.groupby("system", sort=False)
        for dimension in DIMENSIONS
    }


def combination_table(scores: Scores, rows_of: Mapping[str, str] = COMBINED) -> pd.DataFrame:
    """R2 of all subsets of the sources (figure 4), in order of size.

    `rows_of` are rows by the letters of their sources: `COMBINED` or `COMBINED_MEANS`.

    Columns sources (letters), size, dimension, mean, low, high (95 % interval over groups).
    """
    rows = []
    for (label, system), dimension in product(rows_of.items(), DIMENSIONS):
        score = scores[system, dimension]
        row = {"sources": label, "size": label.count("+") + 1, "dimension": dimension}
        rows.append({**row, "mean": score.mean, **interval(score.resampled)._asdict()})
    return pd.DataFrame(rows)


def gains(scores: Scores) -> pd.DataFrame:
    """Mean gain of R2 from adding a source, over all orders of adding them (Shapley values).

    Columns dimension, source, gain, low, high. Gains of a dimension sum to the R2 of all sources
    less that of none; a ParameterError says if a combination is missing.
    """
    subsets = {frozenset[str](): NO_SOURCE, **{frozenset(s): COMBINED[letters(s)] for s in SUBSETS}}
    rows = []
    for dimension in DIMENSIONS:
        keys = {s: (row, dimension) for s, row in subsets.items() if (row, dimension) in scores}
        means = shapley_values({s: scores[key].mean for s, key in keys.items()}, SOURCES)
        drawn = shapley_values({s: scores[key].resampled for s, key in keys.items()}, SOURCES)
        for source in SOURCES:
            row = {"dimension": dimension, "source": source, "gain": float(means[source])}
            rows.append({**row, **interval(drawn[source])._asdict()})
    return pd.DataFrame(rows)


def _best(text: str, table: str, dimension: str, best: str, size: int | None = None) -> Claim:
    """That one combination has a higher R2 than all others, or than all others of its size."""
    others = [b for b in COMBINED if b != best and size in (None, b.count("+") + 1)]
    return Claim(text, table, tuple(Comparison(best, b, dimension, "r2") for b in others))


_FIGURE = "figure 4"

CLAIMS = (
    _best("All four sources together predict valence best", _FIGURE, "valence", "V+B+D+O"),
    _best("All four sources together predict arousal best", _FIGURE, "arousal", "V+B+D+O"),
    _best("Among single sources, drums predict valence best", "1", "valence", "D", 1),
    *(
        _best(f"Among {among} predict {dimension} best", _FIGURE, dimension, best, size)
        for among, dimension, best, size in (
            ("pairs of sources, bass and other", "valence", "B+O", 2),
            ("pairs of sources, vocals and other", "arousal", "V+O", 2),
            ("triples of sources, all but vocals", "valence", "B+D+O", 3),
            ("triples of sources, all but bass", "arousal", "V+D+O", 3),
        )
    ),
)
"""What the paper reads from its figure 4, and of single sources from its table 1.

Combinations go by the letters of their sources.
"""

EQUAL = Claim(
    "On arousal, V+D+O is as accurate as V+B+D+O (R2 within .02)",
    _FIGURE,
    (Comparison("V+D+O", "V+B+D+O", "arousal", "r2", margin=0.02),),
)
"""The margin is our reading of "comparable"."""


def judge_combinations(
    claims: Iterable[Claim],
    scores: Scores,
    place: str,
    n_clips: int,
    rows_of: Mapping[str, str] = COMBINED,
) -> pd.DataFrame:
    """Differences behind claims about combinations, as `mer.study.claims.judge` gives them.

    `rows_of` as for `combination_table`.
    """
    rows = []
    for claim in claims:
        for comparison in claim.comparisons:
            names = (rows_of[comparison.better], rows_of[comparison.worse])
            if not {(name, comparison.task) for name in names} <= scores.keys():
                continue
            one, other = (scores[name, comparison.task] for name in names)
            rows.append(comparison.judged(claim.text, place, one - other, n_clips))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def judge_both(claims: Sequence[Claim], scores: Scores, n_clips: int) -> pd.DataFrame:
    """`judge_combinations` of both ways to join sources, `JOINED_BY`, as places."""
    parts = [
        judge_combinations(claims, scores, place, n_clips, rows_of)
        for place, rows_of in JOINED_BY.items()
    ]
    return pd.concat(parts, ignore_index=True)


def judged_claims(subsets: Results, scores: Scores) -> Judged:
    """All claims about combinations, judged by the scores of these results."""
    claims = (*CLAIMS, EQUAL)
    differences = judge_both(claims, scores, subsets.predictions["id"].nunique())
    graded = by_letters(standings(subsets))
    return Judged(claims, differences, subsets.study.corpus_name, graded)


def by_letters(graded: Standings) -> dict[str, Standings]:
    """Standings of combinations under the letters of their sources, by a key of `JOINED_BY`."""
    return {
        joined: {
            (label, task): replace(standing, system=label)
            for label, row in rows_of.items()
            for (name, task), standing in graded.items()
            if name == row
        }
        for joined, rows_of in JOINED_BY.items()
    }


def combination_figure(tables: Mapping[str, pd.DataFrame], scores: Scores) -> Figure:
    """R2 of all subsets of the sources, a panel a dimension; the network on the mix is a band.

    `tables` are from `combination_table`, by the way in which sources are joined.
    """
    mix = {dimension: scores[MIX_ROW, dimension] for dimension in DIMENSIONS}
    return plots.forest(
        pd.concat([table.assign(joined=name) for name, table in tables.items()]),
        "sources",
        column="dimension",
        hue="joined",
        vlines={"mix": {d: score.mean for d, score in mix.items()}},
        bands={"_mix": {d: interval(score.resampled) for d, score in mix.items()}},
        xlabel="R2",
    )


def gain_figure(gained: pd.DataFrame) -> Figure:
    """Mean gain from adding each source, from `gains`."""
    layout: dict[str, Any] = {"column": "dimension", "vlines": {"_zero": 0.0}, "sharex": True}
    return plots.forest(gained, "source", "gain", xlabel="Mean gain of R2", **layout, **_BY_SOURCE)


def combination_summary(
    study: Study,
    predictions: pd.DataFrame,
    tables: Sequence[pd.DataFrame],
    gained: pd.DataFrame,
    scores: Scores,
) -> str:
    """What figure 4 shows, in Markdown, from `combination_table` of the head and of the mean."""
    clips, models = number(predictions["id"].nunique()), predictions["fold"].nunique()
    intro = f"Test clips: {clips}; models of each combination: {models}."
    lines = [f"{about(study)} {intro}", ""]
    for dimension in DIMENSIONS:
        rows, means = (table[table["dimension"] == dimension] for table in tables)
        best = rows.nlargest(1, "mean").iloc[0]
        sizes, plain = (
            ", ".join(number(mean) for mean in part.groupby("size")["mean"].mean())
            for part in (rows, means)
        )
        ranked = gained[gained["dimension"] == dimension].sort_values("gain", ascending=False)
        added = "; ".join(
            f"{row['source']} {estimate(row['gain'], row['low'], row['high'], signed=True)}"
            for row in ranked.to_dict("records")
        )
        highest = estimate(best["mean"], best["low"], best["high"])
        lines.append(
            f"- {dimension.capitalize()}: {best['sources']} has the highest R2, {highest}; the mix "
            f"has {number(scores[MIX_ROW, dimension].mean)}. Subsets of one, two, three "
            f"and four sources have a mean R2 of {sizes}; means of predictions have {plain}. "
            f"Mean gain from adding a source: {added}."
        )
    return "\n".join(lines)


def source_errors(predictions: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Error of each single-source model on each clip; `by` are columns that tell models apart.

    One row a clip and source: id, group, target_valence, target_arousal, source; valence and
    arousal (RMSE over the models that were tested on the clip) and mean (of these two).
    """
    chosen = predictions[predictions["system"].isin(SINGLE_MODELS)]
    squares = {d: (chosen[d] - chosen[f"target_{d}"]) ** 2 for d in DIMENSIONS}
    keys = [*by, "id", "group", "target_valence", "target_arousal", "source"]
    frame = chosen.assign(source=chosen["system"].map(SINGLE_MODELS), **squares)
    errors = frame.groupby(keys, sort=False)[[*DIMENSIONS]].mean() ** 0.5
    return errors.assign(mean=errors.mean(axis=1)).reset_index()


def _smallest(errors: pd.DataFrame, criterion: str, by: Sequence[str] = ()) -> pd.Series:
    """The source with the smallest error, by clip."""
    keys = [*by, "id"]
    return errors.loc[errors.groupby(keys)[criterion].idxmin()].set_index(keys)["source"]


def best_sources(errors: pd.DataFrame) -> pd.DataFrame:
    """The source whose model has the smallest error, clip by clip (figure 3).

    One row a clip: id, group, target_valence, target_arousal, region (of `REGIONS`), and the best
    source by each of `CRITERIA`.
    """
    clips = errors.drop_duplicates("id")[["id", "group", "target_valence", "target_arousal"]]
    best = clips.reset_index(drop=True)
    high = [best[f"target_{d}"] > best[f"target_{d}"].median() for d in DIMENSIONS]
    best["region"] = [REGIONS[pair] for pair in zip(*high, strict=True)]
    for criterion in CRITERIA:
        best[criterion] = _smallest(errors, criterion).reindex(best["id"]).to_numpy()
    return best


def region_shares(best: pd.DataFrame, criterion: str) -> pd.DataFrame:
    """For how many clips of each region each source is the best one.

    One row a region and source: region, source, share, low, high (95 % interval, resampling groups;
    0 and 1 where all clips are of one group) and n (clips of the region).
    """
    rows = []
    for region in REGIONS.values():
        clips = best[best["region"] == region]
        is_best = pd.DataFrame({s: (clips[criterion] == s).astype(float) for s in SOURCES})
        for source, ends in mean_intervals(is_best, clips["group"]).items():
            share = {"region": region, "source": source, "share": is_best[source].mean()}
            rows.append({**share, **ends._asdict(), "n": len(clips)})
    return pd.DataFrame(rows)


def mean_intervals(values: pd.DataFrame, groups: Iterable[Any]) -> dict[Any, Interval]:
    """95 % intervals of the means of columns, resampling groups; [0, 1] if there is but one."""
    if values.empty:
        return {}
    if len(set(groups)) == 1:
        return dict.fromkeys(values, Interval(0.0, 1.0))
    resampled = Resampler(np.asarray(groups)).means(values)
    return {name: interval(drawn) for name, drawn in zip(values, resampled.T, strict=True)}


def no_owner(shares: Iterable[pd.DataFrame]) -> str:
    """Verdict on the claim that no source owns a region.

    A source owns a region if it is the best one for most of its clips. The claim is supported where
    the whole interval of every share lies below one half, contradicted where one lies above.
    `shares` are those of `region_shares`, one a criterion.
    """
    table = pd.concat(list(shares))
    if (table["low"] > MAJORITY).any():
        return CONTRADICTED
    return SUPPORTED if (table["high"] < MAJORITY).all() else INCONCLUSIVE


def model_agreement(predictions: pd.DataFrame, criterion: str) -> tuple[float, float] | None:
    """How often two models that were tested on a clip name the same best source.

    Models of one clip differ in their training clips. If they do not agree, the best source of a
    clip is a matter of chance. Gives the agreement, and what it would be by chance; None where
    each clip has one model.
    """
    errors = source_errors(predictions, by=["fold"])
    named = _smallest(errors, criterion, by=["fold"]).rename("best").reset_index()
    pairs = named.merge(named, on="id").query("fold_x < fold_y")
    if pairs.empty:
        return None
    first, second = pairs["best_x"].to_numpy(), pairs["best_y"].to_numpy()
    return float((first == second).mean()), agreement_by_chance(first, second)


def plane_figure(shares: Mapping[str, pd.DataFrame]) -> Figure:
    """Part of the clips for which each source is the best one, by region of the plane (figure 3).

    Panels stand as their regions do: valence grows to the right, arousal upwards. `shares`, by
    criterion, are those of `region_shares`.
    """
    frame = pd.concat([table.assign(by=by_criterion(name)) for name, table in shares.items()])
    sizes = frame.groupby("region")["n"].first()
    in_place = [region for region in _PLANE if region in sizes]
    return plots.forest(
        frame.sort_values("region", key=lambda names: names.map(in_place.index), kind="stable"),
        "source",
        "share",
        column="region",
        wrap=2,
        hue="by",
        markers=dict(zip(map(by_criterion, CRITERIA), "os^", strict=True)),
        names={region: f"{region} ({sizes[region]:,} clips)" for region in in_place},
        vlines={"a quarter": 1 / len(SOURCES), "half": MAJORITY},
        sharex=True,
        xlabel="Part of the clips",
    )


def by_criterion(criterion: str) -> str:
    """A criterion in words."""
    return "by mean error of both" if criterion == "mean" else f"by error of {criterion}"


def region_summary(
    study: Study,
    predictions: pd.DataFrame,
    best: pd.DataFrame,
    shares: Mapping[str, pd.DataFrame],
) -> str:
    """What figure 3 shows, in Markdown: the verdict, and what it rests on.

    `predictions` are those of `source_errors`, `best` those of `best_sources`, and `shares`, by
    criterion, those of `region_shares`.
    """
    verdict = no_owner(shares.values())
    claim = f"**No source owns a region of the plane** (figure 3): **{verdict}**."
    lines = [about(study), "", claim, ""]
    for criterion, table in shares.items():
        top = table.nlargest(1, "share").iloc[0]
        share = estimate(top["share"], top["low"], top["high"], percent=True)
        test = association(best["region"], best[criterion], best["group"])
        line = (
            f"- {by_criterion(criterion).capitalize()}: {top['source']} has the largest share, "
            f"{share} of {top['n']} clips with {top['region']}. Cramér's V between region and "
            f"best source is {number(test.v, 2)} (permutation test, p = {number(test.p)})."
        )
        agreement = model_agreement(predictions, criterion)
        if agreement:
            same, chance = (number(value, percent=True) for value in agreement)
            line += f" Two models of a clip have the same best source in {same} of cases "
            line += f"({chance} by chance)."
        lines.append(line)
    return "\n".join(lines)
