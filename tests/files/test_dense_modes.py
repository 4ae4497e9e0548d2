"""Every dense mode against its formula, written out token by token and head by head."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch.nn import functional as F

from files.dense_modes import DENSE_MODES
from files.dense_towers import dense_tower, modes_of
from files.errors import MisuseError
from tests.files.test_dense_towers import VIT, pixels, random_tower

Array = NDArray[np.float64]
# Where a token looks, of one head and one picture: queries, keys, values [N, d], the cells' grid -> weights [N, N].
Weights = Callable[[Array, Array, Array, tuple[int, int]], Array]

POOLINGS = [{}, {"pool_type": "avg"}, {"pool_type": "avg", "final_ln_after_pool": True}]
CUSTOM = {"block_type": "custom", "qk_norm": True, "scale_heads": True, "scale_attn": True, "ls_init_value": 0.7}
CUSTOM |= {"scale_attn_inner": True, "scale_fc": True}


def soft(asks: Array, answers: Array, more: Callable[[int, int], float] = lambda i, j: 0.0) -> Array:
    """Softmax of a . b / sqrt(d) + more, one pair of tokens after another."""
    weights = np.zeros((len(asks), len(answers)))
    for i in range(len(asks)):
        for j in range(len(answers)):
            product = sum(float(a) * float(b) for a, b in zip(asks[i], answers[j], strict=True))
            weights[i, j] = math.exp(product / math.sqrt(asks.shape[1]) + more(i, j))
        weights[i] /= weights[i].sum()
    return weights


def near(tokens: int, grid: tuple[int, int]) -> Callable[[int, int], float]:
    """What NACLIP adds for two tokens."""
    first = tokens - grid[0] * grid[1]

    def more(i: int, j: int) -> float:
        if i < first or j < first:
            return 0.0
        (top, left), (row, column) = divmod(i - first, grid[1]), divmod(j - first, grid[1])
        return math.exp(-((top - row) ** 2 + (left - column) ** 2) / (2 * 5.0**2))

    return more


def rotated(q: Array, k: Array, v: Array, grid: tuple[int, int]) -> Array:
    """By the polar factor of k' q, from its Gram matrix; of few tokens it is one in the space that they span."""
    q, k = q - q.mean(0), k - k.mean(0)
    product = k.T @ q
    values, vectors = np.linalg.eigh(product.T @ product)
    values, vectors = values[values > 1e-10 * values[-1]], vectors[:, values > 1e-10 * values[-1]]
    turned = k @ (product @ (vectors / np.sqrt(values)) @ vectors.T)
    np.testing.assert_allclose(turned @ turned.T, k @ k.T, atol=1e-5)
    return soft(q, turned)


# The weights, and whether the block's residual and MLP stay.
FORMULAS: dict[str, tuple[Weights, bool]] = {
    "maskclip": (lambda q, k, v, grid: np.eye(len(q)), True),
    "value": (lambda q, k, v, grid: np.eye(len(q)), False),
    "query-query": (lambda q, k, v, grid: soft(q, q), True),
    "key-key": (lambda q, k, v, grid: soft(k, k), True),
    "value-value": (lambda q, k, v, grid: soft(v, v), True),
    "sclip": (lambda q, k, v, grid: soft(q, q) + soft(k, k), True),
    "clearclip": (lambda q, k, v, grid: soft(q, q), False),
    "naclip": (lambda q, k, v, grid: soft(k, k, near(len(k), grid)), False),
    "procrustes": (rotated, False),
    "clip": (lambda q, k, v, grid: soft(q, k), True),
}


def test_every_mode_has_its_formula_here() -> None:
    assert sorted(FORMULAS) == sorted(DENSE_MODES)


def attended(parts: list[Array], grid: tuple[int, int], weights: Weights) -> Array:
    """Queries, keys, values of heads [heads, N, d] -> what each token gets, heads joined [N, heads * d]."""
    heads = [weights(*of_head, grid) @ of_head[2] for of_head in zip(*parts, strict=True)]
    return np.concatenate(heads, axis=1)


