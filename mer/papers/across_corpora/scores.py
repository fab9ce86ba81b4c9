"""Scores of predictions across corpora and sounds, with intervals over groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd

from mer.errors import ParameterError
from mer.evaluation.metrics import r2, rmse
from mer.evaluation.resampling import (
    Resampler,
    group_bootstrap,
    interval,
    resampled_regression,
)
from mer.prediction.heads import DIMENSIONS, VALUES

_RESAMPLES = 1000
_BINS = 10
_HIGH: Mapping[str, tuple[int, ...]] = {"valence": (1, 4), "arousal": (1, 2)}
"""Quadrants that are high in it."""

_WHERE = ["trained_on", "corpus", "sound", "head"]


def scores(predictions: pd.DataFrame) -> pd.DataFrame:
    """Scores of the predictions of one feature.

    Returns
    -------
    DataFrame
        A row for each training, corpus, sound, head and measure: value, low and high (95 %, over
        groups). Measures of values: "R2 valence", "coverage valence", "R2 spread of valence" (of
        the differences between listeners), and where the corpus has quadrants but no ratings,
        "AUC valence"; of classes: "accuracy", "calibration error"; of quadrants also "A" and "V",
        accuracies of high arousal and valence. The same for arousal.
    """
    rows = []
    for where, part in predictions.groupby(_WHERE, sort=False):
        facts = dict(zip(_WHERE, where, strict=True))
        measures = _of_values if facts["head"] in VALUES else _of_classes
        rows += [
            {**facts, "measure": name, "value": value, "low": low, "high": high}
            for name, (value, low, high) in measures(part.reset_index(drop=True))
        ]
    return pd.DataFrame(rows, columns=[*_WHERE, "measure", "value", "low", "high"])


Estimate = tuple[float, float, float]


def _of_values(part: pd.DataFrame) -> Iterator[tuple[str, Estimate]]:
    group, first = part["group"], part.iloc[0]
    at_home = first["corpus"] in first["trained_on"].split(" + ")
    for name in DIMENSIONS:
        target, given = part[name].to_numpy(), part[f"predicted_{name}"].to_numpy()
        if at_home and np.ptp(target) > 0:
            models = np.zeros(len(part))
            resampled = resampled_regression(target, given, group, models)["r2"]
            score = (r2(target, given), *interval(resampled))
            if first["head"] == "spread":
                yield f"R2 spread of {name}", score
                continue
            yield f"R2 {name}", score
            inside = np.abs(target - given) <= part[f"half_{name}"]
            yield f"coverage {name}", _mean(inside, group)
        elif (part["quadrant"] > 0).all():
            high = part["quadrant"].isin(_HIGH[name]).to_numpy()
            yield f"AUC {name}", auc(high, given, group)
        elif np.isfinite(target).all():
            yield f"rank correlation {name}", _rank_correlation(target, given, group)


def _of_classes(part: pd.DataFrame) -> Iterator[tuple[str, Estimate]]:
    head, group = part["head"].iloc[0], part["group"]
    shares = probabilities(part)
    target = part[head].to_numpy()
    right = shares.argmax(axis=1) + 1 == target
    yield "accuracy", _mean(right, group)
    yield "calibration error", (calibration_error(shares, target), np.nan, np.nan)
    if head != "quadrant":
        return
    for name, short in (("arousal", "A"), ("valence", "V")):
        high = np.isin(target, _HIGH[name])
        share = shares[:, [q - 1 for q in _HIGH[name]]].sum(axis=1)
        yield short, _mean((share > 0.5) == high, group)
        yield f"AUC {name}", auc(high, share, group)


def probabilities(part: pd.DataFrame) -> np.ndarray:
    """Those of the classes of one head, shape (n, n_classes)."""
    return part.filter(regex=r"^p_\d$").dropna(axis=1, how="all").to_numpy()


def _mean(values: np.ndarray | pd.Series, group: pd.Series) -> Estimate:
    numbers = np.asarray(values, dtype=float)
    return float(numbers.mean()), *group_bootstrap(numbers, group)


def auc(high: np.ndarray, given: np.ndarray, group: pd.Series) -> Estimate:
    """Area under the ROC curve with its interval over groups.

    Parameters
    ----------
    high : np.ndarray of bool, shape (n,)
    given : np.ndarray, shape (n,)
        The higher, the more probable.
    group : Series, shape (n,)
    """
    order = np.argsort(given, kind="stable")
    starts = np.flatnonzero(np.diff(given[order], prepend=-np.inf))

    def measure(weights: np.ndarray) -> np.ndarray:
        parts = (weights * high, weights * ~high)
        above, below = (np.add.reduceat(part[:, order], starts, axis=1) for part in parts)
        lower = below.cumsum(axis=1) - below / 2  # equal ones count half
        with np.errstate(invalid="ignore"):
            return (above * lower).sum(axis=1) / (above.sum(axis=1) * below.sum(axis=1))

    return _with_interval(measure, group)


def _rank_correlation(target: np.ndarray, given: np.ndarray, group: pd.Series) -> Estimate:
    ranks = np.stack([pd.Series(values).rank().to_numpy() for values in (target, given)])

    def measure(weights: np.ndarray) -> np.ndarray:
        covariances = np.stack([np.cov(ranks, aweights=own) for own in weights])
        spread = covariances[:, 0, 0] * covariances[:, 1, 1]
        return covariances[:, 0, 1] / np.sqrt(spread)

    return _with_interval(measure, group)


def _with_interval(measure: Callable[[np.ndarray], np.ndarray], group: pd.Series) -> Estimate:
    """A measure of weights of songs, shape (n_resamples, n), for all and for resampled groups."""
    resampler = Resampler(group, n_resamples=_RESAMPLES)
    found = measure(resampler.weights[:, resampler.codes])
    value = float(measure(np.ones((1, len(group))))[0])
    known = found[np.isfinite(found)]
    return value, *(interval(known) if len(known) else (np.nan, np.nan))


def calibration_error(shares: np.ndarray, target: np.ndarray) -> float:
    """Expected calibration error of the most probable class [1]_, in bins of equal size.

    Parameters
    ----------
    shares : np.ndarray, shape (n, n_classes)
        Probabilities.
    target : np.ndarray of int, shape (n,)
        Classes from 1.

    References
    ----------
    .. [1] Guo, C. et al.: On Calibration of Modern Neural Networks. Proc. ICML (2017).
    """
    table = reliability(shares, target)
    gaps = (table["right"] - table["probability"]).abs()
    return float(np.average(gaps, weights=table["n"]))


def reliability(shares: np.ndarray, target: np.ndarray) -> pd.DataFrame:
    """Mean probability of the most probable class, and how often it is right, in bins of songs.

    Returns
    -------
    DataFrame
        Columns probability, right and n; bins of equal size, least probable first.
    """
    if shares.ndim != 2 or len(shares) != len(target):
        raise ParameterError(
            f"probabilities have shape {shares.shape} and targets {target.shape}; expected "
            "(n, n_classes) and (n,)"
        )
    probability, right = shares.max(axis=1), shares.argmax(axis=1) + 1 == target
    order = probability.argsort(kind="stable")
    bins = np.array_split(order, min(_BINS, len(order)))
    rows = [(probability[b].mean(), right[b].mean(), len(b)) for b in bins]
    return pd.DataFrame(rows, columns=["probability", "right", "n"])


def chosen_by_others(compared: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Predictions of the feature that is best on other groups: what choosing it costs.

    Groups are divided into ten parts. For each part, each corpus and each head, the feature is
    taken that scores best on the nine others [1]_.

    Parameters
    ----------
    compared : mapping of str to DataFrame
        Predictions by feature.

    References
    ----------
    .. [1] Tsamardinos, I., Greasidou, E., Borboudakis, G.: Bootstrapping the out-of-sample
       predictions for efficient and accurate cross-validation. Machine Learning 107 (2018).
    """
    frames = []
    everything = pd.concat([frame.assign(feature=name) for name, frame in compared.items()])
    for where, part in everything.groupby(_WHERE, sort=False):
        trained_on, corpus, _, head = map(str, where)
        if corpus not in trained_on.split(" + "):
            continue
        groups = np.sort(part["group"].unique())
        number = pd.Series(np.random.default_rng(0).permutation(len(groups)) % 10, groups)
        fold = part["group"].map(number)
        for k in range(10):
            rest = part[fold != k].groupby("feature", sort=False)
            found = {name: _score(own, head) for name, own in rest}
            best = max(found, key=found.__getitem__)
            frames.append(part[(fold == k) & (part["feature"] == best)])
    return pd.concat(frames, ignore_index=True)


def _score(part: pd.DataFrame, head: str) -> float:
    if head in VALUES:
        return -sum(rmse(part[name], part[f"predicted_{name}"]) for name in DIMENSIONS)
    shares = probabilities(part)
    return float((shares.argmax(axis=1) + 1 == part[head]).mean())
