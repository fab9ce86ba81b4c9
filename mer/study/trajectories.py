"""What systems of segments say along a song (figure 2 of Sun et al. 2024)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mer.clips import Clip, Corpus, Fold
from mer.errors import MissingDataError
from mer.evaluation.uncertainty import group_bootstrap
from mer.study.claims import NOT_RUN
from mer.study.executor import environment
from mer.study.label_noise import CORPUS as CHANGING
from mer.study.label_noise import known_tasks, training_changes
from mer.study.parameters import SegmentParameters
from mer.study.segment_models import looked_at, with_truth
from mer.study.session import Session
from mer.study.specs import RunSpec
from mer.study.store import PREDICTION_DECIMALS
from mer.study.sun2024 import INHERITANCE, PROPOSED
from mer.systems.segmented import FittedSegments
from mer.tasks import TASKS

SYSTEMS = (PROPOSED, INHERITANCE)
"""Of the clips with changes; of the others the first alone."""

COMPOSED = (CHANGING, "composed")
"""Corpora of the project's own, whose sound may be given on: with changes, and without."""

FOLD = 0
"""Of the cross-validation; its test songs are looked at."""

REVISION = 1
"""Of the stored tables."""


@dataclass(frozen=True, eq=False)
class Place:
    """Songs of a fold, segment by segment, as systems for one task hear them.

    Attributes
    ----------
    session : Session
    task : str
    segments : DataFrame
        One row a system, test clip and segment: system, id, group, segment (its number), start,
        end (seconds), label (class of the clip, counted from 1), true (that of the segment;
        missing where nobody knows), answer (the system's for the whole clip), p_1 ... p_k.
    """

    session: Session
    task: str
    segments: pd.DataFrame

    @property
    def name(self) -> str:
        """Corpus and task, for reading."""
        return f"{self.session.corpus_name}, {self.task}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in order."""
        return TASKS[self.task].classes

    @property
    def known(self) -> bool:
        """Whether the emotion of each segment is known."""
        return bool(self.segments["true"].notna().all())

    def clip(self, clip_id: str) -> Clip | None:
        """The clip; None where its sound may not be given on."""
        if self.session.corpus_name not in COMPOSED:
            return None
        return self.session.corpus.select([clip_id])[0]


def sessions(settings: SegmentParameters) -> dict[str, Session]:
    """Sessions of the composed corpora, then of those that the parameters name.

    On composed corpora the task is that of the paper's figure, four quadrants, or arousal in the
    small profiles, unless the parameters name another.
    """
    named = settings.by_corpus()
    found = {}
    for name in dict.fromkeys((*COMPOSED, *named)):
        own = named.get(name) or next(iter(named.values()))
        tasks = known_tasks(settings)[:1] if name in COMPOSED else own.tasks
        found[name] = Session(own.model_copy(update={"corpus": name, "tasks": tasks}))
    return found


def places(found: Iterable[Session]) -> list[Place]:
    """Segments of the test songs of all sessions and their tasks.

    Where nothing is to be computed, what is not stored is left out.
    """
    shown = []
    for session in found:
        for task in session.settings.tasks:  # type: ignore[attr-defined]
            try:
                if not planned(session, task):
                    continue
                segments = segment_table(session, task)
            except MissingDataError:
                if session.settings.compute:
                    raise
                continue
            shown.append(Place(session, task, segments))
    return shown


def segment_table(session: Session, task: str) -> pd.DataFrame:
    """Segments of the test songs of one fold, from the store where they are there.

    Returns
    -------
    DataFrame
        See `Place`.

    Raises
    ------
    MissingDataError
        If they are not stored and nothing is to be computed.
    """
    specs = planned(session, task)
    spec = {"runs": [spec.key for spec in specs], "revision": REVISION}
    compute = partial(_compute, session, specs) if session.settings.compute else None
    return session.store.table(f"trajectories {session.corpus_name} {task}", spec, compute)


