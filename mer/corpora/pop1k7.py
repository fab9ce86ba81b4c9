"""Pop1K7: pop-piano covers transcribed from YouTube (Hsiao et al., AAAI 2021)."""

from __future__ import annotations

from pathlib import Path

from mer.clips import Clip, Corpus
from mer.corpora.remote import Remote, local_folder
from mer.errors import MissingDataError

LICENCE = "not known; see zenodo.org/records/13167761"
CITATION = (
    "W.-Y. Hsiao, J.-Y. Liu, Y.-C. Yeh, Y.-H. Yang: Compound Word Transformer: Learning to compose "
    "full-song music over dynamic directed hypergraphs. AAAI 2021, 178-186."
)
REMOTE = Remote(
    name="Pop1K7",
    url="https://zenodo.org/records/13167761/files/Pop1K7.zip",
    sha256=None,
    folder="pop1k7",
)
EXPECTED = {"clips": 1748, "midi": 1748}

_SUFFIXES = (".mid", ".midi")


def load(folder: Path | None = None) -> Corpus:
    """Pop1K7 as transcribed (Onsets and Frames), before beats were estimated.

    Parameters
    ----------
    folder : Path, optional
        Holds `midi_transcribed/src_001` and so on; `$MER_DATA/pop1k7` if None.

    Returns
    -------
    Corpus
        By source, then number. Ids are such as "src_001/0". No labels, no audio, no split;
        each piece is a group of its own, as songs and performers are not published. Some pieces
        are performances of EMOPIA: see `mer.features.fingerprints`.

    Raises
    ------
    MissingDataError
        If the folder is missing or holds no MIDI file.
    """
    folder = local_folder(REMOTE, "pop1k7", folder)
    files = (folder / "midi_transcribed").glob("src_*/*")
    paths = [path for path in files if path.suffix in _SUFFIXES]
    if not paths:
        raise MissingDataError(f"{folder} holds no file midi_transcribed/src_*/*.midi")
    return Corpus(
        "pop1k7",
        [_clip(p) for p in sorted(paths, key=lambda p: (p.parent.name, len(p.stem), p.stem))],
        licence=LICENCE,
        citation=CITATION,
        expected=EXPECTED,
    )


def _clip(path: Path) -> Clip:
    name = f"{path.parent.name}/{path.stem}"
    return Clip(id=name, group=name, midi=path, meta={"source": path.parent.name})