@pytest.mark.parametrize("pooling", [*POOLINGS, CUSTOM], ids=["token", "mean", "mean before norm", "custom block"])
@pytest.mark.parametrize("mode", FORMULAS)
@torch.no_grad()
def test_cells_of_a_vit_are_those_of_the_formula(mode: str, pooling: dict[str, Any]) -> None:
    tower = random_tower(VisionTransformer(**{**VIT, "image_size": 24}, **pooling))
    found, how, _ = dense_tower(tower, "tiny", mode=mode)
    images = pixels(24, 16)
    cells, grid, whole = found(images)
    assert (grid, cells.shape, mode in modes_of(tower)) == ((3, 2), (2, 6, 12), True)
    assert how == DENSE_MODES[mode].help

    weights, whole_block = FORMULAS[mode]
    x = tower.conv1(images).flatten(2).mT
    x = torch.cat([tower.class_embedding.expand(2, 1, -1), x], dim=1)
    places = tower.positional_embedding[1:].T.reshape(1, 16, 3, 3)
    places = F.interpolate(places, (3, 2), mode="bicubic").reshape(16, 6).T
    x = tower.ln_pre(x + torch.cat([tower.positional_embedding[:1], places]))
    *blocks, last = tower.transformer.resblocks
    for block in blocks:
        x = block(x)
    layer, custom = last.attn, "block_type" in pooling
    for picture in range(2):
        tokens = x[picture]
        projected = F.linear(last.ln_1(tokens), layer.in_proj_weight, layer.in_proj_bias)
        q, k, v = (part.reshape(7, 2, 8).transpose(0, 1) for part in projected.split(16, dim=1))
        if custom:
            q, k = layer.ln_q(q), layer.ln_k(k)
        got = attended([part.numpy() for part in (q, k, v)], grid, weights)
        if custom:
            got = got.reshape(7, 2, 8) * layer.head_scale.reshape(1, 2, 1).numpy()
            got = layer.ln_inner(torch.from_numpy(got.reshape(7, 16))).numpy()
        out = layer.out_proj(torch.from_numpy(got))
        if whole_block:
            if custom:
                out = last.ln_attn(out) * last.ls_1.gamma
            out = tokens + out
            out = out + last.mlp(last.ln_2(out)) * (last.ls_2.gamma if custom else 1)
        expected = tower.ln_post(out[1:]) @ tower.proj
        torch.testing.assert_close(cells[picture], expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(whole, dense_tower(tower, "tiny")[0](images)[2], rtol=0, atol=0)


@pytest.mark.parametrize("mode", FORMULAS)
@torch.no_grad()
def test_cells_of_a_resnet_are_those_of_the_formula_in_its_pooling(mode: str) -> None:
    tower = random_tower(ModifiedResNet([1, 1, 1, 1], output_dim=10, heads=4, image_size=64, width=8))
    cells, grid, _ = dense_tower(tower, "tiny", mode=mode)[0](pixels(96, 64))
    x = tower.stem(pixels(96, 64))
    tokens = tower.layer4(tower.layer3(tower.layer2(tower.layer1(x)))).flatten(2).mT
    pool, weights = tower.attnpool, FORMULAS[mode][0]
    for picture in range(2):
        parts = [
            project(tokens[picture]).reshape(6, 4, -1).transpose(0, 1).numpy()
            for project in (pool.q_proj, pool.k_proj, pool.v_proj)
        ]
        expected = pool.c_proj(torch.from_numpy(attended(parts, grid, weights)))
        torch.testing.assert_close(cells[picture], expected, rtol=1e-6, atol=1e-6)
    assert {"maskclip", "query-query", "naclip"} <= set(modes_of(tower)), "those that its pooling tells apart"
    assert not {"value", "clearclip"} & set(modes_of(tower))


def test_a_mode_that_nobody_has_or_that_the_tower_cannot_have_is_refused() -> None:
    vit = VisionTransformer(**VIT).eval()
    with pytest.raises(MisuseError, match=r"dense mode clearclp: expected one of maskclip, .*did you mean clearclip\?"):
        dense_tower(vit, "tiny", mode="clearclp")
    network = TimmModel("test_efficientnet", 10, image_size=64, pool="avg", proj="linear").eval()
    assert modes_of(network) == ("maskclip",)
    with pytest.raises(MisuseError, match=r"tiny: dense mode naclip: .*EfficientNet of timm.* give maskclip"):
        dense_tower(network, "tiny", mode="naclip")
