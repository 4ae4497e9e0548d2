"""Random numbers that belong to a sample: a function of its seed, of the place that draws and of the element alone.

What a model draws in training (noise of the assignment, branches that are left out) is then the same for a sample in
whichever rank, batch or micro-batch it is, and when its activations are computed a second time. Without seeds the
numbers are torch's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_WORD = (1 << 32) - 1
_SEEDS: Tensor | None = None


@contextmanager
def of_samples(seeds: Tensor | None) -> Iterator[None]:
    """Inside the block numbers for B samples are drawn by these seeds, int64 [B] of 63 bits; others are torch's own.

    Backward passes belong inside, too, where they compute activations again.
    """
    global _SEEDS
    before, _SEEDS = _SEEDS, seeds
    try:
        yield
    finally:
        _SEEDS = before


def number_draws(model: nn.Module) -> None:
    """Tell apart the parts of a model that draw: each gets numbers of its own, `draws`, the same in every process."""
    parts = [part for part in model.modules() if hasattr(part, "draws")]
    for number, part in enumerate(parts):
        part.draws = 2 * number  # type: ignore[assignment]


def uniform(shape: tuple[int, ...], draw: int, device: torch.device) -> Tensor:
    """Uniform between 0 and 1, both left out: float32 of `shape`, whose first axis is the samples.

    draw: number of the part that draws; one that draws twice has the next number, too.
    """
    seeds = _SEEDS
    if seeds is None or len(seeds) != shape[0]:
        return torch.rand(shape, device=device).clamp_min(torch.finfo(torch.float32).tiny)
    elements = torch.arange(math.prod(shape[1:]), device=device)
    low, high = seeds & _WORD, seeds >> 32
    of_sample = _mixed(_mixed(low ^ _mixed(torch.full_like(low, draw + 1))) ^ high)[:, None]
    bits = _mixed(_mixed(of_sample ^ _mixed(elements)) + of_sample & _WORD)
    return (((bits >> 8).float() + 0.5) * 2.0**-24).view(shape)


def _mixed(x: Tensor) -> Tensor:
    """A bijection of words of 32 bits, held in int64, in which every bit depends on every other.

    Of the kind of MurmurHash3's finaliser; the factor is small enough for products of 64 bits.
    """
    for _ in range(2):
        x = ((x >> 16) ^ x) * 0x45D9F3B & _WORD
    return (x >> 16) ^ x
