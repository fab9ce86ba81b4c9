"""Self-attention of Zhao and Yoshii (2023): its weights, and whether they explain the predictions.

For every fitted system and clip, two tables are stored: the attention weights, and the predictions
with one factor removed, whose feature is replaced by its mean over the training clips. The more a
prediction depends on the factor, the more it changes. Everything here is computed from the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.stats import rankdata
from torch import Tensor

from mer.clips import Clip, Corpus, Fold
from mer.composing.score import REVISION as SCORE_REVISION
from mer.corpora import load
from mer.errors import ParameterError
from mer.evaluation.resampling import Difference, group_bootstrap, interval
from mer.models import multifaceted
from mer.papers.zhao2023.systems import FACTORS
from mer.papers.zhao2023.tables import PROPOSED, PROPOSED_ROW
from mer.rendering import REVISION as RENDERING_REVISION
from mer.study import plots
from mer.study.claims import Claim, Comparison, Judged, judge
from mer.study.scores import OWN_MODEL
from mer.study.specs import RunSpec
from mer.study.study import Study
from mer.study.text import estimate, number
from mer.systems.network import FittedNetwork
from mer.tasks import TASKS
from mer.training.supervised import autocast

UNIFORM = 1 / len(FACTORS)
NOTHING = "nothing"
"""Removed: the predictions of the whole system."""

TEST, EXAMPLE, PLACE = "test", "example", "test clips"
REVISION = 1
"""Of the stored tables."""

_EXAMPLES, _QUADRANTS = {"size": 24, "duration": 10.0}, (1, 3)
_FACTORS = list(FACTORS)
_CLIP = ["seed", "id", "group", "quadrant"]
_PALETTE = dict(zip(FACTORS, (plots.BLUE, plots.GREEN, plots.VERMILLION), strict=True))
_MOST, _OTHERS = "Most attended factor", "the two others"
_RANKS, _NO_RANKS = "Rank correlation over clips", "0"


def attention_weights(fitted: FittedNetwork, clips: Sequence[Clip]) -> pd.DataFrame:
    """Self-attention of a fitted system, means over the windows of each clip.

    Returns
    -------
    DataFrame
        One row a clip, head and factor that attends: id, head (from 1), from (that factor), and
        the weight of each factor, a column each; they add up to 1.

    Raises
    ------
    ParameterError
        If the system has no self-attention.
    """
    network = _attentive(fitted)
    values, factors = _window_means(fitted, clips, network.attention_weights), [*network.branches]
    heads = range(1, values.shape[1] // len(factors) ** 2 + 1)
    names = {"id": [clip.id for clip in clips], "head": heads, "from": factors}
    return _table(values, names, factors)


def factor_means(fitted: FittedNetwork, clips: Sequence[Clip]) -> np.ndarray:
    """Mean feature of each factor, as input of the self-attention, shape (n_factors, width).

    The mean is over clips, of each over its windows; errors are those of `attention_weights`.
    """
    network = _attentive(fitted)
    means = _window_means(fitted, clips, network.factors).mean(axis=0)
    return means.reshape(len(network.branches), -1)


def answers_without(
    fitted: FittedNetwork, clips: Sequence[Clip], means: np.ndarray
) -> pd.DataFrame:
    """Predictions of a fitted system with the feature of one factor replaced by its mean.

    Parameters
    ----------
    fitted : FittedNetwork
    clips : sequence of Clip
    means : np.ndarray, shape (n_factors, width)
        From `factor_means` over training clips.

    Returns
    -------
    DataFrame
        Columns id, removed (`NOTHING` or the factor), p_1 ... p_k (mean over the windows).
    """
    network = _attentive(fitted)

    def class_probabilities(*inputs: Tensor) -> Tensor:
        features = network.factors(*inputs)
        typical = torch.from_numpy(means).to(features)
        variants = [features, *(features.clone() for _ in means)]
        for k in range(len(means)):
            variants[1 + k][:, k] = typical[k]
        return torch.stack([network.logits(v).float().softmax(dim=1) for v in variants], dim=1)

    values = _window_means(fitted, clips, class_probabilities)
    names = {"id": [clip.id for clip in clips], "removed": [NOTHING, *network.branches]}
    return _table(values, names, [f"p_{k + 1}" for k in range(fitted.n_classes)])


def _table(values: np.ndarray, names: dict[str, Any], columns: list[str]) -> pd.DataFrame:
    index = pd.MultiIndex.from_product([*names.values()], names=[*names])
    return pd.DataFrame(values.reshape(len(index), -1), index, columns).reset_index()


def _attentive(fitted: FittedNetwork) -> multifaceted.Multifaceted:
    network = fitted.network
    if not isinstance(network, multifaceted.Multifaceted) or network.attention is None:
        raise ParameterError("this system has no self-attention to show")
    return network.eval()


def _window_means(
    fitted: FittedNetwork, clips: Sequence[Clip], values_of: Callable[..., Tensor]
) -> np.ndarray:
    """Mean over each clip's windows of what comes out for the inputs of the branches."""

    def of_batch(inputs: tuple[Tensor, ...]) -> Tensor:
        with autocast(fitted.device):
            return values_of(*(x.to(fitted.device) for x in inputs)).float().flatten(1)

    return fitted.system.window_means(fitted.system.items(clips, training=False), of_batch)


