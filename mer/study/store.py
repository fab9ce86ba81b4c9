"""Stored runs: small text files that a reader never meets half-written."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mer import __version__
from mer.errors import InvalidDataError, MissingDataError
from mer.files import (
    atomic_folder,
    atomic_path,
    check_seal,
    file_seal,
    read_json,
    write_json,
)
from mer.study.specs import RunSpec

PREDICTION_DECIMALS = 5
_FORMAT = f"%.{PREDICTION_DECIMALS}f"

_NAMES = ("id", "group")


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    spec : RunSpec
    predictions : DataFrame
        One row a test clip: id, group, target (class counted from 1), p_1 ... p_k, and head_A
        and head_V (probability of high arousal and valence) of systems with such heads. Of a
        regression: id, group, target_valence, target_arousal, valence, arousal.
    history : list of dict
        What training went through, a row an epoch (or a tried hyper-parameter).
    details : dict
        Metrics, environment, wall time, peak memory, source of the audio.
    """

    spec: RunSpec
    predictions: pd.DataFrame
    history: list[dict[str, float]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


_NO_OBJECT = (KeyError, TypeError, AttributeError, RecursionError)
"""What JSON that is not an object of the expected names comes to."""


class RunStore:
    """Runs below a folder, one folder each: `run.json`, `predictions.csv`, `history.csv`.

    What is read, or missed, and what is stored raises an audit event (`sys.audit`).

    Parameters
    ----------
    root : Path
        Runs are kept in `root/runs/<corpus>/<system>/<key>`, the cards of corpora in
        `root/corpora`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, spec: RunSpec) -> Path:
        """Where the run is or will be."""
        return self.root / "runs" / spec.corpus / _slug(spec.system) / spec.key[:20]

    def __contains__(self, spec: RunSpec) -> bool:
        folder = self.folder(spec)
        sys.audit("mer.store.read", str(folder))
        return (folder / "run.json").is_file()

    def missing(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        """Those that are not stored, in order."""
        return [spec for spec in specs if spec not in self]

    def write(self, run: Run) -> None:
        """Store a run: it appears whole or not at all.

        Raises
        ------
        MissingDataError
            If the disk is full or the folder cannot be written; nothing is left behind.
        """
        folder = self.folder(run.spec)
        try:
            with atomic_folder(folder) as temporary:
                _write_files(run, temporary)
                temporary.chmod(0o755)
                if run.spec in self:
                    raise FileExistsError(folder)
        except OSError as error:
            if run.spec not in self:  # else another process has stored it meanwhile
                raise MissingDataError(f"cannot store the run in {folder}: {error}") from None
        sys.audit("mer.store.write", str(folder))

    def read(self, spec: RunSpec) -> Run:
        """A stored run.

        Raises
        ------
        MissingDataError
            If it is not stored.
        InvalidDataError
            If its files are damaged or belong to another run.
        """
        folder = self.folder(spec)
        if spec not in self:
            raise MissingDataError(f"no stored run of {spec.label} in {folder.parent}")
        try:
            details = read_json(folder / "run.json")
            stored = RunSpec(**details.pop("spec"))
            _check_files(folder, details.pop("digests"))
            predictions = _read_predictions(folder / "predictions.csv")
            history = _read_history(folder / "history.csv")
        except (OSError, ValueError, *_NO_OBJECT) as error:
            raise InvalidDataError(
                f"the stored run in {folder} is damaged ({error}); "
                "remove the folder to run it again"
            ) from None
        if stored != spec:
            raise InvalidDataError(f"the run in {folder} is of {stored.label}, not {spec.label}")
        return Run(spec, predictions, history, details)

    def read_card(self, corpus: str) -> dict[str, Any]:
        """The stored card of a corpus: its fingerprint, counts and statistics.

        Raises
        ------
        MissingDataError
            If there is none.
        InvalidDataError
            If it is damaged, or a folder has its name.
        """
        path = self.root / "corpora" / f"{corpus}.json"
        sys.audit("mer.store.read", str(path))
        _refuse_folders(path)
        if not path.is_file():
            raise MissingDataError(
                f"{path} does not exist: nothing is stored of corpus {corpus!r}; "
                "run the study where the data are"
            )
        try:
            return read_json(path)
        except (ValueError, *_NO_OBJECT) as error:
            raise InvalidDataError(
                f"{path} is damaged ({error}); run the study where the data are"
            ) from None

    def write_card(self, corpus: str, card: dict[str, Any]) -> None:
        """Store the card of a corpus.

        Raises
        ------
        MissingDataError
            If the disk is full or the folder cannot be written; an earlier card stays.
        InvalidDataError
            If a folder has its name.
        """
        path = self.root / "corpora" / f"{corpus}.json"
        _refuse_folders(path)
        try:
            with atomic_path(path) as temporary:
                write_json(temporary, card)
        except OSError as error:
            raise MissingDataError(f"cannot store {path}: {error}") from None

    def table(
        self, name: str, spec: Mapping[str, Any], compute: Callable[[], pd.DataFrame] | None
    ) -> pd.DataFrame:
        """A table that is no run, as it is stored; what is not stored yet is computed first.

        Parameters
        ----------
        name : str
            Name of the file.
        spec : mapping
            JSON-native values that the table depends on; part of its key.
        compute : callable or None
            Gives the table; None where nothing is to be computed.

        Raises
        ------
        MissingDataError
            If it is neither stored nor to be computed.
        InvalidDataError
            If it was changed since it was stored, or a folder has the name of one of its files.
        """
        digest = hashlib.sha256(json.dumps(dict(spec), sort_keys=True).encode()).hexdigest()
        path = self.root / "tables" / f"{_slug(name)}-{digest[:12]}.csv"
        description = path.with_suffix(".json")
        sys.audit("mer.store.read", str(path))
        _refuse_folders(path, description)
        # The description is written last: where it is, the table is whole.
        if not description.is_file():
            if compute is None:
                raise MissingDataError(
                    f"{path} does not exist: the table {name!r} is not stored; run the notebook "
                    "with the parameter compute"
                )
            started = time.perf_counter()
            frame = compute()
            seconds = round(time.perf_counter() - started, 1)
            facts = {"spec": dict(spec), "environment": environment(), "wall_seconds": seconds}
            try:
                with atomic_path(path) as temporary:
                    frame.to_csv(temporary, index=False, float_format=_FORMAT)
                    facts["digests"] = {path.name: file_seal(temporary)}
                with atomic_path(description) as temporary:
                    write_json(temporary, facts)
            except OSError as error:
                raise MissingDataError(f"cannot store {path}: {error}") from None
        try:
            check_seal(path, read_json(description)["digests"])
        except (OSError, ValueError, *_NO_OBJECT) as error:
            raise InvalidDataError(
                f"the stored table {path} is damaged ({error}); remove it and {description.name} "
                "to compute it again"
            ) from None
        names = {"id": str, "group": str}
        return pd.read_csv(path, dtype=names, keep_default_na=False, na_values=[""])


def _refuse_folders(*paths: Path) -> None:
    """Raise an InvalidDataError where a folder has the name of a file."""
    for path in paths:
        if path.is_dir():
            raise InvalidDataError(f"{path} is a folder; expected a file: rename or remove it")


def environment() -> dict[str, Any]:
    """Versions and processor that a result was computed with."""
    torch = sys.modules.get("torch")
    bfloat16 = torch is not None and torch.cpu._is_avx512_bf16_supported()
    gpu = {}
    if torch is not None and torch.cuda.is_available():
        gpu = {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return {
        "mer": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "bfloat16": bfloat16,
        **gpu,
        **{name: version(name) for name in ("numpy", "scikit-learn", "torch", "librosa")},
    }


def _write_files(run: Run, folder: Path) -> None:
    run.predictions.to_csv(folder / "predictions.csv", index=False, float_format=_FORMAT)
    if run.history:
        history = pd.DataFrame(run.history)
        history.to_csv(folder / "history.csv", index=False, float_format="%.6g")
    digests = {path.name: file_seal(path) for path in folder.iterdir()}
    facts = {"spec": run.spec.facts, **run.details, "digests": digests}
    write_json(folder / "run.json", facts)
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _check_files(folder: Path, digests: Mapping[str, str]) -> None:
    history = {"history.csv"} if (folder / "history.csv").is_file() else set()
    for name in sorted({"predictions.csv", *history, *digests}):
        check_seal(folder / name, digests)


def _read_predictions(path: Path) -> pd.DataFrame:
    # Reading it with pandas takes several times as long
    header, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    numbers = {name: np.array(columns[name], float) for name in columns if name not in _NAMES}
    if not all(np.isfinite(values).all() for values in numbers.values()):
        raise ValueError(f"{path.name} lacks a number")
    chances = [values for name, values in numbers.items() if name.startswith("p_")]
    if chances and (np.min(chances) < 0 or np.abs(np.sum(chances, axis=0) - 1).max() > 1e-3):
        raise ValueError(f"a row of {path.name} is not a probability distribution")
    if "target" in numbers:
        numbers["target"] = numbers["target"].astype(int)
    return pd.DataFrame({**columns, **numbers})


def _read_history(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines())
    values = ([float(value or "nan") for value in row] for row in rows)
    return [dict(zip(header, row, strict=True)) for row in values]


_LONGEST = 150
"""Characters of a name that are taken for a folder: file systems have limits."""


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST]
