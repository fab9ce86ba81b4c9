"""EMOPIA: pop-piano performances labelled with emotion quadrants (Hung et al., ISMIR 2021)."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from mer.clips import Clip, Corpus, Fold, Labels, Split
from mer.corpora.annotations import audio_files
from mer.corpora.folds import cross_validation
from mer.corpora.remote import Remote, RemoteFile, local_folder
from mer.corpora.tables import read_lines, read_table
from mer.errors import InvalidDataError
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

SPLIT_SIZES = {
    "split": (876, 114, 88),
    "split_cls": (767, 198, 86),
    "split_midibert": (864, 107, 107),
}
"""Clips in train, validation and test of the published splits."""

_NAME = re.compile(r"Q([1-4])_(.{11})_(\d+)")


def load(folder: Path | None = None) -> Corpus:
    """EMOPIA 1.0 in its official layout.

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

    Raises
    ------
    MissingDataError
        If a file is missing.
    InvalidDataError
        If a label or a file name does not fit, or counts differ from the published ones.
    """
    folder = local_folder(REMOTE, "emopia", folder)
    return Corpus(
        "emopia",
        _clips(folder),
        licence=LICENCE,
        citation=CITATION,
        splits={
            **{
                name: partial(_published_split, folder, name)
                for name in SPLIT_SIZES
                if (folder / name).is_dir()
            },
            "cv10": partial(cross_validation, n_folds=10),
        },
        expected=EXPECTED,
    )


def _clips(folder: Path) -> list[Clip]:
    path, recordings = folder / "label.csv", audio_files(folder / "audios")
    clips = []
    for row in read_table(path, ("ID", "4Q", "annotator")):
        name = row["ID"]
        match = _NAME.fullmatch(name)
        if match is None:
            raise InvalidDataError(f"{path}: clip {name!r}; expected a name like Q1_<song>_0")
        if row["4Q"] not in ("1", "2", "3", "4"):
            raise InvalidDataError(f"{path}: clip {name!r} has label {row['4Q']!r}; expected 1-4")
        if row["4Q"] != match[1]:
            raise InvalidDataError(
                f"{path}: clip {name!r} has label {row['4Q']}, its name says {match[1]}"
            )
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
    train, valid, test = (_part(folder / name, part) for part in ("train", "valid", "test"))
    sizes = (len(train), len(valid), len(test))
    if len(corpus) == EXPECTED["clips"] and sizes != SPLIT_SIZES[name]:
        raise InvalidDataError(
            f"{folder / name}: parts have {sizes} clips, expected {SPLIT_SIZES[name]}"
        )
    return Split(name, (Fold(train, valid, test),), leaky=name == "split_midibert")


def _part(folder: Path, part: str) -> tuple[str, ...]:
    """Clips of one part of a split; each split has a layout of its own."""
    if folder.name == "split_midibert":
        return tuple(read_lines(folder / f"{part}.txt"))
    short = "val" if part == "valid" else part
    if folder.name == "split_cls":
        return tuple(row["fname"] for row in read_table(folder / f"{short}.csv", ["fname"]))
    rows = read_table(folder / f"{short}_clip.csv", ["clip_name"])
    return tuple(Path(row["clip_name"]).stem for row in rows)
