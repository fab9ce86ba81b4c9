"""Trained networks of valence and arousal, and those on single sources that fusions start from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from mer.clips import Corpus
from mer.features.cache import content_digest, source_of
from mer.files import atomic_folder, atomic_path
from mer.models.emomucs import EmoMucs, FusionHead, Level, SourceModel
from mer.paths import cache_folder
from mer.systems.base import Context, Fitted, read_settings, write_settings
from mer.systems.regression import dimension_frame
from mer.training import supervised

if TYPE_CHECKING:
    from mer.systems.deberardinis2020 import RegressionNetwork, SourceNetwork

_BATCH = 64


class FittedRegressor(Fitted):
    """A trained network with the system that it belongs to.

    Attributes
    ----------
    system : RegressionNetwork
    network : SourceModel or EmoMucs
    dimensions : tuple of str
        What it predicts.
    """

    def __init__(
        self,
        system: RegressionNetwork,
        network: SourceModel | EmoMucs,
        dimensions: tuple[str, ...],
        history: list[dict[str, float]],
    ) -> None:
        self.system = system
        self.network = network
        self.dimensions = dimensions
        self.history = history

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, valence, arousal."""
        values = self.predict_log_mels(self.system.inputs_of(corpus))
        return dimension_frame(corpus, self.dimensions, values)

    def predict_log_mels(self, log_mels: np.ndarray) -> np.ndarray:
        """Valence and arousal, shape (n_clips, 2), of spectrograms as the system makes them.

        Parameters
        ----------
        log_mels : np.ndarray, shape (n_clips, n_inputs, 96, n_frames)
            In dB, as from `RegressionNetwork.inputs_of`; some sources may have been replaced.
        """
        x = self.network.standardise(torch.from_numpy(log_mels))
        return predict_batches(self.network, x)

    def features(self, corpus: Corpus, level: Level) -> np.ndarray:
        """Features of a network on one input at a level, shape (n_clips, n_features)."""
        network = self.network
        assert isinstance(network, SourceModel)
        x = network.standardise(torch.from_numpy(self.system.inputs_of(corpus)))
        return predict_batches(_Features(network, level).eval(), x)

    def save(self, folder: Path) -> None:
        """Write the parameters (`network.pt`, tensors only) and the settings."""
        settings = {
            "system": self.system.name,
            "parameters": self.system.parameters,
            "dimensions": list(self.dimensions),
            "history": self.history,
        }
        write_settings(folder, settings)
        torch.save(self.network.state_dict(), folder / "network.pt")

    @classmethod
    def load(cls, folder: Path) -> FittedRegressor:
        """Read what `save` wrote."""
        from mer.systems import get_system
        from mer.systems.deberardinis2020 import RegressionNetwork

        settings = read_settings(folder)
        system = get_system(settings["system"], settings["parameters"])
        assert isinstance(system, RegressionNetwork)
        network = system.network()
        parameters = torch.load(folder / "network.pt", map_location="cpu", weights_only=True)
        network.load_state_dict(parameters)
        network.eval()
        dimensions = tuple(settings["dimensions"])
        return FittedRegressor(system, network, dimensions, settings["history"])


class _Features(nn.Module):
    """A network that gives its features."""

    def __init__(self, network: SourceModel, level: Level) -> None:
        super().__init__()
        self.network = network
        self.level: Level = level

    def forward(self, x: Tensor) -> Tensor:
        return self.network.features(x, level=self.level)


def predict_batches(network: nn.Module, x: Tensor) -> np.ndarray:
    """Output of a network, shape (n, ...), for inputs of any number."""
    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode():
        parts = [supervised.forward(network, batch, device).cpu() for batch in x.split(_BATCH)]
    return torch.cat(parts).numpy().astype(float)


class SourceModels:
    """Trained networks on single sources, kept in the cache, with their features of clips.

    Parameters
    ----------
    systems : sequence of SourceNetwork
    train, valid : Corpus
    context : Context
        The task, seed and device of the fusion that needs them.
    """

    def __init__(
        self, systems: Sequence[SourceNetwork], train: Corpus, valid: Corpus, context: Context
    ) -> None:
        self.keys = [source_model_key(s, train, valid, context) for s in systems]
        self.fitted = [
            _found_or_fitted(key, system, train, valid, context)
            for key, system in zip(self.keys, systems, strict=True)
        ]

    def features(self, corpus: Corpus, level: Level) -> np.ndarray:
        """Joined features, shape (n_clips, n_features), float64, cached."""
        clips = _digest([[clip.id, content_digest(source_of(clip, "audio"))] for clip in corpus])
        parts = []
        for key, fitted in zip(self.keys, self.fitted, strict=True):
            path = _folder(key) / f"{level}-{clips[:32]}.npy"
            if not path.is_file():
                with atomic_path(path) as temporary, temporary.open("wb") as file:
                    np.save(file, fitted.features(corpus, level))
            parts.append(np.load(path))
        return np.concatenate(parts, axis=1)


class FittedFusion(FittedRegressor):
    """A trained head on frozen source models, which reads their cached features."""

    def __init__(
        self,
        system: RegressionNetwork,
        network: EmoMucs,
        dimensions: tuple[str, ...],
        history: list[dict[str, float]],
        models: SourceModels,
    ) -> None:
        super().__init__(system, network, dimensions, history)
        self.head: FusionHead = network.head
        self.fusion: Level = network.fusion
        self.models = models

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Columns id, valence, arousal."""
        features = torch.from_numpy(self.models.features(corpus, self.fusion)).float()
        return dimension_frame(corpus, self.dimensions, predict_batches(self.head, features))


def source_model_key(system: SourceNetwork, train: Corpus, valid: Corpus, context: Context) -> str:
    """SHA-256 (hexadecimal) over everything that the trained network depends on."""
    clips = [
        [[c.id, content_digest(source_of(c, "audio"))] for c in part] for part in (train, valid)
    ]
    targets = [context.task.targets(part).tolist() for part in (train, valid)]
    facts = [system.name, system.parameters, system.revisions, context.seed]
    return _digest([*facts, context.task.name, clips, targets])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _folder(key: str) -> Path:
    return cache_folder() / "source-models" / key[:2] / key[:32]


def keep(key: str, fitted: FittedRegressor) -> None:
    """Put a trained network into the cache; it appears whole or not at all."""
    with atomic_folder(_folder(key)) as temporary:
        fitted.save(temporary)


def _found_or_fitted(
    key: str, system: SourceNetwork, train: Corpus, valid: Corpus, context: Context
) -> FittedRegressor:
    """The network from the cache, or trained and put there; one process at a time trains it."""
    from filelock import FileLock

    folder = _folder(key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if (folder / "network.pt").is_file():
            try:
                return FittedRegressor.load(folder)
            except Exception:  # torch raises RuntimeError, EOFError and others by cause
                shutil.rmtree(folder)
        checkpoint = cache_folder() / "checkpoints" / f"source-{key[:32]}.pt"
        alone = Context(context.task, context.seed, context.device, checkpoint, context.progress)
        return system.fit(train, valid, alone)
