"""EmoMucs: a network for each source of the music, and a head that fuses them.

All networks take standardised log-mel spectrograms, shape (batch, n_inputs, n_mels, n_frames), and
what `input_moments` makes of them, which spares C2D most of its first layer.

References
----------
de Berardinis et al.: The multiple voices of musical emotions. ISMIR 2020, section 3.2 and figure
2; C1D after Delbouys et al. (ISMIR 2018), C2D after Choi et al. (ISMIR 2017). Sizes that the text
leaves out are those with which the parameters of table 1 come out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mer.errors import ParameterError
from mer.models.pooled_convolution import FirstBlock, patch_moments

REVISION = 1

N_OUTPUTS = 2
"""Valence and arousal."""

Level = Literal["early", "mid", "late"]
"""Features after the convolutions, after the first dense layer, or the two answers."""

_SMALLEST_DEVIATION = 1.0
"""In dB: what is as good as constant, such as a source that is silent, is not blown up."""

# Of the time axis, for clips of 1,360 frames (Choi et al.).
_TIME_POOLS = (4, 4, 5, 4, 4)
_MEL_POOLS = (2, 3, 2, 2, 4)
_REFERENCE_FRAMES = 1360
_N_MELS = 96


class SourceModel(nn.Module):
    """A network on one input, or on several as its channels.

    Parameters
    ----------
    n_inputs, n_mels : int
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, n_inputs: int, n_mels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_inputs, n_mels, 1))
        self.register_buffer("scale", torch.ones(n_inputs, n_mels, 1))

    def fit_scale(self, log_mels: Tensor) -> None:
        """Take mean and deviation of each band from training clips in dB, over clips and time.

        Parameters
        ----------
        log_mels : Tensor, shape (n_clips, n_inputs, n_mels, n_frames)
        """
        means = torch.stack([clip.float().mean(dim=2) for clip in log_mels])
        squares = torch.stack([clip.float().square().mean(dim=2) for clip in log_mels])
        self.mean = means.mean(dim=0).unsqueeze(2)
        deviation = (squares.mean(dim=0).unsqueeze(2) - self.mean**2).clamp(min=0).sqrt()
        self.scale = 1 / deviation.clamp(min=_SMALLEST_DEVIATION)

    def standardise(self, log_mels: Tensor) -> Tensor:
        """Input of the network from spectrograms in dB, of the same shape, float16."""
        device = self.mean.device
        parts = [((clip.to(device).float() - self.mean) * self.scale).half() for clip in log_mels]
        return torch.stack(parts)

    @property
    @abstractmethod
    def last_layers(self) -> nn.Sequential:
        """What gives the answer."""

    @property
    @abstractmethod
    def sizes(self) -> dict[Level, int]:
        """Number of features at each level that the architecture has."""

    @abstractmethod
    def input_moments(self, x: Tensor) -> Tensor:
        """What `forward` needs beside its input, a row a clip; it may be computed once."""

    @abstractmethod
    def features(self, x: Tensor, moments: Tensor | None = None, *, level: Level) -> Tensor:
        """Features at a level, shape (batch, sizes[level])."""

    def forward(self, x: Tensor, moments: Tensor | None = None) -> Tensor:
        """Valence and arousal, shape (batch, 2)."""
        return self.features(x, moments, level="late")


class C1D(SourceModel):
    """Two convolutions over time and two dense layers; 86,354 parameters on 96 x 938.

    Parameters
    ----------
    n_frames : int
        Of the input, at least 51.
    n_inputs, n_mels : int
    dropout : float
        Before each dense layer.
    """

    def __init__(
        self, *, n_frames: int, n_inputs: int = 1, n_mels: int = _N_MELS, dropout: float = 0.5
    ) -> None:
        super().__init__(n_inputs, n_mels)
        flat = 16 * (((n_frames - 7) // 4 - 7) // 4)
        if flat < 1:
            raise ParameterError(f"found {n_frames} frames; C1D needs at least 51: longer clips")
        self.convolutions = nn.Sequential(
            nn.Conv1d(n_inputs * n_mels, 32, 8),
            nn.MaxPool1d(4),
            nn.BatchNorm1d(32),
            nn.Conv1d(32, 16, 8),
            nn.MaxPool1d(4),
            nn.BatchNorm1d(16),
            nn.Flatten(),
        )
        self.hidden = nn.Sequential(nn.Dropout(dropout), nn.Linear(flat, 64), nn.ReLU())
        self.output = nn.Sequential(nn.Dropout(dropout), nn.Linear(64, N_OUTPUTS))
        self._flat = flat

    @property
    def last_layers(self) -> nn.Sequential:
        """Dropout and dense layer."""
        return self.output

    @property
    def sizes(self) -> dict[Level, int]:
        """Number of features at each level."""
        return {"early": self._flat, "mid": 64, "late": N_OUTPUTS}

    def input_moments(self, x: Tensor) -> Tensor:
        """Nothing, shape (batch, 0)."""
        return torch.zeros(len(x), 0, device=x.device)

    def features(self, x: Tensor, moments: Tensor | None = None, *, level: Level) -> Tensor:
        """Features at a level, shape (batch, sizes[level])."""
        found: Tensor = self.convolutions(x.flatten(1, 2).float())
        if level in ("mid", "late"):
            found = self.hidden(found)
        return in_full_precision(self.output, found) if level == "late" else found.float()


class C2D(SourceModel):
    """Five blocks of 3x3 convolution, average pooling and one dense layer; 37,698 parameters.

    A block is convolution, batch norm, ELU, max-pooling and dropout. Pooling comes before the ELU
    here, which gives the same numbers with fewer of them, since the ELU only grows.

    Parameters
    ----------
    n_frames : int
        Of the input; the pooling of the time axis follows it.
    n_inputs : int
    dropout : float
        After each block and before the dense layer. The paper does not give it; 0 in its code.
    """

    def __init__(self, *, n_frames: int, n_inputs: int = 1, dropout: float = 0.0) -> None:
        super().__init__(n_inputs, _N_MELS)
        pools = c2d_pools(n_frames)
        self.first = FirstBlock(n_inputs, 32, pools[0])
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    _dropout(dropout),
                    nn.Conv2d(32, 32, 3, padding=1),
                    nn.BatchNorm2d(32),
                    nn.MaxPool2d(pool),
                    nn.ELU(),
                )
                for pool in pools[1:]
            )
        )
        self.output = nn.Sequential(_dropout(dropout), nn.Linear(32, N_OUTPUTS))

    @property
    def last_layers(self) -> nn.Sequential:
        """Dropout and dense layer."""
        return self.output

    @property
    def sizes(self) -> dict[Level, int]:
        """Number of features at each level; there is no dense layer for mid fusion."""
        return {"early": 32, "late": N_OUTPUTS}

    def input_moments(self, x: Tensor) -> Tensor:
        """Moments of the patches that the first convolution sees; see `patch_moments`."""
        return patch_moments(x)

    def features(self, x: Tensor, moments: Tensor | None = None, *, level: Level) -> Tensor:
        """Features at a level, shape (batch, sizes[level])."""
        if level not in self.sizes:
            raise ParameterError(f"C2D has no {level} features; it has: {', '.join(self.sizes)}")
        found = self.blocks(self.first(x, moments)).float().mean(dim=(2, 3))
        return in_full_precision(self.output, found) if level == "late" else found


