"""Tables and figures of transcriptions: their numbers, and the notes that they tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer.errors import MissingDataError
from mer.papers.zhu2023 import transcription
from mer.papers.zhu2023.transcription import EVALUATION, FALSE, FOUND, MISSED
from mer.study.converters import Evaluation
from mer.study.settings import Settings
from mer.study.store import RunStore
from mer.study.study import Study

KINDS = ("onset", "onset_offset", "onset_offset_velocity")


def scores(n: int = 6) -> pd.DataFrame:
    """Clips of ten seconds, two of a song, that have twice as many notes each time."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "test": "composed",
            "transcriber": "onsets-frames",
            "id": [f"clip {k}" for k in range(n)],
            "group": [f"song {k // 2}" for k in range(n)],
            "seconds": 10.0,
            "played": 10 * 2 ** np.arange(n),
            "found": 9 * 2 ** np.arange(n),
        }
    )
    columns = [f"{kind}_{what}" for kind in KINDS for what in ("precision", "recall", "f1")]
    return frame.assign(**{name: 0.9 + rng.uniform(-0.05, 0.05, n) for name in columns})


def test_summary_gives_means_intervals_and_hours() -> None:
    frame = scores(360)
    frame.loc[359, [f"{kind}_f1" for kind in KINDS]] = np.nan  # a silent clip does not count
    row = transcription.summary(frame).iloc[0]
    assert (row["clips"], row["hours"]) == (359, "1.0")
    mean = f"{frame['onset_f1'].mean():.3f}".removeprefix("0")
    assert row["F1: onset"].startswith(f"{mean} [")
    assert row["precision"] == f"{frame['onset_precision'][:-1].mean():.3f}".removeprefix("0")


def test_note_counts_compare_clip_by_clip() -> None:
    row = transcription.note_counts(scores()).iloc[0]
    assert row["found / played"] == pytest.approx(0.9)
    assert row["mean absolute error"] == pytest.approx(0.1)
    assert row["correlation"] == pytest.approx(1.0)
    assert row["played a second"] == pytest.approx(63 / 6)


def test_matched_tells_found_missed_and_added_notes_apart() -> None:
    played = np.asarray([[0.0, 0.5, 60, 80], [1.0, 1.5, 62, 80], [2.0, 2.5, 64, 80]])
    found = np.asarray([[0.04, 0.2, 60, 50], [1.0, 1.5, 63, 80], [2.06, 2.5, 64, 80]])
    kinds = transcription.matched(played, found)
    np.testing.assert_array_equal(kinds[FOUND], played[:1])
    np.testing.assert_array_equal(kinds[MISSED], played[1:])
    np.testing.assert_array_equal(kinds[FALSE], found[1:])
    nothing = transcription.matched(played, np.empty((0, 4)))
    assert [len(nothing[kind]) for kind in (FOUND, MISSED, FALSE)] == [0, 3, 0]


def study(folder: Path, *, compute: bool = True) -> Study:
    return Study(Settings(profile="smoke", compute=compute), store=RunStore(folder))


def test_collected_takes_named_transcribers_and_those_that_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given(self: Evaluation, study: Study, test: str, name: str) -> pd.DataFrame:
        return scores().assign(transcriber=name)

    monkeypatch.setattr(Evaluation, "_compute", given)
    shown = study(tmp_path, compute=False)
    with pytest.raises(MissingDataError, match="transcription composed onsets-frames"):
        transcription.EVALUATION.collected(shown)
    for name in ("onsets-frames", "basic-pitch"):
        assert len(EVALUATION.scores(study(tmp_path), "composed", name)) == 6
    collected = transcription.EVALUATION.collected(shown)
    assert collected["test"].unique().tolist() == ["composed"]
    assert collected["transcriber"].unique().tolist() == ["onsets-frames", "basic-pitch"]


def test_scores_of_an_older_transcriber_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evaluation, "_compute", lambda *_: scores())
    EVALUATION.scores(study(tmp_path), "composed", "onsets-frames")
    monkeypatch.setattr(transcription, "transcriber_revision", lambda _: 99)
    with pytest.raises(MissingDataError, match="not stored"):
        EVALUATION.scores(study(tmp_path, compute=False), "composed", "onsets-frames")


def test_notes_of_the_example_are_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = np.asarray([[0.5, 1.25, 60, 80], [1.0, 1.5, 64, 70]])
    monkeypatch.setattr(transcription, "transcribed_notes", lambda clip, name: notes)
    shown = study(tmp_path, compute=False)
    with pytest.raises(MissingDataError, match="transcription example onsets-frames"):
        transcription.example(shown)
    for given in (study(tmp_path), shown):
        clip, found = transcription.example(given)
        np.testing.assert_array_equal(found, notes)
        assert clip.labels.quadrant == 1
    assert transcription.found_player(np.empty((0, 4))) == []


def test_summary_counts_clips() -> None:
    frame = scores().assign(onset_f1=[0.95, 0.95, 0.95, 0.85, 0.7, np.nan])
    assert transcription.score_summary(frame) == (
        "- composed, onsets-frames: onset F1 is above .9 in 60% of 5 clips, below .8 in 20%; its "
        "rank correlation with notes a second is -.89."
    )


def test_gap_of_rows_that_hear_audio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evaluation, "_compute", lambda *_: scores().assign(onset_f1=0.75))
    gaps = {"difference": [-0.1, -0.2, 0.05, 0.3], "published": [0.5, 0.5, 0.5, np.nan]}
    table = pd.DataFrame({**gaps, "audio": ["rendered", "rendered", "none", "none"]})
    assert transcription.gap_summary(study(tmp_path), table).splitlines() == [
        "- Transcription: mean onset F1 .750 on 6 clips of the composed corpus.",
        "- Rows that take audio: reproduced minus published -.150 on average over 2 systems and "
        "tasks, from -.200 to -.100.",
        "- Rows that read MIDI: reproduced minus published +.050 on average over 1 systems and "
        "tasks, from +.050 to +.050.",
    ]
