"""Libraries that must not be imported by two processes at once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_COMPILED = ("librosa.core.audio", "librosa.core.pitch", "librosa.util.utils", "librosa.beat")


@cache
def load_librosa() -> Any:
    """librosa, its compiled functions included.

    On its first import numba compiles universal functions of librosa and keeps them on disk. Where
    two processes do so at the same time, the files that they leave can crash every later process
    (numba issue 10128). So a lock lets one process in at a time, until one has found or left the
    files as they are now: from then on nothing is written, and nobody waits.

    Returns
    -------
    module
    """
    from filelock import FileLock

    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    lock = Path(tempfile.gettempdir()) / f"mer-librosa-{user}.lock"
    whole = lock.with_suffix(".whole")
    if whole.is_file() and whole.read_text(encoding="utf-8") == _compiled_files():
        return import_module("librosa")  # its modules are loaded as they are used: that is faster
    with FileLock(lock):
        library = _import()
        whole.write_text(_compiled_files() or "none", encoding="utf-8")
    return library


def _import() -> Any:
    for name in _COMPILED:
        import_module(name)
    return import_module("librosa")


def _compiled_files() -> str | None:
    """Digest of what decides whether numba compiles again: None if nothing is compiled."""
    spec = find_spec("librosa")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    folders += filter(None, [os.environ.get("NUMBA_CACHE_DIR")])
    kinds = {".py", ".nbi", ".nbc"}
    files = [p for folder in folders for p in Path(folder).rglob("*.*") if p.suffix in kinds]
    if not any(path.suffix == ".nbi" for path in files):
        return None
    stats = sorted((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
    return hashlib.sha256(repr((version("numba"), stats)).encode()).hexdigest()
