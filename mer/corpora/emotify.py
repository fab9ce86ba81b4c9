"""Emotify: songs of four genres with the emotions that they induced (Aljanaki et al., 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from mer.clips import Clip, Corpus, Labels
from mer.corpora.annotations import audio_files, lexicon, matched, read_annotations
from mer.corpora.folds import regression_splits
from mer.corpora.tables import Row, inner_folder, read_table
from mer.errors import InvalidDataError, MissingDataError
from mer.paths import data_folder

LICENCE = "for research; no licence is published, the authors ask to be cited"
CITATION = (
    "A. Aljanaki, F. Wiering, R. C. Veltkamp: Studying emotion induced by music through a "
    "crowdsourcing game. Information Processing & Management 52(1), 2016, 115-128. Words to "
    "valence and arousal: A. B. Warriner, V. Kuperman, M. Brysbaert: Norms of valence, arousal, "
    "and dominance for 13,915 English lemmas. Behavior Research Methods 45, 2013, 1191-1207."
)
OBTAIN = (
    "Emotify is given out at www2.projects.science.uu.nl/memotion/emotifydata: put data.csv and "
    "the unpacked emotifymusic.zip in 'emotify' in the folder that MER_DATA names"
)
EXPECTED = {"clips": 400, "groups": 400}

GENRES = ("classical", "rock", "electronic", "pop")
"""In order of the track numbers: 1-100, 101-200, 201-300, 301-400."""

EMOTIONS = (
    *("amazement", "solemnity", "tenderness", "nostalgia", "calmness"),
    *("power", "joyful_activation", "tension", "sadness"),
)
"""The nine factors of the Geneva Emotional Music Scale (Zentner et al., 2008)."""

_TRACKS_PER_GENRE = 100


def load(folder: Path | None = None) -> Corpus:
    """Emotify in its official layout, with valence and arousal derived from its ratings.

    The dataset has no valence and arousal. A rating is the set of GEMS emotions that one
    listener felt in one track; each emotion has a valence and an arousal in `lexicon.csv` (1-9).
    The valence of a rating is the mean valence of its emotions, brought to [-1, 1] by
    (x - 5) / 4; the valence of a track is the mean over its ratings; the same for arousal.
    Ratings in which no emotion was chosen (103 of 8,407) do not count.
    These are targets of felt emotion, and projections: what the nine emotions express beyond
    valence and arousal is lost, and power, say, has the arousal of the word. The quadrant is
    derived from them, too: high is above the median over all rated tracks, so that each half of
    the tracks is high in valence, and in arousal.

    Parameters
    ----------
    folder : Path, optional
        Holds `data.csv`, `lexicon.csv` (columns emotion, valence, arousal; not part of the
        published dataset) and the recordings as `<genre>/<1-100>.<suffix>`, or those in
        `emotifymusic/`; `$MER_DATA/emotify` if None.

    Returns
    -------
    Corpus
        Ids are genre and number in the genre, such as "rock/17". Each track is a group: artists
        are not published. `meta` has genre, track (1-400), ratings (their number), ratings
        without emotion, emotions (share of the ratings in which each was chosen), and spread
        (standard deviation of valence and of arousal between ratings). Splits:
        "holdout" (70/15/15), "cv10" and "nested5x5" (see `mer.corpora.folds`), stratified by
        genre.

    Warns
    -----
    CorpusWarning
        If rated tracks have no audio or audio files no rating.

    Raises
    ------
    MissingDataError
        If a table is missing, or no rating of a track names an emotion.
    InvalidDataError
        If a rating or the lexicon does not fit.
    """
    folder = folder or data_folder() / "emotify"
    table = ratings(folder)
    music = inner_folder(folder, "emotifymusic")
    audio = {
        f"{genre}/{name}": path
        for genre in GENRES
        for name, path in audio_files(music / genre).items()
    }
    clips = [
        _clip(str(track_id), rows, audio.get(str(track_id)))
        for track_id, rows in table.groupby("id", sort=False)
    ]
    whole = Corpus(
        "emotify",
        _with_quadrants(clips),
        licence=LICENCE,
        citation=CITATION,
        splits=regression_splits(genre_of),
        expected=EXPECTED,
    )
    return matched(whole, audio, music)


def genre_of(clip: Clip) -> str:
    """The stratum of the splits: the clip's genre."""
    return str(clip.meta["genre"])


