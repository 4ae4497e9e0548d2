"""The rows of a query in the forms people and programs read: table, CSV, JSON, Parquet."""

from __future__ import annotations

import csv
import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from curation.curated.query import Answer
from files.atomic import alone
from files.errors import MisuseError
from files.printable import DIRECTION, SEPARATORS, printable

FORMATS = ("table", "csv", "json", "parquet")
TABLE_ROWS = 100
_CELL_WIDTH = 100
CELL_LETTERS = 400
# What a formula begins with, for spreadsheets of East Asia in full width too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
# JSON leaves these as they are; a terminal takes them for commands, or turns the line round.
_ESCAPED = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), *DIRECTION, *SEPARATORS)}


def first_rows(answer: Answer, count: int) -> Answer:
    """The first `count` rows of an answer; the rest is never computed further than its batch."""

    def batches() -> Iterator[pa.RecordBatch]:
        left = count
        for batch in answer.batches:
            if left > 0:
                yield batch.slice(0, left)
            left -= batch.num_rows
            if left <= 0:
                return

    return Answer(answer.schema, batches())


def write_stream(answer: Answer, form: str, text: IO[str], binary: IO[bytes], defuse: bool = False) -> None:
    """CSV and JSON onto `text`, Parquet onto `binary`, which need not be seekable."""
    if form == "csv":
        write_csv(answer, text, defuse)
    elif form == "json":
        write_json(answer, text)
    else:
        # Parquet ends with its index: whole, or nothing, when a query fails half-way.
        with tempfile.TemporaryFile() as spool:
            write_parquet(answer, spool)
            spool.seek(0)
            shutil.copyfileobj(spool, binary, 1 << 20)


def write_file(answer: Answer, form: str, out: Path, defuse: bool = False) -> None:
    """An answer as a file that is there whole or not at all.

    Raises OSError when `out` cannot be written.
    """
    with alone(out) as temporary:
        if form == "parquet":
            with temporary.open("wb") as binary:
                write_parquet(answer, binary)
            return
        with temporary.open("w", encoding="utf-8", newline="") as text:
            if form == "table":
                print_plain(answer, text, limit=None)
            elif form == "csv":
                write_csv(answer, text, defuse)
            else:
                write_json(answer, text)


def write_csv(answer: Answer, text: IO[str], defuse: bool = False) -> None:
    """Comma separated, header first, NULL empty; lists and structs as JSON; on a terminal each text on its line.

    defuse: put an apostrophe before texts that a spreadsheet would take for a formula, and compute or fetch.
    """
    shown = text.isatty()

    def cell(value: Any) -> Any:
        value = _csv_cell(value)
        if not isinstance(value, str):
            return value
        value = printable(value) if shown else value
        return f"'{value}" if defuse and value.startswith(_FORMULA) else value

    # Left to end lines with \n, it would leave a lone \r in a cell without quotes.
    writer = csv.writer(SimpleNamespace(write=lambda line: text.write(line.removesuffix("\r\n") + "\n")))
    writer.writerow(map(cell, answer.schema.names))
    for row in _rows(answer):
        writer.writerow(map(cell, row))


def write_json(answer: Answer, text: IO[str]) -> None:
    """An array of one object per row; NaN and infinities, which JSON has not, become null."""
    names = answer.schema.names
    separator = "["
    for row in _rows(answer):
        text.write(separator + "\n" + _json(dict(zip(names, row, strict=True))))
        separator = ","
    text.write("[]\n" if separator == "[" else "\n]\n")


def write_parquet(answer: Answer, binary: IO[bytes]) -> None:
    """Parquet with the query's own types. Raises MisuseError for a type that Parquet has not."""
    try:
        with pq.ParquetWriter(binary, answer.schema) as writer:
            for batch in answer.batches:
                writer.write_batch(batch)
    except pa.ArrowNotImplementedError as error:
        raise MisuseError(
            f"Parquet has no type for a column of this query: {error}; use CAST(... AS VARCHAR)"
        ) from error


