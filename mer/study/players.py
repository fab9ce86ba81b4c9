"""Players of the book."""

from __future__ import annotations

import html
import io

import numpy as np
import soundfile
from IPython.display import Audio

from mer.audio import crop, waveform
from mer.clips import Clip


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
    """A player of the beginning of samples in [-1, 1], as loud as they are; MP3 knows the rate."""
    # The loudness of clips differs on purpose: their common gain stays as it is.
    played = crop(samples, int(seconds * sample_rate))
    fade = np.minimum(1.0, np.arange(played.size)[::-1] / (0.05 * sample_rate))
    buffer = io.BytesIO()
    soundfile.write(buffer, played * fade, sample_rate, format="MP3")
    audio = Player(data=buffer.getvalue())
    audio.mimetype, audio.name = "audio/mpeg", name
    return audio
