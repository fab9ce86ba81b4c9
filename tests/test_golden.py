"""The numbers of the book stay what they are: every table, verdict and interval, to 6 decimals."""

from __future__ import annotations

import pytest
from golden import pages

Row = dict[str, str]


@pytest.mark.parametrize("page", pages.PAGES)
def test_page_shows_the_golden_numbers(page: str) -> None:
    expected, found = pages.read(page), pages.cells(pages.PAGES[page]())
    frames, own = _by_frame(expected), _by_frame(found)
    assert list(own) == list(frames)
    for name, rows in frames.items():
        names = _text_columns(rows)
        first, second = (sorted(part, key=lambda r: _key(r, names)) for part in (rows, own[name]))
        assert [sorted(row) for row in second] == [sorted(row) for row in first], name
        for one, other in zip(first, second, strict=True):
            wrong = {c: (one[c], other[c]) for c in one if not _same(one[c], other[c])}
            assert not wrong, (name, _key(one, names))


def _by_frame(cells: dict[str, str]) -> dict[str, list[Row]]:
    frames: dict[str, dict[str, Row]] = {}
    for place, value in cells.items():
        frame, number, column = place.split("\t")
        frames.setdefault(frame, {}).setdefault(number, {})[column] = value
    return {frame: list(rows.values()) for frame, rows in sorted(frames.items())}


def _text_columns(rows: list[Row]) -> list[str]:
    """Columns that say what a row is about; rows that they do not tell apart keep their order."""
    return [
        c
        for c in rows[0]
        if c not in ("verdict", "direction") and not all(_is_number(row[c]) for row in rows)
    ]


def _key(row: Row, names: list[str]) -> list[str]:
    return [row.get(name, "") for name in names]


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def _same(expected: str, found: str) -> bool:
    if expected == found or not (_is_number(expected) and _is_number(found)):
        return expected == found
    return abs(float(expected or "nan") - float(found or "nan")) <= 1.01e-6
