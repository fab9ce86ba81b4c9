"""What each source contributes to the predictions of EmoMucs, song by song.

Two ways to take a source away: exchange it for that of other test clips (permutation), or leave it
out of the fusion. Both are applied to C2D with late fusion and frozen source models.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mer.clips import Corpus, Fold
from mer.errors import InvalidDataError, ParameterError
from mer.evaluation.contributions import Contributions, exchanged, left_out, shares
from mer.evaluation.uncertainty import group_bootstrap
from mer.study.executor import environment
from mer.study.interpretation.combinations import ALL_SOURCES, sources_of
from mer.study.regression import DIMENSIONS
from mer.study.session import Session
from mer.study.specs import RunSpec, resolve
from mer.study.store import Run
from mer.systems.base import Context
from mer.systems.variants import LETTERS, emomucs_name
from mer.tasks import get_task

if TYPE_CHECKING:
    from mer.systems.source_models import FittedFusion

PERMUTATION, LEFT_OUT = "permutation", "leave one out"
METHODS = (PERMUTATION, LEFT_OUT)
KINDS = Contributions._fields

WITHOUT = {
    source: emomucs_name("C2D", "late", "freeze", tuple(s for s in LETTERS if s != source))
    for source in LETTERS
}
"""The fusion that lacks a source, by source."""

REVISION = 1
"""Of the stored contributions."""

SAME = 1e-3
"""A model that is fitted again may differ by this much from the stored predictions: rounding."""

_KEYS = ["id", "group"]
_MEL_STEP, _FRAMES = 4, 120


def permutation_table(session: Session, specs: Sequence[RunSpec]) -> pd.DataFrame:
    """Contributions by permutation, from the store where they are there.

    The heads of stored runs are fitted again, which takes seconds since their source models are
    kept in the cache. Each source model's answers for a clip are exchanged for those for every
    other test clip of another group, see `mer.evaluation.contributions.exchanged`.

    Parameters
    ----------
    session : Session
    specs : sequence of RunSpec
        Stored runs of the fusion of all sources.

    Returns
    -------
    DataFrame
        One row a clip, source and dimension: id, group, source, dimension; signed, absolute and
        error, means over the models that were tested on the clip.

    Raises
    ------
    MissingDataError
        If the table is not stored and nothing is to be computed.
    InvalidDataError
        If a model that is fitted again predicts something else than the stored run.
    ParameterError
        If a run is not of `ALL_SOURCES`, or there is none.
    """
    if not specs or any(spec.system != ALL_SOURCES for spec in specs):
        raise ParameterError(f"contributions are computed for runs of {ALL_SOURCES!r}")
    spec = {"runs": [spec.key for spec in specs], "revision": REVISION}
    compute = partial(_permuted, session, specs) if session.settings.compute else None
    name = f"contributions {session.corpus_name} {specs[0].parameters['separator']}"
    return session.store.table(name, spec, compute)


def _permuted(session: Session, specs: Sequence[RunSpec]) -> tuple[pd.DataFrame, dict[str, Any]]:
    from joblib import Parallel, delayed

    started = time.perf_counter()
    corpus, n_jobs = session.corpus, getattr(session.settings, "n_jobs", None)
    folds = corpus.split(specs[0].split).folds
    calls = (
        delayed(permuted_run)(spec, corpus, folds[spec.fold], session.store.read(spec))
        for spec in specs
    )
    frames = Parallel(n_jobs=min(n_jobs, len(specs)) if n_jobs else -1)(calls)
    details = {
        "models": len(specs),
        "environment": environment(),
        "wall_seconds": round(time.perf_counter() - started, 1),
    }
    return _mean_over_models(frames), details


def permuted_run(spec: RunSpec, corpus: Corpus, fold: Fold, stored: Run) -> pd.DataFrame:
    """Contributions by permutation in one run, a row a clip, source and dimension."""
    import torch

    from mer.systems.source_models import predict_batches

    fitted = refitted(spec, corpus, fold, stored)
    test = corpus.select(fold.test)
    answers = fitted.models.features(test, fitted.fusion)

    def predict(inputs: np.ndarray) -> np.ndarray:
        flat = torch.from_numpy(inputs.reshape(len(inputs), -1)).float()
        return predict_batches(fitted.head, flat)

    inputs = answers.reshape(len(test), len(sources_of(spec.system)), -1)
    found = exchanged(predict, inputs, get_task(spec.task).targets(test), test.groups)
    clips = pd.DataFrame({"id": test.ids, "group": test.groups})
    return _frame(found, clips, sources_of(spec.system))


def refitted(spec: RunSpec, corpus: Corpus, fold: Fold, stored: Run) -> FittedFusion:
    """The fusion of a stored run, its head fitted again.

    Raises
    ------
    InvalidDataError
        If it does not predict what is stored.
    """
    from mer.systems.source_models import FittedFusion

    system = resolve(spec.system, spec.parameters)
    train, valid, test = (corpus.select(part) for part in (fold.train, fold.valid, fold.test))
    fitted = system.fit(train, valid, Context(get_task(spec.task), seed=spec.seed))
    if not isinstance(fitted, FittedFusion):
        raise ParameterError(f"{spec.system!r} has no frozen source models")
    given = fitted.predict(test).set_index("id")[list(DIMENSIONS)]
    gap = (stored.predictions.set_index("id")[list(DIMENSIONS)] - given).abs().to_numpy().max()
    if not gap <= SAME:
        raise InvalidDataError(
            f"{spec.label}: fitted again, the model differs by up to {gap:.4f} from the stored "
            "predictions, so its contributions would be those of another model; remove the stored "
            "run to compute both again here"
        )
    return fitted


def left_out_table(predictions: pd.DataFrame) -> pd.DataFrame:
    """Contributions by leaving a source out, from stored predictions.

    Parameters
    ----------
    predictions : DataFrame
        Rows of `ALL_SOURCES` and of the systems in `WITHOUT`, from
        `mer.study.session.Session.run`.

    Returns
    -------
    DataFrame
        As from `permutation_table`.

    Raises
    ------
    ParameterError
        If these systems were not tested on the same clips and folds.
    """
    keys = ["fold", "seed", *_KEYS]
    targets = [f"target_{d}" for d in DIMENSIONS]
    by_system = {
        system: predictions[predictions["system"] == system].set_index(keys)
        for system in (ALL_SOURCES, *WITHOUT.values())
    }
    whole = by_system[ALL_SOURCES]
    for system, frame in by_system.items():
        if len(frame) != len(whole) or set(frame.index) != set(whole.index):
            raise ParameterError(f"{system!r} and {ALL_SOURCES!r} were tested on different clips")
    less = [by_system[system].loc[whole.index, list(DIMENSIONS)] for system in WITHOUT.values()]
    found = left_out(whole[list(DIMENSIONS)], less, whole[targets])
    clips = whole.index.to_frame(index=False)[_KEYS]
    return _mean_over_models([_frame(found, clips, tuple(WITHOUT))])


def _frame(found: Contributions, clips: pd.DataFrame, sources: Sequence[str]) -> pd.DataFrame:
    frames = [
        clips.assign(
            source=source,
            dimension=dimension,
            **{kind: getattr(found, kind)[:, s, d] for kind in KINDS},
        )
        for s, source in enumerate(sources)
        for d, dimension in enumerate(DIMENSIONS)
    ]
    return pd.concat(frames, ignore_index=True)


def _mean_over_models(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    keys = [*_KEYS, "source", "dimension"]
    return pd.concat(frames).groupby(keys, sort=False)[list(KINDS)].mean().reset_index()


def both_methods(permuted: pd.DataFrame, without: pd.DataFrame) -> pd.DataFrame:
    """Contributions of both kinds, told apart by the column `method`."""
    frames = [f.assign(method=m) for m, f in zip(METHODS, (permuted, without), strict=True)]
    return pd.concat(frames, ignore_index=True)


def song_shares(contributions: pd.DataFrame) -> pd.DataFrame:
    """Each source's part of the absolute contributions to a clip.

    Parameters
    ----------
    contributions : DataFrame
        From `both_methods`.

    Returns
    -------
    DataFrame
        Index method, dimension, id and group; a column a source, which sum to 1.
    """
    index = ["method", "dimension", *_KEYS]
    table = contributions.pivot_table(index=index, columns="source", values="absolute", sort=False)[
        list(LETTERS)
    ]
    table.columns.name = None
    return pd.DataFrame(shares(table), index=table.index, columns=table.columns)


def contribution_summary(contributions: pd.DataFrame, *, n_resamples: int = 2000) -> pd.DataFrame:
    """Contributions of each source, averaged over clips.

    Returns
    -------
    DataFrame
        One row a method, dimension and source: method, dimension, source; share, absolute and
        error, each with its 95 % interval, resampling groups (share_low, share_high, ...).
    """
    parts = song_shares(contributions).melt(
        ignore_index=False, var_name="source", value_name="share"
    )
    keys = ["method", "dimension", *_KEYS, "source"]
    frame = contributions.merge(parts.reset_index(), on=keys)
    rows = []
    for place, clips in frame.groupby(["method", "dimension", "source"], sort=False):
        row = dict(zip(("method", "dimension", "source"), place, strict=True))
        for kind in ("share", "absolute", "error"):
            low, high = group_bootstrap(clips[kind], clips["group"], n_resamples=n_resamples)
            row |= {kind: clips[kind].mean(), f"{kind}_low": low, f"{kind}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def summary_text(summary: pd.DataFrame, dimension: str) -> pd.DataFrame:
    """A summary for reading: one row a source, three columns a method."""
    text = pd.DataFrame(index=pd.Index(list(LETTERS)))
    for method in METHODS:
        chosen = summary[(summary["method"] == method) & (summary["dimension"] == dimension)]
        rows = chosen.set_index("source").loc[list(LETTERS)]
        for kind, (name, form) in _SHOWN.items():
            cells = zip(rows[kind], rows[f"{kind}_low"], rows[f"{kind}_high"], strict=True)
            text[f"{method}: {name}"] = [
                f"{mean:{form}} [{low:{form}}, {high:{form}}]" for mean, low, high in cells
            ]
    return text


_SHOWN = {
    "absolute": ("change", ".3f"),
    "share": ("share", ".0%"),
    "error": ("squared error", "+.4f"),
}


def findings(contributions: pd.DataFrame, summary: pd.DataFrame) -> str:
    """What the contributions show, in Markdown: a list, an item a method and dimension.

    Parameters
    ----------
    contributions, summary : DataFrame
        From `both_methods` and `contribution_summary`.
    """
    parts = song_shares(contributions)
    lines = []
    for place, rows in summary.groupby(["method", "dimension"], sort=False):
        method, dimension = map(str, place)
        most = rows.nlargest(1, "share").iloc[0]
        clips = parts.query("method == @method and dimension == @dimension")
        first = clips.idxmax(axis=1).value_counts(normalize=True)
        helps = ", ".join(rows.loc[rows["error_low"] > 0, "source"]) or "none"
        lines.append(
            f"- {dimension.capitalize()}, {method}: {most['source']} has the largest share, "
            f"{most['share']:.0%} [{most['share_low']:.0%}, {most['share_high']:.0%}] on average; "
            f"the largest one of a clip is that of {first.index[0]} in {first.iloc[0]:.0%}. "
            f"Sources without which the squared error clearly grows: {helps}."
        )
    return "\n".join(lines)


def extreme_songs(contributions: pd.DataFrame) -> tuple[str, str, str]:
    """The source that counts most by permutation, and the clips where it does most and least.

    Returns
    -------
    source, most, least : str
        Shares of both dimensions are averaged.
    """
    parts = song_shares(contributions).query("method == @PERMUTATION")
    parts = parts.groupby("id", sort=False).mean()
    source = str(parts.mean().idxmax())
    return source, str(parts[source].idxmax()), str(parts[source].idxmin())


def song_table(contributions: pd.DataFrame, clips: Sequence[str]) -> pd.DataFrame:
    """Contributions to some clips for reading: a row a clip and source."""
    chosen = contributions[contributions["id"].isin(clips)]
    table = chosen.pivot_table(
        index=["id", "source"], columns=["dimension", "method"], values="signed", sort=False
    )
    order = pd.MultiIndex.from_product([clips, list(LETTERS)])
    columns = [(d, m) for d in DIMENSIONS for m in METHODS]
    text = table.reindex(order)[columns].map(lambda value: f"{value:+.3f}")
    text.columns = pd.Index([f"{dimension}, {method}" for dimension, method in columns])
    text.index = pd.Index([f"{clip}: {source}" for clip in clips for source in LETTERS])
    return text


def excerpt_table(session: Session, spec: RunSpec, clips: Sequence[str]) -> pd.DataFrame:
    """What the networks hear of some clips, from the store where it is there.

    Parameters
    ----------
    session : Session
    spec : RunSpec
        Of a fusion; tells the excerpts and the separator.
    clips : sequence of str

    Returns
    -------
    DataFrame
        One row a clip, input ("mix" or a source) and frame: id, input, seconds, and the level of
        24 mel bands in whole dB, band_0 the lowest; coarser than what the networks get.

    Raises
    ------
    MissingDataError
        If it is not stored and nothing is to be computed.
    """
    key = {"run": spec.key, "clips": list(clips), "revision": REVISION}
    compute = partial(_excerpts, session, spec, clips) if session.settings.compute else None
    return session.store.table(f"excerpts {session.corpus_name}", key, compute)


def _excerpts(
    session: Session, spec: RunSpec, clips: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    from mer.systems.sources import MIX, Excerpts

    system = resolve(spec.system, spec.parameters)
    assert isinstance(system, Excerpts)
    frames = []
    for clip in session.corpus.select(clips):
        for name in (MIX, *LETTERS):
            coarse = _coarser(system.log_mel(clip, name).astype(float))
            bands = {f"band_{k}": band for k, band in enumerate(np.rint(coarse).astype(int))}
            seconds = np.linspace(0, system.seconds, coarse.shape[1], endpoint=False)
            frames.append(pd.DataFrame({"id": clip.id, "input": name, "seconds": seconds, **bands}))
    return pd.concat(frames, ignore_index=True), {"separator": spec.parameters["separator"]}


def _coarser(log_mel: np.ndarray) -> np.ndarray:
    """Means of blocks of bands and frames."""
    step = max(log_mel.shape[1] // _FRAMES, 1)
    n_bands, n_frames = log_mel.shape[0] // _MEL_STEP, log_mel.shape[1] // step
    kept = log_mel[: n_bands * _MEL_STEP, : n_frames * step]
    blocks: np.ndarray = kept.reshape(n_bands, _MEL_STEP, n_frames, step).mean(axis=(1, 3))
    return blocks
