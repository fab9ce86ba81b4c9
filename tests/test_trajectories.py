"""What systems say along a song: tables by hand, the figure and the player."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mer.clips import Clip, Corpus, Labels
from mer.study import trajectories
from mer.study import trajectory_figures as figures
from mer.study.parameters import SegmentParameters, StudyParameters
from mer.study.session import Session
from mer.study.store import RunStore
from mer.study.trajectories import Place

SPANS = [(0.0, 6.0, 1), (6.0, 10.0, 3)]


def probabilities(classes: list[int]) -> dict[str, Any]:
    values = np.full((len(classes), 4), 0.1)
    values[np.arange(len(classes)), np.asarray(classes) - 1] = 0.7
    return {f"p_{k + 1}": values[:, k] for k in range(4)}


def song(name: str, answered: list[int], true: list[int] | None, system: str) -> pd.DataFrame:
    start = np.arange(len(answered), dtype=float)
    return pd.DataFrame(
        {
            **{"system": system, "id": name, "group": f"song {name}"},
            **{"segment": range(len(answered)), "start": start, "end": start + 3},
            **{"label": 1, "true": np.nan if true is None else true, "answer": 1},
            **probabilities(answered),
        }
    )


def place(corpus_name: str = "composed", *, known: bool = True) -> Place:
    true = [1, 1, 1, 1, 1, 3, 3, 3] if known else None
    answers = {
        "a": [1, 1, 1, 1, 1, 3, 3, 3],
        "b": [1, 1, 2, 1, 1, 1, 3, 3],
        "c": [2, 2, 2, 2, 2, 2, 2, 2],
    }
    frames = [
        song(name, answered, true, system)
        for system in trajectories.SYSTEMS
        for name, answered in answers.items()
    ]
    session = Session(StudyParameters(profile="smoke"), RunStore(Path("nowhere")))
    session.corpus_name = corpus_name
    pieces = [{"start": s, "end": e, "quadrant": q} for s, e, q in SPANS]
    clips = [Clip(n, n, labels=Labels(quadrant=1), meta={"segments": pieces}) for n in answers]
    session.corpus = Corpus(corpus_name, clips, licence="-", citation="-")
    return Place(session, "4Q", pd.concat(frames, ignore_index=True))


def test_songs_by_hand() -> None:
    songs = trajectories.song_table(place()).query("system == 'SSSL'").set_index("id")
    assert songs["agree"].tolist() == [5 / 8, 5 / 8, 0]
    assert songs["right"].tolist() == [1, 6 / 8, 0]
    assert songs["changes"].tolist() == [1, 3, 0]
    assert songs["true_changes"].tolist() == [1, 1, 1]
    assert songs["correct"].all()


def test_the_typical_song() -> None:
    assert trajectories.typical_song(place()) == "b"
    assert trajectories.typical_song(place("emotify", known=False)) == "a"  # the first of two


def test_text_of_places() -> None:
    shown = [place(), place("emotify", known=False)]
    table = trajectories.summary(shown, ["mirex_mood, cluster"])
    assert len(table) == 5
    assert table.loc["mirex_mood, cluster", "songs"] == "was not run"
    assert str(table.loc["composed, 4Q: SSSL", "true changes a song"]).startswith("1.0")
    assert table.loc["emotify, 4Q: SSSL", "true changes a song"] == "–"
    text = trajectories.findings(shown)
    assert "changes 1.3 times a song, the emotion itself 1.0 times." in text
    assert "does not change at all" not in text
    assert "changes 3 times, in truth once, and 75%" in trajectories.about_song(shown[0], "b")
    assert "in truth" not in trajectories.about_song(shown[1], "b")
    assert "may not be given on" in trajectories.without_player(shown[1])


def test_a_control_without_changes() -> None:
    constant = place()
    constant.segments["true"] = 1
    assert "changes its mind 1.3 times a song" in trajectories.findings([constant])


def test_sound_of_recordings_stays_here() -> None:
    assert place("emotify").clip("a") is None
    assert place("composed").clip("a") is not None


def test_figure() -> None:
    figure = figures.trajectory(place(), "b")
    assert len(figure.axes) == 2
    (upper, _) = figure.axes
    curves = [line for line in upper.lines if np.size(line.get_xdata()) == 8]
    assert [str(line.get_label())[:2] for line in curves] == ["Q1", "Q2", "Q3", "Q4"]
    assert np.asarray(curves[0].get_xdata())[0] == 1.5
    assert [text.get_text() for text in upper.texts] == ["Q1", "Q3"]
    songs = trajectories.all_songs([place(), place("emotify")])
    assert len(figures.overview(songs).axes) == 2


def test_true_spans_of_a_binary_task() -> None:
    clip = place().clip("a")
    assert clip is not None
    spans = figures.true_spans(clip, "A")
    assert [(span.start, span.end, span.name) for span in spans] == [
        (0.0, 6.0, "high"),
        (6.0, 10.0, "low"),
    ]
    clip.meta["segments"][1]["quadrant"] = 2
    assert [(s.start, s.end) for s in figures.true_spans(clip, "A")] == [(0.0, 10.0)]
    assert [line.name for line in figures.class_lines("V")] == ["high valence"]
    assert len({line.dashes for line in figures.class_lines("cluster")}) == 5


def test_player(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        figures, "waveform", lambda clip, rate: np.zeros(10 * rate, dtype=np.float32)
    )
    page = figures.trajectory_player(place(), "b").data
    assert page.count("<polyline") == 4
    assert 'src="data:audio/mpeg;base64,' in page
    assert page.count(">Q3</text>") == 1
    assert '"middle": [1.5, 2.5,' in page
    assert "$" not in page.split("base64")[0]
    assert "http" not in page


def test_names_that_look_like_numbers_stay_names(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["007"], "group": ["1e3"], "p_1": [0.5]})
    table = RunStore(tmp_path).table("songs", {}, lambda: (frame, {}))
    assert table.iloc[0].tolist() == ["007", "1e3", 0.5]


def test_places_that_are_not_stored(tmp_path: Path) -> None:
    found = trajectories.sessions(SegmentParameters(profile="cpu", compute=False))
    assert list(found) == ["composed_trajectories", "composed", "emotify", "mirex_mood"]
    for session in found.values():
        session.store = RunStore(tmp_path)
    assert trajectories.places(found.values()) == []
    missing = trajectories.absent(found, [])
    assert missing[0] == "composed_trajectories, A"
    assert missing[-1] == "mirex_mood, cluster"
    assert set(trajectories.summary([], missing)["songs"]) == {"was not run"}
    assert trajectories.findings([]) == ""
