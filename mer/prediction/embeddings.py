"""What the heads take of a song: embeddings over time and descriptors, for audio of any length.

The network is MusiCNN, see `mer.systems.musicnn`. Two things differ from its use in the study:
the level of the audio is normalised, since the embeddings change with it, and its convolutions run
over the whole song, so that windows which overlap cost no more than windows which do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mer.audio import audio_blocks, waveform
from mer.clips import Clip
from mer.errors import InvalidDataError
from mer.features.cache import cached, source_of
from mer.features.descriptors import ROBUST_REVISION, robust_descriptors
from mer.features.spectral import REVISION as SPECTRAL_REVISION
from mer.features.streaming import frame_blocks, with_context
from mer.models.musicnn import N_EMBEDDING, N_TAGS, REACH
from mer.rendering import REVISION as RENDERING_REVISION
from mer.systems.musicnn import HOP_LENGTH, N_FFT, PATCH, SAMPLE_RATE, WEIGHTS, log_bands, network
from mer.weights import weights_revision

REVISION = 1
"""Raised whenever the values change."""

LEVEL = -16.0
"""Root mean square that audio is brought to, in dB relative to full scale."""

SHORTEST = 1.0
"""Seconds of music below which there is no answer."""

WINDOW_SECONDS = 3.0
HOP = 1.0
"""Length of windows, and seconds between them."""

_BLOCK = round(0.4 * SAMPLE_RATE)
_ABSOLUTE, _RELATIVE = -70.0, -10.0
"""Gates in dB, as those of ITU-R BS.1770: blocks below them do not count for the level."""

_PIECE, _PART = 1875, 30 * SAMPLE_RATE
"""Frames, and samples, that are analysed at a time: 30 s."""


@dataclass(frozen=True)
class Embedded:
    """A song as the network hears it.

    Attributes
    ----------
    embeddings : np.ndarray, shape (n_windows, 200), float32
        Of windows of 3 s (or one shorter one, if the song is), a second apart.
    tags : np.ndarray, shape (n_windows, 50), float32
        Probabilities of the network's own tags.
    seconds : float
    level : float
        In dB relative to full scale, before it was normalised.
    descriptors : np.ndarray, shape (n_descriptors,), float64
        `mer.features.descriptors.robust_descriptors`: their mean over parts of half a minute to a
        minute, or of the whole song if it is shorter.
    """

    embeddings: np.ndarray
    tags: np.ndarray
    seconds: float
    level: float
    descriptors: np.ndarray


def level_of(blocks: Iterable[np.ndarray]) -> tuple[float, float]:
    """Level of audio in dB relative to full scale, of the parts that are not silent; and seconds.

    Parameters
    ----------
    blocks : iterable of np.ndarray, shape (n_samples,)
        Consecutive mono samples at `SAMPLE_RATE`.

    Returns
    -------
    level : float
        Minus infinity for silence.
    seconds : float
    """
    powers, held, total = [np.empty(0)], np.empty(0, np.float32), 0
    for block in blocks:
        total += len(block)
        held = np.concatenate([held, block])
        whole = len(held) // _BLOCK * _BLOCK
        parts = held[:whole].reshape(-1, _BLOCK).astype(np.float64)
        powers.append((parts**2).mean(axis=1))
        held = held[whole:]
    if len(held) and total < _BLOCK:
        powers.append(np.array([np.mean(held.astype(np.float64) ** 2)]))
    power = np.concatenate(powers)
    power = power[power > 10 ** (_ABSOLUTE / 10)]
    power = power[power >= power.mean() * 10 ** (_RELATIVE / 10)] if len(power) else power
    level = 10 * np.log10(power.mean()) if len(power) else -np.inf
    return float(level), total / SAMPLE_RATE


def embed_blocks(blocks: Callable[[], Iterable[np.ndarray]]) -> Embedded:
    """Embeddings of audio that comes in pieces; memory grows by 1 kB a second.

    Parameters
    ----------
    blocks : callable
        Called twice; gives consecutive mono samples at `SAMPLE_RATE`.

    Raises
    ------
    InvalidDataError
        If there are no samples, fewer than `SHORTEST` seconds of them, or none that is loud enough
        to be heard.
    """
    level, seconds = level_of(blocks())
    if seconds < SHORTEST:
        raise InvalidDataError(
            f"it lasts {seconds:.2f} s; expected {SHORTEST:g} s of music or more"
        )
    if not np.isfinite(level):
        raise InvalidDataError(
            f"it is silent: no part of its {seconds:.1f} s, mixed to one channel, is above "
            f"{_ABSOLUTE:g} dB; expected music"
        )
    described: list[np.ndarray] = []
    gain = np.float32(10 ** ((LEVEL - level) / 20))
    pieces = frame_blocks(
        _describing((block * gain for block in blocks()), described),
        _PIECE,
        lambda samples: log_bands(samples).T,
        half=N_FFT // 2,
        hop_length=HOP_LENGTH,
    )
    embeddings, tags = [], []
    with torch.inference_mode():
        for window in _windows(_frames(pieces)):
            embedding, tag = network().of_frames(window[None])
            embeddings.append(embedding[0].numpy())
            tags.append(tag[0].numpy())
    return Embedded(
        np.stack(embeddings), np.stack(tags), seconds, level, np.mean(described, axis=0)
    )


def _describing(blocks: Iterable[np.ndarray], described: list[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks as they are; descriptors of their parts are added to a list."""
    held = np.empty(0, np.float32)
    for block in blocks:
        yield block
        held = np.concatenate([held, block])
        while len(held) >= 2 * _PART:
            described.append(_describe(held[:_PART]))
            held = held[_PART:]
    described.append(_describe(held))


