"""What an image tower of open_clip says of each cell of a picture: MaskCLIP (Zhou et al., ECCV 2022) and its likes.

CLIP's image vector is pooled by an attention that asks for the picture as a whole. What it pools are values that lie
in the space of texts already, so each cell's own value tells what is in the cell. By the kind of image tower:

    ViT       The last block, where a token attends to itself alone: value and output projection in place of
              attention, with the block's residual and MLP, as in MaskCLIP's code (not the variant without them).
              Or another of the modes in files/dense_modes.py.
    ResNet    Value and output projection of the attention pooling, for every cell, without position embeddings.
              Or the attention of another mode, among the cells; residual and MLP there are none.
    timm      What the tower does after its feature map (pooling, norm, projection), for every cell by itself. For a
              convolutional network with a linear projection, the mean over cells is the image vector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from files.dense_modes import DENSE_MODES, DenseMode, own_value, read_mode, through_blocks
from files.errors import MisuseError

# Normalised pixels [B, 3, H, W] -> vectors of cells [B, h * w, D], grid (h, w), vectors of pictures [B, D]; not unit.
Tower = Callable[[Tensor], tuple[Tensor, tuple[int, int], Tensor]]
# Queries [B, M, heads, d], keys and values [B, N, heads, d] -> [B, M, heads * d].
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
MASKCLIP = "maskclip"  # the mode that every tower has
_DEEPER = (MASKCLIP, "key-key", "value-value", "sclip", "naclip")  # those that are tried in several blocks


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention, heads joined, by torch's own kernel."""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)


