"""Valence and arousal tables of datasets, and the audio files that belong to them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mer.clips import Clip, Corpus, Fold, Labels, Split
from mer.corpora.tables import read_table
from mer.errors import InvalidDataError, MissingDataError

AUDIO_SUFFIXES = (".mp3", ".wav", ".flac", ".ogg", ".opus", ".aiff", ".aif")
"""Suffixes of recordings, formats that libsndfile reads; an earlier one goes first."""

NAMES_SHOWN = 40
"""Most names that a warning lists."""


class CorpusWarning(UserWarning):
    """Something of a dataset is left out or not known."""


@dataclass(frozen=True, slots=True)
class AnnotationTable:
    """A form in which static valence and arousal annotations are distributed.

    Paths of the files, all read, below the folder of the dataset; names of the columns; and the
    ends of the scale of both annotations.
    """

    paths: tuple[str, ...]
    id: str
    valence: str
    arousal: str
    scale: tuple[float, float]


def passed_on(*paths: str) -> AnnotationTable:
    """The form, from 1 to 9, in which other repositories pass annotations on."""
    return AnnotationTable(paths, "song_id", "valence_mean", "arousal_mean", (1.0, 9.0))


def read_annotations(
    folder: Path, forms: Sequence[AnnotationTable], obtain: str
) -> dict[str, Labels]:
    """Valence and arousal of each song, brought to [-1, 1].

    The scale is mapped linearly: its lower end is -1, its middle 0, its upper end 1.

    Parameters
    ----------
    folder : Path
        Of the dataset.
    forms : sequence of AnnotationTable
        The first one whose first file exists is read.
    obtain : str
        How to get the dataset, for the message.

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
        rows = read_table(path, (form.id, *columns), obtain=obtain)
        for number, row in enumerate(rows, start=2):
            where, song = f"{path}, row {number}", row[form.id]
            if song in labels:
                raise InvalidDataError(f"{where}: song {song!r} stands more than once")
            valence, arousal = read_emotion(row, form.scale, where, f"song {song!r}", columns)
            labels[song] = Labels(valence=valence, arousal=arousal)
    return labels


def read_emotion(
    row: Mapping[str, str],
    scale: tuple[float, float],
    where: str,
    what: str,
    columns: tuple[str, str] = ("valence", "arousal"),
) -> tuple[float, float]:
    """Valence and arousal of a row, brought to [-1, 1]; `where` and `what` it is for messages."""
    valence, arousal = (
        on_scale(row[column], scale, f"{where}: {column} of {what}") for column in columns
    )
    return valence, arousal


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
    paths: dict[str, Path] = {}
    for suffix in reversed(AUDIO_SUFFIXES):
        paths |= {path.stem: path for path in folder.glob(f"*{suffix}")}
    return paths


def artist_group(artist: str) -> str:
    """An artist's name as a group: lower case, single spaces."""
    return " ".join(artist.split()).casefold()


def annotated_corpus(
    name: str,
    clips: Iterable[Clip],
    *,
    audio: Mapping[str, Path],
    where: Path,
    licence: str,
    citation: str,
    splits: Mapping[str, Callable[[Corpus], Split]],
    expected: Mapping[str, int],
) -> Corpus:
    """A corpus of annotated clips, after saying what does not match.

    Clips without audio are left out if others have some; if none has, all stay, for their
    labels. Splits are made of all annotated clips, so that those which are left out change
    nothing for the others.

    Parameters
    ----------
    clips : iterable of Clip
        All that are annotated, each with its audio file or None.
    audio : mapping of str to Path
        Every audio file that was found, by id; those of no clip are not used.
    where : Path
        Folder of the recordings.
    name, licence, citation, splits, expected
        As in `Corpus`.

    Warns
    -----
    CorpusWarning
        If clips have no audio or audio files have no annotation: how many, and which.

    Raises
    ------
    InvalidDataError
        As `Corpus`.
    """
    clips = list(clips)
    whole = Corpus(
        name, clips, licence=licence, citation=citation, splits=splits, expected=expected
    )
    silent = [clip.id for clip in clips if clip.audio is None]
    unlabelled = sorted(set(audio) - set(whole.ids), key=lambda name: (len(name), name))
    if unlabelled:
        report(name, "audio files have no annotation and are left out", where, unlabelled)
    if len(silent) == len(clips):
        warnings.warn(
            f"corpus {name!r}: none of the {len(clips)} annotated clips has an audio file in "
            f"{where}; their labels alone are loaded",
            CorpusWarning,
            stacklevel=3,
        )
    elif silent:
        report(name, "annotated clips have no audio file and are left out", where, silent)
        gone = frozenset(silent)
        return Corpus(
            name,
            [clip for clip in clips if clip.id not in gone],
            licence=licence,
            citation=citation,
            splits={name: partial(_restricted, whole, name, gone) for name in splits},
            expected=expected,
        )
    return whole


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


def _restricted(whole: Corpus, name: str, gone: frozenset[str], corpus: Corpus) -> Split:
    split = whole.split(name)
    folds = []
    for number, fold in enumerate(split.folds):
        parts = {
            part: tuple(clip for clip in getattr(fold, part) if clip not in gone)
            for part in ("train", "valid", "test")
        }
        empty = [part for part, ids in parts.items() if not ids]
        if empty:
            raise MissingDataError(
                f"corpus {corpus.name!r}: no clip in {empty[0]} of split {name!r}, fold {number}, "
                f"has audio; {len(gone)} of {len(whole)} audio files are missing"
            )
        folds.append(Fold(**parts))
    return Split(name, tuple(folds), leaky=split.leaky)
