"""Tables of captions: rows of a picture, or of its path, and a caption; and captions without pictures.

What kind of file holds the rows does not matter here: that is for the classes that derive from `CaptionedTable`.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from curation.reading.formats import Format, NewMembers, Original
from curation.reading.pairs import MAX_IMAGE_BYTES, CaptionOptions, Pair, checked_captions
from files.addresses import filesystem, is_remote, open_bytes
from files.errors import CocuError, MisuseError
from files.picture_tables import (
    CAPTION_COLUMNS,
    IMAGE_COLUMNS,
    as_text,
    flattened,
    free_key,
    picture_field,
    table_key,
)
from files.rejects import Reject, is_utf8

SHOWN_NAMES = 300  # letters of what may be no header


@dataclass(frozen=True, slots=True)
class ImageRow:
    """A picture of a table.

    image: local path, or remote address, of the picture, or what it was called where the table holds it: `data`.
    captions: what the cells of its rows hold: text, bytes, a list or None. rows: these as they stand, if asked for.
    """

    key: str
    image: str
    captions: list[Any]
    data: bytes | None = None
    rows: list[Any] = field(default_factory=list)

    def field(self, data: bytes) -> str:
        """How its picture is called in a tar."""
        return picture_field(self.image, data)


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """One caption without a picture of ours. `image` names the picture that it describes, where the table says so."""

    key: str
    caption: Any
    image: str | None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read, and why."""

    reason: str


Row = dict[str, Any] | BadRow


class CaptionedTable(Format):
    """A table, or the rows [start, stop) of one; `offset` is the byte where they start, in tables of text.

    options: how it is to be read; headless: whether it can be without the names of its columns.
    """

    options = CaptionOptions()
    headless = False

    def told(self, options: CaptionOptions) -> Self:
        """The same table, to be read so. Raises MisuseError where it cannot be."""
        if options.columns and not self.headless:
            raise MisuseError(f"{self.url}: names its columns itself; --no-header is for CSV and TSV")
        self.options = options
        return self

    @abstractmethod
    def cut(self, rows: int, image: str | None = None) -> list[tuple[int, int, int]]:
        """The whole table in parts of so many rows: first row, row after the last, offset of the first.

        image: column whose picture is not parted where its rows follow each other. Raises MisuseError when it is no
        such table.
        """

    @abstractmethod
    def columns(self) -> list[str]:
        """Names of the columns."""

    @abstractmethod
    def read(self, columns: Sequence[str]) -> Iterator[Row]:
        """The rows, with at least these columns. What is text may come as bytes."""

    def remark(self) -> str:
        """What whoever reads it should know of how it is read, or ""."""
        return ""

    def image_column(self, chosen: str | None) -> str | None:
        """Name of the column of pictures or their paths, the chosen one or a usual one; None where it has none."""
        names = self.columns()
        return next((name for name in ([chosen] if chosen else self.usual_images) if name in names), None)

    @property
    def usual_images(self) -> Sequence[str]:
        """Names that the column of pictures usually has."""
        return (*IMAGE_COLUMNS, "url") if self.options.columns else IMAGE_COLUMNS

    def picture(self, cell: Any) -> str:
        """Path or address of the picture that a cell names."""
        folder = self.options.images
        return _beside(self.url if folder is None else f"{folder.rstrip('/')}/-", as_text(cell))

    def name_column(self, name: str) -> str:
        """What to read of a column for no more than what its pictures are called, "" for nothing."""
        return name

    def name(self, cell: Any) -> str:
        """What the picture of a cell is called."""
        return as_text(cell)

    def pairs(self, options: CaptionOptions) -> Iterator[Pair | Reject]:
        """Pairs in the order of the rows. Raises MisuseError when the table lacks a column."""
        yield from (item if isinstance(item, Reject) else item[1] for item in self._pairs(options))

    @contextmanager
    def originals(self, options: CaptionOptions) -> Iterator[Iterator[Original]]:
        """What a pair has in a tar: its picture under its own ending, and its caption."""
        yield (
            NewMembers(pair.key, pair.checksum, members_of(row, pair))
            for row, pair in (item for item in self._pairs(options) if not isinstance(item, Reject))
        )

    def weight(self, pairs: Sequence[Pair]) -> int:
        """Rows."""
        return len(pairs)

    def image_rows(self, options: CaptionOptions) -> Iterator[ImageRow | Reject]:
        """Pictures in the order of their first rows, each with the captions of all its rows; and bad rows, before them.

        Paths are relative to the table's folder. Raises MisuseError when the table lacks a column.
        """
        found: dict[str, ImageRow] = {}
        image, caption = self.pair_columns(options)
        for number, row in enumerate(self.read((image, caption)), self.start + 1):
            if isinstance(row, BadRow):
                yield Reject(f"row {number:,}", row.reason)
                continue
            named = self.named_row(number, as_text(row.get(image)))
            if isinstance(named, Reject):
                yield named
                continue
            found.setdefault(named.image, named).captions.append(row.get(caption))
        yield from found.values()

    def pair_columns(self, options: CaptionOptions) -> tuple[str, str]:
        """The columns of pictures, or their paths, and of captions. Raises MisuseError where one is missing."""
        names = self.columns()
        image = options.image_column or self.image_column(None)
        return (
            self._pick(names, image, self.usual_images, "image", "--image-column"),
            self._pick(names, options.caption_column, CAPTION_COLUMNS, "caption", "--caption-column"),
        )

    def named_row(self, number: int, path: str) -> ImageRow | Reject:
        """A picture outside of the table, yet without captions, by its path or address in row `number`, from 1."""
        if not path:
            return Reject(f"row {number:,}", "no image: the cell is empty")
        if not is_utf8(path):
            return Reject(path, "image name is not UTF-8")
        if "://" in path and not is_remote(self.url):
            return Reject(table_key(path), f"image is no file: {path} is an address; download it first")
        return ImageRow(table_key(path), self.picture(path), [])

    def caption_rows(self) -> Iterator[CaptionRow | Reject]:
        """Rows of captions alone: a caption, and where the table has them a key and an image.

        Raises MisuseError when the table has no caption column.
        """
        names = self.columns()
        caption = self._pick(names, None, CAPTION_COLUMNS, "caption", None)
        wanted = [name for name in ("key", self.name_column("image")) if name.partition(".")[0] in names]
        for number, row in enumerate(self.read((caption, *wanted)), self.start + 1):
            if isinstance(row, BadRow):
                yield Reject(f"row {number:,}", row.reason)
                continue
            key, image = (self.name(row.get(name)) for name in ("key", "image"))
            if not is_utf8(key + image):
                yield Reject(key or f"row {number:,}", "key or image name is not UTF-8")
            else:
                yield CaptionRow(key or str(number - 1), row.get(caption), image or None)

    def _pick(
        self, names: Sequence[str], chosen: str | None, usual: Sequence[str], what: str, option: str | None
    ) -> str:
        name = chosen if chosen is not None else next((name for name in usual if name in names), None)
        if name is not None and name in names:
            return name
        wanted = f"no column {chosen!r}" if chosen else f"no {what} column (looked for {', '.join(usual)})"
        hint = f"; name it with {option}" if option else ""
        if self.headless and option and not self.options.columns:
            hint += "; if that is no header, name the columns: --no-header --columns caption,image"
        if self.url.lower().endswith(".txt"):
            hint += "; a text is a table where its first line names the columns"
        has = ", ".join(names)[:SHOWN_NAMES] or "none"
        raise MisuseError(f"{self.url}: {wanted}; it has {has}{hint}")

    def _pairs(self, options: CaptionOptions) -> Iterator[tuple[ImageRow, Pair] | Reject]:
        return self.joined(self.told(options).image_rows(options), options)

    def joined(
        self, rows: Iterator[ImageRow | Reject], options: CaptionOptions
    ) -> Iterator[tuple[ImageRow, Pair] | Reject]:
        """What `image_rows` gave, each with the pair that it makes."""
        taken: dict[str, int] = {}
        for row in rows:
            if isinstance(row, Reject):
                yield row
                continue
            # A cell with a list is asked for its captions; a picture with several rows has them.
            several = len(row.captions) > 1
            raw = list(flattened(row.captions))
            captions = checked_captions(row.key, raw if several else row.captions[0], options.all_captions or several)
            if isinstance(captions, Reject):
                yield captions
                continue
            image = read_image(row, MAX_IMAGE_BYTES)
            if isinstance(image, Reject):
                yield image
                continue
            key = free_key(row.key, taken)  # a.jpg and a.png, img.v1.jpg and img_v1.jpg
            yield row, Pair(key, image, captions, zlib.crc32(captions[0].encode(), zlib.crc32(image)), row.key)


