"""The most similar rows of each query, of all that were added so far."""

from __future__ import annotations

from typing import Any

import numpy as np


class BestRows:
    """The k best of each of Q queries. similarity: float32 [Q, k], -inf for none; rows: int64 [Q, k], -1 for none."""

    def __init__(self, queries: int, k: int) -> None:
        import faiss

        self.similarity = np.full((queries, k), -np.inf, np.float32)
        self.rows = np.full((queries, k), -1, np.int64)
        self._heaps = faiss.float_minheap_array_t()
        self._heaps.nh, self._heaps.k = queries, k
        self._heaps.val, self._heaps.ids = faiss.swig_ptr(self.similarity), faiss.swig_ptr(self.rows)
        self._heaps.heapify()

    def add(self, similarity: np.ndarray, first: int) -> None:
        """Of all queries with n rows from the first on, float32 [Q, n]."""
        import faiss

        values = np.ascontiguousarray(similarity, np.float32)
        self._heaps.addn(values.shape[1], faiss.swig_ptr(values), first, 0, len(values))  # type: ignore[call-arg]

    def add_to(self, which: np.ndarray, similarity: np.ndarray, rows: Any) -> None:
        """Of some queries, int64 [m], with n rows, float32 [m, n]; rows: FAISS's pointer to their n numbers."""
        import faiss

        chosen, values = faiss.swig_ptr(which), faiss.swig_ptr(similarity)
        self._heaps.addn_query_subset_with_ids(len(which), chosen, similarity.shape[1], values, rows, 0)

    def ordered(self) -> tuple[np.ndarray, np.ndarray]:
        """Similarity and rows, best first; nothing can be added after it."""
        self._heaps.reorder()
        return self.similarity, self.rows
