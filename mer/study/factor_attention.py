"""What the self-attention of Zhao and Yoshii (2023) looks at.

A fitted system is asked once for its attention and for its answers with one factor taken away, clip
by clip. What it tells is stored as a table, from which everything here is computed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mer.clips import Clip, Corpus, Fold
from mer.composing.score import REVISION as SCORE_REVISION
from mer.corpora import load
from mer.evaluation.uncertainty import group_bootstrap
from mer.rendering import REVISION as RENDERING_REVISION
from mer.study.executor import environment
from mer.study.session import Session
from mer.study.specs import RunSpec
from mer.study.zhao2023 import PROPOSED, keep_fitted

FACTORS = ("symbolic", "harmony", "tone color")
NOTHING = "nothing"
"""Removed: the system answers as it always does (see `mer.systems.zhao2023`)."""

UNIFORM = 1 / len(FACTORS)
TEST, EXAMPLE = "test", "example"

REVISION = 1
"""Of the stored tables."""

_EXAMPLES = {"size": 24, "duration": 10.0}
_QUADRANTS = (1, 3)
_KEYS = ["seed", "part", "id", "group", "quadrant", "label"]
_SEPARATOR = "|"


@dataclass(frozen=True, eq=False)
class Attended:
    """What fitted systems for one task told, one for each seed.

    Attributes
    ----------
    task : str
    weights : DataFrame
        One row a seed, clip, head, factor that attends and factor attended to: seed, part
        (`TEST` or `EXAMPLE`: composed clips), id, group, quadrant, label (class, counted from 1),
        head (from 1), from, to, weight.
    answers : DataFrame
        One row a seed, clip and factor taken away: seed, part, id, group, quadrant, label, removed
        (`NOTHING` or the factor), p_1 ... p_k.
    """

    task: str
    weights: pd.DataFrame
    answers: pd.DataFrame

    def part(self, name: str) -> Attended:
        """The clips of one part alone."""
        frames = (frame[frame["part"] == name] for frame in (self.weights, self.answers))
        return Attended(self.task, *frames)


def attended(session: Session, task: str) -> Attended:
    """What the fitted models of the proposed system tell, from the store where it is there.

    Raises
    ------
    MissingDataError
        If it is not stored and nothing is to be computed.
    ParameterError
        If the parameters leave out the proposed system.
    """
    specs = session.specs([PROPOSED], split="single", tasks=[task])
    spec = {
        "runs": [spec.key for spec in specs],
        "examples": {**_EXAMPLES, "score": SCORE_REVISION, "rendering": RENDERING_REVISION},
        "revision": REVISION,
    }
    compute = partial(_compute, session, specs) if session.settings.compute else None
    table = session.store.table(f"attention {session.corpus_name} {task}", spec, compute)
    return Attended(task, *(_long(table, kind) for kind in ("weight", "p")))


def _compute(session: Session, specs: Sequence[RunSpec]) -> tuple[pd.DataFrame, dict[str, Any]]:
    started = time.perf_counter()
    frames = keep_fitted(session, list(specs), look)
    details = {
        "environment": environment(),
        "wall_seconds": round(time.perf_counter() - started, 1),
    }
    return pd.concat(frames, ignore_index=True), details


def examples() -> Corpus:
    """Two composed clips, the first of high valence and arousal and the first of low ones."""
    corpus = load("composed", **_EXAMPLES)
    chosen = [next(c.id for c in corpus if c.labels.quadrant == q) for q in _QUADRANTS]
    return corpus.select(chosen)


def look(fitted: Any, spec: RunSpec, corpus: Corpus, fold: Fold) -> pd.DataFrame:
    """Attention and answers of a fitted system, a row a clip: its test clips and two composed ones.

    Columns of attention are named weight|head|from|to, those of answers p|removed|class.
    """
    from mer.systems.zhao2023 import factor_means

    means = factor_means(fitted, list(corpus.select(fold.train)))
    parts = {TEST: corpus.select(fold.test), EXAMPLE: examples()}
    return pd.concat(
        [_told(fitted, spec, name, part, means) for name, part in parts.items()], ignore_index=True
    )


def _told(fitted: Any, spec: RunSpec, part: str, clips: Corpus, means: np.ndarray) -> pd.DataFrame:
    from mer.systems.zhao2023 import answers_without, attention_weights
    from mer.tasks import TASKS

    listed: list[Clip] = list(clips)
    weights = attention_weights(fitted, listed)
    answers = answers_without(fitted, listed, means).melt(
        ["id", "removed"], var_name="class", value_name="p"
    )
    answers["class"] = answers["class"].str.removeprefix("p_")
    wide = [
        _wide(weights, ["head", "from", "to"], "weight"),
        _wide(answers, ["removed", "class"], "p"),
    ]
    facts = pd.DataFrame(
        {
            "seed": spec.seed,
            "part": part,
            "id": clips.ids,
            "group": clips.groups,
            "quadrant": [clip.labels.quadrant for clip in clips],
            "label": TASKS[spec.task].targets(clips) + 1,
        }
    )
    return facts.join(pd.concat(wide, axis=1), on="id")


def _wide(frame: pd.DataFrame, columns: list[str], values: str) -> pd.DataFrame:
    """A row a clip; columns named by the values and what they are of."""
    names = frame[columns].astype(str).agg(_SEPARATOR.join, axis=1)
    named = frame.assign(column=f"{values}{_SEPARATOR}" + names)
    order = named["column"].unique()
    return named.pivot_table(index="id", columns="column", values=values)[order]


def _long(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The stored table with one row a value (attention), or a factor taken away (answers)."""
    chosen = [column for column in table.columns if column.startswith(f"{kind}{_SEPARATOR}")]
    long = table[_KEYS + chosen].melt(_KEYS, var_name="column", value_name=kind)
    names = long.pop("column").str.split(_SEPARATOR, expand=True).drop(columns=0)
    if kind == "weight":
        return long.assign(head=names[1].astype(int), **{"from": names[2], "to": names[3]})
    wide = long.assign(removed=names[1], name="p_" + names[2])
    index = [*_KEYS, "removed"]
    return wide.pivot_table(index=index, columns="name", values="p").reset_index()


