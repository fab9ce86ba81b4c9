"""The first page of the book, from stored runs of profile cpu."""

from __future__ import annotations

import re

import pytest

from mer.papers import learned, overview
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
    assert ".634, .676 and .719; all of them are below" in lookup
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
    assert labels == ["official split", "cross-validation", "published", "constant prediction"]


def test_what_we_learned_has_the_numbers_of_the_pages(page: Landing) -> None:
    study = Study({"profile": "cpu", "compute": False}, "regression")
    text = learned.text(page, study.run(overview.REGRESSION, split="nested"))
    sections = text.split("## ")[1:]
    assert len(sections) == 7
    assert all(re.search(r"\.\d{2}.*\]\(notebooks/\w+\)", section) for section in sections)
    cv = page.cv.scores.set_index(["task", "system"])["mean"]
    gap = cv["4Q", "Symbolic+Audio-SVM"] - cv["4Q", "Symbolic & Acoustic"]
    assert f"Symbolic \\& Acoustic: +{gap:.3f} [".replace("+0.", "+.") in sections[1]
    assert f"descriptors have {cv['V', 'Audio-SVM']:.3f} to".replace("0.", ".") in sections[2]
    assert "SSSL minus 2-Stage +.053 [.018, .088]" in sections[5]
    assert "nan" not in text


def test_a_citation_names_version_and_commit() -> None:
    text = overview.citing()
    assert re.match(r"Version [\d.]+ \(commit [0-9a-f]{7,}, \d{4}-\d\d-\d\d\)\. ", text)
    assert re.search(r"year    = \{20\d\d\}", text)
