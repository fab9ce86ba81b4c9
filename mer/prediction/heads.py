"""Heads on features of songs: fitted, regularised and calibrated by cross-validation.

Valence and arousal are those of songs with ratings (Emotify); quadrants those of EMOPIA and of
Emotify; mood clusters those of the MIREX-like mood dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mer.clips import Clip, Corpus
from mer.prediction.embeddings import Embedded, embed_clip

REVISION = 1
"""Raised whenever fitted heads of classes change for another reason than their features."""

RATINGS_REVISION = 2
"""The same of heads of numbers."""

HEADS: Mapping[str, Sequence[str]] = {
    "emotify": ("va", "spread", "quadrant"),
    "mirex_mood": ("cluster",),
    "emopia": ("quadrant",),
    "composed_band": ("va", "quadrant"),
    "composed": ("quadrant",),
}
"""By corpus: what its labels are good for. Valence and arousal from a lexicon of mood words, and
quadrants from them, are weak labels: no head is fitted on these."""

RIDGE = tuple(float(a) for a in np.logspace(-1.5, 1, 6))
WIDTHS = (0.03, 0.1, 0.3, 1.0, 3.0)
LOGISTIC = tuple(float(c) for c in np.logspace(-4, -1.5, 6))
"""Grids of the regularisation, and of the kernel's exponent (gamma, of mean squared distances)."""

ALL = ("va", "spread", "quadrant", "cluster")
"""All heads."""

DIMENSIONS, VALUES = ("valence", "arousal"), ("va", "spread")
"""What is rated, and the heads of numbers; the others are of classes."""

N_INNER, N_OUTER = 5, 10
"""Folds over groups: for regularisation and calibration, and for tests."""

N_QUADRANTS, N_CLUSTERS = 4, 5
_ORIGIN, _ABSENT = "origin", -10.0
"""Head of the corpus that a song is like, and logit of a class that no training song has."""

COVERAGE = 0.9
"""Of the intervals of valence and arousal."""


def embedding_mean(song: Embedded) -> np.ndarray:
    """Mean of a song's embeddings over time, shape (200,), float64."""
    return song.embeddings.mean(axis=0, dtype=np.float64)


def song_vector(song: Embedded) -> np.ndarray:
    """A song as the heads take it: `embedding_mean` and descriptors, shape (n_features,)."""
    return np.concatenate([embedding_mean(song), song.descriptors])


