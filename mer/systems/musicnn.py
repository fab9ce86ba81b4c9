"""Embeddings of a network that was trained to tag music, as a feature of audio.

The weights are those that its authors published (ISC licence), see `mer.study.musicnn_weights`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from mer.audio import waveform
from mer.clips import Clip
from mer.features.cache import cached, source_of
from mer.features.spectral import REVISION as SPECTRAL_REVISION
from mer.features.spectral import Floats, mel_spectrogram
from mer.rendering import REVISION as RENDERING_REVISION
from mer.segments import LONGEST, segments
from mer.weights import load_weights, weights_revision

if TYPE_CHECKING:
    from mer.models.musicnn import MusiCNN

REVISION = 1
"""Raised whenever the values change; part of the key of stored features."""

SAMPLE_RATE, N_FFT, HOP_LENGTH, N_BANDS = 16000, 512, 256, 96
PATCH = 187
"""Frames that the network was trained on: 3 s."""

WEIGHTS = "musicnn"


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
        If the clip has no audio and no MIDI file.
    InvalidDataError
        If the audio cannot be used.
    """
    revisions = {"spectral": SPECTRAL_REVISION, "rendering": RENDERING_REVISION}
    return cached(
        "musicnn",
        REVISION,
        {**revisions, "weights": weights_revision(WEIGHTS)},
        source_of(clip, "audio"),
        lambda: embed(network(), log_bands(waveform(clip, SAMPLE_RATE))),
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


@cache
def network() -> MusiCNN:
    """MusiCNN with the weights that come with the package; errors as `load_weights`."""
    from mer.models.musicnn import MusiCNN

    found = MusiCNN()
    found.load_state_dict(load_weights(WEIGHTS)[0])
    return found.eval()
