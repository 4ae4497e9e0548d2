"""A block of queries against inverted lists of half floats or bytes, list by list: each is read once, for all.

FAISS takes one query after the other and goes through its lists anew each time, vector by vector. Where many queries
of a block probe a list, a product of matrices does the same in a fraction of the time:

    similarity = query · centre of the list + query · what is left of the vector

The vectors found are the same; sums are rounded in another order. Each unit of queries is one thread's, and how many
there are does not depend on the threads, so that neither does what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.index.best_rows import BestRows
from curation.index.byte_products import byte_products, byte_queries, one_thread_each

# Queries that one thread takes through the lists, at most; those of them that probe a list, on average: enough, and the
# fewest that are worth it.
UNIT = 4096
ENOUGH = 64
WORTH_IT = 16
# Bits of a half float, and of a single one into which it is shifted: all but those between sign and exponent.
_EXPONENT, _KEPT = 0x7C00, np.array(0x8FFFE000, np.uint32).view(np.int32)
_SCALE = np.float32(2.0**112)  # between the exponents of the two, whose biases are 15 and 127


def worth_it(queries: int, nprobe: int, lists: int) -> bool:
    """Whether so many queries are enough, of which each probes so many of the lists."""
    return lists > 0 and queries * nprobe >= WORTH_IT * lists * _units(queries, nprobe, lists)


@dataclass(frozen=True)
class ScalarLists:
    """index: FAISS's own, an `IndexIVFScalarQuantizer` of half floats or of 8 bits, on the processor.

    lists: those with vectors, by number: the n vectors' codes [n, D], bits int16 of half floats or uint8, and where
    FAISS has their n rows. steps: of codes of 8 bits, what a step and the first code are in each dimension, [2, D].
    """

    index: Any
    lists: dict[int, tuple[np.ndarray, Any]]
    steps: np.ndarray | None = None

    def search(self, queries: np.ndarray, k: int, nprobe: int, threads: int) -> tuple[np.ndarray, np.ndarray]:
        """The k most similar rows of the lists nearest to each query float32 [Q, D], as FAISS gives them: [Q, k]."""
        parts = np.array_split(queries, _units(len(queries), nprobe, self.index.nlist))
        with (
            one_thread_each() if self._by_bytes else nullcontext() as first,
            ThreadPoolExecutor(min(threads, len(parts)), initializer=first) as pool,
        ):
            found = list(pool.map(lambda part: self._search_unit(part, k, nprobe), parts))
        similarity, rows = (np.concatenate(side) for side in zip(*found, strict=True))
        return similarity, rows

    @property
    def _by_bytes(self) -> bool:
        return self.steps is not None and byte_products()

    def _search_unit(self, queries: np.ndarray, k: int, nprobe: int) -> tuple[np.ndarray, np.ndarray]:
        import faiss

        faiss.omp_set_num_threads(1)  # of this thread
        best = BestRows(len(queries), k)
        products = self._products(queries)
        for number, of_list, nearness in self._probes(queries, nprobe):
            codes, ids = self.lists[number]
            found = products(of_list, codes, nearness if self.index.by_residual else np.zeros_like(nearness))
            best.add_to(of_list, found, ids)
        return best.ordered()

    def _products(self, queries: np.ndarray) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
        """What gives the products of some queries [m] and the n vectors of codes, and added [m]: float32 [m, n]."""
        import faiss

        if self.steps is not None and self._by_bytes:
            return byte_queries(queries, *self.steps).products
        product: Any = faiss.LinearTransform(self.index.d, 1)  # FAISS's BLAS: NumPy's may have threads of its own
        product.is_trained = True

        def products(which: np.ndarray, codes: np.ndarray, added: np.ndarray) -> np.ndarray:
            product.d_out = len(codes)
            product.A.resize(codes.size)
            self._decode(codes, faiss.rev_swig_ptr(product.A.data(), codes.size).reshape(codes.shape))
            asking, found = queries[which], np.empty((len(which), len(codes)), np.float32)
            product.apply_noalloc(len(asking), faiss.swig_ptr(asking), faiss.swig_ptr(found))
            found += added[:, None]
            return found

        return products

    def _decode(self, codes: np.ndarray, out: np.ndarray) -> None:
        """The vectors of codes [n, D], as FAISS decodes them, into float32 [n, D]."""
        if self.steps is None:
            _widen(codes, out)
            return
        step, first = self.steps
        np.multiply(codes, step, out=out)
        np.add(out, first, out=out)

    def _probes(self, queries: np.ndarray, nprobe: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Each list that is probed: its number, the queries that probe it int64 [m], and how near they are to it."""
        nearness, numbers = self.index.quantizer.search(queries, nprobe)
        by_list = np.argsort(numbers.ravel(), kind="stable")
        owner, nearness = by_list // nprobe, nearness.ravel()[by_list]
        ends = np.cumsum(np.bincount(numbers.ravel() + 1, minlength=self.index.nlist + 1))  # -1 is no list
        for number in self.lists:
            start, stop = ends[number : number + 2].tolist()
            if stop > start:
                yield number, owner[start:stop], nearness[start:stop]


def scalar_lists(index: Any) -> ScalarLists | None:
    """The lists of an index of FAISS in the processor's memory; None of any other kind.

    Raises ValueError where one holds what is no number. Reads them all.
    """
    import faiss

    index = faiss.downcast_index(index)
    kind = index.sq.qtype if isinstance(index, faiss.IndexIVFScalarQuantizer) else -1
    codes_of = {faiss.ScalarQuantizer.QT_fp16: np.int16, faiss.ScalarQuantizer.QT_8bit: np.uint8}.get(kind)
    if codes_of is None or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        return None
    steps = None
    if codes_of is np.uint8:  # a code stands for the middle of its step
        trained = faiss.vector_to_array(index.sq.trained)
        if len(trained) != 2 * index.d:
            raise ValueError("what its codes stand for is of other dimensions")
        least, span = trained.reshape(2, -1)
        steps = np.stack([span / 255, least + span / 510])
        if not np.isfinite(steps).all():
            raise ValueError("a vector in it holds what is no number")
    lists = {}
    for number in range(index.nlist):
        if size := index.invlists.list_size(number):
            codes = faiss.rev_swig_ptr(index.invlists.get_codes(number), size * index.code_size).view(codes_of)
            if steps is None and (codes & _EXPONENT == _EXPONENT).any():
                raise ValueError("a vector in it holds what is no number")
            lists[number] = codes.reshape(size, index.d), index.invlists.get_ids(number)
    return ScalarLists(index, lists, steps)


def _units(queries: int, nprobe: int, lists: int) -> int:
    return max(-(-queries // UNIT), queries * nprobe // (ENOUGH * lists), 1)


def _widen(halves: np.ndarray, out: np.ndarray) -> None:
    """The bits of finite half floats, int16, as float32 of the same shape: exact, in a fraction of NumPy's time."""
    bits = out.view(np.int32)
    bits[:] = halves
    np.left_shift(bits, 13, out=bits)
    np.bitwise_and(bits, _KEPT, out=bits)
    np.multiply(out, _SCALE, out=out)
