"""Valence and arousal tables of datasets, and the audio files that belong to them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mer.clips import Corpus, Fold, Labels, Split
from mer.corpora.tables import read_table
from mer.errors import DataWarning, InvalidDataError, MissingDataError

AUDIO_SUFFIXES = (".mp3", ".wav", ".flac", ".ogg", ".opus", ".aiff", ".aif")
"""Suffixes of recordings, formats that libsndfile reads; an earlier one goes first."""

NAMES_SHOWN = 40
"""Most names that a warning lists."""


class CorpusWarning(DataWarning):
    """Something of a dataset is left out or not known."""


@dataclass(frozen=True, slots=True)
class AnnotationTable:
    """A form in which valence and arousal are distributed; others pass datasets on as the default.

    Paths of the files, all read, below the folder of the dataset; names of the columns; and the
    ends of the scale of both annotations.
    """

    paths: tuple[str, ...]
    id: str = "song_id"
    valence: str = "valence_mean"
    arousal: str = "arousal_mean"
    scale: tuple[float, float] = (1.0, 9.0)


def lexicon(word: str) -> AnnotationTable:
    """A table with the valence and arousal of words; `word` names their column."""
    return AnnotationTable(("lexicon.csv",), word, "valence", "arousal")


def read_annotations(
    folder: Path, forms: Sequence[AnnotationTable], obtain: str, what: str = "song "
) -> dict[str, Labels]:
    """Valence and arousal of each song, brought to [-1, 1].

    The scale is mapped linearly: its lower end is -1, its middle 0, its upper end 1.

    Parameters
    ----------
    folder : Path
        Of the dataset.
    forms : sequence of AnnotationTable
        The first one whose first file exists is read.
    obtain, what : str
        How to get the dataset, and what is annotated, for messages.

    Returns
    -------
    dict of str to Labels
        By song, in the order of the files.

    Raises
    ------
    MissingDataError
        If there is no such file.
    InvalidDataError
        If a song occurs twice, or an annotation is not a number of the scale; names the file,
        the row (the header is row 1) and the value.
    """
    form = next((form for form in forms if (folder / form.paths[0]).is_file()), forms[0])
    columns = (form.valence, form.arousal)
    labels: dict[str, Labels] = {}
    for path in (folder / name for name in form.paths):
        for row in read_table(path, (form.id, *columns), obtain=obtain):
            name = f"{what}{row[form.id]!r}"
            if row[form.id] in labels:
                raise InvalidDataError(f"{row.where}: {name} stands more than once")
            valence, arousal = (
                on_scale(row[column], form.scale, f"{row.where}: {column} of {name}")
                for column in columns
            )
            labels[row[form.id]] = Labels(valence=valence, arousal=arousal)
    return labels


def on_scale(text: str | None, scale: tuple[float, float], what: str) -> float:
    """A number of a scale, brought to [-1, 1].

    Raises
    ------
    InvalidDataError
        If it is not a number, or outside the scale; begins with `what`.
    """
    low, high = scale
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    # Written so that NaN fails
    if not low <= value <= high:
        raise InvalidDataError(f"{what} is {text!r}; expected a number from {low:g} to {high:g}")
    return (2 * value - low - high) / (high - low)


def audio_files(folder: Path) -> dict[str, Path]:
    """Audio files right below a folder, by name without suffix; none if there is no folder."""
    paths = [path for path in folder.glob("*") if path.suffix.lower() in AUDIO_SUFFIXES]
    paths.sort(key=lambda path: AUDIO_SUFFIXES.index(path.suffix.lower()), reverse=True)
    return {path.stem: path for path in paths}


def artist_group(artist: str) -> str:
    """An artist's name as a group: lower case, single spaces."""
    return " ".join(artist.split()).casefold()


def matched(whole: Corpus, audio: Mapping[str, Path], where: Path) -> Corpus:
    """A corpus of annotated clips, after saying what does not match its recordings.

    Clips without audio are left out if others have some; if none has, all stay, for their
    labels. Splits are made of all annotated clips, so that those which are left out change
    nothing for the others.

    Parameters
    ----------
    whole : Corpus
        All clips that are annotated, each with its audio file or None.
    audio : mapping of str to Path
        Every audio file that was found, by id; those of no clip are not used.
    where : Path
        Folder of the recordings.

    Warns
    -----
    CorpusWarning
        If clips have no audio or audio files have no annotation: how many, and which.
    """
    silent = [clip.id for clip in whole if clip.audio is None]
    unlabelled = sorted(set(audio) - set(whole.ids), key=lambda name: (len(name), name))
    if unlabelled:
        report(whole.name, "audio files have no annotation and are left out", where, unlabelled)
    if not silent:
        return whole
    if len(silent) == len(whole):
        warnings.warn(
            f"corpus {whole.name!r}: none of the {len(whole)} annotated clips has an audio file "
            f"in {where}; their labels alone are loaded",
            CorpusWarning,
            stacklevel=3,
        )
        return whole
    report(whole.name, "annotated clips have no audio file and are left out", where, silent)
    return Corpus(
        whole.name,
        [clip for clip in whole if clip.audio is not None],
        licence=whole.licence,
        citation=whole.citation,
        splits={name: partial(_restricted, whole, name) for name in whole.split_names},
        expected=whole.expected,
    )


def report(name: str, what: str, where: Path, names: Sequence[str]) -> None:
    """Warn (`CorpusWarning`) of something about a corpus: how often, where, and which."""
    shown = ", ".join(names[:NAMES_SHOWN])
    rest = len(names) - NAMES_SHOWN
    more = f" and {rest} more" if rest > 0 else ""
    warnings.warn(
        f"corpus {name!r}: {len(names)} {what} ({where}): {shown}{more}",
        CorpusWarning,
        stacklevel=4,
    )


def _restricted(whole: Corpus, name: str, corpus: Corpus) -> Split:
    """A split of the whole corpus without the clips that a part of it lacks."""
    split, known = whole.split(name), set(corpus.ids)
    folds = []
    for number, fold in enumerate(split.folds):
        parts = {
            part: tuple(clip for clip in getattr(fold, part) if clip in known)
            for part in ("train", "valid", "test")
        }
        empty = [part for part, ids in parts.items() if not ids]
        if empty:
            raise MissingDataError(
                f"corpus {corpus.name!r}: no clip in {empty[0]} of split {name!r}, fold {number}, "
                f"has audio; {len(whole) - len(corpus)} of {len(whole)} audio files are missing"
            )
        folds.append(Fold(**parts))
    return Split(name, tuple(folds), leaky=split.leaky)
