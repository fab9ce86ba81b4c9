"""The section "The model" of pages: layers of a network, and what it sees of a clip."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rows import ROWS, small
from torch import Tensor, nn

from mer.errors import ParameterError
from mer.models.classifiers import LSTMAttn
from mer.papers import emopia
from mer.study import model_card, plots
from mer.study.settings import Settings
from mer.study.store import RunStore
from mer.study.study import Study
from mer.study.tables import KNOWN_ROWS

LSTM = "LSTM-Attn + MIDI-like"
KINDS = {(s.family, type(s), s.inputs): name for name, s in ROWS.items() if s.family}
"""A row with a network for each kind of system."""


class Inner(nn.Module):
    """Averages over time; a module below it is too deep for a table."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Sequential(nn.Linear(5, 2))

    def forward(self, x: Tensor) -> Any:
        return {"label": self.deep(x.mean(dim=2)), "A": x.mean(dim=(1, 2))}


class Network(nn.Module):
    """Two inputs, a dict of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 5, kernel_size=3)
        self.gate = nn.Linear(2, 5, bias=False)
        self.inner = Inner()
        self.unused = nn.Dropout()

    def forward(self, x: Tensor, y: Tensor) -> Any:
        return self.inner(self.conv(x) * self.gate(y)[:, :, None])


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(Settings(profile="smoke"), store=RunStore(tmp_path))


def test_layers_by_hand() -> None:
    network = Network()
    table = model_card.layer_table(network, (torch.zeros(1, 3, 10), torch.zeros(1, 2)))
    assert not any(module._forward_hooks for module in network.modules())
    assert table.to_dict("split") == {
        "index": ["whole", "conv", "gate", "inner", "inner.deep", "unused"],
        "columns": ["module", "output", "parameters"],
        "data": [
            ["Network", "label (2,), A ()", 50 + 10 + 12],
            ["Conv1d", "(5, 8)", 3 * 5 * 3 + 5],
            ["Linear", "(5,)", 2 * 5],
            ["Inner", "label (2,), A ()", 12],
            ["Sequential", "(2,)", 5 * 2 + 2],
            ["Dropout", "–", 0],
        ],
    }


def test_a_network_is_shown_with_its_parameters(study: Study, shown: list[Any]) -> None:
    model_card.show(study, LSTM)
    table, figure = shown
    n = int(table.data["parameters"].iloc[0].replace(",", ""))
    assert f"{LSTM}, profile smoke: {n:,} parameters" in table.to_html()
    assert [axis.get_title() for axis in figure.axes] == ["input"]
    counts = model_card.parameter_counts(study, {LSTM: ROWS[LSTM]})
    sizes = study.sized({LSTM: ROWS[LSTM]})[LSTM].parameters
    names = ("embedding", "hidden", "attention", "hops", "classifier")
    here = LSTMAttn(sizes["vocabulary"], 4, **{name: sizes[name] for name in names})
    assert counts.loc[LSTM, "here"] == n == sum(p.numel() for p in here.parameters())
    assert counts["default"].gt(counts["here"]).all()
    with pytest.raises(ParameterError, match="DescriptorClassifier has no network to show"):
        model_card.show(study, "Symbolic-SVM")


@pytest.mark.parametrize("row", KINDS.values())
def test_every_network_has_an_example(row: str) -> None:
    clip = model_card.example_clip(4)
    assert clip.labels.quadrant == 4
    network, inputs, pictures = small(row).example(clip)
    table = model_card.layer_table(network, inputs)
    assert table["parameters"].iloc[0] > 0
    assert ("2" if ROWS[row].regression else "4") in table["output"].iloc[0]
    figure = model_card.feature_figure(pictures)
    assert [axis.get_title() for axis in figure.axes] == list(pictures)
    figure.savefig(io.BytesIO(), dpi=40)


def test_pictures_are_drawn_by_what_they_are() -> None:
    notes = np.asarray([[0.0, 1.0, 60, 64], [1.0, 1.5, 67, 64]])
    pictures = {"notes": notes, "tokens": np.arange(5), "feature": np.zeros((2, 3, 7))}
    figure = model_card.feature_figure(pictures)
    roll, tokens, feature = figure.axes
    assert len(roll.patches) == 2
    assert list(tokens.lines[0].get_ydata()) == [0, 1, 2, 3, 4]  # type: ignore[arg-type]
    image: Any = feature.images[0].get_array()
    assert image.shape == (6, 7)
    assert figure.get_figwidth() == plots.WIDTH


def test_a_row_of_a_paper_keeps_its_name() -> None:
    with pytest.raises(ParameterError, match="there is a row 'Constant' already"):
        emopia.PLAIN.with_rows({"Constant": emopia.SVM["Symbolic-SVM"]})
    own = emopia.PLAIN.with_rows({"Mine": emopia.SVM["Symbolic-SVM"]})
    assert "Mine" in own.with_rows({"Mine": emopia.SVM["Audio-SVM"]}).all_rows
    assert "Mine" not in KNOWN_ROWS
