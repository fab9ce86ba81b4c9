"""EmoMucs (de Berardinis et al. 2020): networks on the mix and on its sources, and their fusion.

Learning rate and batch size are those of the example in the published code, since the text gives
none. In that code a frozen source model still updates its batch statistics and drops units; here
it does neither, so its features of a clip are computed once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mer.clips import Corpus
from mer.errors import ParameterError
from mer.models import emomucs
from mer.models.emomucs import Level
from mer.systems.base import Context, System
from mer.systems.regression import regression_task
from mer.systems.source_models import (
    FittedFusion,
    FittedRegressor,
    SourceModels,
    keep,
    predict_batches,
    source_model_key,
)
from mer.systems.sources import MIX, SOURCES, Excerpts
from mer.systems.variants import emomucs_name, source_name, unified_name
from mer.training import supervised
from mer.training.supervised import History, RegressionScore, TrainingOptions, resolve_device

Architecture = Literal["C1D", "C2D"]
Source = Literal["mix", "vocals", "bass", "drums", "other"]


@dataclass(frozen=True, kw_only=True)
class RegressionNetwork(TrainingOptions, Excerpts, System):
    """Trains on one excerpt of every clip and stops on the validation RMSE.

    Attributes
    ----------
    architecture : {"C1D", "C2D"}
    dropout : float
        In the networks on the sources; the head of a fusion has .3.
    """

    inputs: ClassVar[str] = "audio"
    regression: ClassVar[bool] = True
    architecture: Architecture
    dropout: float
    epochs: int = 1000
    batch_size: int = 64
    learning_rate: float = 0.005
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "plateau"] = "constant"

    def __post_init__(self) -> None:
        TrainingOptions.__post_init__(self)
        Excerpts.__post_init__(self)

    @property
    @abstractmethod
    def inputs_used(self) -> tuple[str, ...]:
        """The mix or the sources that the network takes, in order."""

    @abstractmethod
    def network(self) -> emomucs.SourceModel | emomucs.EmoMucs:
        """A network with fresh parameters."""

    @property
    def revisions(self) -> dict[str, int]:
        """Excerpts, separation and model."""
        return {**self.excerpt_revisions(self.inputs_used), "emomucs": emomucs.REVISION}

    def inputs_of(self, corpus: Corpus) -> np.ndarray:
        """Spectrograms in dB, shape (n_clips, n_inputs, 96, n_frames), float16."""
        return self.log_mels(corpus, self.inputs_used)

    def source_model(self, n_inputs: int = 1) -> emomucs.SourceModel:
        """A network of this architecture with fresh parameters."""
        model = emomucs.C1D if self.architecture == "C1D" else emomucs.C2D
        return model(n_frames=self.n_frames, n_inputs=n_inputs, dropout=self.dropout)

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedRegressor:
        """Train the whole network from fresh parameters."""
        network = self.fresh_network(train, context)
        log_mels = torch.from_numpy(self.inputs_of(train))
        network.fit_scale(log_mels)
        x = network.standardise(log_mels)
        del log_mels
        history = self._train_whole(network, x, train, valid, context)
        dimensions = regression_task(self, context).dimensions
        return FittedRegressor(self, network, dimensions, history.epochs)

    def fresh_network(
        self, train: Corpus, context: Context
    ) -> emomucs.SourceModel | emomucs.EmoMucs:
        """A network that answers with the mean label of the training clips, from the seed.

        Raises
        ------
        ParameterError
            If the task has classes.
        """
        targets = regression_task(self, context).targets(train)
        supervised.seed_everything(context.seed)
        network = self.network()
        emomucs.start_at(network.last_layers, torch.from_numpy(targets.mean(axis=0)))
        return network

    def _train_whole(
        self,
        network: emomucs.SourceModel | emomucs.EmoMucs,
        x: Tensor,
        train: Corpus,
        valid: Corpus,
        context: Context,
    ) -> History:
        x_valid = network.standardise(torch.from_numpy(self.inputs_of(valid)))
        inputs = (x, network.input_moments(x))
        return train_regression(self, network, inputs, x_valid, (train, valid), context)


def train_regression(
    options: RegressionNetwork,
    network: nn.Module,
    inputs: tuple[Tensor, ...],
    x_valid: Tensor,
    corpora: tuple[Corpus, Corpus],
    context: Context,
) -> History:
    """Train a network on the mean squared error, stopping on the validation RMSE.

    Parameters
    ----------
    options : RegressionNetwork
    network : nn.Module
        Trained in place.
    inputs : tuple of Tensor, shapes (n_train, ...)
        Arguments of the network.
    x_valid : Tensor, shape (n_valid, ...)
        The first of them, for the validation clips.
    corpora : tuple of Corpus
        Training and validation clips.
    context : Context

    Raises
    ------
    ParameterError
        If the task has classes.
    """
    task = regression_task(options, context)
    targets = torch.from_numpy(task.targets(corpora[0])).float()
    valid_targets = task.targets(corpora[1])

    def batches(rng: np.random.Generator) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        for chosen in batch_indices(len(targets), options.batch_size, rng):
            yield tuple(tensor[chosen] for tensor in inputs), targets[chosen]

    def validate(model: nn.Module) -> RegressionScore:
        errors = predict_batches(model, x_valid) - valid_targets
        return RegressionScore(rmse=float(np.sqrt(np.mean(errors**2))))

    return supervised.train(
        network,
        batches,
        validate,
        options,
        loss=nn.functional.mse_loss,
        seed=context.seed,
        device=resolve_device(context.device),
        checkpoint=context.checkpoint,
        progress=context.progress,
    )


def batch_indices(n: int, batch_size: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Indices of one epoch in random order; a last batch of one joins the batch before it."""
    order = torch.from_numpy(rng.permutation(n))
    starts = list(range(0, n, batch_size))
    if n > 1 and n - starts[-1] == 1 and len(starts) > 1:
        starts.pop()
    for start, stop in zip(starts, [*starts[1:], n], strict=True):
        yield order[start:stop]


