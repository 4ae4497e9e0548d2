"""How the cells of a picture are read from the last attention of a CLIP's image tower, nothing trained: by name.

CLIP's last attention asks for the picture as a whole, and so blurs what is where. Each mode puts another attention in
its place, which looks for likeness among the cells themselves, over all tokens (the class token is one of them), heads
apart, d the width of a head:

    maskclip      every token sees itself alone, and keeps its value (Zhou et al., ECCV 2022)
    query-query   softmax(q q' / sqrt d) v; key-key, value-value: the same of keys, of values
    sclip         (softmax(q q' / sqrt d) + softmax(k k' / sqrt d)) v (Wang et al., ECCV 2024)
    clearclip     query-query, of which the block's residual and MLP are left out (Lan et al., ECCV 2024)
    naclip        softmax(k k' / sqrt d + w) v without residual and MLP, w of two cells exp(-|distance|^2 / (2 * 5^2))
                  (Hajimiri et al., WACV 2025)
    procrustes    softmax(q (k R)' / sqrt d) v without residual and MLP; q and k centred, R the rotation that brings k
                  nearest to q (the alignment of PEARL, Pei et al., CVPR 2026; its propagation is left out)

MODE:N has the attention in the last N blocks, one after the other: what the blocks before the last have blurred is not
there to begin with. (CLIP Surgery and GEM do so beside the tower's own path.) All but the last keep residual and MLP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from files.errors import MisuseError
from files.registry import Registry

# Queries, keys, values of tokens [B, heads, N, d], the cells' grid (h, w) -> [B, heads, N, d]. The cells come last.
HeadAttention = Callable[[Tensor, Tensor, Tensor, tuple[int, int]], Tensor]
NEIGHBOURHOOD = 5.0  # standard deviation of NACLIP's, in cells
MOST_BLOCKS = 1000  # that a number may ask for; more is a slip of the pen


@dataclass(frozen=True)
class DenseMode:
    """A way to read cells.

    attention: in place of the last one, in words; {} is where. whole_block: with the block's residual and MLP. source:
    whose it is.
    """

    words: str
    attention: HeadAttention
    whole_block: bool = False
    source: str = ""

    @property
    def help(self) -> str:
        """What the cells of a ViT are."""
        return self.said(1)

    def said(self, blocks: int) -> str:
        """What they are where so many blocks, the last ones, have the attention."""
        words = self.words.format("the last block" if blocks == 1 else f"the last {blocks} blocks")
        rest = "with its residual and MLP" if self.whole_block else "without its residual and MLP"
        if blocks > 1:
            rest = "with residuals and MLPs" if self.whole_block else "the last of them without residual and MLP"
        return f"{words}, {rest}{f' ({self.source})' if self.source else ''}"


DENSE_MODES: Registry[DenseMode] = Registry("dense mode")


def own_value(query: Tensor, key: Tensor, value: Tensor, grid: tuple[int, int]) -> Tensor:
    """Every token sees itself alone."""
    return value


def query_key(query: Tensor, key: Tensor, value: Tensor, grid: tuple[int, int]) -> Tensor:
    """As the tower was trained."""
    return F.scaled_dot_product_attention(query, key, value)


def query_query(query: Tensor, key: Tensor, value: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens see those that ask alike."""
    return F.scaled_dot_product_attention(query, query, value)


def key_key(query: Tensor, key: Tensor, value: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens see those that answer alike."""
    return F.scaled_dot_product_attention(key, key, value)


def value_value(query: Tensor, key: Tensor, value: Tensor, grid: tuple[int, int]) -> Tensor:
    """Tokens see those that say alike."""
    return F.scaled_dot_product_attention(value, value, value)


def correlative(query: Tensor, key: Tensor, value: Tensor, grid: tuple[int, int]) -> Tensor:
    """SCLIP's correlative self-attention, whose weights sum to 2."""
    return query_query(query, key, value, grid) + key_key(query, key, value, grid)


def neighbourly(query: Tensor, key: Tensor, value: Tensor, grid: tuple[int, int]) -> Tensor:
    """NACLIP's: alike by keys, and near; the tokens before the cells are near to none."""
    rows, columns = (torch.arange(side, device=key.device, dtype=key.dtype) for side in grid)
    places = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).flatten(0, 1)
    squares = (places[:, None] - places[None]).square().sum(dim=2)
    others = key.shape[2] - len(places)
    near = F.pad((-squares / (2 * NEIGHBOURHOOD**2)).exp(), (others, 0, others, 0))
    return F.scaled_dot_product_attention(key, key, value, attn_mask=near)


