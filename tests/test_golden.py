"""The numbers of the book stay what they are: every table, verdict and interval, to 6 decimals."""

from __future__ import annotations

import pytest
from golden import pages


@pytest.mark.parametrize("page", pages.PAGES)
def test_page_shows_the_golden_numbers(page: str) -> None:
    expected, found = pages.read(page), pages.cells(pages.PAGES[page]())
    assert list(found) == list(expected)
    wrong = {
        place: (value, found[place])
        for place, value in expected.items()
        if not _same(value, found[place])
    }
    assert not wrong


def _same(expected: str, found: str) -> bool:
    if expected == found:
        return True
    try:
        return abs(float(expected) - float(found)) <= 1.01e-6
    except ValueError:
        return False
