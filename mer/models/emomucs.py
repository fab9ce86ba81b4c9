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
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from mer.errors import ParameterError
from mer.models.layers import classifier

REVISION = 1

N_MELS = 96
N_OUTPUTS = 2
"""Valence and arousal."""

Level = Literal["early", "mid", "late"]
"""Features after the convolutions, after the first dense layer, or the two answers."""

_SMALLEST_DEVIATION = 1.0
"""In dB: what is as good as constant, such as a source that is silent, is not blown up."""

_KERNEL, _PADDING = 3, 1

# Of the time axis, for clips of 1,360 frames (Choi et al.).
_TIME_POOLS = (4, 4, 5, 4, 4)
_MEL_POOLS = (2, 3, 2, 2, 4)
_REFERENCE_FRAMES = 1360


def patch_moments(x: Tensor) -> Tensor:
    """First and second moments of the zero-padded 3x3 patches of each clip.

    Parameters
    ----------
    x : Tensor, shape (batch, channels, height, width)

    Returns
    -------
    Tensor, shape (batch, 1 + 9 * channels, 1 + 9 * channels), float32
        Mean over positions of the outer product of (1, patch) with itself.
    """
    moments = []
    for clip in x:
        patches = functional.unfold(clip.unsqueeze(0).float(), _KERNEL, padding=_PADDING)[0]
        rows = torch.cat([torch.ones_like(patches[:1]), patches])
        moments.append(rows @ rows.T / rows.shape[1])
    return torch.stack(moments)


class _PooledConvolution(torch.autograd.Function):
    """Largest output of a 3x3 convolution in each pooling cell; no gradient for the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, pool: tuple[int, int]) -> Tensor:
        kernel = weight.to(x.dtype).contiguous(memory_format=torch.channels_last)
        parts = _shifted(x, pool)
        best = functional.conv2d(parts[0], kernel, stride=pool)
        risen = []
        for part in parts[1:]:
            found = functional.conv2d(part, kernel, stride=pool)
            # Numbers instead of truth values: torch computes with them many times faster.
            risen.append(torch.gt(found, best, out=torch.empty_like(found)))
            best = torch.maximum(best, found)
        ctx.save_for_backward(x, weight, *risen)
        ctx.pool = pool
        return best

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, None]:
        x, weight, *risen = ctx.saved_tensors
        rest, total = gradients[0].to(x.dtype), torch.zeros_like(weight)
        first, *others = _shifted(x, ctx.pool)
        for part, mask in zip(reversed(others), reversed(risen), strict=True):
            share = rest * mask
            rest = rest - share
            total += conv2d_weight(part, weight.shape, share, stride=ctx.pool)
        return None, total + conv2d_weight(first, weight.shape, rest, stride=ctx.pool), None


def _shifted(x: Tensor, pool: tuple[int, int]) -> list[Tensor]:
    """Input of a convolution in steps of cells, for each position within a pooling cell."""
    height, width = x.shape[2] // pool[0], x.shape[3] // pool[1]
    padded = functional.pad(x, (_PADDING,) * 4)
    last = (pool[0] * (height - 1) + _KERNEL, pool[1] * (width - 1) + _KERNEL)
    return [
        padded[:, :, row : row + last[0], column : column + last[1]].contiguous(
            memory_format=torch.channels_last
        )
        for row in range(pool[0])
        for column in range(pool[1])
    ]


class FirstBlock(nn.Module):
    """3x3 convolution, batch norm, ELU and max-pooling of an input without gradient.

    In a VGG-style network on spectrograms most of the time goes into passes over the full-size
    output of the first convolution. None is needed: batch norm and ELU only grow (or only fall)
    with their input, so the largest value of a pooling cell before them is the largest after them;
    and mean and variance of the output follow from those of the 3x3 patches of the input, which
    stay the same from epoch to epoch.

    Equal to `nn.Sequential(Conv2d(..., padding=1), BatchNorm2d, ELU, MaxPool2d)` up to rounding,
    in training and in evaluation mode. Two things are better: the bias of the convolution, which
    batch norm takes out again, gets no gradient of mere rounding errors, and mean and variance
    are not those of rounded outputs. `pool` is height and width of a pooling cell.
    """

    def __init__(self, channels_in: int, channels_out: int, pool: tuple[int, int]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels_out, _KERNEL, padding=_PADDING)
        self.norm = nn.BatchNorm2d(channels_out)
        self.pool = pool

    def forward(self, x: Tensor, moments: Tensor | None = None) -> Tensor:
        """Shape (batch, channels_in, height, width) to (batch, channels_out, ...), pooled.

        `moments` are those of `patch_moments`; they are computed in training mode if left out,
        and not needed in evaluation mode.
        """
        kind = x.device.type
        x = x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x.float()
        weight = self.convolution.weight
        if self.training:
            moments = patch_moments(x) if moments is None else moments
            mean, variance = self._batch_statistics(moments)
            self._update(mean.detach(), variance.detach(), x[:, 0].numel())
        else:
            mean = self.norm.get_buffer("running_mean") - self.convolution.get_parameter("bias")
            variance = self.norm.get_buffer("running_var")
        scale = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
        # Where the batch norm falls, its largest output comes from the least convolution.
        sign = torch.where(self.norm.weight < 0, -1.0, 1.0)
        largest = _PooledConvolution.apply(x, weight * sign.view(-1, 1, 1, 1), self.pool)
        shift = self.norm.bias - mean * scale
        return functional.elu(_affine(largest, sign * scale, shift))

    def _batch_statistics(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (without the bias) and variance of the convolution's output, by channel."""
        joint = moments.float().mean(dim=0)
        weight = self.convolution.weight.flatten(1)
        mean = weight @ joint[0, 1:]
        covariance = joint[1:, 1:] - torch.outer(joint[0, 1:], joint[0, 1:])
        return mean, ((weight @ covariance) * weight).sum(dim=1).clamp(min=0)

    def _update(self, mean: Tensor, variance: Tensor, count: int) -> None:
        momentum, bias = self.norm.momentum, self.convolution.get_parameter("bias")
        assert momentum is not None
        with torch.no_grad():
            self.norm.get_buffer("running_mean").lerp_(mean + bias, momentum)
            unbiased = variance * count / max(count - 1, 1)
            self.norm.get_buffer("running_var").lerp_(unbiased, momentum)


