"""Predictions of heads for songs, corpora and sounds that they were not fitted on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mer.clips import Clip, Corpus
from mer.errors import MissingDataError
from mer.features.descriptors import ROBUST_REVISION
from mer.prediction import embeddings, heads
from mer.prediction.embeddings import embed_clip
from mer.prediction.heads import N_OUTER, Songs, embedding_mean, song_vector
from mer.prediction.model import SongModel, fit_model
from mer.prediction.training import COPIES, CORPORA, NOTE_COPIES, held_out, varied_copies
from mer.rendering import REVISION as RENDERING_REVISION
from mer.sounds import REVISION as SOUNDS_REVISION
from mer.sounds import SOUNDS, in_sound
from mer.study.study import Study
from mer.systems.musicnn import WEIGHTS
from mer.systems.transcribed import transcribed_symbolic_varied
from mer.transcription import transcriber_revision
from mer.weights import weights_revision

REVISION = 1
"""Raised whenever predictions change for another reason than their features."""

OWN = "as it is"
"""The sound of the corpus itself."""

UNSEEN = "FluidR3"
"""Soundfont that clips without recordings are tested in; it is in no training."""

TOGETHER = "as a collection"
"""All clips in a sound are standardised together."""

_DEGRADED = ("low-pass 5 kHz", "noise at -50 dB", "Opus 32 kbit/s")
_EVERY = 4
"""Of recordings with ratings, one in so many is tested in other sounds."""

EMBEDDINGS, TAGS, DESCRIPTORS = "embeddings", "tags", "robust descriptors"
BOTH, NOTES = "embeddings and descriptors", "transcribed notes"


def _tags(clip: Clip) -> np.ndarray:
    shares = embed_clip(clip).tags.mean(axis=0, dtype=np.float64)
    return np.log(np.maximum(shares, np.finfo(np.float32).tiny))


FEATURES: Mapping[str, Callable[[Clip], np.ndarray]] = {
    EMBEDDINGS: lambda clip: embedding_mean(embed_clip(clip)),
    TAGS: _tags,
    DESCRIPTORS: lambda clip: embed_clip(clip).descriptors,
    BOTH: lambda clip: song_vector(embed_clip(clip)),
    NOTES: transcribed_symbolic_varied,
}
"""What a song is described by. Notes are for the piano alone; tags are logarithms of the
probabilities that MusiCNN gives."""

_PIANO = ("emopia", "composed")


def corpora_of(study: Study) -> Sequence[str]:
    """Names of the corpora of the page: those of the model, or those of the profile."""
    return study.profile.of_page("across_corpora").get("corpora", CORPORA)


def predictions(study: Study, feature: str) -> pd.DataFrame:
    """Predictions from a feature, from the store where they are there.

    Returns
    -------
    DataFrame
        A row a song: trained_on, corpus, sound, head (one of `mer.prediction.heads.ALL`), id,
        group, the targets (valence, arousal, quadrant, cluster; missing where there is none; for
        the head "spread" the spreads of valence and arousal), and the
        outputs: predicted_valence and predicted_arousal with half_valence and half_arousal of
        their intervals, or the probabilities p_1 to p_5. Where the corpus of the song is in
        `trained_on`, no song of its group was in training.

    Raises
    ------
    MissingDataError
        If it is neither stored nor to be computed.
    """
    names = corpora_of(study)
    clips = study.profile.of_page("across_corpora").get("clips")
    key = {
        "feature": feature,
        "corpora": {name: study.on(name).card["fingerprint"] for name in names},
        "clips": clips,
        "revisions": _revisions(feature),
        "folds": N_OUTER,
        "copies": COPIES,
    }
    compute = partial(_compute, study, feature, clips)
    return study.table(f"across corpora {feature}", key, compute)


def _revisions(feature: str) -> dict[str, int]:
    found = {"predictions": REVISION, "rendering": RENDERING_REVISION, "sounds": SOUNDS_REVISION}
    found["heads"] = heads.REVISION
    if feature == NOTES:
        return {**found, "transcriber": transcriber_revision("onsets-frames-varied")}
    found |= {"ratings": heads.RATINGS_REVISION, "embeddings": embeddings.REVISION}
    if feature != DESCRIPTORS:
        found["weights"] = weights_revision(WEIGHTS)
    return found | ({"robust": ROBUST_REVISION} if feature in (DESCRIPTORS, BOTH) else {})


def _compute(study: Study, feature: str, clips: int | None) -> pd.DataFrame:
    names = [n for n in corpora_of(study) if feature != NOTES or n in _PIANO]
    corpora = {name: _first(study.on(name).corpus, clips) for name in names}
    of = partial(heads.songs, feature=FEATURES[feature])
    own = {name: of(corpus) for name, corpus in corpora.items()}
    copied = partial(in_sound, variant=SOUNDS[NOTE_COPIES]) if feature == NOTES else varied_copies
    copies = {name: of(copied(corpora[name])) for name in names if name in _PIANO}
    other = {n: {s: of(c) for s, c in _elsewhere(corpus)} for n, corpus in corpora.items()}
    frames = [*_held_out(own, copies, other), *_across(own, copies, corpora)]
    return pd.concat(frames, ignore_index=True)


def _first(corpus: Corpus, clips: int | None) -> Corpus:
    return corpus if clips is None else corpus.select(corpus.ids[:clips])


def _elsewhere(corpus: Corpus) -> Iterator[tuple[str, Corpus]]:
    """Clips with labels that heads are fitted on, in other sounds."""
    sounds: Sequence[str]
    if corpus.name in _PIANO:
        sounds, part = (UNSEEN,), corpus
    elif "va" in heads.HEADS[corpus.name]:
        sounds, part = _DEGRADED, corpus.select(corpus.ids[::_EVERY])
    else:
        return
    for sound in sounds:
        if not SOUNDS[sound].lacks:
            yield sound, in_sound(part, SOUNDS[sound])


def _held_out(
    own: Mapping[str, Songs],
    copies: Mapping[str, Songs],
    other: Mapping[str, Mapping[str, Songs]],
) -> Iterator[pd.DataFrame]:
    """Trained on all corpora but for the groups that are tested."""
    train, extra = Songs.of(own.values()), Songs.of(copies.values()) if copies else None
    for head in heads.ALL:
        known = train.with_labels(head)
        if not known.any():
            continue
        trained_on = " + ".join(dict.fromkeys(train.corpora[known]))
        for model, groups in held_out(train, extra, head):
            for name, songs in own.items():
                for sound, part in {OWN: songs, **other[name]}.items():
                    chosen = np.isin(part.groups, groups) & part.with_labels(head)
                    yield _rows(model, head, part[chosen], trained_on, sound)
                    if sound == UNSEEN:
                        moved = replace(part, x=model.as_collection(part.x))
                        yield _rows(model, head, moved[chosen], trained_on, f"{sound}, {TOGETHER}")


def _across(
    own: Mapping[str, Songs], copies: Mapping[str, Songs], corpora: Mapping[str, Corpus]
) -> Iterator[pd.DataFrame]:
    """Trained on one corpus, tested on the others that have labels to compare with."""
    for name, songs in own.items():
        for head in ("va", "quadrant"):
            if not songs.with_labels(head).any():
                continue
            model = fit_model(songs, copies.get(name), [head])
            for tested, part in own.items():
                if tested != name:
                    weak = [(c.labels.valence, c.labels.arousal) for c in corpora[tested]]
                    labelled = replace(part, va=np.array(weak, dtype=np.float64))
                    if head == "va" or part.with_labels(head).any():
                        yield _rows(model, head, labelled, name, OWN)


def _rows(model: SongModel, head: str, part: Songs, trained_on: str, sound: str) -> pd.DataFrame:
    if not len(part):
        return pd.DataFrame()
    rated = part.spread if head == "spread" else part.va
    frame = pd.DataFrame(
        {
            "trained_on": trained_on,
            "corpus": part.corpora,
            "sound": sound,
            "head": head,
            "id": [name.split("/", 1)[1] for name in part.ids],
            "group": [name.split("/", 1)[1] for name in part.groups],
            "valence": rated[:, 0],
            "arousal": rated[:, 1],
            "quadrant": part.quadrant + 1,
            "cluster": part.cluster + 1,
        }
    )
    if head in heads.VALUES:
        values = model.heads.numbers[head](part.x)
        half = model.intervals(part.x) if head == "va" else np.full(part.va.shape, np.nan)
        for k, name in enumerate(heads.DIMENSIONS):
            frame[f"predicted_{name}"], frame[f"half_{name}"] = values[:, k], half[:, k]
        return frame
    shares = model.heads.probabilities(head, part.x)
    return frame.assign(**{f"p_{k + 1}": shares[:, k] for k in range(shares.shape[1])})


def computed(study: Study, features: Iterable[str]) -> dict[str, pd.DataFrame]:
    """`predictions` by feature; those that are neither stored nor to be computed are left out."""
    found: dict[str, Any] = {}
    for feature in features:
        try:
            found[feature] = predictions(study, feature)
        except MissingDataError:
            if study.settings.compute:
                raise
    return found
