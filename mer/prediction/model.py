"""The model behind `mer predict`: heads, neighbours, and how sure it is.

It is stored as weights of the package, "song-emotion", see `mer.weights`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from mer import __version__
from mer.prediction.heads import ALL, VALUES, Heads, Ratings, Songs, fit
from mer.weights import load_weights, weights_revision, write_weights

WEIGHTS = "song-emotion"
TRANSCRIBER = "onsets-frames-varied"
"""Whose notes the head of notes is fitted on."""

N_COMPONENTS, N_NEIGHBOURS = 32, 5
_OUTSIDE = 0.99
"""Share of the training songs that are nearer to others than where "outside" begins."""

_PLACE = "place."
_KINDS = ("heads", "segments", "notes")

_WIDEST = 4.0
"""Most that an interval is widened by."""


@dataclass(frozen=True)
class SongModel:
    """A fitted model.

    Attributes
    ----------
    heads : Heads
    segments : Heads or None
        Valence and arousal from the embeddings alone, for parts of a song.
    notes : Heads or None
        Quadrants from descriptors of the notes of piano music.
    basis : np.ndarray, shape (n_features, N_COMPONENTS)
        From standardised features to the space in which songs are near each other.
    points : np.ndarray, shape (n_songs, N_COMPONENTS)
        Training songs there.
    limit : float
        Mean distance to the nearest training songs from which on a song is outside.
    mean_rating : np.ndarray, shape (2,)
        Mean valence and arousal of the training songs that have ratings.
    places : mapping of str to np.ndarray, shape (2, n_features)
        Mean and deviation of the features of each training corpus.
    names : list of str
        Of the training songs.
    facts : mapping of str to str
        How it was fitted.
    """

    heads: Heads
    segments: Heads | None
    notes: Heads | None
    basis: np.ndarray
    points: np.ndarray
    limit: float
    mean_rating: np.ndarray
    places: Mapping[str, np.ndarray]
    names: list[str]
    facts: Mapping[str, str]

    def distances(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance of songs, shape (n, n_features), to those of training, and which are nearest.

        Returns
        -------
        distance : np.ndarray, shape (n,)
            Mean over the nearest, relative to `limit`: above 1 a song is outside.
        nearest : np.ndarray, shape (n, N_NEIGHBOURS)
            Indices of training songs.
        least : np.ndarray, shape (n,)
            Distance to the nearest one alone, relative to `limit`.
        """
        points = ((x - self.heads.mean) / self.heads.scale) @ self.basis
        apart = np.linalg.norm(points[:, None] - self.points[None], axis=2)
        nearest = np.argsort(apart, axis=1, kind="stable")[:, :N_NEIGHBOURS]
        near = np.take_along_axis(apart, nearest, axis=1) / self.limit
        return near.mean(axis=1), nearest, near[:, 0]

    def as_collection(self, x: np.ndarray) -> np.ndarray:
        """Features of songs, shape (n, n_features), moved to the training songs most like them.

        The songs get mean and deviation of the corpus that most of their neighbours are from. What
        they have in common is lost: the sound of the recordings, and a mood that all of them share.
        """
        corpora = [self.names[k].split("/", 1)[0] for k in self.distances(x)[1].ravel()]
        mean, scale = self.places[Counter(corpora).most_common(1)[0][0]]
        spread = x.std(axis=0)
        return (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0) * scale + mean

    def intervals(self, x: np.ndarray) -> np.ndarray:
        """Half-widths of the intervals, shape (n, 2): wider outside of what is known."""
        distance = self.distances(x)[0]
        return self.heads.numbers["va"].half_widths * np.clip(distance, 1, _WIDEST)[:, None]


