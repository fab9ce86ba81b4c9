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
    try:
        status = path.stat()
    except OSError:
        require_file(path)
        raise
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