@dataclass(frozen=True, eq=False)
class Attention:
    """Attention of the systems that were fitted for one task, one for each seed.

    Attributes
    ----------
    task : str
    weights, answers : DataFrame
        From `attention_weights` and `answers_without`, with columns seed, part (`TEST` or
        `EXAMPLE`: composed clips), group, quadrant and label (class, counted from 1).
    """

    task: str
    weights: pd.DataFrame
    answers: pd.DataFrame

    def part(self, name: str) -> Attention:
        """The clips of one part alone."""
        frames = (frame[frame["part"] == name] for frame in (self.weights, self.answers))
        return Attention(self.task, *frames)


def read_attention(study: Study, task: str) -> Attention:
    """Attention of the proposed system, from the store where it is there.

    Raises
    ------
    MissingDataError
        If it is not stored and nothing is to be computed.
    ParameterError
        If the parameters leave out the proposed system.
    """
    specs = study.specs(PROPOSED_ROW, tasks=[task])
    if not specs:
        raise ParameterError(f"systems {study.settings.systems} leave out {PROPOSED!r}")
    key = {
        "runs": [spec.key for spec in specs],
        "examples": {**_EXAMPLES, "score": SCORE_REVISION, "rendering": RENDERING_REVISION},
        "revision": REVISION,
    }

    def table(name: str, function: Callable[..., pd.DataFrame]) -> pd.DataFrame:
        name = f"{name} {study.corpus_name} {task}"
        return study.table(name, key, lambda: pd.concat(study.inspect(specs, function)))

    return Attention(task, table("attention", weights_of), table("factors removed", answers_of))


def weights_of(fitted: Any, spec: RunSpec, corpus: Corpus, fold: Fold) -> pd.DataFrame:
    """Attention of a fitted system on its test clips and two composed ones."""
    return _by_part(spec, corpus, fold, lambda clips: attention_weights(fitted, clips))


def answers_of(fitted: Any, spec: RunSpec, corpus: Corpus, fold: Fold) -> pd.DataFrame:
    """Answers of a fitted system without single factors, on the same clips."""
    means = factor_means(fitted, list(corpus.select(fold.train)))
    return _by_part(spec, corpus, fold, lambda clips: answers_without(fitted, clips, means))


def _by_part(
    spec: RunSpec, corpus: Corpus, fold: Fold, table_of: Callable[[list[Clip]], pd.DataFrame]
) -> pd.DataFrame:
    frames = []
    for part, clips in {TEST: corpus.select(fold.test), EXAMPLE: examples().values()}.items():
        facts = pd.DataFrame({"seed": spec.seed, "part": part, "id": [clip.id for clip in clips]})
        facts["group"] = [clip.group for clip in clips]
        facts["quadrant"] = [clip.labels.quadrant for clip in clips]
        facts["label"] = TASKS[spec.task].targets(clips) + 1
        frames.append(facts.merge(table_of(list(clips)), on="id"))
    return pd.concat(frames, ignore_index=True)


def examples() -> dict[str, Clip]:
    """Two composed clips, of high valence and arousal and of low ones, by what they are."""
    corpus = load("composed", **_EXAMPLES)
    chosen = {q: next(clip for clip in corpus if clip.labels.quadrant == q) for q in _QUADRANTS}
    return {example_name(quadrant): clip for quadrant, clip in chosen.items()}


def example_name(quadrant: int) -> str:
    """Such as "Q1: high valence, high arousal"."""
    return f"Q{quadrant}: {plots.QUADRANTS[f'Q{quadrant}'][0]}"