@dataclass(frozen=True)
class Songs:
    """Songs of one or several corpora, one row each.

    Attributes
    ----------
    ids, groups : np.ndarray, shape (n,), of str
        With the name of the corpus in front.
    x : np.ndarray, shape (n, n_features)
    va, spread : np.ndarray, shape (n, 2)
        Valence and arousal, and how far listeners' ratings of them differ (standard deviation);
        NaN where the corpus has none.
    quadrant, cluster : np.ndarray, shape (n,), int
        From 0; -1 where the corpus has none.
    """

    ids: np.ndarray
    groups: np.ndarray
    x: np.ndarray
    va: np.ndarray
    spread: np.ndarray
    quadrant: np.ndarray
    cluster: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Any) -> Songs:
        return Songs(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def of(cls, parts: Iterable[Songs]) -> Songs:
        """Those of several corpora."""
        listed = list(parts)
        return cls(*(np.concatenate([getattr(p, f.name) for p in listed]) for f in fields(cls)))

    @property
    def corpora(self) -> np.ndarray:
        """Names of the corpora, shape (n,)."""
        return np.array([name.split("/", 1)[0] for name in self.ids])

    def with_labels(self, head: str) -> np.ndarray:
        """Which songs have labels for a head, shape (n,)."""
        if head in VALUES:
            return np.asarray(np.isfinite(getattr(self, head)).all(axis=1))
        return np.asarray(getattr(self, head) >= 0)


def songs(corpus: Corpus, feature: Callable[[Clip], np.ndarray] | None = None) -> Songs:
    """Songs of a corpus, with the labels of its `HEADS`.

    Parameters
    ----------
    feature : callable, optional
        Gives a vector; `song_vector` if None.
    """
    feature = feature or (lambda clip: song_vector(embed_clip(clip)))
    heads, labels = HEADS[corpus.name], [clip.labels for clip in corpus]
    nan = float("nan")
    va = [(own.valence, own.arousal) if "va" in heads else (nan, nan) for own in labels]
    spread = [[clip.meta.get("spread", {}).get(n, nan) for n in DIMENSIONS] for clip in corpus]
    quadrant = [own.quadrant or 0 if "quadrant" in heads else 0 for own in labels]
    cluster = [own.cluster or 0 if "cluster" in heads else 0 for own in labels]
    return Songs(
        ids=np.array([f"{corpus.name}/{clip.id}" for clip in corpus]),
        groups=np.array([f"{corpus.name}/{clip.group}" for clip in corpus]),
        x=np.stack([feature(clip) for clip in corpus]),
        va=np.array(va, dtype=np.float64),
        spread=np.array(spread, dtype=np.float64),
        quadrant=np.array(quadrant) - 1,
        cluster=np.array(cluster) - 1,
    )


@dataclass(frozen=True)
class Ratings:
    """Numbers for valence and arousal by kernel ridge regression with a Gaussian kernel.

    Attributes
    ----------
    mean, scale : np.ndarray, shape (n_features,)
        Of the songs with ratings.
    points : np.ndarray, shape (n_songs, n_features)
        These songs, standardised.
    widths : np.ndarray, shape (2,)
        Exponents: a song at a mean squared distance d has the weight exp(-width * d).
    weights : np.ndarray, shape (2, n_songs)
    offsets : np.ndarray, shape (2,)
        Far from all songs the values are these.
    half_widths : np.ndarray, shape (2,)
        Of the intervals that hold `COVERAGE` of the songs.
    """

    mean: np.ndarray
    scale: np.ndarray
    points: np.ndarray
    widths: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    half_widths: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Values, shape (n, 2), of features, shape (n, n_features)."""
        apart = _distances((x - self.mean) / self.scale, self.points)
        near = np.exp(-self.widths[:, None, None] * apart)
        return np.asarray(np.einsum("kns,ks->nk", near, self.weights) + self.offsets)


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean squared distances of rows, shape (n, m)."""
    from sklearn.metrics.pairwise import euclidean_distances

    return np.asarray(euclidean_distances(one, other, squared=True) / one.shape[1])


@dataclass(frozen=True)
class Heads:
    """Linear heads of classes on standardised features, and heads of numbers.

    Attributes
    ----------
    mean, scale : np.ndarray, shape (n_features,)
    weights : mapping of str to np.ndarray, shape (n_outputs, n_features)
        By head: "cluster", "quadrant of CORPUS" for each corpus with quadrants, and "origin"
        for which of these a song is like.
    offsets : mapping of str to np.ndarray, shape (n_outputs,)
    numbers : mapping of str to Ratings
        Those of the heads `VALUES` that were fitted.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: Mapping[str, np.ndarray]
    offsets: Mapping[str, np.ndarray]
    numbers: Mapping[str, Ratings]

    def outputs(self, head: str, x: np.ndarray) -> np.ndarray:
        """Logits, shape (..., n_outputs), of features, shape (..., n_features)."""
        z = (x - self.mean) / self.scale
        return np.asarray(z @ self.weights[head].T + self.offsets[head])

    def probabilities(self, head: str, x: np.ndarray) -> np.ndarray:
        """Of the classes of a head, shape (..., n_classes).

        Quadrants are a mixture: of those of each corpus, by the probability of the corpus.
        """
        from scipy.special import softmax

        found = [
            softmax(self.outputs(name, x), axis=-1)
            for name in self.weights
            if name.split(" of ")[0] == head
        ]
        if len(found) == 1:
            return np.asarray(found[0])
        shares = softmax(self.outputs(_ORIGIN, x), axis=-1)
        return np.asarray(np.einsum("k...c,...k->...c", np.stack(found), shares))


def balanced(groups: np.ndarray, corpora: np.ndarray) -> np.ndarray:
    """Weights of songs, so that each corpus, and in it each group, counts the same; mean 1."""
    weights = np.zeros(len(groups))
    for corpus in np.unique(corpora):
        own = corpora == corpus
        _, index, counts = np.unique(groups[own], return_inverse=True, return_counts=True)
        weights[own] = 1 / counts[index] / len(counts)
    return weights * len(weights) / weights.sum()


def fit(train: Songs, heads: Sequence[str] = ALL) -> Heads:
    """Fit heads on the songs that have labels for them.

    All that is chosen is chosen on songs of groups that an inner fit did not know: the
    regularisation (by R2, or by log-likelihood), the width of the intervals (the quantile of the
    residuals, cross-conformal [1]_) and the temperature that logits are divided by [2]_.

    Parameters
    ----------
    train : Songs
        Copies of a song have its group.

    References
    ----------
    .. [1] Vovk, V.: Cross-conformal predictors. Annals of Mathematics and Artificial Intelligence
       74 (2015).
    .. [2] Guo, C. et al.: On Calibration of Modern Neural Networks. Proc. ICML (2017).
    """
    mean, scale = _standard(train.x)
    weights, offsets, numbers = {}, {}, {}
    for head in heads:
        part = train[train.with_labels(head)]
        z = (part.x - mean) / scale
        if head in VALUES:
            numbers[head] = _fit_ratings(part, getattr(part, head))
        elif head == "cluster":
            weights[head], offsets[head] = _fit_classes(z, part, part.cluster, N_CLUSTERS)
        else:
            for name, (weight, offset) in _fit_quadrants(z, part).items():
                weights[name], offsets[name] = weight, offset
    return Heads(mean, scale, weights, offsets, numbers)


def _standard(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scale = x.std(axis=0)
    return x.mean(axis=0), np.where(scale > 0, scale, 1.0)


def _inner(groups: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import GroupKFold

    splitter = GroupKFold(min(N_INNER, len(np.unique(groups))), shuffle=True, random_state=0)
    return list(splitter.split(groups, groups=groups))


def _fit_ratings(part: Songs, target: np.ndarray) -> Ratings:
    mean, scale = _standard(part.x)
    points, offsets = (part.x - mean) / scale, target.mean(axis=0)
    apart, folds = _distances(points, points), _inner(part.groups)
    fitted = [_fit_kernel(apart, own, folds) for own in (target - offsets).T]
    widths, weights, half_widths = (np.stack(values) for values in zip(*fitted, strict=True))
    return Ratings(mean, scale, points, widths, weights, offsets, half_widths)


def _fit_kernel(
    apart: np.ndarray, target: np.ndarray, folds: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[float, np.ndarray, float]:
    """Width, weights and half-width."""
    from sklearn.kernel_ridge import KernelRidge

    from mer.evaluation.metrics import r2

    choices = [(width, alpha) for width in WIDTHS for alpha in RIDGE]
    found = np.empty((len(choices), len(target)))
    for index, (width, alpha) in enumerate(choices):
        near, model = np.exp(-width * apart), KernelRidge(alpha=alpha, kernel="precomputed")
        for known, held in folds:
            model.fit(near[np.ix_(known, known)], target[known])
            found[index, held] = model.predict(near[np.ix_(held, known)])
    best = int(np.argmax([r2(target, values) for values in found]))
    width, alpha = choices[best]
    model = KernelRidge(alpha=alpha, kernel="precomputed").fit(np.exp(-width * apart), target)
    residuals = np.abs(target - found[best])
    level = min(1.0, np.ceil(COVERAGE * (len(residuals) + 1)) / len(residuals))
    return width, model.dual_coef_, float(np.quantile(residuals, level, method="higher"))


def _fit_quadrants(z: np.ndarray, part: Songs) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """A head for each corpus: felt and perceived emotion, and the thresholds, differ."""
    names, origin = np.unique(part.corpora, return_inverse=True)
    found = {}
    for index, name in enumerate(names):
        own = origin == index
        target = part.quadrant[own]
        found[f"quadrant of {name}"] = _fit_classes(z[own], part[own], target, N_QUADRANTS)
    if len(names) > 1:
        found[_ORIGIN] = _fit_classes(z, part, origin, len(names))
    return found


def _fit_classes(
    z: np.ndarray, part: Songs, target: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and offsets, divided by the temperature."""
    from scipy.special import log_softmax
    from sklearn.linear_model import LogisticRegression

    sample = balanced(part.groups, part.corpora)
    found = np.empty((len(LOGISTIC), len(target), n_classes))
    for fitted, held in _inner(part.groups):
        model = LogisticRegression(max_iter=1000, warm_start=True)
        for index, c in enumerate(LOGISTIC):
            model.set_params(C=c).fit(z[fitted], target[fitted], sample[fitted])
            weights, offsets = _all_classes(model, n_classes)
            found[index, held] = z[held] @ weights.T + offsets
    likelihood = log_softmax(found, axis=2)[:, np.arange(len(target)), target] @ sample
    best = int(np.argmax(likelihood))
    model = LogisticRegression(C=LOGISTIC[best], max_iter=1000).fit(z, target, sample)
    weights, offsets = _all_classes(model, n_classes)
    warm = temperature(found[best], target, sample)
    return weights / warm, offsets / warm


def _all_classes(model: Any, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and offsets with a row for each class, also for those that are not in training."""
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weights, offsets = np.zeros((n_classes, coefficients.shape[1])), np.full(n_classes, _ABSENT)
    weights[model.classes_], offsets[model.classes_] = coefficients, intercepts
    return weights, offsets


def temperature(logits: np.ndarray, target: np.ndarray, sample: np.ndarray) -> float:
    """What logits, shape (n, n_classes), are divided by for the best log-likelihood.

    `sample` weighs the songs, shape (n,).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        return -float(scaled[np.arange(len(target)), target] @ sample)

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
