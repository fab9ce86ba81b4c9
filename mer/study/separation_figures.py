"""Tables and figures of how well separators take mixes apart."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mer.audio import crop
from mer.composing.stems import mixture, stems
from mer.corpora import load
from mer.errors import MissingDataError
from mer.evaluation.separation import separation_scores
from mer.evaluation.uncertainty import group_bootstrap
from mer.features.spectral import log_mel
from mer.separation import SEPARATORS, SOURCES
from mer.study.figures import BLUE, GREEN, ORANGE, PURPLE, VERMILLION, panels
from mer.study.parameters import SeparationParameters
from mer.study.separations import PROFILE_TESTS, REFERENCES, Mix, separation_table
from mer.study.store import RunStore

MEAN = "mean of sources"
_COLOURS = (ORANGE, GREEN, BLUE, VERMILLION, PURPLE)
_RANGE_DB = 80.0


def collected(store: RunStore, settings: SeparationParameters) -> pd.DataFrame:
    """Scores of both references and the separators that the parameters name, on all tests.

    Other separators follow on the tests for which their scores are stored already.

    Raises
    ------
    MissingDataError
        If scores are not stored and not to be computed, or data or weights are missing.
    """
    options: dict[str, Any] = {"profile": settings.profile, "n_jobs": settings.n_jobs}
    frames = []
    for test in PROFILE_TESTS[settings.profile]:
        frames += [
            separation_table(store, test, name, compute=settings.compute, **options)
            for name in (*REFERENCES, *settings.separators)
        ]
        for name in (other for other in SEPARATORS if other not in settings.separators):
            with suppress(MissingDataError):
                frames.append(separation_table(store, test, name, compute=False, **options))
    return pd.concat(frames, ignore_index=True)


def not_run(scores: pd.DataFrame) -> list[str]:
    """Separators of which there are no scores."""
    present = set(scores["separator"])
    return [name for name in SEPARATORS if name not in present]


def gains(scores: pd.DataFrame, reference: str = "mixture") -> pd.DataFrame:
    """Scores minus those of a reference, on the same mix and source; without its own rows."""
    keys = ["test", "id", "source"]
    base = scores[scores["separator"] == reference].set_index(keys)["si_sdr"]
    others = scores[scores["separator"] != reference]
    against = base.reindex(pd.MultiIndex.from_frame(others[keys])).to_numpy()
    return others.assign(si_sdr=others["si_sdr"] - against)


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """SI-SDR of each test, separator and source, as text.

    Parameters
    ----------
    scores : DataFrame
        Rows of `mer.study.separations.separation_table`, or from `gains`.

    Returns
    -------
    DataFrame
        Index test and separator; a column for each source and for the mean over the sources of
        a mix: mean over mixes in dB and, where there are two groups or more, a 95 % interval that
        draws groups again; mixes, their number. A source that is silent in a mix does not count
        there.
    """
    rows = {}
    for key, frame in scores.groupby(["test", "separator"], sort=False):
        parts = {source: frame[frame["source"] == source] for source in SOURCES}
        parts[MEAN] = frame.groupby(["id", "group"])[["si_sdr"]].mean().reset_index()
        rows[key] = {name: _mean_text(part) for name, part in parts.items()}
        rows[key]["mixes"] = str(frame["id"].nunique())
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["test", "separator"])
    return table


def _mean_text(part: pd.DataFrame) -> str:
    heard = part.dropna(subset="si_sdr")
    if heard.empty:
        return "–"
    mean = f"{heard['si_sdr'].mean():z.1f}"
    if heard["group"].nunique() < 2:
        return mean
    low, high = group_bootstrap(heard["si_sdr"], heard["group"])
    return f"{mean} [{low:z.1f}, {high:z.1f}]"


def findings(scores: pd.DataFrame, separator: str) -> list[str]:
    """For each test, a line on a separator against both references, source by source."""
    lines = []
    for test, frame in scores.groupby("test", sort=False):
        told = []
        for reference in REFERENCES:
            gain = gains(frame, reference)
            gain = gain[gain["separator"] == separator].dropna(subset="si_sdr")
            better = gain.groupby("source", sort=False)["si_sdr"].agg(lambda v: (v > 0).mean())
            parts = [f"{source} {share:.0%}" for source, share in better.items()]
            mean = gain["si_sdr"].mean()
            told.append(
                f"minus {reference} {mean:+z.1f} dB on average (above it in {', '.join(parts)} of "
                "the mixes)"
            )
        lines.append(f"- {test}: {separator} {'; '.join(told)}.")
    return lines


def distribution(scores: pd.DataFrame) -> Figure:
    """SI-SDR of every mix: a panel a source, a row a test and separator.

    Boxes reach from quartile to quartile, with the median inside.
    """
    parts = [frame for _, frame in scores.groupby(["test", "separator"], sort=False)]
    tests, names = (list(scores[column].unique()) for column in ("test", "separator"))
    figure, axes = panels(1, len(SOURCES), 1.0 + 0.3 * len(parts), sharey=True)
    rng = np.random.default_rng(0)
    for axis, source in zip(axes[0], SOURCES, strict=True):
        for place, frame in enumerate(parts):
            colour = _COLOURS[names.index(frame["separator"].iloc[0]) % len(_COLOURS)]
            values = frame.loc[frame["source"] == source, "si_sdr"].dropna().to_numpy()
            jitter = place + rng.uniform(-0.3, 0.3, values.size)
            axis.plot(values, jitter, ".", ms=3, alpha=0.5, color=colour)
            if values.size > 2:
                _box(axis, values, place)
        axis.set(title=source.capitalize(), xlabel="SI-SDR (dB)")
    firsts = [frame.iloc[0] for frame in parts]
    labels = [f"{row['separator']}\n{row['test']}" for row in firsts]
    if len(tests) == 1:
        labels = [row["separator"] for row in firsts]
    axes[0, 0].set_yticks(range(len(parts)), labels, fontsize=7)
    axes[0, 0].invert_yaxis()
    return figure


def _box(axis: Axes, values: np.ndarray, place: int) -> None:
    line = {"color": "black", "lw": 1}
    style: dict[str, Any] = {f"{part}props": line for part in ("box", "whisker", "median", "cap")}
    axis.boxplot(values, positions=[place], orientation="horizontal", widths=0.5, sym="", **style)


def example_mix() -> Mix:
    """Ten seconds of the embedded corpus, played by a band: high in valence and arousal."""
    clips = load("composed_band", size=24, duration=10.0)
    clip = next(clip for clip in clips if clip.labels.quadrant == 1)
    rendered = stems(clip)
    sources = {source: rendered[source] for source in SOURCES}
    return Mix(clip.id, clip.group, sources, mixture(sources))


def taken_apart(mix: Mix, found: dict[str, np.ndarray], *, seconds: float = 10.0) -> Figure:
    """Log-mel spectrograms of a mix's sources: left as they are, right as they were found.

    Parameters
    ----------
    mix : Mix
    found : dict of str to np.ndarray, shape (n_samples,)
        From `mer.study.separations.estimates`.
    seconds : float
    """
    scores = separation_scores(mix.stems, found)
    figure, axes = panels(len(SOURCES), 2, 6.0, sharex=True, sharey=True)
    top = float(_levels(mix.samples, mix.sample_rate, seconds).max())
    for row, source in zip(axes, SOURCES, strict=True):
        score = "silent" if np.isnan(scores[source]) else f"{scores[source]:z.1f} dB"
        named = ((mix.stems, source.capitalize()), (found, f"separated: {score}"))
        for axis, (samples, title) in zip(row, named, strict=True):
            levels = _levels(samples[source], mix.sample_rate, seconds)
            extent = (0, seconds, 0, levels.shape[0])
            limits = {"vmin": top - _RANGE_DB, "vmax": top, "cmap": "magma"}
            image = axis.imshow(levels, origin="lower", aspect="auto", extent=extent, **limits)
            axis.set_title(title)
            axis.grid(visible=False)
        row[0].set_ylabel("Mel band")
    for axis in axes[-1]:
        axis.set_xlabel("Time (s)")
    figure.colorbar(image, ax=axes, label="dB", pad=0.01)
    return figure


def _levels(samples: np.ndarray, sample_rate: int, seconds: float) -> np.ndarray:
    return log_mel(crop(samples, int(seconds * sample_rate)), sample_rate, hop_length=512)
