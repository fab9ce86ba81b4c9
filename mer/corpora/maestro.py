"""MAESTRO v3: piano performances of the e-Competition (Hawthorne et al., ICLR 2019)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mer.clips import Clip, Corpus, Fold, Split
from mer.corpora.remote import Remote, local_folder
from mer.corpora.tables import Row, read_table
from mer.errors import InvalidDataError
from mer.files import require_file

VERSION = "3.0.0"
LICENCE = "CC BY-NC-SA 4.0"
CITATION = (
    "C. Hawthorne, A. Stasyuk, A. Roberts, I. Simon, C.-Z. A. Huang, S. Dieleman, E. Elsen, "
    "J. Engel, D. Eck: Enabling factorized piano music modeling and generation with the MAESTRO "
    "dataset. ICLR 2019."
)
REMOTE = Remote(
    name="MAESTRO 3.0.0 (MIDI and table)",
    url="https://storage.googleapis.com/magentadata/datasets/maestro/v3.0.0/"
    "maestro-v3.0.0-midi.zip",
    sha256="70470ee253295c8d2c71e6d9d4a815189e35c89624b76d22fce5a019d5dde12c",
    folder="maestro-v3.0.0",
)
YEARS = ("2004", "2006", "2008", "2009", "2011", "2013", "2014", "2015", "2017", "2018")
EXPECTED = {"clips": 1276, "midi": 1276}
"""Counts of version 3.0.0, all years."""

SPLIT_SIZES = (962, 137, 177)
"""Performances in train, validation and test of the official split, all years."""

_TABLE = "maestro-v3.0.0.csv"
_COLUMNS = (
    *("canonical_composer", "canonical_title", "split", "year"),
    *("midi_filename", "audio_filename", "duration"),
)
_PARTS = ("train", "validation", "test")


def load(folder: Path | None = None) -> Corpus:
    """MAESTRO v3 in its official layout, as far as its table lists it.

    Parameters
    ----------
    folder : Path, optional
        Holds `maestro-v3.0.0.csv` and a folder for each year; `$MER_DATA/maestro-v3.0.0` if
        None. The table may be cut to some years: what it lists is loaded. Recordings are used
        where they are.

    Returns
    -------
    Corpus
        Ids are names of MIDI files without suffix. No labels. Group is composer and title, in
        lower case. `meta` has composer, title, year and duration (s). Split: "official", marked
        leaky: a few titles name a whole work of which one recital's consecutive tracks stand in
        different parts.

    Raises
    ------
    MissingDataError
        If a file is missing.
    InvalidDataError
        If a row of the table does not fit.
    """
    folder = local_folder(REMOTE, "maestro", folder)
    path = folder / _TABLE
    rows = read_table(path, _COLUMNS)
    whole = {row["year"] for row in rows} == set(YEARS)
    return Corpus(
        "maestro",
        [_clip(path, row) for row in rows],
        licence=LICENCE,
        citation=CITATION,
        splits={"official": partial(_official_split, rows, whole)},
        expected=EXPECTED if whole else {"midi": len(rows)},
    )


def _clip(path: Path, row: Row) -> Clip:
    name = row["midi_filename"]
    if row["split"] not in _PARTS:
        raise InvalidDataError(
            f"{row.where}: {name} is in split {row['split']!r}; expected {', '.join(_PARTS)}"
        )
    try:
        year, duration = int(row["year"]), float(row["duration"])
    except (ValueError, TypeError):
        raise InvalidDataError(
            f"{row.where}: {name} has year {row['year']!r} and duration {row['duration']!r}; "
            "expected numbers"
        ) from None
    midi, audio = path.parent / name, path.parent / row["audio_filename"]
    require_file(midi, f", but {path.name} lists it")
    composer, title = (" ".join(row[f"canonical_{what}"].split()) for what in ("composer", "title"))
    return Clip(
        id=_id(row),
        group=f"{composer}: {title}".lower(),
        audio=audio if audio.is_file() else None,
        midi=midi,
        meta={"composer": composer, "title": title, "year": year, "duration": duration},
    )


def _id(row: dict[str, str]) -> str:
    return Path(row["midi_filename"]).with_suffix("").as_posix()


def _official_split(rows: list[Row], whole: bool, corpus: Corpus) -> Split:
    train, valid, test = (
        tuple(_id(row) for row in rows if row["split"] == part) for part in _PARTS
    )
    sizes = (len(train), len(valid), len(test))
    if whole and sizes != SPLIT_SIZES:
        raise InvalidDataError(
            f"corpus {corpus.name!r}: parts of split 'official' have {sizes} performances, "
            f"expected {SPLIT_SIZES}"
        )
    return Split("official", (Fold(train, valid, test),), leaky=True)
