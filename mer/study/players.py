"""Players of the book."""

from __future__ import annotations

import html
import io

import numpy as np
import soundfile
from IPython.display import Audio

from mer.audio import waveform
from mer.clips import Clip
from mer.errors import ParameterError

_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


class Player(Audio):
    """A player that screen readers can name."""

    name = ""

    def _repr_html_(self) -> str:
        label = f'aria-label="{html.escape(self.name)}" preload="metadata"'
        return str(super()._repr_html_()).replace("<audio ", f"<audio {label} ", 1)


def player(clip: Clip) -> Player:
    """A player of the beginning of a clip, of a corpus whose sound may be given on."""
    return sound(waveform(clip, 16000), 16000, clip.id)


def sound(samples: np.ndarray, sample_rate: int, name: str, *, seconds: float = 10.0) -> Player:
    """A player of the beginning of samples in [-1, 1], as loud as they are.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,)
    sample_rate : int
        In Hz, one that MP3 knows.
    name : str
    seconds : float
        How much is played at most.

    Raises
    ------
    ParameterError
        If the samples are not finite numbers of one channel, or MP3 does not know the rate.
    """
    if np.ndim(samples) != 1 or not np.isfinite(samples).all():
        raise ParameterError(f"{name}: expected finite samples of shape (n_samples,) to play")
    if sample_rate not in _RATES:
        known = ", ".join(map(str, _RATES))
        raise ParameterError(f"{name}: sample_rate is {sample_rate}; MP3 takes one of {known}")
    # The loudness of clips differs on purpose: their common gain stays as it is.
    played = np.clip(samples[: int(seconds * sample_rate)], -1, 1)
    fade = np.minimum(1.0, np.arange(played.size)[::-1] / (0.05 * sample_rate))
    buffer = io.BytesIO()
    soundfile.write(buffer, played * fade, sample_rate, format="MP3")
    audio = Player(data=buffer.getvalue())
    audio.mimetype, audio.name = "audio/mpeg", name
    return audio
