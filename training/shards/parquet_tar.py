"""A Parquet shard as the tar that holds the same: of each pair its picture, its caption and its concepts.

Pairs are read in another order than they lie in, any of them at any time. A tar gives one for nothing, a row group only
whole; so a shard is written out as a tar while it is in use, row group by row group. One that was curated gives, byte
for byte, the curated tar of the same pairs (`cocu curate run` without --write-caption), and so the same batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from files.addresses import open_bytes
from files.concepts_column import CONCEPTS_COLUMN, concepts_members
from files.concepts_json import CONCEPTS_FIELD
from files.errors import one_line
from files.picture_tables import (
    CAPTION_COLUMNS,
    IMAGE_COLUMNS,
    PICTURE_COLUMNS,
    as_cells,
    flattened,
    free_key,
    has_bytes,
    key_column,
    picture_field,
    picture_paths,
    row_key,
    text_as_bytes,
)
from files.pictures import FIELDS
from files.shard_note import ShardNote, read_note
from files.tar_headers import tar_member
from files.tar_writing import write_end
from training.shards.tar_index import TarIndex, between

# Rows at a time, and about their bytes; and bytes of a column, which else is read by whole row groups.
_ROWS, _BYTES, _BUFFER = 256, 16 << 20, 1 << 20
_BROKEN = (pa.ArrowException, OSError, ValueError, NotImplementedError)


class BadTable(Exception):
    """A file, or a part of it, of which nothing can be read; the message says why. lost: rows."""

    def __init__(self, reason: str, lost: int = 0) -> None:
        super().__init__(reason)
        self.lost = lost


@dataclass(frozen=True)
class Columns:
    """The names of the columns that make pairs; None where there is none."""

    image: str
    caption: str | None
    key: str | None
    concepts: str | None

    def all(self) -> list[str]:
        """Those that there are."""
        return [name for name in (self.image, self.caption, self.key, self.concepts) if name is not None]


def pair_columns(schema: pa.Schema, note: ShardNote | None = None) -> Columns:
    """The columns of pairs: as the shard notes, or the usual ones. Raises BadTable."""
    names = schema.names
    pictures = [found.name for found in schema if _holds_pictures(found.type)]
    usual = [note.image] if note and note.image in pictures else (*IMAGE_COLUMNS, *PICTURE_COLUMNS)
    objects = [name for name in pictures if has_bytes(schema.field(names.index(name)).type)]
    image = next((name for name in (*usual, *objects) if name in pictures), None)
    if image is None:
        has = ", ".join(names)[:300] or "none"
        raise BadTable(f"no column holds pictures, as bytes or {{bytes, path}} (it has {has})")
    noted = [note.caption] if note and note.caption in names else CAPTION_COLUMNS
    caption = next((name for name in noted if name in names and name != image), None)
    concepts = CONCEPTS_COLUMN if CONCEPTS_COLUMN in names and CONCEPTS_COLUMN not in (image, caption) else None
    found = Columns(image, caption, key_column(names, image, caption), concepts)
    for name in found.all():
        if names.count(name) > 1:
            raise BadTable(f"has {names.count(name)} columns named {name}")
    if caption is not None and not _is_text(kind := schema.field(caption).type):
        raise BadTable(f"its column of captions, {caption}, is of {kind}, not of text")
    return found


def write_tar(url: str, source: IO[bytes], target: IO[bytes]) -> TarIndex:
    """Write the tar of an open Parquet file. What cannot be read of it is told in the index, which is of the target.

    Raises OSError where the target cannot be written.
    """
    edges, faults, lost = [0], list[str](), 0
    for sample in samples(url, source):
        if isinstance(sample, BadTable):
            faults.append(str(sample))
            lost += sample.lost
            continue
        target.write(sample)
        edges.append(edges[-1] + len(sample))
    write_end(target)
    more = f"; and {len(faults) - 1:,} more faults" if len(faults) > 1 else ""
    return TarIndex(between(np.array(edges[len(edges) == 1 :], np.int64)), f"{faults[0]}{more}" if faults else "", lost)


def read_footer(url: str) -> tuple[int, ShardNote | None]:
    """Rows of a file, 0 where it cannot be read, and its note, if that is of as many. Raises CocuError."""
    with open_bytes(url, seek=True) as source:
        try:
            file = _opened(source)
        except BadTable:
            return 0, None
        return file.metadata.num_rows, _note(file)


def samples(url: str, source: IO[bytes]) -> Iterator[bytes | BadTable]:
    """The members of each pair of a Parquet file, in order; between them what cannot be read.

    Rows of one picture that follow each other are one pair, with the first caption that is one.
    """
    try:
        file = _opened(source)
        note = _note(file)
        columns = pair_columns(file.schema_arrow, note)
    except BadTable as fault:
        yield fault
        return
    taken: dict[str, int] = {}
    keys = note.keys if note else {}
    pair: _Pair | None = None
    for row in _rows(url, file, columns):
        if isinstance(row, BadTable):
            yield row
        elif pair is not None and pair.picture and pair.picture == row.picture and row.number not in keys:
            pair.captions += row.captions
        else:
            if pair is not None:
                yield pair.members(taken, keys)
            pair = row
    if pair is not None:
        yield pair.members(taken, keys)


@dataclass
class _Pair:
    """A pair as its first row has it. number: of that, from 0, in digits. captions: cells."""

    number: str
    key: str
    data: bytes | None
    path: str
    captions: list[Any] = field(default_factory=list)
    concepts: bytes | None = None

    @property
    def picture(self) -> bytes | str:
        return self.data or self.path

    def members(self, taken: dict[str, int], keys: Mapping[str, str]) -> bytes:
        """Its members. taken: as of `free_key`; keys: as of `ShardNote`."""
        key = free_key(self.key, taken)
        key = keys.get(self.number, key)
        made = []
        if self.data:
            ending = picture_field(self.path, self.data)
            made.append(tar_member(f"{key}.{ending if ending in FIELDS else FIELDS[0]}", self.data))
        caption = _caption(self.captions)
        if caption is not None or not made:  # the key needs a member
            made.append(tar_member(f"{key}.txt", caption or b""))
        if self.concepts is not None:
            made.append(tar_member(f"{key}.{CONCEPTS_FIELD}", self.concepts))
        return b"".join(made)


def _caption(cells: Sequence[Any]) -> bytes | None:
    """The first text that is one; else the first of any, of which a reader says why it is none."""
    first: bytes | None = None
    for cell in flattened(cells):
        if not isinstance(cell, bytes):
            continue
        try:
            if text := cell.decode("utf-8-sig").strip():
                return text.encode()
        except UnicodeDecodeError:
            pass
        first = cell if first is None else first
    return first


def _opened(source: IO[bytes]) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(source, buffer_size=_BUFFER, pre_buffer=False)
        _ = file.schema_arrow.names
        return file
    except _BROKEN as error:
        raise BadTable(f"cannot be read as Parquet: {one_line(error, 200)}") from error


def _note(file: pq.ParquetFile) -> ShardNote | None:
    return read_note(file.metadata.metadata, file.metadata.num_rows)


def _rows(url: str, file: pq.ParquetFile, columns: Columns) -> Iterator[_Pair | BadTable]:
    first = 0
    for group in range(file.num_row_groups):
        described = file.metadata.row_group(group)
        rows, done = max(0, described.num_rows), 0
        fit = _BYTES * rows // max(1, described.total_byte_size)
        try:
            for batch in file.iter_batches(min(_ROWS, max(1, fit)), row_groups=[group], columns=columns.all()):
                yield from _pairs(batch, columns, url, first + done)
                done += len(batch)
            if done < rows:
                raise ValueError("it ends early")
        except _BROKEN as error:
            reason = f"row group {group + 1:,} of {file.num_row_groups:,} cannot be read: {one_line(error, 200)}"
            yield BadTable(reason, max(0, rows - done))
        first += rows
    if (told := file.metadata.num_rows) != first:
        yield BadTable(f"its row groups have {first:,} rows of the {told:,} that it tells of", max(0, told - first))


def _pairs(batch: pa.RecordBatch, columns: Columns, url: str, number: int) -> list[_Pair]:
    """The rows of a batch, the first of which has this number in its file."""

    def cells(name: str | None) -> Sequence[Any]:
        return as_cells(batch[name]) if name is not None else [None] * len(batch)

    pictures = batch[columns.image]
    paths = picture_paths(pictures)
    if has_bytes(pictures.type):
        pictures = pictures.flatten()[pictures.type.get_field_index("bytes")]
    concepts = concepts_members(batch[columns.concepts]) if columns.concepts else [None] * len(batch)
    return [
        _Pair(str(number + i), row_key(key, path, url, number + i), picture or None, path, [caption], described)
        for i, (key, path, picture, caption, described) in enumerate(
            zip(cells(columns.key), paths, as_cells(pictures), cells(columns.caption), concepts, strict=True)
        )
    ]


def _holds_pictures(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or has_bytes(kind))


def _is_text(kind: pa.DataType) -> bool:
    """Whether it is of text, or of lists of it, or of nothing at all."""
    kind = text_as_bytes(kind)
    if pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_large_binary(kind) or pa.types.is_binary(kind) or pa.types.is_null(kind))
