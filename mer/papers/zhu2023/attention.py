"""Cross-domain attention of a fitted model, and the model of the package that shows it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from mer.audio import waveform
from mer.clips import Clip
from mer.corpora import load
from mer.papers.zhu2023.systems import AttentionMap, DomainItem
from mer.papers.zhu2023.tables import PROPOSED, proposed
from mer.study import plots
from mer.study.profiles import get_profile
from mer.study.text import number
from mer.study.weights import Trainer
from mer.systems.base import Context
from mer.systems.network import FittedNetwork
from mer.tasks import get_task
from mer.weights import load_weights, write_weights

WEIGHTS = "zhu2023"
SAMPLE_RATE = 22050
_SPLIT = "split_cls"


def train_fitted(path: Path, soundfonts: Sequence[Path], seed: int) -> dict[str, str]:
    """Train the proposed model on EMOPIA's official split at the sizes of profile cpu.

    A `mer.study.weights.Trainer`, which uses no soundfonts.
    """
    corpus = load("emopia")
    fold = corpus.split(_SPLIT).folds[0]
    system = get_profile("cpu").sized(PROPOSED, proposed)
    context = Context(get_task("4Q"), seed=seed, progress=True)
    fitted = system.fit(corpus.select(fold.train), corpus.select(fold.valid), context)
    best = max(row["valid_accuracy"] for row in fitted.history)
    facts = {
        "corpus": f"emopia, training clips of {_SPLIT}",
        "clips": str(len(fold.train)),
        "seed": str(seed),
        "validation_accuracy": f"{best:.4f}",
        "parameters": json.dumps(system.parameters),
    }
    assert isinstance(fitted, FittedNetwork), "the proposed model is a network"
    write_weights(path, fitted.network.state_dict(), facts)
    return facts


TRAINERS: dict[str, Trainer] = {WEIGHTS: train_fitted}


def load_fitted() -> FittedNetwork:
    """The proposed model that comes with the package, on the CPU.

    Raises
    ------
    MissingDataError, InvalidDataError
        If its file is missing or altered.
    """
    tensors, facts = load_weights(WEIGHTS)
    system = proposed.configured(json.loads(facts["parameters"]))
    n_bins = len(tensors["acoustic.standardise.mean"])
    network = system.network(4, DomainItem(0, feature=np.empty((n_bins, 0))))
    network.load_state_dict(tensors)
    return FittedNetwork(system, network.eval(), 4, torch.device("cpu"), [])


def received(attention: AttentionMap) -> tuple[np.ndarray, np.ndarray]:
    """Attention that each state of the sound and each note gets from the other domain.

    Sums over heads and over all that ask, divided by their mean; the start token, which stands for
    no note, counts neither as asking nor as asked (it alone asks where there are no notes).

    Returns
    -------
    sound : np.ndarray, shape (m,)
    notes : np.ndarray, shape (n,)
        Both have the mean 1.
    """
    asking = attention.symbolic[:, 1:] if len(attention.notes) else attention.symbolic
    sound = asking.sum(axis=(0, 1))
    notes = attention.acoustic[:, :, 1:].sum(axis=(0, 1))
    return sound / sound.mean(), notes / notes.mean() if len(notes) else notes


def attention_figure(attention: AttentionMap, clip: Clip) -> Figure:
    """Attention over the sound and the notes of a window of that clip.

    From above: what the sound gets from the notes, the log-mel spectrogram, and the notes, coloured
    by what they get from the sound. 1 is the mean of the window.
    """
    start, end = attention.steps[0], _end(attention.steps)
    sound, notes = received(attention)
    sizes = {"height_ratios": (1, 2, 2.4)}
    figure, ((top,), (middle,), (bottom,)) = plots.panels(3, 1, 5.4, sharex=True, gridspec_kw=sizes)
    top.stairs(sound, [*attention.steps, end], color=plots.BLUE, baseline=None)
    top.axhline(1, color="grey", lw=0.8, ls="--")
    top.set_ylabel("Attention\nof the notes")
    first, last = (round(seconds * SAMPLE_RATE) for seconds in (start, end))
    samples = waveform(clip, SAMPLE_RATE)[first:last]
    levels, frequencies, seconds = plots.mel_levels(samples, SAMPLE_RATE)
    image = plots.spectrogram(middle, levels, frequencies, start + seconds, start=start)
    figure.colorbar(image, ax=middle, label="dB", pad=0.01)
    scale = Normalize(notes.min(initial=1), notes.max(initial=1))
    plots.piano_roll(bottom, attention.notes, mpl.colormaps["cividis"](scale(notes)))
    bar = mpl.cm.ScalarMappable(scale, "cividis")
    figure.colorbar(bar, ax=bottom, label="Attention of the sound", pad=0.01)
    bottom.set(xlim=(start, end), xlabel="Time (s)")
    return figure


def _end(steps: np.ndarray) -> float:
    width = float(np.diff(steps).mean()) if len(steps) > 1 else 1.0
    return float(steps[-1]) + width


def own_time(attention: AttentionMap, seconds: float = 1.0) -> tuple[float, float]:
    """Share of the notes' attention that goes to the sound near their own onsets.

    Returns
    -------
    share : float
        Mean over heads and notes of the attention to states that begin within `seconds` of the
        onset.
    by_chance : float
        The same for an attention that is uniform.
    """
    near = np.abs(attention.steps[None] - attention.notes[:, :1]) <= seconds
    weights = attention.symbolic[:, 1:].mean(axis=0)
    return float((weights * near).sum(axis=1).mean()), float(near.mean())


def correlations(attention: AttentionMap) -> dict[str, float]:
    """Spearman correlation of the attention that notes get with their pitch, velocity and duration.

    Attributes that are the same for all notes are left out.
    """
    _, notes = received(attention)
    onsets, offsets, pitches, velocities = attention.notes.T
    attributes = {"pitch": pitches, "velocity": velocities, "duration": offsets - onsets}
    varying = {name: values for name, values in attributes.items() if np.ptp(values) > 1e-9}
    return {name: float(spearmanr(notes, values)[0]) for name, values in varying.items()}


def attention_summary(attention: AttentionMap) -> str:
    """Where the attention goes, in Markdown."""
    share, chance = (number(value, percent=True) for value in own_time(attention))
    start = number(attention.acoustic[:, :, 0].mean(), percent=True)
    ranks = correlations(attention)
    listed = ", ".join(f"{name} {number(value, 2, signed=True)}" for name, value in ranks.items())
    return (
        f"The notes have {share} of their attention on frames within a second of their own onset "
        f"(uniform attention: {chance}). The frames have {start} of their attention on the start "
        f"token, which is no note. Rank correlation of the attention to a note: {listed}."
    )
