"""The transcriber of this study, for recordings of any length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from mer.models.onsets_frames import REACH, OnsetsFrames
from mer.training.supervised import autocast, resolve_device
from mer.transcription.decoding import Thresholds, decode
from mer.transcription.spectrogram import SAMPLE_RATE, spectrogram_blocks
from mer.weights import load_weights, weights_revision

CODE_REVISION = 1
"""Raised whenever the notes change for another reason than new weights."""

WEIGHTS = "transcriber"
PIECE = 960
"""Frames that are computed at a time: about 30 s."""


def revision() -> int:
    """Of the notes: raised by new code as by new weights."""
    return 1000 * CODE_REVISION + weights_revision(WEIGHTS)


class OnsetsFramesTranscriber:
    """Refined Onsets and Frames, with the weights that come with the package.

    Memory does not grow with the length of the audio, and how it is cut makes no difference.

    Parameters
    ----------
    thresholds : Thresholds, optional
        Those that were chosen on validation performances if None.
    device : str
        "auto", "cpu" or "cuda".

    Raises
    ------
    MissingDataError, InvalidDataError
        If the weights are missing or altered.
    """

    name = "onsets-frames"
    sample_rate = SAMPLE_RATE

    def __init__(self, *, thresholds: Thresholds | None = None, device: str = "auto") -> None:
        tensors, self.metadata = load_weights(WEIGHTS)
        self.revision = revision()
        self.thresholds = thresholds or Thresholds()
        self._device = resolve_device(device)
        self._network = OnsetsFrames()
        self._network.load_state_dict(tensors)
        self._network.to(self._device).eval()

    def transcribe(self, blocks: Iterable[np.ndarray]) -> np.ndarray:
        """Notes of a recording.

        Parameters
        ----------
        blocks : iterable of np.ndarray
            Consecutive pieces of mono float32 samples at `sample_rate`, of any lengths.

        Returns
        -------
        np.ndarray, shape (n_notes, 4)
            As from `mer.features.notes.read_notes` with the pedal applied. No rows where no note
            is found.

        Raises
        ------
        InvalidDataError
            If there are no samples, or some are not finite.
        """
        return decode(self.probabilities(blocks), self.thresholds)

    def probabilities(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Answers of the four heads, piece by piece: shape (4, 88, n_frames), in [0, 1]."""
        pieces = spectrogram_blocks(blocks, PIECE)
        for levels, before, length in _with_context(pieces, REACH):
            with torch.inference_mode(), autocast(self._device):
                inputs = torch.from_numpy(levels).to(self._device).float()[None]
                answers = torch.sigmoid(self._network(inputs)[0].float())
            yield answers[..., before : before + length].cpu().numpy()


def _with_context(
    pieces: Iterable[np.ndarray], reach: int
) -> Iterator[tuple[np.ndarray, int, int]]:
    """Pieces with up to `reach` frames of their neighbours.

    Yields
    ------
    levels : np.ndarray
    before, length : int
        Frames of context in front, and frames of the piece itself.
    """
    current: np.ndarray | None = None
    past = np.empty(0)
    for following in pieces:
        if current is None:
            current, past = following, following[..., :0]
            continue
        levels = np.concatenate([past, current, following[..., :reach]], axis=-1)
        yield levels, past.shape[-1], current.shape[-1]
        past, current = np.concatenate([past, current], axis=-1)[..., -reach:], following
    if current is not None:
        yield np.concatenate([past, current], axis=-1), past.shape[-1], current.shape[-1]
