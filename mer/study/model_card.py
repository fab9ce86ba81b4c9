"""The section "The model" of a page: a network with its shapes, and its input feature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mer.clips import Clip
from mer.corpora import load
from mer.study import plots
from mer.study.study import Study
from mer.study.tables import KNOWN_ROWS, Rows
from mer.study.text import MISSING, captioned, number
from mer.systems.base import Picture, System

if TYPE_CHECKING:
    from torch import nn

_DEPTH = 2
"""Modules within modules that are listed."""


def example_clip(quadrant: int = 1) -> Clip:
    """Ten seconds of piano of a quadrant (1-4), from the composed corpus."""
    clips = load("composed", size=24, duration=10.0)
    return next(clip for clip in clips if clip.labels.quadrant == quadrant)


def show(study: Study, row: str) -> None:
    """Display the network of a row at the sizes of the profile, and what it sees of one clip."""
    from IPython.display import display

    system = study.profile.sized(row, KNOWN_ROWS[row])
    network, inputs, pictures = system.example(example_clip())
    layers = layer_table(network, inputs)
    total = number(int(layers["parameters"].iloc[0]))
    caption = f"{row}, profile {study.profile.name}: {total} parameters, shapes for one input"
    display(captioned(layers, caption))
    display(feature_figure(pictures))


def parameter_counts(study: Study, rows: Rows) -> pd.DataFrame:
    """Parameters of the networks of some rows, for four classes: columns default and here."""
    clip, here = example_clip(), study.sized(rows)

    def count(system: System) -> int:
        network = _without_memory(system, clip)
        return sum(parameter.numel() for parameter in network.parameters())

    counts = {name: {"default": count(rows[name]), "here": count(here[name])} for name in here}
    return pd.DataFrame.from_dict(counts, orient="index")


def network_counts(study: Study, rows: Rows) -> pd.DataFrame:
    """`parameter_counts` of those rows that are networks of the papers, from the store.

    What is not stored is counted and stored. Empty where there is no such row.
    """
    networks = {name: system for name, system in rows.items() if system.family}
    here = study.sized(networks)
    key = {name: _digest([networks[name].parameters, here[name].parameters]) for name in here}
    if not key:
        return pd.DataFrame(columns=["default", "here"])
    return study.store.table(
        "network sizes",
        dict(sorted(key.items())),
        lambda: parameter_counts(study, networks).rename_axis("row").reset_index(),
    ).set_index("row")


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _without_memory(system: System, clip: Clip) -> nn.Module:
    """A network as `System.example` makes it, with shapes only."""
    import torch

    from mer.systems.network import WindowedNetwork

    if not isinstance(system, WindowedNetwork):
        return system.example(clip)[0]
    item = system.item(clip)
    with torch.device("meta"):
        return system.network(4, item)


def layer_table(network: nn.Module, inputs: Any) -> pd.DataFrame:
    """Modules of a network, the shape of what each gives for one input, and its parameters.

    `inputs` are a batch of one, a Tensor or a tuple of them. The table is indexed by the name of
    the module, the whole network first: module (its class), output (shape without the batch;
    missing where it is no tensor), parameters.
    """
    import torch

    modules = {n: m for n, m in network.named_modules() if n.count(".") < _DEPTH}
    shapes: dict[str, str] = {}

    def record(name: str, module: Any, inputs: Any, output: Any) -> None:
        parts = output.items() if isinstance(output, dict) else [("", output)]
        named = [(key, tuple(part.shape[1:])) for key, part in parts if hasattr(part, "shape")]
        shapes[name] = ", ".join(f"{key} {shape}".strip() for key, shape in named)

    hooks = [m.register_forward_hook(partial(record, name)) for name, m in modules.items()]
    with torch.inference_mode():
        network.eval()(*(inputs if isinstance(inputs, tuple) else (inputs,)))
    for hook in hooks:
        hook.remove()
    rows = {
        name or "whole": {
            "module": type(module).__name__,
            "output": shapes.get(name) or MISSING,
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
        }
        for name, module in modules.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def feature_figure(pictures: Mapping[str, Picture]) -> Figure:
    """What a network sees: features of the sound as images, notes as a piano roll, tokens as dots.

    Pictures are from `mer.systems.base.System.example`; they have one axis of time, or of places.
    """
    figure, axes = plots.panels(len(pictures), 1, 0.6 + 1.9 * len(pictures), sharex=True)
    for axis, (name, picture) in zip(axes[:, 0], pictures.items(), strict=True):
        if name == "notes":
            plots.piano_roll(axis, picture.array)
        elif picture.array.ndim == 1:
            places = np.arange(len(picture.array)) if picture.times is None else picture.times
            axis.plot(places, picture.array, ".", ms=3, color=plots.BLUE)
        else:
            _image(axis, picture)
        axis.set(title=name, ylabel=picture.label)
    is_timed = [n == "notes" or p.step or p.times is not None for n, p in pictures.items()]
    axes[-1, 0].set_xlabel("Time (s)" if any(is_timed) else "Place in the sequence")
    return figure


def _image(axis: Axes, picture: Picture) -> None:
    """A feature of the sound, its rows named where they are known."""
    rows = picture.array.astype(float)
    low, high = np.percentile(rows, (1, 99))
    extent = (0, rows.shape[1] * (picture.step or 1), -0.5, len(rows) - 0.5)
    limits: dict[str, Any] = {"vmin": low, "vmax": high, "cmap": "magma"}
    axis.imshow(rows, origin="lower", aspect="auto", extent=extent, **limits)
    ticks = dict(picture.names)
    if picture.frequencies is not None:
        ticks |= plots.hertz_ticks(picture.frequencies)
    if ticks:
        shown = plots.spread_ticks(ticks, len(rows))
        axis.set_yticks([*shown], [*shown.values()])
    axis.grid(visible=False)
