"""Systems: their registry, their answers against counting by hand, and storing them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import toy_corpus
from rows import ROWS, Parts, small
from rows import fitted as fitted_system
from torch import Tensor, nn

from mer.clips import Clip, Corpus, Labels
from mer.errors import InvalidDataError, MissingDataError, ParameterError
from mer.study.executor import run
from mer.study.specs import plan
from mer.systems.base import Context, Fitted, clip_feature
from mer.systems.classical import DescriptorClassifier, FittedClassifier
from mer.systems.clip_descriptors import acoustic, symbolic
from mer.systems.musicnn import embedding_statistics
from mer.systems.network import WindowedNetwork
from mer.systems.selecting import SelectingClassifier
from mer.tasks import get_task
from mer.training import supervised
from mer.training.windows import window_length, window_starts

pytestmark = pytest.mark.usefixtures("perfect_transcriber")
NETWORK = "LSTM-Attn + MIDI-like"


def fitted(name: str, parts: Parts, **options: Any) -> Fitted:
    model: Fitted = fitted_system(small(name), parts, **options)
    return model


def values(predictions: pd.DataFrame) -> np.ndarray:
    return predictions.drop(columns="id").to_numpy()


def labelled(number: int, group: str = "", **labels: Any) -> Clip:
    return Clip(str(number), group or str(number), labels=Labels(**labels))


class TestParameters:
    @pytest.mark.parametrize("name", ROWS)
    def test_every_row_is_json_native_and_rebuilt(self, name: str) -> None:
        system = ROWS[name]
        assert system.inputs in ("MIDI", "audio", "audio + MIDI", "labels")
        assert all(type(revision) is int for revision in system.revisions.values())
        stored = json.loads(json.dumps(system.parameters))
        assert system.configured(stored) == system

    def test_unknown_names_list_the_known_ones(self) -> None:
        with pytest.raises(ParameterError, match=r"no parameter 'C'; it has: features, c_grid"):
            ROWS["Symbolic-LR"].configured({"C": 1.0})
        with pytest.raises(ParameterError, match="no parameter 'name'; it has: none"):
            ROWS["Constant"].configured({"name": "x"})

    @pytest.mark.parametrize(
        ("name", "parameter", "value"),
        [
            *((NETWORK, "epochs", value) for value in ("3", 3.0, True, None, [3], np.int64(3))),
            *((NETWORK, "learning_rate", value) for value in ("0.1", None, True)),
            (NETWORK, "schedule", "step"),
            (NETWORK, "dropout", "half"),
            *(("Symbolic-LR", "c_grid", value) for value in (1.0, ["1"], "1", [None])),
            *(("Symbolic-LR", "features", value) for value in (["harmonic"], "symbolic")),
        ],
    )
    def test_wrong_types(self, name: str, parameter: str, value: Any) -> None:
        row = ROWS[name]
        for make in (row.configured, lambda values: dataclasses.replace(row, **values)):
            with pytest.raises(ParameterError, match=rf"{parameter} is .*: input should be"):
                make({parameter: value})

    @pytest.mark.parametrize("value", [[], [0.0], [1.0, -1.0]])
    def test_values_of_c_are_positive(self, value: list[float]) -> None:
        with pytest.raises(ParameterError, match="one or more positive numbers"):
            DescriptorClassifier(features=(symbolic,), c_grid=tuple(value) or (-1.0,))

    def test_right_types(self) -> None:
        system = ROWS[NETWORK].configured({"learning_rate": 1, "window": 5})
        assert system.parameters["window"] == 5
        grid = ROWS["Audio-LR"].configured({"c_grid": [1, 2.5]}).parameters["c_grid"]
        assert grid == [1, 2.5]


class TestEverySystem:
    @pytest.mark.parametrize("name", [n for n in ROWS if not ROWS[n].regression])
    def test_predicts_probabilities_and_survives_storing(
        self, name: str, tiny_parts: Parts, tmp_path: Path
    ) -> None:
        test = tiny_parts[2]
        first = fitted(name, tiny_parts)
        predictions = first.predict(test)
        system = small(name)
        heads = system.head_names(4) if isinstance(system, WindowedNetwork) else ()
        columns = ["id", "p_1", "p_2", "p_3", "p_4", *(f"head_{head}" for head in heads)]
        assert list(predictions) == columns
        assert predictions["id"].tolist() == test.ids
        assert values(predictions).min() >= 0
        assert values(predictions).max() <= 1
        np.testing.assert_allclose(values(predictions)[:, :4].sum(axis=1), 1, atol=1e-6)
        first.save(tmp_path / "stored")
        again = Fitted.load(tmp_path / "stored")
        pd.testing.assert_frame_equal(again.predict(test), predictions, check_exact=True)
        assert again.history == first.history

    def test_seed_decides_what_a_network_learns(self, tiny_parts: Parts) -> None:
        first, second, other = (
            values(fitted(NETWORK, tiny_parts, seed=seed).predict(tiny_parts[2]))
            for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(first, second)
        assert not np.allclose(first, other)

    @pytest.mark.parametrize("name", ["Symbolic-LR", NETWORK])
    def test_clips_without_the_right_file(self, name: str) -> None:
        corpus = toy_corpus(*(labelled(k, quadrant=1 + k) for k in range(4)))
        with pytest.raises(MissingDataError, match="'0' has no MIDI file"):
            fitted(name, (corpus, corpus, corpus))

    def test_clips_without_a_label(self, tiny_parts: Parts) -> None:
        bare = toy_corpus(Clip("a", "a"))
        with pytest.raises(MissingDataError, match="clip 'a' has no label for task '4Q'"):
            fitted("Constant", (bare, tiny_parts[1], tiny_parts[2]))


class TestWithoutMusic:
    def test_against_counting_by_hand(self) -> None:
        train, test = (
            toy_corpus(
                *(labelled(k, clip[0], quadrant=int(clip[1])) for k, clip in enumerate(clips))
            )
            for clips in (["a1", "a1", "a2", "b3", "c4", "c4"], ["a1", "b1", "x1"])
        )
        overall = np.asarray([2, 1, 1, 2]) / 6
        by_song = [np.asarray([2, 1, 0, 0]) / 3, np.asarray([0, 0, 1, 0]), overall]
        for name, expected in (("Constant", [overall] * 3), ("Song-lookup", by_song)):
            found = values(fitted(name, (train, test, test)).predict(test))
            np.testing.assert_allclose(found, np.stack(expected))


class TestDescriptorSystems:
    @pytest.mark.parametrize("name", ["Symbolic-LR", "Symbolic-SVM"])
    @pytest.mark.parametrize("task", ["4Q", "A"])
    def test_largest_probability_is_the_pipelines_answer(
        self, name: str, task: str, tiny: Corpus, tiny_parts: Parts
    ) -> None:
        model = fitted(name, tiny_parts, task=task)
        assert isinstance(model, FittedClassifier)
        answers = model.pipeline.predict(model.system.values(tiny))
        np.testing.assert_array_equal(values(model.predict(tiny)).argmax(axis=1), answers)

    @pytest.mark.parametrize("name", ["Symbolic-LR", "Audio-LR", "Symbolic+Audio-SVM"])
    def test_hears_that_fast_and_loud_is_high_arousal(self, name: str, tiny_parts: Parts) -> None:
        predictions = fitted(name, tiny_parts, task="A").predict(tiny_parts[2])
        assert values(predictions).argmax(axis=1).tolist() == [1, 1, 0, 0]

    def test_c_is_the_smallest_of_the_best_on_validation(self, tiny_parts: Parts) -> None:
        for name in ("Symbolic-LR", "Symbolic-SVM"):
            model = fitted(name, tiny_parts)
            assert isinstance(model, FittedClassifier)
            assert [row["C"] for row in model.history] == list(model.system.c_grid)
            best = max(row["valid_accuracy"] for row in model.history)
            chosen = next(row["C"] for row in model.history if row["valid_accuracy"] == best)
            assert chosen == model.pipeline[-1].C

    def test_validation_labels_decide_and_test_labels_do_not(self, tiny_parts: Parts) -> None:
        train, valid, test = tiny_parts
        expected = fitted("Symbolic-LR", tiny_parts)
        turned = fitted("Symbolic-LR", (train, relabelled(valid), test))
        assert turned.history != expected.history
        pd.testing.assert_frame_equal(
            expected.predict(relabelled(test)), expected.predict(test), check_exact=True
        )

    def test_class_without_training_clips_gets_no_probability(self, tiny_parts: Parts) -> None:
        train, valid, test = tiny_parts
        known = train.select(clip.id for clip in train if clip.labels.quadrant != 2)
        for name in ("Symbolic-LR", "Symbolic-SVM"):
            found = values(fitted(name, (known, valid, test)).predict(test))
            assert found.shape == (4, 4)
            assert np.all(found[:, 1] == 0)
            np.testing.assert_allclose(found.sum(axis=1), 1)


def relabelled(corpus: Corpus) -> Corpus:
    """The same clips, each with the next quadrant."""
    clips = [
        dataclasses.replace(clip, labels=Labels(quadrant=(clip.labels.quadrant or 0) % 4 + 1))
        for clip in corpus
    ]
    return toy_corpus(*clips)


class Slope(nn.Module):
    """Two logits: mean over time of each row of its input."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.float().mean(dim=2)


