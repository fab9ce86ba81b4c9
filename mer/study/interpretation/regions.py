"""Which source tells the emotion of each clip best, and whether it depends on the emotion.

After figure 3 of de Berardinis et al. 2020, from stored predictions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from mer.evaluation.contributions import agreement_by_chance, association
from mer.evaluation.uncertainty import Interval, group_bootstrap
from mer.study.claims import FAILS, HOLDS, OPEN
from mer.study.regression import DIMENSIONS
from mer.systems.variants import LETTERS, source_name

SINGLE_MODELS = {source_name("C2D", source): source for source in LETTERS}
"""Systems on one source, each with its source."""

CRITERIA = (*DIMENSIONS, "mean")
"""By which a source is best for a clip: the error of valence, of arousal, or the mean of both."""

REGIONS = {
    (True, True): "high valence, high arousal",
    (False, True): "low valence, high arousal",
    (False, False): "low valence, low arousal",
    (True, False): "high valence, low arousal",
}
"""Quarters of the plane around the median labels: around 0, a corpus may have empty ones."""

MAJORITY = 0.5
"""Our reading of "owns": best for more than this part of the clips of a region."""


def source_errors(predictions: pd.DataFrame) -> pd.DataFrame:
    """Error of each single-source model on each clip.

    Parameters
    ----------
    predictions : DataFrame
        Rows of the systems `SINGLE_MODELS` from `mer.study.session.Session.run`.

    Returns
    -------
    DataFrame
        One row a clip and source: id, group, target_valence, target_arousal, source; valence and
        arousal (RMSE over the models that were tested on the clip) and mean (of these two).
    """
    chosen = predictions[predictions["system"].isin(SINGLE_MODELS)]
    squares = {d: (chosen[d] - chosen[f"target_{d}"]) ** 2 for d in DIMENSIONS}
    keys = ["id", "group", "target_valence", "target_arousal", "source"]
    frame = chosen.assign(source=chosen["system"].map(SINGLE_MODELS), **squares)
    errors = frame.groupby(keys, sort=False)[list(DIMENSIONS)].mean() ** 0.5
    return errors.assign(mean=errors.mean(axis=1)).reset_index()


def best_sources(errors: pd.DataFrame) -> pd.DataFrame:
    """The source whose model has the smallest error, clip by clip (figure 3).

    Parameters
    ----------
    errors : DataFrame
        From `source_errors`.

    Returns
    -------
    DataFrame
        One row a clip: id, group, target_valence, target_arousal, region (of `REGIONS`), and the
        best source by each of `CRITERIA`.
    """
    clips = errors.drop_duplicates("id")[["id", "group", "target_valence", "target_arousal"]]
    best = clips.reset_index(drop=True)
    high = [best[f"target_{d}"] > best[f"target_{d}"].median() for d in DIMENSIONS]
    best["region"] = [REGIONS[place] for place in zip(*high, strict=True)]
    for criterion in CRITERIA:
        table = errors.pivot_table(index="id", columns="source", values=criterion)[list(LETTERS)]
        best[criterion] = table.idxmin(axis=1).reindex(best["id"]).to_numpy()
    return best


def region_shares(best: pd.DataFrame, criterion: str, *, n_resamples: int = 2000) -> pd.DataFrame:
    """For how many clips of each region each source is the best one.

    Returns
    -------
    DataFrame
        One row a region and source: region, source, share, low, high (95 % interval, resampling
        groups; 0 and 1 where all clips are of one group) and n (clips of the region).
    """
    rows = []
    for region in REGIONS.values():
        clips = best[best["region"] == region]
        for source in LETTERS if len(clips) else ():
            is_best = (clips[criterion] == source).to_numpy(dtype=float)
            several = len(clips["group"].unique()) > 1
            low, high = (
                group_bootstrap(is_best, clips["group"], n_resamples=n_resamples)
                if several
                else Interval(0.0, 1.0)
            )
            found = {"share": is_best.mean(), "low": low, "high": high, "n": len(clips)}
            rows.append({"region": region, "source": source, **found})
    return pd.DataFrame(rows)


def no_owner(shares: Iterable[pd.DataFrame]) -> str:
    """Verdict on the claim that no source owns a region.

    A source owns a region if it is the best one for most of its clips. The claim holds where the
    whole interval of every share lies below one half, it does not hold where one lies above.

    Parameters
    ----------
    shares : iterable of DataFrame
        From `region_shares`, one a criterion.
    """
    table = pd.concat(list(shares))
    if (table["low"] > MAJORITY).any():
        return FAILS
    return HOLDS if (table["high"] < MAJORITY).all() else OPEN


def model_agreement(predictions: pd.DataFrame, criterion: str) -> tuple[float, float] | None:
    """How often two models that were tested on a clip name the same best source.

    Models of one clip differ in their training clips. If they do not agree, the best source of a
    clip is a matter of chance.

    Returns
    -------
    tuple of float or None
        Agreement, and what it would be by chance; None where each clip has one model.
    """
    names = []
    for _, frame in predictions.groupby("fold"):
        best = best_sources(source_errors(frame))
        names.append(best.set_index("id")[criterion].rename(None))
    pairs = [
        joined.to_numpy()
        for one, other in combinations(names, 2)
        if len(joined := pd.concat([one, other], axis=1, join="inner"))
    ]
    if not pairs:
        return None
    first, second = np.concatenate(pairs).T
    return float((first == second).mean()), agreement_by_chance(first, second)


def region_paragraph(
    predictions: pd.DataFrame, best: pd.DataFrame, shares: Mapping[str, pd.DataFrame]
) -> str:
    """What figure 3 shows, in Markdown: the verdict, and the figures that it comes from.

    Parameters
    ----------
    predictions : DataFrame
        As in `source_errors`.
    best : DataFrame
        From `best_sources`.
    shares : mapping
        By criterion, from `region_shares`.
    """
    lines = [
        f"**No source owns a region of the plane** (figure 3): **{no_owner(shares.values())}**."
    ]
    for criterion, table in shares.items():
        top = table.nlargest(1, "share").iloc[0]
        test = association(best["region"], best[criterion], best["group"])
        met = model_agreement(predictions, criterion)
        line = f"- {by(criterion).capitalize()}: the largest share is that of {top['source']} at "
        line += f"{top['region']}, {top['share']:.0%} [{top['low']:.0%}, {top['high']:.0%}] of "
        line += f"{top['n']} clips. Region and best source go together with Cramér's V = "
        line += f"{test.v:.2f} (permutation test, p = {test.p:.3f}). "
        if met:
            line += (
                f"Two models of a clip name the same source in {met[0]:.0%} of cases, by chance "
            )
            line += f"they would in {met[1]:.0%}."
        lines.append(line)
    return "\n".join([lines[0], "", *lines[1:]])


def by(criterion: str) -> str:
    """A criterion in words."""
    return f"by error of {'both, on average' if criterion == 'mean' else criterion}"


def share_text(shares: pd.DataFrame) -> pd.DataFrame:
    """Shares for reading: a row a region, a column a source."""
    rows = {}
    for region, frame in shares.groupby("region", sort=False):
        found = frame.set_index("source")
        cells = {
            source: f"{row['share']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"
            for source, row in found.loc[list(LETTERS)].iterrows()
        }
        rows[region] = {**cells, "clips": int(found["n"].iloc[0])}
    return pd.DataFrame(rows).T
