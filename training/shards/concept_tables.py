"""The concepts of a shard out of a curation's tables: of each pair its key, its caption, and its `.concepts.json`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from files.concepts_json import REGION, KeptConcepts, concepts_json
from files.errors import CocuError, one_line

if TYPE_CHECKING:
    import pyarrow as pa

PAIRS_AT_ONCE = 1024
ROWS_AT_ONCE = 1 << 15
_COLUMNS = ("key", "concept", "score", "cluster", "in_caption")


def table_rows(curated: Path, shard: str) -> Iterator[tuple[str, str, bytes]]:
    """Key, caption and `.concepts.json` of the pairs of a shard, in their order.

    Raises CocuError for tables that are missing or broken, or do not belong together.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = [curated / "tables" / name / f"{shard}.parquet" for name in ("pairs", "archives")]
    try:
        pairs, archives = (pq.ParquetFile(path, pre_buffer=False) for path in paths)
        optional = [name for name in ("confidence", *REGION) if name in archives.schema_arrow.names]
        entries = archives.iter_batches(ROWS_AT_ONCE, columns=[*_COLUMNS, *optional])
        waiting = archives.schema_arrow.empty_table().select([*_COLUMNS, *optional])
        for batch in pairs.iter_batches(PAIRS_AT_ONCE, columns=["key", "caption"]):
            owner, waiting = _theirs(batch["key"], waiting, entries)
            kept = _kept(waiting.slice(0, len(owner)).combine_chunks(), owner, len(batch))
            waiting = waiting.slice(len(owner))
            yield from zip(
                batch["key"].to_pylist(), batch["caption"].to_pylist(), concepts_json(kept).to_pylist(), strict=True
            )
        if len(waiting) or next(entries, None) is not None:
            raise ValueError("it has concepts of pairs that are not there")
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise CocuError(
            f"{paths[1]}: cannot be read beside {paths[0].parent.name} ({one_line(error, 200)}); "
            "put back a copy of both, or curate into a new folder"
        ) from error


def _theirs(keys: pa.Array, waiting: pa.Table, entries: Iterator[pa.RecordBatch]) -> tuple[np.ndarray, pa.Table]:
    """Which of the pairs each of the next entries is of, int64 [K], and the entries, those of later pairs behind."""
    import pyarrow as pa
    import pyarrow.compute as pc

    while True:
        found = pc.index_in(waiting["key"], value_set=keys)
        strange = found.is_null()
        if pc.any(strange).as_py() or (more := next(entries, None)) is None:
            break
        waiting = pa.concat_tables([waiting, pa.Table.from_batches([more]).select(waiting.schema.names)])
    count = int(pc.index(strange, True).as_py()) if pc.any(strange).as_py() else len(waiting)
    owner = found.slice(0, count).to_numpy().astype(np.int64)
    if (np.diff(owner) < 0).any():
        raise ValueError("its pairs stand in another order")
    return owner, waiting


def _kept(rows: pa.Table, owner: np.ndarray, pairs: int) -> KeptConcepts:
    def column(name: str, kind: Any) -> np.ndarray:
        return rows[name].to_numpy().astype(kind)

    names = rows.schema.names
    return KeptConcepts(
        np.searchsorted(owner, np.arange(pairs + 1)),
        rows["concept"].combine_chunks(),
        column("score", np.float32),
        column("cluster", np.int32),
        column("in_caption", bool),
        column("confidence", np.float32) if "confidence" in names else np.full(len(rows), np.nan, np.float32),
        np.stack([column(name, np.float32) for name in REGION], 1) if "peak" in names else None,
    )
