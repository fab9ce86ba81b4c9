"""CSV files of datasets."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mer.errors import InvalidDataError
from mer.files import require_file


def read_table(
    path: Path,
    columns: Sequence[str],
    *,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
    obtain: str = "",
) -> list[dict[str, str]]:
    """Rows of a CSV file, by column name; spaces after a delimiter do not count.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        Columns that it must have.
    delimiter, encoding : str
        By default UTF-8, with or without a byte order mark.
    obtain : str
        How to get the file, for the message if it is missing.

    Returns
    -------
    list of dict
        Every column of the file, as text; rows without any are passed over.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidDataError
        If it is not such a table, or a column is missing.
    """
    require_file(path, obtain and f"; {obtain}")
    try:
        with path.open(newline="", encoding=encoding) as file:
            reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
            header = list(reader.fieldnames or [])
            missing = [column for column in columns if column not in header]
            rows = [] if missing else [row for row in reader if any(_texts(row))]
    except (UnicodeDecodeError, csv.Error) as error:
        name = encoding.removesuffix("-sig").upper()
        raise InvalidDataError(f"{path} is not a table in {name}: {error}") from None
    if missing:
        others = [mark for mark in ",;\t" if mark != delimiter and mark in "".join(header)]
        hint = f"; its separator seems to be {others[0]!r}, not {delimiter!r}" if others else ""
        raise InvalidDataError(
            f"{path} has no column {missing[0]!r}; expected {', '.join(columns)}{hint}"
        )
    return rows


def _texts(row: dict[Any, Any]) -> Iterator[str | None]:
    """Values of a row; those beyond the last column are a list of their own."""
    for value in row.values():
        yield from value if isinstance(value, list) else (value,)


def read_lines(path: Path, obtain: str = "") -> list[str]:
    """Lines of a text file without the spaces around them, but for empty ones.

    Raises
    ------
    MissingDataError
        If there is no such file; the message includes `obtain`.
    """
    require_file(path, obtain and f"; {obtain}")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip()]


def inner_folder(folder: Path, name: str) -> Path:
    """The folder of that name in a folder, as archives unpack; without it the folder itself."""
    return folder / name if (folder / name).is_dir() else folder
