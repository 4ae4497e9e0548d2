"""Pairs of a curation as anchors again, found by shard, key and caption: rows of the index, or embedded beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.curated.pairs import CuratedPair
from curation.index.opened import Index
from curation.ranking.anchor import Anchors
from curation.ranking.embedded import anchors_of, indexed_anchors
from curation.reasons.made_from import embedded_outside, shard_starts
from curation.runs.parquet_parts import reading
from curation.runs.rows import read_rows
from files.errors import CocuError

_EMBEDDED = ("key", "image", "caption", "concepts", "image_vec", "text_vec")


def embedded_anchors(path: Path, rows: Sequence[int], index: Index) -> Anchors:
    """Pairs from outside the index, by their rows of the file that they were embedded into."""
    (batch,) = read_rows(path, rows, _EMBEDDED).combine_chunks().to_batches()
    return anchors_of(batch, -1, index)


def anchors_of_shard(curated: Path, shard: str, pairs: Sequence[CuratedPair], index: Index) -> Anchors:
    """Some pairs of one shard, in their order. Raises CocuError where they are not where they were."""
    outside = embedded_outside(curated)
    start = shard_starts(index.manifest).get(shard)
    if outside is None and start is None:
        raise CocuError(f"{index.path}: has no shard {shard}, of which {curated} is; curate anew")
    path = (outside or index.path / "embeddings") / f"{shard}.parquet"
    rows = _rows_of(path, pairs)
    if outside is not None or start is None:
        return embedded_anchors(path, rows, index)
    return indexed_anchors(start + np.array(rows, np.int64), index)


def _rows_of(path: Path, pairs: Sequence[CuratedPair]) -> list[int]:
    """Of a table the keys may not be its pairs' own: then the caption tells."""
    with reading(path):
        keys = pq.read_table(path, columns=["key"])["key"]
    wanted = pa.array([pair.key for pair in pairs], keys.type)
    rows = np.flatnonzero(pc.is_in(keys, value_set=wanted).to_numpy()).tolist()
    found: dict[tuple[str, str], int] = {}
    for row, said in zip(rows, read_rows(path, rows, ("key", "caption")).to_pylist(), strict=True):
        found.setdefault((said["key"], said["caption"]), row)
    if missing := [pair.key for pair in pairs if (pair.key, pair.caption) not in found]:
        raise CocuError(f"{path}: has no pair {missing[0]!r} with its caption; curate anew")
    return [found[pair.key, pair.caption] for pair in pairs]
