"""The pre-norm transformer block that image and text encoders share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.noise import uniform

Activation = Callable[[Tensor], Tensor]


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's approximation of GELU, x * sigmoid(1.702 x); by way of silu, which keeps one tensor less for backward."""
    return F.silu(1.702 * x) / 1.702


class Attention(nn.Module):
    """Multi-head self-attention, [B, N, width] -> [B, N, width]; causal: a token sees none behind itself."""

    def __init__(self, width: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Every token of x over every token of x."""
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return self.out(attend(query, key, value, causal=self.causal))

    def at(self, x: Tensor, place: Tensor) -> Tensor:
        """What causal attention gives at one token of each row: x [B, N, width], place [B] -> [B, width]."""
        weight, bias, width = self.qkv.weight, self.qkv.bias, x.shape[-1]
        token = x[torch.arange(len(x), device=x.device), place]
        query = F.linear(token, weight[:width], bias[:width]).unflatten(-1, (1, self.heads, -1))
        key, value = F.linear(x, weight[width:], bias[width:]).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        seen = torch.arange(x.shape[1], device=x.device) <= place[:, None]
        return self.out(attend(query, key, value, seen=seen[:, None, None]).squeeze(1))


def attend(query: Tensor, key: Tensor, value: Tensor, *, causal: bool = False, seen: Tensor | None = None) -> Tensor:
    """Softmax attention of [B, M, heads, d] over [B, N, heads, d], heads joined: [B, M, heads * d].

    seen: bool [B, 1, M or 1, N], false where a query does not see a key.
    """
    query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        mixed = _by_products(query, key, value, causal, seen)
    else:
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen, is_causal=causal)
    return mixed.transpose(1, 2).flatten(2)


def _by_products(query: Tensor, key: Tensor, value: Tensor, causal: bool, seen: Tensor | None) -> Tensor:
    """Attention as matrix products: in bfloat16 on the CPU, several times faster backwards than torch's own kernel."""
    weights = query * query.shape[-1] ** -0.5 @ key.mT
    if causal:
        seen = torch.ones(weights.shape[-2:], dtype=torch.bool, device=weights.device).tril()
    if seen is not None:
        weights = weights.masked_fill(~seen, -torch.inf)
    return weights.softmax(dim=-1).to(value.dtype) @ value


class MLP(nn.Module):
    """Two linear layers with an activation between them, over the last axis."""

    def __init__(self, inputs: int, hidden: int, outputs: int, activation: Activation = F.gelu) -> None:
        super().__init__()
        self.activation = activation
        self.up = nn.Linear(inputs, hidden)
        self.down = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        return self.down(self.activation(self.up(x)))


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)), hidden width four times the width.

    drop_path: stochastic depth, the probability that a sample skips a branch in training.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        causal: bool = False,
        activation: Activation = F.gelu,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.drop_path, self.draws = drop_path, 0
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal=causal)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width, width, activation)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, width] -> [B, N, width]."""
        x = x + self._dropped(self.attention(self.attention_norm(x)), 0)
        return x + self._dropped(self.mlp(self.mlp_norm(x)), 1)

    def at(self, x: Tensor, place: Tensor) -> Tensor:
        """What a causal block gives at one token of each row, at less cost: [B, N, width], [B] -> [B, width]."""
        token = x[torch.arange(len(x), device=x.device), place]
        token = token + self._dropped(self.attention.at(self.attention_norm(x), place), 0)
        return token + self._dropped(self.mlp(self.mlp_norm(token)), 1)

    def _dropped(self, branch: Tensor, which: int) -> Tensor:
        """The branch, zero for the samples that skip it, the others scaled up to keep the mean."""
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        kept = uniform((len(branch), *[1] * (branch.ndim - 1)), self.draws + which, branch.device) < keep
        return branch * (kept / keep).to(branch.dtype)