class TestWindows:
    def test_prediction_is_the_mean_over_windows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(supervised, "autocast", lambda device: nullcontext())
        system = ROWS[NETWORK].configured({"window": 16, "batch_size": 3})
        assert isinstance(system, WindowedNetwork)
        rng = np.random.default_rng(0)
        items = [rng.normal(size=(2, n)) for n in (5, 16, 17, 40, 64, 3)]
        found = system.predict_items(Slope(), items, torch.device("cpu"))
        for row, item in zip(found, items, strict=True):
            length = window_length(item.shape[1], 16)
            windows = [item[:, s : s + length] for s in window_starts(item.shape[1], length)]
            logits = np.stack([window.mean(axis=1) for window in windows])
            softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            np.testing.assert_allclose(row, softmax.mean(axis=0), atol=1e-6)

    def test_chunks_are_at_least_one_window_long(self, tiny: Corpus) -> None:
        system = ROWS["Short-chunk ResNet"].configured({"window": 2000, "n_mels": 32})
        assert isinstance(system, WindowedNetwork)
        features = system.item(tiny[0])
        assert features.shape == (32, 2000)
        assert features.dtype == np.float16
        assert np.all(features[:, -1] == features.min())


def test_classes_of_labels() -> None:
    clips = [labelled(k, quadrant=k, cluster=k) for k in (1, 2, 3, 4)]
    found = {name: get_task(name).targets(clips).tolist() for name in ("4Q", "A", "V", "cluster")}
    quadrants = {"4Q": [0, 1, 2, 3], "A": [1, 1, 0, 0], "V": [1, 0, 0, 1]}
    assert found == {**quadrants, "cluster": [0, 1, 2, 3]}
    numbers = labelled(9, valence=0.2, arousal=-0.1)
    assert [get_task(name).targets([numbers])[0] for name in ("V", "A")] == [1, 0]
    for name in ("4Q", "cluster"):
        with pytest.raises(MissingDataError, match=f"'9' has no label for task '{name}'"):
            get_task(name).targets([numbers])
    assert get_task("cluster").classes == tuple(f"Cluster {k}" for k in (1, 2, 3, 4, 5))
    with pytest.raises(InvalidDataError, match="cluster is 6; expected a number from 1 to 5"):
        get_task("cluster").targets([labelled(0, cluster=6)])