def members_of(row: ImageRow, pair: Pair) -> list[tuple[str, bytes]]:
    """What the pair of a row has in a tar: (field, data)."""
    return [(row.field(pair.image), pair.image), ("txt", pair.captions[0].encode())]


def read_image(row: ImageRow, limit: int) -> bytes | Reject:
    """The picture of a row, or why there is none of at most `limit` bytes."""
    if row.data is not None:
        big = len(row.data) > limit
        return Reject(row.key, f"oversized picture: {len(row.data):,} bytes") if big else row.data
    try:
        if is_remote(row.image):
            with filesystem(row.image).open(row.image, "rb") as source:
                data = bytes(source.read(limit + 1))
        else:
            with open(row.image, "rb", opener=_regular_file) as source:
                data = source.read(limit + 1)
    except CocuError:
        raise
    except Exception as error:  # every remote driver has kinds of its own
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            raise  # no fault of the picture
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        return Reject(row.key, f"image cannot be read: {row.image}: {reason}")
    if len(data) > limit:
        return Reject(row.key, f"oversized picture file: {row.image}: over {limit:,} bytes")
    return data


def _regular_file(path: str, flags: int) -> int:
    # A pipe or device named by a table could keep the run waiting, or reading, for ever.
    file = os.open(path, flags | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError("not a regular file")
    return file


def column_by_key(url: str, names: Sequence[str]) -> dict[str, str]:
    """The first of these columns of img2dataset's Parquet output, by key; {} where there is no such file or column.

    Raises CocuError when it cannot be read.
    """
    import pyarrow.parquet as pq

    try:
        if not (filesystem(url).exists(url) if is_remote(url) else Path(url).is_file()):
            return {}
        with open_bytes(url, seek=True) as source:
            file = pq.ParquetFile(source)
            column = next((name for name in names if name in file.schema_arrow.names), None)
            if "key" not in file.schema_arrow.names or column is None:
                return {}
            table = file.read(columns=["key", column])
            pairs = zip(table["key"].to_pylist(), table[column].to_pylist(), strict=True)
            return {as_text(key): text for key, text in pairs if text is not None}
    except CocuError:
        raise
    except Exception as error:  # Arrow, fsspec and their drivers raise many kinds
        raise CocuError(f"{url}: {' '.join(str(error).split())}") from error


def _beside(table: str, path: str) -> str:
    if "://" in path:
        return path
    if not is_remote(table):
        return str(Path(table).parent / path)
    if path.startswith("/"):
        return f"{table.partition('://')[0]}://{path.lstrip('/')}"
    return f"{table.rpartition('/')[0]}/{path}"
