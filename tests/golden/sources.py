"""Digests of the code that stored results depend on.

`sources.tsv` has a line a module: its path, its revision numbers, a digest of its syntax tree
without comments and docstrings, and why its last change cannot alter a stored result. When such a
module changes, raise its revision (stored results of the old one are then no longer found), or say
why they stay right: `python tests/golden/sources.py "the reason"` writes the changed lines anew.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
MANIFEST = Path(__file__).with_name("sources.tsv")
PAPERS = ("emopia", "zhu2023", "zhao2023", "deberardinis2020", "sun2024")
PLACES = (
    *("mer/audio.py", "mer/clips.py", "mer/rendering.py", "mer/segments.py", "mer/tasks.py"),
    "mer/weights.py",
    *("mer/composing", "mer/corpora", "mer/features", "mer/models", "mer/training"),
    *("mer/transcription", "mer/separation", "mer/systems"),
    *(f"mer/papers/{name}/systems.py" for name in PAPERS),
    *("mer/papers/zhao2023/midibert.py", "mer/papers/sun2024/two_stage.py"),
    *(f"mer/prediction/{name}.py" for name in ("embeddings", "heads", "model", "training")),
    "mer/papers/across_corpora/predictions.py",
    *("mer/study/executor.py", "mer/study/specs.py", "mer/study/store.py"),
)
"""Modules, and folders of them, that predictions or their keys come from."""


class Source(NamedTuple):
    """What the manifest knows of a module."""

    revisions: str
    digest: str
    reason: str = ""


def modules() -> list[Path]:
    """All modules that results depend on, in order."""
    found = [ROOT / place for place in PLACES]
    files = [path for place in found for path in ([place] if place.is_file() else _below(place))]
    return sorted(files)


def _below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.py") if path.read_text(encoding="utf-8").strip()]


def digest(source: str) -> str:
    """SHA-256 (16 digits) of a syntax tree, without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def _is_text(node: ast.AST) -> bool:
    constant = node.value if isinstance(node, ast.Expr) else None
    return isinstance(constant, ast.Constant) and isinstance(constant.value, str)


def revisions(source: str) -> str:
    """Revision numbers that a module defines, such as "REVISION=1"."""
    return " ".join(
        "".join(part) for part in re.findall(r"^(\w*REVISION)( *= *)(\d+)", source, re.M)
    )


def found() -> dict[str, Source]:
    """The modules as they are, by path."""
    sources = {}
    for path in modules():
        text = path.read_text(encoding="utf-8")
        sources[path.relative_to(ROOT).as_posix()] = Source(revisions(text), digest(text))
    return sources


def known() -> dict[str, Source]:
    """The modules as the manifest has them, by path."""
    if not MANIFEST.is_file():
        return {}
    rows = (line.split("\t") for line in MANIFEST.read_text(encoding="utf-8").splitlines())
    return {row[0]: Source(*row[1:]) for row in rows}


def changed() -> list[str]:
    """Paths of modules whose digest or revisions are not those of the manifest."""
    before, now = known(), found()
    paths = sorted(before.keys() | now.keys())
    return [path for path in paths if _facts(before.get(path)) != _facts(now.get(path))]


def _facts(source: Source | None) -> tuple[str, ...] | None:
    return None if source is None else source[:2]


def update(reason: str) -> list[str]:
    """Write the lines of changed modules anew, with a reason unless a revision was raised."""
    before, now, paths = known(), found(), changed()
    for path in paths:
        if path in now:
            raised = path in before and before[path].revisions != now[path].revisions
            now[path] = now[path]._replace(reason="" if raised else reason)
    rows = {path: before[path] if path not in paths else now[path] for path in now}
    lines = ["\t".join((path, *source)) + "\n" for path, source in sorted(rows.items())]
    MANIFEST.write_text("".join(lines), encoding="utf-8")
    return paths


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].strip():
        sys.exit("say why stored results stay right: python tests/golden/sources.py REASON")
    print("\n".join(update(sys.argv[1])))
