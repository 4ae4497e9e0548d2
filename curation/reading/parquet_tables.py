"""Parquet files of captions: beside paths of pictures, or with the pictures themselves, as Hugging Face has them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from curation.reading.captioned_tables import IMAGE_COLUMNS, CaptionedTable, ImageRow, Row, as_text, table_key
from curation.reading.formats import FORMATS, NewMembers, Original
from curation.reading.pairs import CaptionOptions
from curation.reading.parts import parts_of
from files.addresses import open_bytes, unreachable
from files.errors import CocuError, MisuseError
from files.rejects import Reject, is_utf8

# Columns of pictures, as img2dataset and others call them, and of keys beside those.
PICTURE_COLUMNS = ("img", "image_bytes", "jpg", "jpeg", "png", "webp")
KEY_COLUMNS = ("key", "__key__", "uid", "id", "image_id")
ROW = ""  # key of a row as it stands, a record batch of one
# No path has one, or is longer; every picture has one early.
_NO_LETTER, _EARLY, _LONGEST_PATH = b"\0", 64, 4096
_BATCH = 1_000
_PICTURES, _PICTURE_BYTES = 16, 64 << 20  # rows at a time where these hold pictures, and about their bytes
_BUFFER = 1 << 20  # bytes of a column at a time, which else is read by whole row groups


class ParquetTable(CaptionedTable):
    """A Parquet file; text comes as bytes."""

    suffixes = (".parquet",)

    def cut(self, rows: int, image: str | None = None) -> list[tuple[int, int, int]]:
        """As `CaptionedTable`; offsets are 0."""
        with _parquet(self.url) as file:
            total = file.metadata.num_rows
        if image is not None and total > rows and not self.holds_pictures(image):
            with suppress(CocuError, OSError):  # each part tells what is broken of it
                whole = self._rows(0, total, (image,))
                return parts_of(((0, row.get(image)) for row in whole if isinstance(row, dict)), rows, self.picture)
        return [(start, min(start + rows, total), 0) for start in range(0, total, rows)]

    @cached_property
    def schema(self) -> Any:
        """Arrow's schema of the file, metadata and all."""
        with _parquet(self.url) as file:
            return file.schema_arrow

    def columns(self) -> list[str]:
        """Those of the schema."""
        return list(self.schema.names)

    def image_column(self, chosen: str | None) -> str | None:
        """As `CaptionedTable`; of the usual names one that holds pictures comes first, then any column of Arrow's."""
        if chosen:
            return super().image_column(chosen)
        usual = [name for name in self.usual_images if name in self.columns()]
        held = [name for name in usual if self.holds_pictures(name)]
        objects = [field.name for field in self.schema if _has_bytes(field.type)]
        return next(iter([*held, *usual, *objects]), None)

    @property
    def usual_images(self) -> Sequence[str]:
        """As `CaptionedTable`."""
        return (*IMAGE_COLUMNS, *PICTURE_COLUMNS)

    def holds_pictures(self, column: str) -> bool:
        """Whether a column is of pictures, not of paths: objects with bytes, or bytes that are no path's."""
        import pyarrow as pa

        if column not in self._held:
            kind = self._kind(column)
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            held = _has_bytes(kind)
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                first = islice(self._rows(0, _PICTURES, (column,), 1), _PICTURES)
                cell = next((row[column] for row in first if row[column]), _NO_LETTER)
                held = picture_of(cell)[0] is not None
            self._held[column] = held
        return self._held[column]

    @cached_property
    def _held(self) -> dict[str, bool]:
        return {}

    def _kind(self, column: str) -> Any:
        """The type of a column. Raises MisuseError where several have its name."""
        if (times := self.schema.names.count(column)) > 1:
            raise MisuseError(
                f"{self.url}: has {times} columns named {column!r}, and which is meant cannot be told; write it anew "
                "with names of their own, or name another column (--image-column, --caption-column)"
            )
        return self.schema.field(column).type

    def name_column(self, name: str) -> str:
        """As `CaptionedTable`: never the pictures."""
        if name not in self.columns() or not self.holds_pictures(name):
            return name
        kind = self._kind(name)
        return f"{name}.path" if _has_bytes(kind) and kind.get_field_index("path") >= 0 else ""

    def name(self, cell: Any) -> str:
        """As `CaptionedTable`."""
        return picture_of(cell)[1]

    def read(self, columns: Sequence[str]) -> Iterator[Row]:
        """As `CaptionedTable`."""
        return self._rows(self.start, self.stop, columns)

    @contextmanager
    def originals(self, options: CaptionOptions, whole: bool = False) -> Iterator[Iterator[Original]]:
        """As `CaptionedTable`; whole: as `WholeRows`."""
        if not whole:
            with super().originals(options) as originals:
                yield originals
            return
        self.told(options)
        yield (
            WholeRows(pair.key, pair.checksum, [(row.field(pair.image), pair.image)], row.rows)
            for row, pair in (
                item for item in self.joined(self.image_rows(options, True), options) if not isinstance(item, Reject)
            )
        )

    def image_rows(self, options: CaptionOptions, whole: bool = False) -> Iterator[ImageRow | Reject]:
        """As `CaptionedTable`; where the table holds the pictures, each comes at once.

        Rows of such a picture are one where they follow each other, at a seam of two parts in that where they begin.
        whole: keep the rows as they stand, too.
        """
        image, caption = self.pair_columns(options)
        if not self.holds_pictures(image):
            yield from super().image_rows(options)
            return
        keys = [name for name in KEY_COLUMNS if name in self.columns() and name not in (image, caption)][:1]
        before = max(0, self.start - 1)
        last: ImageRow | None = None
        same: bytes | str = ""
        rows = self._rows(before, sys.maxsize, (image, caption, *keys), whole=whole)
        for number, row in enumerate(rows, before):
            data, path = picture_of(row[image])
            goes_on, same = bool(same) and same == (data or path), data or path
            if not goes_on:
                if last is not None:
                    yield last
                if number >= self.stop:
                    return
                found = self._held_row(number, data, path, row[keys[0]] if keys else None)
                last = found if isinstance(found, ImageRow) and number >= self.start else None
                if isinstance(found, Reject) and number >= self.start:
                    yield found
            if last is not None:  # else its part is the one before
                last.captions.append(row[caption])
                last.rows.extend([row[ROW]] if whole else ())
        if last is not None:
            yield last

    def _held_row(self, number: int, data: bytes | None, path: str, key: Any) -> ImageRow | Reject:
        """A picture, yet without captions. Its key: that of the table, else its path, else of file and row."""
        if data is None:
            return self.named_row(number + 1, path)
        own = as_text(key).replace(".", "_").lstrip("/") or (table_key(path) if path else "")
        if not own or not is_utf8(own) or any(letter < " " for letter in own):
            own = f"{table_key(PurePosixPath(self.url).name)}-{number:08d}"
        return ImageRow(own, path if is_utf8(path) else "", [], data)

    def _rows(
        self, start: int, stop: int, columns: Sequence[str], at_once: int = 0, whole: bool = False
    ) -> Iterator[dict[str, Any]]:
        """Rows of a range; whole: also as they stand, as `ROW`."""
        with _parquet(self.url) as file:
            wanted = list(dict.fromkeys(columns))
            large = [_may_be_large(self._kind(name)) for name in wanted if name in self.schema.names]
            pictures = whole or any(large)
            first = 0
            for group in range(file.num_row_groups):
                described = file.metadata.row_group(group)
                rows = described.num_rows
                if first + rows > start and first < stop:
                    # Group by group: of several at once Arrow fetches all before the first row.
                    fit = _PICTURE_BYTES * rows // max(1, described.total_byte_size)
                    size = at_once or (min(_PICTURES, max(1, fit)) if pictures else _BATCH)
                    batches = file.iter_batches(size, row_groups=[group], columns=None if whole else wanted)
                    found = (row for batch in batches for row in _batch_rows(batch, wanted, whole))
                    yield from islice(found, max(0, start - first), stop - first)
                first += rows


