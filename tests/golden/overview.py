"""Headline tables of the book."""

from __future__ import annotations

import pandas as pd

from golden.common import Frames
from mer.papers import overview


def headlines() -> Frames:
    tables = {
        "EMOPIA": overview.headline(),
        "Emotify": overview.headline_regression(),
        "segments": overview.headline_segments(),
    }
    return {name: _cells(text) for name, text in tables.items()}


def _cells(markdown: str) -> pd.DataFrame:
    lines = [line.strip("|") for line in markdown.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return pd.DataFrame([rows[0], *rows[2:]])


PAGES = (headlines,)
