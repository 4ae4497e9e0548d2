"""Rows of CSV, TSV, JSONL and Parquet files, from any row on; a row that cannot be read does not stop the others."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, BinaryIO

from files.addresses import open_bytes
from files.errors import CocuError, MisuseError
from files.shard_names import shard_suffix

BATCH = 1_000
# Longer lines are read in pieces, which are then bad rows: a file without line breaks must not fill the memory.
MOST_LINE_BYTES = 8 << 20
# JSON lines may leave out what is null; so many of them are asked for their fields.
LINES_ASKED = 100


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read, and why."""

    reason: str


Row = dict[str, Any] | BadRow


def cut_table(url: str, rows: int) -> list[tuple[int, int, int]]:
    """A table in parts of so many rows: first row, row after the last, byte where the first starts (text tables).

    Raises MisuseError when it is no such table.
    """
    if _is_parquet(url):
        with _parquet(url) as file:
            total = file.metadata.num_rows
        return [(start, min(start + rows, total), 0) for start in range(0, total, rows)]
    parts, total = [], 0
    with open_bytes(url) as source:
        for offset, _ in _text_rows(url, source, 0):
            if total % rows == 0:
                parts.append((total, offset))
            total += 1
    return [(start, min(start + rows, total), offset) for start, offset in parts]


def table_columns(url: str) -> list[str]:
    """Names of the columns of a table; of JSON lines, those of the first ones."""
    if _is_parquet(url):
        with _parquet(url) as file:
            return list(file.schema_arrow.names)
    with open_bytes(url) as source:
        if shard_suffix(url) == ".jsonl":
            first = (row for _, row in islice(_json_lines(_Lines(source)), LINES_ASKED) if isinstance(row, dict))
            return list(dict.fromkeys(name for row in first for name in row))
        return _header(url, _Lines(source))


def read_rows(url: str, start: int, stop: int, offset: int, columns: Sequence[str]) -> Iterator[Row]:
    """Rows [start, stop) of a table, with at least these columns. Text of Parquet files comes as bytes.

    offset: byte where the first row starts, as `cut_table` gave it.
    """
    if _is_parquet(url):
        yield from _parquet_rows(url, start, stop, columns)
        return
    with open_bytes(url, seek=True) as source:
        yield from (row for _, row in islice(_text_rows(url, source, offset), stop - start))


def _is_parquet(url: str) -> bool:
    return shard_suffix(url) == ".parquet"


class _Lines:
    """Lines of a file; `offset` is the byte where the next one starts. Bytes that are no UTF-8 become surrogates."""

    def __init__(self, source: BinaryIO) -> None:
        self.source, self.offset = source, 0

    def seek(self, offset: int) -> None:
        self.source.seek(offset)
        self.offset = offset

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.source.readline(MOST_LINE_BYTES)
        if not line:
            raise StopIteration
        text = line.decode("utf-8-sig" if self.offset == 0 else "utf-8", "surrogateescape")
        self.offset += len(line)
        return text


def _text_rows(url: str, source: BinaryIO, offset: int) -> Iterator[tuple[int, Row]]:
    """(byte where it starts, row) of a text table from `offset` on, 0 for its beginning."""
    lines = _Lines(source)
    if shard_suffix(url) == ".jsonl":
        if offset:
            lines.seek(offset)
        return _json_lines(lines)
    header = _header(url, lines)
    if offset:
        lines.seek(offset)
    return _csv_lines(_reader(url, lines), lines, header)


def _json_lines(lines: _Lines) -> Iterator[tuple[int, Row]]:
    start = lines.offset
    for line in lines:
        if not line.isspace():
            try:
                row = json.loads(line)
                yield start, row if isinstance(row, dict) else BadRow("broken row: not a JSON object")
            except (ValueError, RecursionError) as error:
                yield start, BadRow(f"broken row: not JSON: {error}")
        start = lines.offset


def _reader(url: str, lines: _Lines) -> Iterator[list[str]]:
    csv.field_size_limit(MOST_LINE_BYTES)
    if shard_suffix(url) == ".tsv":
        return csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    return csv.reader(lines)


def _header(url: str, lines: _Lines) -> list[str]:
    try:
        return next(_reader(url, lines), [])
    except csv.Error as error:
        raise MisuseError(f"{url}: cannot be read as a table ({error})") from error


def _csv_lines(reader: Iterator[list[str]], lines: _Lines, header: list[str]) -> Iterator[tuple[int, Row]]:
    while True:
        start = lines.offset
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield start, BadRow(f"broken row: {error}")
            continue
        if cells is None:
            return
        if len(cells) == len(header):
            yield start, dict(zip(header, cells, strict=True))
        elif cells:
            yield start, BadRow(f"broken row: {len(cells)} cells under a header of {len(header)}")


@contextmanager
def _parquet(url: str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_bytes(url, seek=True) as source:
        try:
            file = pq.ParquetFile(source)
        except (pa.ArrowException, OSError) as error:
            raise MisuseError(f"{url}: cannot be read as Parquet ({error})") from error
        try:
            yield file
        except pa.ArrowException as error:
            raise CocuError(f"{url}: broken Parquet: {error}") from error


def _parquet_rows(url: str, start: int, stop: int, columns: Sequence[str]) -> Iterator[Row]:
    with _parquet(url) as file:
        groups: list[int] = []
        first = skip = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if first + rows > start and first < stop:
                skip = skip if groups else start - first
                groups.append(group)
            first += rows
        if not groups:
            return
        batches = file.iter_batches(BATCH, row_groups=groups, columns=list(dict.fromkeys(columns)))
        rows_in = chain.from_iterable(_batch_rows(batch) for batch in batches)
        yield from islice(rows_in, skip, skip + stop - start)


def _batch_rows(batch: Any) -> Iterator[Row]:
    columns = [_undecoded(column).to_pylist() for column in batch.columns]
    for cells in zip(*columns, strict=True):
        yield dict(zip(batch.schema.names, cells, strict=True))


def _undecoded(column: Any) -> Any:
    """Text as bytes: one cell that is no UTF-8 must not spoil its column."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _undecoded(column.dictionary_decode())
    if _is_text(kind):
        return column.cast(pa.large_binary())
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_text(kind.value_type):
        return column.cast(pa.large_list(pa.large_binary()))
    return column


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
