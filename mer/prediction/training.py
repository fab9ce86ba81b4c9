"""Training of the model of `mer predict`: on three corpora, and on copies in other sounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mer.clips import Corpus
from mer.corpora import load
from mer.evaluation.metrics import r2
from mer.models.musicnn import N_EMBEDDING
from mer.prediction.heads import ALL, DIMENSIONS, N_OUTER, VALUES, Songs, fit, songs
from mer.prediction.model import TRANSCRIBER, SongModel, fit_model, write_model
from mer.sounds import SOUNDS, in_sound, with_varied_copies
from mer.systems.transcribed import transcribed_symbolic_varied

CORPORA = ("emotify", "mirex_mood", "emopia")
COPIES = 2
"""Of each rendered clip, in random sounds."""

NOTE_COPIES = "MuseScore General"
"""Soundfont whose transcription is in training, too."""

_SPREAD = {"va": "", "spread": "the spread of "}

LICENCE = (
    "CC BY-NC-SA 4.0, as EMOPIA; Emotify and the MIREX-like mood dataset are for research; "
    "MusiCNN: ISC"
)


def varied_copies(corpus: Corpus) -> Corpus:
    """`COPIES` of each clip in random sounds, without the clips themselves; see `mer.sounds`."""
    both = with_varied_copies(corpus, COPIES)
    return both.select(both.ids[len(corpus) :])


def note_songs(piano: Corpus) -> Songs:
    """Clips described by our transcription, as they are and in another soundfont."""
    both = (piano, in_sound(piano, SOUNDS[NOTE_COPIES]))
    return Songs.of(songs(corpus, transcribed_symbolic_varied) for corpus in both)


def held_out(
    train: Songs, copies: Songs | None, head: str
) -> Iterator[tuple[SongModel, np.ndarray]]:
    """Models of a head fitted without some groups, and these groups; each is held out once."""
    from sklearn.model_selection import GroupKFold

    known = train.groups[train.with_labels(head)]
    n_folds = min(N_OUTER, len(np.unique(known)))
    splitter = GroupKFold(n_folds, shuffle=True, random_state=1)
    for _, held in splitter.split(known, groups=known):
        groups = np.unique(known[held])
        kept = None if copies is None else copies[~np.isin(copies.groups, groups)]
        yield fit_model(train[~np.isin(train.groups, groups)], kept, [head]), groups


def figures(train: Songs, copies: Songs | None) -> str:
    """How good heads are for songs whose groups they were not fitted on: R2, or accuracy."""
    told = []
    for head in ALL:
        found, known = np.full((len(train), 2), np.nan), train.with_labels(head)
        for model, groups in held_out(train, copies, head):
            rows = np.isin(train.groups, groups) & known
            if head in VALUES:
                found[rows] = model.heads.numbers[head](train.x[rows])
            else:
                shares = model.heads.probabilities(head, train.x[rows])
                found[rows, 0] = shares.argmax(axis=1) == getattr(train, head)[rows]
        for corpus in np.unique(train.corpora[known]):
            own = known & (train.corpora == corpus)
            if head in VALUES:
                target = getattr(train, head)[own]
                values = [r2(target[:, k], found[own, k]) for k in range(2)]
                words = [f"R2 of {_SPREAD[head]}{name}" for name in DIMENSIONS]
            else:
                values, words = [found[own, 0].mean()], [f"accuracy of {head}s"]
            told += [f"{w} {v:.2f} ({corpus})" for w, v in zip(words, values, strict=True)]
    return "; ".join(told)


def train_song_model(path: Path, _: Sequence[Path], seed: int) -> dict[str, str]:
    """Fit the model and store it as weights; what is stored with them comes back.

    Nothing is random but the copies, which are the same in every run.
    """
    corpora = {name: load(name) for name in CORPORA}
    piano = corpora["emopia"]
    train, copies = Songs.of(map(songs, corpora.values())), songs(varied_copies(piano))
    rated = train[train.with_labels("va")]
    model = fit_model(
        train,
        copies,
        segments=fit(replace(rated, x=rated.x[:, :N_EMBEDDING]), ["va"]),
        notes=fit(note_songs(piano), ["quadrant"]),
    )
    facts = {
        "corpora": f"Emotify, MIREX-like mood, EMOPIA ({len(train)} songs and clips; "
        f"{len(copies)} copies in other sounds)",
        "valence and arousal": "of Emotify: felt emotion, projected from nine GEMS emotions, and "
        "by how much the ratings of listeners differ",
        "quadrants": "of EMOPIA (perceived) and Emotify (felt, cut at the medians), mixed by which "
        "of them a song is like",
        "clusters": "of the MIREX-like mood dataset",
        "notes": f"of EMOPIA, transcribed by {TRANSCRIBER}",
        "held out": f"{figures(train, copies)}; ten folds over groups",
        "music of training": "pop, rock, electronic, classical music, solo piano",
        "not for": "speech, noise, single sounds",
        "licence": LICENCE,
        "seed": str(seed),
    }
    write_model(replace(model, facts=facts), path)
    return facts
