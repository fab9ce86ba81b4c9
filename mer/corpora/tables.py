"""CSV files of datasets."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mer.errors import InvalidDataError
from mer.files import require_file


class Row(dict[str, str]):
    """Cells of a row by column, with the place of the row, such as "<path>, row 2"."""

    where: str


def read_table(
    path: Path,
    columns: Sequence[str],
    *,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
    obtain: str = "",
    longer: bool = False,
) -> list[Row]:
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
    longer : bool
        Whether rows may have more cells than the header.

    Returns
    -------
    list of Row
        Every column of the file, as text; rows without any are passed over, but counted.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidDataError
        If it is not such a table, a column is missing, or a row is longer than the header.
    """
    text = _read_text(path, encoding, obtain, "a table")
    file = io.StringIO(text, newline="")
    reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
    try:
        header = list(reader.fieldnames or [])
        missing = [column for column in columns if column not in header]
        rows = [] if missing else list(_rows(path, reader, longer))
    except csv.Error as error:
        raise InvalidDataError(f"{path} is not a table: {error}") from None
    if missing:
        others = [mark for mark in ",;\t" if mark != delimiter and mark in "".join(header)]
        hint = f"; its separator seems to be {others[0]!r}, not {delimiter!r}" if others else ""
        raise InvalidDataError(
            f"{path} has no column {missing[0]!r}; expected {', '.join(columns)}{hint}"
        )
    return rows


def _rows(path: Path, reader: csv.DictReader[str], longer: bool) -> Iterator[Row]:
    """Rows with any text."""
    for cells in reader:
        row = Row(cells)
        row.where = f"{path}, row {reader.line_num}"
        extra: Any = cells.get(reader.restkey)
        if any(extra or ()) and not longer:
            raise InvalidDataError(
                f"{row.where} has {len(row) - 1 + len(extra)} cells, the header {len(row) - 1}; "
                "expected quotes around text with a separator, and a point in decimal numbers"
            )
        if any(_texts(row)):
            yield row


def _texts(row: dict[Any, Any]) -> Iterator[str | None]:
    """Values of a row; those beyond the last column are a list of their own."""
    for value in row.values():
        yield from value if isinstance(value, list) else (value,)


def read_lines(path: Path, obtain: str = "") -> list[str]:
    """Lines of a text file in UTF-8 without the spaces around them, but for empty ones.

    Raises
    ------
    MissingDataError
        If there is no such file; the message includes `obtain`.
    InvalidDataError
        If it is not such text.
    """
    lines = _read_text(path, "utf-8-sig", obtain, "text").splitlines()
    return [line.strip() for line in lines if line.strip()]


def _read_text(path: Path, encoding: str, obtain: str, what: str) -> str:
    """Text of a file; a byte order mark of UTF-8 goes before the encoding."""
    require_file(path, obtain and f"; {obtain}")
    content = path.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    name = encoding.removesuffix("-sig").upper()
    try:
        if b"\0" in content:
            raise ValueError("it holds zero bytes, as UTF-16 and binary files do")
        return content.decode(encoding)
    except ValueError as error:
        raise InvalidDataError(
            f"{path} is not {what} in {name}: {error}; save it as {name}"
        ) from None


def inner_folder(folder: Path, name: str) -> Path:
    """The folder of that name in a folder, as archives unpack; without it the folder itself."""
    return folder / name if (folder / name).is_dir() else folder