def mean_attention(attention: Attention, by: Sequence[str] = tuple(_CLIP)) -> pd.DataFrame:
    """Mean attention that each factor (columns) gets, by some columns of the weights.

    By default clip by clip, over heads and the factors that attend; rows add up to 1.
    """
    return attention.weights.groupby(list(by))[_FACTORS].mean()


def by_quadrant(attention: Attention) -> pd.DataFrame:
    """Mean attention that each factor gets in clips of each quadrant; 0 is all of them.

    Returns
    -------
    DataFrame
        One row a quadrant and factor: quadrant, factor, mean, low, high (95 %, drawing songs;
        missing where there is one), n (clips).
    """
    clips = mean_attention(attention).groupby(_CLIP[1:]).mean().reset_index()
    parts = {0: clips, **dict(list(clips.groupby("quadrant")))}
    rows = [
        {"quadrant": quadrant, "factor": factor, **_mean_and_ends(part, factor), "n": len(part)}
        for quadrant, part in parts.items()
        for factor in FACTORS
    ]
    return pd.DataFrame(rows)


def _mean_and_ends(clips: pd.DataFrame, column: str) -> dict[str, float]:
    """Mean over clips, and its 95 % interval that draws songs (missing where there is one)."""
    values, groups = clips[column], clips["group"]
    several = len(set(groups)) > 1
    ends = group_bootstrap(values, groups) if several else (np.nan, np.nan)
    return {"mean": float(values.mean()), "low": ends[0], "high": ends[1]}


def distances(attention: Attention) -> pd.DataFrame:
    """How far attention is from uniform, and from its mean over the clips.

    Half the sum of the absolute differences of two rows of weights (total variation), between 0
    and 1: what share of the attention lies elsewhere. Of uniform weights 2/3 is the most.

    Returns
    -------
    DataFrame
        One row a kind: kind ("from uniform"; "from the model's mean", which is that of the same
        model, head and row), mean, low, high (95 %, drawing songs).
    """
    weights = attention.weights.set_index(["seed", "id", "group", "head", "from"])[_FACTORS]
    mean = weights.groupby(["seed", "head", "from"]).transform("mean")
    gaps = {"from uniform": weights - UNIFORM, "from the model's mean": weights - mean}
    shares = {kind: gap.abs().sum(axis=1) / 2 for kind, gap in gaps.items()}
    clips = pd.DataFrame(shares).groupby(["id", "group"]).mean().reset_index()
    return pd.DataFrame([{"kind": kind, **_mean_and_ends(clips, kind)} for kind in gaps])


def changes(attention: Attention) -> pd.DataFrame:
    """How an answer changes with one factor removed, beside the attention that the factor gets.

    Returns
    -------
    DataFrame
        One row a seed, clip and factor: seed, id, group, quadrant, label, factor, attention (mean
        over heads and over the factors that attend), change (half the sum of the absolute
        differences of the class probabilities with and without the factor, between 0 and 1),
        other (whether another class is answered), right (whether the answer without it is the
        label).
    """
    answers = attention.answers.set_index([*_CLIP, "label", "removed"]).filter(like="p_")
    without = answers.drop(NOTHING, level="removed")
    frame = without.index.to_frame(index=False).rename(columns={"removed": "factor"})
    clips = pd.MultiIndex.from_frame(frame.drop(columns="factor"))
    whole = answers.xs(NOTHING, level="removed").reindex(clips).to_numpy()
    answer = without.to_numpy().argmax(axis=1)
    means = mean_attention(attention).reset_index()
    means = means.melt(_CLIP, var_name="factor", value_name="attention")
    return frame.merge(means, how="left").assign(
        change=np.abs(without.to_numpy() - whole).sum(axis=1) / 2,
        other=answer != whole.argmax(axis=1),
        right=answer + 1 == frame["label"],
    )


