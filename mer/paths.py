"""Where data are read and derived files are kept."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """Folder that holds the datasets: `$MER_DATA`, or `data` in the current folder."""
    return Path(os.environ.get("MER_DATA", "data")).expanduser()


def native(path: Path) -> Path | bytes:
    """A path as libraries in C take it: its bytes, which need not be UTF-8, where it has some."""
    return path if os.name == "nt" else os.fsencode(path)


def cache_folder() -> Path:
    """Folder for rendered audio, features and checkpoints: `$MER_CACHE`, or `~/.cache/mer`."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "mer"
    return Path(os.environ.get("MER_CACHE", default)).expanduser()
