"""Scores across corpora and sounds."""

from __future__ import annotations

from golden.common import Frames
from mer.papers.across_corpora import predictions, report
from mer.study.study import Study


def across_corpora() -> Frames:
    study = Study({"profile": "cpu", "compute": False})
    return {"scores": report.all_scores(predictions.computed(study, predictions.FEATURES))}


PAGES = (across_corpora,)
