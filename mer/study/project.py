"""Folders of the project that the study reads and writes."""

from __future__ import annotations

import os
from pathlib import Path

from mer.errors import MissingDataError


def project_root() -> Path:
    """The folder that holds `notebooks` and `_config.yml`: this one or one above.

    `$MER_PROJECT` names another.

    Raises
    ------
    MissingDataError
        If there is none.
    """
    start = Path(os.environ.get("MER_PROJECT", ".")).expanduser().resolve()
    for folder in (start, *start.parents):
        if (folder / "_config.yml").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise MissingDataError(
        f"{start} is not inside a checkout of the project (a folder with _config.yml and "
        "notebooks); change to it or set MER_PROJECT"
    )


def store_folder(committed: bool) -> Path:
    """Where runs are kept: `results` for the profiles whose runs are committed, else `_build`."""
    return project_root() / ("results" if committed else "_build/results")