def _affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """`x * scale + shift` by channel, in one pass that does not leave the data type of `x`."""
    zero, one = torch.zeros_like(shift), torch.ones_like(shift)
    return functional.batch_norm(x, zero, one, scale, shift, training=False, eps=0.0)


class SourceModel(nn.Module):
    """A network on one input, or on several as its channels.

    Attributes
    ----------
    sizes : dict of str to int
        Number of features at each level that the architecture has.
    output : nn.Sequential
        The last layers.
    """

    sizes: dict[Level, int]
    output: nn.Sequential
    mean: Tensor
    scale: Tensor

    def __init__(self, n_inputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_inputs, N_MELS, 1))
        self.register_buffer("scale", torch.ones(n_inputs, N_MELS, 1))

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
    def last_layers(self) -> nn.Sequential:
        """What gives the answer: dropout and dense layer."""
        return self.output

    def input_moments(self, x: Tensor) -> Tensor:
        """What `forward` needs beside its input, a row a clip, nothing by default.

        It may be computed once.
        """
        return torch.zeros(len(x), 0, device=x.device)

    @abstractmethod
    def forward(self, x: Tensor, moments: Tensor | None = None, *, level: Level = "late") -> Tensor:
        """Valence and arousal, shape (batch, 2), or features at a level, (batch, sizes[level])."""