@pytest.mark.parametrize(
    "name", [name for name, row in ROWS.items() if isinstance(row, supervised.TrainingOptions)]
)
def test_numbers_out_of_range(name: str) -> None:
    """Every hyper-parameter that is a number has a range, and its name stands in the message."""
    row = ROWS[name]
    numbers = {f.name: getattr(row, f.name) for f in dataclasses.fields(row)}
    numbers = {name: v for name, v in numbers.items() if type(v) in (int, float)}
    assert {"epochs", "learning_rate", "weight_decay"} <= numbers.keys()
    for field, value in numbers.items():
        may_be_zero = field in ("dropout", "weight_decay", "sound_copies")
        may_be_zero |= field.endswith("_weight")
        bad = [type(value)(-1)]
        bad += [math.nan, math.inf] if isinstance(value, float) else [10**400]
        bad += [] if may_be_zero else [type(value)(0)]
        bad += [1.0] if field == "dropout" else []
        for wrong in bad:
            with pytest.raises(ParameterError, match=f"^{field} is {wrong}; expected "):
                dataclasses.replace(row, **{field: wrong})


def test_feature_that_is_not_finite_names_the_clip(tiny: Corpus) -> None:
    def dark(samples: np.ndarray, sample_rate: int) -> np.ndarray:
        return np.full((4, 20), 1e6)

    with pytest.raises(InvalidDataError, match=f"feature dark of clip '{tiny[0].id}' has values"):
        clip_feature(dark, tiny[0], 8000)


