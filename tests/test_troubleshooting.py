"""The page "What can go wrong" quotes messages that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "book" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = [
    message
    for line in PAGE.splitlines()
    if line.startswith("| `")
    for message in re.findall(r"`([^`]+)`", line.split(" | ")[0])
]
SYSTEM = ("No space left on device", "Read-only file system", "Permission denied")
"""Parts that the operating system words."""


def constants() -> str:
    """All text in the code, each literal or part of an f-string on a line of its own."""
    paths = (ROOT / "mer").rglob("*.py")
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in paths)
    nodes = (node for tree in trees for node in ast.walk(tree))
    return "\n".join(
        n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)
    )


CONSTANTS = constants()


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_one_of_the_code(message: str) -> None:
    parts = [part.strip(" ,:;()") for part in message.split("…")]
    for part in parts:
        assert part in CONSTANTS or part in SYSTEM, part
    assert max(map(len, parts)) >= 10


def test_there_are_many() -> None:
    assert len(MESSAGES) > 40