def ratings(folder: Path | None = None) -> pd.DataFrame:
    """Every rating with its projection, for the reliability of the targets.

    One row a rating, by track number: `id` of the clip, `track` (1-400), the nine emotions
    (0 or 1), `valence` and `arousal` in [-1, 1], NaN where no emotion was chosen. The folder and
    errors are those of `load`.
    """
    folder = folder or data_folder() / "emotify"
    rows = read_table(folder / "data.csv", ("track id", "genre", *EMOTIONS), obtain=OBTAIN)
    words = _lexicon(folder)
    table = pd.DataFrame([_rating(row) for row in rows], columns=["id", "track", *EMOTIONS])
    table = table.sort_values("track", kind="stable", ignore_index=True)
    return table.assign(**_projected(table[list(EMOTIONS)].to_numpy(dtype=float), words))


def _with_quadrants(clips: Sequence[Clip]) -> list[Clip]:
    """The clips with the quadrants that cuts at the medians give."""
    values = np.array([[clip.labels.valence, clip.labels.arousal] for clip in clips], dtype=float)
    high = values > np.median(values, axis=0)
    quadrants = np.where(high[:, 1], np.where(high[:, 0], 1, 2), np.where(high[:, 0], 4, 3))
    return [
        replace(clip, labels=replace(clip.labels, quadrant=int(quadrant)))
        for clip, quadrant in zip(clips, quadrants, strict=True)
    ]


def _projected(chosen: np.ndarray, words: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mean of the chosen emotions' values; `chosen` has shape (n, 9)."""
    number = chosen.sum(axis=1)
    return {
        name: np.divide(chosen @ values, number, out=np.full(len(chosen), np.nan), where=number > 0)
        for name, values in words.items()
    }


def _lexicon(folder: Path) -> dict[str, np.ndarray]:
    """Valence and arousal of the nine emotions, each of shape (9,), in [-1, 1]."""
    expected = (
        "expected a table with columns emotion, valence and arousal (1-9) for "
        f"{', '.join(EMOTIONS)}, such as the norms of Warriner et al. (2013)"
    )
    words = read_annotations(folder, [lexicon("emotion")], expected, what="")
    missing = [emotion for emotion in EMOTIONS if emotion not in words]
    if missing:
        raise InvalidDataError(f"{folder / 'lexicon.csv'} has no emotion {missing[0]!r}")
    return {
        name: np.array([getattr(words[emotion], name) for emotion in EMOTIONS])
        for name in ("valence", "arousal")
    }


def _rating(row: Row) -> tuple[str | int, ...]:
    track, where = row["track id"], row.where
    last = _TRACKS_PER_GENRE * len(GENRES)
    if not track.isdecimal() or not 1 <= int(track) <= last:
        raise InvalidDataError(f"{where}: track id is {track!r}; expected 1 to {last}")
    genre_number, number = divmod(int(track) - 1, _TRACKS_PER_GENRE)
    genre = GENRES[genre_number]
    if row["genre"] != genre:
        raise InvalidDataError(
            f"{where}: track {track} is of genre {row['genre']!r}; expected {genre!r}"
        )
    for emotion in EMOTIONS:
        if row[emotion] not in ("0", "1"):
            raise InvalidDataError(
                f"{where}: {emotion} of track {track} is {row[emotion]!r}; expected 0 or 1"
            )
    return f"{genre}/{number + 1}", int(track), *(int(row[emotion]) for emotion in EMOTIONS)


def _clip(track_id: str, rows: pd.DataFrame, audio: Path | None) -> Clip:
    rated = rows["valence"].notna()
    if not rated.any():
        raise MissingDataError(
            f"track {track_id!r} has {len(rows)} ratings, in none of which an emotion was chosen; "
            "its valence and arousal are not known"
        )
    return Clip(
        track_id,
        track_id,
        audio,
        labels=Labels(valence=float(rows["valence"].mean()), arousal=float(rows["arousal"].mean())),
        meta={
            "genre": track_id.partition("/")[0],
            "track": int(rows["track"].iloc[0]),
            "ratings": len(rows),
            "ratings without emotion": int((~rated).sum()),
            "emotions": {emotion: float(rows[emotion].mean()) for emotion in EMOTIONS},
            "spread": {name: float(rows[name].std()) for name in ("valence", "arousal")},
        },
    )