def c2d_pools(n_frames: int) -> list[tuple[int, int]]:
    """Sizes of C2D's max-pooling, bands by frames, for a number of frames."""
    ratio = n_frames / _REFERENCE_FRAMES
    times = [max(round(size * ratio), 1) for size in _TIME_POOLS]
    return list(zip(_MEL_POOLS, times, strict=True))


def _dropout(probability: float) -> nn.Module:
    return nn.Dropout(probability) if probability else nn.Identity()


class FusionHead(nn.Module):
    """Dropout, dense layer of 32, ReLU, dropout, dense layer to valence and arousal.

    Parameters
    ----------
    n_features : int
    dropout : float
    """

    def __init__(self, n_features: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(n_features, 32),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(32, N_OUTPUTS),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Valence and arousal, shape (batch, 2), float32."""
        return in_full_precision(self.layers, features)


class EmoMucs(nn.Module):
    """Source models in parallel, their features joined and given to a head.

    Parameters
    ----------
    models : sequence of SourceModel
        Of one input each, in the order of the sources.
    fusion : {"early", "mid", "late"}
        Which features are joined; "mid" is for C1D alone.
    dropout : float
        In the head.

    Raises
    ------
    ParameterError
        If the architecture has no such features.
    """

    def __init__(
        self, models: Sequence[SourceModel], fusion: Level, *, dropout: float = 0.3
    ) -> None:
        super().__init__()
        for model in models:
            if fusion not in model.sizes:
                raise ParameterError(
                    f"{type(model).__name__} has no {fusion} features; "
                    f"it has: {', '.join(model.sizes)}"
                )
        self.fusion = fusion
        self.models = nn.ModuleList(models)
        self.head = FusionHead(sum(model.sizes[fusion] for model in models), dropout)

    @property
    def last_layers(self) -> nn.Sequential:
        """Of the head."""
        return self.head.layers

    @property
    def sources(self) -> list[SourceModel]:
        """The source models, in order."""
        return [model for model in self.models if isinstance(model, SourceModel)]

    def fit_scale(self, log_mels: Tensor) -> None:
        """As `SourceModel.fit_scale`, for every source."""
        for k, model in enumerate(self.sources):
            model.fit_scale(log_mels[:, k : k + 1])

    def standardise(self, log_mels: Tensor) -> Tensor:
        """As `SourceModel.standardise`, shape (n_clips, n_sources, n_mels, n_frames)."""
        parts = [m.standardise(log_mels[:, k : k + 1]) for k, m in enumerate(self.sources)]
        return torch.cat(parts, dim=1)

    def input_moments(self, x: Tensor) -> Tensor:
        """What `forward` needs beside its input, shape (batch, n_sources, ...)."""
        parts = [m.input_moments(x[:, k : k + 1]) for k, m in enumerate(self.sources)]
        return torch.stack(parts, dim=1)

    def forward(self, x: Tensor, moments: Tensor | None = None) -> Tensor:
        """Valence and arousal, shape (batch, 2), of inputs (batch, n_sources, n_mels, n_frames)."""
        features = [
            model.features(
                x[:, k : k + 1],
                None if moments is None else moments[:, k],
                level=self.fusion,
            )
            for k, model in enumerate(self.sources)
        ]
        answer: Tensor = self.head(torch.cat(features, dim=1))
        return answer


def in_full_precision(module: nn.Module, x: Tensor) -> Tensor:
    """Output of a module for float32 input, whatever autocast says; for the last layers."""
    with torch.autocast(x.device.type, enabled=False):
        output: Tensor = module(x.float())
    return output


def start_at(layers: nn.Sequential, answer: Tensor) -> None:
    """Let a fresh network give the same answer to everything, such as the mean label.

    Its last layer starts without weights; nothing else has to be unlearned first.

    Parameters
    ----------
    layers : nn.Sequential
        Ends in a dense layer.
    answer : Tensor, shape (2,)
    """
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(answer)


def parameter_count(network: nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters())
