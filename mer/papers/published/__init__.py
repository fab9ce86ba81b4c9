"""The published numbers: every cell of every table of the four papers, as printed.

One file a paper, one line a cell: `table`, `row`, `column`, `value` and `note`. Rows and columns
carry the paper's own names without citation marks; a table with row groups joins group and row
("PMEmo 3": segments of 3 s), one with column groups joins those ("Early R2 V"). Values keep the
printed digits and the paper's unit: proportions in zhu2023 and zhao2023, percent in sun2024, RMSE
on valence and arousal in [-1, 1] in deberardinis2020. A note says what is wrong or misleading.

Cells that the papers leave open are not listed. These are:

- zhu2023 table 2: A and V of MIDIBERT and MT-MIDIBERT;
- deberardinis2020 table 2: mid fusion with C2D, late fusion with finetune and full;
- sun2024 table 3: four classes on PMEmo; binary classes on EiM; F1 of Audio Embedding on EiM;
  on 4Q four classes of 2-Stage, all but Acc of Audio Embedding, all but F1 of SVM.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from mer.errors import ParameterError

PAPERS = ("zhu2023", "zhao2023", "deberardinis2020", "sun2024")


def published(paper: str, table: str | None = None) -> pd.DataFrame:
    """Cells of one paper's tables.

    Parameters
    ----------
    paper : str
        One of `PAPERS`.
    table : str, optional
        Number of the table as printed, such as "2" or "II"; all tables if left out.

    Returns
    -------
    DataFrame
        Columns table, row, column, value (text as printed), number (float, NaN where the value is
        text, such as "3x3") and note (empty where there is nothing to say).

    Raises
    ------
    ParameterError
        If the paper or the table is unknown.
    """
    if paper not in PAPERS:
        raise ParameterError(f"unknown paper {paper!r}; the papers are: {', '.join(PAPERS)}")
    cells = _cells(paper)
    if table is None:
        return cells.copy()
    tables = cells["table"].unique()
    if table not in tables:
        raise ParameterError(f"{paper} has no table {table!r}; it has: {', '.join(tables)}")
    return cells[cells["table"] == table].reset_index(drop=True)


def published_value(paper: str, table: str, row: str, column: str) -> float:
    """One published number.

    Parameters
    ----------
    paper, table
        As in `published`.
    row, column : str
        As printed in the paper.

    Returns
    -------
    float
        In the paper's unit.

    Raises
    ------
    ParameterError
        If there is no such cell, or the paper leaves it open, or it is not a number.
    """
    cells = published(paper, table)
    found = cells[(cells["row"] == row) & (cells["column"] == column)]
    if found.empty:
        raise ParameterError(
            f"{paper} table {table} has no value in row {row!r}, column {column!r}; "
            f"its rows are: {', '.join(cells['row'].unique())}; "
            f"its columns are: {', '.join(cells['column'].unique())}"
        )
    number = float(found["number"].iloc[0])
    if np.isnan(number):
        raise ParameterError(
            f"{paper} table {table}, row {row!r}, column {column!r} is "
            f"{found['value'].iloc[0]!r}, not a number; read it with published()"
        )
    return number


def cells(
    paper: str, table: str, rows: Mapping[str, str], columns: Mapping[str, str], metric: str
) -> dict[tuple[str, str, str], float]:
    """Published scores of a table by row, task and metric, as `mer.study.scores.Published`.

    Parameters
    ----------
    paper, table
        As in `published`.
    rows, columns : mapping of str to str
        Our names of rows and tasks, by those in the paper; others are left out.
    metric : str
    """
    found = published(paper, table)
    return {
        (rows[row], columns[column], metric): float(value)
        for row, column, value in found[["row", "column", "number"]].to_numpy()
        if row in rows and column in columns
    }


@cache
def _cells(paper: str) -> pd.DataFrame:
    path = Path(__file__).with_name(f"{paper}.csv")
    cells = pd.read_csv(path, dtype=str, keep_default_na=False)
    cells.insert(4, "number", pd.to_numeric(cells["value"], errors="coerce"))
    return cells
