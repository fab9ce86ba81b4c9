"""What each source contributes to the predictions of EmoMucs, song by song.

A source is taken away in two ways: exchanged for that of other test clips (permutation), or left
out of the fusion. Both are applied to C2D with late fusion and frozen source models.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.clips import Clip, Corpus, Fold
from mer.errors import InvalidDataError, ParameterError
from mer.evaluation.contributions import Contributions, exchanged, left_out
from mer.libraries import load_librosa
from mer.models.emomucs import N_MELS
from mer.papers.deberardinis2020.combinations import ALL_SOURCES, mean_intervals
from mer.papers.deberardinis2020.systems import SOURCES, SourceNetwork
from mer.papers.deberardinis2020.tables import COMBINED, about, letters
from mer.separation import MIX
from mer.study import plots
from mer.study.players import sound
from mer.study.scores import DIMENSIONS
from mer.study.specs import RunSpec
from mer.study.study import Study
from mer.study.text import corpus_title, estimate, listing, number
from mer.tasks import get_task

if TYPE_CHECKING:
    from IPython.display import HTML

    from mer.papers.deberardinis2020.systems import FittedFusion

PERMUTATION, LEFT_OUT = "permutation", "leave one out"
METHODS = (PERMUTATION, LEFT_OUT)
KINDS = Contributions._fields

WITHOUT = {source: COMBINED[letters(s for s in SOURCES if s != source)] for source in SOURCES}
"""The fusion that lacks a source, by source."""

UNIFORM = 1 / len(SOURCES)
REVISION = 1
"""Of the stored contributions."""

SAME = 1e-3
"""A model that is fitted again may differ by this much from the stored predictions: rounding."""

_KEYS = ["id", "group"]
_MEL_STEP, _FRAMES = 4, 120
_RANGE_DB = 60.0


def permutation_table(study: Study, specs: Sequence[RunSpec]) -> pd.DataFrame:
    """Contributions by permutation in runs of `ALL_SOURCES`, from the store where they are there.

    The heads are fitted again, which takes seconds since their source models are in the cache.
    Each source model's answers for a clip are exchanged for those for every other test clip of
    another group, see `mer.evaluation.contributions.exchanged`.

    One row a clip, source and dimension: id, group, source, dimension; signed, absolute and error,
    means over the models that were tested on the clip.

    Raises
    ------
    InvalidDataError
        If a model that is fitted again predicts something else than the stored run.
    ParameterError
        If a run is not of `ALL_SOURCES`, or there is none.
    """
    if not specs or any(spec.system != ALL_SOURCES for spec in specs):
        raise ParameterError(f"contributions are computed for runs of {ALL_SOURCES!r}")

    def compute() -> pd.DataFrame:
        found = study.inspect(specs, permuted)
        for spec, (_, given) in zip(specs, found, strict=True):
            _check_same(spec, given, study.store.read(spec).predictions)
        return _mean_over_models([frame for frame, _ in found])

    name = f"contributions {study.corpus_name} {specs[0].parameters['separator']}"
    key = {"runs": [spec.key for spec in specs], "revision": REVISION}
    return study.table(name, key, compute)


def permuted(
    fitted: FittedFusion, spec: RunSpec, corpus: Corpus, fold: Fold
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Contributions by permutation in one run, a row a clip, source and dimension; predictions."""
    test = corpus.select(fold.test)

    def predict(inputs: np.ndarray) -> np.ndarray:
        return fitted.predict_features(inputs.reshape(len(inputs), -1))

    sources = fitted.system.sources
    inputs = fitted.features(test).reshape(len(test), len(sources), -1)
    found = exchanged(predict, inputs, get_task(spec.task).targets(test), test.groups)
    clips = pd.DataFrame({"id": test.ids, "group": test.groups})
    return _frame(found, clips, sources), fitted.predict(test)


