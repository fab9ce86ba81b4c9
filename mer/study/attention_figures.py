"""What the cross-domain attention of a fitted model looks at, and how far it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from mer.audio import waveform
from mer.clips import Clip
from mer.study.figures import BLUE, panels, piano_roll, spectrogram

if TYPE_CHECKING:
    from mer.systems.zhu2023 import AttentionMap


def received(found: AttentionMap) -> tuple[np.ndarray, np.ndarray]:
    """Attention that each state of the sound and each note gets from the other domain.

    Sums over heads and over all that ask, divided by their mean; the start token, which stands for
    no note, counts neither as asking nor as asked (it alone asks where there are no notes).

    Returns
    -------
    sound : np.ndarray, shape (m,)
    notes : np.ndarray, shape (n,)
        Both have the mean 1.
    """
    asking = found.symbolic[:, 1:] if len(found.notes) else found.symbolic
    sound = asking.sum(axis=(0, 1))
    notes = found.acoustic[:, :, 1:].sum(axis=(0, 1))
    return sound / sound.mean(), notes / notes.mean() if len(notes) else notes


def attention(found: AttentionMap, clip: Clip, *, sample_rate: int = 22050) -> Figure:
    """Attention over the sound and the notes of a window.

    Parameters
    ----------
    found : AttentionMap
        Of that clip.
    clip : Clip
    sample_rate : int
        In Hz.

    Returns
    -------
    Figure
        From above: what the sound gets from the notes, the log-mel spectrogram, and the notes,
        coloured by what they get from the sound. 1 is the mean of the window.
    """
    start, end = found.steps[0], _end(found.steps)
    sound, notes = received(found)
    sizes = {"height_ratios": (1, 2, 2.4)}
    figure, ((top,), (middle,), (bottom,)) = panels(3, 1, 5.4, sharex=True, gridspec_kw=sizes)
    top.stairs(sound, [*found.steps, end], color=BLUE, baseline=None)
    top.axhline(1, color="grey", lw=0.8, ls="--")
    top.set_ylabel("Attention\nof the notes")
    first, last = (round(seconds * sample_rate) for seconds in (start, end))
    spectrogram(figure, middle, waveform(clip, sample_rate)[first:last], sample_rate, start)
    scale = Normalize(notes.min(initial=1), notes.max(initial=1))
    colours = mpl.colormaps["cividis"](scale(notes))
    piano_roll(bottom, found.notes, colours)
    bar = mpl.cm.ScalarMappable(scale, "cividis")
    figure.colorbar(bar, ax=bottom, label="Attention of the sound", pad=0.01)
    bottom.set(xlim=(start, end), xlabel="Time (s)")
    return figure


def _end(steps: np.ndarray) -> float:
    width = float(np.diff(steps).mean()) if len(steps) > 1 else 1.0
    return float(steps[-1]) + width


def own_time(found: AttentionMap, seconds: float = 1.0) -> tuple[float, float]:
    """Share of the notes' attention that goes to the sound near their own onsets.

    Returns
    -------
    share : float
        Mean over heads and notes of the attention to states that begin within `seconds` of the
        onset.
    by_chance : float
        The same for an attention that is uniform.
    """
    near = np.abs(found.steps[None] - found.notes[:, :1]) <= seconds
    weights = found.symbolic[:, 1:].mean(axis=0)
    return float((weights * near).sum(axis=1).mean()), float(near.mean())


def correlations(found: AttentionMap) -> dict[str, float]:
    """Spearman correlation of the attention that notes get with their pitch, velocity and duration.

    Attributes that are the same for all notes are left out.
    """
    _, notes = received(found)
    onsets, offsets, pitches, velocities = found.notes.T
    attributes = {"pitch": pitches, "velocity": velocities, "duration": offsets - onsets}
    varying = {name: values for name, values in attributes.items() if np.ptp(values) > 1e-9}
    return {name: float(spearmanr(notes, values)[0]) for name, values in varying.items()}
