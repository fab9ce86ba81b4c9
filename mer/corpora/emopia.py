"""EMOPIA: pop-piano performances labelled with emotion quadrants (Hung et al., ISMIR 2021)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from mer.clips import Clip, Corpus, Fold, Labels, Split
from mer.corpora.annotations import NAMES_SHOWN, CorpusWarning, audio_files
from mer.corpora.folds import cross_validation
from mer.corpora.remote import Remote, RemoteFile, local_folder
from mer.corpora.tables import read_lines, read_table
from mer.errors import InvalidDataError, MerError, MissingDataError
from mer.files import require_file

VERSION = "1.0"
LICENCE = "CC BY-NC-SA 4.0"
CITATION = (
    "H.-T. Hung, J. Ching, S. Doh, N. Kim, J. Nam, Y.-H. Yang: EMOPIA: A multi-modal pop piano "
    "dataset for emotion recognition and emotion-based music generation. ISMIR 2021, 318-325."
)
_CLASSIFICATION = (
    "https://raw.githubusercontent.com/seungheondoh/EMOPIA_cls/"
    "4acbaf48230c06a3d1ddafcf6387e495f583832b/dataset/split"
)
REMOTE = Remote(
    name="EMOPIA 1.0 (MIDI, labels and splits)",
    url="https://zenodo.org/record/5090631/files/EMOPIA_1.0.zip",
    sha256=None,
    folder="emopia",
    files=tuple(
        RemoteFile(f"{_CLASSIFICATION}/{name}", sha256, f"split_cls/{name}")
        for name, sha256 in (
            ("train.csv", "21c0d3d5d65e357b7fee5f8b155bdf53bad208a5ce73c29beaacf6a18b60733b"),
            ("val.csv", "71a3f00103e708d6e835c2681105d989d704e278de32c192106899a302dca5de"),
            ("test.csv", "4d1ec75b36c2ef86bf5b5250af3b9e91f21608a49cf66365c446229d8edd8735"),
        )
    ),
)
EXPECTED = {"clips": 1078, "groups": 387, "Q1": 250, "Q2": 265, "Q3": 253, "Q4": 310}
"""Counts of version 1.0."""

_LATER = {1071: "2.2"}
"""Versions that lack some clips of version 1.0, by the number of their clips."""

SPLIT_SIZES = {
    "split": (876, 114, 88),
    "split_cls": (767, 198, 86),
    "split_midibert": (864, 107, 107),
}
"""Clips in train, validation and test of the published splits."""

_NAME = re.compile(r"Q([1-4])_(.{11})_(\d+)")


def load(folder: Path | None = None) -> Corpus:
    """EMOPIA 1.0 in its official layout, or a version that lacks some of its clips.

    Parameters
    ----------
    folder : Path, optional
        Holds `label.csv`, `midis/` and the folders of the splits; `$MER_DATA/emopia` if None.
        Recordings are used where `audios/` has them; the release itself holds none.

    Returns
    -------
    Corpus
        Group is the YouTube identifier of the song. Splits: "cv10" (song-grouped 10-fold
        cross-validation) and those whose folder is there: "split" (of the release on Zenodo),
        "split_cls" (`dataset/split` of github.com/seungheondoh/EMOPIA_cls, used by the papers)
        and "split_midibert" (of github.com/wazenmai/MIDI-BERT, as lists of clip names; leaky).
        Clips that another version lacks are left out of them.

    Warns
    -----
    CorpusWarning
        If it is another version: how many clips of which split it lacks.

    Raises
    ------
    MissingDataError
        If a file is missing.
    InvalidDataError
        If a label or a file name does not fit, or counts differ from the published ones.
    """
    folder = local_folder(REMOTE, "emopia", folder)
    clips = _clips(folder)
    published = [name for name in SPLIT_SIZES if (folder / name).is_dir()]
    corpus = Corpus(
        "emopia",
        clips,
        licence=LICENCE,
        citation=CITATION,
        splits={
            **{name: partial(_published_split, folder, name) for name in published},
            "cv10": partial(cross_validation, n_folds=10),
        },
        expected={"clips": len(clips)} if len(clips) in _LATER else EXPECTED,
    )
    if len(clips) != EXPECTED["clips"]:
        _report_version(corpus, folder, published)
    return corpus


def _report_version(corpus: Corpus, folder: Path, splits: Sequence[str]) -> None:
    """Warn of another version, and of what its splits lack."""
    texts, names = [], set()
    for name in splits:
        with suppress(MerError):  # a damaged split is an error when it is asked for
            parts = _parts(folder / name)
            absent = _absent(corpus, parts)
            counts = {part: len(absent.intersection(ids)) for part, ids in parts.items()}
            lacking = [f"{count} in {part}" for part, count in counts.items() if count]
            texts += [f"{' and '.join(lacking)} of {name!r}"] if lacking else []
            names |= absent
    if texts or len(corpus) in _LATER:
        version = _LATER.get(len(corpus), f"another one than {VERSION}")
        shown = ", ".join(sorted(names)[:NAMES_SHOWN])
        what = f"; its splits lack {', '.join(texts)}: {shown}" if texts else ""
        warnings.warn(
            f"corpus 'emopia': {len(corpus)} clips in {folder}, version {version}; published "
            f"results are about the {EXPECTED['clips']} of version {VERSION}{what}",
            CorpusWarning,
            stacklevel=3,
        )


def _clips(folder: Path) -> list[Clip]:
    path, recordings = folder / "label.csv", audio_files(folder / "audios")
    clips, rows = [], read_table(path, ("ID", "4Q", "annotator"))
    there = {file.stem for file in (folder / "midis").glob("*.mid")}
    if sum(row["ID"] in there for row in rows) in _LATER:  # whose table may be the former one
        rows = [row for row in rows if row["ID"] in there]
    for row in rows:
        name, where = row["ID"], f"{row.where}: clip {row['ID']!r}"
        match = _NAME.fullmatch(name or "")
        if match is None:
            raise InvalidDataError(f"{where}; expected a name like Q1_<song>_0")
        if row["4Q"] not in ("1", "2", "3", "4"):
            raise InvalidDataError(f"{where} has label {row['4Q']!r}; expected 1-4")
        if row["4Q"] != match[1]:
            raise InvalidDataError(f"{where} has label {row['4Q']}, its name says {match[1]}")
        midi = folder / "midis" / f"{name}.mid"
        require_file(midi, f", but {path.name} lists the clip")
        clips.append(
            Clip(
                id=name,
                group=match[2],
                audio=recordings.get(name),
                midi=midi,
                labels=Labels(quadrant=int(row["4Q"])),
                meta={"annotator": row["annotator"]},
            )
        )
    return clips


def _published_split(folder: Path, name: str, corpus: Corpus) -> Split:
    parts = _parts(folder / name)
    sizes = tuple(map(len, parts.values()))
    if len(corpus) == EXPECTED["clips"] and sizes != SPLIT_SIZES[name]:
        raise InvalidDataError(
            f"{folder / name}: parts have {sizes} clips, expected {SPLIT_SIZES[name]}"
        )
    absent = _absent(corpus, parts)
    kept = {part: tuple(c for c in ids if c not in absent) for part, ids in parts.items()}
    empty = [part for part, ids in kept.items() if parts[part] and not ids]
    if empty:
        raise MissingDataError(
            f"corpus 'emopia' has none of the clips in {empty[0]} of split {name!r} in {folder}"
        )
    return Split(name, (Fold(**kept),), leaky=name == "split_midibert")


def _absent(corpus: Corpus, parts: Mapping[str, Sequence[str]]) -> set[str]:
    """Clips of a split that another version lacks.

    None if the version is not known and the split does not hold all clips of the corpus: then
    names may be misspelt.
    """
    names, known = {name for ids in parts.values() for name in ids}, set(corpus.ids)
    return names - known if len(corpus) in _LATER or known <= names else set()


def _parts(folder: Path) -> dict[str, tuple[str, ...]]:
    return {part: _part(folder, part) for part in ("train", "valid", "test")}


def _part(folder: Path, part: str) -> tuple[str, ...]:
    """Clips of one part of a split; each split has a layout of its own."""
    if folder.name == "split_midibert":
        return tuple(read_lines(folder / f"{part}.txt"))
    short = "val" if part == "valid" else part
    if folder.name == "split_cls":
        rows = read_table(folder / f"{short}.csv", ["fname"])
        return tuple(row["fname"] or "" for row in rows)  # None where a row is too short
    rows = read_table(folder / f"{short}_clip.csv", ["clip_name"])
    return tuple(Path(row["clip_name"] or "").stem for row in rows)
