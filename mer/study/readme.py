"""The headline table of the README, from stored runs."""

from __future__ import annotations

from pathlib import Path

from mer.errors import InvalidDataError
from mer.study.summaries import headline

START, END = "<!-- headline: start -->", "<!-- headline: end -->"


def update_readme(path: Path) -> bool:
    """Write the headline table between the two marks of the README.

    Returns
    -------
    bool
        Whether the file changed.

    Raises
    ------
    InvalidDataError
        If the marks are not there.
    MissingDataError
        If a run is not stored.
    """
    text = path.read_text(encoding="utf-8")
    if START not in text or END not in text:
        raise InvalidDataError(f"{path} lacks the lines {START} and {END}")
    before, rest = text.split(START, 1)
    after = rest.split(END, 1)[1]
    new = f"{before}{START}\n{headline()}\n{END}{after}"
    path.write_text(new, encoding="utf-8")
    return new != text
