"""Tables and figures of transcriptions: their numbers, and the notes that they tell apart."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from mer.clips import Corpus
from mer.errors import MissingDataError, ParameterError
from mer.features.notes import read_notes
from mer.study import figures, transcription_figures, transcriptions
from mer.study.parameters import TranscriptionParameters, check
from mer.study.store import RunStore
from mer.study.transcriptions import PROFILE_TESTS, TESTS, transcription_scores

KINDS = ("onset", "onset_offset", "onset_offset_velocity")


def scores(n: int = 6, *, test: str = "composed", f1: float = 0.9) -> pd.DataFrame:
    """Clips of ten seconds, two of a song, that have twice as many notes each time."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "test": test,
            "transcriber": "onsets-frames",
            "id": [f"clip {k}" for k in range(n)],
            "group": [f"song {k // 2}" for k in range(n)],
            "seconds": 10.0,
            "played": 10 * 2 ** np.arange(n),
            "found": 9 * 2 ** np.arange(n),
        }
    )
    columns = [f"{kind}_{what}" for kind in KINDS for what in ("precision", "recall", "f1")]
    return frame.assign(**{name: f1 + rng.uniform(-0.05, 0.05, n) for name in columns})


def test_summary_gives_means_intervals_and_hours() -> None:
    frame = scores(360)
    table = transcription_figures.summary(pd.concat([frame, scores(3, test="EMOPIA", f1=0.5)]))
    assert table.index.tolist() == [("composed", "onsets-frames"), ("EMOPIA", "onsets-frames")]
    row = table.iloc[0]
    assert (row["clips"], row["hours"]) == (360, "1.0")
    mean = f"{frame['onset_f1'].mean():.3f}".removeprefix("0")
    assert row["F1: onset"].startswith(f"{mean} [")
    assert row["precision"] == f"{frame['onset_precision'].mean():.3f}".removeprefix("0")


def test_silent_clips_do_not_count() -> None:
    frame = scores(6)
    frame.loc[0, [f"{kind}_f1" for kind in KINDS]] = np.nan
    assert transcription_figures.summary(frame)["clips"].tolist() == [5]


def test_note_counts_compare_clip_by_clip() -> None:
    row = transcription_figures.note_counts(scores()).iloc[0]
    assert row["found / played"] == pytest.approx(0.9)
    assert row["mean absolute error"] == pytest.approx(0.1)
    assert row["correlation"] == pytest.approx(1.0)
    assert row["played a second"] == pytest.approx(63 / 6)


def test_distribution_shows_every_clip_of_every_test() -> None:
    figure = transcription_figures.distribution(pd.concat([scores(), scores(test="EMOPIA")]))
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["composed", "EMOPIA"]
    assert [len(line.get_xdata()) for line in right.lines] == [6, 6]  # type: ignore[arg-type]
    assert figure.get_figwidth() == figures.WIDTH
    figure.savefig(io.BytesIO(), dpi=40)
    assert plt.get_fignums() == []


def test_matched_tells_found_missed_and_added_notes_apart() -> None:
    played = np.asarray([[0.0, 0.5, 60, 80], [1.0, 1.5, 62, 80], [2.0, 2.5, 64, 80]])
    found = np.asarray([[0.04, 0.2, 60, 50], [1.0, 1.5, 63, 80], [2.06, 2.5, 64, 80]])
    kinds = transcription_figures.matched(played, found)
    np.testing.assert_array_equal(kinds[transcription_figures.FOUND], played[:1])
    np.testing.assert_array_equal(kinds[transcription_figures.MISSED], played[1:])
    np.testing.assert_array_equal(kinds[transcription_figures.FALSE], found[1:])
    nothing = transcription_figures.matched(played, np.empty((0, 4)))
    assert {name: len(notes) for name, notes in nothing.items()} == {
        transcription_figures.FOUND: 0,
        transcription_figures.MISSED: 3,
        transcription_figures.FALSE: 0,
    }


def test_heard_shows_spectrogram_and_notes_on_one_time_axis(tiny: Corpus) -> None:
    assert tiny[0].midi is not None
    found = read_notes(tiny[0].midi, pedal=True)[1:]
    figure = transcription_figures.heard(tiny[0], found, seconds=2.0)
    top, bottom = figure.axes[:2]
    assert top.get_xlim() == bottom.get_xlim() == (0.0, 2.0)
    image: Any = top.images[0].get_array()
    assert image.shape[0] == 294
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[1:] == ["missed (1)", "not played (0)"]
    figure.savefig(io.BytesIO(), dpi=40)


def test_collected_takes_named_transcribers_and_those_that_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)

    def given(test: object, name: str, *_: object) -> tuple[pd.DataFrame, dict[str, Any]]:
        return scores().assign(transcriber=name), {}

    monkeypatch.setattr(transcriptions, "_compute", given)
    settings = TranscriptionParameters(profile="smoke", compute=False)
    with pytest.raises(MissingDataError, match="transcription composed onsets-frames"):
        transcription_figures.collected(store, settings)
    for name in ("onsets-frames", "basic-pitch"):
        found = transcription_scores(store, "composed", name, profile="smoke")
        assert len(found) == 6
    collected = transcription_figures.collected(store, settings)
    assert collected["transcriber"].unique().tolist() == ["onsets-frames", "basic-pitch"]


def test_scores_of_an_older_transcriber_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)
    monkeypatch.setattr(transcriptions, "_compute", lambda *_: (scores(), {}))
    transcription_scores(store, "composed", "onsets-frames", profile="smoke")
    monkeypatch.setattr(transcriptions, "transcriber_revision", lambda _: 99)
    with pytest.raises(MissingDataError, match="not stored"):
        transcription_scores(store, "composed", "onsets-frames", profile="smoke", compute=False)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"tests": ["jazz"]}, "unknown test 'jazz'; the tests are: composed, EMOPIA"),
        ({"transcribers": []}, "transcribers is empty"),
        ({"transcribers": ["ear"]}, "unknown transcriber 'ear'"),
        ({"tests": ["EMOPIA", "EMOPIA"]}, "expected each test once"),
        ({"corpus": "emopia"}, "unknown parameter 'corpus'; the parameters are: profile, compute"),
        ({"n_jobs": 0}, "n_jobs is 0"),
    ],
)
def test_mistaken_parameters_are_told(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        check(values, TranscriptionParameters)


def test_parameters_may_be_json_text() -> None:
    settings = check(
        {"tests": '["EMOPIA"]', "transcribers": '["basic-pitch"]'}, TranscriptionParameters
    )
    assert (settings.tests, settings.transcribers) == (["EMOPIA"], ["basic-pitch"])
    assert all({*tests} <= {*TESTS} for tests in PROFILE_TESTS.values())