def planned(session: Session, task: str) -> list[RunSpec]:
    """Runs whose test songs are looked at; none if the parameters leave out their systems."""
    name, profile = session.corpus_name, session.profile.name
    return [
        spec
        for system in (SYSTEMS if name == CHANGING else SYSTEMS[:1])
        for spec in session.specs(
            [system],
            split="cv",
            tasks=[task],
            folds=[FOLD],
            changes=training_changes(profile, system) if name in COMPOSED else None,
        )
    ]


def _compute(session: Session, specs: Sequence[RunSpec]) -> tuple[pd.DataFrame, dict[str, Any]]:
    started = time.perf_counter()
    frames = looked_at(session, specs, look)
    details = {
        "environment": environment(),
        "wall_seconds": round(time.perf_counter() - started, 1),
    }
    return pd.concat(frames, ignore_index=True), details


def look(fitted: FittedSegments, spec: RunSpec, corpus: Corpus, fold: Fold) -> pd.DataFrame:
    """What a fitted system says of its test songs, see `Place`."""
    test = corpus.select(fold.test)
    segments = fitted.segment_probabilities(list(test))
    if all("segments" in clip.meta for clip in test):
        segments = with_truth(segments, test, spec.task)
    else:
        segments = segments.assign(true=np.nan)
    predicted = fitted.predict(test).set_index("id").to_numpy().argmax(axis=1) + 1
    rows = pd.DataFrame(
        {
            "id": test.ids,
            "group": test.groups,
            "label": TASKS[spec.task].targets(test) + 1,
            "answer": predicted,
        }
    ).set_index("id")
    values = segments.filter(regex="^p_[0-9]").round(3)
    return pd.DataFrame(
        {
            "system": spec.system,
            "id": segments["id"],
            "group": segments["id"].map(rows["group"]),
            "segment": segments["segment"],
            "start": segments["start"].round(PREDICTION_DECIMALS),
            "end": segments["end"].round(PREDICTION_DECIMALS),
            "label": segments["id"].map(rows["label"]),
            "true": segments["true"],
            "answer": segments["id"].map(rows["answer"]),
            **values,
        }
    )


def most_probable(segments: pd.DataFrame) -> np.ndarray:
    """Class of the largest probability of each segment, counted from 1, shape (n,)."""
    found: np.ndarray = segments.filter(regex="^p_[0-9]").to_numpy().argmax(axis=1) + 1
    return found


def song_table(place: Place) -> pd.DataFrame:
    """What a place tells of each song.

    Returns
    -------
    DataFrame
        One row a system and song: system, id, group, segments (number), agree (share of them
        whose most probable class is the song's label), right (share for which it is their own
        class; missing where nobody knows), changes (how often the most probable class is another
        than that of the segment before), true_changes (how often the own class is), correct
        (whether the answer for the song is its label).
    """
    rows = []
    for (system, song), frame in place.segments.groupby(["system", "id"], sort=False):
        found = most_probable(frame)
        true = frame["true"].to_numpy(float)
        known = bool(np.isfinite(true).all())
        rows.append(
            {
                "system": system,
                "id": song,
                "group": frame["group"].iloc[0],
                "segments": len(frame),
                "agree": (found == frame["label"]).mean(),
                "right": (found == true).mean() if known else np.nan,
                "changes": np.count_nonzero(np.diff(found)),
                "true_changes": np.count_nonzero(np.diff(true)) if known else np.nan,
                "correct": bool((frame["answer"] == frame["label"]).iloc[0]),
            }
        )
    return pd.DataFrame(rows)


def all_songs(shown: Iterable[Place], system: str = PROPOSED) -> pd.DataFrame:
    """Rows of `song_table` of one system, with a further column place."""
    frames = [song_table(place).assign(place=place.name) for place in shown]
    return pd.concat(frames, ignore_index=True).query("system == @system")


def typical_song(place: Place, system: str = PROPOSED) -> str:
    """The song that a system hears as well as the median song of the place.

    Well is the share of its segments that get their own class or, where nobody knows that, the
    class of the song. Of songs that are equally near the median, the first.
    """
    songs = song_table(place)
    own = songs[songs["system"] == system] if system in set(songs["system"]) else songs
    measure = own["right"] if own["right"].notna().all() else own["agree"]
    return str(own["id"].iloc[int(np.argmin(np.abs(measure - measure.median())))])


