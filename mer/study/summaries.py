"""Tables that the pages of the book and the README include, from stored runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mer.corpora import CORPORA
from mer.study import baselines, deberardinis2020, sun2024, zhao2023, zhu2023
from mer.study.claims import NOT_RUN
from mer.study.parameters import RegressionParameters, SegmentParameters, StudyParameters
from mer.study.profiles import PROFILES
from mer.study.regression import DIMENSIONS, regression_comparison, regression_text, score_name
from mer.study.runs import possible
from mer.study.scores import METRICS, score_table, score_text
from mer.study.session import Session
from mer.study.specs import RunSpec
from mer.study.tables import comparison, comparison_text, number_text
from mer.systems import get_system

STORED = "cpu"
"""Profile of the stored results that the book shows."""

HEADLINE = (*baselines.BASELINES, *zhu2023.CROSS_VALIDATED)
HEADLINE_CV = (*baselines.CROSS_VALIDATED, *zhu2023.CROSS_VALIDATED)
"""Rows of the headline table: on the official split, and in cross-validation."""

HEADLINE_FACTORS = (*zhao2023.CROSS_VALIDATED, *zhao2023.LANGUAGE_MODELS)
"""Further rows, which say so where they were not run."""

HEADLINE_REGRESSION = (
    *deberardinis2020.BASELINES,
    *deberardinis2020.SINGLE,
    *deberardinis2020.PROPOSED.values(),
)
"""Rows of the headline table of regression."""


def write_tables(folder: Path) -> None:
    """Write all tables as Markdown into a new folder.

    Raises
    ------
    MissingDataError
        If runs are not stored.
    """
    session = Session(StudyParameters(profile=STORED, compute=False))
    specs = session.specs(baselines.BASELINES, split="single")
    specs += session.specs(zhu2023.SYSTEMS, split="single", tasks=["4Q"])
    for part in (baselines, zhu2023):
        specs += session.specs(part.CROSS_VALIDATED, split="cv", tasks=["4Q"])
    specs += _stored(session, zhao2023.SYSTEMS, "single", ["4Q", "A", "V"])
    specs += _stored(session, zhao2023.LANGUAGE_MODELS, "single")
    specs += _stored(session, zhao2023.CROSS_VALIDATED, "cv")
    numbers = _regression_session()
    tables = {
        "headline": headline(),
        "headline-regression": headline_regression(),
        "headline-segments": headline_segments(),
        "corpora": _corpora().to_markdown(index=False),
        "splits": _splits(session.card["splits"]).to_markdown(index=False),
        "splits-regression": _splits(numbers.card["splits"]).to_markdown(index=False),
        "profiles": _profiles().to_markdown(index=False),
        "deviations": deviations_by_kind(PROFILES[STORED].overrides).to_markdown(index=False),
        "environment": _environment(session, specs).to_markdown(index=False),
        "environment-regression": _environment(
            numbers, numbers.specs(HEADLINE_REGRESSION, split="nested")
        ).to_markdown(index=False),
        "environment-segments": _environment_of_segments(),
    }
    folder.mkdir()
    for name, text in tables.items():
        (folder / f"{name}.md").write_text(f"{text}\n", encoding="utf-8")


def headline() -> str:
    """Four-quadrant accuracy on EMOPIA as a Markdown table, from stored runs.

    Raises
    ------
    MissingDataError
        If runs are not stored.
    """
    session = Session(StudyParameters(profile=STORED, compute=False, tasks=["4Q"]))
    specs = session.specs(HEADLINE, split="single")
    single = session.run(specs + _stored(session, HEADLINE_FACTORS, "single"))
    cv_specs = session.specs(HEADLINE_CV, split="cv")
    cv = session.run(cv_specs + _stored(session, HEADLINE_FACTORS, "cv"))
    published = {**zhu2023.published_zhu2023(), **zhao2023.published_zhao2023()}
    table = comparison(single, published)
    clips = f"Official split ({table['n'].max()} clips)"
    text = comparison_text(table, ["4Q"]).set_axis(["Published", clips], axis=1)
    cv_text = comparison_text(comparison(cv, {}), ["4Q"])
    text[f"Cross-validation ({cv['id'].nunique():,} clips)"] = cv_text["4Q reproduced"]
    text["Audio"] = table.set_index("system")["audio"].replace("none", "–")
    text = text.reindex(pd.Index([*HEADLINE, *HEADLINE_FACTORS], name=text.index.name))
    text[clips] = text[clips].fillna(NOT_RUN)
    known = [number_text(published.get((name, "4Q"), np.nan)) for name in text.index]
    return str(text.assign(Published=known).fillna("–").to_markdown())


def _stored(
    session: Session, systems: Iterable[str], split: str, tasks: Sequence[str] = ("4Q",)
) -> list[RunSpec]:
    """Runs of systems of which all are stored."""
    return possible(session, session.specs(systems, split=split, tasks=tasks), lambda _: False)


def headline_regression() -> str:
    """R2 of valence and arousal in nested cross-validation as a Markdown table, from stored runs.

    Raises
    ------
    MissingDataError
        If runs are not stored.
    """
    session = _regression_session()
    predictions = session.run(session.specs(HEADLINE_REGRESSION, split="nested"))
    text = regression_text(regression_comparison(predictions, {}))
    columns = {f"{score_name('r2', d)} reproduced": score_name("r2", d) for d in DIMENSIONS}
    return str(text[list(columns)].rename(columns=columns).to_markdown())


def headline_segments() -> str:
    """Accuracy of SSSL and what it is compared with as a Markdown table, from stored runs.

    What is not stored is said not to have been run.
    """
    settings = SegmentParameters(profile=STORED, compute=False)
    sessions = sun2024.sessions(settings)
    columns: dict[str, Any] = {}
    for name, own in settings.by_corpus().items():
        table = pd.DataFrame(columns=["task", "system", "metric"])
        if name in sessions:
            table = score_table(sun2024.compared(sessions[name]).predictions, {})
        for task in own.tasks:
            title = f"{sun2024.TASK_TITLES[task]}, {name}"
            columns[title] = NOT_RUN
            if len(table):
                columns[title] = score_text(table, task, sun2024.COMPARED, {})[METRICS[0]]
    text = pd.DataFrame(columns, index=pd.Index(sun2024.COMPARED, name="System"))
    return str(text.to_markdown())


def _environment_of_segments() -> str:
    settings = SegmentParameters(profile=STORED, compute=False)
    runs = {
        spec.key: session.store.read(spec).details
        for session in sun2024.sessions(settings).values()
        for part in (sun2024.compared(session), sun2024.sweep(session))
        for spec in part.specs
    }
    details = list(runs.values())
    if not details:
        return f"The study of segments {NOT_RUN}."
    return str(_environment_table(details).to_markdown(index=False))


def _regression_session() -> Session:
    return Session(RegressionParameters(profile=STORED, compute=False))


def deviations_by_kind(parameters: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """As `deviations`, with one name for all variants of EmoMucs that are trained alike."""
    kinds = deberardinis2020.alike(parameters)
    table = deviations({name: parameters[name] for name in kinds})
    named = ["; ".join(kinds[name] for name in cell.split("; ")) for cell in table["System"]]
    return table.assign(System=named)


def deviations(parameters: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Hyper-parameters that differ from the published ones.

    Parameters
    ----------
    parameters : mapping of str to mapping
        Hyper-parameters by system.

    Returns
    -------
    DataFrame
        Columns System (several, if they share the row), Hyper-parameter, Published (the default
        of the system) and Here.
    """
    systems: dict[tuple[str, str, str], list[str]] = {}
    for name, values in parameters.items():
        default = get_system(name).parameters
        used = get_system(name, values).parameters
        for key in default:
            if used[key] != default[key]:
                row = (key, str(default[key]), str(used[key]))
                systems.setdefault(row, []).append(name)
    rows = [("; ".join(names), *row) for row, names in systems.items()]
    return pd.DataFrame(rows, columns=["System", "Hyper-parameter", "Published", "Here"])


