"""4Q: 30-s clips in Russell's four quadrants (Panda, Malheiro and Paiva, 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mer.clips import Clip, Corpus, Labels
from mer.corpora.annotations import artist_group, audio_files, matched, report
from mer.corpora.folds import classification_splits, quadrant
from mer.corpora.tables import inner_folder, read_table
from mer.errors import InvalidDataError
from mer.paths import data_folder

VERSION = "MER_audio_taffc_dataset"
LICENCE = "for research; no licence of the data is published"
CITATION = (
    "R. Panda, R. Malheiro, R. P. Paiva: Novel audio features for music emotion recognition. IEEE "
    "Transactions on Affective Computing 11(4), 2020 (online 2018), 614-626."
)
OBTAIN = (
    "the 4Q audio emotion dataset is given out at mir.dei.uc.pt/downloads.html: unpack "
    f"{VERSION} as 'four_quadrants' in the folder that MER_DATA names"
)
EXPECTED = {
    **{"clips": 900, "groups": 664},
    **{"Q1": 225, "Q2": 225, "Q3": 225, "Q4": 225},
}
"""Clips, artists (661, and three clips without), and clips of each quadrant."""

QUADRANTS = ("Q1", "Q2", "Q3", "Q4")

_ANNOTATIONS = "panda_dataset_taffc_annotations.csv"
_METADATA = "panda_dataset_taffc_metadata.csv"
_COLUMNS = ("Song", "Artist", "Title", "Quadrant", "MoodsStrSplit", "GenresStr")
_ENCODING = "cp1252"
"""Of the metadata, as published."""


def load(folder: Path | None = None) -> Corpus:
    """4Q in its official layout.

    The quadrants follow from the mood tags that experts of AllMusic gave the songs, and were
    validated by listeners; the dataset has no valence and arousal as numbers.

    Parameters
    ----------
    folder : Path, optional
        Holds `panda_dataset_taffc_annotations.csv`, `panda_dataset_taffc_metadata.csv` (in
        Windows-1252) and the recordings in `Q1/` to `Q4/`; `$MER_DATA/four_quadrants` if None, or
        its folder `MER_audio_taffc_dataset`.

    Returns
    -------
    Corpus
        Ids are AllMusic's, such as "MT0010465830". Group is the artist, and the song itself where
        the artist is not known. `meta` has artist, title, moods and genres. Splits: "holdout"
        (70/15/15) and "cv10", artist-disjoint and stratified by quadrant, and "cv10_ungrouped",
        in which artists are on both sides.

    Warns
    -----
    CorpusWarning
        If annotated clips have no audio or audio files no annotation, or artists are not known.

    Raises
    ------
    MissingDataError
        If a table is missing.
    InvalidDataError
        If the tables differ, a quadrant does not fit, or a recording lies in the folder of
        another quadrant.
    """
    folder = inner_folder(folder or data_folder() / "four_quadrants", VERSION)
    quadrants = _quadrants(folder / _ANNOTATIONS)
    rows = read_table(folder / _METADATA, _COLUMNS, encoding=_ENCODING, obtain=OBTAIN)
    songs = {row["Song"]: row for row in rows}
    _check_tables(folder, quadrants, songs)
    audio = _recordings(folder, quadrants)
    clips = [_clip(song, name, songs[song], audio.get(song)) for song, name in quadrants.items()]
    unknown = [clip.id for clip in clips if not clip.meta["artist"]]
    if unknown:
        what = "clips have no artist and are groups of their own"
        report("four_quadrants", what, folder / _METADATA, unknown)
    whole = Corpus(
        "four_quadrants",
        clips,
        licence=LICENCE,
        citation=CITATION,
        splits=classification_splits(quadrant),
        expected=EXPECTED,
    )
    return matched(whole, audio, folder)


def _quadrants(path: Path) -> dict[str, str]:
    quadrants: dict[str, str] = {}
    rows = read_table(path, ("Song", "Quadrant"), obtain=OBTAIN)
    for row in rows:
        where = f"{row.where}: song {row['Song']!r}"
        if row["Song"] in quadrants:
            raise InvalidDataError(f"{where} stands more than once")
        if row["Quadrant"] not in QUADRANTS:
            raise InvalidDataError(
                f"{where} is of quadrant {row['Quadrant']!r}; expected {', '.join(QUADRANTS)}"
            )
        quadrants[row["Song"]] = row["Quadrant"]
    return quadrants


def _check_tables(
    folder: Path, quadrants: dict[str, str], songs: Mapping[str, dict[str, str]]
) -> None:
    for song, name in quadrants.items():
        listed = songs[song]["Quadrant"] if song in songs else None
        if listed != name:
            what = "does not have it" if listed is None else f"says {listed!r}"
            raise InvalidDataError(
                f"{folder}: song {song!r} is of quadrant {name!r} in {_ANNOTATIONS}; "
                f"{_METADATA} {what}"
            )


def _recordings(folder: Path, quadrants: dict[str, str]) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for name in QUADRANTS:
        files = audio_files(folder / name)
        astray = [song for song in files if quadrants.get(song, name) != name]
        if astray:
            raise InvalidDataError(
                f"{files[astray[0]]} is annotated as {quadrants[astray[0]]}; expected it in the "
                "folder of that quadrant: unpack the dataset again"
            )
        paths |= files
    return paths


def _clip(song: str, name: str, row: dict[str, str], audio: Path | None) -> Clip:
    artist = " ".join((row["Artist"] or "").split())
    return Clip(
        song,
        artist_group(artist) if artist else f"song {song}",
        audio,
        labels=Labels(quadrant=int(name[1])),
        meta={
            **{"artist": artist or None, "title": row["Title"]},
            **{"moods": _listed(row["MoodsStrSplit"]), "genres": _listed(row["GenresStr"])},
        },
    )


def _listed(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]
