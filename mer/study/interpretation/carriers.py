"""Whether the ways of interpreting EmoMucs find the source that carries the emotion.

In the composed corpus one source of each song follows all of its valence and one all of its
arousal, while the others follow half; see `mer.composing.planning`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mer.clips import Clip
from mer.corpora import load
from mer.errors import MissingDataError
from mer.evaluation.contributions import agreement_by_chance
from mer.evaluation.uncertainty import group_bootstrap, interval
from mer.study.claims import FAILS, HOLDS, OPEN
from mer.study.interpretation.combinations import ALL_SOURCES, MIX, r2_scores
from mer.study.interpretation.contributions import (
    METHODS,
    WITHOUT,
    both_methods,
    left_out_table,
    permutation_table,
)
from mer.study.interpretation.regions import SINGLE_MODELS, source_errors
from mer.study.regression import DIMENSIONS
from mer.study.session import Session
from mer.study.specs import RunSpec, resolve
from mer.systems.base import System
from mer.systems.variants import LETTERS

CORPUS = "composed_band"
SYSTEMS = (*SINGLE_MODELS, ALL_SOURCES, *WITHOUT.values())
BEST_SINGLE = "best single source"

AS_IT_IS, AGAINST_AVERAGE = "as it is", "against the source's average"
READINGS = (AS_IT_IS, AGAINST_AVERAGE)
"""The source with the largest score, or with the largest compared with its mean over clips."""

UNIFORM = 1 / len(LETTERS)


def composed_session(session: Session) -> Session:
    """The session of a notebook, on the composed corpus; itself if it is on that corpus."""
    if session.corpus_name == CORPUS:
        return session
    settings = session.settings.model_copy(update={"corpus": CORPUS})
    return Session(settings, session.store)


def prepare(session: Session, specs: Sequence[RunSpec]) -> None:
    """Compute the excerpts of all sources that missing runs hear, several clips at a time.

    Runs that start together would all compute the same ones, each for itself.

    Parameters
    ----------
    session : Session
    specs : sequence of RunSpec
        On one corpus, with one separator.
    """
    from joblib import Parallel, delayed

    missing = session.store.missing(specs)
    if not (session.settings.compute and missing):
        return
    n_jobs = getattr(session.settings, "n_jobs", None) or -1
    system = resolve(missing[0].system, missing[0].parameters)
    Parallel(n_jobs=n_jobs)(delayed(_prepare)(system, clip) for clip in session.corpus)


def _prepare(system: System, clip: Clip) -> None:
    from mer.systems.sources import Excerpts

    assert isinstance(system, Excerpts)
    system.log_mels([clip], tuple(LETTERS))


def carrier_table(session: Session) -> pd.DataFrame:
    """Which source carries valence and which arousal, from the store where it is there.

    Returns
    -------
    DataFrame
        One row a clip: id, valence, arousal (sources).

    Raises
    ------
    MissingDataError
        If the table is not stored and nothing is to be computed, or the corpus does not know.
    """
    compute = partial(_carriers, session) if session.settings.compute else None
    spec = {"fingerprint": session.card["fingerprint"]}
    return session.store.table(f"carriers {session.corpus_name}", spec, compute)


def _carriers(session: Session) -> tuple[pd.DataFrame, dict[str, Any]]:
    rows = []
    for clip in session.corpus:
        if "carrier" not in clip.meta:
            raise MissingDataError(
                f"clip {clip.id!r} does not tell which source carries its emotion; "
                f"only those of corpus {CORPUS!r} do"
            )
        rows.append({"id": clip.id, **clip.meta["carrier"]})
    return pd.DataFrame(rows)[["id", *DIMENSIONS]], {}


def example_clip(session: Session) -> Clip:
    """The first clip of the composed corpus, without composing the others."""
    options = session.profile.corpus_options.get(CORPUS, {})
    return load(CORPUS, **{**options, "size": 1})[0]


def source_scores(contributions: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """What each method says for each source.

    Parameters
    ----------
    contributions : DataFrame
        From `mer.study.interpretation.contributions.both_methods`.
    errors : DataFrame
        From `mer.study.interpretation.regions.source_errors`.

    Returns
    -------
    DataFrame
        Index method, dimension, id and group; a column a source: its absolute contribution, or
        less the error of the model on it.
    """
    index = ["method", "dimension", "id", "group"]
    single = errors.melt(
        ["id", "group", "source"], list(DIMENSIONS), var_name="dimension", value_name="error"
    ).assign(method=BEST_SINGLE)
    long = pd.concat(
        [
            contributions.rename(columns={"absolute": "score"})[[*index, "source", "score"]],
            single.assign(score=-single["error"])[[*index, "source", "score"]],
        ]
    )
    table = long.pivot_table(index=index, columns="source", values="score", sort=False)
    return table[list(LETTERS)]


def hit_table(
    scores: pd.DataFrame, carriers: pd.DataFrame, *, n_resamples: int = 2000
) -> pd.DataFrame:
    """How often the source that a method names is the one that carries the emotion.

    Parameters
    ----------
    scores : DataFrame
        From `source_scores`.
    carriers : DataFrame
        From `carrier_table`.
    n_resamples : int

    Returns
    -------
    DataFrame
        One row a method, reading and dimension: method, reading, dimension, n (clips); hits, low,
        high (95 % interval, resampling groups); frequent (always naming the source that carries
        most of these clips), gain, gain_low and gain_high (paired difference from that); chance
        (of a method that names each source as often, but for no reason); verdict, whether the
        hits are more than both 1/4 and `frequent`.
    """
    rows = []
    known = carriers.set_index("id")
    for method in (*METHODS, BEST_SINGLE):
        for dimension in DIMENSIONS:
            chosen = scores.query("method == @method and dimension == @dimension")
            truth = known[dimension].reindex(chosen.index.get_level_values("id")).to_numpy()
            groups = chosen.index.get_level_values("group")
            for reading in READINGS:
                named = _named(chosen, reading)
                found = _hits(named, truth, groups, n_resamples)
                place = {"method": method, "reading": reading, "dimension": dimension}
                rows.append({**place, **found})
    return pd.DataFrame(rows)


def hits_of(
    session: Session,
    specs: Sequence[RunSpec],
    predictions: pd.DataFrame,
    carriers: pd.DataFrame,
) -> pd.DataFrame:
    """`hit_table` of the stored runs of `SYSTEMS`; contributions are computed where they are not.

    Parameters
    ----------
    session : Session
        On the composed corpus.
    specs : sequence of RunSpec
        With one separator.
    predictions : DataFrame
        Of these runs, from `mer.study.session.Session.run`.
    carriers : DataFrame
        From `carrier_table`.
    """
    permuted = permutation_table(session, [s for s in specs if s.system == ALL_SOURCES])
    found = both_methods(permuted, left_out_table(predictions))
    return hit_table(source_scores(found, source_errors(predictions)), carriers)


def _named(scores: pd.DataFrame, reading: str) -> np.ndarray:
    if reading == AGAINST_AVERAGE:
        spread = scores.std(ddof=0)
        scores = (scores - scores.mean()) / spread.where(spread > 0, 1.0)
    return scores.idxmax(axis=1).to_numpy()


def _hits(named: np.ndarray, truth: np.ndarray, groups: pd.Index, n: int) -> dict[str, Any]:
    hit = (named == truth).astype(float)
    names, counts = np.unique(truth, return_counts=True)
    frequent = (truth == names[counts.argmax()]).astype(float)
    low, high = group_bootstrap(hit, groups, n_resamples=n)
    gain = group_bootstrap(hit - frequent, groups, n_resamples=n)
    clearly = low > UNIFORM and gain.low > 0
    below = high < UNIFORM or gain.high < 0
    return {
        "n": len(hit),
        "hits": hit.mean(),
        "low": low,
        "high": high,
        "frequent": frequent.mean(),
        "gain": (hit - frequent).mean(),
        "gain_low": gain.low,
        "gain_high": gain.high,
        "chance": agreement_by_chance(named, truth),
        "verdict": HOLDS if clearly else FAILS if below else OPEN,
    }


def hits_text(tables: Mapping[str, pd.DataFrame], dimension: str) -> pd.DataFrame:
    """Hit rates for reading: a row a method and reading, three columns a separator."""
    text: dict[str, dict[str, str]] = {}
    for separator, table in tables.items():
        for _, row in table[table["dimension"] == dimension].iterrows():
            cells = text.setdefault(f"{row['method']}, {row['reading']}", {})
            cells[f"{separator}: hits"] = _percent(row["hits"], row["low"], row["high"])
            cells[f"{separator}: by chance"] = f"{row['chance']:.0%}"
    return pd.DataFrame(text).T


def _percent(mean: float, low: float, high: float) -> str:
    return f"{mean:.0%} [{low:.0%}, {high:.0%}]"


def hits_paragraph(tables: Mapping[str, pd.DataFrame]) -> str:
    """What the hit rates say, in Markdown.

    Parameters
    ----------
    tables : mapping
        By separator, from `hit_table`.
    """
    lines = []
    for separator, table in tables.items():
        for dimension, rows in table.groupby("dimension", sort=False):
            first = rows.iloc[0]
            best = rows.nlargest(1, "hits").iloc[0]
            rate = _percent(best["hits"], best["low"], best["high"])
            lines.append(
                f"- {separator.capitalize()}, {dimension}: that a method finds the carrier more "
                f"often than both guesses do (25% by lot, {first['frequent']:.0%} by always naming "
                f"the commonest) {_counted(rows['verdict'])} readings. The best is "
                f"{best['method']} ({best['reading']}): {rate} of {best['n']} clips."
            )
    return "\n".join(lines)


def _counted(verdicts: pd.Series) -> str:
    told = [f"**{word}** for {(verdicts == word).sum()}" for word in (HOLDS, FAILS, OPEN)]
    return f"{', '.join(told)} of {len(verdicts)}"


def separation_cost(true: pd.DataFrame, separated: pd.DataFrame) -> pd.DataFrame:
    """What imperfect separation costs: R2 with the true sources less R2 with separated ones.

    Parameters
    ----------
    true, separated : DataFrame
        Predictions of the same systems on the same clips and folds.

    Returns
    -------
    DataFrame
        One row a system and dimension: system, dimension, true, separated (R2, means over
        models), cost, low, high (95 %, the same groups resampled for both) and verdict, whether
        separation costs something.
    """
    both = [r2_scores(frame) for frame in (true, separated)]
    rows = []
    for key in both[0]:
        one, other = (scores[key] for scores in both)
        low, high = interval(one.resampled - other.resampled)
        rows.append(
            {
                "system": key[0],
                "dimension": key[1],
                "true": one.mean,
                "separated": other.mean,
                "cost": one.mean - other.mean,
                "low": low,
                "high": high,
                "verdict": HOLDS if low > 0 else FAILS if high < 0 else OPEN,
            }
        )
    return pd.DataFrame(rows)


def cost_text(cost: pd.DataFrame) -> pd.DataFrame:
    """Costs for reading: a row a system, three columns a dimension."""
    text = pd.DataFrame(index=pd.Index(cost["system"].unique()))
    for dimension, rows in cost.groupby("dimension", sort=False):
        values = rows.set_index("system")
        text[f"{dimension}: true"] = values["true"].map("{:.3f}".format)
        text[f"{dimension}: separated"] = values["separated"].map("{:.3f}".format)
        text[f"{dimension}: cost"] = [
            f"{row['cost']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
            for _, row in values.iterrows()
        ]
    return text


def cost_paragraph(cost: pd.DataFrame, mix: pd.DataFrame) -> str:
    """What the costs say, in Markdown.

    Parameters
    ----------
    cost : DataFrame
        From `separation_cost`.
    mix : DataFrame
        Predictions of the network on the mix, on the same folds.
    """
    reference = r2_scores(mix)
    lines = []
    for dimension, rows in cost.groupby("dimension", sort=False):
        fusion = rows.set_index("system").loc[ALL_SOURCES]
        alone = rows[rows["system"].isin(SINGLE_MODELS)]
        most = alone.nlargest(1, "cost").iloc[0]
        lines.append(
            f"- {str(dimension).capitalize()}: that separation costs the fusion of all sources "
            f"something **{fusion['verdict']}**: {fusion['cost']:+.3f} [{fusion['low']:+.3f}, "
            f"{fusion['high']:+.3f}], from R2 {fusion['true']:.3f} to {fusion['separated']:.3f}; "
            f"the mix has {reference[MIX, str(dimension)].mean:.3f}. Of single sources, "
            f"{SINGLE_MODELS[most['system']]} loses most ({most['cost']:+.3f}); "
            f"that any loses {_counted(alone['verdict'])}."
        )
    return "\n".join(lines)
