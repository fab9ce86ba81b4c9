"""Networks that see one window of a clip at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from mer.clips import Clip, Corpus
from mer.errors import InvalidDataError
from mer.systems.base import Context, Fitted, System, probabilities, read_settings, write_settings
from mer.training import supervised
from mer.training.supervised import Score, TrainingOptions, autocast, resolve_device
from mer.training.windows import prediction_batches, training_batches


@dataclass(frozen=True, kw_only=True)
class WindowedNetwork(TrainingOptions, System):
    """Trains on random windows of every clip, predicts the mean over all its windows.

    Attributes
    ----------
    window : int
        Longest window, in tokens or frames.
    """

    window: int

    @property
    def windows_per_epoch(self) -> int:
        """Random windows of each clip in an epoch."""
        return 1

    @abstractmethod
    def features(self, clip: Clip) -> np.ndarray:
        """Features of a clip, time on the last axis."""

    @abstractmethod
    def network(self, n_classes: int) -> nn.Module:
        """A network with fresh parameters."""

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedNetwork:
        """Train, stopping on the accuracy over validation clips (ties: the lower loss)."""
        supervised.seed_everything(context.seed)
        device = resolve_device(context.device)
        network = self.network(len(context.task.classes))
        items = [self._training_item(clip) for clip in train] * self.windows_per_epoch
        targets = np.tile(context.task.targets(train), self.windows_per_epoch)
        valid_items = [self.features(clip) for clip in valid]
        valid_targets = context.task.targets(valid)

        def score(model: nn.Module) -> Score:
            values = self.predict_items(model, valid_items, device)
            return _score(values, valid_targets)

        history = supervised.train(
            network,
            lambda rng: training_batches(
                items, targets, window=self.window, batch_size=self.batch_size, rng=rng
            ),
            score,
            self,
            seed=context.seed,
            device=device,
            checkpoint=context.checkpoint,
            progress=context.progress,
        )
        return FittedNetwork(self, network, device, history.epochs)

    def _training_item(self, clip: Clip) -> np.ndarray:
        item = self.features(clip)
        if item.shape[-1] < 2:
            raise InvalidDataError(
                f"clip {clip.id!r} has no notes; training needs some: leave it out"
            )
        return item

    def predict_items(
        self, network: nn.Module, items: Sequence[np.ndarray], device: torch.device
    ) -> np.ndarray:
        """Class probabilities, shape (n_items, n_classes): the mean over the windows of each."""
        network.eval()
        sums: np.ndarray | None = None
        counts = np.zeros(len(items))
        batches = prediction_batches(items, window=self.window, batch_size=2 * self.batch_size)
        with torch.inference_mode(), autocast(device):
            for inputs, owners in batches:
                logits = network(inputs.to(device)).float()
                values = torch.softmax(logits, dim=1).cpu().numpy().astype(float)
                sums = np.zeros((len(items), values.shape[1])) if sums is None else sums
                np.add.at(sums, owners, values)
                np.add.at(counts, owners, 1)
        assert sums is not None, "a corpus has at least one clip"
        return sums / counts[:, None]


def _score(values: np.ndarray, targets: np.ndarray) -> Score:
    chosen = values[np.arange(len(targets)), targets]
    loss = float(-np.log(np.maximum(chosen, 1e-12)).mean())
    return Score(accuracy=float((values.argmax(axis=1) == targets).mean()), loss=loss)


class FittedNetwork(Fitted):
    """A trained network with the system that it belongs to."""

    def __init__(
        self,
        system: WindowedNetwork,
        network: nn.Module,
        device: torch.device,
        history: list[dict[str, float]],
    ) -> None:
        self.system = system
        self.network = network
        self.device = device
        self.history = history

    def predict(self, corpus: Corpus) -> pd.DataFrame:
        """Class probabilities: columns id, p_1 ... p_k, the mean over the windows of each clip."""
        items = [self.system.features(clip) for clip in corpus]
        return probabilities(corpus, self.system.predict_items(self.network, items, self.device))

    def save(self, folder: Path) -> None:
        """Write the parameters (`network.pt`, tensors only) and the settings."""
        n_classes = list(self.network.parameters())[-1].shape[0]
        write_settings(
            folder,
            {
                "system": self.system.name,
                "parameters": self.system.parameters,
                "n_classes": n_classes,
                "history": self.history,
            },
        )
        torch.save(self.network.state_dict(), folder / "network.pt")

    @classmethod
    def load(cls, folder: Path) -> FittedNetwork:
        """Read what `save` wrote."""
        from mer.systems import get_system

        settings = read_settings(folder)
        system = get_system(settings["system"], settings["parameters"])
        assert isinstance(system, WindowedNetwork)
        network = system.network(settings["n_classes"])
        parameters = torch.load(folder / "network.pt", map_location="cpu", weights_only=True)
        network.load_state_dict(parameters)
        network.eval()
        return cls(system, network, torch.device("cpu"), settings["history"])
