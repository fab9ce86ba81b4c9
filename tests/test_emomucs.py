"""EmoMucs and its source models: sizes, shapes, and that the fast first block changes no number."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mer.errors import ParameterError
from mer.models.emomucs import (
    C1D,
    C2D,
    EmoMucs,
    FirstBlock,
    FusionHead,
    InputsKeptHead,
    Level,
    SourceModel,
    c2d_pools,
    parameter_count,
    patch_moments,
    start_at,
)
from mer.papers.deberardinis2020.systems import SourceNetwork

Model = type[C1D] | type[C2D]
FRAMES = 938
SHORT = 60


def plain_block(block: FirstBlock) -> nn.Sequential:
    """The same block out of torch's own layers."""
    conv, norm = block.convolution, block.norm
    plain = nn.Sequential(
        nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1),
        nn.BatchNorm2d(norm.num_features),
        nn.ELU(),
        nn.MaxPool2d(block.pool),
    )
    plain[0].load_state_dict(conv.state_dict())
    plain[1].load_state_dict(norm.state_dict())
    return plain


def plain_c2d(model: C2D, pools: list[tuple[int, int]]) -> nn.Sequential:
    """C2D in the order of the paper: convolution, norm, ELU, pooling, dropout."""
    plain = [plain_block(model.first)]
    for block, pool in zip(model.blocks, pools[1:], strict=True):
        _, conv, norm, *_ = block.children()
        plain.append(nn.Sequential(conv, norm, nn.ELU(), nn.MaxPool2d(pool)))
    return nn.Sequential(*plain, nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.output)


class TestSizes:
    def test_frames_of_the_published_excerpts(self) -> None:
        assert SourceNetwork().n_frames == FRAMES

    @pytest.mark.parametrize(("n_frames", "same"), [(930, False), (931, True), (946, True)])
    def test_c1d_needs_the_published_number_of_frames(self, n_frames: int, same: bool) -> None:
        assert (parameter_count(C1D(n_frames=n_frames)) == 86354) is same

    def test_unified(self) -> None:
        assert parameter_count(C2D(n_frames=FRAMES, n_inputs=4)) == 37698 + 3 * 32 * 9
        assert parameter_count(C1D(n_frames=FRAMES, n_inputs=4)) == 86354 + 3 * 96 * 32 * 8

    @pytest.mark.parametrize(
        ("model", "fusion", "joined"),
        [
            *((C1D, "early", 896), (C1D, "mid", 64), (C1D, "late", 2)),
            *((C2D, "early", 32), (C2D, "late", 2)),
        ],
    )
    def test_fusion(self, model: Model, fusion: Level, joined: int) -> None:
        models = [model(n_frames=FRAMES) for _ in range(4)]
        network = EmoMucs(models, fusion)
        head = 4 * joined * 32 + 32 + 2 * 32 + 2
        assert parameter_count(network) == 4 * parameter_count(models[0]) + head

    def test_pooling_leaves_one_band_and_some_frames(self) -> None:
        assert c2d_pools(FRAMES) == [(2, 3), (3, 3), (2, 3), (2, 3), (4, 3)]
        assert c2d_pools(1360) == [(2, 4), (3, 4), (2, 5), (2, 4), (4, 4)]
        assert c2d_pools(100) == [(2, 1), (3, 1), (2, 1), (2, 1), (4, 1)]

    def test_what_there_is_not(self) -> None:
        with pytest.raises(ParameterError, match="C2D has no mid features; it has: early, late"):
            EmoMucs([C2D(n_frames=SHORT)], "mid")
        with pytest.raises(ParameterError, match="C1D needs at least 51"):
            C1D(n_frames=50)
        C1D(n_frames=51)


@pytest.fixture
def block() -> FirstBlock:
    torch.manual_seed(0)
    block = FirstBlock(2, 8, (2, 3))
    nn.init.normal_(block.norm.weight)  # of either sign
    nn.init.normal_(block.norm.bias)
    return block