def _check_same(spec: RunSpec, given: pd.DataFrame, stored: pd.DataFrame) -> None:
    first, second = (frame.set_index("id")[[*DIMENSIONS]] for frame in (stored, given))
    gap = (first - second).abs().to_numpy().max()
    if not gap <= SAME:
        raise InvalidDataError(
            f"{spec.label}: fitted again, the model differs by up to {gap:.4f} from the stored "
            "predictions, so its contributions would be those of another model; remove the stored "
            "run to compute both again here"
        )


def left_out_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Contributions by leaving a source out, as from `permutation_table`.

    `predictions` are those of `ALL_SOURCES` and of the systems in `WITHOUT`; a ParameterError says
    if they were not tested on the same clips and folds.
    """
    keys = ["fold", "seed", *_KEYS]
    whole, *less = (
        predictions[predictions["system"] == system].set_index(keys)
        for system in (ALL_SOURCES, *WITHOUT.values())
    )
    for system, frame in zip(WITHOUT.values(), less, strict=True):
        if len(frame) != len(whole) or set(frame.index) != set(whole.index):
            raise ParameterError(f"{system!r} and {ALL_SOURCES!r} were tested on different clips")
    found = left_out(
        whole[[*DIMENSIONS]],
        [frame.loc[whole.index, [*DIMENSIONS]] for frame in less],
        whole[[f"target_{d}" for d in DIMENSIONS]],
    )
    clips = whole.index.to_frame(index=False)[_KEYS]
    return _mean_over_models([_frame(found, clips, tuple(WITHOUT))])


def _frame(found: Contributions, clips: pd.DataFrame, sources: Sequence[str]) -> pd.DataFrame:
    frames = []
    for (s, source), (d, dimension) in product(enumerate(sources), enumerate(DIMENSIONS)):
        values = {kind: getattr(found, kind)[:, s, d] for kind in KINDS}
        frames.append(clips.assign(source=source, dimension=dimension, **values))
    return pd.concat(frames, ignore_index=True)


def _mean_over_models(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    keys = [*_KEYS, "source", "dimension"]
    return pd.concat(frames).groupby(keys, sort=False)[list(KINDS)].mean().reset_index()


def both_methods(permuted: pd.DataFrame, without: pd.DataFrame) -> pd.DataFrame:
    """Contributions by both methods, named in the column `method`, with each source's share.

    The share is the source's part of the absolute contributions to a clip.
    """
    frames = [f.assign(method=m) for m, f in zip(METHODS, (permuted, without), strict=True)]
    found = pd.concat(frames, ignore_index=True)
    total = found.groupby(["method", "dimension", *_KEYS])["absolute"].transform("sum")
    return found.assign(share=(found["absolute"] / total).fillna(UNIFORM))


def contribution_summary(contributions: pd.DataFrame) -> pd.DataFrame:
    """Contributions of each source, averaged over clips, from `both_methods`.

    One row a method, dimension and source: method, dimension, source; share, absolute and error,
    each with its 95 % interval, resampling groups (share_low, share_high, ...).
    """
    keys, kinds = ["method", "dimension", "source"], ["share", "absolute", "error"]
    wide = contributions.pivot_table(index=_KEYS, columns=keys, values=kinds)
    ends = pd.DataFrame(mean_intervals(wide, wide.index.get_level_values("group")), ["low", "high"])
    table = contributions[keys].drop_duplicates(ignore_index=True)
    columns = pd.MultiIndex.from_frame(table)
    for kind in kinds:
        table[kind] = wide.mean()[kind].reindex(columns).to_numpy()
        table[[f"{kind}_low", f"{kind}_high"]] = ends[kind].T.reindex(columns).to_numpy()
    return table


def summary_text(summary: pd.DataFrame, dimension: str) -> pd.DataFrame:
    """A summary for reading: a row a source and method, indexed by source."""
    parts = []
    for method in METHODS:
        rows = summary.query("method == @method and dimension == @dimension")
        text = pd.DataFrame({"method": method}, index=pd.Index(rows["source"], name=None))
        for kind, (name, form) in _SHOWN.items():
            values = rows[[kind, f"{kind}_low", f"{kind}_high"]].to_numpy()
            text[name] = [estimate(*ends, **form) for ends in values]
        parts.append(text)
    return pd.concat(parts)


_SHOWN: Mapping[str, tuple[str, dict[str, Any]]] = {
    "absolute": ("change", {}),
    "share": ("share", {"percent": True}),
    "error": ("squared error", {"decimals": 4, "signed": True}),
}


def contribution_findings(study: Study, contributions: pd.DataFrame, summary: pd.DataFrame) -> str:
    """What the contributions show, in Markdown: a list, an item a method and dimension."""
    lines = [about(study), ""]
    for (method, dimension), rows in summary.groupby(["method", "dimension"], sort=False):
        most = rows.nlargest(1, "share").iloc[0]
        share = estimate(most["share"], most["share_low"], most["share_high"], percent=True)
        clips = contributions.query("method == @method and dimension == @dimension")
        largest = clips.loc[clips.groupby("id")["share"].idxmax(), "source"]
        first = largest.value_counts(normalize=True)
        helps = listing(rows.loc[rows["error_low"] > 0, "source"]) or "none"
        lines.append(
            f"- {str(dimension).capitalize()}, {method}: {most['source']} has the largest mean "
            f"share, {share}; {first.index[0]} has the largest share of "
            f"{number(first.iloc[0], percent=True)} of the clips. The squared error "
            f"grows without these sources (interval above 0): {helps}."
        )
    return "\n".join(lines)


def share_figure(contributions: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Shares of the sources in the contributions, a panel a dimension.

    Small dots are clips, by permutation; large ones are means with their intervals, by both
    methods.
    """
    rows = contributions[contributions["method"] == PERMUTATION]
    return plots.forest(
        summary,
        "source",
        "share",
        ends=("share_low", "share_high"),
        column="dimension",
        hue="method",
        palette=dict.fromkeys(METHODS, "black"),
        markers=dict(zip(METHODS, "oD", strict=True)),
        points=rows.drop(columns="method"),
        order=SOURCES,
        vlines={"_uniform": UNIFORM},
        xlabel="Share of the contributions",
    )


