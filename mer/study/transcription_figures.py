"""Tables and figures of how well transcribers hear."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mer.audio import crop, waveform
from mer.clips import Clip
from mer.errors import MissingDataError
from mer.evaluation.uncertainty import group_bootstrap
from mer.features.notes import read_notes
from mer.study.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, panels
from mer.study.parameters import TranscriptionParameters
from mer.study.store import RunStore
from mer.study.tables import number_text
from mer.study.transcriptions import PROFILE_TESTS, transcription_scores
from mer.transcription import TRANSCRIBERS
from mer.transcription.spectrogram import (
    BANDS_PER_SEMITONE,
    FLOOR_DB,
    FRAMES_PER_SECOND,
    LOWEST_PITCH,
    SAMPLE_RATE,
    STEPS_PER_DB,
    log_frequency_spectrogram,
)

_F1 = {
    "onset_f1": "onset",
    "onset_offset_f1": "onset and offset",
    "onset_offset_velocity_f1": "and velocity",
}
FOUND, MISSED, FALSE = "found", "missed", "not played"
_KINDS = {FOUND: (BLUE, "o"), MISSED: (VERMILLION, "x"), FALSE: (ORANGE, "^")}


def collected(store: RunStore, settings: TranscriptionParameters) -> pd.DataFrame:
    """Scores of all tests and transcribers that the parameters name.

    Other transcribers follow on the same tests where their scores are stored already.

    Raises
    ------
    MissingDataError
        If scores are not stored and not to be computed, or data or a package are missing.
    """
    options: dict[str, Any] = {"profile": settings.profile, "n_jobs": settings.n_jobs}
    frames = []
    for test in settings.tests or PROFILE_TESTS[settings.profile]:
        for name in settings.transcribers:
            scores = transcription_scores(store, test, name, compute=settings.compute, **options)
            frames.append(scores)
        for name in sorted({*TRANSCRIBERS} - {*settings.transcribers}):
            with suppress(MissingDataError):
                frames.append(transcription_scores(store, test, name, compute=False, **options))
    return pd.concat(frames, ignore_index=True)


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of each test and transcriber, as text.

    Parameters
    ----------
    scores : DataFrame
        Rows of `mer.study.transcriptions.transcription_scores`, of one test or several.

    Returns
    -------
    DataFrame
        Index test and transcriber; clips, hours of audio, F1 of the three kinds (mean over clips
        and a 95 % interval that draws groups again), precision and recall of onsets. Clips in
        which nothing is played and nothing is found do not count.
    """
    rows = {}
    for key, frame in scores.groupby(["test", "transcriber"], sort=False):
        heard = frame.dropna(subset=list(_F1))
        rows[key] = {
            "clips": len(heard),
            "hours": f"{heard['seconds'].sum() / 3600:.1f}",
            **{f"F1: {name}": _mean_text(heard, column) for column, name in _F1.items()},
            "precision": number_text(heard["onset_precision"].mean()),
            "recall": number_text(heard["onset_recall"].mean()),
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["test", "transcriber"])
    return table


def _mean_text(heard: pd.DataFrame, column: str) -> str:
    mean = number_text(heard[column].mean())
    if heard["group"].nunique() < 2:
        return mean
    interval = group_bootstrap(heard[column], heard["group"])
    return f"{mean} [{number_text(interval.low)}, {number_text(interval.high)}]"


def note_counts(scores: pd.DataFrame) -> pd.DataFrame:
    """What a transcription changes of the number of notes, by test and transcriber.

    Returns
    -------
    DataFrame
        Over clips: notes played and found a second (means), the mean of found over played, the
        mean absolute difference of the counts as a share of the notes played, and the correlation
        of the counts a second (missing for fewer than three clips).
    """
    rows = {}
    for key, frame in scores.groupby(["test", "transcriber"], sort=False):
        played, found = (frame[name] / frame["seconds"] for name in ("played", "found"))
        ratio = (found / played)[played > 0]
        rows[key] = {
            "played a second": played.mean(),
            "found a second": found.mean(),
            "found / played": ratio.mean(),
            "mean absolute error": (ratio - 1).abs().mean(),
            "correlation": played.corr(found) if len(frame) > 2 else np.nan,
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["test", "transcriber"])
    return table


