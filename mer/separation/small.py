"""The small separator of this study: a time-domain Demucs that comes with its weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from mer.separation.demucs import stems_of
from mer.separation.streaming import SOURCES, separate_stream
from mer.training.supervised import resolve_device
from mer.weights import load_weights, weights_revision

CODE_REVISION = 1
"""Raised whenever the sources change for another reason than new weights."""

WEIGHTS = "separator"
SAMPLE_RATE = 22050
SEGMENT = 176468
"""Samples that are computed at a time, about 8 s: a length that the network takes unpadded."""


def small_network() -> Any:
    """Demucs [1]_ with 2,010,444 parameters.

    That of the demucs package, for one channel, with 16 channels in its first and 256 in its
    fifth and last layer, without resampling inside.

    Returns
    -------
    demucs.demucs.Demucs
        Takes shape (batch, 1, n) and gives (batch, len(SOURCES), 1, n).

    References
    ----------
    .. [1] Défossez, A., Usunier, N., Bottou, L., Bach, F.: Music Source Separation in the
       Waveform Domain. arXiv:1911.13254 (2019). The package's present version has residual
       branches in its encoder, with an LSTM and attention in the last layer.
    """
    from demucs.demucs import Demucs

    return Demucs(
        list(SOURCES),
        audio_channels=1,
        channels=16,
        depth=5,
        resample=False,
        samplerate=SAMPLE_RATE,
    )


def revision() -> int:
    """Of the sources: raised by new code as by new weights."""
    return 1000 * CODE_REVISION + weights_revision(WEIGHTS)


class SmallSeparator:
    """Demucs at 22,050 Hz, trained on rendered music; hears each channel by itself.

    Memory does not grow with the length of the audio, and how it is cut makes no difference.

    Parameters
    ----------
    device : str
        "auto", "cpu" or "cuda".

    Raises
    ------
    MissingDataError, InvalidDataError
        If the weights are missing or altered.
    """

    name = "small"
    sample_rate = SAMPLE_RATE

    def __init__(self, *, device: str = "auto") -> None:
        tensors, self.metadata = load_weights(WEIGHTS)
        self.revision = revision()
        self._device = resolve_device(device)
        self._network = small_network()
        self._network.load_state_dict(tensors)
        self._network.to(self._device).eval()

    def separate(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """As `mer.separation.Separator.separate`, for any number of channels."""

        def separate(before: np.ndarray, samples: np.ndarray) -> np.ndarray:
            batch = np.concatenate([before, samples], axis=1)[:, None]
            estimate = stems_of(self._network, batch, samples.shape[1], self._device)
            return np.moveaxis(estimate[:, :, 0], 0, 1)

        return separate_stream(blocks, separate, SEGMENT)
