"""Predictions for many files: found in folders, made in processes, kept as they are made."""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mer.cluster import on_cluster
from mer.errors import MerError, MissingDataError, ParameterError
from mer.files import atomic_path, read_json, told, write_json
from mer.prediction.model import load_model, model_name
from mer.prediction.output import COLUMNS, output, table
from mer.prediction.pages import SEGMENT_SECONDS
from mer.prediction.songs import (
    AUDIO_SUFFIXES,
    MIDI_SUFFIXES,
    Options,
    answers,
    predict_file,
)

_FILES_PER_PROCESS = 4
"""Below this, starting a process takes longer than it saves."""


def find_songs(paths: Iterable[Path]) -> list[Path]:
    """Files, and the audio and MIDI files in folders and those below, each once.

    Raises
    ------
    MissingDataError
        If a path does not exist, or there is no such file in a folder.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            own = list(_in_folder(path))
            if not own:
                kinds = ", ".join((*AUDIO_SUFFIXES[:5], MIDI_SUFFIXES[0]))
                raise MissingDataError(f"{path} has no audio or MIDI files; expected {kinds} ...")
            found |= dict.fromkeys(own)
        elif path.exists():
            found[path] = None
        else:
            raise MissingDataError(f"{path} does not exist; expected a file or a folder")
    # Unlike Path.resolve, realpath takes links that lead to themselves
    by_file = {os.path.realpath(path): path for path in reversed(found)}
    return [path for path in found if by_file[os.path.realpath(path)] is path]


def _in_folder(folder: Path) -> Iterator[Path]:
    suffixes = {*AUDIO_SUFFIXES, *MIDI_SUFFIXES}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(n for n in folders if not n.startswith((".", "__MACOSX")))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield Path(place, name)


def predictions(
    files: Sequence[Path],
    options: Options,
    *,
    n_jobs: int | None = None,
    cluster: str | None = None,
    folder: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """What the model says of each file, in their order.

    Parameters
    ----------
    files : sequence of Path
    options : Options
    n_jobs : int, optional
        Processes; as many as there are cores, or fewer for few files, if None.
    cluster : str, optional
        Address of a dask scheduler whose workers see the same files.
    folder : Path, optional
        Keeps each answer as JSON, and is looked into first. Answers for files that have changed,
        and those of other options or another model, do not count.

    Yields
    ------
    dict
        As of `predict_file`, with "file", and "warnings" (what is odd about the file) where there
        are some; or with "file" and "error" alone.
    """
    from joblib import Parallel, cpu_count, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    if n_jobs is not None and n_jobs < 1:
        raise ParameterError(f"n_jobs is {n_jobs}; expected 1 or more")
    at_most = n_jobs or max(1, min(cpu_count(), len(files) // _FILES_PER_PROCESS))
    work = partial(_kept, options=options, folder=folder)
    if cluster is None and (at_most == 1 or len(files) < 2):
        yield from map(work, files)
        return
    calls = (delayed(_alone)(work, path) for path in files)
    try:
        with on_cluster(cluster):
            yield from Parallel(n_jobs=at_most, return_as="generator")(calls)
    except TerminatedWorkerError:
        raise MerError(
            "a process was ended from outside, as when memory is short; run it again with fewer "
            "--jobs: answers that are in the output folder are kept"
        ) from None


def _alone(work: Any, path: Path) -> dict[str, Any]:
    """In a process of several, each of which has one core."""
    import torch

    torch.set_num_threads(1)
    return dict(work(path))


def _kept(path: Path, *, options: Options, folder: Path | None) -> dict[str, Any]:
    file = {"file": str(path)}
    try:
        place = folder and folder / _name(path, options)
        if place is not None and place.is_file():
            try:
                return {**read_json(place), **file}
            except ValueError:
                pass  # damaged: made again
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = {**file, **predict_file(path, options)}
    except MerError as error:
        return {**file, "error": str(error)}
    except OSError as error:
        return {**file, "error": told(error)}
    except MemoryError:
        return {**file, "error": f"{path} does not fit in memory"}
    if odd := list(dict.fromkeys(str(warning.message) for warning in caught)):
        found["warnings"] = odd
    if place is not None:
        with atomic_path(place) as temporary:
            write_json(temporary, found)
    return found


def _name(path: Path, options: Options) -> str:
    """Of the file that keeps an answer: other content, options or model give another name."""
    state = path.stat()
    facts = [
        os.path.realpath(path),
        state.st_size,
        state.st_mtime_ns,
        model_name(),
        asdict(options),
    ]
    digest = hashlib.sha256(json.dumps(facts).encode("utf-8", "surrogateescape")).hexdigest()
    readable = re.sub(r"[^\w-]+", "-", path.stem, flags=re.ASCII).strip("-")[:60]
    return f"{readable or 'song'}-{digest[:12]}.json"


SHOWN = 20
"""Most answers of a batch that are kept to be shown."""

FEWEST_OF_COLLECTION, _SAME = 20, 0.01
"""Songs of a collection, and how far their features spread at least, in those of training."""


def _check_size(n: int, what: str) -> None:
    if n < FEWEST_OF_COLLECTION:
        raise ParameterError(
            f"the collection has {n} {what}; expected {FEWEST_OF_COLLECTION} or more"
        )


def as_collection(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answers for songs that are standardised together, see `SongModel.as_collection`.

    It is for songs that are recorded in one sound which training lacks. It removes what they have
    in common, so also a mood that they share.

    Raises
    ------
    ParameterError
        If fewer than `FEWEST_OF_COLLECTION` have answers, or they are all alike.
    """
    model = load_model()
    heard = [song for song in found if "error" not in song]
    _check_size(len(heard), "songs with an answer")
    x = np.array([song["features"] for song in heard])
    if np.median(x.std(axis=0) / model.heads.scale) < _SAME:
        raise ParameterError(
            f"the {len(heard)} songs of the collection are all alike; expected mixed moods"
        )
    moved = model.as_collection(x)
    by_file = {
        song["file"]: {**song, **answers(row, model), "standardised_by": f"{len(heard)} songs"}
        for song, row in zip(heard, moved, strict=True)
    }
    return [by_file.get(song["file"], song) for song in found]