def distribution(scores: pd.DataFrame) -> Figure:
    """Onset F1 of every clip: by test and transcriber, and against the notes played a second."""
    parts = list(scores.groupby(["test", "transcriber"], sort=False))
    several = len(set(scores["transcriber"])) > 1
    figure, ((left, right),) = panels(1, 2, 1.6 + 0.4 * len(parts), sharex=True)
    rng = np.random.default_rng(0)
    colours = (BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE)
    for number, (_, frame) in enumerate(parts):
        f1, colour = frame["onset_f1"].dropna(), colours[number % len(colours)]
        jitter = number + rng.uniform(-0.3, 0.3, len(f1))
        left.plot(f1, jitter, ".", ms=3, alpha=0.4, color=colour)
        box = {"color": "black", "lw": 1}
        style = {f"{part}props": box for part in ("box", "whisker", "median", "cap")}
        left.boxplot(f1, positions=[number], orientation="horizontal", widths=0.5, sym="", **style)
        density = (frame["played"] / frame["seconds"])[f1.index]
        right.plot(f1, density, ".", ms=3, alpha=0.5, color=colour)
    names = [f"{test}\n{name}" if several else str(test) for (test, name), _ in parts]
    left.set_yticks(range(len(parts)), names)
    left.invert_yaxis()
    left.set_xlabel("Onset F1 of a clip")
    right.set(xlabel="Onset F1 of a clip", ylabel="Notes played a second")
    return figure


def matched(played: np.ndarray, found: np.ndarray) -> dict[str, np.ndarray]:
    """Notes of a transcription by what became of them.

    Parameters
    ----------
    played, found : np.ndarray, shape (n, 4)
        Onset and offset in seconds, MIDI pitch, velocity.

    Returns
    -------
    dict of str to np.ndarray, shape (n, 4)
        Of `FOUND` (played notes whose pitch is right and whose onset is found within 50 ms),
        `MISSED` and `FALSE`.
    """
    from mir_eval.transcription import match_notes
    from mir_eval.util import midi_to_hz

    sides = [part for notes in (played, found) for part in (notes[:, :2], midi_to_hz(notes[:, 2]))]
    pairs = match_notes(*sides, offset_ratio=None) if len(played) and len(found) else []
    hits = np.asarray(pairs, dtype=int).reshape(-1, 2)
    return {
        FOUND: played[hits[:, 0]],
        MISSED: np.delete(played, hits[:, 0], axis=0),
        FALSE: np.delete(found, hits[:, 1], axis=0),
    }


def heard(clip: Clip, found: np.ndarray, *, seconds: float = 10.0) -> Figure:
    """What a transcriber sees and finds in the beginning of a clip.

    Parameters
    ----------
    clip : Clip
        With MIDI: the notes played, held as long as they sound.
    found : np.ndarray, shape (n, 4)
    seconds : float

    Returns
    -------
    Figure
        Above, the log-frequency spectrogram (long windows); below, the notes: found, missed, and
        not played. Markers stand at onsets.
    """
    assert clip.midi is not None, "a clip to compare with has MIDI"
    played = read_notes(clip.midi, pedal=True)
    shown = [notes[notes[:, 0] < seconds] for notes in (played, found)]
    figure, (top, bottom) = panels(2, 1, 4.8, sharex=True)
    samples = crop(waveform(clip, SAMPLE_RATE), int(seconds * SAMPLE_RATE))
    _levels(figure, top[0], samples)
    _note_kinds(bottom[0], matched(*shown))
    bottom[0].set(xlim=(0, seconds), xlabel="Time (s)", ylabel="Pitch (MIDI)")
    handles, labels = bottom[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _levels(figure: Figure, axis: Axes, samples: np.ndarray) -> None:
    levels = log_frequency_spectrogram(samples)[1] / STEPS_PER_DB + FLOOR_DB
    n_bands, n_frames = levels.shape
    low = LOWEST_PITCH - 1.5 / BANDS_PER_SEMITONE
    ends = (0, n_frames / FRAMES_PER_SECOND, low, low + n_bands / BANDS_PER_SEMITONE)
    floor = levels.max() - 80
    image = axis.imshow(
        levels, origin="lower", aspect="auto", extent=ends, vmin=floor, cmap="magma"
    )
    axis.set_ylabel("Pitch (MIDI)")
    axis.grid(visible=False)
    figure.colorbar(image, ax=axis, label="dB", pad=0.01)


def _note_kinds(axis: Axes, kinds: Mapping[str, np.ndarray]) -> None:
    for kind, notes in kinds.items():
        colour, marker = _KINDS[kind]
        onsets, offsets, pitches = notes[:, :3].T
        axis.barh(pitches, offsets - onsets, left=onsets, height=0.8, color=colour, alpha=0.35)
        label = f"{kind} ({len(notes)})"
        axis.plot(onsets, pitches, marker, ms=4, color=colour, label=label)
