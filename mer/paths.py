"""Where data are read and derived files are kept."""

from __future__ import annotations

import os
from pathlib import Path

from mer.errors import ParameterError


def data_folder() -> Path:
    """Folder that holds the datasets: `$MER_DATA`, or `data` in the current folder."""
    return _folder("MER_DATA", Path("data"))


def native(path: Path) -> Path | bytes:
    """A path as libraries in C take it: its bytes, which need not be UTF-8, where it has some."""
    return path if os.name == "nt" else os.fsencode(path)


def cache_folder() -> Path:
    """Folder for rendered audio, features and checkpoints: `$MER_CACHE`, or `~/.cache/mer`."""
    return _folder("MER_CACHE", Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "mer")


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable) or default)
    try:
        return folder.expanduser()
    except RuntimeError:
        raise ParameterError(
            f"{variable} is {str(folder)!r}; expected a folder, and a user that is known"
        ) from None
