"""The pre-norm transformer block that image and text encoders share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


def attend(query: Tensor, key: Tensor, value: Tensor, *, causal: bool = False) -> Tensor:
    """Softmax attention of [B, M, heads, d] over [B, N, heads, d], heads joined: [B, M, heads * d]."""
    query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and not causal:
        # torch's own kernel for this case is several times slower backwards than matrix products.
        weights = (query * query.shape[-1] ** -0.5 @ key.mT).softmax(dim=-1)
        mixed = weights.to(value.dtype) @ value
    else:
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    return mixed.transpose(1, 2).flatten(2)


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
        self.drop_path = drop_path
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, causal=causal)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width, width, activation)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, width] -> [B, N, width]."""
        x = x + self._dropped(self.attention(self.attention_norm(x)))
        return x + self._dropped(self.mlp(self.mlp_norm(x)))

    def _dropped(self, branch: Tensor) -> Tensor:
        """The branch, zero for the samples that skip it, the others scaled up to keep the mean."""
        if not self.training or self.drop_path == 0.0:
            return branch
        keep = 1.0 - self.drop_path
        kept = torch.rand(branch.shape[0], 1, 1, device=branch.device) < keep
        return branch * (kept / keep).to(branch.dtype)
