"""Where data are read and derived files are kept."""

from __future__ import annotations

import os
from pathlib import Path


def data_folder() -> Path:
    """Folder that holds the datasets: `$MER_DATA`, or `data` in the current folder."""
    return Path(os.environ.get("MER_DATA", "data")).expanduser()


def cache_folder() -> Path:
    """Folder for rendered audio, features and checkpoints: `$MER_CACHE`, or `~/.cache/mer`."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "mer"
    return Path(os.environ.get("MER_CACHE", default)).expanduser()
