"""Self-learning: its parts against hand-worked values, planted noise, and the loop."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import interrupted
from scipy.stats import norm
from torch import Tensor, nn

from mer.errors import InvalidDataError, ParameterError
from mer.models.vgg import VGG16
from mer.training import self_learning
from mer.training.self_learning import (
    SelfLearned,
    SelfLearner,
    SelfLearningOptions,
    SelfLearningScore,
    SelfLearningWarning,
    interleave,
    mixup,
    partition,
    r_drop,
    self_learn,
    sharpen,
)
from mer.training.windows import (
    SegmentOptions,
    SegmentSet,
    clip_score,
    inherited_batches,
    split_batches,
)

CPU = torch.device("cpu")
BANDS, WINDOW = 32, 32


def test_sharpening() -> None:
    found = sharpen(np.asarray([[0.6, 0.3, 0.1], [0.5, 0.25, 0.25]]), 0.5)
    np.testing.assert_allclose(found[0], np.asarray([0.36, 0.09, 0.01]) / 0.46)
    np.testing.assert_allclose(found[1], [4 / 6, 1 / 6, 1 / 6])
    p = np.asarray([[0.2, 0.5, 0.3]])
    np.testing.assert_allclose(sharpen(p, 1.0), p)
    np.testing.assert_allclose(sharpen(p, 1e-3), [[0, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(sharpen(np.full((1, 4), 0.25), 0.1), np.full((1, 4), 0.25))
    np.testing.assert_allclose(sharpen(np.asarray([[1.0, 0.0]]), 0.5), [[1.0, 0.0]])


def test_mixup() -> None:
    x, y, order = torch.tensor([[0.0], [10.0], [-4.0]]), torch.eye(3), torch.tensor([1, 2, 0])
    mixed, labels = mixup(x, y, order, 0.75)
    np.testing.assert_allclose(mixed[:, 0], [2.5, 6.5, -3.0])
    expected = [[0.75, 0.25, 0.0], [0.0, 0.75, 0.25], [0.25, 0.0, 0.75]]
    np.testing.assert_allclose(labels.numpy(), np.asarray(expected))
    # The loss of a mixture is the mixture of the losses
    logits, entropy = (
        torch.from_numpy(np.random.default_rng(0).normal(size=(3, 3))).float(),
        nn.functional.cross_entropy,
    )
    losses = (0.75 * entropy(logits, y) + 0.25 * entropy(logits, y[order])).item()
    assert entropy(logits, labels).item() == pytest.approx(losses)


def test_r_drop() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (3 * torch.randn(7, 5, generator=generator).double() for _ in range(2))
    p, q = torch.log_softmax(a, dim=1), torch.log_softmax(b, dim=1)
    both = [
        float(nn.functional.kl_div(x, y, log_target=True, reduction="sum"))
        for x, y in ((p, q), (q, p))
    ]
    assert r_drop(a, b).item() == pytest.approx(sum(both) / 2, rel=1e-12)
    a.requires_grad_()
    assert r_drop(a, a).item() == 0
    empty = r_drop(a[:0], a[:0])
    empty.backward()
    assert empty.item() == 0


class TestPartition:
    def planted(self, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        noisy = rng.random(n) < 0.3
        losses = np.where(noisy, rng.normal(2.0, 0.35, n), rng.normal(0.4, 0.15, n))
        return np.abs(losses), noisy

    def test_finds_planted_components(self) -> None:
        losses, noisy = self.planted()
        found = partition(losses)
        assert not found.collapsed
        assert found.means == pytest.approx((0.4, 2.0), abs=0.03)
        assert found.weights == pytest.approx((0.7, 0.3), abs=0.02)
        assert ((found.clean_probability <= 0.5) == noisy).mean() > 0.995
        clean, other = 0.7 * norm.pdf(losses, 0.4, 0.15), 0.3 * norm.pdf(losses, 2.0, 0.35)
        assert np.abs(found.clean_probability - clean / (clean + other)).mean() < 0.01

    def test_neither_scale_nor_offset_matters(self) -> None:
        losses, _ = self.planted(500)
        first, second = partition(losses), partition(100 * losses + 7)
        np.testing.assert_allclose(first.clean_probability, second.clean_probability, atol=1e-6)
        assert second.means == pytest.approx([100 * mean + 7 for mean in first.means])

    def test_collapse(self) -> None:
        rng = np.random.default_rng(0)
        outlier = np.append(rng.normal(1.0, 0.001, 999), 50.0)
        for losses in (np.full(50, 0.7), outlier):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = partition(losses)
            assert found.collapsed
            assert np.all(found.clean_probability == 1)
        assert partition(np.full(50, 0.7)).means == (0.7, 0.7)
        assert partition(rng.uniform(0, 1, 200), threshold=1 - 1e-15).collapsed

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_losses_that_are_not_finite(self, value: float) -> None:
        with pytest.raises(InvalidDataError, match="2 of 10 segments have a loss that is not fin"):
            partition(np.asarray([0.1] * 8 + [value] * 2))


def test_every_stretch_has_the_same_share_of_both() -> None:
    for n, k in ((90, 10), (37, 64), (5, 0), (0, 5), (1, 1)):
        found = interleave(np.arange(n), 1000 + np.arange(k))
        assert sorted(found) == [*range(n), *range(1000, 1000 + k)]
        assert found[found < 1000].tolist() == list(range(n))
        for stretch in np.array_split(found, 4):
            assert abs((stretch >= 1000).sum() - len(stretch) * k / (n + k)) <= 1


def set_of(*lengths: int, window: int = WINDOW, hop: int = 20) -> SegmentSet:
    """Clips whose values tell clip and frame."""
    clips = [
        np.tile(1000 * k + np.arange(n), (BANDS, 1)).astype(np.float32)
        for k, n in enumerate(lengths)
    ]
    return SegmentSet(clips, window, hop)


class TestSegmentSet:
    def test_segments_of_each_clip(self) -> None:
        found = set_of(92, 32, 75)
        assert found.counts.tolist() == [4, 1, 3]
        assert found.owners.tolist() == [0] * 4 + [1] + [2] * 3
        assert found.numbers.tolist() == [0, 1, 2, 3, 0, 0, 1, 2]
        assert found.starts.tolist() == [0, 20, 40, 60, 0, 0, 20, 40]
        batch = found.batch(np.asarray([7, 4, 1]))
        assert (batch.shape, batch.dtype) == ((3, BANDS, WINDOW), torch.float32)
        first = torch.tensor([2040, 1000, 20])[:, None, None]
        assert (batch == first + torch.arange(WINDOW)).all()

    def test_draw(self) -> None:
        found, rng = set_of(92, 32, 75), np.random.default_rng(0)
        seen = np.zeros(len(found), dtype=int)
        for _ in range(300):
            drawn = found.draw(2, rng)
            assert np.bincount(found.owners[drawn]).tolist() == [2, 1, 2]
            assert len(set(drawn)) == 5
            seen[drawn] += 1
        expected = np.asarray([0.5, 0.5, 0.5, 0.5, 1.0, 2 / 3, 2 / 3, 2 / 3])
        np.testing.assert_allclose(seen / 300, expected, atol=0.1)
        assert sorted(found.draw(None, rng)) == list(range(8))

    def test_spread(self) -> None:
        found = set_of(92, 32, 75)
        assert found.spread(2).tolist() == [0, 3, 4, 5, 7]
        assert found.spread(9).tolist() == found.spread(None).tolist() == list(range(8))

    def test_clip_means(self) -> None:
        found = set_of(92, 32, 75)
        values = np.arange(8.0)[:, None] * [[1, 2]]
        means = found.clip_means(values, np.arange(8))
        np.testing.assert_allclose(means, [[1.5, 3.0], [4.0, 8.0], [6.0, 12.0]])
        means = found.clip_means(values[[0, 3, 4, 5]], np.asarray([0, 3, 4, 5]))
        np.testing.assert_allclose(means[:, 0], [1.5, 4, 5])

    def test_parts_are_alike_in_size(self) -> None:
        parts = split_batches(np.arange(130), 64)
        assert [len(part) for part in parts] == [44, 43, 43]
        assert np.concatenate(parts).tolist() == list(range(130))

    def test_segments_inherit_the_label(self) -> None:
        found, rng = set_of(92, 32, 75), np.random.default_rng(0)
        options = SegmentOptions(batch_size=3)
        for x, y in inherited_batches(found, np.asarray([2, 0, 1]), options, rng):
            owners = (x[:, 0, 0] // 1000).long()
            assert y.tolist() == torch.tensor([2, 0, 1])[owners].tolist()

    def test_score_is_of_mean_probabilities(self) -> None:
        found = set_of(92, 32, 75)

        class Level(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                level = x[:, 0, 0] % 1000 / 20
                return torch.stack([level, torch.ones_like(level)], dim=1)

        p = 1 / (1 + np.exp(1 - np.arange(4.0)))
        values = np.asarray([p.mean(), p[0], p[:3].mean()])
        score = clip_score(Level(), found, np.asarray([0, 1, 1]), SegmentOptions(), CPU)
        expected = np.asarray([values[0], 1 - values[1], 1 - values[2]])
        assert score.loss == pytest.approx(-np.log(expected).mean(), rel=1e-2)
        assert score.accuracy == pytest.approx((expected > 0.5).mean())


CHEAP: dict[str, Any] = {
    **{"epochs": 5, "patience": 5, "warm_up": 2, "batch_size": 8, "learning_rate": 2e-3},
    "weight_decay": 0.0,
}


def toy_parts(n: int = 8, seed: int = 0) -> tuple[SegmentSet, SegmentSet, np.ndarray]:
    """Clips of two classes: noise that is louder in the lower or in the upper bands."""
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 2
    clips = []
    for target in targets:
        clip = rng.normal(-60, 5, (BANDS, 100))
        clip[slice(16, None) if target else slice(16)] += 20
        clips.append(clip.astype(np.float16))
    return SegmentSet(clips, WINDOW, 20), SegmentSet(clips, WINDOW, 34), targets


def network(dropout: float = 0.5, seed: int = 0) -> VGG16:
    torch.manual_seed(seed)
    found = VGG16(2, n_mels=BANDS, width=1 / 16, dropout=dropout)
    found.fit_scale([np.random.default_rng(0).normal(-50, 12, (BANDS, 400))])
    return found


def learned(
    model: VGG16 | None = None, checkpoint: Path | None = None, **changes: Any
) -> tuple[VGG16, SelfLearned]:
    *parts, targets = toy_parts()
    model = network() if model is None else model
    options, labels = SelfLearningOptions(**{**CHEAP, **changes}), (targets, targets)
    more: dict[str, Any] = {"n_classes": 2, "seed": 0, "device": CPU, "checkpoint": checkpoint}
    return model, self_learn(model, (parts[0], parts[1]), labels, options, **more)


class TestLoop:
    def test_finds_wrong_labels(self) -> None:
        """One of ten clips of each class has the label of the other."""
        train_set, valid_set, right = toy_parts(20)
        wrong = right.copy()
        wrong[[0, 1]] = 1 - wrong[[0, 1]]
        options = SelfLearningOptions(**{**CHEAP, "epochs": 8, "patience": 8, "warm_up": 4})
        parts, targets = (train_set, valid_set), (wrong, right)
        found = self_learn(network(), parts, targets, options, n_classes=2, seed=0, device=CPU)
        assert found.best_epoch >= options.warm_up
        noisy = train_set.owners < 2
        assert found.clean_probability[-1][noisy].mean() < 0.1
        assert found.clean_probability[-1][~noisy].mean() > 0.9
        row = found.epochs[-1]
        assert [row["clean_fraction"], row["agreement"]] == pytest.approx([0.9, 0.9], abs=0.05)
        assert row["noisy_agreement"] < 0.2
        assert row["stability"] > 0.9
        assert row["clean_mean"] < row["noisy_mean"]

    def test_history_and_partitions(self) -> None:
        _, found = learned(segments_per_epoch=2)
        assert found.clean_probability.shape == (5, 32)
        known = np.isfinite(found.clean_probability)
        assert known.sum(axis=1).tolist() == [0, 0, 16, 16, 16]
        assert "clean_fraction" not in found.epochs[1]
        assert "stability" not in found.epochs[2]
        for row, values in zip(found.epochs[2:], found.clean_probability[2:], strict=True):
            drawn = values[np.isfinite(values)]
            assert row["clean_fraction"] == pytest.approx((drawn > 0.5).mean())
            assert set(row) >= {"valid_accuracy", "collapsed", "clean_weight", "agreement"}

    def test_collapse_warns_and_all_count_as_clean(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def flat(model: Any, part: SegmentSet, chosen: np.ndarray, *more: Any) -> np.ndarray:
            model.eval()
            return np.full((len(chosen), 2), 0.5)

        monkeypatch.setattr(self_learning, "predict_segments", flat)
        with pytest.warns(SelfLearningWarning, match="epoch [234]: .*all segments count as clean"):
            _, found = learned()
        rows = [(row["collapsed"], row["clean_fraction"]) for row in found.epochs[2:]]
        assert rows == [(1, 1)] * 3
        assert np.all(found.clean_probability[2:] == 1)

    def test_parameters_that_are_not_finite(self) -> None:
        train_set, _, targets = toy_parts()
        options = SelfLearningOptions(**CHEAP)
        learner = SelfLearner(network(), train_set, targets, 2, options, 0)
        learner.epoch += 2
        next(learner.network.parameters()).data.fill_(math.nan)
        with pytest.raises(InvalidDataError, match="32 of 32 segments have a loss that is not fin"):
            next(learner.batches(np.random.default_rng(0)))

    @pytest.mark.parametrize("epoch", [1, 3])
    def test_resuming_equals_one_go(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
    ) -> None:
        whole, expected = learned(segments_per_epoch=3)
        checkpoint = tmp_path / "state.pt"
        monkeypatch.setattr(self_learning, "clip_score", interrupted(clip_score, epoch))
        with pytest.raises(KeyboardInterrupt):
            learned(checkpoint=checkpoint, segments_per_epoch=3)
        monkeypatch.undo()
        resumed, found = learned(network(seed=1), checkpoint, segments_per_epoch=3)
        assert found.epochs == expected.epochs
        np.testing.assert_array_equal(found.clean_probability, expected.clean_probability)
        assert all(map(torch.equal, whole.state_dict().values(), resumed.state_dict().values()))
        assert not checkpoint.exists()

    def test_without_the_consistency_term_noisy_segments_have_no_second_pass(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[int] = []

        def seen(first: Tensor, second: Tensor) -> Tensor:
            sizes.append(len(first))
            return r_drop(first, second)

        monkeypatch.setattr(self_learning, "r_drop", seen)
        learned(kl_weight=0.0)
        assert set(sizes) == {0}
        learned()
        assert sum(sizes) > 0

    def test_any_epoch_after_the_warm_up_is_better(self) -> None:
        warm, after = SelfLearningScore(1.0, 0.1), SelfLearningScore(0.2, 2.0, {"collapsed": 0.0})
        assert after.order > warm.order
        assert SelfLearningScore(0.9, 0.1).order < warm.order
        assert after.row == {"valid_loss": 2.0, "valid_accuracy": 0.2, "collapsed": 0.0}


def test_loss_is_that_of_two_whole_passes() -> None:
    """Sharing the convolutions changes nothing: dropout acts after them."""
    model = network().train()
    train_set, _, targets = toy_parts()
    learner = SelfLearner(model, train_set, targets, 2, SelfLearningOptions(**CHEAP), 0)
    mixed, noisy = torch.randn(4, BANDS, WINDOW), torch.randn(3, BANDS, WINDOW)
    torch.manual_seed(3)
    shared = learner(mixed, noisy)
    torch.manual_seed(3)
    apart = [model(mixed), model(noisy), model(noisy)]
    for found, expected in zip(shared, apart, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(shared[1], shared[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0; expected more than 0"),
        ({"threshold": 1.0}, "threshold is 1.0; expected less than 1"),
        ({"kl_weight": -0.1}, "kl_weight is -0.1; expected 0 or more"),
        ({"warm_up": 5}, "warm_up is 5, epochs 5 and patience 5; expected fewer epochs"),
        ({"segments_per_epoch": 0}, "segments_per_epoch is 0; expected more than 0"),
    ],
)
def test_options_out_of_range(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        SelfLearningOptions(**{**CHEAP, **change})


class TestVGG16:
    def test_parameters_are_those_of_the_published_network(self) -> None:
        with torch.device("meta"):
            model = VGG16(1000)
        colours = 2 * 64 * 9
        assert sum(p.numel() for p in model.parameters()) + colours == 138_357_544

    def test_equals_the_plain_order_of_layers(self) -> None:
        model = network(dropout=0.0).eval()
        x = torch.randn(3, BANDS, 40)
        plain = model.standardise(x).unsqueeze(1)
        for layer in model.convolutions:
            if isinstance(layer, nn.Conv2d):
                plain = torch.relu(layer(plain))
            elif isinstance(layer, nn.MaxPool2d):
                plain = layer(plain)
        plain = nn.functional.adaptive_avg_pool2d(plain, 7).flatten(1)
        torch.testing.assert_close(model(x), model.classifier(plain), rtol=1e-4, atol=1e-5)

    def test_silence(self) -> None:
        model = network()
        model.fit_scale([np.full((BANDS, 50), -100.0, dtype=np.float16)] * 2)
        with torch.inference_mode():
            values = model.eval()(torch.full((2, BANDS, WINDOW), -100.0))
        assert torch.isfinite(values).all()
        assert float(model.standardise.std.min()) == 1.0

    def test_too_few_bands(self) -> None:
        message = r"n_mels is 16, width 1\.0 and grid 7; expected at least 32"
        with pytest.raises(ParameterError, match=message):
            VGG16(2, n_mels=16)