class C1D(SourceModel):
    """Two convolutions over time and two dense layers; 86,354 parameters on 96 x 938.

    Parameters
    ----------
    n_frames : int
        Of the input, at least 51.
    n_inputs : int
    dropout : float
        Before each dense layer.
    """

    def __init__(self, *, n_frames: int, n_inputs: int = 1, dropout: float = 0.5) -> None:
        super().__init__(n_inputs)
        flat = 16 * (((n_frames - 7) // 4 - 7) // 4)
        if flat < 1:
            raise ParameterError(f"found {n_frames} frames; C1D needs at least 51: longer clips")
        self.convolutions = nn.Sequential(
            nn.Conv1d(n_inputs * N_MELS, 32, 8),
            nn.MaxPool1d(4),
            nn.BatchNorm1d(32),
            nn.Conv1d(32, 16, 8),
            nn.MaxPool1d(4),
            nn.BatchNorm1d(16),
            nn.Flatten(),
        )
        self.hidden = nn.Sequential(nn.Dropout(dropout), nn.Linear(flat, 64), nn.ReLU())
        self.output = nn.Sequential(nn.Dropout(dropout), nn.Linear(64, N_OUTPUTS))
        self.sizes = {"early": flat, "mid": 64, "late": N_OUTPUTS}

    def forward(self, x: Tensor, moments: Tensor | None = None, *, level: Level = "late") -> Tensor:
        """As `SourceModel.forward`."""
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
        super().__init__(n_inputs)
        pools = c2d_pools(n_frames)
        self.first = FirstBlock(n_inputs, 32, pools[0])
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Dropout(dropout),
                    nn.Conv2d(32, 32, 3, padding=1),
                    nn.BatchNorm2d(32),
                    nn.MaxPool2d(pool),
                    nn.ELU(),
                )
                for pool in pools[1:]
            )
        )
        self.output = nn.Sequential(nn.Dropout(dropout), nn.Linear(32, N_OUTPUTS))
        # There is no dense layer for mid fusion.
        self.sizes = {"early": 32, "late": N_OUTPUTS}

    def input_moments(self, x: Tensor) -> Tensor:
        """Moments of the patches that the first convolution sees; see `patch_moments`."""
        return patch_moments(x)

    def forward(self, x: Tensor, moments: Tensor | None = None, *, level: Level = "late") -> Tensor:
        """As `SourceModel.forward`."""
        if level not in self.sizes:
            raise ParameterError(f"C2D has no {level} features; it has: {', '.join(self.sizes)}")
        found = self.blocks(self.first(x, moments)).float().mean(dim=(2, 3))
        return in_full_precision(self.output, found) if level == "late" else found


def c2d_pools(n_frames: int) -> list[tuple[int, int]]:
    """Sizes of C2D's max-pooling, bands by frames, for a number of frames."""
    ratio = n_frames / _REFERENCE_FRAMES
    times = [max(round(size * ratio), 1) for size in _TIME_POOLS]
    return list(zip(_MEL_POOLS, times, strict=True))


class FusionHead(nn.Module):
    """Dropout, dense layer of 32, ReLU, dropout, dense layer to valence and arousal."""

    def __init__(self, n_features: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.layers = classifier(n_features, 32, N_OUTPUTS, dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Valence and arousal, shape (batch, 2), float32."""
        return in_full_precision(self.layers, features)


class InputsKeptHead(FusionHead):
    """A `FusionHead` without dropout of its inputs, which late fusion has two to eight of."""

    def __init__(self, n_features: int, dropout: float = 0.3) -> None:
        super().__init__(n_features, dropout)
        self.layers[0] = nn.Identity()


class EmoMucs(nn.Module):
    """Source models in parallel, their features joined and given to a head.

    Parameters
    ----------
    models : sequence of SourceModel
        Of one input each, in the order of the sources.
    fusion : {"early", "mid", "late"}
        Which features are joined; "mid" is for C1D alone.
    head : callable
        Called with the number of joined features; gives a network like `FusionHead`.

    Raises
    ------
    ParameterError
        If the architecture has no such features.
    """

    def __init__(
        self,
        models: Sequence[SourceModel],
        fusion: Level,
        *,
        head: Callable[[int], nn.Module] = FusionHead,
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
        self.head: Any = head(sum(model.sizes[fusion] for model in models))

    @property
    def last_layers(self) -> nn.Sequential:
        """Of the head."""
        layers: nn.Sequential = self.head.layers
        return layers

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
            model(x[:, k : k + 1], None if moments is None else moments[:, k], level=self.fusion)
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
    """Let a fresh network, whose last layers these are, give the same answer to everything.

    Its last, dense layer starts without weights and with the answer, shape (2,), such as the mean
    label, as bias; nothing else has to be unlearned first.
    """
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(answer)


def parameter_count(network: nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters())
