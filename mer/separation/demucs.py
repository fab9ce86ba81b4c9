"""Networks of the demucs package: Hybrid Transformer Demucs, and what all of them share."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mer.errors import InvalidDataError, MissingDataError
from mer.paths import cache_folder
from mer.separation.streaming import separate_stream
from mer.training.supervised import resolve_device

FILE = "955717e8-8726e21a.th"
"""Weights of htdemucs: signature and first digits of the SHA-256."""


def stems_of(
    network: Any, batch: np.ndarray, length: int, device: Any, segment: Any = None
) -> np.ndarray:
    """Sources of the last `length` samples of a batch, by the package's own inference.

    Parameters
    ----------
    network : Demucs, HTDemucs or BagOfModels
    batch : np.ndarray, shape (batch, channels, n), float32
        What comes before those samples fills up a length that the network does not take.
    length : int
    device : torch.device
    segment : Fraction, optional
        Seconds that a network takes which takes no other length.

    Returns
    -------
    np.ndarray, shape (batch, n_sources, channels, length), float32
    """
    import torch
    from demucs.apply import TensorChunk, apply_model

    mix = torch.from_numpy(np.ascontiguousarray(batch))
    chunk: Any = TensorChunk(mix, mix.shape[-1] - length)
    # Shifts would be random ones
    options = {"shifts": 0, "split": False, "segment": segment, "device": device}
    with torch.inference_mode():
        estimate: np.ndarray = apply_model(network, chunk, **options).cpu().numpy()
    return estimate


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
    import torch
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

    Parameters
    ----------
    device : str
        "auto", "cpu" or "cuda".

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

    def __init__(self, *, device: str = "auto") -> None:
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
        self._device = resolve_device(device)

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """As `mer.separation.Separator.separate`, for one channel or two."""

        def separate(before: np.ndarray, samples: np.ndarray) -> np.ndarray:
            channels = samples.shape[0]
            if channels > 2:
                raise InvalidDataError(
                    f"the audio has {channels} channels; separator 'htdemucs' takes one or two"
                )
            batch = np.concatenate([before, samples], axis=1)[None]
            batch = np.repeat(batch, 2, axis=1) if channels == 1 else batch
            length = samples.shape[1]
            estimate = stems_of(self._network, batch, length, self._device, self._segment)[0]
            return estimate.mean(axis=1, keepdims=True) if channels == 1 else estimate

        return separate_stream(blocks, separate, int(self._segment * self.sample_rate))
