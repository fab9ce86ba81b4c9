"""Training of the small separator on rendered stems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from mer.errors import InvalidDataError
from mer.evaluation.separation import separation_scores
from mer.separation import SOURCES
from mer.separation.demucs import SAMPLE_RATE
from mer.training import supervised
from mer.training.supervised import Batch, History, Score, TrainingOptions

_GAINS_DB = (-12.0, 6.0)
_REMIXED = 0.5
"""Part of the examples whose sources come from four pieces of music."""
_LEFT_OUT = 0.1
"""Probability that a source is left out of an example."""
_BAND_LIMITED = 0.4
"""Part of the examples without what lies above a random frequency, as in compressed audio."""
_CUTOFFS = (4000.0, 10000.0)


@dataclass(frozen=True, kw_only=True)
class SeparatorOptions(TrainingOptions):
    """How the separator is trained.

    Attributes
    ----------
    steps : int
        Batches of an epoch.
    window : int
        Samples of an example: about 4 s, a length that the network takes unpadded.
    """

    epochs: int = 15
    patience: int = 15
    batch_size: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    steps: int = 400
    window: int = 87380


def train_separator(
    network: nn.Module,
    train: Sequence[np.ndarray],
    valid: Sequence[np.ndarray],
    options: SeparatorOptions,
    *,
    device: torch.device,
    **training: Any,
) -> History:
    """Train on waveforms; restore the epoch with the best SI-SDR over validation mixes.

    The loss is the mean absolute error of all sources' samples; `valid_accuracy` is the mean SI-SDR
    in dB over the sources of all validation mixes, without silent ones.

    Parameters
    ----------
    network : nn.Module
        From `mer.separation.demucs.small_network`.
    train, valid : sequence of np.ndarray, shape (len(SOURCES), n_samples)
        Stems of each piece of music, at `SAMPLE_RATE`.
    **training
        As in `mer.training.supervised.train`.

    Raises
    ------
    InvalidDataError
        If no training piece is as long as a window.
    """
    long = [stems for stems in train if stems.shape[1] >= options.window]
    if not long:
        raise InvalidDataError(
            f"no training piece has {options.window} samples; expected pieces of "
            f"{options.window / SAMPLE_RATE:.1f} s or more"
        )
    return supervised.train(
        network,
        lambda rng: _batches(long, options, rng),
        lambda model: _score(model, valid, device),
        options,
        loss=nn.functional.l1_loss,
        device=device,
        **training,
    )


def _batches(
    pieces: Sequence[np.ndarray], options: SeparatorOptions, rng: np.random.Generator
) -> Iterator[Batch]:
    for _ in range(options.steps):
        stems = np.stack([example(pieces, options.window, rng) for _ in range(options.batch_size)])
        targets = torch.from_numpy(stems)[:, :, None]
        yield targets.sum(dim=1), targets


def example(pieces: Sequence[np.ndarray], window: int, rng: np.random.Generator) -> np.ndarray:
    """Stems of a random mix: of one piece of music, or of a source each from four.

    Parameters
    ----------
    pieces : sequence of np.ndarray, shape (len(SOURCES), n_samples), n_samples >= window
    window : int
        In samples.

    Returns
    -------
    np.ndarray, shape (len(SOURCES), window), float32
        With random gains and signs, some left out, some without high frequencies.
    """
    n = len(SOURCES)
    chosen = rng.integers(len(pieces), size=n)
    if rng.random() >= _REMIXED:
        chosen[:] = chosen[0]
    starts = {i: int(rng.integers(pieces[i].shape[1] - window + 1)) for i in sorted({*chosen})}
    rows = [pieces[i][row, starts[i] : starts[i] + window] for row, i in enumerate(chosen)]
    gains = 10 ** (rng.uniform(*_GAINS_DB, n) / 20) * rng.choice([-1, 1], n)
    gains *= rng.random(n) >= _LEFT_OUT
    stems = np.stack(rows).astype(np.float32) * gains[:, None].astype(np.float32)
    if rng.random() < _BAND_LIMITED:
        stems = _without_treble(stems, rng.uniform(*_CUTOFFS))
    return stems


def _without_treble(stems: np.ndarray, cutoff: float) -> np.ndarray:
    from scipy import fft

    spectrum = fft.rfft(stems)
    spectrum[:, int(cutoff / SAMPLE_RATE * stems.shape[1]) :] = 0
    return fft.irfft(spectrum, stems.shape[1])


def _score(network: nn.Module, pieces: Sequence[np.ndarray], device: torch.device) -> Score:
    scores: list[float] = []
    losses: list[float] = []
    for piece in pieces:
        stems = torch.from_numpy(piece.astype(np.float32))
        # The separator computes in float32, too
        with torch.autocast(device.type, enabled=False):
            estimate = network(stems.sum(dim=0)[None, None].to(device))[0, :, 0].cpu()
        losses.append(nn.functional.l1_loss(estimate, stems).item())
        named = (dict(zip(SOURCES, part.numpy(), strict=True)) for part in (stems, estimate))
        scores.extend(separation_scores(*named).values())
    return Score(accuracy=float(np.nanmean(scores)), loss=float(np.mean(losses)))
