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
from torch import Tensor
from torch.nn import functional as F

from files.dense_modes import DENSE_MODES
from files.dense_towers import default_mode, dense_tower, modes_of
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


def through(block: Any, tokens: Tensor, grid: tuple[int, int], weights: Weights, whole_block: bool) -> Tensor:
    """A block of two heads of 8 on one picture's tokens [N, 16], its attention the formula's."""
    layer, custom = block.attn, hasattr(block, "ln_attn")
    projected = F.linear(block.ln_1(tokens), layer.in_proj_weight, layer.in_proj_bias)
    q, k, v = (part.unflatten(1, (2, 8)).transpose(0, 1) for part in projected.split(16, dim=1))
    if custom:
        q, k = layer.ln_q(q), layer.ln_k(k)
    got = attended([part.numpy() for part in (q, k, v)], grid, weights)
    if custom:
        got = got.reshape(-1, 2, 8) * layer.head_scale.reshape(1, 2, 1).numpy()
        got = layer.ln_inner(torch.from_numpy(got.reshape(-1, 16))).numpy()
    out: Tensor = layer.out_proj(torch.from_numpy(got))
    if not whole_block:
        return out
    out = tokens + (block.ln_attn(out) * block.ls_1.gamma if custom else out)
    return out + block.mlp(block.ln_2(out)) * (block.ls_2.gamma if custom else 1)


@pytest.mark.parametrize("pooling", [*POOLINGS, CUSTOM], ids=["token", "mean", "mean before norm", "custom block"])
@pytest.mark.parametrize("mode", [*FORMULAS, "key-key:2", "maskclip:3", "naclip:2"])
@torch.no_grad()
def test_cells_of_a_vit_are_those_of_the_formula(mode: str, pooling: dict[str, Any]) -> None:
    tower = random_tower(VisionTransformer(**{**VIT, "image_size": 24}, **pooling))
    images = pixels(24, 16)
    cells, grid, whole = dense_tower(tower, "tiny", mode=mode)[0](images)
    assert (grid, cells.shape, mode.partition(":")[0] in modes_of(tower)) == ((3, 2), (2, 6, 12), True)

    weights, whole_block = FORMULAS[mode.partition(":")[0]]
    count = int(mode.partition(":")[2] or 1)
    x = tower.conv1(images).flatten(2).mT
    x = torch.cat([tower.class_embedding.expand(2, 1, -1), x], dim=1)
    places = tower.positional_embedding[1:].T.reshape(1, 16, 3, 3)
    places = F.interpolate(places, (3, 2), mode="bicubic").reshape(16, 6).T
    x = tower.ln_pre(x + torch.cat([tower.positional_embedding[:1], places]))
    blocks = list(tower.transformer.resblocks)
    for block in blocks[:-count]:
        x = block(x)
    for picture in range(2):
        tokens = x[picture]
        for block in blocks[-count:]:
            tokens = through(block, tokens, grid, weights, whole_block or block is not blocks[-1])
        expected = tower.ln_post(tokens[1:]) @ tower.proj
        torch.testing.assert_close(cells[picture], expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(whole, dense_tower(tower, "tiny")[0](images)[2], rtol=1e-9, atol=1e-9)


def test_modes_of_several_blocks_are_offered_and_said_so() -> None:
    tower = VisionTransformer(**{**VIT, "layers": 12}).eval()
    assert {"key-key:2", "key-key:3", "key-key:6", "key-key:8", "naclip:6"} <= set(modes_of(tower))
    assert not {"key-key:1", "key-key:4", "clip:2"} & set(modes_of(tower))
    assert dense_tower(tower, "tiny", mode="key-key:6")[1] == (
        "key-key attention in the last 6 blocks, with residuals and MLPs"
    )
    assert "values of the last block without its query-key attention" in dense_tower(tower, "tiny", mode="value")[1]
    assert modes_of(VisionTransformer(**{**VIT, "layers": 1})) == tuple(DENSE_MODES)
    assert default_mode(tower) == "naclip"
    assert default_mode(VisionTransformer(**{**VIT, "layers": 12}, pool_type="avg")) == "key-key:6"
    assert default_mode(VisionTransformer(**{**VIT, "layers": 1}, pool_type="avg")) == "key-key:1"


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
    for wrong in ("key-key:0", "key-key:", "key-key:-1", "key-key:two", "key-key:99999", "key-key:２"):
        with pytest.raises(MisuseError, match=f"dense mode {wrong}: behind the colon stands how many"):
            dense_tower(vit, "tiny", mode=wrong)
    with pytest.raises(MisuseError, match=r"tiny: dense mode key-key:4: .*image tower: 3; give no more"):
        dense_tower(vit, "tiny", mode="key-key:4")
    with pytest.raises(MisuseError, match=r"tiny: dense mode naclip:2: .*image tower: 1; give"):
        dense_tower(ModifiedResNet([1, 1, 1, 1], 10, 4, 64, 8).eval(), "tiny", mode="naclip:2")
