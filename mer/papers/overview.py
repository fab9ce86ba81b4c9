"""The tables that pages of the book and the README include.

They come from stored runs: where none of a table is stored, there is a MissingDataError.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mer.corpora import CORPORA, module_of
from mer.errors import InvalidDataError
from mer.papers import emopia, learned, transposition
from mer.papers.deberardinis2020 import tables as deberardinis2020
from mer.papers.landing import Landing
from mer.papers.robustness import lineup
from mer.papers.sun2024 import tables as sun2024
from mer.papers.zhao2023 import tables as zhao2023
from mer.papers.zhu2023 import tables as zhu2023
from mer.study.claims import NOT_RUN
from mer.study.profiles import NAMES, STORED, Profile, get_profile
from mer.study.project import project_root
from mer.study.results import TASK_TITLES, Results
from mer.study.scores import DIMENSIONS, metric_name, scores
from mer.study.study import Study
from mer.study.tables import KNOWN_ROWS, Rows, Table, deviations, estimates, score_table
from mer.study.text import corpus_title, listing, number, split_title

FIGURE = "four-quadrants.svg"
START, END = "<!-- headline: start -->", "<!-- headline: end -->"
"""Marks of the README, with the headline table between them."""

CLASSES = Table(
    "",
    "Four quadrants",
    {
        **emopia.BASELINES.all_rows,
        **zhu2023.PROPOSED_ROW,
        **zhu2023.BRANCHES,
        **zhao2023.PROPOSED_ROW,
        **zhao2023.JOINED,
        **zhao2023.BRANCHES,
        **zhao2023.LANGUAGE_MODELS,
    },
    tasks=("4Q",),
    published={**zhu2023.PUBLISHED, **zhao2023.PUBLISHED},
)
REGRESSION = Table(
    "",
    "Valence and arousal as numbers",
    {
        **emopia.REGRESSION,
        **deberardinis2020.SINGLE,
        **{name: deberardinis2020.FUSED[name] for name in deberardinis2020.PROPOSED.values()},
    },
    tasks=("VA",),
)


def write_tables(folder: Path) -> None:
    """Write all tables as Markdown into a new folder."""
    classes, regression, segments = map(_study, ("classes", "regression", "segments"))
    tables = (emopia.BASELINES, zhu2023.TABLE_4, zhao2023.TABLE_II, zhao2023.TABLE_III)
    texts = {
        "headline": headline(),
        "headline-regression": headline_regression(),
        "headline-segments": headline_segments(),
        "corpora": _markdown(_corpora()),
        "splits": _markdown(_splits(classes.card)),
        "splits-regression": _markdown(_splits(regression.card)),
        "profiles": _markdown(_profiles()),
        "deviations": _markdown(deviations_by_family(get_profile(STORED))),
        "environment": _environment(
            [
                classes.run(*tables),
                classes.run(CLASSES, split="cv"),
                transposition.run(classes),
                classes.run(lineup.specs(classes)),
            ]
        ),
        "environment-regression": _environment([regression.run(REGRESSION, split="nested")]),
        "environment-segments": _environment(
            [
                results
                for run in (sun2024.run_comparison, sun2024.run_durations)
                for results in sun2024.run_everywhere(segments, run).values()
            ]
        ),
    }
    landing = Landing(classes)
    values = regression.run(REGRESSION, split="nested")
    texts |= {"findings": landing.findings(), "tally": landing.tally()}
    texts |= {"learned": learned.text(landing, values), "citing": citing()}
    folder.mkdir()
    landing.figure().savefig(folder / FIGURE, metadata={"Date": None})
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(f"{text}\n", encoding="utf-8")


def citing() -> str:
    """Version and date of what is cited, and its entry for BibTeX, in Markdown."""
    commit = _git("log", "-1", "--format=%h, %cs")
    shown = f"Version {version('mer')}" + (f" (commit {commit})" if commit else "")
    year = (commit or "")[-10:-6] or str(datetime.now(UTC).year)
    entry = f"""@software{{mer,
  author  = {{The mer authors}},
  title   = {{mer: an executable reference for music emotion recognition}},
  version = {{{version("mer")}}},
  year    = {{{year}}}
}}"""
    return f"{shown}. Cite the papers and datasets, too.\n\n```bibtex\n{entry}\n```"


def _git(*command: str) -> str:
    """What git says of the project; empty where it is no repository."""
    try:
        found = subprocess.run(
            ["git", *command], cwd=project_root(), capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return found.stdout.strip()


def headline() -> str:
    """Four-quadrant accuracy on EMOPIA as a Markdown table."""
    study = _study("classes")
    single, cv = study.run(CLASSES), study.run(CLASSES, split="cv")
    published = [CLASSES.published.get((name, "4Q", "accuracy"), np.nan) for name in CLASSES.order]
    audio = single.predictions.groupby("system")["audio"].first().replace("none", "–")
    text = pd.DataFrame(
        {
            "Published": [number(value) for value in published],
            f"Official split ({_clips(single)} clips)": _column(single, NOT_RUN),
            f"Cross-validation ({_clips(cv)} clips)": _column(cv, "–"),
            "Audio": audio.reindex(CLASSES.order).fillna("–"),
        },
        index=pd.Index(CLASSES.order, name="System"),
    )
    return f"{text.to_markdown()}\n\n{_language_models(study)}".strip()


def _language_models(study: Study) -> str:
    """Published values of language models beside ours on the split that they come from."""
    leaky = zhao2023.run_leaky(study)
    if leaky is None:
        return ""
    text = estimates(leaky.predictions)
    pairs = listing(
        f"{name} {number(value)} (here {text[name]})"
        for (name, *_), value in zhao2023.PUBLISHED_ON_LEAKY.items()
        if name in text
    )
    return f"Published on another split, with songs in both training and test set: {pairs}."


def _column(results: Results, missing: str) -> pd.Series:
    text = pd.Series(estimates(results.predictions), dtype=object)
    return text.reindex(CLASSES.order).fillna(missing)


def _clips(results: Results) -> str:
    return number(results.predictions["id"].nunique())


def headline_regression() -> str:
    """R2 of valence and arousal in nested cross-validation as a Markdown table."""
    results = _study("regression").run(REGRESSION, split="nested")
    table = scores(results.predictions, metrics=("r2",))
    texts = {
        metric_name("r2", dimension): score_table(table, REGRESSION.order, dimension, ("r2",))
        for dimension in DIMENSIONS
    }
    text = pd.DataFrame({name: table.iloc[:, 0] for name, table in texts.items()})
    return str(text.rename_axis("System").to_markdown())


def headline_segments() -> str:
    """Accuracy of SSSL and what it is compared with as a Markdown table.

    Corpora without stored runs are marked as not run.
    """
    study, order = _study("segments"), sun2024.TABLE_3.order
    runs = sun2024.run_everywhere(study, sun2024.run_comparison)
    columns: dict[str, Any] = {}
    for name, own in sun2024.corpora(study).items():
        for task in own.settings.tasks or ():
            title, results = f"{TASK_TITLES[task]}, {corpus_title(name)}", runs.get(name)
            columns[title] = NOT_RUN
            if results is not None:
                table = scores(results.predictions)
                columns[title] = score_table(table, order, task, ("accuracy",)).iloc[:, 0]
    order = sorted(order, key=lambda name: name != "Constant")  # the baseline first
    return str(pd.DataFrame(columns, index=pd.Index(order, name="System")).to_markdown())


def update_readme(path: Path) -> bool:
    """Write the headline table between the two marks of the README.

    Returns
    -------
    bool
        Whether the file changed.

    Raises
    ------
    InvalidDataError
        If the marks are not there.
    """
    text = path.read_text(encoding="utf-8")
    if START not in text or END not in text:
        raise InvalidDataError(f"{path} lacks the lines {START} and {END}")
    before, rest = text.split(START, 1)
    new = f"{before}{START}\n{headline()}\n{END}{rest.split(END, 1)[1]}"
    path.write_text(new, encoding="utf-8")
    return new != text


def deviations_by_family(profile: Profile) -> pd.DataFrame:
    """Hyper-parameters of a profile that differ from the published ones, by family of networks.

    Returns
    -------
    DataFrame
        See `mer.study.tables.deviations`. Rows that the profile names stand by themselves.
    """
    rows: Rows = {row: KNOWN_ROWS[row] for row in profile.rows}
    families = {s.family: s for s in reversed(KNOWN_ROWS.values()) if s.family}
    published = {**{name: families[name] for name in profile.families}, **rows}
    here = {name: profile.sized(name, system) for name, system in published.items()}
    return deviations(here, published)


def _study(about: str) -> Study:
    return Study({"profile": STORED, "compute": False}, about)


def _markdown(table: pd.DataFrame) -> str:
    return str(table.to_markdown(index=False))


def _corpora() -> pd.DataFrame:
    modules = {name: module_of(name) for name in CORPORA}
    rows = [
        (corpus_title(name), f"`{name}`", module.LICENCE, module.CITATION)
        for name, module in modules.items()
    ]
    return pd.DataFrame(rows, columns=["Corpus", "Name in commands", "Licence", "Citation"])


def _splits(card: Mapping[str, Any]) -> pd.DataFrame:
    rows = [
        {
            "Split": split_title(name),
            "Name in commands": f"`{name}`",
            "Folds": split["folds"],
            "Train": split["clips"]["train"],
            "Validation": split["clips"]["valid"],
            "Test": split["clips"]["test"],
            "Test clips with a sibling in training": split["test_clips_with_sibling_in_train"],
        }
        for name, split in card["splits"].items()
    ]
    return pd.DataFrame(rows)


def _profiles() -> pd.DataFrame:
    rows = []
    for profile in map(get_profile, NAMES):
        corpora = {k: listing(map(corpus_title, names)) for k, names in profile.corpora.items()}
        rows.append(
            {
                "Profile": profile.name,
                "For": profile.purpose,
                "Corpus": f"{corpora['classes']}; for regression {corpora['regression']}; for "
                f"segments {corpora['segments']}",
                "Seeds": len(profile.seeds),
                "Runs kept in": "results" if profile.committed else "_build/results",
            }
        )
    return pd.DataFrame(rows)


def _environment(parts: Iterable[Results]) -> str:
    """What stored runs were computed with, as a Markdown table."""
    specs = {spec.key: (part.study.store, spec) for part in parts for spec in part.specs}
    details = [store.read(spec).details for store, spec in specs.values()]
    if not details:
        return f"This part {NOT_RUN}."
    used = pd.DataFrame([detail["environment"] for detail in details]).fillna("none")
    hours = sum(detail["wall_seconds"] for detail in details) / 3600
    peak = max(detail["peak_memory_mib"] for detail in details)
    facts = {
        "Runs": number(len(details)),
        "Computing time, all runs": f"{number(hours, 1)} h",
        "Largest peak memory of a process": f"{number(peak)} MiB",
        **{name: ", ".join(sorted({str(value) for value in used[name]})) for name in used},
    }
    return _markdown(pd.DataFrame({"What": list(facts), "Value": list(facts.values())}))
