"""Whether the ways of interpreting EmoMucs find the source that carries the emotion.

In the composed corpus one source of each song follows all of its valence and one all of its
arousal, while the others follow half; see `mer.composing.planning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.clips import Clip
from mer.corpora import load
from mer.evaluation.contributions import agreement_by_chance
from mer.papers.deberardinis2020 import tables as paper
from mer.papers.deberardinis2020.combinations import (
    ALL_SOURCES,
    MIX_ROW,
    SINGLE_MODELS,
    SINGLE_ROWS,
    mean_intervals,
    r2_scores,
    source_errors,
)
from mer.papers.deberardinis2020.contributions import (
    UNIFORM,
    WITHOUT,
    both_methods,
    left_out_table,
    permutation_table,
)
from mer.papers.deberardinis2020.systems import SOURCES, Fusion
from mer.study import plots
from mer.study.claims import CONTRADICTED, INCONCLUSIVE, SUPPORTED
from mer.study.results import Results
from mer.study.scores import DIMENSIONS
from mer.study.specs import RunSpec
from mer.study.study import Study
from mer.study.tables import NamedRows, Rows
from mer.study.text import estimate, estimate_table, number

CORPUS = "composed_band"
ROWS: Rows = NamedRows(
    {
        **SINGLE_ROWS,
        **{name: paper.COMBINATIONS[name] for name in (ALL_SOURCES, *WITHOUT.values())},
    }
)
MIX_ROWS: Rows = NamedRows({MIX_ROW: paper.SINGLE[MIX_ROW]})
BEST_SINGLE = "best single source"

AS_IT_IS, AGAINST_AVERAGE = "as it is", "against the source's average"
READINGS = (AS_IT_IS, AGAINST_AVERAGE)
"""The source with the largest score, or with the largest in standard deviations from its mean over
clips."""

SEPARATORS: Mapping[str, dict[str, Any]] = {
    "true sources": {"separator": "true"},
    "separated sources": {},
}
"""Hyper-parameters that differ from the profile's."""


def run_both(study: Study) -> dict[str, Results]:
    """Runs on the composed corpus with true and with separated sources, by `SEPARATORS`."""
    found = {}
    for name, changes in SEPARATORS.items():
        specs = paper.specs(study, ROWS, whole=True, changes=changes)
        prepare(study, specs)
        study.run([spec for spec in specs if spec.system in SINGLE_MODELS])  # fusions use these
        found[name] = study.run(specs)
    return found


def prepare(study: Study, specs: Sequence[RunSpec]) -> None:
    """Compute the excerpts that missing runs with one separator hear, several clips at a time.

    Runs that start together would all compute the same ones, each for itself.
    """
    from joblib import Parallel, delayed

    fusions = [spec.built for spec in study.store.missing(specs) if isinstance(spec.built, Fusion)]
    if study.settings.compute and fusions:
        whole = max(fusions, key=lambda system: len(system.sources))
        n_jobs = study.settings.n_jobs or -1
        Parallel(n_jobs=n_jobs)(delayed(whole.log_mels)([clip]) for clip in study.corpus)


def carrier_table(study: Study) -> pd.DataFrame:
    """Carriers of the composed clips, from the store where they are there: id, valence, arousal."""

    def compute() -> pd.DataFrame:
        rows = [{"id": clip.id, **clip.meta["carrier"]} for clip in study.corpus]
        return pd.DataFrame(rows)[["id", *DIMENSIONS]]

    key = {"fingerprint": study.card["fingerprint"]}
    return study.table(f"carriers {study.corpus_name}", key, compute)


def example_clip(study: Study) -> Clip:
    """The first clip of the composed corpus, without composing the others."""
    options = study.profile.corpus_options.get(CORPUS, {})
    return load(CORPUS, **{**options, "size": 1})[0]


