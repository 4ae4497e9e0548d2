"""FAISS indexes over unit vectors, inner product: their factory, recall and search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from curation.index.best_rows import BestRows
from curation.index.inverted_lists import ADD_ROWS, has_gpu, ivf_of
from curation.index.list_by_list import ScalarLists, scalar_lists, worth_it
from files.errors import CocuError, MisuseError
from files.npy import wide_rows

FLAT_LIMIT = 100_000
# From here on 8 bits, which are searched faster (byte_products.py) and lose a fraction of a percent of the neighbours.
BYTES_LIMIT = 500_000
RECALL_K = 8
RECALL_QUERIES = 1_000
# What rankings retrieve goes deeper, and deeper down the same lists hold less of it: L of 32 to 1,024, and 16 for the
# anchor's own captions. Each depth is searched with settings of its own, tuned by so many queries.
DEPTHS = (48, 80, 144, 272, 528, 1040)
DEEP_QUERIES = 200
_CELLS = 1 << 22  # floats at a time, of what is compared exactly
FEWEST_LISTS = 8  # that are probed, where there are as many
# Two rows whose exact similarities differ by less are a tie (repeated captions): float16 storage tells no finer.
TIE = 2e-4
# Where an index of FAISS keeps the indexes that it is made of.
_INSIDE = ("index", "quantizer", "base_index", "refine_index", "storage")
_COPY = "put back a copy of it, or build its folder anew under another name"


@dataclass(frozen=True)
class SearchSettings:
    """How an index is searched: lists probed (0: not an IVF), and how many times k candidates are re-ranked exactly."""

    nprobe: int = 0
    rerank: int = 1


@dataclass(frozen=True)
class Recall:
    """Share of the k best rows by exact search that the index found too, ties counted as found."""

    value: float
    queries: int
    k: int


def index_bytes(factory: str, rows: int, dim: int) -> int:
    """Approximate memory of an index, bytes: the codes, ids and centroids that its factory string implies."""
    code = float(4 * dim)
    if "SQfp16" in factory:
        code = 2 * dim
    elif "SQ8" in factory:
        code = dim
    elif "PQ" in factory:
        parts, _, bits = factory.rpartition("PQ")[2].partition(",")[0].partition("x")
        code = int(parts) * int(bits.removesuffix("fs") or 8) / 8
    lists = int(factory.removeprefix("IVF").partition(",")[0]) if factory.startswith("IVF") else 0
    return int(rows * (code + (8 if lists else 0)) + lists * 4 * dim)


def auto_factory(rows: int, dim: int, memory: int) -> str:
    """Flat under `FLAT_LIMIT` rows, then IVF with about 4 sqrt(n) lists, coded as exactly as `memory` bytes allow, but
    by no more than 8 bits from `BYTES_LIMIT` rows on.

    Raises MisuseError when even the smallest code does not fit.
    """
    if rows < FLAT_LIMIT and index_bytes("Flat", rows, dim) <= memory:
        return "Flat"
    lists = max(1, min(2 ** round(math.log2(4 * math.sqrt(rows))), rows // 39))
    # fp16 loses nothing: the vectors are stored so. 4-bit codes are scanned in registers, then re-ranked exactly.
    product = [f"PQ{dim // part}x4fs" for part in (2, 4, 8) if dim % part == 0]
    for code in (*(("SQfp16",) if rows < BYTES_LIMIT else ()), "SQ8", *product):
        factory = f"IVF{lists},{code}"
        if index_bytes(factory, rows, dim) <= memory:
            return factory
    raise MisuseError(
        f"--memory: {memory:,} bytes hold no index of {rows:,} vectors of {dim} dimensions "
        f"(the smallest takes {index_bytes(factory, rows, dim):,})"
    )


class NearestRows:
    """A written index, memory-mapped, with the exact vectors beside it for re-ranking.

    deeper: settings by the most neighbours that they are for, ascending; for more, the last; `settings` are for
    `RECALL_K`.
    """

    def __init__(
        self,
        path: Path,
        vectors: np.ndarray,
        settings: SearchSettings,
        gpu: bool = True,
        deeper: Sequence[tuple[int, SearchSettings]] = (),
    ) -> None:
        import faiss

        self.vectors = vectors
        self.path = path
        self.index: Any = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        if not _is_whole(self.index):
            raise ValueError("an index in it is none")
        found = self.index.d, self.index.ntotal, self.index.metric_type, self.index.is_trained
        if found != (vectors.shape[1], len(vectors), faiss.METRIC_INNER_PRODUCT, True):
            raise ValueError(f"it is no index of {len(vectors):,} vectors of {vectors.shape[1]} dimensions")
        ivf = ivf_of(self.index)
        self.lists = 0 if ivf is None else int(ivf.nlist)  # 0: an index without inverted lists
        self.exact = isinstance(self.index, faiss.IndexFlat)
        self._on_gpu = False
        self._threads = faiss.omp_get_max_threads()  # of the thread that opens it: others begin with all cores
        if gpu and has_gpu():
            with suppress(RuntimeError):  # kinds of index that FAISS has for CPUs only
                self.index = faiss.index_cpu_to_all_gpus(self.index)
                self._on_gpu = True
        self.settings = SearchSettings()
        self.configure(settings)
        self._by_depth = ((RECALL_K, settings), *deeper) if deeper else ()

    def configure(self, settings: SearchSettings) -> None:
        """Search with other settings from now on."""
        import faiss

        if settings.nprobe and self.lists:
            if self._on_gpu:
                faiss.GpuParameterSpace().set_index_parameter(self.index, "nprobe", settings.nprobe)
            else:
                ivf_of(self.index).nprobe = settings.nprobe
        self.settings = settings

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k most similar rows of each query [Q, D]: similarities float32 [Q, k], rows int64 [Q, k], best first.

        Where fewer than k rows are found the row is -1 and the similarity -inf.
        """
        import faiss

        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if self._by_depth:
            wanted = next((settings for depth, settings in self._by_depth if k <= depth), self._by_depth[-1][1])
            if wanted != self.settings:
                self.configure(wanted)
        most, nprobe = min(k * self.settings.rerank, max(1, self.index.ntotal)), self.settings.nprobe
        if worth_it(len(queries), nprobe, self.lists) and (lists := self._scalar_lists):
            similarity, rows = lists.search(queries, most, nprobe, self._threads)
        else:
            faiss.omp_set_num_threads(self._threads)
            similarity, rows = self.index.search(queries, most)
        if rows.size and rows.max() >= len(self.vectors):
            raise CocuError(f"{self.path}: broken (it found row {rows.max()} of {len(self.vectors):,}); {_COPY}")
        similarity[rows < 0] = 0.0
        self._check(similarity, self.path)
        similarity[rows < 0] = -np.inf
        if self.settings.rerank > 1:
            similarity, rows = self._rerank(queries, rows, k)
        if rows.shape[1] < k:
            pad = ((0, 0), (0, k - rows.shape[1]))
            rows = np.pad(rows, pad, constant_values=-1)
            similarity = np.pad(similarity, pad, constant_values=-np.inf)
        return similarity[:, :k], rows[:, :k]

    @cached_property
    def _scalar_lists(self) -> ScalarLists | None:
        try:
            return None if self._on_gpu else scalar_lists(self.index)
        except ValueError as error:
            raise CocuError(f"{self.path}: broken ({error}); {_COPY}") from error

    def _check(self, similarity: np.ndarray, source: str | Path) -> None:
        if not np.isfinite(similarity).all():
            raise CocuError(f"{source}: broken (a vector in it holds what is no number); {_COPY}")

    def _rerank(self, queries: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        exact = _similarities(self.vectors, rows, queries)
        self._check(exact, getattr(self.vectors, "filename", self.path))
        exact[rows < 0] = -np.inf
        order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(exact, order, 1), np.take_along_axis(rows, order, 1)


@dataclass(frozen=True)
class ExactRows:
    """The k most similar rows, best first: similarity float32 [Q, k], rows int64 [Q, k]."""

    similarity: np.ndarray
    rows: np.ndarray

    def first(self, k: int) -> ExactRows:
        """The best k of them."""
        return ExactRows(*(np.ascontiguousarray(side[:, :k]) for side in (self.similarity, self.rows)))


def exact_search(vectors: np.ndarray, queries: np.ndarray, k: int) -> ExactRows:
    """The k best rows by brute force over blocks of `vectors`."""
    best = BestRows(len(queries), k)
    step = max(1, min(ADD_ROWS, _CELLS // max(1, len(queries))))
    for start in range(0, len(vectors), step):
        best.add(queries @ wide_rows(vectors, slice(start, start + step)).T, start)
    return ExactRows(*best.ordered())


def _similarities(vectors: np.ndarray, rows: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Of each query float32 [Q, D] with its rows of `vectors` [Q, k], the first in the place of -1: float32 [Q, k]."""
    found = np.empty(rows.shape, np.float32)
    step = max(1, _CELLS // max(1, rows.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), step):
        part = slice(start, start + step)
        near = wide_rows(vectors, np.maximum(rows[part], 0))
        np.einsum("qkd,qd->qk", near, queries[part], out=found[part])
    return found


def recall(index: NearestRows, queries: np.ndarray, exact: ExactRows) -> Recall:
    """recall@k against the exact rows of the same queries. Of other rows it is looked up whether they are a tie."""
    k = exact.rows.shape[1]
    _, rows = index.search(queries, k)
    asking, column = np.nonzero((rows >= 0) & ~_among(rows, exact.rows, len(index.vectors)))
    found = _similarities(index.vectors, rows[asking, column][:, None], queries[asking])[:, 0]
    missed = (found < exact.similarity[asking, -1] - TIE).sum()
    hits = (rows >= 0).sum() - missed
    return Recall(float(hits / max(1, (exact.rows >= 0).sum())), len(queries), k)


def _among(rows: np.ndarray, others: np.ndarray, count: int) -> np.ndarray:
    """Whether each of a query's rows [Q, k], of so many in all, is among its others [Q, m]: bool [Q, k]."""
    query = np.arange(len(rows))[:, None] * count
    return np.isin(query + rows, query + others)


def tune(
    index: NearestRows, queries: np.ndarray, target: float, exact: ExactRows | None = None, least: int = FEWEST_LISTS
) -> tuple[SearchSettings, Recall]:
    """The cheapest settings that reach the target recall on the queries, else the best there are.

    exact: as `exact_search` gives for the number of neighbours in question, `RECALL_K` unless it is given. least: lists
    to begin with; twice as many each time, and where they are enough, so few of these as are about enough.
    """
    if exact is None:
        exact = exact_search(index.vectors, queries, min(RECALL_K, max(1, len(index.vectors))))

    def tried(nprobe: int, rerank: int) -> tuple[SearchSettings, Recall]:
        index.configure(SearchSettings(nprobe, rerank))
        return index.settings, recall(index, queries, exact)

    lists = index.lists
    probes = [least << i for i in range(31) if least << i < lists] + [lists] if lists else [0]
    best: tuple[SearchSettings, Recall] | None = None
    for rerank in (1, 4, 16):
        for nprobe in probes:
            found = tried(nprobe, rerank)
            best = max(best or found, found, key=lambda one: one[1].value)
            if found[1].value >= target:
                best, few = found, nprobe // 2 if nprobe > least else nprobe
                while (enough := best[0].nprobe) - few > enough // 8:
                    found = tried((few + enough) // 2, rerank)
                    if found[1].value >= target:
                        best = found
                    else:
                        few = found[0].nprobe
                index.configure(best[0])
                return best
            if nprobe * 8 > lists and rerank < 16:
                break  # the code loses them, not the lists
    assert best is not None
    index.configure(best[0])
    return best


def tune_deeper(index: NearestRows, queries: np.ndarray, target: float) -> list[tuple[SearchSettings, Recall]]:
    """The same for each of `DEPTHS` that the index has rows for; none for an index that is exact."""
    depths = [k for k in DEPTHS if k <= len(index.vectors)]
    if index.exact or not depths:
        return []
    step = max(1, len(queries) // DEEP_QUERIES)
    chosen = queries[::step][:DEEP_QUERIES]
    exact = exact_search(index.vectors, chosen, depths[-1])
    found, least = [], FEWEST_LISTS
    for k in depths:
        found.append(tune(index, chosen, target, exact.first(k), least))
        least = max(least, found[-1][0].nprobe)
    return found


def _is_whole(index: Any) -> bool:
    """Whether neither it nor an index inside it is the one that FAISS calls null, and ends the process with."""
    import faiss

    if index is None:
        return False
    index = faiss.downcast_index(index)
    inside = [getattr(index, name) for name in _INSIDE if hasattr(index, name)]
    return all(_is_whole(one) for one in inside)
