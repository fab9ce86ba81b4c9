"""Onsets and Frames with features shared between pitches and fused between heads."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

REVISION = 1
"""Raised whenever the network computes something else."""

_PITCHES = 88
_BANDS_PER_SEMITONE = 3
HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12)
_DILATIONS = (1, 2, 4)
_LEVEL_SCALE = 50.0
_WINDOWS = 2
"""Spectra side by side."""

REACH = 2 + 3 * (1 + sum(_DILATIONS))
"""Frames: two layers of the stem, and the longest way through three stacks."""


HEADS = ("onset", "offset", "frame", "velocity")


class OnsetsFrames(nn.Module):
    """Levels of log-frequency bands to onsets, offsets, sounding frames and velocities.

    As in Onsets and Frames, each head has a convolutional stack and the onsets inform the frames.
    As in its refined version, the features of a stack are passed on, not its outputs:
    those of the onsets to all other heads, those of the offsets to the frames. Two things differ
    from both: the bands at the harmonics of a pitch are its input channels, so that all pitches
    share all weights; and dilated convolutions take the place of recurrent layers, so that the
    receptive field is finite and a long recording can be transcribed piece by piece with the same
    result as at once.

    The output at a frame depends on no more than `REACH` frames before and behind it.

    `channels` are those of every stack.

    References
    ----------
    Hawthorne et al.: Onsets and Frames: Dual-Objective Piano Transcription. ISMIR (2018).
    Zhao et al.: Improving Automatic Piano Transcription by Refined Feature Fusion and Weighted
    Loss. SOMI (2022).
    Bittner et al.: A Lightweight Instrument-Agnostic Model for Polyphonic Note Transcription and
    Multipitch Estimation. ICASSP (2022), for the harmonic channels.
    """

    def __init__(self, *, channels: int = 32) -> None:
        super().__init__()
        n_inputs = _WINDOWS * _BANDS_PER_SEMITONE * len(HARMONICS)
        self.stem = nn.Sequential(
            _convolution(n_inputs, 2 * channels, (3, 3)),
            _convolution(2 * channels, channels, (3, 3)),
        )
        self.onset = _Stack(channels, channels)
        self.offset = _Stack(2 * channels, channels)
        self.frame = _Stack(3 * channels, channels)
        self.velocity = _Stack(2 * channels, channels)
        self.heads = nn.ModuleDict({name: nn.Conv2d(channels, 1, 1) for name in HEADS})

    def forward(self, levels: Tensor) -> Tensor:
        """Logits of the four heads.

        Parameters
        ----------
        levels : Tensor, shape (batch, 2, n_bands, frames)
            In steps of 0.5 dB above the floor; band 1 is the centre of the lowest pitch.

        Returns
        -------
        Tensor, shape (batch, 4, n_pitches, frames)
            In the order of `HEADS`.
        """
        shared = self.stem(self.harmonic_channels(levels))
        onset = self.onset(shared)
        offset = self.offset(torch.cat([shared, onset], dim=1))
        frame = self.frame(torch.cat([shared, onset, offset], dim=1))
        velocity = self.velocity(torch.cat([shared, onset], dim=1))
        features = (onset, offset, frame, velocity)
        return torch.cat(
            [self.heads[name](part) for name, part in zip(HEADS, features, strict=True)], dim=1
        )

    def harmonic_channels(self, levels: Tensor) -> Tensor:
        """Bands at the harmonics of each pitch: (batch, channels, n_pitches, frames).

        Bands above the highest and below the lowest one are silent.
        """
        per_octave = 12 * _BANDS_PER_SEMITONE
        shifts = [round(per_octave * np.log2(harmonic)) for harmonic in HARMONICS]
        n_bands = _PITCHES * _BANDS_PER_SEMITONE
        below = -min(shifts)
        above = max(max(shifts) + n_bands - levels.shape[2], 0)
        padded = nn.functional.pad(levels / _LEVEL_SCALE, (0, 0, below, above))
        parts = [padded[:, :, below + shift : below + shift + n_bands] for shift in shifts]
        stacked = torch.stack(parts, dim=2)
        folded = stacked.unflatten(3, (_PITCHES, _BANDS_PER_SEMITONE))
        return folded.permute(0, 1, 2, 4, 3, 5).flatten(1, 3)


class _Stack(nn.Module):
    """A convolution over all inputs, then dilated ones, whose dilation doubles in each layer."""

    def __init__(self, n_inputs: int, channels: int) -> None:
        super().__init__()
        self.entry = _convolution(n_inputs, channels, (3, 3))
        self.layers = nn.ModuleList(
            _convolution(channels, channels, (3, 3), dilation) for dilation in _DILATIONS
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.entry(x)
        for layer in self.layers:
            x = x + layer(x)
        return x


def _convolution(
    n_inputs: int, n_outputs: int, kernel: tuple[int, int], dilation: int = 1
) -> nn.Sequential:
    padding = (kernel[0] // 2, dilation * (kernel[1] // 2))
    return nn.Sequential(
        nn.Conv2d(n_inputs, n_outputs, kernel, padding=padding, dilation=(1, dilation), bias=False),
        nn.BatchNorm2d(n_outputs),
        nn.ReLU(),
    )
