"""A first convolution block without its full-size output.

Convolution, batch norm, ELU and max-pooling of an input that needs no gradient: in a VGG-style
network on spectrograms most of the time goes into passes over the full-size output of the first
convolution. None is needed. Batch norm and ELU only grow (or only fall) with their input, so the
largest value of a pooling cell before them is the largest after them; and mean and variance of the
output follow from those of the 3x3 patches of the input, which stay the same from epoch to epoch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

_KERNEL = 3
_PADDING = 1


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
    """For each place within a pooling cell the input that a convolution in steps of cells needs."""
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

    Equal to `nn.Sequential(Conv2d(..., padding=1), BatchNorm2d, ELU, MaxPool2d)` up to rounding,
    in training and in evaluation mode. Two things are better: the bias of the convolution, which
    batch norm takes out again, gets no gradient of mere rounding errors, and mean and variance
    are not those of rounded outputs.

    Parameters
    ----------
    channels_in, channels_out : int
    pool : tuple of int
        Height and width of a pooling cell.
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
            mean = self._running_mean - self._bias
            variance = self._running_variance
        scale = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
        # Where the batch norm falls, its largest output comes from the least convolution.
        sign = torch.where(self.norm.weight < 0, -1.0, 1.0)
        largest = _PooledConvolution.apply(x, weight * sign.view(-1, 1, 1, 1), self.pool)
        shift = self.norm.bias - mean * scale
        return functional.elu(_affine(largest, sign * scale, shift))

    @property
    def _bias(self) -> Tensor:
        bias = self.convolution.bias
        assert bias is not None
        return bias

    @property
    def _running_mean(self) -> Tensor:
        mean = self.norm.running_mean
        assert mean is not None
        return mean

    @property
    def _running_variance(self) -> Tensor:
        variance = self.norm.running_var
        assert variance is not None
        return variance

    def _batch_statistics(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (without the bias) and variance of the convolution's output, by channel."""
        joint = moments.float().mean(dim=0)
        weight = self.convolution.weight.flatten(1)
        mean = weight @ joint[0, 1:]
        covariance = joint[1:, 1:] - torch.outer(joint[0, 1:], joint[0, 1:])
        return mean, ((weight @ covariance) * weight).sum(dim=1).clamp(min=0)

    def _update(self, mean: Tensor, variance: Tensor, count: int) -> None:
        momentum = self.norm.momentum
        assert momentum is not None
        with torch.no_grad():
            self._running_mean.lerp_(mean + self._bias, momentum)
            self._running_variance.lerp_(variance * count / max(count - 1, 1), momentum)


def _affine(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """`x * scale + shift` by channel, in one pass that does not leave the data type of `x`."""
    zero, one = torch.zeros_like(shift), torch.ones_like(shift)
    return functional.batch_norm(x, zero, one, scale, shift, training=False, eps=0.0)
