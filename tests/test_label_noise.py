"""Segments whose emotion is known: truth, kept models, stored tables and what is read from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from mer.clips import Clip, Corpus, Fold, Labels, Split
from mer.errors import ParameterError
from mer.study import executor, fitted_models, label_noise, segment_models, trajectories
from mer.study import label_noise_figures as figures
from mer.study import label_noise_tables as tables
from mer.study.claims import FAILS, HOLDS, NOT_RUN, OPEN, paragraphs, verdict
from mer.study.label_noise import Found
from mer.study.parameters import SegmentParameters, StudyParameters
from mer.study.segment_models import class_shares, with_truth
from mer.study.session import Session
from mer.study.specs import RunSpec, plan
from mer.study.store import RunStore
from mer.systems.segmented import FittedSegments
from mer.systems.sun2024 import SSSL
from mer.tasks import TASKS

RATE = 22050
SECONDS = 6.0
TINY: dict[str, Any] = {
    **{"duration": 1.0, "n_mels": 32, "width": 1 / 32, "grid": 1},
    **{"epochs": 3, "batch_size": 16, "learning_rate": 1e-3},
}


def changing(number: int, folder: Path) -> Clip:
    """Loud in the first 4 s, which is Q1, and soft in the other 2 s, which are Q3."""
    rng = np.random.default_rng(number)
    gain = np.where(np.arange(int(SECONDS * RATE)) < 4 * RATE, 0.1, 0.002)
    order = (1, 3)
    if number % 2:
        gain, order = gain[::-1], (3, 1)
    cut = 2.0 if number % 2 else 4.0
    path = folder / f"{number}.wav"
    soundfile.write(path, (gain * rng.normal(size=len(gain))).astype(np.float32), RATE)
    pieces = [(0.0, cut), (cut, SECONDS)]
    segments = [
        {"start": start, "end": end, "quadrant": quadrant}
        for (start, end), quadrant in zip(pieces, order, strict=True)
    ]
    return Clip(
        f"c{number:02d}",
        f"song-{number}",
        audio=path,
        labels=Labels(quadrant=1 if number % 4 < 2 else 3),
        meta={"segments": segments},
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("audio")
    clips = [changing(number, folder) for number in range(16)]
    ids = [clip.id for clip in clips]
    split = Split("cv", (Fold(tuple(ids[:8]), tuple(ids[8:12]), tuple(ids[12:])),))
    return Corpus("toy", clips, licence="-", citation="-", splits={"cv": lambda _: split})


@pytest.fixture
def session(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(executor, "_limit_threads", lambda threads: None)
    found = Session(StudyParameters(profile="smoke", n_jobs=1), RunStore(tmp_path))
    found.corpus_name, found.corpus = "toy", corpus
    return found


def planned(corpus: Corpus, system: str = "SSSL") -> list[RunSpec]:
    changes = {**TINY, "warm_up": 1} if system == "SSSL" else TINY
    return plan(
        [system],
        ["A"],
        corpus="toy",
        fingerprint=corpus.fingerprint,
        split="cv",
        folds=[0],
        seeds=[0],
        overrides={system: changes},
    )


def counts(**shares: float) -> pd.DataFrame:
    """Clips of a part by system, of whose ten segments some are right."""
    rng = np.random.default_rng(0)
    rows = [
        {
            **{"task": "A", "system": system, "duration": duration, "part": part},
            **{"id": f"c{k}", "group": f"song-{k // 2}", "models": 1, "segments": 10},
            **{"right": rng.binomial(10, share), "label_right": 6, "pure": 5},
            **{"right_pure": 5, "label_right_pure": 4},
        }
        for system, share in shares.items()
        for duration in (1.0, 3.0)
        for part in ("train", "test")
        for k in range(40)
    ]
    return pd.DataFrame(rows)


def found(auc: float = 0.8) -> Found:
    """Divisions of two folds: above .5 they find something, below the contrary, at .5 nothing."""
    rng = np.random.default_rng(1)
    noisy = np.tile([1, 0, 0, 1], 60)
    noise = rng.random(240) if auc != 0.5 else np.full(240, 0.5)
    divisions = pd.DataFrame(
        {
            **{"task": "A", "system": "SSSL", "duration": 1.0, "fold": np.repeat([0, 1], 120)},
            **{"id": [f"c{k // 4}" for k in range(240)]},
            **{"group": [f"song-{k // 8}" for k in range(240)]},
            **{
                "p_clean": np.clip(noise - (auc - 0.5) * noisy, 0, 1),
                "noisy": noisy,
            },
        }
    )
    measures = dict.fromkeys(tables.MEASURES, 0.5)
    epochs = pd.DataFrame(
        [
            {"task": "A", "system": "SSSL", "duration": 1.0, "fold": f, "epoch": e, **measures}
            for f in (0, 1)
            for e in (2, 3)
        ]
    ).assign(n=120)
    return Found(epochs, label_noise.detection(divisions), counts(SSSL=0.8))


class TestTruth:
    def test_classes_of_a_task(self, corpus: Corpus) -> None:
        times = np.array([[0, 4], [3, 5], [3.5, 5.5]])
        shares = class_shares(corpus[0], times, TASKS["A"])
        assert shares.tolist() == [[0, 1], [0.5, 0.5], [0.75, 0.25]]
        with pytest.raises(ParameterError, match="do not tell the classes of task 'cluster'"):
            class_shares(corpus[0], times, TASKS["cluster"])

    def test_segments_with_truth(self, corpus: Corpus) -> None:
        segments = pd.DataFrame({"id": "c02", "start": [0.0, 3.5, 5.0], "end": [1.0, 5.5, 6.0]})
        known = with_truth(segments, corpus, "A")
        assert known["group"].tolist() == ["song-2"] * 3
        assert known["label"].tolist() == [1, 1, 1]  # Q3
        assert known["true"].tolist() == [2, 1, 1]
        assert known["pure"].tolist() == [1, 0, 1]


class TestModels:
    def test_are_kept_with_their_runs(
        self, session: Session, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        specs = planned(corpus)
        (first,) = segment_models.looked_at(session, specs, label_noise.look)
        assert not session.store.missing(specs)

        def refuse(*arguments: Any, **options: Any) -> Any:
            raise AssertionError("fitted again")

        monkeypatch.setattr(fitted_models, "fit", refuse)
        (second,) = segment_models.looked_at(session, specs, label_noise.look)
        for one, other in zip(first, second, strict=True):
            pd.testing.assert_frame_equal(one, other)

        epochs, divisions, clips = first
        assert epochs["epoch"].tolist() == [2, 3]
        assert epochs["n"].tolist() == [48, 48]  # 8 clips of 6 segments
        assert epochs["noisy"].between(0.3, 0.7).all()
        assert len(divisions) == 48
        assert divisions["noisy"].mean() == epochs["noisy"].iloc[-1]
        (row,) = label_noise.detection(divisions).to_dict("records")
        for name in tables.MEASURES:
            np.testing.assert_allclose(row[name], epochs[name].iloc[-1], atol=1e-6)
        assert clips["part"].value_counts().to_dict() == {"train": 8, "test": 4}
        assert set(clips["segments"]) == {6}
        assert (clips["label_right"] <= 6).all()

    def test_songs_segment_by_segment(self, session: Session, corpus: Corpus) -> None:
        specs = planned(corpus, "Segment inheritance")
        (told,) = segment_models.looked_at(session, specs, trajectories.look)
        assert told["id"].unique().tolist() == ["c12", "c13", "c14", "c15"]
        assert set(told["true"]) == {1, 2}
        np.testing.assert_allclose(told["p_1"] + told["p_2"], 1, atol=2e-3)
        assert told.groupby("id")["answer"].nunique().eq(1).all()

    def test_systems_without_segments(self, session: Session, corpus: Corpus) -> None:
        (spec,) = plan(
            ["Constant"],
            ["A"],
            corpus="toy",
            fingerprint=corpus.fingerprint,
            split="cv",
            folds=[0],
            seeds=[0],
            overrides={},
        )
        fold = corpus.split("cv").folds[0]
        with pytest.raises(ParameterError, match="not to FittedSegments"):
            fitted_models.kept(spec, corpus, fold, FittedSegments, "nowhere", stored=False)


class TestStored:
    def test_plan(self, tmp_path: Path) -> None:
        settings = SegmentParameters(profile="smoke", corpus="emotify", tasks=["A", "cluster"])
        session = label_noise.noise_session(settings)
        assert session.corpus_name == "composed_trajectories"
        specs = label_noise.planned(session)
        assert len(specs) == (3 + 2) * 2  # systems with 3 s and with 1 s, folds
        assert {spec.task for spec in specs} == {"A"}
        assert {spec.parameters["duration"] for spec in specs} == {1.0, 3.0}
        assert SSSL().duration == 3.0  # so that some runs are those of the other pages

    def test_tasks_without_truth_are_refused(self) -> None:
        settings = SegmentParameters(profile="smoke", tasks=["cluster"])
        with pytest.raises(ParameterError, match="only 4Q, A, V are known: expected one of these"):
            label_noise.noise_session(settings)

    def test_nothing_is_stored(self, tmp_path: Path) -> None:
        settings = SegmentParameters(profile="cpu", compute=False)
        session = label_noise.noise_session(settings)
        session.store = RunStore(tmp_path)
        nothing = label_noise.collected(session)
        assert [len(table) for table in nothing] == [0, 0, 0]
        missing = tables.absent(nothing, ["4Q"])
        assert missing.index.tolist() == [f"4Q: {name}" for name in label_noise.SYSTEMS]
        assert set(missing["segments"]) == {NOT_RUN}
        claims = tables.detection_claims(["4Q"], [1.0])
        judged = tables.judge_detection(nothing.detection, claims)
        assert NOT_RUN in paragraphs(claims, judged, [tables.DIVISIONS])
        asked = tables.segment_claims(["4Q"], [1.0])
        answered = tables.judge_segments(nothing.clips, asked)
        assert NOT_RUN in paragraphs(asked["test"], answered, [tables.PARTS["test"]])
        assert tables.findings(*(pd.DataFrame(columns=["system", "task"]),) * 2) == ""


class TestTables:
    def test_detection_of_the_last_epoch(self) -> None:
        (row,) = found().detection.to_dict("records")
        assert (row["folds"], row["clips"]) == (2, 60)
        assert row["recall_low"] < row["recall"] < row["recall_high"]
        assert 0.5 < row["auc_low"] < row["auc"] < row["auc_high"]
        text = tables.detection_text(found().detection, "A")
        assert text.index.tolist() == ["SSSL, 1 s"]
        assert text["wrong labels"].tolist() == ["0.50"]

    @pytest.mark.parametrize(("auc", "told"), [(0.9, HOLDS), (0.5, OPEN), (0.1, FAILS)])
    def test_questions_on_the_mixture(self, auc: float, told: str) -> None:
        claims = tables.detection_claims(["A"], [1.0])
        judged = tables.judge_detection(found(auc).detection, claims)
        assert [verdict(c, judged, tables.DIVISIONS) for c in claims] == [told, told]
        assert "AUC of SSSL, 1 s minus chance" in paragraphs(claims, judged, [tables.DIVISIONS])

    def test_segments_of_all_systems(self) -> None:
        clips = counts(**{"SSSL": 0.9, "Segment inheritance": 0.5, "SSSL, no KL": 0.9})
        table = tables.segment_accuracy(clips).set_index(["part", "system", "duration"])
        assert table.loc[("test", tables.CLIP_LABEL, 1.0), "mean"] == pytest.approx(0.6)
        assert table.loc[("test", tables.CLIP_LABEL, 1.0), "pure"] == pytest.approx(0.8)
        assert table.loc[("test", "SSSL", 3.0), "mean"] == pytest.approx(0.9, abs=0.05)
        text = tables.accuracy_text(table.reset_index(), "A")
        assert len(text) == 2 * 4

        claims = tables.segment_claims(["A"], [1.0, 3.0])
        judged = tables.judge_segments(clips, claims)
        verdicts = [
            verdict(claim, judged, tables.PARTS[part])
            for part, own in claims.items()
            for claim in own
        ]
        assert verdicts == [HOLDS, OPEN, HOLDS]

    def test_figures_and_findings(self) -> None:
        clips = counts(**{"SSSL": 0.9, "Segment inheritance": 0.5, "SSSL, no KL": 0.9})
        accuracy = tables.segment_accuracy(clips)
        curves = tables.epoch_curves(found().epochs)
        assert len(figures.detection_curves(curves, "A").axes) == 2
        assert len(figures.accuracy(accuracy, "A").axes) == 2
        text = tables.findings(found().detection, accuracy)
        assert "the inherited label is wrong for 50%" in text
        assert "Segment inheritance" in text
