"""Tables, JSON and pages of predictions, written song by song: memory does not grow with them."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from mer.errors import DataWarning, MissingDataError, ParameterError
from mer.files import atomic_folder, atomic_path
from mer.prediction.pages import Pages

COLUMNS = (
    *("file", "seconds", "sound"),
    *(f"{name}{end}" for name in ("valence", "arousal") for end in ("", "_low", "_high")),
    *("valence_1_9", "arousal_1_9", "valence_spread", "arousal_spread"),
    *("quadrant", "q1", "q2", "q3", "q4"),
    *("cluster", "mood", *(f"cluster_{k}" for k in range(1, 6))),
    *("outside", "in_training", "distance", "level", "nearest", "standardised_by", "warnings"),
    "model",
)
"""Of the table, one row a file."""

TABLES: Mapping[str, tuple[str, ...]] = {
    "songs": COLUMNS,
    "errors": ("file", "error"),
    "segments": ("file", "start", "end", "valence", "arousal"),
    "sources": (
        *("file", "source", "level"),
        *("valence", "arousal", "valence_without", "arousal_without"),
    ),
    "notes": (
        *("file", "n_notes", "quadrant", *(f"q{k}" for k in range(1, 5))),
        *("both_quadrant", *(f"both_q{k}" for k in range(1, 5))),
    ),
}
"""Columns by table."""

_WORDS = {
    *("file", "sound", "mood", "nearest", "standardised_by", "warnings", "model"),
    *("error", "source"),
}
_WHOLE, _TRUE = {"quadrant", "cluster", "n_notes", "both_quadrant"}, {"outside", "in_training"}

_PART_NAME = r"part-\d{5}\.parquet"

PART = 1000
"""Songs whose rows are written together, and of a part of Parquet."""


def table(found: Iterable[Mapping[str, Any]], name: str = "songs") -> pd.DataFrame:
    """One of the `TABLES`: of songs, one row a file with an answer."""
    return _frame(name, [row for song in found for row in _rows(song).get(name, ())])


def _rows(song: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """What the tables say of a song, by table."""
    if "error" in song:
        return {"errors": [dict(song)]}
    text = {name: "; ".join(song.get(name, ())) for name in ("nearest", "warnings")}
    file = {"file": song["file"]}
    sources = song.get("sources", {}).items()
    return {
        "songs": [{**song, **text}],
        "segments": [{**file, **segment} for segment in song.get("segments", ())],
        "sources": [{**file, "source": name, **values} for name, values in sources],
        "notes": [{**file, **song["notes"]}] if "notes" in song else [],
    }


def _frame(name: str, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    columns = TABLES[name]
    values = [[row.get(column) for column in columns] for row in rows]
    # As objects first: strings of pyarrow, which pandas takes where it is, hold no surrogates
    frame = pd.DataFrame(values, columns=list(columns), dtype=object)
    return frame.astype({column: _kind(column) for column in columns})


def _kind(column: str) -> str:
    if column in _WORDS:
        return "object"
    return "Int64" if column in _WHOLE else "boolean" if column in _TRUE else "float64"


class Output:
    """What is written in a folder, see `output`.

    Attributes
    ----------
    written : list of Path
        Tables, JSON and pages, once the block has ended.
    """

    def __init__(self, folder: Path, kinds: Collection[str], stack: ExitStack) -> None:
        self._folder, self._kinds, self._stack = folder, kinds, stack
        _check_places(folder)
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        self._csv: dict[str, TextIO] = {}
        self._songs = self._parts = 0
        self._files: set[str] = set()
        self._pages = Pages(folder / "pages") if "html" in kinds else None
        self._json = self._open("songs.json") if "json" in kinds else None
        if self._json is not None:
            self._json.write('{"songs": [')
        self._parquet: dict[str, Path] = {}
        self._errors: list[dict[str, Any]] = []
        self.written: list[Path] = []

    def _open(self, name: str) -> TextIO:
        temporary = self._stack.enter_context(atomic_path(self._folder / name))
        # A surrogate, of a file name that is no UTF-8, becomes an escape
        form: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
        return self._stack.enter_context(temporary.open("w", **form))

    def add(self, song: Mapping[str, Any]) -> None:
        """Write an answer of `mer.prediction.batch.predictions`."""
        self._files.add(song["file"])
        for name, rows in _rows(song).items():
            self._rows[name] += rows
        if "error" in song:
            self._errors.append(dict(song))
        else:
            self._add_json(song)
            if self._pages is not None:
                self._pages.write(song)
        self._songs += 1
        if self._songs % PART == 0:
            self._flush()

    def _add_json(self, song: Mapping[str, Any]) -> None:
        if self._json is None:
            return
        told = {name: value for name, value in song.items() if name != "features"}
        if "sources" in told:
            told["sources"] = {
                source: {name: value for name, value in values.items() if name != "mp3"}
                for source, values in told["sources"].items()
            }
        first = self._songs == len(self._errors)
        self._json.write("\n" if first else ",\n")
        json.dump(told, self._json, sort_keys=True, ensure_ascii=False)

    def _flush(self) -> None:
        for name, rows in self._rows.items():
            if not rows:
                continue
            frame = _plain(_frame(name, rows))
            rows.clear()
            first = name not in self._csv
            if first:
                self._csv[name] = self._open(f"{name}.csv")
            frame.to_csv(self._csv[name], index=False, header=first, lineterminator="\n")
            if "parquet" in self._kinds:
                self._write_part(name, frame)
        self._parts += 1

    def _write_part(self, name: str, frame: pd.DataFrame) -> None:
        if name not in self._parquet:
            folder = self._folder / f"{name}.parquet"
            self._parquet[name] = self._stack.enter_context(atomic_folder(folder))
        frame.to_parquet(self._parquet[name] / f"part-{self._parts:05}.parquet", index=False)

    def end(self) -> None:
        """Write what is left, and say what an earlier call has written that is replaced."""
        self._flush()
        if "songs" not in self._csv:
            self._csv["songs"] = self._open("songs.csv")
            _frame("songs", []).to_csv(self._csv["songs"], index=False, lineterminator="\n")
        if self._json is not None:
            self._json.write('\n], "errors": [')
            self._json.write(",\n".join(json.dumps(e, ensure_ascii=False) for e in self._errors))
            self._json.write("]}\n")
        _warn_of_replaced(self._folder, self._files, self._kinds)
        for name in TABLES:
            path = self._folder / f"{name}.csv"
            if name in self._csv:
                self.written.append(path)
            elif _is_own(path, name):
                path.unlink()
            if "parquet" in self._kinds and name not in self._parquet:
                _remove_parts(self._folder / f"{name}.parquet")
        self.written += [self._folder / f"{name}.parquet" for name in self._parquet]
        if self._json is not None:
            self.written.append(self._folder / "songs.json")
        self.written += [] if self._pages is None else self._pages.written


def _check_places(folder: Path) -> None:
    """Say so where something else has the name of what will be written."""
    for name in ("songs.json", *(f"{name}.csv" for name in TABLES)):
        if (folder / name).is_dir():
            raise ParameterError(f"{folder / name} is a folder; expected a file, or nothing")
    for name in TABLES:
        path = folder / f"{name}.parquet"
        if path.exists() and not path.is_dir():
            raise ParameterError(f"{path} is a file; expected a folder of parts, or nothing")


def _is_own(path: Path, name: str) -> bool:
    """Whether a table was written here, not by somebody else under this name."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline() == ",".join(TABLES[name]) + "\n"
    except (OSError, ValueError):
        return False


