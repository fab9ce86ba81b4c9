"""Trained parameters that come with the package: small, checked, safe to load."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.files import atomic_path, read_json, write_json

_INDEX = "index.json"


def weights_folder() -> Path:
    """The folder of the weights and their index."""
    return Path(str(resources.files("mer") / "weights"))


@cache
def _index(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / _INDEX
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise InvalidDataError(
            f"{path} cannot be used ({error}); restore it, or install the package again"
        ) from None


def _entry(name: str) -> dict[str, Any]:
    index = _index(weights_folder())
    if name not in index:
        raise ParameterError(f"there are no weights {name!r}; there are: {', '.join(index)}")
    return index[name]


def is_registered(name: str) -> bool:
    """Whether there are weights of that name in the index."""
    return name in _index(weights_folder())


def weights_revision(name: str) -> int:
    """Revision number of weights, raised whenever they are trained anew.

    Raises
    ------
    ParameterError
        If there are no such weights.
    """
    return int(_entry(name)["revision"])


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_weights(name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Trained parameters, as float32, and how they were trained.

    Raises
    ------
    ParameterError
        If there are no such weights.
    MissingDataError
        If the file is missing.
    InvalidDataError
        If the file is not the one in the index.
    """
    import torch

    entry = _entry(name)
    path = weights_folder() / f"{name}.pt"
    if not path.is_file():
        raise MissingDataError(f"{path} does not exist; restore it, or train it: {entry['train']}")
    found = _sha256(path)
    if found != entry["sha256"]:
        raise InvalidDataError(
            f"{path} has SHA-256 {found[:12]}..., expected {entry['sha256'][:12]}...: it was "
            f"altered; restore it, or train it: {entry['train']}"
        )
    content = torch.load(path, map_location="cpu", weights_only=True)
    tensors = {
        key: value.float() if value.is_floating_point() else value
        for key, value in content["tensors"].items()
    }
    return tensors, content["metadata"]


def write_weights(
    path: Path, tensors: dict[str, Any], metadata: dict[str, str], *, half: bool = True
) -> str:
    """Store parameters in one step, as float16 if `half` (integers as they are); their SHA-256."""
    import torch

    def smaller(value: Any) -> Any:
        return value.half() if half and value.is_floating_point() else value

    stored = {key: smaller(value).detach().cpu().contiguous() for key, value in tensors.items()}
    with atomic_path(path) as temporary:
        torch.save({"tensors": stored, "metadata": metadata}, temporary)
    return _sha256(path)


def register(path: Path, train: str) -> None:
    """Enter a file of weights, by its stem, in the index beside it, with the command for it."""
    file = path.with_name(_INDEX)
    _index.cache_clear()
    index = _index(path.parent) if file.is_file() else {}
    digest = _sha256(path)
    known = index.get(path.stem, {"revision": 0, "sha256": ""})
    revision = known["revision"] + (digest != known["sha256"])
    entry = {"sha256": digest, "revision": revision, "train": train}
    with atomic_path(file) as temporary:
        write_json(temporary, {**index, path.stem: entry})
    _index.cache_clear()