def rotated(query: Tensor, key: Tensor, value: Tensor, grid: tuple[int, int]) -> Tensor:
    """PEARL's: keys of a head and picture rotated towards its queries, both centred: R = U V' of k' q = U S V'."""
    query, key = (part - part.mean(dim=2, keepdim=True) for part in (query, key))
    left, _, right = torch.linalg.svd((key.mT @ query).to(torch.promote_types(key.dtype, torch.float32)))
    return F.scaled_dot_product_attention(query, key @ (left @ right).to(key.dtype), value)


_OWN = "values of {} without its query-key attention"
for _name, _mode in {
    "maskclip": DenseMode(_OWN, own_value, True, "MaskCLIP"),
    "value": DenseMode(_OWN, own_value, False, "MaskCLIP's variant"),
    "query-query": DenseMode("query-query attention in {}", query_query, True),
    "key-key": DenseMode("key-key attention in {}", key_key, True),
    "value-value": DenseMode("value-value attention in {}", value_value, True),
    "sclip": DenseMode("query-query and key-key attention in {}", correlative, True, "SCLIP"),
    "clearclip": DenseMode("query-query attention in {}", query_query, False, "ClearCLIP"),
    "naclip": DenseMode("key-key attention, more to near cells, in {}", neighbourly, False, "NACLIP"),
    "procrustes": DenseMode("query-key attention, keys rotated, in {}", rotated, False, "PEARL's first step"),
    "clip": DenseMode("query-key attention in {}, as it was trained", query_key, True),
}.items():
    DENSE_MODES.add(_name, _mode)


def read_mode(said: str) -> tuple[DenseMode, int]:
    """A mode as it is asked for, NAME or NAME:BLOCKS -> the mode, and how many blocks have it.

    Raises MisuseError for a name that nobody has, or a number that is none.
    """
    name, mark, number = said.partition(":")
    mode = DENSE_MODES[name]
    if mark and not (number.isascii() and number.isdigit() and 0 < int(number) <= MOST_BLOCKS):
        raise MisuseError(f"dense mode {said}: behind the colon stands how many of the last blocks have it, 1 or more")
    return mode, int(number) if mark else 1


def through_blocks(blocks: Sequence[Any], x: Tensor, grid: tuple[int, int], mode: DenseMode) -> Tensor:
    """Tokens [B, N, width] through the last blocks of a tower, of which only the last may do without residual."""
    for block in blocks[:-1]:
        x = through_block(block, x, grid, replace(mode, whole_block=True))
    return through_block(blocks[-1], x, grid, mode)


def through_block(block: Any, x: Tensor, grid: tuple[int, int], mode: DenseMode) -> Tensor:
    """Tokens [B, N, width] through a block of open_clip's transformer, its attention the mode's."""
    attended = _attended(block.attn, block.ln_1(x), grid, mode.attention)
    if not mode.whole_block:
        return attended
    x = x + block.ls_1(getattr(block, "ln_attn", torch.nn.Identity())(attended))
    return x + block.ls_2(block.mlp(block.ln_2(x)))


def _attended(layer: Any, x: Tensor, grid: tuple[int, int], attention: HeadAttention) -> Tensor:
    """torch's MultiheadAttention or open_clip's Attention, which has norms of its own."""
    parts = F.linear(x, layer.in_proj_weight, layer.in_proj_bias).chunk(3, dim=-1)
    query, key, value = (part.unflatten(2, (layer.num_heads, -1)).transpose(1, 2) for part in parts)
    if isinstance(layer, torch.nn.MultiheadAttention):
        return layer.out_proj(attention(query, key, value, grid).transpose(1, 2).flatten(2))
    found = attention(layer.ln_q(query), layer.ln_k(key), value, grid)
    if layer.head_scale is not None:
        found = found * layer.head_scale
    return layer.out_proj(layer.ln_inner(found.transpose(1, 2).flatten(2)))
