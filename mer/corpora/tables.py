"""CSV files of datasets."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from mer.errors import InvalidDataError, MissingDataError


def read_table(
    path: Path, columns: Sequence[str], *, delimiter: str = ",", encoding: str = "utf-8"
) -> list[dict[str, str]]:
    """Rows of a CSV file, by column name; spaces after a delimiter do not count.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        Columns that it must have.
    delimiter, encoding : str

    Returns
    -------
    list of dict
        Every column of the file, as text.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidDataError
        If it is not such a table, or a column is missing.
    """
    if not path.is_file():
        raise MissingDataError(f"{path} does not exist")
    try:
        with path.open(newline="", encoding=encoding) as file:
            reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
            found, rows = reader.fieldnames or [], list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidDataError(f"{path} is not a table in {encoding.upper()}: {error}") from None
    missing = [column for column in columns if column not in found]
    if missing:
        raise InvalidDataError(
            f"{path} has no column {missing[0]!r}; expected {', '.join(columns)}"
        )
    return rows
