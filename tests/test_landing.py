"""The first page of the book, from stored runs of profile cpu."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mer.papers import landing
from mer.papers.landing import Landing
from mer.study.study import Study

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def page() -> Landing:
    return Landing(Study({"profile": "cpu", "compute": False}))


def test_findings_have_the_numbers_of_the_pages(page: Landing) -> None:
    lines = page.findings().splitlines()
    assert len(lines) == 5
    assert all(re.search(r"\[[\w ]+\]\(notebooks/\w+\)$", line) for line in lines)
    lookup, descriptors, few, rows, other_sounds = lines
    assert "reaches .766**" in lookup
    assert ".634, .676 and .719; 3 of them are below" in lookup
    cv = page.cv.scores.set_index(["task", "system"])["mean"]
    best = max(cv["4Q", name] for name in ("Symbolic-SVM", "Audio-SVM", "Symbolic+Audio-SVM"))
    assert f"{best:.3f}".removeprefix("0") in descriptors
    assert "**86 test clips give an interval of ±.10.**" in few
    assert "**6 of 15 published rows" in rows
    assert f"descriptors falls from {cv['4Q', 'Audio-SVM']:.3f}".replace("0.", ".") in other_sounds


def test_tally_counts_claims_of_the_papers(page: Landing) -> None:
    counts = [int(n) for n in re.findall(r"(\d+) (?=[a-z])", page.tally().split("verdicts: ")[1])]
    judged = page.claims["table"].notna().sum()
    assert sum(counts) == judged
    assert f"with {judged} verdicts" in page.tally()


def test_figure_has_both_splits_and_published_values(page: Landing) -> None:
    labels = [text.get_text() for text in page.figure().legends[0].get_texts()]
    assert labels == ["official split", "cross-validation", "published", "a constant answer"]


def test_files_are_written(tmp_path: Path) -> None:
    landing.write_landing(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {landing.FIGURE, "findings.md", "tally.md"}
