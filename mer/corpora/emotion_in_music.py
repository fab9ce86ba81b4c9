"""Emotion in Music: EmoMusic (Soleymani et al., 2013) and DEAM, which contains it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from mer.clips import Clip, Corpus, Labels
from mer.corpora.annotations import (
    AnnotationTable,
    CorpusWarning,
    artist_group,
    audio_files,
    matched,
    read_annotations,
)
from mer.corpora.folds import regression_splits, unstratified
from mer.corpora.tables import read_table
from mer.errors import InvalidDataError, ParameterError
from mer.paths import data_folder

ReleaseName = Literal["emomusic", "deam"]
Columns = Literal["published", "exchanged"]

LICENCE = "for academic research; the music is under Creative Commons licences"
CITATION = (
    "M. Soleymani, M. N. Caro, E. M. Schmidt, C.-Y. Sha, Y.-H. Yang: 1000 songs for emotional "
    "analysis of music. CrowdMM 2013, 1-6. DEAM: A. Aljanaki, Y.-H. Yang, M. Soleymani: "
    "Developing a benchmark for emotional analysis of music. PLoS ONE 12(3), 2017, e0173392."
)
OBTAIN = (
    "EmoMusic and DEAM are given out at cvml.unige.ch/databases: unpack their archives in "
    "'emotion_in_music' and 'deam' in the folder that MER_DATA names"
)


@dataclass(frozen=True, slots=True)
class Release:
    """One of the two datasets.

    Attributes
    ----------
    name, folder : str
        Of the corpus, and of its folder below `$MER_DATA`.
    forms : tuple of AnnotationTable
    songs : mapping of str to tuple of str
        Tables of artists, those that are there: path, and columns of number, artist, title and
        genre.
    audio : tuple of str
        Folders of the recordings; the first one that exists is read.
    expected : mapping of str to int
    """

    name: str
    folder: str
    forms: tuple[AnnotationTable, ...]
    songs: Mapping[str, tuple[str, str, str, str]]
    audio: tuple[str, ...]
    expected: Mapping[str, int]


_INFO = ("song_id", "Artist", "Song title", "Genre")
_AVERAGED = "annotations/annotations averaged per song/song_level/static_annotations_averaged_songs"


RELEASES = {
    "emomusic": Release(
        "emotion_in_music",
        "emotion_in_music",
        (
            AnnotationTable(
                ("annotations/static_annotations.csv",),
                valence="mean_valence",
                arousal="mean_arousal",
            ),
            AnnotationTable(("static_annotations.csv",)),
        ),
        {"annotations/songs_info.csv": _INFO, "songs_info.csv": _INFO},
        ("clips_45seconds", "clips_45sec/clips_45seconds", "clips_45sec"),
        {"clips": 744, "groups": 411},
    ),
    "deam": Release(
        "deam",
        "deam",
        (
            AnnotationTable((f"{_AVERAGED}_1_2000.csv", f"{_AVERAGED}_2000_2058.csv")),
            AnnotationTable(("static_annotations.csv",)),
        ),
        {
            "metadata/metadata_2013.csv": _INFO,
            "metadata/metadata_2014.csv": ("Id", "Artist", "Track", "Genre"),
            "metadata/metadata_2015.csv": ("id", "artist", "title", "genre"),
        },
        ("MEMD_audio", "audio"),
        {"clips": 1802},
    ),
}
"""Official layouts, and the one in which other repositories pass the labels on."""


def load(
    folder: Path | None = None,
    *,
    release: ReleaseName = "emomusic",
    columns: Columns = "published",
) -> Corpus:
    """EmoMusic (744 clips of 45 s) or DEAM (1,802 clips and songs) in the official layout.

    DEAM contains the songs of EmoMusic under the same numbers. For these 744 the two releases
    contradict each other: what DEAM calls valence is EmoMusic's arousal (r = .9998), and the
    other way round (r = .9999). By genre, rock has the highest
    arousal and classical music the lowest in EmoMusic's columns, as one would expect, so that
    DEAM's are probably the exchanged ones. It is unknown whether that holds for the other
    1,058 songs of DEAM too. Labels are as published by default.

    Parameters
    ----------
    folder : Path, optional
        `$MER_DATA/emotion_in_music` or `$MER_DATA/deam` if None. EmoMusic:
        `annotations/static_annotations.csv`, `annotations/songs_info.csv` and
        `clips_45seconds/`. DEAM: the two tables in `annotations/annotations averaged per
        song/song_level/`, `metadata/metadata_2013.csv` (2014, 2015) and `MEMD_audio/`. The
        annotations per second are not read.
    release : {"emomusic", "deam"}
    columns : {"published", "exchanged"}
        Whether the valence column of the release is taken for valence, or for arousal (and the
        arousal column for valence), for every song.

    Returns
    -------
    Corpus
        Named "emotion_in_music" or "deam". Ids are the numbers of the songs. Labels: valence and
        arousal of the whole clip, means over raters, from 1-9 to [-1, 1] ((x - 5) / 4). Group
        is the artist; `meta` has artist, title and genre. Where there is no table of artists,
        each song is a group. Splits: "holdout" (70/15/15), "cv10" and "nested5x5" (see
        `mer.corpora.folds`), group-disjoint and not stratified.

    Warns
    -----
    CorpusWarning
        If annotated songs have no audio or audio files no annotation; if there is no table of
        artists; and if DEAM is loaded with its columns as published.

    Raises
    ------
    ParameterError
        If there is no such release or order of columns.
    MissingDataError
        If the annotations are missing.
    InvalidDataError
        If an annotation is not on the scale, or a song is in no table of artists.
    """
    if release not in get_args(ReleaseName) or columns not in get_args(Columns):
        raise ParameterError(
            f"release is {release!r} and columns is {columns!r}; expected one of "
            f"{', '.join(get_args(ReleaseName))}, and one of {', '.join(get_args(Columns))}"
        )
    source = RELEASES[release]
    folder = folder or data_folder() / source.folder
    labels = read_annotations(folder, source.forms, OBTAIN)
    if columns == "exchanged":
        labels = {
            song: replace(label, valence=label.arousal, arousal=label.valence)
            for song, label in labels.items()
        }
    elif release == "deam":
        warnings.warn(
            "corpus 'deam': for the 744 songs of EmoMusic, valence and arousal stand in each "
            "other's column as compared with EmoMusic, and probably wrongly so; labels are loaded "
            "as published: columns='exchanged' exchanges them",
            CorpusWarning,
            stacklevel=2,
        )
    where = next((folder / name for name in source.audio if (folder / name).is_dir()), None)
    where = where or folder / source.audio[0]
    audio, songs = audio_files(where), _songs(folder, source)
    whole = Corpus(
        source.name,
        [_clip(song, label, songs, audio, folder) for song, label in labels.items()],
        licence=LICENCE,
        citation=CITATION,
        splits=regression_splits(unstratified),
        expected=source.expected,
    )
    return matched(whole, audio, where)


def _songs(folder: Path, source: Release) -> dict[str, dict[str, str]] | None:
    """Artist, title and genre by song; None where no table is there."""
    tables = {path: names for path, names in source.songs.items() if (folder / path).is_file()}
    if not tables:
        warnings.warn(
            f"corpus {source.name!r}: {folder / next(iter(source.songs))} does not exist, artists "
            "are not known; each song is a group, so artists may stand on both sides of a split",
            CorpusWarning,
            stacklevel=3,
        )
        return None
    songs = {}
    for path, columns in tables.items():
        for row in read_table(folder / path, columns, longer=True):  # as published
            # Text of the published tables is padded with tabs
            song, *texts = (" ".join((row[column] or "").split()) for column in columns)
            songs[song] = dict(zip(("artist", "title", "genre"), texts, strict=True))
    return songs


def _clip(
    song: str,
    label: Labels,
    songs: Mapping[str, dict[str, str]] | None,
    audio: Mapping[str, Path],
    folder: Path,
) -> Clip:
    if songs is None:
        return Clip(song, song, audio.get(song), labels=label)
    if song not in songs or not songs[song]["artist"]:
        raise InvalidDataError(f"{folder}: song {song!r} has labels, but no table has its artist")
    return Clip(
        song, artist_group(songs[song]["artist"]), audio.get(song), labels=label, meta=songs[song]
    )
