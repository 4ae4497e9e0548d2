"""Curated shards as Parquet: the rows of a source that holds its pictures, as they stood, with their concepts.

Columns and metadata stay; `concepts` comes last, a list of what `.concepts.json` has, and before it, where the source
has no column of keys, those of the tables. Hugging Face's `datasets` finds its features in the metadata: those of the
source, and that of the new columns. A note there says how the pairs were read, for `cocu train` (files/shard_note.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.curated.enriched import enriched_captions
from curation.curated.originals import Originals
from curation.curated.shard_writer import ShardWriter
from curation.curated.tables import TableWriter
from curation.reading.formats import Original
from curation.reading.pairs import CaptionOptions
from curation.reading.parquet_tables import ParquetTable, WholeRows, held_image
from curation.reading.shards import Shard
from files.concepts_column import CONCEPTS_COLUMN
from files.concepts_json import CONCEPTS_FIELD, KeptConcepts, concepts_json
from files.errors import MisuseError
from files.picture_tables import as_cells, free_key, key_column, picture_paths, row_key
from files.shard_note import ShardNote
from files.tar_headers import member_size
from files.tar_writing import tar_size

KEY_COLUMN = "key"
_NUMBERS = {"box": pa.list_(pa.float64()), "area": pa.float64(), "peak": pa.float64()}
_FEATURES = b"huggingface"  # key of the metadata
# A row group ends with the pair that fills it.
_GROUP_ROWS, _GROUP_BYTES = 1_000, 64 << 20


def concepts_type(localised: bool) -> pa.DataType:
    """The column of concepts; confidence is null where `.concepts.json` has none."""
    fields = {"concept": pa.string(), "score": pa.float64(), "cluster": pa.int32(), "in_caption": pa.bool_()}
    return pa.list_(pa.struct({**fields, "confidence": pa.float64(), **(_NUMBERS if localised else {})}))


def check_parquet(shards: Iterable[Shard], options: CaptionOptions, caption_field: str | None) -> None:
    """Raises MisuseError for shards that cannot be written as Parquet: only what came so can, with its pictures."""
    for shard in {shard.url: shard for shard in shards}.values():
        table = shard.reader
        if not isinstance(table, ParquetTable) or (image := held_image(table.told(options))) is None:
            raise MisuseError(
                f"{shard.url}: --shards-format parquet is for what came as Parquet with its pictures; leave it out"
            )
        there = {field.name: field.type for field in table.schema}
        if there.get(CONCEPTS_COLUMN, concepts_type(False)) not in (concepts_type(False), concepts_type(True)):
            raise MisuseError(f"{shard.url}: has a column {CONCEPTS_COLUMN} of its own; rename it")
        if caption_field in (image, CONCEPTS_COLUMN, KEY_COLUMN):
            raise MisuseError(f"--write-caption {caption_field}: the column of {caption_field} is no caption's")


class ParquetShard(ShardWriter):
    """Writes one curated shard as Parquet.

    Several rows of one picture all get its concepts. caption_field: column of the enriched caption; one of this name
    is replaced.
    """

    def __init__(
        self, shard: Shard, out: Path, options: CaptionOptions, caption_field: str | None, localised: bool
    ) -> None:
        super().__init__(shard, options)
        table = shard.reader
        assert isinstance(table, ParquetTable)
        self.originals = _WholePairs(shard, options)
        self.out, self.caption_field = out, caption_field
        self.columns = table.told(options).pair_columns(options)
        self.schema = _with_columns(table.schema, *self.columns, caption_field, localised)
        self._keyed = bool(_keys_of(table.schema, *self.columns))
        self._written = self._pairs = self._size = 0
        self._taken: dict[str, int] = {}
        self._untold: dict[str, str] = {}
        self._last = b""
        self._empty()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """As `ShardWriter`."""
        packed = TableWriter(self.out, self.schema, compression="snappy")  # as far as pictures can be
        with super().writing(), self.originals.open(), packed as self._target:
            yield
            self._write_group()
            note = ShardNote(*self.columns, self._written, self._pairs, tar_size(self._size), self._untold)
            self._target.note(note.metadata())

    def write(
        self,
        keys: Sequence[str],
        captions: Sequence[str],
        kept: KeptConcepts,
        originals: Sequence[Original] | None = None,
    ) -> None:
        """As `ShardWriter`."""
        enriched = enriched_captions(captions, kept) if self.caption_field else captions
        members = concepts_json(kept).to_pylist()
        pairs = zip(keys, enriched, self._read(keys, originals), members, strict=True)
        for key, told, original, member in pairs:
            assert isinstance(original, WholeRows)
            picture = original.members[0][1]
            self._begins.append((len(self._rows), key, picture == self._last))
            self._last = picture
            self._rows += original.rows
            self._keys += [key] * len(original.rows)
            self._captions += [told] * len(original.rows)
            self._concepts += [json.loads(member)["concepts"]] * len(original.rows)
            self._bytes += sum(row.nbytes for row in original.rows)
            self._pairs += 1
            held = [*original.members, (CONCEPTS_FIELD, member)]
            self._size += sum(member_size(f"{key}.{field}", len(data)) for field, data in held)
            if len(self._rows) >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
                self._write_group()

    def _empty(self) -> None:
        self._rows: list[pa.RecordBatch] = []
        self._begins: list[tuple[int, str, bool]] = []
        self._keys: list[str] = []
        self._captions: list[str] = []
        self._concepts: list[list[dict[str, Any]]] = []
        self._bytes = 0

    def _write_group(self) -> None:
        if self._rows:
            table = pa.Table.from_batches(self._rows)
            made = {self.caption_field: self._captions, CONCEPTS_COLUMN: self._concepts}
            if self._keyed:
                made[KEY_COLUMN] = self._keys
            columns = [
                pa.chunked_array([pa.array(made[field.name], field.type)]) if field.name in made else table[field.name]
                for field in self.schema
            ]
            whole = pa.table(columns, schema=self.schema).combine_chunks()
            self._note_keys(whole)
            self._target.write(whole)
            self._written += len(self._rows)
        self._empty()

    def _note_keys(self, table: pa.Table) -> None:
        """Keep the keys of pairs of a row group that who reads its rows would not give them."""
        image, caption = self.columns
        paths = picture_paths(table[image].chunk(0))
        cells = as_cells(table[key_column(table.column_names, image, caption)].chunk(0))
        for place, key, as_before in self._begins:
            row = self._written + place
            found = free_key(row_key(cells[place], paths[place], "", row), self._taken)
            if as_before or found != key:
                self._untold[str(row)] = key


class _WholePairs(Originals):
    """Pairs with their rows as they stand."""

    def source(self) -> AbstractContextManager[Any]:
        """As `Originals`."""
        assert isinstance(self.shard.reader, ParquetTable)
        return self.shard.reader.originals(self.options, whole=True)


def _keys_of(schema: pa.Schema, image: str, caption: str) -> dict[str, pa.DataType]:
    """The column of keys that is added where the source has none."""
    return {} if key_column(schema.names, image, caption) else {KEY_COLUMN: pa.string()}


def _with_columns(schema: pa.Schema, image: str, named: str, caption: str | None, localised: bool) -> pa.Schema:
    """The schema of the source with the new columns, and with the features of Hugging Face's.

    image, named: its columns of pictures and captions; caption: that of enriched ones.
    """
    new = {**({caption: pa.string()} if caption else {}), **_keys_of(schema, image, named)}
    new[CONCEPTS_COLUMN] = concepts_type(localised)
    fields = [field.with_type(new[field.name]) if field.name in new else field for field in schema]
    fields += [pa.field(name, kind) for name, kind in new.items() if name not in schema.names]
    metadata = dict(schema.metadata or {})
    try:
        described = json.loads(metadata.get(_FEATURES, b"{}"))
        features = described.setdefault("info", {}).setdefault("features", {})
        if schema.field(image).type == pa.struct({"bytes": pa.binary(), "path": pa.string()}):
            features.setdefault(image, {"_type": "Image"})
        features |= {name: _feature(kind) for name, kind in new.items()}
    except (ValueError, AttributeError, TypeError, RecursionError):  # not as Hugging Face writes it
        return pa.schema(fields, metadata)
    return pa.schema(fields, metadata | {_FEATURES: json.dumps(described).encode()})


def _feature(kind: pa.DataType) -> Any:
    """How Hugging Face names a type."""
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {kind.field(i).name: _feature(kind.field(i).type) for i in range(kind.num_fields)}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}
