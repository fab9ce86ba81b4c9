"""Players of the notebooks: short pieces of sound, embedded as MP3."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from mer.audio import crop, waveform
from mer.clips import Clip

if TYPE_CHECKING:
    from IPython.display import Audio


def player(clip: Clip, *, seconds: float = 10.0, sample_rate: int = 16000) -> Audio:
    """A player of the beginning of a clip.

    Parameters
    ----------
    clip : Clip
        Of a corpus whose sound may be given on.
    seconds : float
    sample_rate : int
        In Hz.
    """
    return sound(waveform(clip, sample_rate), sample_rate, seconds=seconds)


def sound(samples: np.ndarray, sample_rate: int, *, seconds: float = 10.0) -> Audio:
    """A player of the beginning of some samples, as loud as they are.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,)
        In [-1, 1]; what is beyond is clipped.
    sample_rate : int
        In Hz, one that MP3 knows.
    seconds : float
    """
    import soundfile
    from IPython.display import Audio

    # The loudness of clips differs on purpose: their common gain stays as it is.
    heard = crop(samples, int(seconds * sample_rate))
    fade = np.minimum(1.0, np.arange(heard.size)[::-1] / (0.05 * sample_rate))
    buffer = io.BytesIO()
    soundfile.write(buffer, heard * fade, sample_rate, format="MP3")
    audio = Audio(data=buffer.getvalue())
    audio.mimetype = "audio/mpeg"
    return audio