def _corpora() -> pd.DataFrame:
    modules = {name: import_module(f"mer.corpora.{name}") for name in CORPORA}
    rows = [
        {"Corpus": name, "Licence": module.LICENCE, "Citation": module.CITATION}
        for name, module in modules.items()
    ]
    return pd.DataFrame(rows)


def _splits(splits: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    rows = [
        {
            "Split": name,
            "Folds": split["folds"],
            "Train": split["clips"]["train"],
            "Validation": split["clips"]["valid"],
            "Test": split["clips"]["test"],
            "Test clips with a sibling in training": split["test_clips_with_sibling_in_train"],
        }
        for name, split in splits.items()
    ]
    return pd.DataFrame(rows)


def _profiles() -> pd.DataFrame:
    rows = [
        {
            "Profile": profile.name,
            "For": profile.purpose,
            "Corpus": f"{profile.corpus}; for regression {profile.regression_corpus}; for "
            f"segments {' and '.join(profile.segment_corpora)}",
            "Seeds": len(profile.seeds),
            "Runs kept in": "results" if profile.committed else "_build/results",
        }
        for profile in PROFILES.values()
    ]
    return pd.DataFrame(rows)


def _environment(session: Session, specs: Iterable[RunSpec]) -> pd.DataFrame:
    """What the stored runs were computed with."""
    return _environment_table([session.store.read(spec).details for spec in specs])


def _environment_table(details: list[dict[str, Any]]) -> pd.DataFrame:
    used = pd.DataFrame([detail["environment"] for detail in details])
    facts = {
        "Runs": f"{len(details):,}",
        "Computing time, all runs": f"{sum(d['wall_seconds'] for d in details) / 3600:.1f} h",
        "Largest peak memory of a process": f"{max(d['peak_memory_mib'] for d in details):,} MiB",
        **{name: ", ".join(sorted({str(value) for value in used[name]})) for name in used},
    }
    return pd.DataFrame({"What": list(facts), "Value": list(facts.values())})
