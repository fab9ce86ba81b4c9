"""EmoMucs (de Berardinis et al. 2020): tables 1 and 2 row by row, figure 4, and the claims.

The corpus of the paper is PMEmo, whose recordings are not public. Runs are those of nested
cross-validation: fold 5 * outer + inner tests on the outer part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.corpora import emotify
from mer.evaluation.labels import split_half_reliability
from mer.evaluation.metrics import r2
from mer.models.emomucs import C1D, C2D, InputsKeptHead, parameter_count
from mer.papers import emopia
from mer.papers.deberardinis2020.systems import (
    SOURCES,
    Fusion,
    SourceNetwork,
    excerpt_descriptors,
)
from mer.papers.published import cells, published_value
from mer.separation import MIX
from mer.study import plots
from mer.study.claims import Claim, Comparison
from mer.study.results import Results, read_predictions
from mer.study.scores import DIMENSIONS, Published, model_scores
from mer.study.specs import RunSpec
from mer.study.store import RunStore
from mer.study.study import Study
from mer.study.tables import NamedRows, Rows, Table, score_table
from mer.study.text import corpus_title, estimate, listing, markdown, number
from mer.systems.classical import DescriptorSVR

LETTERS = {MIX: "M", "vocals": "V", "bass": "B", "drums": "D", "other": "O"}
"""Inputs by the letters of the paper, in its order."""

ARCHITECTURES: Mapping[str, dict[str, Any]] = {
    "C1D": {"model": C1D, "dropout": 0.5},
    "C2D": {"model": C2D, "dropout": 0.0},
}
"""The text does not give the dropouts; they are those of the published code."""

FUSIONS = {"C1D": ("early", "mid", "late"), "C2D": ("early", "late")}
TRAININGS = ("freeze", "finetune", "full")
SUBSETS = tuple(subset for size in range(1, 5) for subset in combinations(SOURCES, size))
CORPUS = "PMEmo"
INNER_FOLDS = 5


def source_name(architecture: str, source: str) -> str:
    """Row of a network on one input, such as "C2D-V"; M stands for the mix."""
    return f"{architecture}-{LETTERS[source]}"


def letters(sources: Iterable[str]) -> str:
    """Sources by their letters, such as "V+B"."""
    return "+".join(LETTERS[source] for source in sources)


def fusion_name(
    architecture: str, fusion: str, training: str, sources: tuple[str, ...] = SOURCES
) -> str:
    """Row of a fusion, such as "EmoMucs-C2D, late, freeze" or "EmoMucs-C2D, late, freeze, V+B"."""
    subset = "" if sources == SOURCES else f", {letters(sources)}"
    return f"EmoMucs-{architecture}, {fusion}, {training}{subset}"


def _fusion(architecture: str, fusion: str, training: str, **options: Any) -> Fusion:
    shared = {**ARCHITECTURES[architecture], **options}
    return Fusion(fusion=fusion, training=training, **shared)  # type: ignore[arg-type]


SINGLE: Rows = NamedRows(
    {
        source_name(a, source): SourceNetwork(**options, sources=(source,))
        for a, options in ARCHITECTURES.items()
        for source in LETTERS
    }
)
"""Rows of table 1."""

MIXES = tuple(source_name(a, MIX) for a in ARCHITECTURES)
UNIFIED: Rows = NamedRows(
    {
        f"EmoMucs-{a}, unified": SourceNetwork(**options, sources=SOURCES)
        for a, options in ARCHITECTURES.items()
    }
)
"""Ours: one network with all sources as its channels."""

FUSED: Rows = NamedRows(
    {
        fusion_name(a, fusion, training): _fusion(a, fusion, training)
        for a in ARCHITECTURES
        for training in TRAININGS
        for fusion in FUSIONS[a]
    }
)
"""Cells of table 2; late fusion with fine-tuning and full training are not in the paper."""

FROZEN: Rows = NamedRows(
    {name: system for name, system in FUSED.items() if name.endswith("freeze")}
)
TRAINED_WHOLE: Rows = NamedRows(
    {name: system for name, system in FUSED.items() if name not in FROZEN}
)
"""Cells in which the source models are trained, too: they cost most."""

INPUTS_KEPT = {a: f"EmoMucs-{a}, late, freeze, no dropout of inputs" for a in ARCHITECTURES}
"""Ours, by architecture: late fusion whose head sees all that the source models say."""

INPUTS_KEPT_ROWS: Rows = NamedRows(
    {row: _fusion(a, "late", "freeze", head=InputsKeptHead) for a, row in INPUTS_KEPT.items()}
)

PROPOSED = {
    "C1D": fusion_name("C1D", "mid", "freeze"),
    "C2D": fusion_name("C2D", "late", "freeze"),
}
"""By architecture: the fusion with the highest published R2 of valence."""

COMBINED = {letters(s): fusion_name("C2D", "late", "freeze", s) for s in SUBSETS}
"""Rows of figure 4, by the letters of their sources."""

MEANS = {a: f"{a}, mean of sources" for a in ARCHITECTURES}
"""Ours, by architecture: the plain mean of what the networks on each source predict."""

COMBINED_MEANS = {
    letters(s): MEANS["C2D"] if s == SOURCES else f"C2D, mean of {letters(s)}" for s in SUBSETS
}
"""The same of each combination of figure 4."""

_MADE_OF = {
    MEANS["C1D"]: [source_name("C1D", source) for source in SOURCES],
    **{COMBINED_MEANS[letters(s)]: [source_name("C2D", source) for source in s] for s in SUBSETS},
}

COMBINATIONS: Rows = NamedRows(
    {COMBINED[letters(s)]: _fusion("C2D", "late", "freeze", sources=s) for s in SUBSETS}
)


def _published() -> dict[tuple[str, str, str], float]:
    scores: dict[tuple[str, str, str], float] = {}
    for name, metric in (("RMSE", "rmse"), ("R2", "r2")):
        columns = {f"{name} {dimension[0].upper()}": dimension for dimension in DIMENSIONS}
        scores |= cells("deberardinis2020", "1", {row: row for row in SINGLE}, columns, metric)
        for a, training in product(ARCHITECTURES, TRAININGS):
            for fusion in FUSIONS[a]:
                row = {f"EmoMucs-{a} {training}": fusion_name(a, fusion, training)}
                own = {f"{fusion.capitalize()} {name}": d for name, d in columns.items()}
                scores |= cells("deberardinis2020", "2", row, own, metric)
    return scores


PUBLISHED: Published = _published()

_ON: dict[str, Any] = {
    "tasks": ("VA",),
    "published": PUBLISHED,
    "published_on": CORPUS,
    "beside": ("pmemo", "emotify", "emotion_in_music"),
}
SVR = "SVR, 20 s at 12 kHz"
BASELINES: Rows = {
    **emopia.REGRESSION,
    SVR: DescriptorSVR(features=(excerpt_descriptors,)),
}
"""The last one hears what the networks hear; SVR hears the whole clip."""

TABLE_1 = Table("1", "Sources alone", SINGLE, BASELINES, **_ON)
TABLE_2 = Table("2", "Fusion of sources", FUSED, INPUTS_KEPT_ROWS, **_ON)
MIX_TABLE = Table(
    "1", "Networks on the mix", {name: SINGLE[name] for name in MIXES}, UNIFIED, **_ON
)
LATE_TABLE = Table(
    "2",
    "Late fusion with frozen source models",
    {name: system for name, system in FROZEN.items() if ", late" in name},
    INPUTS_KEPT_ROWS,
    **_ON,
)
FIGURE_4 = Table(
    "",
    "Combinations of sources",
    COMBINATIONS,
    {"Mean": emopia.REGRESSION["Mean"], "C2D-M": SINGLE["C2D-M"]},
    **_ON,
)
FAMILIES = (*PROPOSED.values(), "EmoMucs-C1D, mid, full", "EmoMucs-C2D, late, full")
"""A fusion of each kind that is trained in one way."""


Pairs = Iterable[tuple[str, str]]


def _better(text: str, table: str | None, pairs: Pairs, *dimensions: str) -> Claim:
    """That R2 of the first of each pair of rows is better; of both dimensions if none is named."""
    named = dimensions or DIMENSIONS
    return Claim(text, table, tuple(Comparison(*p, d, "r2") for p, d in product(pairs, named)))


def _against_sources(rows: Mapping[str, str]) -> Pairs:
    """A row for each architecture against the networks on each source."""
    return [(rows[a], source_name(a, source)) for a, source in product(ARCHITECTURES, SOURCES)]


def _among_sources(chosen: str) -> list[tuple[str, str]]:
    """One source against each other one, with both architectures."""
    pairs = product(ARCHITECTURES, (source for source in SOURCES if source != chosen))
    return [(source_name(a, chosen), source_name(a, other)) for a, other in pairs]


def _frozen_against(training: str, fusions: Pairs) -> Pairs:
    return (
        (fusion_name(a, fusion, "freeze"), fusion_name(a, fusion, training))
        for a, fusion in fusions
    )


_SINGLE_AND_MIX = _against_sources({a: source_name(a, MIX) for a in ARCHITECTURES})
_FUSED_AND_MIX = list(zip(PROPOSED.values(), MIXES, strict=True))
_LATE = [(a, "late") for a in ARCHITECTURES]
_THREE_TRAININGS = [("C1D", "early"), ("C1D", "mid"), ("C2D", "early")]
"""Fusions whose three trainings are all in the paper."""

_SVR = "support vector regression on plain descriptors of the same excerpts is better than"

SOURCE_CLAIMS = (
    *(
        _better(f"On {d}, each source alone is worse than the mix", "1", _SINGLE_AND_MIX, d)
        for d in DIMENSIONS
    ),
    _better(
        "Among single sources, drums are the best for valence",
        "1",
        _among_sources("drums"),
        "valence",
    ),
    _better(
        "Among single sources, bass is the worst for arousal",
        "1",
        [(other, bass) for bass, other in _among_sources("bass")],
        "arousal",
    ),
    _better(
        "C2D is more accurate than C1D on every input",
        "1",
        [(source_name("C2D", source), source_name("C1D", source)) for source in LETTERS],
    ),
)
SOURCE_QUESTIONS = tuple(
    _better(f"On {d}, {_SVR} both networks on the mix", None, [(SVR, mix) for mix in MIXES], d)
    for d in DIMENSIONS
)
UNIFIED_QUESTIONS = (
    _better(
        "One network with the four sources as its channels is better than the same network on "
        "the mix",
        None,
        zip(UNIFIED, MIXES, strict=True),
    ),
)
FUSION_CLAIMS = (
    _better(
        "On valence, fusion of all sources is better than the mix", "2", _FUSED_AND_MIX, "valence"
    ),
    *(
        _better(
            f"On {d}, fusion of all sources is better than each source alone",
            "2",
            _against_sources(PROPOSED),
            d,
        )
        for d in DIMENSIONS
    ),
    _better(
        "With C1D, mid fusion is better than early and late fusion",
        "2",
        [(PROPOSED["C1D"], fusion_name("C1D", f, "freeze")) for f in ("early", "late")],
    ),
    _better(
        "With C2D, late fusion is better than early fusion on valence",
        "2",
        [(PROPOSED["C2D"], fusion_name("C2D", "early", "freeze"))],
        "valence",
    ),
)
FUSION_QUESTIONS = (
    _better(
        "On arousal, fusion of all sources is also better than the mix (the paper finds no gain)",
        "2",
        _FUSED_AND_MIX,
        "arousal",
    ),
    *(
        _better(
            f"On {d}, {_SVR} fusion of all sources",
            None,
            [(SVR, row) for row in PROPOSED.values()],
            d,
        )
        for d in DIMENSIONS
    ),
)
MEAN_QUESTIONS = (
    _better(
        "The head of late fusion is better than the mean of the four predictions",
        None,
        [(fusion_name(a, "late", "freeze"), mean) for a, mean in MEANS.items()],
    ),
    _better(
        "The mean of the four predictions is better than the mix",
        None,
        [(mean, source_name(a, MIX)) for a, mean in MEANS.items()],
    ),
)
TRAINING_CLAIMS = (
    _better(
        "Frozen source models are better than fine-tuned ones",
        "2",
        _frozen_against("finetune", _THREE_TRAININGS),
    ),
    _better(
        "Frozen source models are better than full training from random weights",
        "2",
        _frozen_against("full", _THREE_TRAININGS),
    ),
)
TRAINING_QUESTIONS = (
    _better(
        "In late fusion, frozen source models are better than both other trainings (the paper has "
        "frozen ones only)",
        None,
        [*_frozen_against("finetune", _LATE), *_frozen_against("full", _LATE)],
    ),
)
HEAD_QUESTIONS = (
    _better(
        "A head without dropout of its inputs is better than the head of late fusion",
        None,
        [(row, fusion_name(a, "late", "freeze")) for a, row in INPUTS_KEPT.items()],
    ),
    _better(
        "A head without dropout of its inputs is better than the mean of the four predictions",
        None,
        [(row, MEANS[a]) for a, row in INPUTS_KEPT.items()],
    ),
)


def with_means(results: Results) -> Results:
    """The results with rows of means, where networks on the single sources are among them.

    They are those of `MEANS` and `COMBINED_MEANS`; nothing is trained for them.
    """
    return replace(results, extend=_with_means, made_of=_MADE_OF)


def _with_means(predictions: pd.DataFrame) -> pd.DataFrame:
    keys = [c for c in predictions if c not in ("system", *DIMENSIONS)]
    frames = [predictions]
    for name, sources in _MADE_OF.items():
        rows = predictions[predictions["system"].isin(sources)]
        if rows["system"].nunique() == len(sources):
            joined = rows.groupby(keys, sort=False)[[*DIMENSIONS]].mean().reset_index()
            frames.append(joined.assign(system=name)[predictions.columns])
    return pd.concat(frames, ignore_index=True)


def about(study: Study) -> str:
    """A sentence on the corpus that findings are about; empty on the corpus of the paper."""
    if study.corpus_name == "pmemo":
        return ""
    own = corpus_title(study.corpus_name, article=True)
    return f"These findings are about {own}; the paper is about {CORPUS}."


def folds(study: Study, *, whole: bool = False) -> Iterable[int] | None:
    """Folds that the profile runs, None for all; with `whole` those of runs that cost most.

    These are networks on all sources that are trained as a whole, and all on the composed corpus.
    """
    own: dict[str, list[int]] = study.profile.of_page("deberardinis2020")
    return own.get("whole_folds" if whole else "folds")


def specs(study: Study, rows: Rows, *, whole: bool = False, **options: Any) -> list[RunSpec]:
    """Runs of some rows in nested cross-validation, see `folds`."""
    options = {"split": "nested", "tasks": ("VA",), "folds": folds(study, whole=whole), **options}
    return study.specs(rows, **options)


def fusion_specs(study: Study) -> list[RunSpec]:
    """Runs of table 2: fusions that are trained as a whole, and heads of ours, on fewer folds."""
    fewer = {**TRAINED_WHOLE, **INPUTS_KEPT_ROWS}
    return [*specs(study, FROZEN), *specs(study, fewer, whole=True)]


def part(results: Results, rows: Iterable[str] | pd.Series, place: str | None = None) -> Results:
    """Results of some rows, or of those predictions for which a mask is true."""
    own = replace(results, place=place or results.place)
    found = results.predictions
    chosen = rows if isinstance(rows, pd.Series) else found["system"].isin([*rows])
    own.__dict__.update(runs=results.runs, predictions=found[chosen])
    return own


def by_folds(results: Results) -> list[Results]:
    """Results of systems that can be compared, by the models that they are of.

    If all systems were run on the same folds, that is one part. Else the first part has those that
    were run on all folds, and the last part all systems on the folds that they share (if there are
    such). `Results.place` says which models it is.
    """
    predictions = results.predictions
    folds = {name: frozenset(own) for name, own in predictions.groupby("system")["fold"]}
    everywhere = frozenset(predictions["fold"])
    complete = [str(name) for name, own in folds.items() if own == everywhere]
    shared = everywhere.intersection(*folds.values())
    parts = []
    if complete:
        name = f"all {len(everywhere)} models" if len(everywhere) > 1 else "one model"
        parts.append(part(results, complete, name))
    if len(complete) < len(folds) and shared:
        listed = ", ".join(map(str, sorted(shared)))
        name = f"the models of folds {listed}" if len(shared) > 1 else f"the model of fold {listed}"
        parts.append(part(results, predictions["fold"].isin(shared), name))
    return parts


def inner_ensembles(predictions: pd.DataFrame, inner_folds: int = INNER_FOLDS) -> pd.DataFrame:
    """The mean of the predictions of the models that share a test part; fold is the outer one."""
    keys = ["system", "task", "split", "fold", "seed", "audio", "id", "group"]
    keys += [f"target_{name}" for name in DIMENSIONS]
    outer = predictions.assign(fold=predictions["fold"] // inner_folds)
    return outer.groupby(keys, sort=False)[[*DIMENSIONS]].mean().reset_index()


def best_inner_models(
    store: RunStore, runs: Iterable[RunSpec], inner_folds: int = INNER_FOLDS
) -> list[RunSpec]:
    """Of the models that share a test part, the one with the lowest validation RMSE.

    This is what the published code scores, one model an outer fold.
    """
    best: dict[tuple[str, int, int], tuple[float, RunSpec]] = {}
    for spec in runs:
        key = (spec.system, spec.fold // inner_folds, spec.seed)
        value = min((row["valid_rmse"] for row in store.read(spec).history), default=0.0)
        if key not in best or value < best[key][0]:
            best[key] = (value, spec)
    return [spec for _, spec in best.values()]


def scored_in_three_ways(results: Results) -> pd.DataFrame:
    """Mean R2 over all models, over best inner models and over ensembles.

    Indexed by row; a column a dimension and way. Where there is one model for each test part, there
    is one way.
    """
    predictions, store = results.predictions, results.study.store
    ways = {"mean over models": predictions}
    if predictions["fold"].nunique() > (predictions["fold"] // INNER_FOLDS).nunique():
        best = best_inner_models(store, results.of(*predictions["system"].unique()))
        ways["best inner model"] = read_predictions(store, best)
        ways["ensemble of inner models"] = inner_ensembles(predictions)
    columns = {
        f"{dimension}, {way}": {
            str(system): model_scores(rows, "r2", dimension).mean()
            for system, rows in frame.groupby("system", sort=False)
        }
        for dimension in DIMENSIONS
        for way, frame in ways.items()
    }
    return pd.DataFrame(columns)


def target_facts(study: Study) -> pd.DataFrame:
    """Distribution and reliability of valence and arousal, from the store where it is there.

    Index dimension; mean, sd, min and max of the labels over clips; where the corpus comes with
    single ratings also ratings (that tell something of the dimension), reliability (split-half) and
    its standard deviation over random halves, else missing.
    """

    def compute() -> pd.DataFrame:
        ratings = emotify.ratings() if study.corpus_name == "emotify" else None
        labels = study.corpus.to_frame()
        return pd.DataFrame([_facts(labels[d], ratings) for d in DIMENSIONS])

    key = {"corpus": study.corpus_name, "fingerprint": study.card["fingerprint"]}
    return study.table(f"targets {study.corpus_name}", key, compute).set_index("dimension")


def _facts(labels: pd.Series, ratings: pd.DataFrame | None) -> dict[str, Any]:
    spread = labels.agg(["mean", "std", "min", "max"]).rename({"std": "sd"})
    facts = {"dimension": labels.name, **spread, "ratings": np.nan}
    if ratings is None:
        return {**facts, "reliability": np.nan, "reliability_sd": np.nan}
    given = ratings.dropna(subset=[str(labels.name)])
    found = split_half_reliability(given[labels.name], given["id"])
    estimates = {"reliability": found.mean, "reliability_sd": found.std}
    return {**facts, "ratings": len(given), **estimates}


def padding(study: Study, seconds: float) -> pd.DataFrame:
    """Ids of clips that are shorter than excerpts of that length, and the seconds of silence added.

    They are from the store where they are there.
    """

    def compute() -> pd.DataFrame:
        missing = SourceNetwork(seconds=seconds).padding(study.corpus)
        return pd.DataFrame(missing.items(), columns=["id", "seconds"])

    key = {"corpus": study.corpus_name, "fingerprint": study.card["fingerprint"]}
    return study.table(f"padding {study.corpus_name}", {**key, "seconds": seconds}, compute)


def corpus_summary(study: Study, facts: pd.DataFrame) -> str:
    """Size of the corpus and what its labels allow, in Markdown."""
    counts = study.card["counts"]
    lines = [
        f"**{corpus_title(study.corpus_name)}** has {number(counts['clips'])} clips of "
        f"{number(counts['groups'])} groups (tracks, or artists and songs where known); audio: "
        f"{study.card['audio']}."
    ]
    known = facts.dropna(subset=["reliability"])
    for dimension, row in known.iterrows():
        lines.append(
            f"The labels of {dimension} have a reliability of {number(row['reliability'])}, from "
            f"{number(int(row['ratings']))} ratings: no model can be expected to exceed that R2."
        )
    if known.empty:
        lines.append("The corpus has no individual ratings, so the reliability is unknown.")
    if study.corpus_name in TABLE_1.beside:
        spread = listing(f"{number(row['sd'], 2)} ({name})" for name, row in facts.iterrows())
        lines.append(
            f"The standard deviations of the labels are {spread}. An RMSE cannot be compared "
            "between corpora whose labels spread differently; R2 is relative to that spread."
        )
    return " ".join(lines)


def excerpt_summary(study: Study, results: Results) -> str:
    """How long the excerpts are, and how many clips are shorter."""
    lengths = {s.seconds for s in results.rows().values() if isinstance(s, SourceNetwork)}
    if not lengths:
        return "No network was run."
    short = padding(study, max(lengths))
    text = (
        f"Excerpts are {max(lengths):g} s long. {number(len(short))} of "
        f"{number(study.card['counts']['clips'])} clips are shorter and end in silence"
    )
    mean = f", of {number(short['seconds'].mean(), 2)} s on average" if len(short) else ""
    return f"{text}{mean}."


def score_text(
    scored: pd.DataFrame, order: Iterable[str], metrics: Sequence[str] = ("r2", "rmse")
) -> pd.DataFrame:
    """Scores for reading: a row a system, those not run included.

    For each metric and dimension a published column, where anything is published, and one of ours;
    and the number of models. `scored` is from `mer.study.scores.scores`.
    """
    rows = list(order)
    pairs = product(metrics, DIMENSIONS)
    parts = [score_table(scored, rows, dimension, (metric,)) for metric, dimension in pairs]
    text = pd.concat(parts, axis=1).rename(columns={"published": f"published ({CORPUS})"})
    models = scored.groupby("system")["seeds"].first().reindex(rows).fillna(0).astype(int)
    text["", "models"] = models
    return text


def score_figure(scored: pd.DataFrame, reliability: pd.Series | None = None) -> Figure:
    """R2 of each system, a panel a dimension, from -1 on; published values are diamonds.

    `scored` is from `mer.study.scores.scores`; `reliability`, by dimension, is the highest score
    that the labels allow, drawn as a line where it is known.
    """
    bounds = {} if reliability is None else {"reliability of the labels": reliability.to_dict()}
    figure = plots.forest(
        scored[scored["metric"] == "r2"],
        "system",
        column="task",
        published="published",
        published_label=f"published, on {CORPUS}",
        vlines={**bounds, "_zero": 0.0},
        xlabel="R2",
    )
    for axis in figure.axes:
        axis.set_xlim(left=max(axis.get_xlim()[0], -1))
    return figure


def score_summary(scored: pd.DataFrame) -> str:
    """The best systems of table 1, and the order of the sources, in Markdown."""
    lines = []
    rows = scored[scored["metric"] == "r2"].sort_values("mean", ascending=False)
    for dimension in DIMENSIONS:
        ranked = rows[rows["task"] == dimension].set_index("system")
        best = ranked.iloc[0]
        score = estimate(best["mean"], best["low"], best["high"])
        line = (
            f"- {dimension.capitalize()}: {markdown(best.name)} has the highest mean R2, {score}."
        )
        alone = ranked[ranked.index.isin(SINGLE) & ~ranked.index.isin(MIXES)]["mean"]
        if len(alone):
            named = ", ".join(f"{name} {number(mean)}" for name, mean in alone.items())
            line += f" Single sources, best first: {named}."
        lines.append(line)
    return "\n".join(lines)


def agreement_figure(predictions: pd.DataFrame, systems: Iterable[str]) -> Figure:
    """Predicted against annotated values: a row a system, a column a dimension, a dot a clip.

    Where several models were tested on a clip, it is their mean prediction. Without predictions of
    these systems, it is that of the first system at hand.
    """
    present = list(predictions["system"].unique())
    chosen = [system for system in systems if system in present] or present[:1]
    clips = predictions.groupby(["system", "id"]).mean(numeric_only=True)
    parts, names = [], {}
    for system, dimension in product(chosen, DIMENSIONS):
        frame = clips.loc[system][[f"target_{dimension}", dimension]]
        frame.columns = pd.Index(["Annotated", "Predicted"])
        score = number(r2(frame["Annotated"], frame["Predicted"]))
        names[system, dimension] = f"{system}: {dimension}, R2 {score}"
        parts.append(frame.assign(system=system, dimension=dimension))
    layout: dict[str, Any] = {"row": "system", "column": "dimension", "names": names}
    layout |= {"sharex": "col", "sharey": "col"}
    return plots.scatter(pd.concat(parts), "Annotated", "Predicted", diagonal=True, **layout)


def fusion_summary(parts: Iterable[Results]) -> str:
    """How many fusions were run on which folds, in Markdown, from `by_folds`."""
    lines = []
    for results in parts:
        n = sum(system in FUSED for system in results.predictions["system"].unique())
        clips = number(results.predictions["id"].nunique())
        name = results.place.capitalize()
        lines.append(f"- {name}: {n} of {len(FUSED)} fusions, tested on {clips} clips.")
    return "\n".join(lines)


def parameter_counts(rows: Rows) -> pd.DataFrame:
    """How many numbers the networks of some rows have, beside the published counts.

    Index row; published (table 1, for the architecture on one input; missing elsewhere), "20 s"
    (here, on the paper's excerpts) and, where runs heard shorter ones, that of theirs.
    """
    counts: dict[str, dict[str, Any]] = {}
    networks = {name: s for name, s in rows.items() if isinstance(s, SourceNetwork)}
    for name, system in networks.items():
        known = ("deberardinis2020", "1", system.family, "# params")
        own = {"published": published_value(*known) if name in SINGLE else None}
        counts[name] = own
        for seconds in (20.0, system.seconds):
            own[f"{seconds:g} s"] = parameter_count(replace(system, seconds=seconds).network())
    return pd.DataFrame.from_dict(counts, orient="index").astype("Int64")


def size_table(results: Results, rows: Rows) -> pd.DataFrame:
    """Parameters of some rows, and mean number of epochs of their last stage of training."""
    runs = results.of(*rows)
    counts = parameter_counts({spec.system: spec.built for spec in runs if spec.built})
    epochs = [(spec.system, len(results.study.store.read(spec).history)) for spec in runs]
    means = pd.DataFrame(epochs, columns=["system", "epochs"]).groupby("system")["epochs"].mean()
    table = counts.drop(columns="published")
    return table.assign(**{"epochs (mean)": means.round().astype("Int64")})