_MEASURES = {
    "agree": ("segments with the song's class", ".0%"),
    "right": ("segments with their own class", ".0%"),
    "changes": ("changes a song", ".1f"),
    "true_changes": ("true changes a song", ".1f"),
}


def summary(shown: Iterable[Place], absent: Iterable[str] = ()) -> pd.DataFrame:
    """What the segments of all places tell, for reading.

    Parameters
    ----------
    shown : iterable of Place
    absent : iterable of str
        Names of places of which nothing is stored; their rows say so.

    Returns
    -------
    DataFrame
        Text; a row a place and system: songs; means over songs of what `song_table` tells, with
        95 % intervals that draw groups again; and the share of songs in which some segment's most
        probable class is not the song's.
    """
    text = {name: {"songs": NOT_RUN} for name in absent}
    for place in shown:
        for system, songs in song_table(place).groupby("system", sort=False):
            other = (songs["agree"] < 1).mean()
            text[f"{place.name}: {system}"] = {
                "songs": str(len(songs)),
                **{
                    name: _mean_text(songs, column, form)
                    for column, (name, form) in _MEASURES.items()
                },
                "songs with another class somewhere": f"{other:.0%}",
            }
    return pd.DataFrame.from_dict(text, orient="index").fillna("–")


def _mean_text(songs: pd.DataFrame, column: str, form: str) -> str:
    values = songs[column].astype(float)
    if values.isna().any():
        return "–"
    if songs["group"].nunique() < 2:
        return f"{values.mean():{form}}"
    low, high = group_bootstrap(values, songs["group"])
    return f"{values.mean():{form}} [{low:{form}}, {high:{form}}]"


def about_song(place: Place, song: str, system: str = PROPOSED) -> str:
    """A sentence on what a system says of a song, in Markdown."""
    rows = song_table(place).query("id == @song and system == @system").iloc[0]
    first = place.segments.query("id == @song and system == @system").iloc[0]
    names = place.classes
    text = (
        f"**{song}** of corpus {place.session.corpus_name}, a test song labelled "
        f"*{names[int(first['label']) - 1]}*; {system} answers "
        f"*{names[int(first['answer']) - 1]}* for the whole song. "
        f"{rows['agree']:.0%} of its {rows['segments']} segments have the class of the label; the "
        f"most probable class changes {_times(int(rows['changes']))}"
    )
    if place.known:
        text += (
            f", in truth {_times(int(rows['true_changes']))}, and {rows['right']:.0%} of the "
            "segments get their own class"
        )
    return f"{text}."


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def without_player(place: Place) -> str:
    """A sentence that says why there is no player."""
    return (
        f"No player here: the recordings of corpus {place.session.corpus_name} may not be given "
        "on, so nothing of their sound is in this page."
    )


def findings(shown: Iterable[Place], system: str = PROPOSED) -> str:
    """What a system's segments show, in Markdown: an item a place."""
    lines, constant = [], []
    for place in shown:
        songs = song_table(place).query("system == @system")
        if songs.empty:
            continue
        changes = songs["changes"].mean()
        other = (songs["agree"] < 1).mean()
        text = (
            f"- {place.name}: in {other:.0%} of {len(songs)} test songs some segment has another "
            f"class than the song's label; the most probable class changes {changes:.1f} times a "
            "song"
        )
        if place.known:
            true = songs["true_changes"].mean()
            text += f", the emotion itself {true:.1f} times"
            constant += [f"{changes:.1f} times a song ({place.name})"] if not true else []
        lines.append(f"{text}.")
    if constant:
        lines.append(
            f"\nWhere the emotion does not change at all, {system} changes its mind "
            f"{', '.join(constant)}. As many changes on recordings would need no change of emotion."
        )
    return "\n".join(lines)


def absent(found: Mapping[str, Session], shown: Iterable[Place]) -> list[str]:
    """Names of places, corpus and task, of which nothing is stored."""
    there = {place.name for place in shown}
    wanted = [
        f"{name}, {task}"
        for name, session in found.items()
        for task in session.settings.tasks  # type: ignore[attr-defined]
    ]
    return [name for name in wanted if name not in there]
