"""The transcriber of this study, for recordings of any length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from mer.features.streaming import with_context
from mer.models.onsets_frames import REACH, OnsetsFrames
from mer.training.supervised import autocast, resolve_device
from mer.transcription.frames import SAMPLE_RATE, decode, spectrogram_blocks
from mer.weights import load_weights, weights_revision

CODE_REVISION = 1
"""Raised whenever the notes change for another reason than new weights."""

WEIGHTS = {"onsets-frames": "transcriber", "onsets-frames-varied": "transcriber-varied"}
"""By name of the transcriber. The first was trained on two soundfonts, FluidR3 among them; the
second on two others, through rooms, filters, noise and codecs."""

PIECE = 960
"""Frames that are computed at a time: about 30 s."""


def revision(name: str = "onsets-frames") -> int:
    """Of the notes: raised by new code as by new weights."""
    return 1000 * CODE_REVISION + weights_revision(WEIGHTS[name])


class OnsetsFramesTranscriber:
    """Refined Onsets and Frames, with the weights that come with the package.

    Memory does not grow with the length of the audio, and how it is cut makes no difference.
    Errors are those of `mer.weights.load_weights`.

    Parameters
    ----------
    name : str
        Among `WEIGHTS`.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, name: str = "onsets-frames") -> None:
        self.name = name
        self.revision = revision(name)
        self._device = resolve_device("auto")
        self._network = OnsetsFrames()
        self._network.load_state_dict(load_weights(WEIGHTS[name])[0])
        self._network.to(self._device).eval()

    def transcribe(self, blocks: Iterable[np.ndarray]) -> np.ndarray:
        """As `mer.transcription.Transcriber.transcribe`; notes last while the pedal holds them."""
        return decode(self.probabilities(blocks))

    def probabilities(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Outputs of the four heads, piece by piece: shape (4, 88, n_frames), in [0, 1]."""
        pieces = spectrogram_blocks(blocks, PIECE)
        for levels, before, length in with_context(pieces, REACH):
            with torch.inference_mode(), autocast(self._device):
                inputs = torch.from_numpy(levels).to(self._device).float()[None]
                outputs = torch.sigmoid(self._network(inputs)[0].float())
            yield outputs[..., before : before + length].cpu().numpy()
