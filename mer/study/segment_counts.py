"""How many segments there are: table 1 of Sun et al. 2024, and the corpora at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mer.audio import audio_seconds, waveform
from mer.clips import Clip
from mer.errors import MissingDataError
from mer.segments import LONGEST, SAMPLE_RATE, segment_count, segment_starts
from mer.study.published import published, published_value
from mer.study.session import Session
from mer.study.specs import resolve
from mer.study.sun2024 import DATASETS, DURATIONS, PROPOSED
from mer.systems.sun2024 import SSSL

_STATED_SECONDS = {"EiM": 45.0}
"""Length of all clips of a dataset, where the paper gives one."""


def most_segments(songs: int, duration: int) -> int:
    """Segments of that many songs if each has 30 s or more."""
    return songs * segment_count(LONGEST, duration, duration - 1)


def published_counts() -> pd.DataFrame:
    """Table 1, with what it would be if every clip lasted 30 s.

    Returns
    -------
    DataFrame
        One row a dataset and duration: dataset, duration, songs, segments (published), lost
        (against segments 1 s shorter; missing for the shortest), most (`most_segments`), fewer
        (most - segments), and uncut: what clips of the stated length would give if they were
        not cut (missing where the paper states none).
    """
    cells = published("sun2024", "1").set_index(["row", "column"])["number"]
    rows = []
    for dataset in DATASETS:
        songs = int(published_value("sun2024", "1", dataset, "#Song"))
        for d in DURATIONS:
            found = int(cells[(f"{dataset} {d}", "#Segment")])
            rows.append(
                {
                    **{"dataset": dataset, "duration": d, "songs": songs, "segments": found},
                    "most": most_segments(songs, d),
                    "uncut": _uncut(dataset, songs, d),
                }
            )
    table = pd.DataFrame(rows).astype({"uncut": "Int64"})
    lost = -table.groupby("dataset", sort=False)["segments"].diff()
    return table.assign(lost=lost.astype("Int64"), fewer=table["most"] - table["segments"])


def _uncut(dataset: str, songs: int, duration: int) -> int | None:
    seconds = _STATED_SECONDS.get(dataset)
    if seconds is None:
        return None
    return songs * segment_count(seconds, duration, duration - 1, longest=seconds)


def clip_lengths(session: Session) -> pd.DataFrame:
    """Length of every clip, from the store where it is there.

    Returns
    -------
    DataFrame
        One row a clip: id, seconds (of the whole clip), frames (of the spectrogram of its first
        30 s, as systems of segments see it).

    Raises
    ------
    MissingDataError
        If nothing is stored and nothing is to be computed, or the data are missing.
    """
    name, system = session.corpus_name, _system(session)
    spec = {
        **{"corpus": name, "fingerprint": session.card["fingerprint"]},
        **{"sample_rate": system.sample_rate, "hop_length": system.hop_length},
    }

    def compute() -> tuple[pd.DataFrame, dict[str, Any]]:
        rows = [
            {"id": clip.id, "seconds": _seconds(clip), "frames": system.log_mel(clip).shape[1]}
            for clip in session.corpus
        ]
        return pd.DataFrame(rows), {}

    run = compute if session.settings.compute else None
    return session.store.table(f"lengths {name}", spec, run)


def _system(session: Session, duration: float = DURATIONS[-1]) -> SSSL:
    overrides = session.profile.overrides.get(PROPOSED, {})
    system = resolve(PROPOSED, {**overrides, "duration": float(duration)})
    assert isinstance(system, SSSL)
    return system


def _seconds(clip: Clip) -> float:
    if clip.audio is not None:
        return audio_seconds(clip.audio)
    return len(waveform(clip, SAMPLE_RATE)) / SAMPLE_RATE


def counted(sessions: Mapping[str, Session]) -> pd.DataFrame:
    """Segments of some corpora, those left out of which nothing is stored or to be computed.

    Parameters
    ----------
    sessions : mapping of str to Session
        By corpus.

    Returns
    -------
    DataFrame
        One row a corpus and duration: dataset, duration, songs, shorter (songs of less than
        30 s), segments (exact, by time), frames (by frames, as systems are trained), most
        (`most_segments`) and fewer (most - segments).
    """
    rows = []
    for name, session in sessions.items():
        try:
            lengths = clip_lengths(session)
        except MissingDataError:
            if session.settings.compute:
                raise
            continue
        for d in DURATIONS:
            system = _system(session, d)
            cut = [len(segment_starts(n, system.window, system.hop)) for n in lengths["frames"]]
            rows.append(
                {
                    "dataset": name,
                    **{"duration": d, "songs": len(lengths)},
                    "shorter": int((lengths["seconds"] < LONGEST).sum()),
                    "segments": sum(segment_count(s, d, d - 1) for s in lengths["seconds"]),
                    **{"frames": sum(cut), "most": most_segments(len(lengths), d)},
                }
            )
    columns = ["dataset", "duration", "songs", "shorter", "segments", "frames", "most"]
    counts = pd.DataFrame(rows, columns=columns)
    return counts.assign(fewer=counts["most"] - counts["segments"])


def published_text(table: pd.DataFrame) -> pd.DataFrame:
    """Table 1 for reading, from `published_counts`: one row a dataset and duration."""
    return pd.DataFrame(
        {
            "songs": table["songs"],
            "published": table["segments"],
            "every clip cut to 30 s": table["most"],
            "fewer than that": table["fewer"],
            "clips of 45 s, not cut": table["uncut"],
            "lost by 1 s more": table["lost"],
        }
    ).set_axis(_rows(table))


def counted_text(table: pd.DataFrame) -> pd.DataFrame:
    """Segments here for reading, from `counted`: one row a corpus and duration."""
    return pd.DataFrame(
        {
            "songs": table["songs"],
            "shorter than 30 s": table["shorter"],
            "segments, by time": table["segments"],
            "segments, by frames": table["frames"],
            "every clip cut to 30 s": table["most"],
            "fewer than that": table["fewer"],
        }
    ).set_axis(_rows(table))


def _rows(table: pd.DataFrame) -> pd.Index:
    return pd.Index([f"{r.dataset}, {r.duration} s" for r in table.itertuples()])


def findings(table: pd.DataFrame) -> str:
    """What the published counts imply, as Markdown; from `published_counts`."""
    lines = []
    for dataset, rows in table.groupby("dataset", sort=False):
        first, last = rows.iloc[0], rows.iloc[-1]
        songs = first["songs"]
        text = f"- **{dataset}**: {first['segments'] / songs:.2f} segments of 1 s a song. "
        if pd.notna(first["uncut"]):
            text += f"Its clips last 45 s, which would give {first['uncut']:,} segments of 1 s: "
            text += "so clips were cut to 30 s. "
        text += f"The counts are {first['fewer']:,} (1 s) to {last['fewer']:,} (5 s) below those "
        text += f"of {songs:,} clips of 30 s. "
        over = rows[rows["lost"] > songs]
        steps = ", ".join(f"{row.lost:,} at {row.duration} s" for row in over.itertuples())
        if steps:
            text += "With steps of exactly 1 s a song loses one segment at most where segments "
            text += f"grow by 1 s, {songs:,} in all; published: {steps}. "
        lines.append(text.strip())
    return "\n".join(lines)