def importance_text(attention: Attention) -> pd.DataFrame:
    """Attention to each factor and answers without it, over test clips and seeds, for reading.

    Returns
    -------
    DataFrame
        Text, indexed by factor, and `NOTHING` for the answers as they are: attention, share of
        clips with most attention to it, change (intervals over songs), share of clips with another
        answer, accuracy without it.
    """
    own = attention.part(TEST)
    whole = own.answers[own.answers["removed"] == NOTHING]
    right = whole.filter(like="p_").to_numpy().argmax(axis=1) + 1 == whole["label"]
    most = mean_attention(own).idxmax(axis=1).value_counts(normalize=True)
    text = {}
    for factor, rows in changes(own).groupby("factor", sort=False):
        clips = rows.groupby(["id", "group"])[["attention", "change"]].mean().reset_index()
        text[str(factor)] = {
            "attention": estimate(*_mean_and_ends(clips, "attention").values()),
            "most attention in": number(most.get(factor, 0.0), percent=True),
            "change without it": estimate(*_mean_and_ends(clips, "change").values()),
            "another answer": number(rows["other"].mean(), percent=True),
            "accuracy without it": number(rows["right"].mean()),
        }
    text[NOTHING] = {"accuracy without it": number(right.mean())}
    return pd.DataFrame.from_dict(text, orient="index").fillna("–")


def questions(tasks: Iterable[str]) -> tuple[Claim, Claim]:
    """Questions of ours on some tasks, as they were put before any model was inspected."""
    first = (
        "Removing the factor with most attention changes the prediction more than removing another "
        "factor"
    )
    second = "Clips with more attention to a factor depend more on this factor"
    tasks = list(tasks)
    most = tuple(Comparison(_MOST, _OTHERS, task) for task in tasks)
    ranks = tuple(Comparison(_RANKS, _NO_RANKS, task) for task in tasks)
    return Claim(first, None, most), Claim(second, None, ranks)


def judge_questions(attentions: Sequence[Attention]) -> pd.DataFrame:
    """Verdicts of the test clips on `questions`, as `mer.study.claims.judge`; one entry a task."""
    parts = [attention.part(TEST) for attention in attentions]
    first, second = questions(part.task for part in parts)
    most = pd.concat([_most_attended(part) for part in parts], ignore_index=True)
    n_clips = most["id"].nunique()
    ranks = [
        comparison.judged(second.text, PLACE, rank_correlation(part), n_clips)
        for comparison, part in zip(second.comparisons, parts, strict=True)
    ]
    judged = judge([first], {PLACE: {OWN_MODEL: most}}, {})
    return pd.DataFrame([*judged.to_dict("records"), *ranks], columns=list(judged))


def judged_questions(study: Study, attentions: Sequence[Attention]) -> Judged:
    """`questions` with their differences; what is about one system has no grade."""
    asked = questions(attention.task for attention in attentions)
    return Judged(asked, judge_questions(attentions), study.corpus_name, {PLACE: {}})


def _most_attended(attention: Attention) -> pd.DataFrame:
    """Change without the most attended factor, less the mean of the others, as predictions.

    The system beside it has 0 everywhere: so songs and seeds are drawn for the difference itself.
    """
    frame = changes(attention).sort_values("attention", ascending=False, kind="stable")
    by_clip = frame.groupby(["seed", "id", "group"])["change"]
    most = by_clip.first()
    gap = most - (by_clip.sum() - most) / (len(FACTORS) - 1)
    rows = gap.reset_index(name="correct").assign(task=attention.task)
    return pd.concat([rows.assign(system=_MOST), rows.assign(system=_OTHERS, correct=0.0)])


