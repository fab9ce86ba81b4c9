"""Libraries that must not be imported by two processes at once."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

_COMPILED = ("librosa.core.audio", "librosa.core.pitch", "librosa.util.utils", "librosa.beat")


@cache
def load_librosa() -> Any:
    """librosa, its compiled functions included.

    On its first import numba compiles universal functions of librosa and keeps them on disk. Where
    two processes do so at the same time, the files that they leave can crash every later process
    (numba issue 10128). So a lock lets one process in at a time; all others find the files whole.

    Returns
    -------
    module
    """
    from filelock import FileLock

    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    with FileLock(Path(tempfile.gettempdir()) / f"mer-librosa-{user}.lock"):
        for name in _COMPILED:
            import_module(name)
        return import_module("librosa")
