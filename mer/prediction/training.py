"""Training of the model of `mer predict`: on three corpora, and on copies in other sounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mer.clips import Corpus
from mer.corpora import load
from mer.models.musicnn import N_EMBEDDING
from mer.prediction.heads import Songs, fit, songs
from mer.prediction.model import TRANSCRIBER, fit_model, write_model
from mer.sounds import SOUNDS, in_sound, with_varied_copies
from mer.systems.transcribed import transcribed_symbolic_varied

CORPORA = ("emotify", "mirex_mood", "emopia")
COPIES = 2
"""Of each rendered clip, in random sounds."""

NOTE_COPIES = "MuseScore General"
"""Soundfont whose transcription is in training, too."""

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
        "valence and arousal": "of Emotify: felt emotion, projected from nine GEMS emotions",
        "quadrants": "of EMOPIA (perceived) and Emotify (felt, cut at the medians), mixed by which "
        "of them a song is like",
        "clusters": "of the MIREX-like mood dataset",
        "notes": f"of EMOPIA, transcribed by {TRANSCRIBER}",
        "good at": "pop, rock, electronic, classical music; solo piano",
        "bad at": "other kinds of music, speech, noise, single sounds",
        "licence": LICENCE,
        "seed": str(seed),
    }
    write_model(replace(model, facts=facts), path)
    return facts
