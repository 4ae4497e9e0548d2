"""Inner products of queries and vectors coded by bytes, in whole numbers: exact sums, at several times the speed.

A code c of 8 bits stands for first + c · step in its dimension, so that

    query · vector = query · first + Σ (query · step) c

A query times the steps is told by two bytes in each dimension, c by one, and processors multiply and add bytes four
times as fast as floats (VNNI, which PyTorch knows how to use).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

MIDDLE = 128  # of the codes: they are signed from here
LARGEST = 127
LEAST = 1e-30  # that is divided by: of queries that are all zeros


@cache
def byte_products() -> bool:
    """Whether this processor multiplies bytes so, and PyTorch gives their sums exactly."""
    import torch

    known = hasattr(torch, "_int_mm") and torch.backends.mkldnn.is_available()  # without that it goes number by number
    if not (known and getattr(torch.cpu, "_is_vnni_supported", bool)()):
        return False
    extremes = torch.tensor([-LARGEST - 1, LARGEST, -1, 1], dtype=torch.int8).repeat(32, 64)
    extremes[::3] = -LARGEST - 1
    expected = extremes.long() @ extremes.long().T
    return torch.equal(torch._int_mm(extremes, extremes.T).long(), expected)


@contextmanager
def one_thread_each() -> Iterator[Callable[[], None]]:
    """What a thread that multiplies calls first, so that PyTorch has none below it; all others keep theirs."""
    import torch

    before = torch.get_num_threads()
    try:
        yield partial(torch.set_num_threads, 1)
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class ByteQueries:
    """Queries as bytes. parts: high and low of each, int8 [Q, 2, D]; high · base + low, times scale [Q], is the query
    times the steps, to which offset [Q] comes."""

    parts: np.ndarray
    base: int
    scale: np.ndarray
    offset: np.ndarray

    def products(self, which: np.ndarray, codes: np.ndarray, added: np.ndarray) -> np.ndarray:
        """Of some queries [m] with vectors, by their codes uint8 [n, D], and added [m] to each: float32 [m, n]."""
        import torch

        chosen = torch.from_numpy(self.parts[which].reshape(-1, codes.shape[1]))
        vectors = torch.from_numpy((codes ^ np.uint8(MIDDLE)).view(np.int8))
        high, low = torch._int_mm(chosen, vectors.T).view(len(which), 2, len(codes)).unbind(1)
        scale, added = self.scale[which], self.offset[which] + added
        found = low.add_(high, alpha=self.base).float()
        return torch.addcmul(torch.from_numpy(added)[:, None], found, torch.from_numpy(scale)[:, None]).numpy()


def byte_queries(queries: np.ndarray, step: np.ndarray, first: np.ndarray) -> ByteQueries:
    """Queries float32 [Q, D] for codes that stand for first + c · step, both [D]."""
    base = _base(queries.shape[1])
    stepped = queries * step
    scale = np.maximum(np.abs(stepped).max(1), LEAST) / (LARGEST * base)
    whole = np.rint(stepped / scale[:, None]).astype(np.int32)
    high = (whole + base // 2) // base
    parts = np.stack([high, whole - high * base], 1).astype(np.int8)
    offset = np.einsum("qd,d->q", queries, first + MIDDLE * step)  # no BLAS: it may have threads of its own
    return ByteQueries(parts, base, scale.astype(np.float32), offset.astype(np.float32))


def _base(dim: int) -> int:
    """The largest power of two by which the high bytes may count, so that no sum of 32 bits overflows."""
    base = 256
    while (LARGEST * base + base // 2) * MIDDLE * dim >= 2**31:
        base //= 2
    return base