class Given(nn.Module):
    """A network of one parameter, whose output is made of logits of the right shape."""

    def __init__(self, n_classes: int, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.bias, self.change = nn.Parameter(torch.zeros(n_classes)), change

    def forward(self, inputs: Tensor) -> Any:
        return self.change(self.bias.expand(len(inputs), -1))


def made(change: Callable[[Tensor], Any]) -> Callable[..., nn.Module]:
    """A model of one's own; the tokens of `TokenNetwork` and features of others come first."""

    def own(*arguments: int) -> nn.Module:
        return Given(arguments[-1], change)

    return own


OUTPUTS: list[tuple[Callable[[Tensor], Any], str]] = [
    (lambda x: None, "None"),
    (lambda x: x.tolist(), "a list"),
    (lambda x: {"a": x}, "a dict"),
    (lambda x: x[:, :3], r"a Tensor of shape \(16, 3\) and type torch.float32"),
    (lambda x: torch.cat([x, x], 1), r"a Tensor of shape \(16, 8\) .*"),
    (lambda x: x.T, r"a Tensor of shape \(4, 16\) .*"),
    (lambda x: x[:1], r"a Tensor of shape \(1, 4\) .*"),
    (lambda x: x.mean(1), r"a Tensor of shape \(16,\) .*"),
    (lambda x: x + 1j, r"a Tensor of shape \(16, 4\) and type torch.complex64"),
    (lambda x: x.argmax(1), r"a Tensor of shape \(16,\) and type torch.int64"),
]


class TestOwnNetworks:
    @pytest.mark.parametrize("name", [NETWORK, "Short-chunk ResNet"])
    @pytest.mark.parametrize(("change", "found"), OUTPUTS)
    def test_output_of_another_kind(
        self, tiny: Corpus, name: str, change: Callable[[Tensor], Any], found: str
    ) -> None:
        own = dataclasses.replace(small(name), model=made(change), batch_size=16)
        message = rf"model own gave {found}; expected a Tensor of real .* of shape \(16, 4\): a row"
        with pytest.raises(ParameterError, match=f"^{message}"):
            own.fit(tiny, tiny, Context(get_task("4Q"), device="cpu"))

    def test_right_output_is_trained_and_stored(self, tiny: Corpus, tmp_path: Path) -> None:
        own = dataclasses.replace(small(NETWORK), model=made(lambda x: x.double()))
        found = own.fit(tiny, tiny, Context(get_task("4Q"), device="cpu"))
        found.save(tmp_path)
        assert Fitted.load(tmp_path).predict(tiny).equals(found.predict(tiny))

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            (lambda *sizes: None, "model .* gave None; expected a torch.nn.Module"),
            (lambda *sizes: 3, "model .* gave 3; expected a torch.nn.Module"),
            (lambda *sizes: nn.Tanh(), "model .* has no parameters to train; expected some"),
            (lambda n: nn.Tanh(), "cannot be called with 2 arguments and no options: too many pos"),
        ],
    )
    def test_no_network(self, tiny: Corpus, model: Any, message: str) -> None:
        own = dataclasses.replace(small(NETWORK), model=model)
        with pytest.raises(ParameterError, match=message):
            own.fit(tiny, tiny, Context(get_task("4Q"), device="cpu"))

    def test_row_is_named(self, tiny: Corpus) -> None:
        own = dataclasses.replace(small(NETWORK), model=made(lambda x: None))
        place: Any = {"corpus": "emopia", "fingerprint": "", "split": "split_cls", "folds": [0]}
        (spec,) = plan({"Mine": own}, ["4Q"], seeds=[0], **place)
        with pytest.raises(ParameterError, match=r"^row 'Mine': model own gave None; expected"):
            run(spec, tiny, tiny.split("split_cls").folds[0])


FEATURES: list[tuple[Any, str]] = [
    (None, "None"),
    (np.zeros((4, 9), complex), r"an array of shape \(4, 9\) and type complex128"),
    (np.zeros((4, 9), object), r"an array of shape \(4, 9\) and type object"),
    (np.full((4, 9), "a"), r"an array of shape \(4, 9\) and type <U1"),
    ([[1.0, 2.0], [3.0]], "an array of .* type object"),
    (np.zeros((4, 9, 2)), r"an array of shape \(4, 9, 2\) and type float64"),
]


