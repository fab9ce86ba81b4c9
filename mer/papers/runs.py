"""All runs of the papers' pages at a profile, and training them from a queue."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from typing import Any

from mer.errors import ParameterError
from mer.papers import emopia, transposition
from mer.papers.deberardinis2020 import tables as deberardinis2020
from mer.papers.robustness import lineup
from mer.papers.sun2024 import tables as sun2024
from mer.papers.zhao2023 import tables as zhao2023
from mer.papers.zhu2023 import tables as zhu2023
from mer.study.model_card import parameter_counts
from mer.study.profiles import STORED
from mer.study.queue import Plan, Progress, Say, expected_hours, in_order, lacking, work_off
from mer.study.results import Results
from mer.study.settings import read_settings
from mer.study.specs import RunSpec
from mer.study.store import Run
from mer.study.study import Study
from mer.study.tables import KNOWN_ROWS


def planned(parameters: Mapping[str, Any]) -> list[RunSpec]:
    """Runs of all tables, in the order of the pages; those that train most often come last.

    `parameters` are those of the notebooks (`mer.study.settings.Settings`).
    """
    settings = read_settings(parameters)
    classes, regression, segments = (
        Plan(settings, about) for about in ("classes", "regression", "segments")
    )
    classes.run(emopia.BASELINES)
    zhu2023.run(classes, zhu2023.TABLE_2, zhu2023.TABLE_3, zhu2023.TABLE_4)
    zhao2023.run(classes, zhao2023.TABLE_I, zhao2023.TABLE_II)
    zhao2023.run(classes, zhao2023.TABLE_III)
    zhao2023.run_leaky(classes)
    for table in (zhu2023.COMPARED_IN_CV, zhu2023.ABLATED_IN_CV):
        zhu2023.run(classes, table, split="cv")
    for table in (zhao2023.COMPARED_IN_CV, zhao2023.ABLATED_IN_CV):
        zhao2023.run(classes, table, split="cv")
    classes.run_cv(emopia.CROSS_VALIDATED, "emopia")
    transposition.run(classes)
    classes.run([*lineup.specs(classes), *lineup.cv_specs(classes)])
    folds = deberardinis2020.folds(regression)
    regression.run(deberardinis2020.TABLE_1, split="nested", folds=folds)
    regression.run(deberardinis2020.specs(regression, deberardinis2020.UNIFIED, whole=True))
    regression.run(deberardinis2020.fusion_specs(regression))
    sun2024.run_everywhere(segments, _comparison_and_durations)
    return [*classes.noted, *regression.noted, *segments.noted]


def _comparison_and_durations(study: Study) -> Results:
    sun2024.run_comparison(study)
    return sun2024.run_durations(study)


def train_until(
    parameters: Mapping[str, Any], minutes: float, n_jobs: int | None, say: Say
) -> Progress:
    """Train what is not stored from a queue; see `mer.study.queue.work_off`.

    Raises
    ------
    ParameterError
        If `minutes` or `n_jobs` is not positive, or a parameter is unknown.
    """
    if not (math.isfinite(minutes) and minutes > 0):
        raise ParameterError(f"until is {minutes:g} minutes; expected a positive number")
    if n_jobs is not None and n_jobs < 1:
        raise ParameterError(f"n_jobs is {n_jobs}; expected 1 or more")
    deadline = time.monotonic() + 60 * minutes
    wanted, study = planned(parameters), Study(parameters)
    for needed, count in lacking(wanted).items():
        say(f"{count} runs are left out: first {needed}")
    specs = in_order(wanted)
    missing = study.store.missing(specs)
    say(f"{len(missing)} of {len(specs)} runs of profile {study.profile.name} are not stored")
    if not missing:
        return Progress()
    if not _has_gpu():
        say(f"no CUDA device was found. {without_gpu(missing)}")
    return work_off(
        missing, study.store, study.profile.name, deadline=deadline, n_jobs=n_jobs, say=say
    )


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def without_gpu(specs: list[RunSpec]) -> str:
    """What runs would take on this machine, from stored runs of the same rows."""
    study = Study({"profile": STORED, "compute": False})
    known: dict[str, Run] = {}
    for spec in planned({"profile": STORED, "compute": False}):
        if spec.system not in known and spec in study.store:
            known[spec.system] = study.store.read(spec)
    rows = {name: KNOWN_ROWS[name] for name in {s.system for s in specs} & known.keys()}
    networks = {name: row for name, row in rows.items() if row.family}
    shares: dict[str, float] = {}
    if networks:
        counts = parameter_counts(study, networks)
        shares = {str(row): float(s) for row, s in (counts["here"] / counts["default"]).items()}
    hours, unknown = expected_hours(specs, known, shares)
    text = f"On these {os.cpu_count()} cores they would take roughly {hours:,.0f} hours of one core"
    return text + (f", without {unknown} runs of rows that are not stored" if unknown else "")
