"""The pairs of a curation as vectors: those that the index holds, or those embedded beside, of pairs from outside."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from curation.explorer.catalogue import Catalogue
from curation.index.opened import Index
from curation.ranking.anchor import Anchors
from curation.ranking.embedded import indexed_anchors
from curation.reasons.as_curated import embedded_anchors
from curation.reasons.made_from import embedded_outside, open_index_of
from curation.runs.parquet_parts import arrow_to_vectors, count_rows, parquet_batches, reading
from files.atomic import atomic
from files.errors import CocuError, MisuseError
from files.npy import load_npy, wide_rows

_BATCH = 8192
_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class PairSpace:
    """The vectors of a curation's pairs, and the index that its concepts come from."""

    catalogue: Catalogue
    index: Index

    @classmethod
    def opened(cls, catalogue: Catalogue, path: Path) -> PairSpace:
        """With the index in `path`. Raises MisuseError where the curation was made from another."""
        space = cls(catalogue, open_index_of(catalogue.folder, path))
        embedded_outside(catalogue.folder)
        return space

    @cached_property
    def inside(self) -> bool:
        """Whether the pairs are those of the index."""
        return self._embedded is None

    @cached_property
    def _embedded(self) -> Path | None:
        return embedded_outside(self.catalogue.folder)

    @cached_property
    def _rows(self) -> np.ndarray:
        """Of each shard of the curation: the index's row of its first pair, int64 [S]."""
        manifest = self.index.manifest
        order = manifest["order"][: manifest["pair_shards"]]
        sizes = [manifest["shards"][name]["pairs"] for name in order]
        first = dict(zip(order, np.cumsum([0, *sizes]).tolist(), strict=False))
        ours = np.diff(self.catalogue.starts)
        for shard, size in zip(self.catalogue.shards, ours.tolist(), strict=True):
            if shard not in first or sizes[order.index(shard)] != size:
                raise CocuError(f"{self.catalogue.folder}: {shard} is not as {self.index.path} has it; curate anew")
        return np.array([first[shard] for shard in self.catalogue.shards], np.int64)

    def row(self, pair: int) -> int:
        """The index's row of a pair; -1 for one from outside."""
        if not self.inside:
            return -1
        shard = int(np.searchsorted(self.catalogue.starts, pair, "right")) - 1
        return int(self._rows[shard] + pair - self.catalogue.starts[shard])

    def anchor(self, pair: int) -> Anchors:
        """A pair as it was curated."""
        if self._embedded is None:
            return indexed_anchors(np.array([self.row(pair)]), self.index)
        shard, row = self.catalogue.place(pair)
        return embedded_anchors(self._embedded / f"{shard}.parquet", [row], self.index)

    def pair(self, row: int) -> int | None:
        """The pair of a row of the index; None of a caption without a picture."""
        found = int(self._pairs_of(np.array([row]))[0])
        return None if found < 0 else found

    def _pairs_of(self, rows: np.ndarray) -> np.ndarray:
        """The pairs of rows of the index, int64 [...]; -1 of captions without pictures, and of no row."""
        if not self.inside:
            return np.full(rows.shape, -1)
        order = np.argsort(self._rows, kind="stable")
        at = order[np.maximum(np.searchsorted(self._rows[order], rows, "right") - 1, 0)]
        pairs = self.catalogue.starts[at] + rows - self._rows[at]
        known = (rows >= 0) & (rows < self.index.rows.images) & (pairs < self.catalogue.starts[at + 1])
        return np.where(known, pairs, -1)

    def vectors(self, pairs: np.ndarray) -> np.ndarray:
        """v(x) of pairs, unit rows float32 [B, D]."""
        if self.inside:
            shard = np.searchsorted(self.catalogue.starts, pairs, "right") - 1
            rows = self._rows[shard] + pairs.astype(np.int64) - self.catalogue.starts[shard]
            return wide_rows(self.index.rows.image_vectors, rows)
        return np.asarray(self._outside[pairs], np.float32)

    def nearest(self, query: np.ndarray, k: int, by: str = "pictures") -> tuple[np.ndarray, list[int]]:
        """The k pairs whose pictures, or captions, are most like a unit vector [D]: similarities, pairs.

        By captions of an index that holds others, too, there may be fewer.
        """
        similarity, pairs = self.nearest_of(query[None], k, by)
        known = pairs[0] >= 0
        return similarity[0][known], pairs[0][known].tolist()

    def nearest_of(self, queries: np.ndarray, k: int, by: str = "pictures") -> tuple[np.ndarray, np.ndarray]:
        """The same of many, float32 [Q, D]: similarities [Q, k], pairs int64 [Q, k], -1 where there is none."""
        k = min(k, len(self.catalogue))
        if not self.inside:
            return _best(self._outside, queries, k)
        searched = self.index.captions if by == "captions" else self.index.images
        if searched is None:
            raise MisuseError(f"{self.index.path}: holds no pictures to search")
        similarity, rows = searched.search(queries, k)
        return similarity, self._pairs_of(rows)

    @cached_property
    def _outside(self) -> np.ndarray:
        """v of pairs from outside the index, float16 [N, D], kept with the catalogue."""
        path = self.catalogue.cache / "pictures.npy"
        if not path.is_file():
            assert self._embedded is not None
            dim = self.index.rows.dim
            with atomic(path) as temporary:
                made = np.lib.format.open_memmap(temporary, "w+", np.float16, (len(self.catalogue), dim))
                for shard, start in zip(self.catalogue.shards, self.catalogue.starts.tolist(), strict=False):
                    file = self._embedded / f"{shard}.parquet"
                    if start + count_rows(file) != self.catalogue.starts[self.catalogue.shards.index(shard) + 1]:
                        raise CocuError(f"{file}: other pairs than in the tables; curate into a new folder")
                    for batch in parquet_batches(file, _BATCH, ("image_vec",)):
                        made[start : start + len(batch)] = arrow_to_vectors(batch["image_vec"])
                        start += len(batch)
                made.flush()
        with reading(path):
            return load_npy(path, mmap_mode="r")


def _best(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of [N, D] by looking at all, block by block: similarities [Q, k], rows [Q, k]."""
    similarity: np.ndarray = np.zeros((len(queries), 0), np.float32)
    rows: np.ndarray = np.zeros((len(queries), 0), np.int64)
    for start in range(0, len(vectors), _AT_ONCE):
        found = queries @ np.asarray(vectors[start : start + _AT_ONCE], np.float32).T
        similarity = np.concatenate([similarity, found], 1)
        rows = np.concatenate([rows, np.broadcast_to(np.arange(start, start + found.shape[1]), found.shape)], 1)
        best = np.argpartition(-similarity, min(k, similarity.shape[1]) - 1, 1)[:, :k]
        similarity, rows = (np.take_along_axis(part, best, 1) for part in (similarity, rows))
    order = np.argsort(-similarity, 1, kind="stable")
    return np.take_along_axis(similarity, order, 1), np.take_along_axis(rows, order, 1)
