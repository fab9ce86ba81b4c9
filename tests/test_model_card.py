"""The section "The model" of pages: layers of a network, and what it sees of a clip."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from rows import ROWS, small
from torch import Tensor, nn

from mer.errors import ParameterError
from mer.features import spectral
from mer.models.classifiers import LSTMAttn
from mer.papers import emopia
from mer.study import model_card, plots
from mer.study.settings import Settings
from mer.study.store import RunStore
from mer.study.study import Study
from mer.study.tables import KNOWN_ROWS
from mer.systems.base import Picture

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
    bands = Picture(np.zeros((3, 7)), "Frequency (Hz)", 0.5, frequencies=np.array([50, 150, 500]))
    pictures = {
        "notes": Picture(notes, "Pitch (MIDI)"),
        "tokens": Picture(np.arange(2), times=np.asarray([0.25, 1.5])),
        "feature": bands,
    }
    figure = model_card.feature_figure(pictures)
    roll, tokens, feature = figure.axes
    assert len(roll.patches) == 2
    assert tokens.lines[0].get_xydata().tolist() == [[0.25, 0], [1.5, 1]]  # type: ignore[union-attr]
    assert feature.images[0].get_array().shape == (3, 7)  # type: ignore[union-attr]
    assert feature.images[0].get_extent() == [0, 3.5, -0.5, 2.5]
    assert ticks(feature) == {0.5: "100", 2.0: "500"}
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert labels == ["Pitch (MIDI)", "Token", "Frequency (Hz)"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["", "", "Time (s)"]
    assert figure.get_figwidth() == plots.WIDTH


def ticks(axis: Axes) -> dict[float, str]:
    texts = [label.get_text() for label in axis.get_yticklabels()]
    return dict(zip(axis.get_yticks(), texts, strict=True))


def drawn(row: str) -> dict[str, Axes]:
    figure = model_card.feature_figure(small(row).example(model_card.example_clip())[2])
    return {axis.get_title(): axis for axis in figure.axes}


def test_mel_bands_have_their_hertz_and_seconds() -> None:
    row = "Short-chunk ResNet"
    system, axis = ROWS[row], drawn(row)["input"]
    centres = spectral.mel_centres(22050, axis.images[0].get_array().shape[0])  # type: ignore[union-attr]
    for place, text in ticks(axis).items():
        found = np.interp(place, np.arange(len(centres)), centres)
        assert found == pytest.approx(float(text.replace(",", "")))
    assert {"1,000", "5,000"} <= {*ticks(axis).values()}
    n_frames = axis.images[0].get_array().shape[1]  # type: ignore[union-attr]
    assert axis.images[0].get_extent()[1] == pytest.approx(n_frames * 512 / 22050)
    assert axis.get_ylabel() == "Frequency (Hz)"
    own = replace(system, feature=spectral.mfcc)  # type: ignore[call-arg]
    picture = own.example(model_card.example_clip())[2]["input"]
    assert (picture.label, picture.frequencies) == ("Row of mfcc", None)


def test_rows_of_other_features_are_named() -> None:
    harmony = drawn("Multifaceted")["harmony"]
    assert ticks(harmony) == {0: "C", 2: "D", 4: "E", 5: "F", 7: "G", 9: "A", 11: "B"}
    mixed = drawn("Symbolic & Acoustic")["acoustic feature"]
    n_rows = mixed.images[0].get_array().shape[0]  # type: ignore[union-attr]
    named = {text: place for place, text in ticks(mixed).items()}
    assert named["centroid, level"] == n_rows - 1
    assert n_rows - 22 < named["MFCCs"] < n_rows - 2
    stft = drawn("STFT-input")["acoustic feature"]
    places = {text: place for place, text in ticks(stft).items()}
    assert list(places) == ["100", "2,000", "5,000", "10,000"]
    n_fft = small("STFT-input").n_fft
    assert places["2,000"] == pytest.approx(2000 * n_fft / 22050)
    tokens = drawn(LSTM)["input"]
    assert (tokens.get_xlabel(), tokens.get_ylabel()) == ("Place in the sequence", "Token")


def test_a_row_of_a_paper_keeps_its_name() -> None:
    with pytest.raises(ParameterError, match="there is a row 'Constant' already"):
        emopia.PLAIN.with_rows({"Constant": emopia.SVM["Symbolic-SVM"]})
    own = emopia.PLAIN.with_rows({"Mine": emopia.SVM["Symbolic-SVM"]})
    assert "Mine" in own.with_rows({"Mine": emopia.SVM["Audio-SVM"]}).all_rows
    assert "Mine" not in KNOWN_ROWS