@dataclass(frozen=True, kw_only=True)
class SourceNetwork(RegressionNetwork):
    """A network on the mix or on one source (table 1), such as "C2D-V".

    What is trained on a source is kept in the cache, for the fusions that start from it.

    Attributes
    ----------
    source : {"mix", "vocals", "bass", "drums", "other"}
    """

    source: Source

    @property
    def name(self) -> str:  # type: ignore[override]
        """As in the paper's table 1."""
        return source_name(self.architecture, self.source)

    @property
    def inputs_used(self) -> tuple[str, ...]:
        """The one input."""
        return (self.source,)

    def network(self) -> emomucs.SourceModel:
        """A network with fresh parameters."""
        return self.source_model()

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedRegressor:
        """Train the network from fresh parameters."""
        fitted = super().fit(train, valid, context)
        if self.source != MIX:
            keep(source_model_key(self, train, valid, context), fitted)
        return fitted


@dataclass(frozen=True, kw_only=True)
class UnifiedNetwork(RegressionNetwork):
    """One network with the four sources as its channels."""

    @property
    def name(self) -> str:  # type: ignore[override]
        """Architecture and "unified"."""
        return unified_name(self.architecture)

    @property
    def inputs_used(self) -> tuple[str, ...]:
        """All sources."""
        return SOURCES

    def network(self) -> emomucs.SourceModel:
        """A network with fresh parameters."""
        return self.source_model(len(SOURCES))


@dataclass(frozen=True, kw_only=True)
class FullFusion(RegressionNetwork):
    """Source models and head, trained together from the start (training "full").

    Attributes
    ----------
    fusion : {"early", "mid", "late"}
    sources : tuple of str
        In the order vocals, bass, drums, other.
    """

    training: ClassVar[str] = "full"
    fusion: Level
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sources or self.sources != tuple(s for s in SOURCES if s in self.sources):
            raise ParameterError(
                f"sources are {self.sources}; expected some of {SOURCES}, each once, in this order"
            )

    @property
    def name(self) -> str:  # type: ignore[override]
        """Architecture, fusion, training and, unless all are used, sources."""
        return emomucs_name(self.architecture, self.fusion, self.training, self.sources)

    @property
    def inputs_used(self) -> tuple[str, ...]:
        """The sources."""
        return self.sources

    def network(self) -> emomucs.EmoMucs:
        """A network with fresh parameters."""
        return emomucs.EmoMucs([self.source_model() for _ in self.sources], self.fusion)


