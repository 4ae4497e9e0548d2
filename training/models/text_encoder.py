"""The text encoder of CLIP's kind: a causal transformer that is read at the end-of-text token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from files.errors import MisuseError
from training.models.transformer import Block, quick_gelu

# On the CPU: texts that go through the layers together, at least, and their groups, at most.
BUCKET, BUCKETS = 16, 8


@dataclass(frozen=True)
class TextConfig:
    """Sizes of the text encoder; as in GroupViT unless told.

    vocabulary: number of token ids, the highest of which ends a text. context_length: tokens of a text at most.
    uniform_biases: those of the MLPs begin as torch draws them, and not at zero.
    """

    vocabulary: int = 49408
    context_length: int = 77
    width: int = 256
    layers: int = 12
    heads: int = 4
    uniform_biases: bool = False

    def __post_init__(self) -> None:
        if min(self.vocabulary, self.context_length, self.width, self.layers, self.heads) < 1:
            raise MisuseError(f"text encoder: every size must be 1 or more: {self}")
        if self.width % self.heads:
            raise MisuseError(f"text encoder: width {self.width} cannot be divided into {self.heads} heads")


class TextEncoder(nn.Module):
    """Token ids -> one feature for each text."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary, config.width)
        self.position_embedding = nn.Parameter(torch.empty(config.context_length, config.width))
        self.blocks = nn.Sequential(
            *(Block(config.width, config.heads, causal=True, activation=quick_gelu) for _ in range(config.layers))
        )
        self.norm = nn.LayerNorm(config.width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """CLIP's initialisation: branches that add to the residual start smaller the deeper the transformer is."""
        width, layers = self.config.width, self.config.layers
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding, std=0.01)
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.normal_(block.attention.qkv.weight, std=width**-0.5)
            nn.init.normal_(block.mlp.up.weight, std=(2 * width) ** -0.5)
            for branch_end in (block.attention.out, block.mlp.down):
                nn.init.normal_(branch_end.weight, std=(2 * width * layers) ** -0.5)
            for layer in (block.attention.qkv, block.attention.out, block.mlp.up, block.mlp.down):
                nn.init.zeros_(layer.bias)
            for layer in (block.mlp.up, block.mlp.down) if self.config.uniform_biases else ():
                nn.init.uniform_(layer.bias, -(layer.in_features**-0.5), layer.in_features**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Token ids [T, L], L <= context_length -> features at the end of text, [T, width].

        On the CPU no time goes into padding: texts of about equal length go through the layers
        together. Elsewhere, and in a compiled model, the tokens are taken as they come: there the
        caller cuts them with `trim_padding`, before they go to the device.
        """
        if tokens.shape[1] > self.config.context_length:
            raise ValueError(f"texts of {tokens.shape[1]} tokens in a context of {self.config.context_length}")
        if torch.compiler.is_compiling() or tokens.device.type != "cpu" or len(tokens) == 0:
            return self._read(self._embed(tokens), tokens.argmax(dim=-1))
        order = tokens.argmax(dim=-1).argsort(stable=True)
        tokens = trim_padding(tokens[order])
        ends = tokens.argmax(dim=-1)
        size = max(BUCKET, -(-len(tokens) // BUCKETS))
        buckets = zip(self._embed(tokens).split(size), ends.split(size), strict=True)
        features = torch.cat([self._read(x[:, : int(end[-1]) + 1], end) for x, end in buckets])
        return features[order.argsort()]

    def _embed(self, tokens: Tensor) -> Tensor:
        """Token ids [T, L] -> what the first layer gets, [T, L, width]."""
        return self.token_embedding(tokens) + self.position_embedding[: tokens.shape[1]]

    def _read(self, x: Tensor, end: Tensor) -> Tensor:
        """Embedded tokens [T, L, width] through the layers -> the features at `end`, [T, width]."""
        *blocks, last = cast("list[Block]", list(self.blocks))
        for block in blocks:
            x = block(x)
        return self.norm(last.at(x, end))


def trim_padding(tokens: Tensor, multiple: int = 1) -> Tensor:
    """Cut token ids [T, L] behind the end of the longest text; changes no feature, since attention is causal.

    multiple: keep a length divisible by it (or the whole L), so that a compiled model sees few lengths.
    Waits for the device if the tokens are not on the CPU.
    """
    if len(tokens) == 0:
        return tokens
    longest = int(tokens.argmax(dim=-1).max()) + 1
    return tokens[:, : -(-longest // multiple) * multiple]
