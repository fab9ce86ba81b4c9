"""Tables from hand-made predictions whose accuracy, spread and intervals are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import PARTS, class_predictions

from mer.clips import Clip, Corpus, Labels
from mer.errors import ParameterError
from mer.evaluation.resampling import group_bootstrap
from mer.study import scores
from mer.study.cards import describe, label_agreement
from mer.study.claims import against
from mer.study.specs import RunSpec
from mer.study.store import Run


def predictions(system: str, correct: list[int], **place: Any) -> pd.DataFrame:
    """Clips of class 1, two a song, answered with class 1 (right) or 2 (wrong)."""
    return class_predictions(system, [1] * len(correct), np.where(correct, 1, 2), **place)


def joined(*frames: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)


class TestCorrectness:
    def test_a_row_a_clip_and_a_column_a_seed(self) -> None:
        frame = joined(
            predictions("X", [1, 0, 1, 1], seed=3),
            predictions("X", [0, 0, 1, 1], seed=1)[::-1],
            predictions("Y", [0, 0, 0, 0]),
            predictions("X", [0, 0, 0, 0], task="A"),
        )
        own = frame[(frame["system"] == "X") & (frame["task"] == "4Q")]
        table = scores.correctness(own)
        assert table.columns.tolist() == [1, 3]
        assert table.index.names == ["id", "group"]
        np.testing.assert_array_equal(table.to_numpy(), [[0, 1], [0, 0], [1, 1], [1, 1]])

    def test_folds_are_joined(self) -> None:
        frame = joined(predictions("X", [1, 0], fold=1, first=2), predictions("X", [1, 1]))
        np.testing.assert_array_equal(scores.correctness(frame)[0], [1, 1, 1, 0])

    def test_what_cannot_be_joined_is_refused(self) -> None:
        frame = predictions("X", [1, 0])
        with pytest.raises(ParameterError, match="there are no predictions"):
            scores.correctness(frame.iloc[:0])
        with pytest.raises(ParameterError, match="'X', task '4Q': a clip was predicted twice"):
            scores.correctness(joined(frame, frame))
        other_seed = predictions("X", [1, 0], seed=1, first=1)
        with pytest.raises(ParameterError, match="seeds were tested on different clips"):
            scores.correctness(joined(frame, other_seed))


class TestComparison:
    def test_known_numbers(self) -> None:
        frame = joined(
            predictions("X", [1, 1, 1, 0, 0, 1, 1, 1], seed=0),  # .75
            predictions("X", [1, 1, 0, 0, 0, 0, 1, 1], seed=1),  # .5
            predictions("Y", [1, 0, 0, 0, 0, 0, 0, 0]),
        )
        table = scores.scores(frame, {("X", "4Q", "accuracy"): 0.9}).set_index("system")
        x, y = table.loc["X"], table.loc["Y"]
        assert (x["mean"], x["n"], x["seeds"]) == (0.625, 8, 2)
        assert x["sd"] == pytest.approx(0.125 * np.sqrt(2))
        assert x["difference"] == pytest.approx(-0.275)
        assert (y["mean"], y["seeds"]) == (0.125, 1)
        assert np.isnan([y["sd"], y["published"], y["difference"]]).all()
        assert y["covers"] is None
        by_clip = [1, 1, 0.5, 0, 0, 0.5, 1, 1]
        songs = [0, 0, 1, 1, 2, 2, 3, 3]
        assert (x["low"], x["high"]) == group_bootstrap(by_clip, songs)

    def test_interval_is_wider_where_songs_are_fewer(self) -> None:
        correct = [1, 1, 1, 1, 0, 0, 0, 0] * 50
        widths = []
        for per_group in (1, 4):
            row = scores.scores(predictions("X", correct, per_group=per_group)).iloc[0]
            assert row["low"] < 0.5 < row["high"]
            widths.append(row["high"] - row["low"])
        # Normal approximation with 400 independent clips, and with 100 songs of four like clips
        expected = [2 * 1.96 * np.sqrt(0.25 / n) for n in (400, 100)]
        assert widths == pytest.approx(expected, rel=0.1)

    @pytest.mark.parametrize(("value", "covers"), [(0.5, True), (0.55, True), (0.9, False)])
    def test_covers(self, value: float, covers: bool) -> None:
        frame = predictions("X", [1, 0] * 40, per_group=1)
        table = scores.scores(frame, {("X", "4Q", "accuracy"): value})
        assert table["covers"].tolist() == [covers]

    def test_rows_keep_the_order_of_systems_and_tasks(self) -> None:
        frame = joined(
            *(predictions(s, [1, 0, 1], task=t) for t in ("V", "4Q") for s in ("Y", "X"))
        )
        found = scores.scores(frame)[["task", "system"]].to_numpy().tolist()
        assert found == [["V", "Y"], ["V", "X"], ["4Q", "Y"], ["4Q", "X"]]

    def test_f1_is_that_of_the_high_class_or_the_mean_over_classes(self) -> None:
        frame = joined(
            predictions("X", [1, 1, 0, 0], task="A"),
            predictions("X", [1, 1, 0, 0], task="4Q"),
        )
        table = scores.scores(frame, metrics=("accuracy", "F1")).set_index(["task", "metric"])
        assert table["mean"].to_dict() == pytest.approx(
            {("A", "accuracy"): 0.5, ("A", "F1"): 0.0, ("4Q", "accuracy"): 0.5, ("4Q", "F1"): 1 / 3}
        )


class TestAgainst:
    def test_known_numbers(self) -> None:
        # X alone is right about six clips, the reference alone about one
        frame = joined(
            predictions("X", [1] * 6 + [0] + [1] * 3),
            predictions("reference", [0] * 6 + [1] + [1] * 3),
            predictions("reference", [0] * 6 + [1] + [0] * 3, seed=1),
        )
        (row,) = against(frame, "reference", "4Q").to_dict("records")
        assert row["system"] == "X"
        assert row["discordant"] == 7
        assert row["p"] == pytest.approx(2 * (1 + 7) / 2**7)
        assert row["difference"] == pytest.approx((0.4 - 0.9 + 0.1 - 0.9) / 2)
        assert row["low"] < row["difference"] < row["high"]

    def test_equal_systems(self) -> None:
        frame = joined(predictions("X", [1, 0, 1, 0]), predictions("Y", [1, 0, 1, 0]))
        (row,) = against(frame, "X", "4Q").to_dict("records")
        assert (row["difference"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1)
        assert against(frame, "Z", "4Q").empty

    def test_different_clips_are_refused(self) -> None:
        for other in (predictions("Y", [1, 0, 1], first=1), predictions("Y", [1, 0])):
            with pytest.raises(ParameterError, match="'X' and 'Y' were tested on different clips"):
                against(joined(predictions("X", [1, 0, 1]), other), "X", "4Q")


def test_implied_predictions() -> None:
    frame = predictions("X", [1, 0])  # the answers are Q1 and Q2, the target is Q1
    result = scores.implied_predictions(joined(frame, predictions("X", [0, 0], task="A")))
    arousal, valence = (result[result["task"] == task] for task in ("A", "V"))
    assert arousal["answer"].tolist() == arousal["target"].tolist() == [2, 2]
    assert valence["answer"].tolist() == [2, 1]
    assert scores.correctness(valence)[0].tolist() == [1, 0]


def test_a_quadrant_is_right_exactly_where_both_implied_answers_are() -> None:
    pairs = np.random.default_rng(1).integers(1, 5, size=(2, 200))
    frame = class_predictions("X", *pairs)
    implied = scores.implied_predictions(frame).groupby("task")["correct"].apply(np.asarray)
    np.testing.assert_array_equal(frame["correct"], implied["A"] & implied["V"])


class TestHeadPredictions:
    FRAME = predictions("X", [1, 0]).assign(target=[2, 4], head_A=[0.9, 0.2], head_V=[0.4, 0.5001])

    def test_known_numbers(self) -> None:
        others = predictions("no heads", [1, 1]), predictions("X", [1], task="A", first=9)
        result = scores.head_predictions(joined(self.FRAME, *others))
        assert set(result["system"]) == {"X"}
        assert not {"p_3", "head_A"} & set(result)
        arousal, valence = (result[result["task"] == task] for task in ("A", "V"))
        assert arousal["target"].tolist() == arousal["answer"].tolist() == [2, 1]
        assert arousal["p_2"].tolist() == [0.9, 0.2]
        assert arousal["p_1"].tolist() == pytest.approx([0.1, 0.8])
        assert valence["target"].tolist() == valence["answer"].tolist() == [1, 2]
        assert scores.correctness(arousal)[0].tolist() == [1, 1]

    def test_one_head_is_one_task_and_none_is_none(self) -> None:
        result = scores.head_predictions(self.FRAME.drop(columns="head_A"))
        assert result["task"].tolist() == ["V", "V"]
        frame = predictions("X", [1, 0])
        assert scores.head_predictions(frame).empty
        assert set(scores.answers(frame)) == {scores.OWN_MODEL, scores.IMPLIED}


BRANCHES = ("Symbolic-only", "Acoustic-only")


class TestMeanOfTwo:
    def branch(self, system: str, rows: list[list[float]], **more: Any) -> pd.DataFrame:
        frame = predictions(system, [1] * len(rows), **more)
        frame[[f"p_{k + 1}" for k in range(len(rows[0]))]] = rows
        return frame

    def symbolic(self) -> pd.DataFrame:
        rows = [[0.4, 0.6, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]]
        return self.branch("Symbolic-only", rows).assign(head_V=[0.3, 0.7])

    def acoustic(self) -> pd.DataFrame:
        rows = [[0.9, 0.1, 0.0, 0.0], [0.1, 0.1, 0.7, 0.1]]
        return self.branch("Acoustic-only", rows).assign(head_A=[0.6, 0.1])

    def test_known_numbers(self) -> None:
        frame = joined(self.symbolic(), self.acoustic()[::-1])
        result = scores.mean_of(frame, BRANCHES, "Late average")
        assert list(result) == list(frame)
        assert result["system"].tolist() == ["Late average"] * 2
        found = result[["p_1", "p_2", "p_3", "p_4"]].to_numpy()
        np.testing.assert_allclose(found, [[0.65, 0.35, 0, 0], [0.1, 0.15, 0.5, 0.25]])
        assert result["answer"].tolist() == [1, 3]
        assert result["correct"].tolist() == [True, False]
        assert result["head_A"].tolist() == [0.6, 0.1]
        assert result["head_V"].tolist() == [0.3, 0.7]
        both = joined(frame, result)
        assert set(scores.head_predictions(both)["system"]) == set(both["system"])

    def test_tasks_and_seeds_are_paired(self) -> None:
        parts = [
            self.branch(system, [[p, 1 - p]], task=task, seed=seed)
            for (system, seed, task), p in {
                ("Symbolic-only", 0, "A"): 0.2,
                ("Symbolic-only", 1, "A"): 0.4,
                ("Symbolic-only", 0, "V"): 1.0,
                ("Acoustic-only", 1, "A"): 1.0,
                ("Acoustic-only", 0, "A"): 0.6,
                ("Acoustic-only", 0, "V"): 0.0,
            }.items()
        ]
        four = [self.symbolic(), self.acoustic()]
        result = scores.mean_of(joined(*parts, *four), BRANCHES, "Mean")
        pairs = result[result["task"] != "4Q"].set_index(["task", "seed"])["p_1"]
        assert pairs.to_dict() == pytest.approx({("A", 0): 0.4, ("A", 1): 0.7, ("V", 0): 0.5})
        assert result[result["task"] == "A"]["p_3"].isna().all()
        assert result["answer"].between(1, 4).all()

    @pytest.mark.parametrize("change", [{"id": "o"}, {"seed": 3}, {"fold": 1}, {"system": "X"}])
    def test_clips_without_a_counterpart(self, change: dict[str, Any]) -> None:
        frame = joined(self.symbolic(), self.acoustic().assign(**change))
        with pytest.raises(ParameterError, match="of 'Mean' were not tested once each on the same"):
            scores.mean_of(frame, BRANCHES, "Mean")


def test_validation_of_runs() -> None:
    def run(system: str, history: list[dict[str, float]]) -> Run:
        spec = RunSpec(system, "4Q", "toy", "s", 0, 2, "", {}, {})
        return Run(spec, pd.DataFrame(), history)

    epochs = ((0.5, 1.2), (0.7, 1.0), (0.6, 0.9))
    network = [{"valid_accuracy": share, "valid_loss": loss} for share, loss in epochs]
    table = scores.validation([run("N", network), run("D", [{"C": 1.0, "valid_accuracy": 0.4}])])
    assert table["steps"].tolist() == [3, 1]
    assert table["accuracy"].tolist() == [0.7, 0.4]
    np.testing.assert_array_equal(table["loss"], [0.9, np.nan])


class TestCards:
    def test_label_agreement_by_hand(self) -> None:
        rows = [("a", 1), ("a", 1), ("a", 2), ("b", 3), ("b", 3), ("c", 4)]
        clips = [Clip(str(k), g, labels=Labels(quadrant=q)) for k, (g, q) in enumerate(rows)]
        # pairs of one song: three of a, one agrees; one of b, which agrees
        assert label_agreement(Corpus("toy", clips, licence="", citation="")) == {
            "groups": 3,
            "groups_with_several_clips": 2,
            "groups_with_several_quadrants": 1,
            "agreement": 0.5,
        }

    def test_card_of_a_corpus(self, tiny: Corpus) -> None:
        corpus = Corpus(
            "toy",
            tiny.clips,
            licence="free",
            citation="me",
            splits={
                "split_cls": lambda _: tiny.split("split_cls"),
                "split_midibert": lambda _: tiny.split("split_midibert"),
            },
        )
        card = describe(corpus)
        assert card["fingerprint"] == tiny.fingerprint
        assert (card["audio"], card["counts"]["clips"]) == ("rendered", 16)
        published, leaky = card["splits"]["split_cls"], card["splits"]["split_midibert"]
        assert published["clips"] == {part: len(ids) for part, ids in PARTS.items()}
        assert published["groups"] == {"train": 4, "valid": 4, "test": 4}
        assert (published["leaky"], published["test_clips_with_sibling_in_train"]) == (False, 0)
        assert (leaky["leaky"], leaky["test_clips_with_sibling_in_train"]) == (True, 4)
        low, high = card["notes"]["Q3"], card["notes"]["Q1"]
        assert low["notes_per_s"][1] == pytest.approx(6 / 2.62, abs=0.01)
        assert high["mean_velocity"][1] > low["mean_velocity"][1] + 40


class TestHeadsBesideOwnModels:
    def predictions(self, tasks: Sequence[str]) -> pd.DataFrame:
        rows = [
            {
                **{
                    "system": "s",
                    "task": task,
                    "split": "x",
                    "fold": 0,
                    "seed": 0,
                    "audio": "none",
                },
                **{"id": str(k), "group": str(k), "target": 1 + k % 2, "p_1": 0.6, "p_2": 0.4},
                **({"p_3": 0.0, "p_4": 0.0, "head_A": 0.3} if task == "4Q" else {}),
            }
            for task in tasks
            for k in range(4)
        ]
        return scores.answered(pd.DataFrame(rows))

    def test_a_head_answers_where_there_is_no_model(self) -> None:
        found = scores.answers(self.predictions(["4Q"]))
        own = found[scores.OWN_MODEL]
        assert own.loc[own["task"] == "A", "by"].unique().tolist() == [scores.HEAD]
        assert scores.HEAD not in found

    def test_a_model_of_the_task_goes_before_its_head(self) -> None:
        found = scores.answers(self.predictions(["4Q", "A"]))
        own = found[scores.OWN_MODEL]
        assert own.loc[own["task"] == "A", "by"].unique().tolist() == [scores.OWN_MODEL]
        assert len(found[scores.HEAD]) == 4
        assert not scores.correctness(own[own["task"] == "A"]).empty


def test_mean_of_leaves_out_what_only_one_was_tested_on() -> None:
    pairs = {"a": ["4Q", "A"], "b": ["4Q"]}
    frame = pd.concat(
        TestHeadsBesideOwnModels().predictions(tasks).assign(system=name)
        for name, tasks in pairs.items()
    )
    assert scores.mean_of(frame, ["a", "b"], "mean")["task"].unique().tolist() == ["4Q"]
