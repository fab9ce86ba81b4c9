"""The card of a corpus: its description where its data are missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mer.audio import audio_source
from mer.clips import Corpus, Split
from mer.features.notes import read_notes
from mer.study import plots
from mer.study.text import corpus_title, number, split_title

_NOTE_STATISTICS = {
    "duration_s": "Duration (s)",
    "notes_per_s": "Notes per second",
    "mean_velocity": "Mean velocity (1-127)",
    "mean_pitch": "Mean pitch (MIDI)",
}


def describe(corpus: Corpus) -> dict[str, Any]:
    """Counts and statistics of a corpus, JSON-native.

    Returns
    -------
    dict
        Fingerprint, licence, citation, counts, `audio` (where the sound comes from), `splits`
        (sizes, and what leaks), `songs` (agreement of labels within songs), `notes` (medians and
        5 % and 95 % quantiles by quadrant).
    """
    return {
        "name": corpus.name,
        "fingerprint": corpus.fingerprint,
        "licence": corpus.licence,
        "citation": corpus.citation,
        "audio": audio_source(corpus),
        "counts": corpus.counts(),
        "splits": {
            name: _describe_split(corpus, corpus.split(name)) for name in corpus.split_names
        },
        "songs": label_agreement(corpus),
        "notes": _describe_notes(corpus),
    }


def _describe_split(corpus: Corpus, split: Split) -> dict[str, Any]:
    group = dict(zip(corpus.ids, corpus.groups, strict=True))
    first = split.folds[0]
    groups = {
        part: [group[clip_id] for clip_id in getattr(first, part)]
        for part in ("train", "valid", "test")
    }
    trained = set(groups["train"])
    return {
        "folds": len(split.folds),
        "leaky": split.leaky,
        "clips": {part: len(names) for part, names in groups.items()},
        "groups": {part: len(set(names)) for part, names in groups.items()},
        "test_clips_with_sibling_in_train": sum(name in trained for name in groups["test"]),
    }


def label_agreement(corpus: Corpus) -> dict[str, float]:
    """How well the quadrants of clips of one song agree.

    Returns
    -------
    dict
        `groups`, `groups_with_several_quadrants`, `groups_with_several_clips`, and `agreement`:
        the share of pairs of clips of one song that carry the same quadrant, 1 where there is
        no such pair. Clips without a quadrant are left out, but for the number of groups.
    """
    quadrants: dict[str, list[int]] = {}
    for clip in corpus:
        labels = quadrants.setdefault(clip.group, [])
        if clip.labels.quadrant is not None:
            labels.append(clip.labels.quadrant)
    pairs = sum(len(labels) * (len(labels) - 1) for labels in quadrants.values())
    same = sum(n * (n - 1) for labels in quadrants.values() for n in Counter(labels).values())
    return {
        "groups": len(quadrants),
        "groups_with_several_clips": sum(len(labels) > 1 for labels in quadrants.values()),
        "groups_with_several_quadrants": sum(len(set(labels)) > 1 for labels in quadrants.values()),
        "agreement": round(same / pairs, 4) if pairs else 1.0,
    }


def _describe_notes(corpus: Corpus) -> dict[str, dict[str, list[float]]]:
    """By quadrant: 5 %, 50 % and 95 % quantiles of duration (s), notes/s, velocity and pitch."""
    rows = []
    for clip in corpus:
        if clip.midi is None or clip.labels.quadrant is None:
            continue
        notes = read_notes(clip.midi)
        if len(notes):
            end, (pitch, velocity) = notes[:, 1].max(), notes[:, 2:4].mean(axis=0)
            values = (end, len(notes) / end, velocity, pitch)
            row = dict(zip(_NOTE_STATISTICS, values, strict=True))
            rows.append({"quadrant": f"Q{clip.labels.quadrant}", **row})
    table = pd.DataFrame(rows, columns=["quadrant", *_NOTE_STATISTICS])
    return {
        str(quadrant): {
            name: np.round(np.percentile(part[name], [5, 50, 95]), 3).tolist()
            for name in sorted(_NOTE_STATISTICS)
        }
        for quadrant, part in table.groupby("quadrant")
    }


def label_figure(card: Mapping[str, Any]) -> Figure:
    """Number of clips of each quadrant."""
    figure, axes = plots.panels(1, 1, 1.9)
    names = {f"{q}: {meaning}": card["counts"][q] for q, (meaning, _) in plots.QUADRANTS.items()}
    colours = [colour for _, colour in plots.QUADRANTS.values()]
    plots.bars(axes[0, 0], pd.Series(names), colours=colours, horizontal=True)
    axes[0, 0].set_xlabel("Clips")
    return figure


def note_figure(card: Mapping[str, Any]) -> Figure:
    """Median and 5-95 % range over clips of plain note statistics, by quadrant."""
    rows = [
        (quadrant, label, *values[name])
        for quadrant, values in card["notes"].items()
        for name, label in _NOTE_STATISTICS.items()
    ]
    frame = pd.DataFrame(rows, columns=["quadrant", "statistic", "low", "mean", "high"])
    layout: plots.Layout = {"column": "statistic", "hue": "quadrant", "sharex": False, "xlabel": ""}
    layout["palette"] = {quadrant: colour for quadrant, (_, colour) in plots.QUADRANTS.items()}
    return plots.forest(frame, "quadrant", **layout)


def summary(card: Mapping[str, Any]) -> str:
    """What a corpus holds, in Markdown."""
    counts = card["counts"]
    largest = max(plots.QUADRANTS, key=counts.get)
    share = number(counts[largest] / counts["clips"], 1, percent=True)
    return (
        f"**{corpus_title(card['name'])}** holds {number(counts['clips'])} clips of "
        f"{number(counts['groups'])} songs, {number(counts['midi'])} with MIDI and "
        f"{number(counts['audio'])} with a recording. The audio for the systems is "
        f"{card['audio']}. The most frequent quadrant, "
        f"{largest}, has {share} of the clips. Licence: {card['licence']}. "
        f"Source: {card['citation']}"
    )


def split_table(card: Mapping[str, Any]) -> pd.DataFrame:
    """Folds, clips and songs of every split, and test clips with a sibling in training."""
    rows = {}
    for name, split in card["splits"].items():
        row = {"folds": split["folds"]}
        for what, unit in (("clips", "clips"), ("groups", "songs")):
            row |= {f"{part} {unit}": split[what][part] for part in ("train", "valid", "test")}
        rows[split_title(name)] = {**row, "siblings": split["test_clips_with_sibling_in_train"]}
    return pd.DataFrame.from_dict(rows, orient="index")


def agreement_summary(card: Mapping[str, Any]) -> str:
    """How far clips of one song agree, in Markdown."""
    songs = card["songs"]
    return (
        f"{number(songs['groups_with_several_clips'])} of {number(songs['groups'])} songs have "
        f"more than one clip; the clips of {number(songs['groups_with_several_quadrants'])} songs "
        "lie in more than one quadrant. Two clips of one song carry the same quadrant in "
        f"{number(songs['agreement'], 1, percent=True)} of all pairs."
    )
