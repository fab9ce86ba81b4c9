"""Single bits of stored files turned over: noticed, computed again, or without effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import interrupted, notes_at, write_midi
from test_store import SPEC, make_run
from test_training import fit, scripted

from mer import weights
from mer.audio import waveform
from mer.clips import Clip
from mer.errors import InvalidDataError
from mer.features.cache import cached
from mer.study.store import RunStore
from mer.systems.base import Fitted
from mer.training.supervised import TrainingOptions

SCORES = (0.3, 0.6, 0.5, 0.55)
FEW, MANY = 20, 400
SETTINGS = pytest.mark.parametrize("n", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])


class Stored(NamedTuple):
    """What writes files, what reads them to something that can be compared."""

    write: Callable[[Path], Any]
    read: Callable[[Path], Any]


def write_run(folder: Path) -> None:
    RunStore(folder).write(make_run())


def read_run(folder: Path) -> Any:
    run = RunStore(folder).read(SPEC)
    return run.spec.facts, run.predictions.to_csv(), run.history, run.details


def table(folder: Path, compute: Callable[[], pd.DataFrame] | None = None) -> str:
    return str(RunStore(folder).table("songs", {"seed": 3}, compute).to_csv())


def write_table(folder: Path) -> None:
    table(folder, lambda: pd.DataFrame({"id": ["a", "b"], "value": [0.1, 0.21]}))


def write_card(folder: Path) -> None:
    card = {"fingerprint": "0a1b", "splits": {"cv10": {"folds": 10, "leaky": False}}}
    RunStore(folder).write_card("toy", {**card, "songs": {"agreement": 0.75}})


def write_weights(folder: Path) -> None:
    values = {"w": torch.arange(6.0), "steps": torch.tensor([7])}
    weights.write_weights(folder / "known.pt", values, {"seed": "3"})
    weights.register(folder / "known.pt", "mer train known")


def read_weights(folder: Path) -> Any:
    weights._index.cache_clear()
    tensors, facts = weights.load_weights("known")
    values = {name: value.tolist() for name, value in tensors.items()}
    return values, facts, weights.weights_revision("known")


def write_checkpoint(folder: Path) -> None:
    stopped = interrupted(scripted(SCORES), 2)
    with pytest.raises(KeyboardInterrupt):
        fit(TrainingOptions(epochs=4), stopped, checkpoint=folder / "state.pt")


def read_checkpoint(folder: Path) -> Any:
    network, history = fit(
        TrainingOptions(epochs=4), scripted(SCORES[2:]), checkpoint=folder / "state.pt"
    )
    return history, {name: value.tolist() for name, value in network.state_dict().items()}


def feature(folder: Path) -> Any:
    (folder.parent / "source").write_text("source")
    values = np.arange(40, dtype=np.float32) / 7
    return cached("f", 1, {}, folder.parent / "source", lambda: values).tolist()


def sound(folder: Path) -> Any:
    path = folder.parent / "a.mid"
    if not path.is_file():
        write_midi(path, notes_at([0.0], 0.1))
    return waveform(Clip("a", "a", midi=path), sample_rate=8000).tolist()


class Constant(Fitted):
    history: list[dict[str, float]] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.level = list(range(30))

    def predict(self, corpus: Any) -> pd.DataFrame:
        return pd.DataFrame(self.level)


KINDS = {
    "run": Stored(write_run, read_run),
    "table": Stored(write_table, table),
    "card": Stored(write_card, lambda folder: RunStore(folder).read_card("toy")),
    "weights": Stored(write_weights, read_weights),
    "checkpoint": Stored(write_checkpoint, read_checkpoint),
    "feature": Stored(feature, feature),
    "rendering": Stored(sound, sound),
    "fitted system": Stored(lambda f: Constant().save(f), lambda f: Fitted.load(f).level),
}


@SETTINGS
@pytest.mark.parametrize("kind", KINDS)
def test_no_flip_goes_unnoticed(
    kind: str, n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rng, counts = tmp_path / "stored", np.random.default_rng(n), Counter[str]()
    folder.mkdir()
    monkeypatch.setenv("MER_CACHE", str(folder))
    monkeypatch.setattr(weights, "weights_folder", lambda: folder)
    KINDS[kind].write(folder)
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    expected = read_whole(kind, folder, files)
    for _ in range(n):
        path = list(files)[rng.integers(len(files))]
        content = bytearray(files[path])
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        counts[outcome(kind, folder, path, files[path], expected)] += 1
        for whole, before in files.items():
            whole.write_bytes(before)
    print(f"{kind}: {n} tried, {dict(counts)}")
    assert counts["unnoticed"] == counts["unclear"] == 0


def outcome(kind: str, folder: Path, path: Path, before: bytes, expected: Any) -> str:
    try:
        value = KINDS[kind].read(folder)
    except InvalidDataError as error:
        named = {path.name, path.parent.name, path.with_suffix(".csv").name}
        return "error" if any(name in str(error) for name in named) else "unclear"
    if value != expected:
        return "unnoticed"
    return "computed again" if path.is_file() and path.read_bytes() == before else "no effect"


def read_whole(kind: str, folder: Path, files: dict[Path, bytes]) -> Any:
    """What is read; files that reading takes away are put back."""
    value = KINDS[kind].read(folder)
    for path, content in files.items():
        path.write_bytes(content)
    return value