def _remove_parts(folder: Path) -> None:
    if folder.is_dir() and all(re.fullmatch(_PART_NAME, path.name) for path in folder.iterdir()):
        shutil.rmtree(folder)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with strings that CSV and Parquet take."""
    words = [column for column in frame if column in _WORDS]
    return frame.assign(**{c: frame[c].map(_escaped) for c in words}).astype(
        dict.fromkeys(words, "str")
    )


def _escaped(text: str | None) -> str:
    """Text without what is no UTF-8, and without the carriage returns that CSV readers end at."""
    return (text or "").encode("utf-8", "backslashreplace").decode().replace("\r", "\\r")


@contextmanager
def output(folder: Path, kinds: Collection[str]) -> Iterator[Output]:
    """Write answers in a folder as they come; see `TABLES`.

    Tables and JSON take their names when the block ends well; tables of an earlier call that have
    nothing more to say are removed. Pages are there as soon as they are written.

    Parameters
    ----------
    folder : Path
    kinds : collection of str
        "json" (songs.json, everything), "parquet" (a folder of parts for each table, such as
        songs.parquet) and "html" (a page a song, in the folder `pages`) beside the CSV tables.

    Raises
    ------
    MissingDataError
        If Parquet is asked for and pyarrow is not installed.
    ParameterError
        If a folder or a file is in the way.
    """
    if "parquet" in kinds and find_spec("pyarrow") is None:
        raise MissingDataError(
            "Parquet takes the library pyarrow; install it with: pip install pyarrow"
        )
    with ExitStack() as stack:
        made = Output(folder, kinds, stack)
        yield made
        made.end()


def _warn_of_replaced(folder: Path, files: Collection[str], kinds: Collection[str]) -> None:
    """Say so where an earlier table has songs that this one has not."""
    path, known = folder / "songs.csv", {_escaped(file) for file in files}
    try:
        earlier = pd.read_csv(path, usecols=["file"], keep_default_na=False)["file"]
    except (OSError, ValueError):
        return
    gone = sum(file not in known for file in earlier)
    if not gone:
        return
    text = (
        f"{path} had {gone} songs of an earlier call that are not in this one: the tables are "
        f"replaced; their answers stay in {folder / 'answers'}"
    )
    others = [f"songs.{kind}" for kind in ("json", "parquet") if kind not in kinds]
    if stay := [name for name in others if (folder / name).exists()]:
        text += f", and {' and '.join(stay)} of that call as they were"
    warnings.warn(text, DataWarning, stacklevel=2)
