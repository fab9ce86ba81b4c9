"""Segment counts: table 1 of Sun et al. 2024, and the corpora at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mer.audio import audio_seconds, waveform
from mer.clips import Clip
from mer.papers.published import published, published_value
from mer.papers.sun2024.systems import SegmentClassifier
from mer.papers.sun2024.tables import DATASETS, DURATIONS, PROPOSED, proposed
from mer.segments import LONGEST, SAMPLE_RATE, segment_count, segment_starts
from mer.study import plots
from mer.study.study import Study
from mer.study.text import corpus_title, listing, number

_STATED_SECONDS = {"EiM": 45.0}
"""Length of all clips of a dataset, where the paper gives one."""

_TITLES = {
    "songs": "songs",
    "shorter": "shorter than 30 s",
    "segments": "published",
    "frames": "segments, by frames",
    "most": "every clip cut to 30 s",
    "fewer": "fewer than that",
    "uncut": "clips of 45 s, not cut",
    "lost": "lost by 1 s more",
}


def published_counts() -> pd.DataFrame:
    """Table 1: one row a dataset and duration, with what it would be if every clip lasted 30 s.

    Columns dataset, duration, songs, segments (published), lost (against segments 1 s shorter),
    most (if every song had 30 s), fewer (most - segments), and uncut: what clips of the stated
    length would give if they were not cut (missing where the paper states none).
    """
    cells = published("sun2024", "1").set_index(["row", "column"])["number"]
    rows = []
    for dataset in DATASETS:
        songs = int(published_value("sun2024", "1", dataset, "#Song"))
        stated = _STATED_SECONDS.get(dataset)
        for d in DURATIONS:
            uncut = stated and songs * segment_count(stated, d, d - 1, longest=stated)
            segments = int(cells[f"{dataset} {d}", "#Segment"])
            place = {"dataset": dataset, "duration": d, "songs": songs, "segments": segments}
            rows.append({**place, "most": _most(songs, d), "uncut": uncut})
    table = pd.DataFrame(rows).astype({"uncut": "Int64"})
    lost = -table.groupby("dataset", sort=False)["segments"].diff()
    return table.assign(lost=lost.astype("Int64"), fewer=table["most"] - table["segments"])


def _most(songs: int, duration: int) -> int:
    return songs * segment_count(LONGEST, duration, duration - 1)


def clip_lengths(study: Study) -> pd.DataFrame:
    """Length of every clip, from the store where it is there: id, seconds and frames.

    Seconds are those of the whole clip, frames those of the spectrogram of its first 30 s.
    """
    system = _system(study)
    key = {
        **{"corpus": study.corpus_name, "fingerprint": study.card["fingerprint"]},
        **{"sample_rate": system.sample_rate, "hop_length": system.hop_length},
    }

    def compute() -> pd.DataFrame:
        rows = [(clip.id, _seconds(clip), system.item(clip).shape[1]) for clip in study.corpus]
        return pd.DataFrame(rows, columns=["id", "seconds", "frames"])

    return study.table(f"lengths {study.corpus_name}", key, compute)


def _system(study: Study, duration: float = DURATIONS[-1]) -> SegmentClassifier:
    sized = study.profile.sized(PROPOSED, proposed).configured({"duration": float(duration)})
    assert isinstance(sized, SegmentClassifier)
    return sized


def _seconds(clip: Clip) -> float:
    if clip.audio is not None:
        return audio_seconds(clip.audio)
    return len(waveform(clip, SAMPLE_RATE)) / SAMPLE_RATE


def corpus_counts(studies: Mapping[str, Study]) -> pd.DataFrame:
    """Segments by corpus, without those of which nothing is stored or to be computed.

    One row a corpus and duration: dataset, duration, songs, shorter (songs of less than 30 s),
    segments (exact, by time), frames (by frames, as systems are trained), most (if every song had
    30 s) and fewer (most - segments).
    """
    rows: list[tuple[Any, ...]] = []
    for name, study in studies.items():
        with study.skipping_missing():
            rows += _counts(name, study, clip_lengths(study))
    columns = ["dataset", "duration", "songs", "shorter", "segments", "frames", "most"]
    counts = pd.DataFrame(rows, columns=columns)
    return counts.assign(fewer=counts["most"] - counts["segments"])


def _counts(name: str, study: Study, lengths: pd.DataFrame) -> list[tuple[Any, ...]]:
    songs, shorter = len(lengths), int((lengths["seconds"] < LONGEST).sum())
    rows = []
    for d in DURATIONS:
        system = _system(study, d)
        cut = [len(segment_starts(n, system.window, system.hop)) for n in lengths["frames"]]
        segments = sum(segment_count(s, d, d - 1) for s in lengths["seconds"])
        rows.append((name, d, songs, shorter, segments, sum(cut), _most(songs, d)))
    return rows


def counts_text(table: pd.DataFrame) -> pd.DataFrame:
    """Counts of either kind with columns for reading: one row a dataset and duration."""
    own = {"segments": "segments, by time"} if "frames" in table else {}
    names = {name: title for name, title in {**_TITLES, **own}.items() if name in table}
    rows = [f"{corpus_title(str(row.dataset))}, {row.duration} s" for row in table.itertuples()]
    return table[list(names)].rename(columns=names).set_axis(pd.Index(rows))


def published_counts_summary(table: pd.DataFrame) -> str:
    """What the published counts imply, as Markdown; from `published_counts`."""
    lines = []
    for dataset, rows in table.groupby("dataset", sort=False):
        first, last = rows.iloc[0], rows.iloc[-1]
        songs = number(int(first["songs"]))
        a_song = number(first["segments"] / first["songs"], 2)
        sentences = [f"- **{dataset}**: {a_song} segments of 1 s a song."]
        if pd.notna(first["uncut"]):
            sentences.append(
                f"Its clips last 45 s, which would give {number(int(first['uncut']))} segments of "
                "1 s: so clips were cut to 30 s."
            )
        sentences.append(
            f"The counts are {number(int(first['fewer']))} (1 s) to {number(int(last['fewer']))} "
            f"(5 s) below those of {songs} clips of 30 s."
        )
        over = rows[rows["lost"] > first["songs"]]
        if len(over):
            steps = [f"{number(int(row.lost))} at {row.duration} s" for row in over.itertuples()]
            sentences.append(
                "With steps of exactly 1 s, a song has at most one segment less when segments are "
                f"1 s longer, {songs} in all; published: {listing(steps)}."
            )
        lines.append(" ".join(sentences))
    return "\n".join(lines)


def lost_segments_figure(published: pd.DataFrame, counted: pd.DataFrame) -> Figure:
    """Segments lost where segments grow, beyond one a song for each second; published dashed."""
    parts = {"published": published, "here": counted}
    frame = pd.concat(
        [
            part.assign(curve=part["dataset"].map(corpus_title) + f", {where}")
            for where, part in parts.items()
        ]
    )
    first = frame.groupby("curve")["fewer"].transform("first")
    frame["lost"] = 1000 * (frame["fewer"] - first) / frame["songs"]
    curves = frame["curve"].unique()
    return plots.curves(
        frame.sort_values("duration", kind="stable"),
        "duration",
        "lost",
        hue="curve",
        dashes={name: "--" for name in curves if name.endswith("published")},
        markers=dict(zip(curves, "^svoDP", strict=False)),
        xlabel="Duration of a segment (s)",
        ylabel="Lost beyond one a second\n(segments per 1,000 songs)",
        height=2.9,
    )
