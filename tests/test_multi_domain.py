"""The networks of Zhu et al.: sizes, attention against torch's own, padding, learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import random_fields
from torch import Tensor, nn

from mer.features.note_events import FIRST, SIZES, START
from mer.models.layers import CrossDomainAttention, Standardise
from mer.models.multi_domain import AcousticEncoder, MultiDomain
from mer.models.symbolic_encoder import SymbolicEncoder

BINS, WIDTH = 16, 16


def some_features(batch: int, frames: int, n_bins: int = BINS, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(batch, n_bins, frames)).astype(np.float32))


def some_events(batch: int, n: int, seed: int = 0) -> Tensor:
    events = torch.from_numpy(random_fields(SIZES, FIRST, batch, n, seed))
    events[:, :, 0] = START
    return events


def small_encoder() -> SymbolicEncoder:
    return SymbolicEncoder(width=WIDTH, layers=1, heads=2, feedforward=16, dropout=0.0)


def small_network(n_classes: int = 4, **changes: Any) -> MultiDomain:
    torch.manual_seed(0)
    settings = {"heads": 2, "dropout": 0.0, "arousal": True, "valence": True, **changes}
    network = MultiDomain(AcousticEncoder(BINS, WIDTH), small_encoder(), n_classes, **settings)
    return network.eval()


class TestStandardise:
    def test_mean_and_deviation_of_all_frames(self) -> None:
        rng = np.random.default_rng(0)
        items = [rng.normal([[-50.0], [1000.0]], [[9.0], [200.0]], (2, n)) for n in (30, 70, 200)]
        standardise = Standardise(2)
        standardise.fit(item.astype(np.float16) for item in items)
        joined = np.concatenate([item.astype(np.float16) for item in items], axis=1).astype(float)
        found = standardise(torch.from_numpy(joined)[None])[0].numpy()
        np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-4)
        np.testing.assert_allclose(found.std(axis=1), 1, atol=1e-4)

    def test_constant_row_stays_finite(self) -> None:
        standardise = Standardise(1)
        standardise.fit([np.full((1, 9), -1131.4, dtype=np.float16)])
        assert standardise(torch.full((1, 1, 9), -1131.0)).abs().max() < 1


class TestAcousticEncoder:
    @pytest.mark.parametrize(("frames", "steps"), [(8, 1), (15, 1), (16, 2), (100, 12)])
    def test_shape(self, frames: int, steps: int) -> None:
        encoder = AcousticEncoder(22, WIDTH)
        assert encoder(some_features(3, frames, 22)).shape == (3, steps, WIDTH)

    def test_against_the_blocks_as_the_table_lists_them(self) -> None:
        torch.manual_seed(0)
        encoder = AcousticEncoder(BINS, WIDTH).eval()
        encoder.standardise.fit([some_features(1, 50)[0].numpy() * 3 + 1])
        features = some_features(2, 24)
        with torch.inference_mode():
            x = ((features - encoder.standardise.mean) / encoder.standardise.std)[:, None]
            layers = list(encoder.blocks)
            for block in range(3):
                convolution, norm = layers[4 * block : 4 * block + 2]
                assert isinstance(convolution, nn.Conv2d)
                turned = convolution.weight.transpose(2, 3)  # the encoder's image is transposed
                x = nn.functional.conv2d(x, turned, convolution.bias, padding=1)
                x = nn.functional.max_pool2d(torch.relu(norm(x)), 2)
            expected = encoder.projection(x.permute(0, 3, 2, 1).reshape(2, 3, -1))
            torch.testing.assert_close(encoder(features), expected, rtol=1e-4, atol=1e-4)

    def test_works_in_bfloat16_and_channels_last(self) -> None:
        torch.manual_seed(0)
        encoder = AcousticEncoder(BINS, WIDTH).eval()
        assert encoder.blocks[4].weight.is_contiguous(memory_format=torch.channels_last)
        features = some_features(2, 16)
        with torch.inference_mode():
            exact = encoder(features)
            with torch.autocast("cpu", torch.bfloat16):
                rough = encoder(features).float()
        torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.03)


@pytest.mark.parametrize("masked", [False, True])
def test_cross_domain_attention_against_torch(masked: bool) -> None:
    torch.manual_seed(1)
    asking, asked = torch.randn(2, 5, WIDTH), torch.randn(2, 9, WIDTH)
    real = torch.arange(9) < torch.tensor([[9], [4]])
    attention = CrossDomainAttention(WIDTH, 4)

    def by_head(x: Tensor) -> Tensor:
        return torch.stack(x.chunk(4, dim=2), dim=1)

    expected = nn.functional.scaled_dot_product_attention(
        by_head(attention.query(asking)),
        by_head(attention.key(asked)),
        by_head(attention.value(asked)),
        attn_mask=real[:, None, None, :] if masked else None,
    )
    joined = torch.cat(list(expected.unbind(dim=1)), dim=2)
    found = attention(asking, asked, real if masked else None)
    torch.testing.assert_close(found, attention.output(joined))


class TestNetworks:
    def test_heads_depend_on_their_own_branch_alone(self) -> None:
        network = small_network()
        base = network(some_features(2, 16), some_events(2, 6))
        other_notes = network(some_features(2, 16), some_events(2, 6, seed=1))
        other_sound = network(some_features(2, 16, seed=1), some_events(2, 6))
        torch.testing.assert_close(other_notes["A"], base["A"])
        torch.testing.assert_close(other_sound["V"], base["V"])
        for changed, name in ((other_notes, "V"), (other_sound, "A")):
            assert not torch.allclose(changed[name], base[name])
            assert not torch.allclose(changed["label"], base["label"])
