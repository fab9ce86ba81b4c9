"""Segments whose emotion is known: truth, stored tables, trajectories, and what is read of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from mer.clips import Clip, Corpus, Fold, Labels, Split
from mer.errors import ParameterError
from mer.papers.sun2024 import noise, trajectory
from mer.papers.sun2024.noise import class_shares, with_truth
from mer.papers.sun2024.tables import NETWORKS
from mer.papers.sun2024.trajectory import SongSegments
from mer.study import executor
from mer.study.claims import NOT_RUN, paragraphs
from mer.study.specs import RunSpec, plan
from mer.study.store import RunStore
from mer.study.study import Study
from mer.tasks import TASKS

RATE = 22050
SECONDS = 6.0
TINY: dict[str, Any] = {
    **{"duration": 1.0, "n_mels": 32, "width": 1 / 32, "grid": 1, "warm_up": 1},
    **{"epochs": 3, "batch_size": 16, "learning_rate": 1e-3},
}


def changing(number: int, folder: Path) -> Clip:
    """Loud in the first 4 s, which is Q1, and soft in the other 2 s, which are Q3; or reversed."""
    step = -1 if number % 2 else 1
    gain = np.where(np.arange(int(SECONDS * RATE)) < 4 * RATE, 0.1, 0.002)[::step]
    samples = gain * np.random.default_rng(number).normal(size=len(gain))
    path = folder / f"{number}.wav"
    soundfile.write(path, samples.astype(np.float32), RATE)
    cut, first, second = (2.0, 3, 1) if number % 2 else (4.0, 1, 3)
    labels = Labels(quadrant=1 if number % 4 < 2 else 3)
    meta = {"segments": pieces((0.0, cut, first), (cut, SECONDS, second))}
    return Clip(f"c{number:02d}", f"song-{number}", audio=path, labels=labels, meta=meta)


def pieces(*spans: tuple[float, float, int]) -> list[dict[str, Any]]:
    return [{"start": start, "end": end, "quadrant": q} for start, end, q in spans]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("audio")
    clips = [changing(number, folder) for number in range(16)]
    ids = [clip.id for clip in clips]
    split = Split("cv", (Fold(tuple(ids[:8]), tuple(ids[8:12]), tuple(ids[12:])),))
    return Corpus("toy", clips, licence="-", citation="-", splits={"cv": lambda _: split})


@pytest.fixture
def study(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(executor, "_limit_threads", lambda threads: None)
    found = segments_study(tmp_path, n_jobs=1)
    found.corpus_name, found.corpus = "toy", corpus
    return found


def planned(corpus: Corpus, system: str) -> list[RunSpec]:
    place = {"corpus": "toy", "fingerprint": corpus.fingerprint, "split": "cv"}
    rows = {system: NETWORKS[system].configured(TINY)}
    return plan(rows, ["A"], folds=[0], seeds=[0], **place)


def test_classes_of_pieces_and_segments(corpus: Corpus) -> None:
    times = np.array([[0, 4], [3, 5], [3.5, 5.5]])
    shares = class_shares(corpus[0], times, TASKS["A"])
    assert shares.tolist() == [[0, 1], [0.5, 0.5], [0.75, 0.25]]
    with pytest.raises(ParameterError, match="do not tell the classes of task 'cluster'"):
        class_shares(corpus[0], times, TASKS["cluster"])
    segments = pd.DataFrame({"id": "c02", "start": [0.0, 3.5, 5.0], "end": [1.0, 5.5, 6.0]})
    known = with_truth(segments, corpus, "A")[["group", "label", "true", "pure"]]
    group, quadrant_3 = "song-2", 1
    assert known.to_numpy().tolist() == [
        *([group, quadrant_3, 2, 1], [group, quadrant_3, 1, 0], [group, quadrant_3, 1, 1])
    ]


def test_divisions_and_answers_beside_the_truth(study: Study, corpus: Corpus) -> None:
    ((epochs, clips, divisions),) = study.inspect(planned(corpus, "SSSL"), noise.model_noise)
    assert epochs[["epoch", "n"]].to_numpy().tolist() == [[2, 48], [3, 48]]  # 8 clips of 6
    assert epochs["noisy"].between(0.3, 0.7).all()
    assert len(divisions) == 48
    (row,) = noise.detection(divisions).to_dict("records")
    for name in noise.MEASURES:
        np.testing.assert_allclose(row[name], epochs[name].iloc[-1], atol=1e-6)
    assert clips["part"].value_counts().to_dict() == {"train": 8, "test": 4}
    assert set(clips["segments"]) == {6}
    assert (clips["label_right"] <= 6).all()


def test_songs_segment_by_segment(study: Study, corpus: Corpus) -> None:
    (rows,) = study.inspect(planned(corpus, "Segment inheritance"), trajectory.song_segments)
    assert rows["id"].unique().tolist() == ["c12", "c13", "c14", "c15"]
    assert set(rows["true"]) == {1, 2}
    np.testing.assert_allclose(rows["p_1"] + rows["p_2"], 1, atol=2e-3)
    assert rows.groupby("id")["answer"].nunique().eq(1).all()


def segments_study(store: Path, **changes: Any) -> Study:
    return Study({"profile": "smoke", **changes}, "segments", RunStore(store))


def test_plan(tmp_path: Path) -> None:
    study = noise.noise_study(segments_study(tmp_path, corpus="emotify", tasks=["A", "cluster"]))
    assert study.corpus_name == "composed_trajectories"
    specs = noise.noise_specs(study)
    assert len(specs) == (3 + 2) * 2  # systems with 3 s and with 1 s, folds
    assert {spec.task for spec in specs} == {"A"}
    assert {spec.parameters["duration"] for spec in specs} == {1.0, 3.0}
    with pytest.raises(ParameterError, match="only 4Q, A, V are known: expected one of these"):
        noise.noise_study(segments_study(tmp_path, tasks=["cluster"]))


def test_nothing_is_stored(tmp_path: Path) -> None:
    whole = segments_study(tmp_path, profile="cpu", compute=False)
    nothing = noise.noise_tables(noise.noise_study(whole))
    assert [len(table) for table in nothing] == [0, 0, 0]
    assert f"- SSSL, no KL, 4Q: **{NOT_RUN}**." in noise.tables_text(nothing, ["4Q"])
    asked = noise.judged_questions(noise.noise_study(whole), nothing)
    assert [len(judged.differences) for judged in asked] == [0, 0, 0]
    assert all(NOT_RUN in paragraphs(judged) for judged in asked)

    by_corpus = trajectory.studies(whole)
    assert list(by_corpus) == ["composed_trajectories", "composed", "emotify", "mirex_mood"]
    shown, missing = trajectory.all_songs(by_corpus)
    assert (shown, missing[0], missing[-1]) == (
        *([], "composed corpus with trajectories, A"),
        "MIREX-like mood dataset, cluster",
    )
    assert set(trajectory.song_means([], missing)["songs"]) == {NOT_RUN}


def song(name: str, answered: list[int], *, known: bool, system: str) -> pd.DataFrame:
    start = np.arange(len(answered), dtype=float)
    values = np.where(np.arange(1, 5) == np.asarray(answered)[:, None], 0.7, 0.1)
    return pd.DataFrame(
        {
            **{"system": system, "id": name, "group": name, "segment": range(len(answered))},
            **{"start": start, "end": start + 3, "label": 1, "answer": 1},
            "true": [1, 1, 1, 1, 1, 3, 3, 3] if known else np.nan,
            **{f"p_{k + 1}": values[:, k] for k in range(4)},
        }
    )


def songs(corpus_name: str = "composed", *, known: bool = True) -> SongSegments:
    answers = {
        "a": [1, 1, 1, 1, 1, 3, 3, 3],
        "b": [1, 1, 2, 1, 1, 1, 3, 3],
        "c": [2, 2, 2, 2, 2, 2, 2, 2],
    }
    frames = [
        song(name, answered, known=known, system=system)
        for system in trajectory.SYSTEMS
        for name, answered in answers.items()
    ]
    study = segments_study(Path("nowhere"))
    study.corpus_name, label = corpus_name, Labels(quadrant=1)
    meta = {"segments": pieces((0.0, 6.0, 1), (6.0, 10.0, 3))}
    clips = [Clip(name, name, labels=label, meta=meta) for name in answers]
    study.corpus = Corpus(corpus_name, clips, licence="-", citation="-")
    return SongSegments(study, "4Q", pd.concat(frames, ignore_index=True))


def test_songs_by_hand() -> None:
    table = trajectory.song_table(songs()).query("system == 'SSSL'").set_index("id")
    assert table["agree"].tolist() == [5 / 8, 5 / 8, 0]
    assert table["right"].tolist() == [1, 6 / 8, 0]
    assert table["changes"].tolist() == [1, 3, 0]
    assert table["true_changes"].tolist() == [1, 1, 1]
    assert table["correct"].all()
    assert trajectory.typical_song(songs()) == "b"
    assert trajectory.typical_song(songs("emotify", known=False)) == "a"  # the first of two


def test_text_of_songs() -> None:
    shown = [songs(), songs("emotify", known=False)]
    table = trajectory.song_means(shown, ["MIREX-like mood dataset, cluster"])
    assert table.loc["MIREX-like mood dataset, cluster", "songs"] == NOT_RUN
    assert str(table.loc["composed corpus, 4Q: SSSL", "true changes a song"]).startswith("1.0")
    assert table.loc["Emotify, 4Q: SSSL", "true changes a song"] == "–"
    about = trajectory.about_song(shown[0], "b")
    assert "changes 3 times, the true class once; 75%" in about
    assert "true" not in trajectory.about_song(shown[1], "b")
    assert "does not change at all" not in trajectory.trajectory_summary(shown)
    shown[0].segments["true"] = 1
    assert "most probable class of SSSL changes 1.3 times a song" in trajectory.trajectory_summary(
        shown[:1]
    )


def test_curves_of_a_song() -> None:
    upper, lower = trajectory.trajectory_figure(songs(), "b").axes
    assert (upper.get_title(), lower.get_title()) == trajectory.SYSTEMS
    assert {axis.get_ylabel() for axis in (upper, lower)} == {"Probability"}
    assert (upper.get_xlabel(), lower.get_xlabel()) == ("", "Time (s)")
    overview = trajectory.song_overview([songs()])
    assert [axis.get_xlabel() for axis in overview.axes] == ["Share", "Number in a song"]
    curves = [line for line in upper.lines if np.size(line.get_xdata()) == 8]
    assert [str(line.get_label())[:2] for line in curves] == ["Q1", "Q2", "Q3", "Q4"]
    assert np.asarray(curves[0].get_xdata())[0] == 1.5
    assert [text.get_text() for text in upper.texts] == ["Q1", "Q3"]


def test_true_spans_of_a_binary_task() -> None:
    clip = songs().clip("a")
    assert clip is not None
    spans = trajectory.true_spans(clip, "A")[["start", "end", "name"]]
    assert spans.to_numpy().tolist() == [[0.0, 6.0, "high"], [6.0, 10.0, "low"]]
    clip.meta["segments"][1]["quadrant"] = 2
    assert trajectory.true_spans(clip, "A")[["start", "end"]].to_numpy().tolist() == [[0.0, 10.0]]
    assert [line.name for line in trajectory.class_lines("V")] == ["high valence"]


def test_player(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trajectory, "waveform", lambda clip, rate: np.zeros(10 * rate))
    page = trajectory.trajectory_player(songs(), "b").data
    assert 'src="data:audio/mpeg;base64,' in page
    assert 'src="data:image/svg+xml;base64,' in page
    assert '"spans": [[0.0, 6.0, "Q1"], [6.0, 10.0, "Q3"]]' in page
    assert '"middle": [1.5, 2.5,' in page
    assert "$" not in page
    assert "http" not in page
    assert songs("emotify").clip("a") is None  # the sound of recordings stays here