def received(found: Attended) -> pd.DataFrame:
    """Attention that each factor gets, clip by clip.

    Returns
    -------
    DataFrame
        Index seed, id, group, quadrant; a column a factor: the mean over heads and over the
        factors that attend. Rows add up to 1.
    """
    keys = ["seed", "id", "group", "quadrant"]
    return found.weights.pivot_table(index=keys, columns="to", values="weight")[list(FACTORS)]


def by_head(found: Attended) -> pd.DataFrame:
    """Mean attention that each factor gets: index seed and head, a column a factor."""
    means = found.weights.pivot_table(index=["seed", "head"], columns="to", values="weight")
    return means[list(FACTORS)]


def by_pair(found: Attended) -> pd.DataFrame:
    """Mean attention of each factor (index) to each factor (columns), over seeds and heads."""
    means = found.weights.pivot_table(index="from", columns="to", values="weight")
    return means.loc[list(FACTORS), list(FACTORS)]


def by_quadrant(found: Attended) -> pd.DataFrame:
    """Mean attention that each factor gets in clips of each quadrant.

    Returns
    -------
    DataFrame
        One row a quadrant and factor: quadrant, factor, mean, low, high (95 %, drawing songs;
        missing where there is one), n (clips). The first rows, quadrant 0, are of all clips.
    """
    clips = received(found).groupby(["id", "group", "quadrant"]).mean().reset_index()
    rows = []
    for quadrant in (0, *sorted(clips["quadrant"].unique())):
        chosen = clips if quadrant == 0 else clips[clips["quadrant"] == quadrant]
        for factor in FACTORS:
            mean, low, high = estimate(chosen[factor], chosen["group"])
            row = {"mean": mean, "low": low, "high": high, "n": len(chosen)}
            rows.append({"quadrant": int(quadrant), "factor": factor, **row})
    return pd.DataFrame(rows)


def estimate(values: pd.Series, groups: pd.Series) -> tuple[float, float, float]:
    """Mean over clips, and its 95 % interval that draws songs (missing where there is one)."""
    if groups.nunique() < 2:
        return float(values.mean()), np.nan, np.nan
    return float(values.mean()), *group_bootstrap(values, groups)


def distances(found: Attended) -> pd.DataFrame:
    """How far attention is from uniform, and how far clips are from each other.

    Half the sum of the absolute differences of two rows of weights (total variation), between 0
    and 1: what share of the attention lies elsewhere. Of uniform weights 2/3 is the most.

    Returns
    -------
    DataFrame
        One row a kind: kind, mean (over clips, seeds, heads and factors that attend), low, high
        (95 %, drawing songs). Kinds: "from uniform"; "from the model's mean": of each clip's
        weights from the mean of the same model, head and row.
    """
    keys = ["seed", "id", "group", "head", "from"]
    weights = found.weights.pivot_table(index=keys, columns="to", values="weight")
    mean = weights.groupby(["seed", "head", "from"]).transform("mean")
    kinds = {"from uniform": weights - UNIFORM, "from the model's mean": weights - mean}
    table = []
    for kind, gap in kinds.items():
        apart = (gap.abs().sum(axis=1) / 2).groupby(["id", "group"]).mean().reset_index(name="gap")
        value, low, high = estimate(apart["gap"], apart["group"])
        table.append({"kind": kind, "mean": value, "low": low, "high": high})
    return pd.DataFrame(table)