def extreme_songs(contributions: pd.DataFrame) -> tuple[str, str, str]:
    """The source with the largest mean share by permutation, and the clips with most and least.

    Shares of both dimensions are averaged.
    """
    rows = contributions[contributions["method"] == PERMUTATION]
    parts = rows.pivot_table(index="id", columns="source", values="share", sort=False)
    source = parts.mean().idxmax()
    return str(source), str(parts[source].idxmax()), str(parts[source].idxmin())


def song_table(contributions: pd.DataFrame, clips: Sequence[str]) -> pd.DataFrame:
    """Signed contributions to some clips for reading: a row a clip and source."""
    rows = contributions.set_index("id").loc[[*clips]].reset_index()
    rows["row"] = rows["id"] + ": " + rows["source"]
    rows["column"] = rows["dimension"] + ", " + rows["method"]
    table = rows.pivot_table(index="row", columns="column", values="signed", sort=False)
    return table.map(lambda value: number(value, signed=True))


def excerpt_table(study: Study, spec: RunSpec, clips: Sequence[str]) -> pd.DataFrame:
    """What the networks of a fusion hear of some clips, from the store where it is there.

    One row a clip, input ("mix" or a source) and frame: id, input, seconds, and the level of 24 mel
    bands in whole dB, band_0 the lowest; coarser than what the networks get.
    """

    def compute() -> pd.DataFrame:
        frames, system = [], _system(spec)
        for clip, name in product(study.corpus.select(clips), (MIX, *SOURCES)):
            coarse = _coarser(system.log_mel(clip, name).astype(float))
            bands = {f"band_{k}": band for k, band in enumerate(np.rint(coarse).astype(int))}
            seconds = np.linspace(0, system.seconds, coarse.shape[1], endpoint=False)
            frames.append(pd.DataFrame({"id": clip.id, "input": name, "seconds": seconds, **bands}))
        return pd.concat(frames, ignore_index=True)

    key = {"run": spec.key, "clips": list(clips), "revision": REVISION}
    return study.table(f"excerpts {study.corpus_name}", key, compute)