def rank_correlation(attention: Attention, *, n_resamples: int = 1000) -> Difference:
    """Spearman correlation, over clips, of the attention to a factor and of what it changes.

    Returns
    -------
    Difference
        Mean over seeds and factors, and its 95 % interval, drawing songs and seeds. A correlation
        of something that is the same for all clips counts as 0.
    """
    frame = changes(attention)
    tables = [
        frame.pivot_table(index=["group", "id"], columns=["seed", "factor"], values=name)
        for name in ("attention", "change")
    ]
    n_seeds = frame["seed"].nunique()
    values = [t.to_numpy().T.reshape(n_seeds, len(FACTORS), -1) for t in tables]
    codes = pd.factorize(tables[0].index.get_level_values("group"))[0]
    members = [np.flatnonzero(codes == song) for song in range(codes.max() + 1)]
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(n_resamples):
        drawn = rng.integers(len(members), size=len(members))
        clips = np.concatenate([members[song] for song in drawn])
        seeds = rng.integers(n_seeds, size=n_seeds)
        resampled.append(_spearman(*(v[seeds][..., clips] for v in values)))
    return Difference(_spearman(*values), *interval(np.asarray(resampled)))


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Mean over the other axes of the rank correlation along the last."""
    a, b = (rankdata(values, axis=-1) for values in (first, second))
    a, b = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (a, b))
    norm = np.sqrt(np.square(a).sum(axis=-1) * np.square(b).sum(axis=-1))
    product = (a * b).sum(axis=-1)
    return float(np.where(norm > 0, product / np.maximum(norm, 1e-12), 0.0).mean())


def attention_summary(attentions: Iterable[Attention]) -> str:
    """What the attention does on test clips, in Markdown: an item a task."""
    return "\n".join(f"- {_summary(attention.part(TEST))}" for attention in attentions)


def _summary(attention: Attention) -> str:
    means, frame = mean_attention(attention).mean(), changes(attention)
    uniform, own = (number(gap, percent=True) for gap in distances(attention)["mean"])
    most = str(frame.groupby("factor")["change"].mean().idxmax())
    other = number(frame.loc[frame["factor"] == most, "other"].mean(), percent=True)
    return (
        f"{attention.task}: the {means.idxmax()} factor gets most attention "
        f"({number(means.max(), 2)}), the {means.idxmin()} factor least "
        f"({number(means.min(), 2)}). {uniform} of the attention differs from "
        f"uniform weights, {own} from the mean over all clips. Without the {most} factor the "
        f"predictions change most: {other} of the clips get another class."
    )


def heads_figure(attention: Attention) -> Figure:
    """Mean attention over test clips: from factor (row) to factor, and by head of each model."""
    own = attention.part(TEST)
    pair = mean_attention(own, ["from"]).loc[_FACTORS]
    head = mean_attention(own, ["seed", "head"])
    height = 0.7 + 0.24 * max(len(head), 8)
    figure, ((left, right),) = plots.panels(1, 2, height, gridspec_kw={"width_ratios": (1, 1.2)})
    plots.heatmap(left, pair)
    left.set(ylabel="Factor that attends", title=f"{attention.task}: all heads and seeds")
    plots.heatmap(right, head.set_axis([f"seed {seed}, head {k}" for seed, k in head.index]))
    right.set_title(f"{attention.task}: by head")
    figure.supxlabel("Factor attended to (uniform: .33)", fontsize=9)
    return figure


def quadrants_figure(attentions: Iterable[Attention]) -> Figure:
    """Attention that each factor gets in test clips of each quadrant, a row of panels a task."""
    frame = pd.concat([by_quadrant(a.part(TEST)).assign(task=a.task) for a in attentions])
    frame = frame[frame["quadrant"] > 0]
    layout: plots.Layout = {"row": "task", "column": "factor", "hue": "quadrant", "sharex": True}
    layout["palette"] = {name: colour for name, (_, colour) in plots.QUADRANTS.items()}
    layout |= {"vlines": {"uniform": UNIFORM}, "xlabel": "Attention"}
    names = "Q" + frame["quadrant"].astype(str)
    return plots.forest(frame.assign(quadrant=names), "quadrant", **layout)


def importance_figure(attentions: Iterable[Attention]) -> Figure:
    """Attention to a factor against the change without it: a dot a test clip, a panel a seed."""
    frame = pd.concat([changes(a.part(TEST)).assign(task=a.task) for a in attentions])
    frame["seed"] = "seed " + frame["seed"].astype(str)
    layout: plots.Layout = {"row": "task", "column": "seed", "hue": "factor", "palette": _PALETTE}
    layout |= {"vlines": {"uniform": UNIFORM}, "xlabel": "Attention to the factor"}
    layout["ylabel"] = "Change without it"
    return plots.scatter(frame, "attention", "change", **layout)


def examples_figure(attentions: Iterable[Attention]) -> Figure:
    """Attention that each factor gets in the composed clips: means over seeds, and single seeds."""
    frame = pd.concat([mean_attention(a.part(EXAMPLE)).assign(task=a.task) for a in attentions])
    keys = ["quadrant", "task"]
    seeds = frame.reset_index().melt(keys, _FACTORS, var_name="factor", value_name="mean")
    means = seeds.groupby([*keys, "factor"], sort=False)["mean"].mean().reset_index()
    layout: plots.Layout = {"column": "quadrant", "hue": "task", "sharex": True}
    layout["names"] = {q: example_name(q) for q in _QUADRANTS}
    layout |= {"vlines": {"uniform": UNIFORM}, "xlabel": "Attention"}
    return plots.forest(means, "factor", ends=None, points=seeds, **layout)
