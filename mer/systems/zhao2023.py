"""Multifaceted model (Zhao and Yoshii 2023): the whole, its ablations, pairs of its branches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mer.clips import Clip
from mer.errors import ParameterError
from mer.models import multifaceted
from mer.systems.factors import FactorNetwork, HarmonyFactor, SymbolicFactor, ToneColorFactor
from mer.systems.windowed import FittedNetwork
from mer.training.supervised import autocast


@dataclass(frozen=True, kw_only=True)
class SelfAttentive(FactorNetwork):
    """Several factors, joined by self-attention.

    Attributes
    ----------
    heads : int
    """

    inputs: ClassVar[str] = "audio + MIDI"
    heads: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1 or self.width % self.heads:
            raise ParameterError(f"width {self.width} is no multiple of {self.heads} heads")

    @property
    def n_heads(self) -> int:
        """Heads of the self-attention."""
        return self.heads


@dataclass(frozen=True, kw_only=True)
class Multifaceted(SelfAttentive, SymbolicFactor, HarmonyFactor, ToneColorFactor):
    """The proposed model."""

    name: ClassVar[str] = "Multifaceted"


@dataclass(frozen=True, kw_only=True)
class WithoutMHSA(SymbolicFactor, HarmonyFactor, ToneColorFactor):
    """All factors, joined without self-attention (table III)."""

    name: ClassVar[str] = "Without MHSA"
    inputs: ClassVar[str] = "audio + MIDI"


@dataclass(frozen=True, kw_only=True)
class SymbolicBranch(SymbolicFactor):
    """The symbolic branch alone (table III)."""

    name: ClassVar[str] = "Symbolic branch"
    inputs: ClassVar[str] = "MIDI"


@dataclass(frozen=True, kw_only=True)
class HarmonyBranch(HarmonyFactor):
    """The harmony branch alone (table III)."""

    name: ClassVar[str] = "Harmony branch"
    inputs: ClassVar[str] = "audio"


@dataclass(frozen=True, kw_only=True)
class ToneColorBranch(ToneColorFactor):
    """The tone-colour branch alone (table III)."""

    name: ClassVar[str] = "Tone color branch"
    inputs: ClassVar[str] = "audio"


@dataclass(frozen=True, kw_only=True)
class SymbolicHarmony(SelfAttentive, SymbolicFactor, HarmonyFactor):
    """Ours: without the tone-colour branch."""

    name: ClassVar[str] = "Symbolic + harmony"


@dataclass(frozen=True, kw_only=True)
class SymbolicToneColor(SelfAttentive, SymbolicFactor, ToneColorFactor):
    """Ours: without the harmony branch."""

    name: ClassVar[str] = "Symbolic + tone color"


@dataclass(frozen=True, kw_only=True)
class HarmonyToneColor(SelfAttentive, HarmonyFactor, ToneColorFactor):
    """Ours: without the symbolic branch."""

    name: ClassVar[str] = "Harmony + tone color"
    inputs: ClassVar[str] = "audio"


def attention_weights(fitted: FittedNetwork, clips: Sequence[Clip]) -> pd.DataFrame:
    """What the self-attention of a fitted system looks at, factor by factor.

    Parameters
    ----------
    fitted : FittedNetwork
    clips : sequence of Clip

    Returns
    -------
    pd.DataFrame
        Columns id, head (from 1), from (the factor that attends), to (the factor attended to) and
        weight: the mean over the windows of the clip. For each id, head and from, the weights add
        up to 1.

    Raises
    ------
    ParameterError
        If the system has no self-attention.
    """
    system, network = _attentive(fitted)
    values = _window_means(
        fitted, clips, lambda *inputs: network.attention_weights(*inputs).float().flatten(1)
    )
    factors = list(network.branches)
    index = pd.MultiIndex.from_product(
        [[clip.id for clip in clips], range(1, system.heads + 1), factors, factors],
        names=["id", "head", "from", "to"],
    )
    return index.to_frame(index=False).assign(weight=values.ravel())


def factor_means(fitted: FittedNetwork, clips: Sequence[Clip]) -> np.ndarray:
    """Mean feature of each factor over clips, each the mean over its windows.

    Parameters
    ----------
    fitted : FittedNetwork
        With self-attention.
    clips : sequence of Clip

    Returns
    -------
    np.ndarray, shape (n_factors, width)
        As the self-attention gets them.

    Raises
    ------
    ParameterError
        As `attention_weights`.
    """
    system, network = _attentive(fitted)
    values = _window_means(
        fitted, clips, lambda *inputs: network.factors(*inputs).float().flatten(1)
    )
    means: np.ndarray = values.mean(axis=0).reshape(-1, system.width)
    return means


NOTHING = "nothing"
"""Removed: the system answers as it always does."""


def answers_without(
    fitted: FittedNetwork, clips: Sequence[Clip], means: np.ndarray
) -> pd.DataFrame:
    """What a fitted system answers where one factor tells nothing of the clip.

    Parameters
    ----------
    fitted : FittedNetwork
        With self-attention.
    clips : sequence of Clip
    means : np.ndarray, shape (n_factors, width)
        From `factor_means` over training clips: takes the place of the factor's feature, before
        the self-attention.

    Returns
    -------
    pd.DataFrame
        Columns id, removed (`NOTHING` or the factor), p_1 ... p_k (mean over the windows).

    Raises
    ------
    ParameterError
        As `attention_weights`.
    """
    _, network = _attentive(fitted)
    removed = [NOTHING, *network.branches]

    def probabilities(*inputs: Tensor) -> Tensor:
        features = network.factors(*inputs)
        typical = torch.from_numpy(means).to(features)
        variants = [features]
        for number in range(len(network.branches)):
            variants.append(features.clone())
            variants[-1][:, number] = typical[number]
        told = [torch.softmax(network.logits(v).float(), dim=1) for v in variants]
        return torch.stack(told, dim=1).flatten(1)

    values = _window_means(fitted, clips, probabilities)
    index = pd.MultiIndex.from_product([[c.id for c in clips], removed], names=["id", "removed"])
    columns = [f"p_{k + 1}" for k in range(fitted.n_classes)]
    frame = pd.DataFrame(values.reshape(-1, fitted.n_classes), columns=columns)
    return pd.concat([index.to_frame(index=False), frame], axis=1)


def _attentive(fitted: FittedNetwork) -> tuple[SelfAttentive, multifaceted.Multifaceted]:
    system, network = fitted.system, fitted.network
    if not isinstance(system, SelfAttentive):
        raise ParameterError(f"{system.name!r} has no self-attention to show")
    assert isinstance(network, multifaceted.Multifaceted)
    network.eval()
    return system, network


def _window_means(
    fitted: FittedNetwork, clips: Sequence[Clip], values_of: Callable[..., Tensor]
) -> np.ndarray:
    """Mean over each clip's windows of what comes out for the inputs of the branches."""
    system = fitted.system

    def of_batch(inputs: tuple[Tensor, ...]) -> Tensor:
        with autocast(fitted.device):
            return values_of(*(x.to(fitted.device) for x in inputs))

    return system.window_means(system.items(clips, training=False), of_batch)