@dataclass
class Batch:
    """What `run` has done.

    Attributes
    ----------
    songs : int
        With an answer.
    first : list of dict
        The first `SHOWN` answers, without what takes much memory.
    warnings : list of str
        What is odd about files.
    errors : list of dict
        Files without an answer, with "file" and "error".
    written : list of Path
    """

    songs: int = 0
    first: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)

    def add(self, song: dict[str, Any]) -> None:
        """Count an answer."""
        if "error" in song:
            self.errors.append(song)
            return
        self.songs += 1
        self.warnings += song.get("warnings", ())
        if len(self.first) < SHOWN:
            self.first.append({name: song[name] for name in COLUMNS if name in song})


def run(
    paths: Sequence[Path],
    options: Options,
    folder: Path | None = None,
    *,
    kinds: Collection[str] = (),
    collection: bool = False,
    n_jobs: int | None = None,
    cluster: str | None = None,
) -> Batch:
    """Predict for files and folders with a progress bar, and write what is asked for.

    Each answer is kept in the folder `answers` of the output as soon as it is there, so that the
    same call goes on where it was interrupted.

    Parameters
    ----------
    folder : Path, optional
        For the output; made where it does not exist. Nothing is written if None.
    kinds : collection of str
        Of output beside the tables, see `mer.prediction.output.output`.
    collection : bool
        See `as_collection`; all answers are then in memory.
    n_jobs, cluster
        As in `predictions`.

    Raises
    ------
    MissingDataError
        If a path does not exist.
    ParameterError
        If the output is a file, or the songs are too few for a collection.
    """
    from tqdm import tqdm

    files = find_songs(paths)
    if collection:
        _check_size(len(files), "files")
    if "html" in kinds:
        length = options.segments or SEGMENT_SECONDS
        options = replace(options, segments=length, players=options.sources)
    kept = None
    if folder is not None:
        if folder.exists() and not folder.is_dir():
            raise ParameterError(f"output is {folder}, a file; expected a folder")
        kept = folder / "answers"
        kept.mkdir(parents=True, exist_ok=True)
    made = Batch()
    with nullcontext() if folder is None else output(folder, kinds) as writer:
        answered = predictions(files, options, n_jobs=n_jobs, cluster=cluster, folder=kept)
        found = tqdm(answered, total=len(files), unit="file", leave=False, disable=None)
        for song in as_collection(list(found)) if collection else found:
            made.add(song)
            if writer is not None:
                writer.add(song)
    made.written += [] if writer is None else writer.written
    return made


def predict(
    paths: str | Path | Iterable[str | Path],
    *,
    segments: float | None = None,
    sources: bool = False,
    notes: bool = False,
    collection: bool = False,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """The emotion of music: one row a file.

    Parameters
    ----------
    paths : path or iterable of paths
        Audio and MIDI files, and folders of them.
    segments : float, optional
        Length of segments in seconds; their valence and arousal over time are then in the column
        "segments".
    sources : bool
        Whether the column "sources" says what each source says alone and what is lost without it.
    notes : bool
        Whether the column "notes" has the transcription, for piano music, and what it says.
    collection : bool
        Whether features are standardised by these songs, see `as_collection`.
    n_jobs : int, optional
        Processes; as many as there are cores if None.

    Returns
    -------
    DataFrame
        With `COLUMNS`, and "error", which says why a file has no answer.

    Raises
    ------
    MissingDataError
        If a path does not exist.
    ParameterError
        If the length of segments is out of range, or the songs are too few for a collection.
    """
    try:
        given = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    except TypeError:
        raise ParameterError(f"paths is {paths!r}; expected a path or several paths") from None
    options = Options(segments=segments, sources=sources, notes=notes)
    files = find_songs(given)
    if collection:
        _check_size(len(files), "files")
    found = list(predictions(files, options, n_jobs=n_jobs))
    failed = ["error" in song for song in found]
    rows, errors = table(as_collection(found) if collection else found), table(found, "errors")
    for name in ("segments", "sources", "notes"):
        if getattr(options, name):
            rows[name] = [song[name] for song in found if "error" not in song]
    order = np.arange(len(found))
    rows.index, errors.index = order[np.invert(failed)], order[failed]
    return pd.concat([rows, errors]).sort_index()