def _describe(samples: np.ndarray) -> np.ndarray:
    return np.array(list(robust_descriptors(samples, SAMPLE_RATE).values()))


def _frames(pieces: Iterable[np.ndarray]) -> Iterator[torch.Tensor]:
    """What the network pools, shape (n_channels, n_frames), piece by piece."""
    for bands, before, length in with_context(pieces, REACH):
        inputs = torch.from_numpy(np.ascontiguousarray(bands.T[None]))
        yield network().frames(inputs)[0, :, before : before + length]


def _windows(pieces: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Windows of `PATCH` frames, `HOP` seconds apart; one shorter one of a short song."""
    held, first, number = torch.empty(0), 0, 0
    for piece in pieces:
        held = torch.cat([held, piece], dim=1) if held.numel() else piece
        while (start := _start(number) - first) + PATCH <= held.shape[1]:
            yield held[:, start : start + PATCH]
            number += 1
        done = min(_start(number) - first, held.shape[1])
        held, first = held[:, done:], first + done
    if not number:
        yield held


def _start(number: int) -> int:
    return round(number * HOP * SAMPLE_RATE / HOP_LENGTH)


def embed_file(path: Path) -> Embedded:
    """Embeddings of a file of any length; errors as `mer.audio.audio_blocks`, `embed_blocks`."""
    return embed_blocks(lambda: audio_blocks(path, SAMPLE_RATE))


def embed_clip(clip: Clip) -> Embedded:
    """The same of a clip's recording, or the rendering of its MIDI file; cached."""
    audio, rendering = source_of(clip, "audio"), {"rendering": RENDERING_REVISION}

    def embed() -> np.ndarray:
        samples = waveform(clip, SAMPLE_RATE)
        found = embed_blocks(lambda: [samples])
        facts = np.full((len(found.tags), 2), [found.seconds, found.level])
        return np.concatenate([found.embeddings, found.tags, facts], axis=1).astype(np.float32)

    def describe() -> np.ndarray:
        described: list[np.ndarray] = []
        for _ in _describing([waveform(clip, SAMPLE_RATE)], described):
            pass
        return np.mean(described, axis=0)

    key = {"spectral": SPECTRAL_REVISION, **rendering, "weights": weights_revision(WEIGHTS)}
    values = cached("song-embeddings", REVISION, key, audio, embed)
    parts = np.split(values, [N_EMBEDDING, N_EMBEDDING + N_TAGS], axis=1)
    key = {"robust": ROBUST_REVISION, **rendering}
    described = cached("song-descriptors", REVISION, key, audio, describe)
    seconds, level = map(float, parts[2][0])
    return Embedded(parts[0], parts[1], seconds, level, described)