def fit_model(
    train: Songs,
    copies: Songs | None = None,
    heads: Sequence[str] = ALL,
    *,
    segments: Heads | None = None,
    notes: Heads | None = None,
) -> SongModel:
    """Fit heads on songs and copies of them in other sounds, see `mer.prediction.heads.fit`.

    Neighbours and distances are those of the songs, without the copies. The heads of segments and
    of notes are fitted on other features, see `mer.prediction.training`.
    """
    fitted = fit(train if copies is None else Songs.of([train, copies]), heads)
    z = (train.x - fitted.mean) / fitted.scale
    basis = _principal_axes(z)
    points = z @ basis
    limit = _limit(points, train.groups)
    rated = train.va[train.with_labels("va")]
    return SongModel(
        *(fitted, segments, notes, basis, points, limit),
        mean_rating=rated.mean(axis=0) if len(rated) else np.full(2, np.nan),
        places={
            str(name): np.stack([own.mean(axis=0), own.std(axis=0)])
            for name in np.unique(train.corpora)
            for own in (train.x[train.corpora == name],)
        },
        names=train.ids.tolist(),
        facts={},
    )


def _principal_axes(z: np.ndarray) -> np.ndarray:
    """Directions of the largest variance, scaled to variance 1, shape (n_features, n)."""
    from sklearn.decomposition import PCA

    found = PCA(min(N_COMPONENTS, *z.shape), svd_solver="full").fit(z)
    return np.asarray(found.components_.T / np.sqrt(found.explained_variance_))


def _limit(points: np.ndarray, groups: np.ndarray) -> float:
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    apart[groups[:, None] == groups[None]] = np.inf
    nearest = np.sort(apart, axis=1)[:, :N_NEIGHBOURS].mean(axis=1)
    return float(np.quantile(nearest, _OUTSIDE))


def write_model(model: SongModel, path: Path) -> None:
    """Store a model as weights."""
    import torch

    arrays = {"basis": model.basis, "points": model.points, "limit": np.array(model.limit)}
    arrays["mean_rating"] = model.mean_rating
    arrays |= {f"{_PLACE}{name}": values for name, values in model.places.items()}
    for kind in _KINDS:
        if (heads := getattr(model, kind)) is not None:
            arrays |= _arrays(kind, heads)
    tensors = {n: torch.from_numpy(np.asarray(a, dtype=np.float32)) for n, a in arrays.items()}
    facts = {**model.facts, "songs": json.dumps(model.names, ensure_ascii=False)}
    write_weights(path, tensors, facts, half=False)


def _arrays(kind: str, heads: Heads) -> dict[str, np.ndarray]:
    found = {"mean": heads.mean, "scale": heads.scale}
    for head, numbers in heads.numbers.items():
        found |= {f"{head}.{name}": value for name, value in vars(numbers).items()}
    found |= {f"weights.{name}": value for name, value in heads.weights.items()}
    found |= {f"offsets.{name}": value for name, value in heads.offsets.items()}
    return {f"{kind}.{name}": value for name, value in found.items()}


def _heads(kind: str, arrays: Mapping[str, np.ndarray]) -> Heads:
    def below(prefix: str) -> dict[str, np.ndarray]:
        return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}

    weights, offsets = below(f"{kind}.weights."), below(f"{kind}.offsets.")
    parts = {head: below(f"{kind}.{head}.") for head in VALUES}
    numbers = {head: Ratings(**part) for head, part in parts.items() if part}
    return Heads(arrays[f"{kind}.mean"], arrays[f"{kind}.scale"], weights, offsets, numbers)


@cache
def load_model() -> SongModel:
    """The model that comes with the package; errors as `mer.weights.load_weights`."""
    tensors, facts = load_weights(WEIGHTS)
    arrays = {name: tensor.numpy().astype(np.float64) for name, tensor in tensors.items()}
    return SongModel(
        **{kind: _heads(kind, arrays) for kind in _KINDS},
        basis=arrays["basis"],
        points=arrays["points"],
        limit=float(arrays["limit"]),
        mean_rating=arrays["mean_rating"],
        places={n.removeprefix(_PLACE): a for n, a in arrays.items() if n.startswith(_PLACE)},
        names=json.loads(facts["songs"]),
        facts={name: value for name, value in facts.items() if name != "songs"},
    )


def about_model() -> str:
    """Name, version, data and licence of the model that comes with the package."""
    facts = load_model().facts
    lines = [f"model: {model_name()}", *(f"{name}: {value}" for name, value in facts.items())]
    return "\n".join(lines)


def model_name() -> str:
    """Name and version of the model, as it stands in each answer."""
    return f"{WEIGHTS} {weights_revision(WEIGHTS)} (mer {__version__})"