def dense_tower(visual: Any, name: str, attention: Attention = attend, mode: str = MASKCLIP) -> tuple[Tower, str, int]:
    """An image tower -> its dense features, what they are in words, what divides the sides of its pictures.

    name: what an error calls it. attention: of the pooling, where that is one of queries and keys. mode: one of
    DENSE_MODES, MODE or MODE:BLOCKS. Raises MisuseError for a tower that has none, or not in this mode.
    """
    chosen, blocks = read_mode(mode)
    kind = type(visual).__name__
    if blocks > (depth := len(visual.transformer.resblocks) if _is_vit(visual) else 1):
        raise MisuseError(f"{name}: dense mode {mode}: blocks with attention in its image tower: {depth}; give no more")
    if _is_vit(visual):
        return lambda pixels: _vit(visual, pixels, chosen, blocks), chosen.said(blocks), visual.patch_size[0]
    if kind == "ModifiedResNet":
        what = "values" if chosen.attention is own_value else f"{mode}'s attention among the cells"
        how = f"{what} of the attention pooling (MaskCLIP)"
        return lambda pixels: _resnet(visual, pixels, attention, chosen), how, 32
    if kind == "TimmModel" and mode != MASKCLIP:
        raise MisuseError(
            f"{name}: dense mode {mode}: asks for queries, keys and values of cells, which this image tower "
            f"({_described(visual)}) does not show; leave the mode out, or give {MASKCLIP}"
        )
    if kind == "TimmModel":
        trunk = visual.trunk
        side = visual.image_size[0]
        parameter = next(trunk.parameters())
        with torch.inference_mode():
            features = trunk.forward_features(parameter.new_zeros(1, 3, *visual.image_size))
        if features.ndim == 4 and getattr(trunk, "output_fmt", "NCHW") == "NCHW":
            how = "the feature map before pooling, each cell through head and projection"
            return lambda pixels: _timm_map(visual, pixels), how, max(1, side // features.shape[2])
        if features.ndim == 3 and getattr(trunk, "global_pool", "") == "map":
            how = f"values of the attention pooling for each token, at {side} pixels"
            return lambda pixels: _timm_tokens(visual, pixels), how, 1
    raise MisuseError(
        f"{name}: an image tower of this kind ({_described(visual)}) has no dense features here; give a ViT "
        "with pooling by class token or mean, a ResNet, or a tower of timm that is convolutional or has a MAP head"
    )


def modes_of(visual: Any) -> tuple[str, ...]:
    """The dense modes of an image tower, none twice that are one to it; of a ViT in a share of its blocks, too."""
    if _is_vit(visual):
        depth = len(visual.transformer.resblocks)
        shares = sorted(n for n in {2, depth // 4, depth // 2, depth * 2 // 3} if 1 < n <= depth)
        deeper = [f"{name}:{count}" for name in _DEEPER for count in shares]
        return (*DENSE_MODES, *deeper)
    if type(visual).__name__ == "ModifiedResNet":
        first = {mode.attention: name for name, mode in reversed(list(DENSE_MODES.items()))}
        return tuple(name for name in DENSE_MODES if name in first.values())
    return (MASKCLIP,)


def default_mode(visual: Any) -> str:
    """The mode in which an image tower is read where none is asked for: by its kind, as measured (docs/evaluation.md).

    A class token lets the residual forget where its cell is; a mean over cells does not.
    """
    if not _is_vit(visual):
        return MASKCLIP
    return "naclip" if visual.pool_type == "tok" else f"key-key:{max(1, len(visual.transformer.resblocks) // 2)}"


def _is_vit(visual: Any) -> bool:
    """Whether it is open_clip's own, pooled by class token or mean."""
    is_one = type(visual).__name__ == "VisionTransformer"
    return is_one and visual.attn_pool is None and visual.pool_type in ("tok", "avg")


def _vit(tower: Any, pixels: Tensor, mode: DenseMode, count: int) -> tuple[Tensor, tuple[int, int], Tensor]:
    """open_clip's VisionTransformer at any size that its patch divides."""
    patches = tower.conv1(pixels)
    grid = (patches.shape[2], patches.shape[3])
    first = tower.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
    x = torch.cat([first, patches.flatten(2).mT], dim=1)
    x = tower.ln_pre(x + _stretched(tower.positional_embedding, tower.grid_size, grid).to(x.dtype))
    blocks = list(tower.transformer.resblocks)
    for block in blocks[:-count]:
        x = block(x)
    if mode is DENSE_MODES[MASKCLIP] and count == 1:
        # To see itself alone is to keep one's own value: no softmax is left to weigh. By torch's own block, to the bit.
        alone = torch.full((x.shape[1], x.shape[1]), -torch.inf, dtype=x.dtype, device=x.device).fill_diagonal_(0)
        tokens = blocks[-1](x, attn_mask=alone)
    else:
        tokens = through_blocks(blocks[-count:], x, grid, mode)
    cells = tower.ln_post(tokens[:, 1:])
    for block in blocks[-count:]:
        x = block(x)
    whole, _ = tower._pool(x)
    return cells @ tower.proj, grid, whole @ tower.proj


def _resnet(
    tower: Any, pixels: Tensor, attention: Attention, mode: DenseMode
) -> tuple[Tensor, tuple[int, int], Tensor]:
    """open_clip's ModifiedResNet at any size."""
    x = tower.stem(pixels.contiguous(memory_format=torch.channels_last))
    x = tower.layer4(tower.layer3(tower.layer2(tower.layer1(x))))
    grid, pool = (x.shape[2], x.shape[3]), tower.attnpool
    cells = x.flatten(2).mT
    tokens = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1)
    side = round((len(pool.positional_embedding) - 1) ** 0.5)
    tokens = tokens + _stretched(pool.positional_embedding, (side, side), grid).to(tokens.dtype)
    query, key, value = (
        project(part).unflatten(-1, (pool.num_heads, -1))
        for project, part in ((pool.q_proj, tokens[:, :1]), (pool.k_proj, tokens), (pool.v_proj, tokens))
    )
    whole = pool.c_proj(attention(query, key, value))[:, 0]
    if mode.attention is own_value:
        return pool.c_proj(pool.v_proj(cells)), grid, whole
    query, key, value = (
        project(cells).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
        for project in (pool.q_proj, pool.k_proj, pool.v_proj)
    )
    return pool.c_proj(mode.attention(query, key, value, grid).transpose(1, 2).flatten(2)), grid, whole


def _timm_map(tower: Any, pixels: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
    """A convolutional network of timm at any size."""
    x = tower.trunk.forward_features(pixels.contiguous(memory_format=torch.channels_last))
    grid = (x.shape[2], x.shape[3])
    single = x.flatten(2).mT.flatten(0, 1)[:, :, None, None]
    cells = tower.head(tower.trunk.forward_head(single)).unflatten(0, (len(x), -1))
    return cells, grid, tower.head(tower.trunk.forward_head(x))


def _timm_tokens(tower: Any, pixels: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
    """A ViT of timm, at the size that it was trained with."""
    pixels = F.interpolate(pixels, tuple(tower.image_size), mode="bilinear", align_corners=False, antialias=True)
    x = tower.trunk.forward_features(pixels)
    grid = tuple(tower.trunk.patch_embed.grid_size)
    single = x[:, x.shape[1] - grid[0] * grid[1] :].flatten(0, 1)[:, None]
    cells = tower.head(tower.trunk.forward_head(single)).unflatten(0, (len(x), -1))
    return cells, grid, tower.head(tower.trunk.forward_head(x))


def _stretched(embedding: Tensor, trained: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Position embeddings [1 + h * w, width], the first of no place, stretched bicubically to another grid."""
    if tuple(trained) == grid:
        return embedding
    places = embedding[1:].mT.unflatten(1, tuple(trained))[None]
    stretched = F.interpolate(places, grid, mode="bicubic", align_corners=False)[0].flatten(1).mT
    return torch.cat([embedding[:1], stretched])


def _described(visual: Any) -> str:
    """A tower's class, and what it is made of."""
    if (trunk := getattr(visual, "trunk", None)) is not None:
        return f"{type(trunk).__name__} of timm, pooling {getattr(trunk, 'global_pool', '?')!r}"
    return f"{type(visual).__name__}, pooling {getattr(visual, 'pool_type', '?')!r}"
