"""Pages on transcription and separation."""

from __future__ import annotations

from golden.common import Frames, study
from mer.papers.deberardinis2020 import separation as separating
from mer.papers.zhu2023 import transcription as transcribing


def transcription() -> Frames:
    scores = transcribing.EVALUATION.collected(study())
    keys = ["test", "transcriber"]
    means = scores.groupby(keys, sort=False).mean(numeric_only=True).reset_index()
    return {"scores": means, "counts": transcribing.note_counts(scores).reset_index()}


def separation() -> Frames:
    scores = separating.EVALUATION.collected(study())
    keys = ["test", "separator", "source"]
    means = scores.groupby(keys, sort=False)["si_sdr"].agg(["mean", "count"]).reset_index()
    return {"scores": means}


PAGES = (transcription, separation)
