"""Fitted systems that come with the package, to look at and to listen with."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from mer.systems import get_system
from mer.systems.windowed import FittedNetwork, WindowedNetwork
from mer.weights import load_weights, write_weights


def save_fitted(fitted: FittedNetwork, path: Path, facts: dict[str, str]) -> None:
    """Write a fitted network as weights that `load_fitted` reads.

    Parameters
    ----------
    fitted : FittedNetwork
    path : Path
        Ends in `.pt`.
    facts : dict of str to str
        What it was trained on.
    """
    settings = {
        "system": fitted.system.name,
        "parameters": json.dumps(fitted.system.parameters),
        "n_classes": str(fitted.n_classes),
    }
    write_weights(path, fitted.network.state_dict(), {**facts, **settings})


def load_fitted(name: str) -> FittedNetwork:
    """A fitted network of `mer/weights`, on the CPU.

    Parameters
    ----------
    name : str
        Name in `mer/weights/index.json`.

    Raises
    ------
    ParameterError
        If there are no such weights.
    MissingDataError, InvalidDataError
        If the file is missing or altered.
    """
    tensors, facts = load_weights(name)
    system = get_system(facts["system"], json.loads(facts["parameters"]))
    assert isinstance(system, WindowedNetwork), "only networks are saved"
    n_classes = int(facts["n_classes"])
    network = system.network(n_classes)
    network.load_state_dict(tensors)
    network.eval()
    return FittedNetwork(system, network, n_classes, torch.device("cpu"), [])
