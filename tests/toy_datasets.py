"""Datasets of some songs in their official layouts, as the tests of the loaders read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from conftest import quadrant_notes, write_midi, write_table

from mer.corpora.emotify import EMOTIONS, GENRES

N = 20
"""Songs of PMEmo and EmoMusic."""

EMOTIFY_LEXICON = {emotion: (1 + k, 9 - k) for k, emotion in enumerate(EMOTIONS)}
"""Valence 1 ... 9 and arousal 9 ... 1, that is -1 ... 1 and 1 ... -1 in steps of 1/4."""

WORDS = {"Fun": (8, 6), "Volatile": (3, 6), "Brooding": (3, 4), "Sweet": (8, 4), "Plain": (5, 5)}
"""One word a cluster; of the quadrants 1, 2, 3, 4, and the middle of the scale."""

DEAM_TABLES = "annotations/annotations averaged per song/song_level/static_annotations_averaged"
FOUR_QUADRANTS_TABLES = "panda_dataset_taffc"


def touch(folder: Path, names: Iterable[object]) -> None:
    """Empty recordings; loaders do not decode them."""
    for name in names:
        path = folder / f"{name}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def pmemo(root: Path) -> None:
    """Two songs an artist, and one song, 99, that has no labels."""
    columns = "musicId fileName title artist album duration chorus_start_time chorus_end_time"
    rows = [
        [k, f"{k}.mp3", f"Title {k}", f"The  Artist {(k + 1) // 2}", "", 30.5, "00:10", "00:40"]
        for k in (*range(1, N + 1), 99)
    ]
    write_table(root / "metadata.csv", columns.split(), rows)
    write_table(
        root / "annotations" / "static_annotations.csv",
        ("musicId", "Arousal(mean)", "Valence(mean)"),
        [[k, k / N, 1 - k / N] for k in range(1, N + 1)],
    )
    touch(root / "chorus", range(1, N + 1))


def levels(k: int) -> tuple[float, float]:
    """Valence and arousal of song k of EmoMusic, 1-9."""
    return 1 + 8 * k / N, 9 - 8 * (k % 7) / 7


def write_info(path: Path) -> None:
    """Text padded with tabs, as published."""
    columns = "song_id,file_name,Artist,Song title,start,end,Genre,Mediaeval 2013 set"
    rest = ("\t0.48\t", "\t1.33\t", "\tBlues\t", "development")
    rows = [
        [k, f"\t{k}.mp3", f"Artist {k // 2}\t", f"\tTitle {k}\t", *rest] for k in range(1, N + 1)
    ]
    write_table(path, columns.split(","), rows)


def emotion_in_music(root: Path) -> None:
    """EmoMusic; two songs an artist."""
    columns = "song_id mean_arousal std_arousal mean_valence std_valence"
    rows = [[k, levels(k)[1], 1, levels(k)[0], 1] for k in range(1, N + 1)]
    write_table(root / "annotations" / "static_annotations.csv", columns.split(), rows)
    write_info(root / "annotations" / "songs_info.csv")
    touch(root / "clips_45seconds", range(1, N + 1))


def deam(root: Path) -> None:
    """Songs 1-20 with columns exchanged, one more of 2014 and one of 2015."""
    columns = "song_id, valence_mean, valence_std, arousal_mean, arousal_std"
    rows = [[k, f" {levels(k)[1]}", " 1", f" {levels(k)[0]}", " 1"] for k in range(1, N + 1)]
    rows.append([1001, " 3", " 1", " 9", " 1"])
    write_table(root / f"{DEAM_TABLES}_songs_1_2000.csv", columns.split(","), rows)
    columns = "song_id, valence_mean, valence_std, valence_ max_mean, arousal_mean"
    later = root / f"{DEAM_TABLES}_songs_2000_2058.csv"
    write_table(later, columns.split(","), [[2001, " 5", " 1", " 8", " 1"]])
    write_info(root / "metadata" / "metadata_2013.csv")
    columns = "Id Artist Album Track Genre start end"
    row: list[object] = [1001, "Artist 3", "Album", "Title", "Rock", "0:10", "0:55", "a label"]
    write_table(root / "metadata" / "metadata_2014.csv", columns.split(), [row])
    columns = "id Filename title artist album genre"
    row = [2001, "a.mp3", "Title", "Someone", "Album", "Jazz"]
    write_table(root / "metadata" / "metadata_2015.csv", columns.split(), [row])
    touch(root / "MEMD_audio", (*range(1, N + 1), 1001, 2001))


def rating(track: int, *chosen: int) -> list[object]:
    """A rating in which the emotions with these numbers were chosen."""
    return [track, GENRES[(track - 1) // 100], *(int(k in chosen) for k in range(9)), 3, 1]


def write_ratings(root: Path, rows: list[list[object]]) -> None:
    """The ratings of Emotify; names of columns begin with a space, as published."""
    columns = ("track id", " genre", *(f" {emotion}" for emotion in EMOTIONS), " mood", " liked")
    write_table(root / "data.csv", columns, rows)


def write_lexicon(path: Path, key: str, words: dict[str, tuple[int, int]]) -> None:
    """Valence and arousal of words, 1-9."""
    rows = [[word, *values, "norm"] for word, values in words.items()]
    write_table(path, (key, "valence", "arousal", "source"), rows)


def emotify(root: Path) -> None:
    """Ten tracks a genre. Track 1: three ratings, one of them empty; all others: two ratings."""
    tracks = [100 * genre + number for genre in range(4) for number in range(1, 11)]
    rows = [rating(1, 0, 8), rating(1), rating(1, 7)]
    rows += [rating(k, *chosen) for k in tracks[1:] for chosen in ((k % 9,), ((k + 1) % 9,))]
    write_ratings(root, rows)
    write_lexicon(root / "lexicon.csv", "emotion", EMOTIFY_LEXICON)
    for genre in GENRES:
        touch(root / genre, range(1, 11))


def mirex_mood(root: Path) -> None:
    """60 songs, two an artist, with the five clusters and `WORDS` in turn; two have MIDI files."""
    touch(root / "Audio", (f"{k:03d}" for k in range(1, 61)))
    lines = {
        "categories.txt": [list(WORDS)[k % 5] for k in range(60)],
        "clusters.txt": [f"Cluster {k % 5 + 1}" for k in range(60)],
        "tracks.csv": [
            "Title;Artist;Album;Track;Year;Filename",
            *(f"Title {k};Artist {k // 2};Album;1;1999;{k:03d}.mp3" for k in range(1, 61)),
        ],
    }
    for name, texts in lines.items():
        (root / name).write_text("\n".join(texts) + "\n")
    write_lexicon(root / "lexicon.csv", "word", WORDS)
    for k in (2, 9):
        write_midi(root / "MIDIs" / f"{k:03d}.mid", quadrant_notes(1, k))


def four_quadrants(root: Path) -> None:
    """48 clips with the quadrants in turn, two clips an artist; metadata in Windows-1252."""
    clips = [(f"MT{k:010d}", f"Q{k % 4 + 1}") for k in range(48)]
    annotations = root / f"{FOUR_QUADRANTS_TABLES}_annotations.csv"
    write_table(annotations, ("Song", "Quadrant"), clips)
    columns = (
        "Song Artist Title Quadrant PQuad MoodsTotal Moods MoodsFoundStr MoodsStr MoodsStrSplit "
        "Genres GenresStr Sample SampleURL"
    )
    moods = (2, 2, "jittery, tense", "Nervous/Jittery, Tense", "Nervous, Jittery, Tense")
    rows = [
        [song, f"Motörhead  {k // 2}", f"Title {k}", quadrant, 0.75, *moods, 2, "Pop/Rock, R&B"]
        for k, (song, quadrant) in enumerate(clips)
    ]
    metadata = root / f"{FOUR_QUADRANTS_TABLES}_metadata.csv"
    write_table(metadata, columns.split(), rows)
    metadata.write_bytes(metadata.read_text(encoding="utf-8").encode("cp1252"))
    touch(root, (f"{quadrant}/{song}" for song, quadrant in clips))


def maestro(root: Path) -> None:
    """Four performances of two years."""
    rows = [
        ["Alban Berg", "Sonata  Op. 1", "train", 2008, "2008/a--1.midi", "2008/a--1.wav", 12.5],
        ["Alban Berg", "sonata Op. 1 ", "train", 2017, "2017/b--2.midi", "2017/b--2.wav", 3],
        ["Joseph Haydn", "Sonata, Hob.XVI:41", "validation", 2008, "2008/c.midi", "2008/c.wav", 4],
        ["Joseph Haydn", "Sonata, Hob.XVI:41", "test", 2008, "2008/d.midi", "2008/d.wav", 5],
    ]
    write_maestro(root, rows)


def write_maestro(root: Path, rows: list[list[object]]) -> None:
    """The table of MAESTRO and its MIDI files."""
    columns = "canonical_composer canonical_title split year midi_filename audio_filename duration"
    write_table(root / "maestro-v3.0.0.csv", columns.split(), rows)
    for number, row in enumerate(rows):
        write_midi(root / str(row[4]), quadrant_notes(1, number))


def pop1k7(root: Path) -> None:
    """Four pieces of two sources, and a file that is none."""
    for number, name in enumerate(["src_001/0", "src_001/2", "src_001/10", "src_002/11"]):
        write_midi(root / "midi_transcribed" / f"{name}.midi", quadrant_notes(1, number))
    (root / "midi_transcribed" / "src_001" / ".DS_Store").touch()


BUILDERS: dict[str, Callable[[Path], None]] = {
    **{"pmemo": pmemo, "emotion_in_music": emotion_in_music, "deam": deam, "emotify": emotify},
    **{"mirex_mood": mirex_mood, "four_quadrants": four_quadrants},
    **{"maestro": maestro, "pop1k7": pop1k7},
}
"""What writes each dataset; EMOPIA has fixtures of its own in conftest."""
