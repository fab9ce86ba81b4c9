"""Sizes of networks: how many numbers are trained, by default and in some runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from mer.study.specs import RunSpec


def parameter_counts(specs: Iterable[RunSpec], *, n_classes: int) -> pd.DataFrame:
    """How many numbers the networks of some runs have, by default and here.

    Parameters
    ----------
    specs : iterable of RunSpec
        Of systems that are networks, or others, which are left out.
    n_classes : int
        That all are taken to tell apart.

    Returns
    -------
    DataFrame
        Index system; default, here.
    """
    rows = {}
    for name, parameters in {spec.system: spec.parameters for spec in specs}.items():
        here = _count(name, parameters, n_classes)
        if here is not None:
            rows[name] = {"default": _count(name, {}, n_classes), "here": here}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["default", "here"])


def _count(name: str, parameters: Mapping[str, Any], n_classes: int) -> int | None:
    import torch

    from mer.systems import get_system
    from mer.systems.segmented import SegmentClassifier
    from mer.systems.two_stage import TwoStage
    from mer.systems.windowed import WindowedNetwork

    system = get_system(name, parameters)
    with torch.device("meta"):  # counted without memory: the published VGG16 takes half a GiB
        if isinstance(system, SegmentClassifier | WindowedNetwork):
            networks: list[Any] = [system.network(n_classes)]
        elif isinstance(system, TwoStage):
            networks = [system.encoder(), system.classifier(n_classes)]
        else:
            return None
    return sum(value.numel() for network in networks for value in network.parameters())
