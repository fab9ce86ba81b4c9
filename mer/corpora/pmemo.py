"""PMEmo: choruses of pop songs with valence and arousal (Zhang et al., ICMR 2018)."""

from __future__ import annotations

from pathlib import Path

from mer.clips import Clip, Corpus
from mer.corpora.annotations import (
    AnnotationTable,
    artist_group,
    audio_files,
    matched,
    read_annotations,
)
from mer.corpora.folds import regression_splits, unstratified
from mer.corpora.tables import inner_folder, read_table
from mer.errors import InvalidDataError
from mer.paths import data_folder

VERSION = "PMEmo2019"
LICENCE = "for research; no licence of the data is published"
CITATION = (
    "K. Zhang, H. Zhang, S. Li, C. Yang, L. Sun: The PMEmo dataset for music emotion recognition. "
    "ICMR 2018, 135-142."
)
OBTAIN = (
    "PMEmo is given out by its authors: get PMEmo2019 as github.com/HuiZhangDB/PMEmo says, and "
    "unpack it as 'pmemo' in the folder that MER_DATA names"
)
EXPECTED = {"clips": 767, "groups": 395}
"""Annotated songs and their artists; 794 choruses are published, 27 of them without labels."""

FORMS = (
    AnnotationTable(
        *(("annotations/static_annotations.csv",), "musicId", "Valence(mean)", "Arousal(mean)"),
        scale=(0.0, 1.0),
    ),
    AnnotationTable(("static_annotations.csv",)),
)
"""As published; and as other repositories pass the labels on, brought to 1-9 (8 x + 1)."""


def load(folder: Path | None = None) -> Corpus:
    """PMEmo2019 in its official layout.

    Parameters
    ----------
    folder : Path, optional
        Holds `metadata.csv`, `annotations/static_annotations.csv` and `chorus/`;
        `$MER_DATA/pmemo` if None, or its folder `PMEmo2019`. Other annotations, features and
        physiological signals are not read.

    Returns
    -------
    Corpus
        Ids are the numbers of the songs. Labels: valence and arousal, means over raters, from
        [0, 1] to [-1, 1] (2 x - 1). Group is the artist. `meta` has artist and title. Splits:
        "holdout" (70/15/15), "cv10" and "nested5x5" (see `mer.corpora.folds`), artist-disjoint
        and not stratified.

    Warns
    -----
    CorpusWarning
        If annotated songs have no audio, or audio files (27 in the published dataset) no
        annotation.

    Raises
    ------
    MissingDataError
        If a table is missing.
    InvalidDataError
        If an annotation is not on the scale, or a song is not in the metadata.
    """
    folder = inner_folder(folder or data_folder() / "pmemo", VERSION)
    labels = read_annotations(folder, FORMS, OBTAIN)
    songs = _songs(folder / "metadata.csv")
    audio = audio_files(folder / "chorus")
    clips = []
    for song, label in labels.items():
        if song not in songs:
            raise InvalidDataError(f"{folder / 'metadata.csv'} has no song {song!r}; it has labels")
        row = songs[song]
        meta = {"artist": row["artist"], "title": row["title"]}
        clips.append(
            Clip(song, artist_group(row["artist"]), audio.get(song), labels=label, meta=meta)
        )
    whole = Corpus(
        "pmemo",
        clips,
        licence=LICENCE,
        citation=CITATION,
        splits=regression_splits(unstratified),
        expected=EXPECTED,
    )
    return matched(whole, audio, folder / "chorus")


def _songs(path: Path) -> dict[str, dict[str, str]]:
    rows = read_table(path, ("musicId", "title", "artist"), obtain=OBTAIN)
    for row in rows:
        if not row["artist"]:
            raise InvalidDataError(f"{row.where}: song {row['musicId']!r} has no artist")
    return {row["musicId"]: row for row in rows}
