"""Files that must exist, and writing them so that a reader never meets half of one."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mer.errors import MerError, MissingDataError

_FULL = 2**16
"""Bytes; where fewer are free, a disk is full."""


def require_file(path: Path, hint: str = "") -> None:
    """Raise a `MissingDataError`, which ends with the hint, unless there is such a file."""
    try:
        is_file = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise MissingDataError(f"{path} cannot be read: {error.strerror}{hint}") from None
    if not is_file:
        state = "is a folder" if path.is_dir() else "does not exist"
        raise MissingDataError(f"{path} {state}{hint}")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends well.

    The temporary file keeps the suffix of `path`. It is flushed to the disk before it takes
    the name; if the block raises, it is removed and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".tmp-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException as error:
        full = _is_full(path.parent, error)
        with suppress(FileNotFoundError):
            temporary.unlink()
        if full:
            raise full from None
        raise


def _is_full(folder: Path, error: BaseException) -> OSError | None:
    """The error of a full disk, if that is what an error in writing to a folder comes from.

    Libraries that write by themselves raise others, which do not name the disk.
    """
    number = getattr(error, "errno", None)
    is_other = number is None and isinstance(error, Exception) and not isinstance(error, MerError)
    if number == errno.ENOSPC or (is_other and shutil.disk_usage(folder).free < _FULL):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    return None


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that replaces it whole when the block ends well.

    If the block raises, it is removed and `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=path.parent))
    try:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    except BaseException as error:
        full = _is_full(path.parent, error)
        if full:
            raise full from None
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
