"""Verdicts on claims, displayed, with the grades of the runs behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mer.study.admissibility import Standing
from mer.study.claims import (
    CONTRADICTED,
    INCONCLUSIVE,
    NO_VERDICT,
    NOT_REPRODUCED,
    SUPPORTED,
    Claim,
    Judged,
    differences_text,
    direction,
    judge,
    kinds,
    lowest_grade,
    paragraphs,
    standings_of,
    verdict,
)
from mer.study.model_card import network_counts
from mer.study.results import TASK_TITLES, Results
from mer.study.scores import DIMENSIONS, IMPLIED, OWN_MODEL, model_scores
from mer.study.specs import RunSpec
from mer.study.store import Run
from mer.study.study import Study
from mer.study.tables import KNOWN_ROWS
from mer.study.text import captioned, corpus_title, estimate, listing, markdown, number
from mer.systems.base import System

COLUMNS = (
    *("claim", "table", "place", "corpus", "differences", "least", "most"),
    *("published_least", "published_most", "better", "worse", "task", "margin"),
    *("difference", "low", "high", "published", "direction", "grade", "runs", "verdict"),
)
"""Of `claim_table`."""

_IN_PART = "supported in part"

_MOST = 0.5
"""More of the runs than this are most of them."""


def verdicts(
    claims: Sequence[Claim], *results: Results, table: bool = False, own_models: bool = False
) -> None:
    """Display a paragraph a claim: its verdict on each split, and the differences behind it.

    Parameters
    ----------
    *results : Results
        One a split.
    table : bool
        Whether to show all differences as a table, too.
    own_models : bool
        Whether only models of the task itself count, never what four-quadrant predictions imply.
    """
    from IPython.display import Markdown, display

    study, known = results[0].study, [t for r in results for t in r.tables if t.published]
    elsewhere = {t.published_on for t in known if study.corpus_name != t.published_on.lower()}
    judged = judged_claims(claims, *results, own_models=own_models)
    on = ", ".join(sorted(elsewhere)) if elsewhere and any(r.published for r in results) else None
    text = paragraphs(judged, published_on=on)
    if elsewhere:
        names = ", ".join(sorted(elsewhere))
        own = corpus_title(study.corpus_name, article=True)
        text = f"These verdicts are about {own}, not about {names}.\n\n{text}"
    display(Markdown(text))
    if table and len(judged.differences):
        caption = "Differences behind the claims [95 % interval]"
        display(captioned(differences_text(judged.differences), caption))


def outcome(table: pd.DataFrame) -> str:
    """What came out of the claims of `claim_table`, in a sentence; empty without claims.

    A claim counts once: as contradicted if it is so on one split, as not reproduced if it is so on
    one and supported on none; as undecided if no split says anything.
    """
    where = " on every split" if len(set(table["place"])) > 1 else ""
    found = kinds(table["verdict"]).groupby(table["claim"]).agg(_together)
    if found.empty:
        return ""
    counts = {
        f"supported{where}": (found == SUPPORTED).sum(),
        "supported on some splits only": (found == _IN_PART).sum(),
        "contradicted": (found == CONTRADICTED).sum(),
        "not reproduced": (found == NOT_REPRODUCED).sum(),
        "undecided": (found == INCONCLUSIVE).sum(),
    }
    always = (f"supported{where}", "contradicted")
    told = [
        f"{n or 'none'} {'are' if n > 1 else 'is'} {kind}"
        for kind, n in counts.items()
        if n or kind in always
    ]
    tested = "claim of the paper that was" if len(found) == 1 else "claims of the paper that were"
    return f"Of {len(found)} {tested} tested, {listing(told)}."


def _together(found: pd.Series) -> str:
    """One kind of verdict for a claim that has one on each of some splits."""
    if (found == CONTRADICTED).any():
        return CONTRADICTED
    if (found == SUPPORTED).any():
        return SUPPORTED if (found == SUPPORTED).all() else _IN_PART
    missed = (found == NOT_REPRODUCED) | found.str.startswith("not seen")
    return NOT_REPRODUCED if missed.any() else INCONCLUSIVE


def result_box(claims: Sequence[Claim], *results: Results, own_models: bool = False) -> str:
    """What came out, in Markdown: `outcome`, then a line a split, its best rows and verdicts.

    Arguments are those of `verdicts`.
    """
    of_paper = [claim for claim in claims if claim.table]
    judged = claim_table(judged_claims(of_paper, *results, own_models=own_models))
    found = kinds(judged["verdict"])
    lines = []
    for part in results:
        if part.scores.empty:
            continue
        own = judged["claim"].groupby(found[judged["place"] == part.place], sort=False)
        told = "; ".join(f"{len(texts)} {kind}{_named(str(kind), texts)}" for kind, texts in own)
        n = number(part.predictions["id"].nunique())
        corpus = corpus_title(part.study.corpus_name, article=True)
        place = f"{part.place[:1].upper()}{part.place[1:]}, {n} clips of {corpus}"
        text = f"- **{markdown(place)}.** Best: {'; '.join(_best(part))}."
        lines.append(text + (f" Verdicts on the claims: {told}." if told else ""))
    inner = "\n".join(lines) or "- Nothing was run."
    if told := outcome(judged):
        inner = f"{told}\n\n{inner}"
    title = '<p class="admonition-title">Result</p>'
    return f'<div class="admonition note">\n{title}\n\n{inner}\n\n</div>'


def _named(kind: str, claims: Iterable[str]) -> str:
    """The claims of a kind of verdict that says something."""
    says_nothing = kind in (INCONCLUSIVE, NO_VERDICT) or kind.startswith("mixed")
    return "" if says_nothing else f" (*{'*; *'.join(map(markdown, claims))}*)"


def _best(results: Results) -> Iterator[str]:
    """The best row of each task (or dimension of a regression), with its interval."""
    table = results.scores
    names = {"accuracy": "accuracy on", "r2": "R2 of"}
    for (task, metric), rows in table.groupby(["task", "metric"], sort=False):
        if metric in names:
            best = rows.iloc[int(rows["mean"].argmax())]
            value = estimate(best["mean"], best["low"], best["high"])
            about = f"{names[str(metric)]} {TASK_TITLES[str(task)].lower()}"
            yield f"{about} {value} ({markdown(best['system'])})"


def with_published_size(results: Sequence[Results]) -> tuple[Results, ...]:
    """Results and, before each, those of networks of published size where such are stored."""
    pairs = ((part.at_published_size, part) for part in results)
    return tuple(part for pair in pairs for part in pair if part is not None)


def claim_table(judged: Judged) -> pd.DataFrame:
    """Verdicts on claims.

    Returns
    -------
    DataFrame
        One row a claim and split on which it was run: claim, table (None for a question of our
        own), place, corpus, differences (how many), least and most of them, published_least and
        published_most; if it is one, its better, worse, task, margin, difference, low, high and
        published; direction, grade (None where runs have none), runs (why they have that grade) and
        verdict.
    """
    rows = [
        row
        for place, standings in judged.standings.items()
        for claim in judged.claims
        if (row := _claim_row(claim, judged, place, standings_of(claim, standings)))
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS])


def _claim_row(
    claim: Claim, judged: Judged, place: str, graded: Sequence[Standing]
) -> dict[str, Any] | None:
    frame = judged.differences
    own = frame[(frame["claim"] == claim.text) & (frame["place"] == place)]
    if own.empty:
        return None
    columns = ["better", "worse", "task", "difference", "low", "high", "published"]
    single = own.iloc[0][columns] if len(own) == 1 else pd.Series(np.nan, columns)
    least, most = own["difference"].agg(["min", "max"])
    published_least, published_most = own["published"].astype(float).agg(["min", "max"])
    return {
        **{"claim": claim.text, "table": claim.table, "place": place},
        **{"corpus": judged.corpus, "differences": len(own), "least": least, "most": most},
        **{"published_least": published_least, "published_most": published_most},
        **{str(name): value for name, value in single.items()},
        "margin": claim.comparisons[0].margin if len(own) == 1 else None,
        "direction": direction(claim, frame, place),
        "grade": graded[0].grade if graded else None,
        "runs": lowest_grade(graded) if graded else "",
        "verdict": verdict(claim, frame, place, graded),
    }


def judged_claims(claims: Sequence[Claim], *results: Results, own_models: bool = False) -> Judged:
    """Claims judged on some results; the arguments are those of `verdicts`."""
    results = with_published_size(results)
    kinds = (OWN_MODEL,) if own_models else (OWN_MODEL, IMPLIED)
    places = {r.place: {k: r.answers[k] for k in kinds if k in r.answers} for r in results}
    published = {key: value for r in results for key, value in r.published.items()}
    return Judged(
        claims,
        judge(claims, places, published),
        ", ".join(dict.fromkeys(part.study.corpus_name for part in results)),
        {r.place: standings(r) for r in results},
    )


def standings(results: Results) -> dict[tuple[str, str], Standing]:
    """Of every row of some results, by row and task (of a regression, "VA").

    A row that is made of others has the lowest grade of these.
    """
    rows: dict[tuple[str, str], list[Run]] = {}
    groups = results.predictions.groupby(["system", "task"])
    frames = {(str(name), str(task)): frame for (name, task), frame in groups}
    folds = {row: set(frame["fold"]) for row, frame in frames.items()}
    for run, spec in zip(results.runs, results.specs, strict=True):
        row = (results.names.get(spec.key, spec.system), spec.task)
        if spec.fold in folds.get(row, ()):
            rows.setdefault(row, []).append(run)
    published = {runs[0].spec.system: _published(runs[0].spec) for runs in rows.values()}
    counts = network_counts(results.study, published)
    sizes = (counts["here"] / counts["default"]).to_dict()
    found = {
        row: _standing(results, row, runs, sizes.get(runs[0].spec.system, np.nan), frames[row])
        for row, runs in rows.items()
    }
    for name, task in frames.keys() - found.keys():
        parts = [
            found[part, task] for part in results.made_of.get(name, ()) if (part, task) in found
        ]
        if parts:
            found[name, task] = replace(max(parts, key=lambda part: part.grade), system=name)
    return found


def _published(spec: RunSpec) -> System:
    """The row of a run at the published sizes; a row of one's own as it is."""
    return KNOWN_ROWS.get(spec.system) or _built(spec)


