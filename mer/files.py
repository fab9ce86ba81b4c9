"""Files that must exist, and writing them so that a reader never meets half of one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mer.errors import MerError, MissingDataError
from mer.paths import cache_folder

_FULL = 2**16
"""Bytes; where fewer are free, a disk is full."""

_DIGEST = "digest"

_PREFIX = ".tmp-"
_SYSTEM_PREFIX = "mer-tmp-"
_SHORT, _LONGEST = "/tmp", 60
"""A folder for sockets, and how long the name of another one may be."""

_MOMENT = 1.0
"""Seconds in which a new temporary file may not be held yet."""


def require_file(path: Path, hint: str = "") -> None:
    """Raise a `MissingDataError`, which ends with the hint, unless there is such a file."""
    try:
        is_file = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise MissingDataError(f"{path} cannot be read: {error.strerror}{hint}") from None
    if not is_file:
        state = "is a folder" if path.is_dir() else "does not exist"
        raise MissingDataError(f"{path} {state}{hint}")


def told(error: OSError) -> str:
    """An error of the system, such as a full disk, as a sentence for the user."""
    place = f" {error.filename}:" if error.filename else ""
    reason = error.strerror or str(error)
    if error.errno == errno.ENAMETOOLONG:
        reason += "; give a shorter one, for what is written with -o"
    return f"a file cannot be read or written:{place} {reason}"


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write JSON with a digest of its own content, under the name "digest"."""
    sealed = {**values, _DIGEST: _json_digest(values)}
    text = json.dumps(sealed, indent=1, sort_keys=True, ensure_ascii=False)
    # A surrogate, of a file name that is no UTF-8, becomes an escape that JSON reads back
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote.

    Raises
    ------
    ValueError
        If it is no JSON object or was changed since.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found = values.pop(_DIGEST, None)
    except (TypeError, AttributeError, RecursionError):
        raise ValueError(f"{path.name} is no JSON object") from None
    if found is None:
        raise ValueError(f"{path.name} has no digest of its content")
    if found != _json_digest(values):
        raise _changed(path)
    return values


def _json_digest(values: Mapping[str, Any]) -> str:
    canonical = json.dumps(dict(values), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def write_sealed(path: Path, content: bytes) -> None:
    """Write bytes and, at their end, the digest of them."""
    path.write_bytes(content + hashlib.sha256(content).digest())


def read_sealed(path: Path) -> bytes:
    """What `write_sealed` wrote.

    Raises
    ------
    ValueError
        If it was changed since.
    """
    sealed = path.read_bytes()
    size = hashlib.sha256().digest_size
    content = sealed[:-size]
    if hashlib.sha256(content).digest() != sealed[-size:]:
        raise _changed(path)
    return content


def file_seal(path: Path) -> str:
    """Digest of a file, to be stored elsewhere."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def check_seal(path: Path, seals: Mapping[str, str]) -> None:
    """Raise a ValueError if a file is not among those digests, by name, or was changed since."""
    if path.name not in seals:
        raise ValueError(f"no digest of {path.name} is stored")
    if file_seal(path) != seals[path.name]:
        raise _changed(path)


def _changed(path: Path) -> ValueError:
    return ValueError(f"{path.name} was changed since it was stored")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends well.

    The temporary file keeps the suffix of `path`. It is flushed to the disk before it takes
    the name; if the block raises, it is removed and `path` stays as it was.

    Raises
    ------
    OSError
        If nothing can be written there; it names the folder.
    """
    with _beside(path, is_folder=False) as temporary:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that replaces it whole when the block ends well.

    If the block raises, it is removed and `path` stays as it was. Errors are as in `atomic_path`.
    """
    with _beside(path, is_folder=True) as temporary:
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)


@contextmanager
def temporary_folder(*, for_sockets: bool = False) -> Iterator[Path]:
    """A folder for files of this process, in the one of the system, that ends with the block.

    Names of sockets have a limit: for them it is in /tmp where that of the system is too long.
    """
    is_long = for_sockets and len(tempfile.gettempdir()) > _LONGEST and Path(_SHORT).is_dir()
    place = _SHORT if is_long else None
    folder, owner = Path(tempfile.mkdtemp(prefix=_SYSTEM_PREFIX, dir=place)), os.getpid()
    try:
        with _held(folder):
            yield folder
    finally:
        if os.getpid() == owner:  # a process that is forked ends this block, too
            shutil.rmtree(folder, ignore_errors=True)


def clear(*folders: Path) -> None:
    """Remove temporary files that killed processes have left below folders and in the system's.

    Those of processes that still run stay.
    """
    for system in {tempfile.gettempdir(), _SHORT}:
        for path in Path(system).glob(f"{_SYSTEM_PREFIX}*"):
            _clear(path)
    for folder in folders:
        for parent, names, files in os.walk(folder):
            for name in filter(_is_temporary, (*names, *files)):
                _clear(Path(parent, name))
            names[:] = [name for name in names if not _is_temporary(name)]


def _is_temporary(name: str) -> bool:
    return name.startswith(_PREFIX)


def _clear(path: Path) -> None:
    with suppress(OSError):  # another process clears it, or it is somebody else's
        state = path.lstat()
        if time.time() - state.st_mtime < _MOMENT:
            return
        if not (stat.S_ISDIR(state.st_mode) or stat.S_ISREG(state.st_mode)):
            return  # a pipe would wait for a writer
        with _held(path) as is_left:
            if is_left:
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _beside(path: Path, *, is_folder: bool) -> Iterator[Path]:
    """A new temporary file or folder, which is removed unless it has taken another name."""
    folder, owner = path.parent, os.getpid()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if is_folder:
            temporary = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
        else:
            handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=path.suffix, dir=folder)
            os.close(handle)
            temporary = Path(name)
            temporary.chmod(0o644)
    except OSError as error:
        raise _not_writable(folder, error) from None
    try:
        with _held(temporary):
            yield temporary
    except BaseException as error:
        full = _is_full(folder, error)
        if os.getpid() == owner:
            _remove(temporary)
        if full:
            raise full from None
        raise


def _not_writable(folder: Path, error: OSError) -> OSError:
    """The error of a folder in which nothing can be created, with the way out of a bad cache."""
    is_cache = cache_folder() in (folder, *folder.parents)
    hint = "; set MER_CACHE to a folder that can be written" if is_cache else ""
    return OSError(error.errno, f"{error.strerror}{hint}", str(folder))


@contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Whether this block alone holds a file or folder; the system lets it go with the process."""
    if os.name != "posix":
        yield False
        return
    import fcntl

    handle, is_mine = os.open(path, os.O_RDONLY), False
    try:
        with suppress(OSError):  # another one holds it, or a network disk cannot tell
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_mine = True
        yield is_mine
    finally:
        os.close(handle)


def _is_full(folder: Path, error: BaseException) -> OSError | None:
    """The error of a full disk, if that is what an error in writing to a folder comes from.

    Libraries that write by themselves raise others, which do not name the disk.
    """
    number = getattr(error, "errno", None)
    is_other = number is None and isinstance(error, Exception) and not isinstance(error, MerError)
    if number == errno.ENOSPC or (is_other and shutil.disk_usage(folder).free < _FULL):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    return None
