"""Parquet files of captions: beside paths of pictures, or with the pictures themselves, as Hugging Face has them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from curation.reading.captioned_tables import CaptionedTable, ImageRow, Row, members_of
from curation.reading.formats import FORMATS, NewMembers, Original
from curation.reading.pairs import CaptionOptions
from curation.reading.parts import parts_of
from files.addresses import open_bytes, unreachable
from files.errors import CocuError, MisuseError
from files.picture_tables import (
    IMAGE_COLUMNS,
    NO_LETTER,
    PICTURE_COLUMNS,
    has_bytes,
    key_column,
    picture_of,
    row_key,
    text_as_bytes,
)
from files.rejects import Reject, is_utf8
from files.shard_note import ShardNote, read_note

ROW = ""  # key of a row as it stands, a record batch of one
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

    @property
    def schema(self) -> Any:
        """Arrow's schema of the file, metadata and all."""
        return self._footer[0]

    @property
    def noted(self) -> ShardNote | None:
        """How the pairs of a curated shard are read; None of any other file."""
        return self._footer[1]

    @cached_property
    def _footer(self) -> tuple[Any, ShardNote | None]:
        with _parquet(self.url) as file:
            return file.schema_arrow, read_note(file.metadata.metadata, file.metadata.num_rows)

    def columns(self) -> list[str]:
        """Those of the schema."""
        return list(self.schema.names)

    def image_column(self, chosen: str | None) -> str | None:
        """As `CaptionedTable`; of the usual names one that holds pictures comes first, then any column of Arrow's."""
        if chosen:
            return super().image_column(chosen)
        usual = [name for name in self.usual_images if name in self.columns()]
        held = [name for name in usual if self.holds_pictures(name)]
        objects = [field.name for field in self.schema if has_bytes(field.type)]
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
            held = has_bytes(kind)
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                first = islice(self._rows(0, _PICTURES, (column,), 1), _PICTURES)
                cell = next((row[column] for row in first if row[column]), NO_LETTER)
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
        return f"{name}.path" if has_bytes(kind) and kind.get_field_index("path") >= 0 else ""

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
            WholeRows(pair.key, pair.checksum, members_of(row, pair), row.rows)
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
        keys = [name for name in [key_column(self.columns(), image, caption)] if name]
        before = max(0, self.start - 1)
        noted = self.noted.keys if self.noted else {}
        last: ImageRow | None = None
        same: bytes | str = ""
        rows = self._rows(before, sys.maxsize, (image, caption, *keys), whole=whole)
        for number, row in enumerate(rows, before):
            data, path = picture_of(row[image])
            goes_on = bool(same) and same == (data or path) and str(number) not in noted
            same = data or path
            if not goes_on:
                if last is not None:
                    yield last
                if number >= self.stop:
                    return
                key = noted.get(str(number), row[keys[0]] if keys else None)
                found = self._held_row(number, data, path, key)
                last = found if isinstance(found, ImageRow) and number >= self.start else None
                if isinstance(found, Reject) and number >= self.start:
                    yield found
            if last is not None:  # else its part is the one before
                last.captions.append(row[caption])
                last.rows.extend([row[ROW]] if whole else ())
        if last is not None:
            yield last

    def _held_row(self, number: int, data: bytes | None, path: str, key: Any) -> ImageRow | Reject:
        """A picture, yet without captions."""
        if data is None:
            return self.named_row(number + 1, path)
        own = row_key(key, path, self.url, number)
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
    columns = [batch[name].cast(text_as_bytes(batch[name].type)).to_pylist() for name in names]
    for number, cells in enumerate(zip(*columns, strict=True)):
        yield dict(zip(names, cells, strict=True)) | ({ROW: batch.slice(number, 1)} if whole else {})


def _may_be_large(kind: Any) -> bool:
    """Whether cells of a type may be pictures: bytes, maybe within an object."""
    import pyarrow as pa

    return bool(pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
