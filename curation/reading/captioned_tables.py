"""Tables of captions: (image path, caption) rows beside a folder of images, and captions without images."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from curation.reading.shards import Shard
from curation.reading.tables import BadRow, read_rows, table_columns
from files.addresses import filesystem, is_remote, open_bytes
from files.errors import CocuError, MisuseError
from files.rejects import Reject, is_utf8

IMAGE_COLUMNS = ("image", "image_path", "filepath", "file_path", "file_name", "filename", "path", "file")
CAPTION_COLUMNS = ("caption", "text", "title", "sentence", "alt", "description")


@dataclass(frozen=True)
class ColumnNames:
    """Columns chosen by the user; None takes the first of the usual names that the table has."""

    image: str | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One row of an (image path, caption) table.

    image: local path, or remote address, of the picture. caption: what the cell holds: text, bytes, a list or None.
    """

    key: str
    image: str
    caption: Any

    @property
    def suffix(self) -> str:
        """Ending of the picture's name, lower case, with its dot."""
        return PurePosixPath(self.image).suffix.lower()


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """One caption without a picture of ours. `image` names the picture that it describes, where the table says so."""

    key: str
    caption: Any
    image: str | None


def table_rows(shard: Shard, columns: ColumnNames) -> Iterator[ImageRow | Reject]:
    """Rows of a part of a table of (image path, caption); paths are relative to the table's folder.

    Raises MisuseError when the table lacks a column.
    """
    names = table_columns(shard.url)
    image = _pick(shard.url, names, columns.image, IMAGE_COLUMNS, "image", "--image-column")
    caption = _pick(shard.url, names, columns.caption, CAPTION_COLUMNS, "caption", "--caption-column")
    for number, row in _numbered(shard, (image, caption)):
        if isinstance(row, BadRow):
            yield Reject(f"row {number:,}", row.reason)
            continue
        path = _text(row.get(image))
        if not path:
            yield Reject(f"row {number:,}", "no image: the cell is empty")
        elif not is_utf8(path):
            yield Reject(path, "image name is not UTF-8")
        elif "://" in path and not is_remote(shard.url):
            yield Reject(table_key(path), f"image is no file: {path} is an address; download it first")
        else:
            yield ImageRow(table_key(path), _beside(shard.url, path), row.get(caption))


def table_key(path: str) -> str:
    """Key of an image path: without its suffix; dots would split the key in a WebDataset, so they become "_"."""
    local = PurePosixPath(urlsplit(path).path if "://" in path else path)
    return (str(local.with_suffix("")) if local.name else str(local)).lstrip("./").replace(".", "_") or path


def read_image(row: ImageRow, limit: int) -> bytes | Reject:
    """The picture of a row, or why there is none of at most `limit` bytes."""
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


def caption_rows(shard: Shard) -> Iterator[CaptionRow | Reject]:
    """Rows of a part of a caption-only table: a caption, and where it has them a key and an image.

    Raises MisuseError when the table has no caption column.
    """
    names = table_columns(shard.url)
    caption = _pick(shard.url, names, None, CAPTION_COLUMNS, "caption", None)
    wanted = [name for name in ("key", "image") if name in names]
    for number, row in _numbered(shard, (caption, *wanted)):
        if isinstance(row, BadRow):
            yield Reject(f"row {number:,}", row.reason)
            continue
        key, image = (_text(row.get(name)) for name in ("key", "image"))
        if not is_utf8(key + image):
            yield Reject(key or f"row {number:,}", "key or image name is not UTF-8")
        else:
            yield CaptionRow(key or str(number - 1), row.get(caption), image or None)


def caption_by_key(url: str) -> dict[str, str]:
    """Captions of img2dataset's Parquet output by key; {} when there is no such file or it has no such columns.

    Raises CocuError when it cannot be read.
    """
    import pyarrow.parquet as pq

    try:
        if not (filesystem(url).exists(url) if is_remote(url) else Path(url).is_file()):
            return {}
        with open_bytes(url, seek=True) as source:
            file = pq.ParquetFile(source)
            caption = next((name for name in CAPTION_COLUMNS if name in file.schema_arrow.names), None)
            if "key" not in file.schema_arrow.names or caption is None:
                return {}
            table = file.read(columns=["key", caption])
            pairs = zip(table["key"].to_pylist(), table[caption].to_pylist(), strict=True)
            return {_text(key): text for key, text in pairs if text is not None}
    except CocuError:
        raise
    except Exception as error:  # Arrow, fsspec and their drivers raise many kinds
        raise CocuError(f"{url}: {' '.join(str(error).split())}") from error


def _pick(
    url: str, names: Sequence[str], chosen: str | None, usual: Sequence[str], what: str, option: str | None
) -> str:
    name = chosen if chosen is not None else next((name for name in usual if name in names), None)
    if name is None or name not in names:
        wanted = f"no column {chosen!r}" if chosen else f"no {what} column (looked for {', '.join(usual)})"
        hint = f"; name it with {option}" if option else ""
        raise MisuseError(f"{url}: {wanted}; it has {', '.join(names) or 'none'}{hint}")
    return name


def _numbered(shard: Shard, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any] | BadRow]]:
    """The rows of a part with their numbers in the table, from 1."""
    start, stop = shard.rows or (0, 0)
    return enumerate(read_rows(shard.url, start, stop, shard.offset, columns), start + 1)


def _text(cell: Any) -> str:
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "surrogateescape")
    return "" if cell is None else str(cell)


def _beside(table: str, path: str) -> str:
    if "://" in path:
        return path
    if not is_remote(table):
        return str(Path(table).parent / path)
    if path.startswith("/"):
        return f"{table.partition('://')[0]}://{path.lstrip('/')}"
    return f"{table.rpartition('/')[0]}/{path}"