def _built(spec: RunSpec) -> System:
    assert spec.built is not None, "specifications of results are planned, not read"
    return spec.built


def _standing(
    results: Results, row: tuple[str, str], runs: list[Run], size: float, frame: pd.DataFrame
) -> Standing:
    study, spec = results.study, runs[0].spec
    system, published = _built(spec), _published(spec)
    best = [_best_epoch(run.history) for run in runs]
    epochs = getattr(system, "epochs", 0)
    differing = system.differing(published)
    return Standing(
        row[0],
        size,
        epochs,
        getattr(published, "epochs", 0),
        float(np.median(best)) if epochs else np.nan,
        tuple(differing),
        system.stand_in,
        _elsewhere(study, frame, results.published_on),
        _failure(frame, np.mean(np.asarray(best) == epochs) if epochs else 0.0),
    )


def _best_epoch(history: list[dict[str, float]]) -> int:
    """The epoch whose parameters were kept, counted from 1; those of a warm-up never are."""
    learns = any("clean_fraction" in row for row in history)
    epochs = [k for k, row in enumerate(history) if not learns or _known(row, "clean_fraction")]
    if not epochs or "learning_rate" not in history[0]:
        return 0
    if "valid_rmse" in history[0]:
        return 1 + min(epochs, key=lambda k: history[k]["valid_rmse"])
    return 1 + max(epochs, key=lambda k: (history[k]["valid_accuracy"], -history[k]["valid_loss"]))


def _known(row: dict[str, float], name: str) -> bool:
    return not np.isnan(row.get(name, np.nan))


def _elsewhere(study: Study, frame: pd.DataFrame, published_on: str) -> str:
    if published_on and study.corpus_name != published_on.lower():
        return f"on {corpus_title(study.corpus_name, article=True)}"
    return "on rendered sound" if (frame["audio"] == "rendered").any() else ""


def _failure(frame: pd.DataFrame, at_the_end: float) -> str:
    """Why runs do not count, from their predictions and the share whose best epoch is the last."""
    if at_the_end > _MOST:
        return f"the best epoch is the last one in {number(at_the_end, percent=True)} of the runs"
    if "target" not in frame:
        scores = [model_scores(frame, "r2", dimension).mean() for dimension in DIMENSIONS]
        return "not better than the mean label" if max(scores) <= 0 else ""
    answers = frame.groupby(["fold", "seed"])["answer"]
    collapsed = float((answers.min() == answers.max()).mean())
    if collapsed > _MOST:
        return f"all predictions are of one class in {number(collapsed, percent=True)} of the runs"
    constant = frame["target"].value_counts(normalize=True).max()
    return "not better than the constant prediction" if frame["correct"].mean() <= constant else ""