FORMATS.add("parquet", ParquetTable)


@dataclass(frozen=True, slots=True)
class WholeRows(NewMembers):
    """A pair with the rows that it was made of as they stand, record batches of one each."""

    rows: Sequence[Any] = ()


def held_image(table: ParquetTable) -> str | None:
    """The column of pictures, as the table is told to be read; None where it has only paths, or none."""
    image = table.image_column(table.options.image_column)
    return image if image is not None and table.holds_pictures(image) else None


def picture_of(cell: Any) -> tuple[bytes | None, str]:
    """What a cell of pictures holds: (the picture itself or None, its path or what it is called).

    Hugging Face has pictures as {"bytes": ..., "path": ...}, of which one may be missing; others as bytes alone.
    """
    if isinstance(cell, dict):
        data, path = cell.get("bytes"), cell.get("path")
        return (data if isinstance(data, bytes) and data else None), as_text(path)
    if isinstance(cell, bytes) and (_NO_LETTER in cell[:_EARLY] or len(cell) > _LONGEST_PATH):
        return cell, ""
    return None, as_text(cell)


@contextmanager
def _parquet(url: str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_bytes(url, seek=True) as source:
        try:
            file = pq.ParquetFile(source, buffer_size=_BUFFER)
            _ = file.schema_arrow.names
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise MisuseError(f"{url}: cannot be read as Parquet ({error})") from error
        try:
            yield file
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise CocuError(f"{url}: broken Parquet: {error}") from error
        except OSError as error:
            raise unreachable(url, error) from error


def _batch_rows(batch: Any, wanted: Sequence[str], whole: bool) -> Iterator[dict[str, Any]]:
    names = wanted if whole else batch.schema.names
    columns = [batch[name].cast(_as_bytes(batch[name].type)).to_pylist() for name in names]
    for number, cells in enumerate(zip(*columns, strict=True)):
        yield dict(zip(names, cells, strict=True)) | ({ROW: batch.slice(number, 1)} if whole else {})


def _as_bytes(kind: Any) -> Any:
    """The type with its text as bytes: one cell that is no UTF-8 must not spoil its column."""
    import pyarrow as pa

    is_a = pa.types
    if is_a.is_dictionary(kind):
        return _as_bytes(kind.value_type)
    if is_a.is_string(kind) or is_a.is_large_string(kind) or is_a.is_string_view(kind):
        return pa.large_binary()
    if is_a.is_struct(kind):
        return pa.struct([kind.field(i).with_type(_as_bytes(kind.field(i).type)) for i in range(kind.num_fields)])
    if is_a.is_list(kind) or is_a.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_as_bytes(kind.value_type)))
    if is_a.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_as_bytes(kind.value_type)), kind.list_size)
    return kind


def _may_be_large(kind: Any) -> bool:
    """Whether cells of a type may be pictures: bytes, maybe within an object."""
    import pyarrow as pa

    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _has_bytes(kind: Any) -> bool:
    """Whether it is of objects with bytes, as Hugging Face has pictures."""
    import pyarrow as pa

    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    inner = kind.field("bytes").type
    return bool(pa.types.is_binary(inner) or pa.types.is_large_binary(inner) or pa.types.is_null(inner))