@dataclass(frozen=True, kw_only=True)
class FrozenFusion(FullFusion):
    """A head on the features of source models that stay as they were (training "freeze").

    The source models are those of the systems on single sources with the same clips and seed.
    `epochs`, `patience`, `batch_size`, `learning_rate` and `schedule` are those of the head.

    Attributes
    ----------
    source_epochs, source_patience, source_batch_size : int
    source_learning_rate : float
    source_schedule : {"constant", "cosine", "plateau"}
        How the source models are trained.
    """

    training: ClassVar[str] = "freeze"
    source_epochs: int = 1000
    source_patience: int = 20
    source_batch_size: int = 64
    source_learning_rate: float = 0.005
    source_schedule: Literal["constant", "cosine", "plateau"] = "constant"

    def source_system(self, source: str) -> SourceNetwork:
        """The system on one source whose trained network is taken."""
        excerpts = {
            name: getattr(self, name)
            for name in ("separator", "seconds", "sample_rate", "n_fft", "hop_length")
        }
        return SourceNetwork(
            architecture=self.architecture,
            source=source,  # type: ignore[arg-type]
            dropout=self.dropout,
            epochs=self.source_epochs,
            patience=self.source_patience,
            batch_size=self.source_batch_size,
            learning_rate=self.source_learning_rate,
            schedule=self.source_schedule,
            **excerpts,
        )

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedRegressor:
        """Train the head on cached features."""
        return self._fit_head(train, valid, context)

    def _fit_head(self, train: Corpus, valid: Corpus, context: Context) -> FittedFusion:
        dimensions = regression_task(self, context).dimensions
        systems = [self.source_system(source) for source in self.sources]
        models = SourceModels(systems, train, valid, replace(context, checkpoint=None))
        network = self.fresh_network(train, context)
        assert isinstance(network, emomucs.EmoMucs)
        for model, fitted in zip(network.sources, models.fitted, strict=True):
            model.load_state_dict(fitted.network.state_dict())
        x, x_valid = (
            torch.from_numpy(models.features(part, self.fusion)).float() for part in (train, valid)
        )
        # A head takes seconds: a checkpoint after every epoch would take longer.
        alone = replace(context, checkpoint=None)
        history = train_regression(self, network.head, (x,), x_valid, (train, valid), alone)
        return FittedFusion(self, network.eval(), dimensions, history.epochs, models)


@dataclass(frozen=True, kw_only=True)
class FinetunedFusion(FrozenFusion):
    """As `FrozenFusion`, and then everything is trained on at a small rate ("finetune").

    That the head is trained first is our choice: at a rate small enough for the source models to
    keep what they know, a fresh head would learn next to nothing.

    Attributes
    ----------
    finetune_epochs, finetune_batch_size : int
    finetune_learning_rate : float
        Of the second stage.
    """

    training: ClassVar[str] = "finetune"
    finetune_epochs: int = 1000
    finetune_batch_size: int = 64
    finetune_learning_rate: float = 0.0005

    def fit(self, train: Corpus, valid: Corpus, context: Context) -> FittedRegressor:
        """Train the head, then the whole network."""
        first = self._fit_head(train, valid, context)
        network = first.network
        second = replace(
            self,
            epochs=self.finetune_epochs,
            batch_size=self.finetune_batch_size,
            learning_rate=self.finetune_learning_rate,
        )
        x = network.standardise(torch.from_numpy(self.inputs_of(train)))
        history = second._train_whole(network, x, train, valid, context)
        return FittedRegressor(self, network, first.dimensions, history.epochs)