class TestOwnFeatures:
    @pytest.mark.parametrize(("values", "found"), FEATURES)
    def test_no_real_numbers(self, tiny: Corpus, values: Any, found: str) -> None:
        def own(samples: np.ndarray, sample_rate: int) -> Any:
            return values

        with pytest.raises(ParameterError, match=f"^feature own gave {found}; expected .* in 2 d"):
            clip_feature(own, tiny[0], 8000)

        def vector(clip: Clip) -> Any:
            return values

        system = DescriptorClassifier(features=(vector,))
        with pytest.raises(
            ParameterError, match=f"^feature vector gave {found}; expected .* in 1 d"
        ):
            system.values(tiny)

    def test_only_groups_with_names_can_be_chosen(self) -> None:
        for options, message in (
            ({"features": (embedding_statistics,)}, "embedding_statistics has no named groups"),
            ({"features": (symbolic,), "inner_folds": 1}, "inner_folds is 1; expected 2 or more"),
        ):
            with pytest.raises(ParameterError, match=message):
                SelectingClassifier(**options)

    def test_groups_cover_every_descriptor_once(self) -> None:
        groups = SelectingClassifier(features=(symbolic, acoustic)).groups()
        np.testing.assert_array_equal(np.sort(np.concatenate(groups)), np.arange(113 + 163))
        assert len(groups) == 11 + 13
        assert [len(group) for group in groups[:2]] == [1, 16]

    def test_the_group_that_tells_the_classes_is_chosen(self, monkeypatch: Any) -> None:
        corpus = toy_corpus(
            *(Clip(f"{n}", f"{n}", labels=Labels(quadrant=1 + n % 4)) for n in range(40))
        )
        rng = np.random.default_rng(0)
        noise = {clip.id: rng.normal(size=113) for clip in corpus}
        system = SelectingClassifier(features=(symbolic,))
        texture = system.groups()[-1]

        def told(self: SelectingClassifier, given: Corpus) -> np.ndarray:
            x = np.stack([noise[clip.id] for clip in given])
            x[:, texture] += 3 * get_task("A").targets(given)[:, None]
            return x

        monkeypatch.setattr(SelectingClassifier, "values", told)
        found = system.fit(corpus, corpus, Context(get_task("A")))
        chosen = found.pipeline.named_steps["columns"].transformers_[0][2]
        assert set(texture) <= set(chosen)
        assert len(chosen) < 60
        right = found.predict(corpus)["p_2"].gt(0.5).astype(int) == get_task("A").targets(corpus)
        assert right.all()
        few = corpus.select(corpus.ids[:4])
        with pytest.raises(InvalidDataError, match="of 4 songs; expected 5 or more"):
            system.fit(few, few, Context(get_task("A")))

    def test_lengths_differ(self, tiny: Corpus) -> None:
        def own(clip: Clip) -> np.ndarray:
            return np.zeros(3 if clip.id == tiny[4].id else 2)

        message = f"feature own gave 3 numbers for clip '{tiny[4].id}', 2 for '{tiny[0].id}'; expec"
        with pytest.raises(ParameterError, match=message):
            DescriptorClassifier(features=(symbolic, own)).values(tiny)

    @pytest.mark.parametrize(
        ("tokens", "found"),
        [
            (np.array([1, 9]), "int64 from 1 to 9"),
            (np.array([0, 8]), "int64 from 0 to 8"),
            (np.array([1.0, 8.0]), r"float64 from 1\.0 to 8\.0"),
        ],
    )
    def test_tokens_out_of_range(self, tiny: Corpus, tokens: np.ndarray, found: str) -> None:
        def own(notes: np.ndarray) -> np.ndarray:
            return tokens

        system = dataclasses.replace(small(NETWORK), tokens=own, vocabulary=9)
        message = rf"own gave {found} for clip '{tiny[0].id}'; expected whole numbers from 1 to 8"
        with pytest.raises(ParameterError, match=message):
            system.fit(tiny, tiny, Context(get_task("4Q"), device="cpu"))


def test_one_class_to_train_on(tiny: Corpus) -> None:
    one = tiny.select(clip.id for clip in tiny if clip.labels.quadrant == 1)
    message = "all 4 training clips are of one class of task '4Q'; expected two or more"
    for name in ("Symbolic-SVM", "Symbolic-LR"):
        with pytest.raises(InvalidDataError, match=message):
            ROWS[name].fit(one, tiny, Context(get_task("4Q")))


def test_task_that_is_a_name() -> None:
    task: Any = "4Q"
    with pytest.raises(ParameterError, match=r"task is '4Q'; expected mer\.tasks\.get_task"):
        Context(task)


def test_regression_is_refused_before_anything_is_fitted(tiny: Corpus) -> None:
    with pytest.raises(ParameterError, match="task 'VA' is a regression; this system needs one"):
        ROWS["Symbolic-SVM"].fit(tiny, tiny, Context(get_task("VA")))