def source_scores(contributions: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """What each method says for each source, from `both_methods` and `source_errors`.

    Index method, dimension, id and group; a column a source: its absolute contribution, or less the
    error of the model on it.
    """
    index = ["method", "dimension", "id", "group"]
    single = errors.melt(["id", "group", "source"], [*DIMENSIONS], "dimension", "error")
    parts = (
        contributions.assign(score=contributions["absolute"]),
        single.assign(method=BEST_SINGLE, score=-single["error"]),
    )
    long = pd.concat([part[[*index, "source", "score"]] for part in parts])
    table = long.pivot_table(index=index, columns="source", values="score", sort=False)
    return table[[*SOURCES]]


def hit_table(scores: pd.DataFrame, carriers: pd.DataFrame) -> pd.DataFrame:
    """How often the source that a method names is the one that carries the emotion.

    `scores` are those of `source_scores`, `carriers` those of `carrier_table`.

    One row a method, reading and dimension: method, reading, dimension, n (clips); hits, low, high
    (95 % interval, resampling groups); frequent (always naming the source that carries most of
    these clips), gain, gain_low and gain_high (paired difference from that); chance (of a method
    that names each source as often, but for no reason); verdict, whether the hits are more than
    both 1/4 and `frequent`.
    """
    rows = []
    known = carriers.set_index("id")
    for (method, dimension), chosen in scores.groupby(["method", "dimension"], sort=False):
        truth = known[dimension].reindex(chosen.index.get_level_values("id")).to_numpy()
        groups = chosen.index.get_level_values("group")
        spread = chosen.std(ddof=0)
        relative = (chosen - chosen.mean()) / spread.where(spread > 0, 1.0)
        for reading, values in zip(READINGS, (chosen, relative), strict=True):
            row = {"method": method, "reading": reading, "dimension": dimension}
            rows.append(row | _hits(values.idxmax(axis=1).to_numpy(), truth, groups))
    return pd.DataFrame(rows)


def _hits(named: np.ndarray, truth: np.ndarray, groups: Iterable[Any]) -> dict[str, Any]:
    names, counts = np.unique(truth, return_counts=True)
    frequent = (truth == names[counts.argmax()]).astype(float)
    values = pd.DataFrame({"hits": (named == truth).astype(float)})
    values["gain"] = values["hits"] - frequent
    ends = mean_intervals(values, groups)
    (low, high), gain = ends["hits"], ends["gain"]
    clearly = low > UNIFORM and gain.low > 0
    below = high < UNIFORM or gain.high < 0
    return {
        **{"n": len(named), "hits": values["hits"].mean(), "low": low, "high": high},
        **{"frequent": frequent.mean(), "gain": values["gain"].mean()},
        **{"gain_low": gain.low, "gain_high": gain.high},
        "chance": agreement_by_chance(named, truth),
        "verdict": SUPPORTED if clearly else CONTRADICTED if below else INCONCLUSIVE,
    }


def hits_of(results: Results, carriers: pd.DataFrame) -> pd.DataFrame:
    """`hit_table` of runs of `ROWS` with one separator; contributions are computed if need be."""
    permuted = permutation_table(results.study, results.of(ALL_SOURCES))
    found = both_methods(permuted, left_out_table(results.predictions))
    return hit_table(source_scores(found, source_errors(results.predictions)), carriers)


def hits_text(tables: Mapping[str, pd.DataFrame], dimension: str) -> pd.DataFrame:
    """Hit rates for reading: a row a method and reading, two columns a separator."""
    parts = []
    for separator, table in tables.items():
        rows = table[table["dimension"] == dimension].assign(separator=f"{separator}: hits")
        rows["row"] = rows["method"] + ", " + rows["reading"]
        text = estimate_table(rows, "row", "separator", "hits", percent=True)
        chance = [number(value, percent=True) for value in rows["chance"]]
        parts.append(text.assign(**{f"{separator}: by chance": chance}))
    return pd.concat(parts, axis=1)


def hits_figure(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """How often each method finds the carrier, a panel a dimension.

    Lines: naming a source at random, and always the most frequent carrier.
    """
    joined = pd.concat([table.assign(separator=name) for name, table in tables.items()])
    joined["what"] = joined["method"] + ",\n" + joined["reading"]
    frequent = joined.groupby("dimension")["frequent"].first().to_dict()
    return plots.forest(
        joined,
        "what",
        "hits",
        column="dimension",
        hue="separator",
        vlines={"most frequent carrier": frequent, "random source": UNIFORM},
        xlabel="Carrier found",
    )


def hits_summary(tables: Mapping[str, pd.DataFrame]) -> str:
    """What the hit rates say, in Markdown, from `hit_table` by separator."""
    lines = []
    for separator, table in tables.items():
        for dimension, rows in table.groupby("dimension", sort=False):
            best = rows.nlargest(1, "hits").iloc[0]
            frequent = number(best["frequent"], percent=True)
            rate = estimate(best["hits"], best["low"], best["high"], percent=True)
            lines.append(
                f"- {separator.capitalize()}, {dimension}: {_counted(rows['verdict'])} methods and "
                "readings find the carrier more often than both baselines (random source: 25%, "
                f"most frequent carrier: {frequent}). {best['method'].capitalize()} "
                f"({best['reading']}) has the highest rate: {rate} of {best['n']} clips."
            )
    return "\n".join(lines)


def _counted(verdicts: pd.Series) -> str:
    """How many verdicts are positive, such as "2 of 6 (3 inconclusive)"."""
    positive, unclear = ((verdicts == verdict).sum() for verdict in (SUPPORTED, INCONCLUSIVE))
    return f"{positive} of {len(verdicts)} ({unclear} inconclusive)"


def separation_cost(true: pd.DataFrame, separated: pd.DataFrame) -> pd.DataFrame:
    """What imperfect separation costs: R2 with the true sources less R2 with separated ones.

    Both are predictions of the same systems on the same clips and folds. One row a system and
    dimension: system, dimension, true, separated (R2, means over models), cost, low, high (95 %,
    the same groups resampled for both) and verdict, whether separation costs something.
    """
    rows = []
    other = r2_scores(separated)
    for (system, dimension), score in r2_scores(true).items():
        cost, low, high = score - other[system, dimension]
        means = {"true": score.mean, "separated": other[system, dimension].mean}
        verdict = SUPPORTED if low > 0 else CONTRADICTED if high < 0 else INCONCLUSIVE
        row = {"system": system, "dimension": dimension, **means, "cost": cost}
        rows.append({**row, "low": low, "high": high, "verdict": verdict})
    return pd.DataFrame(rows)


def cost_text(cost: pd.DataFrame) -> pd.DataFrame:
    """Costs for reading: a row a system, three columns a dimension."""
    rows = cost.assign(column=cost["dimension"] + ": cost")
    text = estimate_table(rows, "system", "column", "cost", signed=True)
    for dimension, values in cost.set_index("system").groupby("dimension"):
        for kind in ("true", "separated"):
            text[f"{dimension}: {kind}"] = values[kind].map(number)
    return text[[f"{d}: {kind}" for d in DIMENSIONS for kind in ("true", "separated", "cost")]]


def cost_summary(cost: pd.DataFrame, mix: pd.DataFrame) -> str:
    """What the costs say, in Markdown; `mix` are predictions of the network on the mix."""
    reference = r2_scores(mix)
    lines = []
    for dimension, rows in cost.groupby("dimension", sort=False):
        fusion = rows.set_index("system").loc[ALL_SOURCES]
        alone = rows[rows["system"].isin(SINGLE_MODELS)]
        most = alone.nlargest(1, "cost").iloc[0]
        lost = estimate(fusion["cost"], fusion["low"], fusion["high"], signed=True)
        lines.append(
            f"- {str(dimension).capitalize()}: separation changes the R2 of the fusion of all "
            f"sources from {number(fusion['true'])} to {number(fusion['separated'])}. "
            f"A loss is **{fusion['verdict']}** (cost {lost}). The mix has "
            f"{number(reference[MIX_ROW, str(dimension)].mean)}. Among single sources, "
            f"{_counted(alone['verdict'])} have a lower R2; {SINGLE_MODELS[most['system']]} has "
            f"the largest cost ({number(most['cost'], signed=True)})."
        )
    return "\n".join(lines)
