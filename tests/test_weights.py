"""Trained parameters that come with the package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mer import weights
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.papers.zhu2023 import attention
from mer.study.weights import TRAINERS, train_weights

TENSORS = {"w": torch.tensor([[0.5, -1.25]]), "steps": torch.tensor([7])}
NAMES = {*TRAINERS, *attention.TRAINERS}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights with one file, in place of the package's."""
    monkeypatch.setattr(weights, "weights_folder", lambda: tmp_path)
    weights.write_weights(tmp_path / "known.pt", TENSORS, {"seed": "3"})
    weights.register(tmp_path / "known.pt", "mer train known")
    return tmp_path


def test_round_trip(folder: Path) -> None:
    tensors, metadata = weights.load_weights("known")
    assert metadata == {"seed": "3"}
    assert (tensors["w"].dtype, tensors["steps"].dtype) == (torch.float32, torch.int64)
    torch.testing.assert_close(tensors, TENSORS, check_dtype=False)


def test_damage(folder: Path) -> None:
    path = folder / "known.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidDataError, match=r"altered.*mer train known"):
        weights.load_weights("known")
    path.unlink()
    with pytest.raises(MissingDataError, match=r"known\.pt does not exist.*mer train known"):
        weights.load_weights("known")
    with pytest.raises(ParameterError, match="no weights 'other'; there are: known"):
        weights.load_weights("other")


def test_revision_follows_the_content(folder: Path) -> None:
    path = folder / "known.pt"
    weights.register(path, "mer train known")
    assert weights.weights_revision("known") == 1
    weights.write_weights(path, {"w": torch.zeros(2)}, {})
    weights.register(path, "mer train known")
    assert weights.weights_revision("known") == 2


class TestPackagedWeights:
    def test_all_load(self) -> None:
        index = weights._index(weights.weights_folder())
        assert {name for name in NAMES if not name.endswith("-published")} <= set(index)
        assert set(index) <= NAMES
        for name, entry in index.items():
            tensors, metadata = weights.load_weights(name)
            assert all(torch.isfinite(t).all() for t in tensors.values() if t.is_floating_point())
            assert entry["train"] == f"mer train {name}"
            assert metadata.get("seed") or name == "musicnn"  # whose training is not ours

    def test_they_are_small(self) -> None:
        files = weights.weights_folder().glob("*.pt")
        assert max(path.stat().st_size for path in files) < 5e6
        assert sum(path.stat().st_size for path in files) < 27e6

    def test_unknown_name(self) -> None:
        with pytest.raises(ParameterError, match="no weights 'nothing'; there are: transcriber"):
            train_weights("nothing")

    def test_missing_soundfont(self, tmp_path: Path) -> None:
        with pytest.raises(MissingDataError, match=r"soundfont .*none\.sf2 does not exist"):
            train_weights("transcriber", soundfonts=[tmp_path / "none.sf2"], folder=tmp_path)
        assert not list(tmp_path.iterdir())
