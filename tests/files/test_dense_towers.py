"""Dense features of every kind of image tower, against attention written out and against the towers themselves."""

from typing import Any

import pytest
import torch
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from files.dense_towers import dense_tower
from files.errors import MisuseError

Sizes = dict[str, Any]
VIT: Sizes = {
    **{"image_size": 32, "patch_size": 8, "width": 16, "layers": 3, "heads": 2, "mlp_ratio": 4.0, "output_dim": 12},
}
EXACT: Sizes = {"rtol": 1e-9, "atol": 1e-9}


def random_tower(tower: nn.Module, seed: int = 0) -> Any:
    """With weights at random, biases and norms too, in float64."""
    torch.manual_seed(seed)
    for name, value in [*tower.named_parameters(), *tower.named_buffers()]:
        if value.is_floating_point():
            with torch.no_grad():
                if "running_var" in name:
                    value.uniform_(0.5, 2)
                else:
                    value.normal_(std=value[0].numel() ** -0.5 if value.ndim > 1 else 0.3)
                    value.add_(1.0 if value.ndim == 1 and name.endswith("weight") else 0.0)
    return tower.double().eval()


def pixels(*sides: int) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, 3, *sides, dtype=torch.float64)


@pytest.mark.parametrize("pooling", [{}, {"pool_type": "avg"}, {"pool_type": "avg", "final_ln_after_pool": True}])
@torch.no_grad()
def test_cells_of_a_vit_are_values_of_its_last_block(pooling: Sizes) -> None:
    tower = random_tower(VisionTransformer(**VIT, **pooling))
    features, how, multiple = dense_tower(tower, "tiny")
    assert ("MaskCLIP" in how, multiple) == (True, 8)
    cells, grid, whole = features(pixels(32, 32))
    assert grid == (4, 4)

    x = tower._embeds(pixels(32, 32))
    *blocks, last = tower.transformer.resblocks
    for block in blocks:
        x = block(x)
    width = x.shape[-1]
    weight, bias = last.attn.in_proj_weight[2 * width :], last.attn.in_proj_bias[2 * width :]
    x = x + last.attn.out_proj(F.linear(last.ln_1(x), weight, bias))
    x = x + last.mlp(last.ln_2(x))
    torch.testing.assert_close(cells, tower.ln_post(x[:, 1:]) @ tower.proj, **EXACT)
    torch.testing.assert_close(whole, tower(pixels(32, 32)), **EXACT)


@torch.no_grad()
def test_a_vit_sees_other_sizes_with_stretched_positions() -> None:
    tower = random_tower(VisionTransformer(**VIT))
    features, *_ = dense_tower(tower, "tiny")
    cells, grid, whole = features(pixels(48, 24))
    assert (grid, cells.shape, whole.shape) == ((6, 3), (2, 18, 12), (2, 12))
    larger = random_tower(VisionTransformer(**{**VIT, "image_size": 48}), seed=9)
    state = tower.state_dict()
    places = state["positional_embedding"][1:].T.reshape(1, 16, 4, 4)
    stretched = F.interpolate(places, (6, 6), mode="bicubic").reshape(16, 36).T
    state["positional_embedding"] = torch.cat([state["positional_embedding"][:1], stretched])
    larger.load_state_dict(state)
    torch.testing.assert_close(features(pixels(48, 48))[2], larger(pixels(48, 48)), **EXACT)
    torch.testing.assert_close(features(pixels(48, 48))[0], dense_tower(larger, "large")[0](pixels(48, 48))[0], **EXACT)


@torch.no_grad()
def test_cells_of_a_resnet_are_values_of_its_attention_pooling() -> None:
    tower = random_tower(ModifiedResNet([1, 1, 1, 1], output_dim=10, heads=4, image_size=64, width=8))
    features, how, multiple = dense_tower(tower, "tiny")
    assert ("attention pooling" in how, multiple) == (True, 32)
    cells, grid, whole = features(pixels(64, 64))
    torch.testing.assert_close(whole, tower(pixels(64, 64)), **EXACT)
    x = pixels(64, 64)
    for stage in (tower.stem, tower.layer1, tower.layer2, tower.layer3, tower.layer4):
        x = stage(x)
    assert grid == tuple(x.shape[2:]) == (2, 2)
    # Attention of a token to itself alone, by the function that the pooling calls.
    pool, token = tower.attnpool, x[1, :, 0, 1][None, None]
    alone, _ = F.multi_head_attention_forward(
        *(token, token, token, token.shape[-1], pool.num_heads),
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        **{"bias_k": None, "bias_v": None, "add_zero_attn": False, "dropout_p": 0.0, "training": False},
        out_proj_weight=pool.c_proj.weight,
        out_proj_bias=pool.c_proj.bias,
        use_separate_proj_weight=True,
        **{"q_proj_weight": pool.q_proj.weight, "k_proj_weight": pool.k_proj.weight},
        v_proj_weight=pool.v_proj.weight,
    )
    torch.testing.assert_close(cells[1, 1], alone[0, 0], **EXACT)
    assert features(pixels(96, 64))[1] == (3, 2)


@torch.no_grad()
def test_cells_of_a_convolutional_tower_average_to_its_vector() -> None:
    tower = random_tower(TimmModel("test_efficientnet", 10, image_size=64, pool="avg", proj="linear", proj_bias=True))
    features, how, multiple = dense_tower(tower, "tiny")
    assert ("feature map before pooling" in how, multiple) == (True, 32)
    for sides in ((64, 64), (96, 160)):
        cells, grid, whole = features(pixels(*sides))
        assert grid == (sides[0] // 32, sides[1] // 32)
        torch.testing.assert_close(whole, tower(pixels(*sides)), **EXACT)
        torch.testing.assert_close(cells.mean(dim=1), whole, **EXACT)
        assert cells.std(dim=1).min() > 1e-3


@torch.no_grad()
def test_cells_of_a_tower_with_a_map_head_are_values_of_that_head() -> None:
    size = {"embed_dim": 64, "image_size": 160, "pool": "map", "proj": "none"}
    tower = random_tower(TimmModel("test_vit3", **size))
    features, how, _ = dense_tower(tower, "tiny")
    assert "attention pooling for each token, at 160 pixels" in how
    cells, grid, whole = features(pixels(160, 160))
    assert (grid, cells.shape[1]) == ((10, 10), 100)
    torch.testing.assert_close(whole, tower(pixels(160, 160)), **EXACT)
    trunk, tokens = tower.trunk, tower.trunk.forward_features(pixels(160, 160))
    pool = trunk.attn_pool
    value = pool.proj(pool.kv(tokens)[..., tokens.shape[-1] :])
    expected = trunk.head(trunk.fc_norm(value + pool.mlp(pool.norm(value))))
    torch.testing.assert_close(cells, expected[:, -100:], **EXACT)
    assert features(pixels(80, 320))[1] == (10, 10), "it knows one size only"


def test_towers_without_dense_features_are_refused() -> None:
    coca = VisionTransformer(**VIT, attentional_pool=True, attn_pooler_queries=4, attn_pooler_heads=2)
    with pytest.raises(MisuseError, match=r"coca: an image tower of this kind \(VisionTransformer.* has no dense"):
        dense_tower(coca.eval(), "coca")
    token = TimmModel("test_vit", 10, image_size=160, pool="token", proj="linear").eval()
    with pytest.raises(MisuseError, match="VisionTransformer of timm, pooling 'token'"):
        dense_tower(token, "token")