def _system(spec: RunSpec) -> SourceNetwork:
    assert isinstance(spec.built, SourceNetwork)
    return spec.built


def _coarser(log_mel: np.ndarray) -> np.ndarray:
    """Means of blocks of bands and frames."""
    step = max(log_mel.shape[1] // _FRAMES, 1)
    n_bands, n_frames = log_mel.shape[0] // _MEL_STEP, log_mel.shape[1] // step
    whole = log_mel[: n_bands * _MEL_STEP, : n_frames * step]
    blocks: np.ndarray = whole.reshape(n_bands, _MEL_STEP, n_frames, step).mean(axis=(1, 3))
    return blocks


def excerpt_figure(table: pd.DataFrame, contributions: pd.DataFrame, spec: RunSpec) -> Figure:
    """What the networks hear of some clips, a column a clip, with each source's contributions.

    `table` is that of `excerpt_table` for this run, `contributions` that of `both_methods`.
    """
    edges = load_librosa().mel_frequencies(N_MELS + 2, fmin=0, fmax=_system(spec).sample_rate / 2)
    frequencies = edges[1:-1].reshape(-1, _MEL_STEP).mean(axis=1)
    inputs = table["input"].unique()
    figure, axes = plots.panels(len(inputs), table["id"].nunique(), 6.0, sharex=True, sharey=True)
    rows = contributions[contributions["method"] == PERMUTATION]
    signed = rows.set_index(["id", "source", "dimension"])["signed"]
    for column, (clip, frames) in zip(axes.T, table.groupby("id", sort=False), strict=True):
        top = frames.filter(like="band_").to_numpy().max()
        for axis, name in zip(column, inputs, strict=True):
            part = frames[frames["input"] == name]
            levels = part.filter(like="band_").to_numpy(float).T - top
            end = part["seconds"].iloc[-1] + part["seconds"].diff().mean()
            options = {"top": 0.0, "range_db": _RANGE_DB}
            image = plots.spectrogram(axis, levels, frequencies, end, **options)
            axis.set(title=_title(name, clip, signed), ylabel="")
        axis.set_xlabel("Time (s)")
    figure.supylabel("Frequency (Hz)", fontsize=9)
    figure.colorbar(image, ax=axes, label="dB below the loudest", pad=0.01, aspect=60)
    return figure


def _title(name: str, clip: Any, signed: pd.Series) -> str:
    if name == MIX:
        return plots.verbatim(f"{clip}: {name}")
    values = (f"{d} {number(signed[clip, name, d], signed=True)}" for d in DIMENSIONS)
    return f"{name}: {', '.join(values)}"


def players(columns: Mapping[str, tuple[Clip, RunSpec]]) -> HTML:
    """Players of the mix and the sources of some clips, as the networks hear them.

    `columns` has by title a clip, and a run that says the separator and the excerpt, whose
    beginning is played. The page then has the sound in it: publish it only where you may.
    """
    from IPython.display import HTML

    table = {
        html.escape(title): {name: _player(_system(spec), clip, name) for name in (MIX, *SOURCES)}
        for title, (clip, spec) in columns.items()
    }
    return HTML(pd.DataFrame(table).to_html(escape=False, border=0))


def song_players(study: Study, spec: RunSpec, clips: Sequence[str]) -> HTML:
    """Players of some clips of the corpus, or a word on why there are none."""
    from IPython.display import HTML

    if study.settings.compute:
        return players({clip.id: (clip, spec) for clip in study.corpus.select(clips)})
    name = corpus_title(study.corpus_name, article=True)
    text = f"Players need the audio of {name}, which the book does not have."
    return HTML(f"<p>{text} Run this notebook where the audio is available.</p>")


def _player(system: SourceNetwork, clip: Clip, source: str) -> str:
    address = sound(system.excerpt(clip, source), system.sample_rate, source).src_attr()
    label = f'aria-label="{html.escape(f"{source} of {clip.id}")}"'
    return f'<audio {label} controls style="width: 15em" src="{address}"></audio>'
