"""The tables of a curated folder: `archives` (one row per pair and concept), `pairs`, `concepts` and `rejects`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.runs.run_folder import REJECTS
from files.atomic import atomic

if TYPE_CHECKING:  # a query over the tables needs no encoder
    from curation.index.vocabulary import Vocabulary

ARCHIVES = pa.schema(
    [
        ("key", pa.string()),
        ("shard", pa.string()),
        ("rank", pa.int32()),
        ("concept_id", pa.int32()),
        ("concept", pa.string()),
        ("score", pa.float32()),
        ("global", pa.float32()),
        ("local", pa.float32()),
        ("support", pa.int32()),
        ("cluster", pa.int32()),
        ("in_caption", pa.bool_()),
        ("confidence", pa.float32()),  # null: of what the caption names, and of runs that have not fitted it
    ]
)
# Of a curation that says where concepts show; null where there was no picture to look at.
LOCALISED = pa.schema([*ARCHIVES, *((name, pa.float32()) for name in ("x0", "y0", "x1", "y1", "area", "peak"))])
PAIRS = pa.schema(
    [
        ("key", pa.string()),
        ("shard", pa.string()),
        ("caption", pa.string()),
        ("caption_concepts", pa.list_(pa.string())),
    ]
)
CONCEPTS = pa.schema([("concept_id", pa.int32()), ("concept", pa.string()), ("count", pa.int64())])
# Columns that folders of earlier versions have not: all null there.
LATER = ("confidence",)
TABLES = {"pairs": PAIRS, "archives": ARCHIVES, "concepts": CONCEPTS, "rejects": REJECTS}


class TableWriter:
    """A Parquet file written batch by batch, which appears when the block ends well.

    least: rows of a row group; smaller batches wait for the next.
    """

    def __init__(self, path: Path, schema: pa.Schema, least: int = 0, compression: str = "zstd") -> None:
        self._atomic = atomic(path)
        self._schema, self._least, self._compression = schema, least, compression
        self._waiting: list[pa.Table] = []

    def __enter__(self) -> TableWriter:
        self._temporary = self._atomic.__enter__()
        try:
            self._writer = pq.ParquetWriter(
                self._temporary, self._schema, compression=self._compression, use_dictionary=_repeating(self._schema)
            )
        except BaseException as error:
            self._atomic.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def write(self, table: pa.Table) -> None:
        """Append a batch."""
        self._waiting.append(table)
        if sum(map(len, self._waiting)) >= self._least:
            self._flush()

    def note(self, metadata: Mapping[bytes, bytes]) -> None:
        """Add to the metadata of the file."""
        self._writer.add_key_value_metadata(metadata)

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting))
            self._waiting.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            with suppress(OSError):  # a full disk has no room for the footer either
                self._writer.close()
            self._atomic.__exit__(kind, error, trace)
            return
        with ExitStack() as stack:
            stack.push(self._atomic)
            self._flush()
            self._writer.close()


def _repeating(schema: pa.Schema) -> list[str] | bool:
    """Columns of which a dictionary is worth making: hardly a score comes twice. Nested ones have no names for it."""
    if any(pa.types.is_nested(field.type) for field in schema):
        return True
    return [field.name for field in schema if not pa.types.is_floating(field.type)]


def archive_rows(
    shard: str,
    keys: pa.Array,
    offsets: np.ndarray,
    columns: dict[str, np.ndarray],
    vocabulary: Vocabulary,
) -> pa.Table:
    """Rows of `tables/archives` for a block of pairs.

    keys: [B]. offsets int64 [B+1]: kept entries of each pair. columns: arrays [K] named as in `ARCHIVES`, or as in
    `LOCALISED`, NaN for null.
    """
    schema = LOCALISED if "peak" in columns else ARCHIVES
    owner = np.repeat(np.arange(len(keys)), np.diff(offsets))
    arrays = {
        "key": keys.take(pa.array(owner)),
        "shard": pa.repeat(pa.scalar(shard), len(owner)),
        "concept": vocabulary.names.take(pa.array(columns["concept_id"])),
        **{name: pa.array(values, from_pandas=True) for name, values in columns.items()},  # not a number: null
    }
    return pa.table({field.name: arrays[field.name].cast(field.type) for field in schema}, schema=schema)


def pair_rows(shard: str, keys: pa.Array, captions: pa.Array, concepts: pa.Array) -> pa.Table:
    """Rows of `tables/pairs` for a block of pairs."""
    return pa.table([keys, pa.repeat(pa.scalar(shard), len(keys)), captions, concepts], schema=PAIRS)
