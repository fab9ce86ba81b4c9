"""The README tells what is stored, and its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mer.errors import InvalidDataError
from mer.study.project import project_root
from mer.study.readme import END, START, update_readme
from mer.study.summaries import headline


def test_headline_is_the_one_of_the_stored_runs() -> None:
    text = (project_root() / "README.md").read_text(encoding="utf-8")
    shown = text.split(START)[1].split(END)[0].strip()
    assert shown == headline()
    assert re.search(r"Symbolic-SVM .*\.\d{3}", shown)


def test_update_replaces_only_what_stands_between_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    assert update_readme(path)
    assert path.read_text() == f"before\n{START}\n{headline()}\n{END}\nafter\n"
    assert not update_readme(path)


def test_a_readme_without_marks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("nothing here\n")
    with pytest.raises(InvalidDataError, match="lacks the lines"):
        update_readme(path)
    assert path.read_text() == "nothing here\n"


def test_commands_of_the_readme_are_targets_of_make() -> None:
    root = project_root()
    targets = set(re.findall(r"^(\w+):", (root / "Makefile").read_text(), flags=re.M))
    named = set(re.findall(r"^ +make (\w+) ", (root / "README.md").read_text(), flags=re.M))
    assert named == {"study", "test"}
    assert named <= targets
