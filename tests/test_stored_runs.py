"""Stored runs are found by their keys; the code that they come from is the code that is here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from golden import sources

from mer.study.specs import RunSpec
from mer.study.store import RunStore

RESULTS = Path(__file__).parents[1] / "results"


def test_every_stored_run_stands_under_its_key() -> None:
    store, found = RunStore(RESULTS), 0
    for path in RESULTS.glob("runs/*/*/*/run.json"):
        spec = RunSpec(**json.loads(path.read_text(encoding="utf-8"))["spec"])
        assert store.folder(spec) == path.parent
        assert store.read(spec).spec == spec
        found += 1
    assert found >= 1950


def test_modules_that_results_depend_on_are_those_of_the_manifest() -> None:
    told = (
        "raise the revision of the module, or say why results stay right (tests/golden/sources.py)"
    )
    assert sources.changed() == [], told


def test_every_change_without_a_raised_revision_has_a_reason() -> None:
    lacking = [path for path, source in sources.known().items() if not source.reason]
    revised = {path for path, source in sources.known().items() if source.revisions}
    assert set(lacking) <= revised


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ("def f(x):\n    return x + 1\n", True),
        ('def f(x):\n    """Adds one."""\n    return x + 1  # one\n', True),
        ("def f(x):\n    return x + 2\n", False),
        ("def f(y):\n    return y + 1\n", False),
    ],
)
def test_digest_sees_code_and_nothing_else(changed: str, same: bool) -> None:
    first = sources.digest('def f(x):\n    """One more."""\n    return x + 1\n')
    assert (sources.digest(changed) == first) is same
