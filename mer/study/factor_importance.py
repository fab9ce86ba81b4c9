"""Whether the attention to a factor tells how much an answer rests on it (Zhao and Yoshii 2023).

One factor of a clip is taken away: its feature is replaced by the mean one of the training clips.
The answer changes as much as it rested on what that factor told of this clip.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from mer.evaluation.uncertainty import Difference, interval
from mer.study.claims import FAILS, HOLDS, OPEN, Claim, Comparison, judge
from mer.study.factor_attention import (
    FACTORS,
    NOTHING,
    TEST,
    Attended,
    distances,
    estimate,
    received,
)
from mer.study.tables import number_text
from mer.study.zhao2023 import OWN_MODEL

PLACE = "test clips"

_MOST, _OTHERS = "Most attended factor", "the two others"
_RANKS, _NO_RANKS = "Rank correlation over clips", "0"
_QUESTIONS = (
    (
        "Taking away the factor with most attention changes the answer more than taking away "
        "another one",
        (_MOST, _OTHERS),
    ),
    (
        "Clips that give a factor more attention than other clips do depend more on it",
        (_RANKS, _NO_RANKS),
    ),
)
_KEYS = ["seed", "id", "group", "quadrant", "label"]


def changes(found: Attended) -> pd.DataFrame:
    """How an answer changes with one factor taken away, beside the attention that it gets.

    Returns
    -------
    DataFrame
        One row a seed, clip and factor: seed, id, group, quadrant, label, factor, attention (mean
        over heads and over the factors that attend), change (half the sum of the absolute
        differences of the class probabilities with and without the factor, between 0 and 1),
        other (whether another class is answered), right (whether the answer without it is the
        label).
    """
    columns = [name for name in found.answers.columns if name.startswith("p_")]
    by_removed = found.answers.set_index(["removed", *_KEYS])[columns].sort_index()
    whole = by_removed.loc[NOTHING]
    attention = received(found)
    parts = []
    for factor in FACTORS:
        without = by_removed.loc[factor].loc[whole.index]
        answer = without.to_numpy().argmax(axis=1)
        frame = whole.index.to_frame(index=False)
        parts.append(
            frame.join(attention[factor].rename("attention"), on=_KEYS[:4]).assign(
                factor=factor,
                change=np.abs(without - whole).sum(axis=1).to_numpy() / 2,
                other=answer != whole.to_numpy().argmax(axis=1),
                right=answer + 1 == frame["label"].to_numpy(),
            )
        )
    return pd.concat(parts, ignore_index=True)


def accuracy(found: Attended) -> float:
    """Share of right answers with all factors, over clips and seeds."""
    whole = found.answers[found.answers["removed"] == NOTHING]
    answer = whole.filter(regex="^p_").to_numpy().argmax(axis=1) + 1
    return float((answer == whole["label"]).mean())


def importance_text(found: Attended) -> pd.DataFrame:
    """Attention to each factor and what happens without it, over test clips and seeds, for reading.

    Returns
    -------
    DataFrame
        Text, indexed by factor: attention, change (means [95 % intervals drawing songs]), most
        attention (share of clips that look most at it), another answer (share of clips), accuracy
        without it.
    """
    own = found.part(TEST)
    frame = changes(own)
    most = received(own).idxmax(axis=1).value_counts(normalize=True)
    text = {}
    for factor, rows in frame.groupby("factor", sort=False):
        clips = rows.groupby(["id", "group"])[["attention", "change"]].mean().reset_index()
        text[str(factor)] = {
            "attention": _text(*estimate(clips["attention"], clips["group"])),
            "most attention in": f"{most.get(factor, 0.0):.0%}",
            "change without it": _text(*estimate(clips["change"], clips["group"])),
            "another answer": f"{rows['other'].mean():.0%}",
            "accuracy without it": number_text(float(rows["right"].mean())),
        }
    return pd.DataFrame.from_dict(text, orient="index")


def _text(mean: float, low: float, high: float) -> str:
    if np.isnan(low):
        return number_text(mean)
    return f"{number_text(mean)} [{number_text(low)}, {number_text(high)}]"


def questions(tasks: Iterable[str]) -> tuple[Claim, ...]:
    """Questions of ours on some tasks, as they were put before any model was looked at."""
    tasks = list(tasks)
    return tuple(
        Claim(text, None, tuple(Comparison(*pair, task) for task in tasks))
        for text, pair in _QUESTIONS
    )


def judge_questions(told: Iterable[Attended]) -> pd.DataFrame:
    """What test clips say to `questions`, in the columns of `mer.study.claims.judge`.

    Parameters
    ----------
    told : iterable of Attended
        One a task.
    """
    told = list(told)
    first, second = questions(found.task for found in told)
    most = pd.concat([_most_attended(found) for found in told], ignore_index=True)
    judged = judge([first], {PLACE: {OWN_MODEL: most}}, {})
    pairs = zip(second.comparisons, told, strict=True)
    ranks = [_judged_ranks(second.text, comparison, found) for comparison, found in pairs]
    return pd.DataFrame([*judged.to_dict("records"), *ranks], columns=list(judged))


def _most_attended(found: Attended) -> pd.DataFrame:
    """Change without the most attended factor, less the mean of the others, as predictions.

    The system beside it has 0 everywhere: so songs and seeds are drawn for the difference itself.
    """
    keys = ["seed", "id", "group"]
    frame = changes(found.part(TEST)).sort_values("attention", ascending=False, kind="stable")
    by_clip = frame.groupby(keys)["change"]
    most = by_clip.first()
    gap = most - (by_clip.sum() - most) / (len(FACTORS) - 1)
    rows = gap.reset_index(name="correct").assign(task=found.task)
    return pd.concat([rows.assign(system=_MOST), rows.assign(system=_OTHERS, correct=0.0)])


def _judged_ranks(claim: str, comparison: Comparison, found: Attended) -> dict[str, object]:
    ranks = rank_correlation(found)
    verdict = HOLDS if ranks.low > 0 else FAILS if ranks.high < 0 else OPEN
    return {
        "claim": claim,
        "place": PLACE,
        "better": comparison.better,
        "worse": comparison.worse,
        "task": comparison.task,
        "answers": OWN_MODEL,
        "difference": ranks.mean,
        "low": ranks.low,
        "high": ranks.high,
        "n": found.part(TEST).answers["id"].nunique(),
        "published": np.nan,
        "covers": None,
        "verdict": verdict,
    }


def rank_correlation(found: Attended, *, n_resamples: int = 1000, seed: int = 0) -> Difference:
    """Spearman correlation, over test clips, of the attention to a factor and of what it changes.

    Returns
    -------
    Difference
        Mean over seeds and factors, and its 95 % interval, drawing songs and seeds. A correlation
        of something that is the same for all clips counts as 0.
    """
    frame = changes(found.part(TEST))
    tables = [
        frame.pivot_table(index=["group", "id"], columns=["seed", "factor"], values=name)
        for name in ("attention", "change")
    ]
    n_seeds = frame["seed"].nunique()
    values = [t.to_numpy().T.reshape(n_seeds, len(FACTORS), -1) for t in tables]
    codes = pd.factorize(tables[0].index.get_level_values("group"))[0]
    members = [np.flatnonzero(codes == song) for song in range(codes.max() + 1)]
    rng = np.random.default_rng(seed)
    resampled = []
    for _ in range(n_resamples):
        drawn = rng.integers(len(members), size=len(members))
        clips = np.concatenate([members[song] for song in drawn])
        seeds = rng.integers(n_seeds, size=n_seeds)
        resampled.append(_spearman(*(v[seeds][..., clips] for v in values)))
    return Difference(_spearman(*values), *interval(np.asarray(resampled)))


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Mean over the other axes of the rank correlation along the last."""
    ranks = [rankdata(values, axis=-1) for values in (first, second)]
    centred = [r - r.mean(axis=-1, keepdims=True) for r in ranks]
    norm = np.sqrt(np.prod([np.square(c).sum(axis=-1) for c in centred], axis=0))
    product = (centred[0] * centred[1]).sum(axis=-1)
    return float(np.where(norm > 0, product / np.maximum(norm, 1e-12), 0.0).mean())


def findings(told: Iterable[Attended]) -> str:
    """What the attention does on test clips, in Markdown: an item a task."""
    return "\n".join(f"- {_finding(found.part(TEST))}" for found in told)


def _finding(found: Attended) -> str:
    means = received(found).mean()
    apart = distances(found).set_index("kind")["mean"]
    frame = changes(found)
    change = frame.groupby("factor")["change"].mean()
    most = str(change.idxmax())
    other = frame.loc[frame["factor"] == most, "other"].mean()
    return (
        f"{found.task}: most attention goes to the {means.idxmax()} factor ({means.max():.2f}), "
        f"least to the {means.idxmin()} factor ({means.min():.2f}). {apart.iloc[0]:.0%} of the "
        f"attention lies elsewhere than uniform weights would put it, {apart.iloc[1]:.0%} "
        f"elsewhere than the mean of all clips. Without the {most} factor answers change most: "
        f"another class for {other:.0%} of the clips."
    )
