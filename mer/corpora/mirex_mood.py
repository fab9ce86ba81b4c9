"""MIREX-like mood: songs in the five mood clusters of MIREX (Panda et al., CMMR 2013)."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

from mer.clips import Clip, Corpus, Labels, file_digest, quadrant_of
from mer.corpora.annotations import (
    artist_group,
    audio_files,
    lexicon,
    matched,
    read_annotations,
    report,
)
from mer.corpora.folds import classification_splits
from mer.corpora.tables import read_lines, read_table
from mer.errors import InvalidDataError
from mer.paths import data_folder
from mer.tasks import N_CLUSTERS

LICENCE = "for research only"
CITATION = (
    "R. Panda, R. Malheiro, B. Rocha, A. Oliveira, R. P. Paiva: Multi-modal music emotion "
    "recognition: A new dataset, methodology and comparative analysis. CMMR 2013, 570-582. Words "
    "to valence and arousal: A. B. Warriner, V. Kuperman, M. Brysbaert, Behavior Research "
    "Methods 45, 2013, 1191-1207."
)
OBTAIN = (
    "the MIREX-like mood dataset is given out at mir.dei.uc.pt: unpack its folder 'dataset' as "
    "'mirex_mood' in the folder that MER_DATA names"
)
EXPECTED = {"clips": 903, "groups": 670, "midi": 194}

WEAK_LABELS = ("quadrant", "valence", "arousal")
"""Labels that nobody annotated: they follow from each song's mood word by a lexicon."""

DAMAGED_MIDI = {
    "009": "1506fec1765b2faeb18c4b229765a8caa45398c7d159d2fb2a8d757a28b54c60",
    "097": "3ebe8791f50a8efcfe2fa18fac7072c4fbe8626f577961cedaab12f64f430d65",
}
"""SHA-256 of the published MIDI files that are damaged: data bytes above 127."""


def load(folder: Path | None = None) -> Corpus:
    """MIREX-like mood in its official layout, with weak quadrants from a lexicon.

    The native label is the cluster. Each song also has one of 28 mood words; `lexicon.csv` gives
    the valence and arousal of each word (norms of Warriner et al., 1-9; proxies for words that
    have none), and the quadrant follows from their signs after (x - 5) / 4: high is above the
    middle of the scale. These three are weak labels: no listener has rated the songs so, all
    songs with the same word have the same values, and most words are of high valence.

    Parameters
    ----------
    folder : Path, optional
        Holds `clusters.txt` and `categories.txt` (line i belongs to file i, 001 first),
        `tracks.csv` (separated by ;), `lexicon.csv` (columns word, valence, arousal and source;
        not part of the published dataset), `Audio/` and `MIDIs/`; `$MER_DATA/mirex_mood` if
        None.

    Returns
    -------
    Corpus
        Ids are "001" to "903". Labels: cluster, and the weak quadrant, valence and arousal
        (`WEAK_LABELS`, also in `meta["weak_labels"]`). Group is the artist, and the song itself
        where the artist is not known. MIDI files are of whole songs, not aligned with the 30-s
        recordings. `meta` has word, word source (of the lexicon), artist and title. Splits:
        "holdout" (70/15/15) and "cv10", artist-disjoint and stratified by cluster, and
        "cv10_ungrouped", in which artists are on both sides.

    Warns
    -----
    CorpusWarning
        If labelled songs have no audio or audio files no label, if artists are not known, or if
        MIDI files are known to be damaged (009 and 097 as published): those are left out.

    Raises
    ------
    MissingDataError
        If a table is missing.
    InvalidDataError
        If tables differ in length, or a cluster, word or value does not fit.
    """
    folder = folder or data_folder() / "mirex_mood"
    clusters, words = (read_lines(folder / f"{n}.txt", OBTAIN) for n in ("clusters", "categories"))
    columns = ("Title", "Artist", "Filename")
    rows = read_table(folder / "tracks.csv", columns, delimiter=";", longer=True)
    if not len(clusters) == len(words) == len(rows):
        raise InvalidDataError(
            f"{folder}: found {len(clusters)} clusters, {len(words)} categories and {len(rows)} "
            "tracks; expected one of each for every song"
        )
    values, sources = _lexicon(folder)
    audio, midi = audio_files(folder / "Audio"), _midi_files(folder / "MIDIs")
    clips = [
        Clip(
            name := f"{number:03d}",
            group=f"song {name}" if artist is None else artist_group(artist),
            audio=audio.get(name),
            midi=midi.get(name),
            labels=_labels(folder, number, cluster, word, values),
            meta={
                **{"word": word, "word source": sources[word], "artist": artist},
                **{"title": title, "weak_labels": list(WEAK_LABELS)},
            },
        )
        for number, cluster, word, row in zip(count(1), clusters, words, rows, strict=False)
        for artist, title in (_credits(number, row),)
    ]
    unknown = [clip.id for clip in clips if clip.meta["artist"] is None]
    if unknown:
        what = "songs have no usable row of artist and title and are groups of their own"
        report("mirex_mood", what, folder / "tracks.csv", unknown)
    whole = Corpus(
        "mirex_mood",
        clips,
        licence=LICENCE,
        citation=CITATION,
        splits=classification_splits(cluster_of),
        expected=EXPECTED,
    )
    return matched(whole, audio, folder / "Audio")


def cluster_of(clip: Clip) -> int | None:
    """The stratum of the splits: the clip's mood cluster."""
    return clip.labels.cluster


def _lexicon(folder: Path) -> tuple[dict[str, Labels], dict[str, str]]:
    """Valence and arousal of each word, and where they come from."""
    expected = (
        "expected a table with columns word, valence, arousal (1-9) and source for the words of "
        "categories.txt, such as the norms of Warriner et al. (2013)"
    )
    columns = ("word", "valence", "arousal", "source")
    rows = read_table(folder / "lexicon.csv", columns, obtain=expected)
    values = read_annotations(folder, [lexicon("word")], expected, what="word ")
    return values, {row["word"]: row["source"] for row in rows}


def _labels(
    folder: Path, number: int, cluster: str, word: str, values: dict[str, Labels]
) -> Labels:
    if cluster not in {f"Cluster {k + 1}" for k in range(N_CLUSTERS)}:
        raise InvalidDataError(
            f"{folder / 'clusters.txt'}, line {number}: found {cluster!r}; expected 'Cluster 1' "
            f"to 'Cluster {N_CLUSTERS}'"
        )
    if word not in values:
        raise InvalidDataError(
            f"{folder / 'categories.txt'}, line {number}: word {word!r} is not in lexicon.csv"
        )
    labels = values[word]
    quadrant = quadrant_of(labels.valence or 0.0, labels.arousal or 0.0)
    return replace(labels, quadrant=quadrant, cluster=int(cluster.split()[1]))


def _credits(number: int, row: dict[str, str]) -> tuple[str | None, str | None]:
    """Artist and title; None where the row is empty or, by a ; in a title, out of step."""
    if Path(row["Filename"] or "").stem != f"{number:03d}" or not row["Artist"]:
        return None, None
    return " ".join(row["Artist"].split()), row["Title"]


def _midi_files(folder: Path) -> dict[str, Path]:
    paths = {path.stem: path for path in folder.glob("*.mid")}
    damaged = sorted(
        name
        for name, digest in DAMAGED_MIDI.items()
        if name in paths and file_digest(paths[name]) == digest
    )
    if damaged:
        report("mirex_mood", "MIDI files are damaged and left out", folder, damaged)
    return {name: path for name, path in paths.items() if name not in damaged}
