"""Embeddings of a network that was trained to tag music, as a feature of audio.

The weights are published by Essentia [1]_ for non-commercial use without derivatives
(CC BY-NC-ND 4.0): they are fetched by the user and never come with this package.

References
----------
.. [1] P. Alonso-Jiménez, D. Bogdanov, J. Pons, X. Serra: TensorFlow audio models in Essentia.
   ICASSP 2020.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mer.audio import waveform
from mer.clips import Clip, file_digest
from mer.errors import InvalidDataError, MissingDataError
from mer.features.cache import cached, source_of
from mer.features.spectral import REVISION as SPECTRAL_REVISION
from mer.features.spectral import Floats, mel_spectrogram
from mer.paths import data_folder
from mer.rendering import REVISION as RENDERING_REVISION
from mer.segments import LONGEST, segments

if TYPE_CHECKING:
    from mer.models.musicnn import MusiCNN

REVISION = 1
"""Raised whenever the values change; part of the key of stored features."""

SAMPLE_RATE, N_FFT, HOP_LENGTH, N_BANDS = 16000, 512, 256, 96
PATCH = 187
"""Frames that the network was trained on: 3 s."""

SHARD = "group1-shard1of1.bin"
SHA256 = "7ebfb970c7389b6276ffc34f0d7fc80ba2765e5310829f3618ad5b977326667d"
"""Of the published weights, `msd-musicnn-1`."""

_FILES = ("model.json", SHARD)

OBTAIN = (
    "get msd-musicnn-1 in TensorFlow.js format (model.json and group1-shard1of1.bin) from "
    "essentia.upf.edu/models/autotagging/msd, and put both in 'weights/msd-musicnn-1' in the "
    "folder that MER_DATA names"
)


def log_bands(y: Floats) -> Floats:
    """What the network takes: log10(1 + 10000 x power in mel bands).

    Parameters
    ----------
    y : array, shape (n,)
        Mono samples in [-1, 1] at 16 kHz.

    Returns
    -------
    array, shape (frames, 96), float32
        A frame each 16 ms, see `mer.features.spectral.mel_spectrogram`.

    Raises
    ------
    InvalidDataError
        If `y` is empty, not one-dimensional, not floating point, or holds NaN or infinity.
    """
    mel = mel_spectrogram(y, SAMPLE_RATE, n_fft=N_FFT, hop_length=HOP_LENGTH, n_mels=N_BANDS)
    return np.log10(1 + np.float32(10000) * mel.T)


def embed(network: MusiCNN, bands: Floats) -> Floats:
    """Embeddings of consecutive patches of 3 s.

    Parameters
    ----------
    network : MusiCNN
    bands : array, shape (frames, 96)
        From `log_bands`.

    Returns
    -------
    array, shape (n_patches, 200), float32
        Of whole patches alone; audio shorter than a patch is one, without padding.
    """
    import torch

    patches = segments(bands.T, min(PATCH, len(bands)), PATCH).swapaxes(1, 2)
    with torch.inference_mode():
        # One at a time is fastest on a processor: what a patch needs stays in its cache
        outputs = [network(torch.from_numpy(patch[None].copy()))[0] for patch in patches]
    return torch.cat(outputs).numpy()


def embeddings(clip: Clip) -> np.ndarray:
    """Embeddings of a clip's audio, cached; shape (n_patches, 200), float32.

    Raises
    ------
    MissingDataError
        If the weights are not there, or the clip has no audio and no MIDI file.
    InvalidDataError
        If the weights are not the published ones, or the audio cannot be used.
    """
    revisions = {"spectral": SPECTRAL_REVISION, "rendering": RENDERING_REVISION}
    return cached(
        "musicnn",
        REVISION,
        {**revisions, "weights": SHA256},
        source_of(clip, "audio"),
        lambda: embed(published_network(), log_bands(waveform(clip, SAMPLE_RATE))),
    )


def embedding_statistics(clip: Clip) -> np.ndarray:
    """Mean and standard deviation of a clip's embeddings over time, shape (400,), float64.

    Errors are those of `embeddings`.
    """
    values = embeddings(clip).astype(np.float64)
    return np.concatenate([values.mean(axis=0), values.std(axis=0)])


def embedding_statistics_30s(clip: Clip) -> np.ndarray:
    """As `embedding_statistics`, of the patches of the first 30 s."""
    values = embeddings(clip)[: int(LONGEST * SAMPLE_RATE / HOP_LENGTH / PATCH)].astype(np.float64)
    return np.concatenate([values.mean(axis=0), values.std(axis=0)])


def has_weights() -> bool:
    """Whether the weights are below `$MER_DATA`, so that `embeddings` can be computed."""
    folder = _weights_folder()
    return all((folder / name).is_file() for name in _FILES)


def published_network() -> MusiCNN:
    """MusiCNN with the weights below `$MER_DATA/weights/msd-musicnn-1`.

    Raises
    ------
    MissingDataError
        If they are not there.
    InvalidDataError
        If they are not the published ones.
    """
    return _network(_weights_folder(), SHA256)


def _weights_folder() -> Path:
    return data_folder() / "weights" / "msd-musicnn-1"


@lru_cache(maxsize=1)
def _network(folder: Path, sha256: str) -> MusiCNN:
    from mer.models.musicnn import from_graph_weights, read_graph_weights

    for name in _FILES:
        if not (folder / name).is_file():
            raise MissingDataError(f"{folder / name} does not exist; {OBTAIN}")
    actual = file_digest(folder / SHARD)
    if actual != sha256:
        raise InvalidDataError(
            f"{folder / SHARD} has SHA-256 {actual[:12]}..., expected {sha256[:12]}...: {OBTAIN}"
        )
    return from_graph_weights(read_graph_weights(folder))
