"""What each page of the book shows, as frames of plain numbers computed from stored runs.

A page is a function of one of the modules beside this one that gives its frames by name. The
numbers are in `<page>.tsv`; `python tests/golden/pages.py [PAGE ...]` writes these files anew.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.append(str(Path(__file__).parents[1]))

from golden import (
    converters,
    deberardinis2020,
    emopia,
    overview,
    prediction,
    sun2024,
    zhao2023,
    zhu2023,
)
from golden.common import Frames

FOLDER = Path(__file__).parent
MODULES = (emopia, zhu2023, zhao2023, deberardinis2020, sun2024, converters, overview, prediction)
PAGES: dict[str, Callable[[], Frames]] = {
    page.__name__: page for module in MODULES for page in module.PAGES
}


def cells(frames: Frames) -> dict[str, str]:
    """Every value by "frame, row, column"; numbers with 6 decimals, nothing where none is known."""
    found = {}
    for name, frame in frames.items():
        for number, row in enumerate(frame.to_dict("records")):
            for column, value in row.items():
                found[f"{name}\t{number}\t{column}"] = _cell(value)
    return found


def _cell(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return str(value)


def path_of(page: str) -> Path:
    """Where the golden values of a page are."""
    return FOLDER / f"{page}.tsv"


def read(page: str) -> dict[str, str]:
    """The golden values of a page."""
    lines = path_of(page).read_text(encoding="utf-8").splitlines()
    return dict(line.rsplit("\t", 1) for line in lines)


def write(page: str) -> None:
    """Write the golden values of a page anew."""
    lines = [f"{place}\t{value}\n" for place, value in cells(PAGES[page]()).items()]
    path_of(page).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or PAGES:
        write(chosen)
