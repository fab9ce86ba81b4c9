"""Training of the transcriber on rendered performances."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mer.audio import resample
from mer.evaluation.transcription import note_scores
from mer.features.cache import cached, content_digest
from mer.models.onsets_frames import HEADS
from mer.sounds import REVISION as SOUND_REVISION
from mer.sounds import SAMPLE_RATE as SOUND_RATE
from mer.sounds import random_variant
from mer.training import supervised
from mer.training.rendered import Take, play, played_notes
from mer.training.supervised import History, Score, TrainingOptions
from mer.transcription.frames import (
    FRAMES_PER_SECOND,
    HOP_LENGTH,
    REVISION,
    SAMPLE_RATE,
    decode,
    log_frequency_spectrogram,
    note_targets,
)

HEAD_WEIGHTS = {"onset": 1.0, "offset": 0.5, "frame": 0.5, "velocity": 0.5}
"""Onsets decide whether there is a note; the other heads only describe it."""

POSITIVE_WEIGHTS = {"onset": 3.0, "offset": 3.0, "frame": 1.0}
"""Weight of what is rare: about one frame in fifty has an onset of some pitch."""


class Excerpt(NamedTuple):
    """Part of a performance.

    Attributes
    ----------
    levels : np.ndarray, shape (2, N_BANDS, n_frames), uint8
        See `mer.transcription.frames`.
    notes : np.ndarray, shape (n_notes, 4)
        With the pedal applied, in seconds from the start of the excerpt.
    """

    levels: np.ndarray
    notes: np.ndarray


def render_excerpt(midi: Path, take: Take, soundfonts: Sequence[Path]) -> Excerpt:
    """Play an excerpt and analyse it; its levels are cached."""
    return _excerpt(midi, take, soundfonts, {}, lambda: play(midi, take, soundfonts, SAMPLE_RATE))


def render_varied_excerpt(midi: Path, take: Take, soundfonts: Sequence[Path]) -> Excerpt:
    """As `render_excerpt`, through a random room, equaliser, filter, noise or codec.

    Which, `mer.sounds.random_variant` draws from the take: the same in every run.
    """
    facts = json.dumps({**asdict(take), "midi": content_digest(midi)}, sort_keys=True)
    digest = hashlib.sha256(facts.encode()).digest()
    variant = random_variant(np.random.default_rng(list(digest)))

    def samples() -> np.ndarray:
        played = variant.applied(play(midi, take, soundfonts, SOUND_RATE))
        return resample(played, SOUND_RATE, SAMPLE_RATE)

    about = {"variant": asdict(variant), "sounds": SOUND_REVISION}
    return _excerpt(midi, take, soundfonts, about, samples)


def _excerpt(
    midi: Path,
    take: Take,
    soundfonts: Sequence[Path],
    about: Mapping[str, Any],
    samples: Callable[[], np.ndarray],
) -> Excerpt:
    def compute() -> np.ndarray:
        played = samples()
        return log_frequency_spectrogram(played)[..., : played.size // HOP_LENGTH]

    soundfont = content_digest(soundfonts[take.soundfont])
    parameters = {**asdict(take), "soundfont": soundfont, **about}
    levels = cached("transcriber-excerpts", REVISION, parameters, midi, compute)
    return Excerpt(levels, played_notes(midi, take, levels.shape[2] / FRAMES_PER_SECOND))


@dataclass(frozen=True, kw_only=True)
class TranscriberOptions(TrainingOptions):
    """How the transcriber is trained.

    Attributes
    ----------
    window : int
        Frames of a training example.
    windows_per_excerpt : int
        Examples that are taken from every excerpt in an epoch.
    """

    epochs: int = 8
    patience: int = 8
    batch_size: int = 4
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    window: int = 320
    windows_per_excerpt: int = 2


def train_transcriber(
    network: nn.Module,
    train: Sequence[Excerpt],
    valid: Sequence[Excerpt],
    options: TranscriberOptions,
    *,
    device: torch.device,
    **training: Any,
) -> History:
    """Train; restore the epoch with the best mean onset F1 over validation excerpts.

    Excerpts to train with that are shorter than a window are left out. Further keywords are those
    of `mer.training.supervised.train`; `valid_accuracy` is the mean onset F1.
    """
    train = [excerpt for excerpt in train if excerpt.levels.shape[2] >= options.window]
    targets = [note_targets(excerpt.notes, excerpt.levels.shape[2]) for excerpt in train]
    return supervised.train(
        network,
        lambda rng: _batches(train, targets, options, rng),
        lambda model: _score(model, valid, device),
        options,
        loss=head_loss,
        device=device,
        **training,
    )


def head_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Weighted sum of the heads' binary cross-entropies.

    Each head's loss is the mean over frames of the sum over pitches; that of the velocity counts
    only where there is an onset.

    Parameters
    ----------
    logits : Tensor, shape (batch, 4, n_pitches, frames)
    targets : Tensor, shape (batch, 4, n_pitches, frames), uint8
        From `mer.transcription.frames.note_targets`.
    """
    total = logits.new_zeros(())
    for index, head in enumerate(HEADS):
        target = targets[:, index].float()
        if head == "velocity":
            values = _cross_entropy(logits[:, index], target / 127) * (target > 0)
        else:
            weight = 1 + (POSITIVE_WEIGHTS[head] - 1) * target / 255
            values = weight * _cross_entropy(logits[:, index], target / 255)
        total = total + HEAD_WEIGHTS[head] * values.sum(dim=1).mean()
    return total


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def _batches(
    excerpts: Sequence[Excerpt],
    targets: Sequence[np.ndarray],
    options: TranscriberOptions,
    rng: np.random.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    order = rng.permutation(np.repeat(np.arange(len(excerpts)), options.windows_per_excerpt))
    for first in range(0, len(order) - options.batch_size + 1, options.batch_size):
        inputs, outputs = [], []
        for index in order[first : first + options.batch_size]:
            levels, target = excerpts[index].levels, targets[index]
            start = rng.integers(levels.shape[2] - options.window + 1)
            cut = slice(start, start + options.window)
            inputs.append(another_recording(levels[..., cut], rng))
            outputs.append(target[..., cut])
        yield torch.from_numpy(np.stack(inputs)), torch.from_numpy(np.stack(outputs))


def another_recording(levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same notes through another microphone: level, colour and noise are changed.

    Parameters
    ----------
    levels : np.ndarray, shape (n_windows, n_bands, frames), uint8

    Returns
    -------
    np.ndarray, shape (n_windows, n_bands, frames), float32
    """
    n_bands = levels.shape[1]
    knots = np.linspace(0, n_bands - 1, 6)
    # In steps of half a decibel.
    colour = np.interp(np.arange(n_bands), knots, rng.normal(0, 6, knots.size))
    result = levels + np.float32(rng.uniform(-16, 8)) + colour[:, None].astype(np.float32)
    noise = rng.uniform(-60, 50) - np.interp(np.arange(n_bands), [0, n_bands - 1], [0, 30])
    rough = rng.normal(0, 4, levels.shape).astype(np.float32)
    result = np.maximum(result, noise[:, None].astype(np.float32) + rough)
    return np.clip(result, 0, 255, out=result)


def _score(network: nn.Module, excerpts: Sequence[Excerpt], device: torch.device) -> Score:
    scores, losses = [], []
    for excerpt in excerpts:
        levels = torch.from_numpy(excerpt.levels).float()[None].to(device)
        logits = network(levels).float()
        target = note_targets(excerpt.notes, excerpt.levels.shape[2])
        losses.append(head_loss(logits.cpu(), torch.from_numpy(target)[None]).item())
        notes = decode([torch.sigmoid(logits[0]).cpu().numpy()])
        scores.append(note_scores(excerpt.notes, notes)["onset_f1"])
    return Score(accuracy=float(np.mean(scores)), loss=float(np.mean(losses)))
