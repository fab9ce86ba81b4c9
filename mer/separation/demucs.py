"""Separators: networks of the demucs package, for audio of any length in bounded memory.

Audio is separated in overlapping segments with crossfade.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mer.errors import InvalidDataError, MissingDataError
from mer.paths import cache_folder
from mer.separation import SOURCES
from mer.training.supervised import resolve_device
from mer.weights import load_weights, weights_revision

OVERLAP = 0.25
"""Part of a segment that it shares with the next, as in the demucs package."""

CODE_REVISION = 1
"""Raised whenever the sources of the small separator change for another reason than new weights."""

WEIGHTS = "separator"
SAMPLE_RATE = 22050
"""Of the small separator, in Hz."""
SEGMENT = 176468
"""Samples that are computed at a time, about 8 s: a length that the network takes unpadded."""

FILE = "955717e8-8726e21a.th"
"""Weights of htdemucs: signature and first digits of the SHA-256."""


def separate_stream(
    blocks: Iterable[np.ndarray],
    separate: Callable[[np.ndarray, np.ndarray], np.ndarray],
    length: int,
) -> Iterator[np.ndarray]:
    """Sources of audio that comes in pieces.

    Segments begin at multiples of their stride whatever the pieces are, and are crossfaded with
    the weights of `demucs.apply.apply_model`: in a row, the sources are what that function gives
    for the whole recording with `shifts=0`. No more than about three segments and one block are
    held in memory.

    Parameters
    ----------
    blocks : iterable of np.ndarray, shape (channels, n)
        Consecutive samples.
    separate : callable
        Gives the sources of a segment, shape (n_sources, channels, n), from what comes before it,
        shape (channels, n_before), at most a segment long, and from its samples.
    length : int
        Samples of a segment.

    Yields
    ------
    np.ndarray, shape (n_sources, channels, n), float32
        Consecutive samples of the sources, as many in all as there are in the blocks.

    Raises
    ------
    InvalidDataError
        If there are no samples.
    """
    weight = _crossfade(length)
    stride = int((1 - OVERLAP) * length)
    total, weights = np.zeros(0, np.float32), np.zeros(length, np.float32)
    for before, samples in _segments(blocks, length, stride):
        estimate = separate(before, samples)
        n = estimate.shape[-1]
        if not total.size:
            total = np.zeros((*estimate.shape[:2], length), np.float32)
        total[..., :n] += weight[:n] * estimate
        weights[:n] += weight[:n]
        done = min(stride, n)
        yield total[..., :done] / weights[:done]
        total, weights = _shifted(total, stride), _shifted(weights, stride)


def _crossfade(length: int) -> np.ndarray:
    half = length // 2
    triangle = np.concatenate([np.arange(1, half + 1), np.arange(length - half, 0, -1)])
    return (triangle / triangle.max()).astype(np.float32)


def _shifted(array: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([array[..., n:], np.zeros_like(array[..., :n])], axis=-1)


def _segments(
    blocks: Iterable[np.ndarray], length: int, stride: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Segments from samples 0, stride, 2 stride, ...; the last ones are shorter than `length`."""
    held = np.zeros((1, 0), np.float32)
    start = 0
    for block in blocks:
        held = np.concatenate([held, block], axis=1) if held.size else block
        while held.shape[1] >= start + length:
            yield held[:, :start], held[:, start : start + length]
            held, start = _advance(held, start + stride, length)
    if not held.size:
        raise InvalidDataError("there are no samples to separate")
    while start < held.shape[1]:
        yield held[:, :start], held[:, start : start + length]
        held, start = _advance(held, start + stride, length)


def _advance(held: np.ndarray, start: int, length: int) -> tuple[np.ndarray, int]:
    """Drop what lies more than a segment before `start`."""
    dropped = max(start - length, 0)
    return held[:, dropped:], start - dropped


def _stems_of(
    network: Any, batch: np.ndarray, length: int, device: Any, segment: Any = None
) -> np.ndarray:
    """Sources of the last `length` samples of a batch, by the package's own inference.

    The batch has shape (batch, channels, n), the sources (batch, n_sources, channels, length), both
    float32. What comes before those samples fills up a length that the network does not take;
    `segment` are the seconds that a network takes which takes no other length.
    """
    from demucs.apply import TensorChunk, apply_model

    mix = torch.from_numpy(np.ascontiguousarray(batch))
    chunk: Any = TensorChunk(mix, mix.shape[-1] - length)
    # Shifts would be random ones
    options = {"shifts": 0, "split": False, "segment": segment, "device": device}
    with torch.inference_mode():
        estimate: np.ndarray = apply_model(network, chunk, **options).cpu().numpy()
    return estimate