class TestFirstBlock:
    """Against torch's own layers, in float32."""

    @pytest.mark.parametrize("shape", [(4, 2, 12, 31), (3, 2, 13, 9)])
    @pytest.mark.parametrize("training", [True, False])
    def test_gives_the_same(
        self, block: FirstBlock, shape: tuple[int, ...], training: bool
    ) -> None:
        x = torch.randn(shape) * 2 + 0.5
        block.norm.running_mean = torch.randn(8)
        block.train(training)
        plain = plain_block(block).train(training)
        found, expected = block(x), plain(x)
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=1e-5)
        gradient = torch.randn_like(found)
        found.backward(gradient)
        expected.backward(gradient)
        self.check_gradients(block, plain, training)
        torch.testing.assert_close(block.norm.running_mean, plain[1].running_mean)
        torch.testing.assert_close(block.norm.running_var, plain[1].running_var)

    def check_gradients(self, block: FirstBlock, plain: nn.Sequential, training: bool) -> None:
        found = dict(block.convolution.named_parameters("0"))
        found |= dict(block.norm.named_parameters("1"))
        for name, expected in plain.named_parameters():
            own = found[name].grad
            if training and name == "0.bias":  # the batch norm takes the bias out
                assert own is None
                torch.testing.assert_close(
                    expected.grad, torch.zeros_like(expected), atol=1e-4, rtol=0
                )
            else:
                torch.testing.assert_close(own, expected.grad, atol=2e-4, rtol=1e-4)

    def test_moments_may_be_given(self, block: FirstBlock) -> None:
        x = torch.randn(4, 2, 12, 31)
        torch.testing.assert_close(block(x, patch_moments(x)), block(x))

    def test_moments_are_those_of_padded_patches(self) -> None:
        x = torch.randn(2, 1, 5, 4)
        patches = nn.functional.unfold(x, 3, padding=1)
        moments = patch_moments(x)
        torch.testing.assert_close(moments[:, 0, 1:], patches.mean(dim=2))
        second = torch.einsum("bip,bjp->bij", patches, patches) / 20
        torch.testing.assert_close(moments[:, 1:, 1:], second)

    def test_ties_count_once(self, block: FirstBlock) -> None:
        """In silence all places of a pooling cell are equal."""
        x = torch.full((2, 2, 8, 9), -1.5)
        plain = plain_block(block.eval()).eval()
        block(x).sum().backward()
        plain(x).sum().backward()
        torch.testing.assert_close(block.convolution.weight.grad, plain[0].weight.grad)


def losses_of_steps(
    network: nn.Module, x: Tensor, y: Tensor, *, steps: int = 4, rate: float = 1e-3
) -> list[float]:
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        loss = nn.functional.mse_loss(network(x), y)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return losses


class TestNetworks:
    def test_c2d_trains_as_the_plain_network_does(self) -> None:
        torch.manual_seed(1)
        model = C2D(n_frames=SHORT)
        plain = plain_c2d(model, c2d_pools(SHORT))
        state = {name: value.clone() for name, value in model.state_dict().items()}
        x, y = torch.randn(6, 1, 96, SHORT), torch.randn(6, 2)
        expected = losses_of_steps(plain, x, y)
        model.load_state_dict(state)
        assert losses_of_steps(model, x, y) == pytest.approx(expected, rel=1e-3)

    @pytest.mark.parametrize("model", [C1D, C2D])
    def test_scale_is_that_of_the_training_clips(self, model: Model) -> None:
        network: SourceModel = model(n_frames=SHORT)
        log_mels = torch.randn(5, 1, 96, SHORT) * torch.arange(1, 97)[:, None] - 40
        network.fit_scale(log_mels.half())
        x = network.standardise(log_mels.half()).float()
        torch.testing.assert_close(x.mean(dim=(0, 3)), torch.zeros(1, 96), atol=2e-3, rtol=0)
        deviation = x[:, :, 4:].square().mean(dim=(0, 3)).sqrt()
        torch.testing.assert_close(deviation, torch.ones(1, 92), atol=5e-3, rtol=0)

    def test_silence_stays_small(self) -> None:
        network = C1D(n_frames=SHORT)
        silent = torch.full((3, 1, 96, SHORT), -100.0)
        network.fit_scale(silent)
        assert network.standardise(silent).abs().max() == 0

    @pytest.mark.parametrize(("model", "fusion"), [(C1D, "early"), (C1D, "mid"), (C2D, "late")])
    def test_fusion_joins_the_features_of_each_source(self, model: Model, fusion: Level) -> None:
        network = EmoMucs([model(n_frames=SHORT) for _ in range(3)], fusion).eval()
        x = torch.randn(2, 3, 96, SHORT)
        moments = network.input_moments(x)
        features = [m(x[:, k : k + 1], level=fusion) for k, m in enumerate(network.sources)]
        torch.testing.assert_close(network(x, moments), network.head(torch.cat(features, dim=1)))

    def test_dropout_of_the_inputs_can_be_left_out(self) -> None:
        torch.manual_seed(0)
        x = torch.randn(1, 2).expand(400, 2)
        for head, n_inputs_seen in ((FusionHead, 4), (InputsKeptHead, 1)):
            layers = head(2).train().layers
            assert len(torch.unique(layers[0](x), dim=0)) == n_inputs_seen
            assert len(torch.unique(layers(x), dim=0)) > 4
            assert parameter_count(layers) == 3 * 32 + 33 * 2

    def test_starts_at_an_answer(self) -> None:
        for network in (C2D(n_frames=SHORT), EmoMucs([C1D(n_frames=SHORT)], "mid")):
            start_at(network.last_layers, torch.tensor([0.2, -0.1]))
            answers = network(torch.randn(3, 1, 96, SHORT))
            torch.testing.assert_close(answers, torch.tensor([[0.2, -0.1]]).expand(3, 2))

    @pytest.mark.parametrize("model", [C1D, C2D])
    def test_overfits_eight_clips(self, model: Model) -> None:
        torch.manual_seed(0)
        network = model(n_frames=SHORT, dropout=0.0)
        x, y = torch.randn(8, 1, 96, SHORT), torch.rand(8, 2) - 0.5
        assert losses_of_steps(network, x, y, steps=60, rate=5e-3)[-1] < 0.01