def print_table(answer: Answer, text: IO[str], limit: int | None) -> tuple[int, int]:
    """At most `limit` rows, framed on a terminal and plain elsewhere.

    Gives the rows shown and the rows there are.
    """
    console = Console(file=text)
    if not console.is_terminal:
        return print_plain(answer, text, limit)
    shown, total = _shown(answer, limit)
    table = Table(header_style="bold", pad_edge=False)
    for field in answer.schema:
        side: Literal["left", "right"] = "right" if is_number(field.type) else "left"
        table.add_column(Text(printable(field.name)), justify=side, overflow="fold")
    for row in shown:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    return len(shown), total


def print_plain(answer: Answer, text: IO[str], limit: int | None) -> tuple[int, int]:
    """Aligned columns, cells cut at 100 signs. Gives the rows shown and the rows there are."""
    shown, total = _shown(answer, limit)
    header = [printable(name) for name in answer.schema.names]
    columns = zip(header, *shown, strict=True)
    widths = [min(max(map(cell_len, column)), _CELL_WIDTH) for column in columns]
    numeric = [is_number(field.type) for field in answer.schema]
    for row in (header, ["-" * width for width in widths], *shown):
        text.write("  ".join(map(_fit, row, widths, numeric)).rstrip() + "\n")
    return len(shown), total


def text_rows(answer: Answer, most: int) -> list[list[str]]:
    """The first rows as they are shown, cells cut at `CELL_LETTERS` signs."""
    rows = (row for batch in first_rows(answer, most).batches for row in _batch_rows(batch))
    return [[_cut(_cell(value)) for value in row] for row in rows]


def _cut(cell: str) -> str:
    return cell if len(cell) <= CELL_LETTERS else f"{cell[:CELL_LETTERS]}…"


def _fit(cell: str, width: int, right: bool) -> str:
    length = cell_len(cell)
    if length > width:
        return set_cell_size(cell, width - 1) + "…"
    pad = " " * (width - length)
    return pad + cell if right else cell + pad


def _shown(answer: Answer, limit: int | None) -> tuple[list[list[str]], int]:
    shown: list[list[str]] = []
    total = 0
    for batch in answer.batches:
        wanted = batch.num_rows if limit is None else max(limit - total, 0)
        shown.extend([_cell(value) for value in row] for row in _batch_rows(batch.slice(0, wanted)))
        total += batch.num_rows
    return shown, total


def _rows(answer: Answer) -> Iterator[tuple[Any, ...]]:
    for batch in answer.batches:
        yield from _batch_rows(batch)


def _batch_rows(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    return zip(*map(_values, batch.schema.names, batch.columns), strict=True)


def _values(name: str, column: pa.Array) -> list[Any]:
    if pa.types.is_float32(column.type):
        # 0.9, not the 0.8999999761581421 that it becomes in double precision.
        single = column.to_numpy(zero_copy_only=False).astype(str)
        return [
            float(text) if valid else None
            for text, valid in zip(single.tolist(), column.is_valid().to_pylist(), strict=True)
        ]
    try:
        return column.to_pylist(maps_as_pydicts="lossy")
    except (OverflowError, ValueError):
        # Dates beyond the year 9999, nanoseconds: Python has no value for them, Arrow a text.
        try:
            return column.cast(pa.string()).to_pylist()
        except pa.ArrowException as error:
            raise MisuseError(f"column {name}: a {column.type} out of range; use CAST({name} AS VARCHAR)") from error


def is_number(kind: pa.DataType) -> bool:
    """Whether a column's cells are numbers, which stand to the right."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return printable(_json(value) if isinstance(value, list | dict | bytes) else str(value))


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    return _json(value) if isinstance(value, list | dict) else value


def _json(value: Any) -> str:
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=_plain)
    return text.translate(_ESCAPED)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        whole = value == value.to_integral_value()
        return int(value) if whole else float(value)
    return value.hex() if isinstance(value, bytes) else str(value)
