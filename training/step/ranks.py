"""Tensors of all ranks on every rank, with gradients that DDP's mean makes the true ones.

Without a process group, and with one rank, nothing is exchanged.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this rank; 0 without a process group."""
    return dist.get_rank() if world_size() > 1 else 0


def gather(x: Tensor) -> Tensor:
    """[b, ...] of every rank, equal shapes -> [ranks * b, ...] in the order of ranks, without gradient."""
    if world_size() == 1:
        return x
    x = x.detach().contiguous()
    whole = x.new_empty((world_size() * len(x), *x.shape[1:]))
    dist.all_gather_into_tensor(whole, x)
    return whole


def gather_for_rows(x: Tensor) -> Tensor:
    """`gather` for what each rank uses in another way, such as all texts beside its own images.

    Backward: the gradients that all ranks have for this rank's part are summed.
    """
    return _GatherForRows.apply(x) if world_size() > 1 else x


def stacked(x: Tensor) -> Tensor:
    """[...] of every rank -> [ranks, ...], for what all go on to use in the same way, such as a sum for a loss.

    All ranks then have the same gradient, so their sum is known without asking them.
    """
    return _Stacked.apply(x) if world_size() > 1 else x[None]


class _GatherForRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return gather(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        own = gradient.new_empty((len(gradient) // world_size(), *gradient.shape[1:]))
        dist.reduce_scatter_tensor(own, gradient)
        return own


class _Stacked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return gather(x[None])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient[rank()] * world_size()