def small_network() -> Any:
    """Demucs [1]_ with 2,010,444 parameters, from shape (batch, 1, n) to (batch, 4, 1, n).

    That of the demucs package, for one channel, with 16 channels in its first and 256 in its
    fifth and last layer, without resampling inside.

    References
    ----------
    .. [1] Défossez, A., Usunier, N., Bottou, L., Bach, F.: Music Source Separation in the
       Waveform Domain. arXiv:1911.13254 (2019). The package's present version has residual
       branches in its encoder, with an LSTM and attention in the last layer.
    """
    from demucs.demucs import Demucs

    sizes = {"audio_channels": 1, "channels": 16, "depth": 5}
    return Demucs(list(SOURCES), **sizes, resample=False, samplerate=SAMPLE_RATE)


def revision() -> int:
    """Of the sources: raised by new code as by new weights."""
    return 1000 * CODE_REVISION + weights_revision(WEIGHTS)


class SmallSeparator:
    """Demucs at 22,050 Hz, trained on rendered music; separates each channel by itself.

    Memory does not grow with the length of the audio, and how it is cut makes no difference.
    Errors are those of `mer.weights.load_weights`.
    """

    name = "small"
    sample_rate = SAMPLE_RATE

    def __init__(self) -> None:
        self.revision = revision()
        self._device = resolve_device("auto")
        self._network = small_network()
        self._network.load_state_dict(load_weights(WEIGHTS)[0])
        self._network.to(self._device).eval()

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """As `mer.separation.Separator.separate`, for any number of channels."""

        def separate(before: np.ndarray, samples: np.ndarray) -> np.ndarray:
            batch = np.concatenate([before, samples], axis=1)[:, None]
            estimate = _stems_of(self._network, batch, samples.shape[1], self._device)
            return np.moveaxis(estimate[:, :, 0], 0, 1)

        return separate_stream(blocks, separate, SEGMENT)


def weights_file() -> Path:
    """Where the weights of htdemucs are kept."""
    return cache_folder() / "demucs" / FILE


def fetch_weights() -> Path:
    """The weights of htdemucs, fetched if they are not here.

    Raises
    ------
    MissingDataError
        If they cannot be fetched.
    """
    from demucs.pretrained import REMOTE_ROOT, _parse_remote_files

    path = weights_file()
    signature, digits = path.stem.split("-")
    if not path.is_file():
        url = _parse_remote_files(REMOTE_ROOT / "files.txt")[signature]
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=digits)
        except (OSError, RuntimeError) as error:  # no network, or another SHA-256
            raise MissingDataError(
                f"the weights of separator 'htdemucs' could not be fetched from {url} ({error}); "
                f"fetch that file elsewhere and put it at {path}, or take separator 'small', "
                "which comes with its weights"
            ) from None
    shutil.copyfile(REMOTE_ROOT / "htdemucs.yaml", path.with_name("htdemucs.yaml"))
    return path


class HybridDemucs:
    """Hybrid Transformer Demucs [1]_ with the weights that its authors published.

    The weights are fetched when it is first used, and kept. It takes two channels: one is doubled,
    and its sources are the means of both.

    Raises
    ------
    MissingDataError
        If the weights are not here and cannot be fetched.
    InvalidDataError
        If their file is damaged.

    References
    ----------
    .. [1] Rouard, S., Massa, F., Défossez, A.: Hybrid Transformers for Music Source Separation.
       Proc. ICASSP (2023).
    """

    name = "htdemucs"
    revision = 1
    sample_rate = 44100

    def __init__(self) -> None:
        from demucs.pretrained import ModelLoadingError, get_model

        path = fetch_weights()
        try:
            network: Any = get_model(self.name, repo=path.parent)
        except (ModelLoadingError, RuntimeError, EOFError, KeyError) as error:
            raise InvalidDataError(
                f"{path} is damaged ({error}); remove it to fetch it again"
            ) from None
        self._network = network
        self._segment = network.models[0].segment
        self._device = resolve_device("auto")

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """As `mer.separation.Separator.separate`, for one channel or two."""

        def separate(before: np.ndarray, samples: np.ndarray) -> np.ndarray:
            channels, length = samples.shape
            if channels > 2:
                raise InvalidDataError(
                    f"the audio has {channels} channels; separator 'htdemucs' takes one or two"
                )
            batch = np.concatenate([before, samples], axis=1)[None]
            batch = np.repeat(batch, 2, axis=1) if channels == 1 else batch
            estimate = _stems_of(self._network, batch, length, self._device, self._segment)[0]
            return estimate.mean(axis=1, keepdims=True) if channels == 1 else estimate

        return separate_stream(blocks, separate, int(self._segment * self.sample_rate))
