"""Which concepts the pairs of a curated folder show, block by block, in the order of its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.curated.tables import TABLES
from curation.runs.parquet_parts import reading
from files.errors import CocuError

PAIRS_AT_ONCE, ROWS_AT_ONCE = 1 << 16, 1 << 18
# Which of a pair's concepts count: what its archive holds, and what its caption names.
SHOWN = {"shown": (True, True), "recovered": (True, False), "named": (False, True)}


@dataclass(frozen=True)
class ShownBlock:
    """Some pairs of a shard. keys: [B]. pair, concept: int64 [M], which pair shows which concept, each once, in order.

    outside: mentions in their captions that no concept of the vocabulary stands for.
    """

    keys: pa.StringArray
    pair: np.ndarray
    concept: np.ndarray
    outside: int


def shown_blocks(curated: Path, shard: str, which: str, words: pa.Array) -> Iterator[ShownBlock]:
    """The pairs of a shard; which: a name of `SHOWN`; words: the concepts, by their number.

    Raises CocuError where a table is missing or broken, or the two are not of the same pairs.
    """
    recovered, named = SHOWN[which]
    rows = _ArchiveRows(curated, shard)
    for batch in table_batches(curated, "pairs", shard, ("key", "caption_concepts"), PAIRS_AT_ONCE):
        keys = batch["key"]
        owners, concepts, in_caption = rows.of(keys)
        if len(concepts) and not 0 <= concepts.min() <= concepts.max() < len(words):
            raise CocuError(f"{rows.path}: a concept_id that concepts.parquet has not; curate into a new folder")
        wanted = np.where(in_caption, named, recovered)
        pairs, ids = [owners[wanted]], [concepts[wanted]]
        outside = 0
        if named:
            said = batch["caption_concepts"]
            found = pc.index_in(pc.list_flatten(said), words)
            known = found.is_valid().to_numpy(zero_copy_only=False)
            pairs.append(pc.list_parent_indices(said).to_numpy()[known].astype(np.int64))
            ids.append(found.drop_null().to_numpy().astype(np.int64))
            outside = found.null_count
        both = np.unique(np.concatenate(pairs) * len(words) + np.concatenate(ids))
        pair, concept = np.divmod(both, max(1, len(words)))
        yield ShownBlock(keys, pair, concept, outside)
    rows.check_end()


class _ArchiveRows:
    """The archives of a shard, which come pair by pair in the order of its pairs; some pairs have none."""

    def __init__(self, curated: Path, shard: str) -> None:
        self.path = curated / "tables" / "archives" / f"{shard}.parquet"
        self._batches = table_batches(curated, "archives", shard, ("key", "concept_id", "in_caption"), ROWS_AT_ONCE)
        self._left: pa.RecordBatch | None = None

    def of(self, keys: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the next pairs: which of them [R], concept [R], in_caption [R]."""
        parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool))]
        while self._fill():
            assert self._left is not None
            owner = pc.index_in(self._left["key"], keys)
            inside = owner.is_valid().to_numpy(zero_copy_only=False)
            count = len(inside) if inside.all() else int(np.argmin(inside))
            these, self._left = self._left.slice(0, count), self._left.slice(count)
            columns = (owner.slice(0, count), these["concept_id"], these["in_caption"])
            owners, concepts, in_caption = (column.to_numpy(zero_copy_only=False) for column in columns)
            parts.append((owners.astype(np.int64), concepts.astype(np.int64), in_caption.astype(bool)))
            if len(self._left):
                break
        owners, concepts, in_caption = (np.concatenate(column) for column in zip(*parts, strict=True))
        return owners, concepts, in_caption

    def check_end(self) -> None:
        """Raises CocuError where rows are left: of other pairs, or in another order."""
        if self._fill():
            assert self._left is not None
            raise CocuError(
                f"{self.path}: a row of pair {self._left['key'][0].as_py()!r}, which the table of pairs has not, or "
                "has elsewhere; curate into a new folder"
            )

    def _fill(self) -> bool:
        while self._left is None or not len(self._left):
            self._left = next(self._batches, None)
            if self._left is None:
                return False
        return True


def read_words(curated: Path) -> pa.Array:
    """The concepts, by their number. Raises CocuError where their table is missing or broken."""
    path = curated / "tables" / "concepts.parquet"
    parts = [batch["concept"] for batch in _checked(path, "concepts", ("concept",), ROWS_AT_ONCE)]
    return pa.chunked_array(parts, pa.string()).combine_chunks()


def table_batches(
    curated: Path, table: str, shard: str, columns: Sequence[str], rows: int, holes: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Batches of the columns of a shard's table; holes: those that may have empty cells.

    Raises CocuError where it is missing or broken.
    """
    return _checked(curated / "tables" / table / f"{shard}.parquet", table, columns, rows, holes)


def _checked(
    path: Path, table: str, columns: Sequence[str], rows: int, may_be_empty: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Batches with these columns, of the types that the table has."""
    schema = pa.schema([TABLES[table].field(name) for name in columns])
    with reading(path):
        file = pq.ParquetFile(path, pre_buffer=False)
        if missing := [name for name in columns if name not in file.schema_arrow.names]:
            raise ValueError(f"no column {missing[0]}")
        for batch in file.iter_batches(rows, columns=list(columns)):
            if holes := [name for name in columns if batch[name].null_count and name not in may_be_empty]:
                raise ValueError(f"column {holes[0]} has empty cells")
            cast = [batch[field.name].cast(field.type) for field in schema]
            yield pa.RecordBatch.from_arrays(cast, schema=schema)
