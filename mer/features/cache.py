"""Features on disk, keyed by what they were computed from."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mer.clips import Clip, file_digest
from mer.errors import MissingDataError
from mer.files import atomic_path, read_sealed, require_file, write_sealed
from mer.paths import cache_folder


@lru_cache(maxsize=65536)
def _digest(path: Path, modified_ns: int, size: int) -> str:
    return file_digest(path)


def content_digest(path: Path) -> str:
    """SHA-256 of a file, read again only when its size or time of change differ."""
    require_file(path)
    status = path.stat()
    return _digest(path, status.st_mtime_ns, status.st_size)


def cached(
    name: str,
    revision: int,
    parameters: Mapping[str, Any],
    source: Path,
    compute: Callable[[], np.ndarray],
) -> np.ndarray:
    """The array that `compute` gives, from the cache where it is there.

    Parameters
    ----------
    name : str
        Name of the feature; also the folder in the cache.
    revision : int
        Revision number of the code that computes it.
    parameters : mapping
        JSON-native values that the feature depends on.
    source : Path
        File that it is computed from; its bytes, not its name, enter the key.
    compute : callable
        Called without arguments where the cache has no such entry, or a damaged one.

    Returns
    -------
    np.ndarray
    """
    key = json.dumps([name, revision, dict(parameters), content_digest(source)], sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()
    path = cache_folder() / "features" / name / digest[:2] / f"{digest[:32]}.npy"
    return stored_array(path, compute)


def stored_array(path: Path, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The array of a file; computed and stored where there is none, or a damaged one."""
    if path.is_file():
        with suppress(ValueError):
            return np.load(io.BytesIO(read_sealed(path)), allow_pickle=False)
    array, buffer = compute(), io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    with atomic_path(path) as temporary:
        write_sealed(temporary, buffer.getvalue())
    return array


def stored_file(folder: Path, key: str, suffix: str, make: Callable[[], bytes]) -> Path:
    """A file whose name ends with the digest of its content; made where there is none.

    So one that is damaged is made again.

    Parameters
    ----------
    folder : Path
        In the cache.
    key : str
        Of what it is made from; the beginning of its name.
    suffix : str
    make : callable
        Called without arguments; gives the content.
    """
    for path in folder.glob(f"{key}-*{suffix}"):
        if path.is_file() and path.stem == _named(key, content_digest(path)):
            return path
    content = make()
    path = folder / f"{_named(key, hashlib.sha256(content).hexdigest())}{suffix}"
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path


def _named(key: str, digest: str) -> str:
    return f"{key}-{digest[:16]}"


def source_of(clip: Clip, kind: Literal["audio", "midi"]) -> Path:
    """The file that a feature of this clip is computed from.

    For "audio" it is the MIDI file where the clip has no recording: that is rendered.

    Raises
    ------
    MissingDataError
        If the clip has no such file.
    """
    path = clip.audio or clip.midi if kind == "audio" else clip.midi
    if path is None:
        missing = "audio and no MIDI" if kind == "audio" else "MIDI"
        raise MissingDataError(f"clip {clip.id!r} has no {missing} file")
    return path
