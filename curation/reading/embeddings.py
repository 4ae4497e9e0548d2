"""Embeddings that others made: vectors beside a table of the pairs that they are of, row by row.

img_emb/img_emb_0.npy   text_emb/text_emb_0.npy   metadata/metadata_0.parquet      clip-retrieval, LAION
NAME.npz (b32_img, b32_txt, l14_img, l14_txt)     NAME.parquet                     DataComp
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curation.reading.captioned_tables import BadRow, CaptionedTable
from curation.reading.pairs import CaptionOptions, Pair, checked_captions
from curation.reading.shards import Shard
from files.errors import CocuError, MisuseError, one_line
from files.picture_tables import CAPTION_COLUMNS, table_key
from files.rejects import Reject, is_utf8
from files.shard_names import file_names
from files.vector_files import VectorFile

KEY_COLUMNS = ("key", "uid", "image_path")
LAYOUTS = "img_emb/*.npy with metadata/*.parquet (clip-retrieval), or *.npz beside *.parquet (DataComp)"


@dataclass(frozen=True)
class EmbeddedPart:
    """The vectors of a table's rows, in its order.

    table: its whole, as a shard. start: the number of its first row among the rows of all parts. images, texts: files
    of vectors, which may be one; None where the captions have none.
    """

    table: Shard
    start: int
    images: Path
    texts: Path | None

    @property
    def rows(self) -> int:
        """Of the table."""
        return self.table.size

    def vectors(self, dim: int) -> tuple[VectorFile, VectorFile | None]:
        """Those of this dimension, of pictures and of captions; of several models' the one that has it.

        Raises MisuseError where they are of another, CocuError for files that are damaged or of other rows.
        """
        images, texts = VectorFile.found(self.images, "img", dim), VectorFile.found(self.texts, "txt", dim)
        if images is None:
            raise CocuError(f"{self.images}: holds no array NAME_img, the vectors of pictures")
        for one in (images, texts):
            if one and one.rows != self.rows:
                raise CocuError(f"{one.path}: holds {one.rows:,} vectors, and {self.table.url} has {self.rows:,} rows")
        return images, texts

    def pairs(self, options: CaptionOptions) -> Iterator[EmbeddedPair | Reject]:
        """A pair, without its picture, or a reject for each row. Raises MisuseError where it has no captions."""
        reader = self.table.reader
        assert isinstance(reader, CaptionedTable)
        names = reader.columns()
        key, chosen = _column(names, KEY_COLUMNS), options.caption_column or options.field
        caption = chosen or _column(names, CAPTION_COLUMNS)
        if caption not in names:
            raise MisuseError(
                f"{self.table.url}: no caption column ({caption or ', '.join(CAPTION_COLUMNS)}); it has "
                f"{', '.join(names)[:300] or 'none'}; name it with --caption-column"
            )
        for row, cells in enumerate(reader.read([caption, *([key] if key else [])]), self.start):
            if isinstance(cells, BadRow):
                yield Reject(f"row {row:,}", cells.reason)
                continue
            name = _key(key, cells.get(key)) if key else str(row)
            if not name or not is_utf8(name):
                yield Reject(name or f"row {row:,}", f"no key: column {key} is {'not UTF-8' if name else 'empty'}")
                continue
            captions = checked_captions(name, cells.get(caption), options.all_captions)
            if isinstance(captions, Reject):
                yield captions
            else:
                yield EmbeddedPair(name, b"", captions, zlib.crc32(captions[0].encode()), row=row)


@dataclass(frozen=True, slots=True)
class EmbeddedPair(Pair):
    """A pair whose vectors are there, in this row of all parts.

    told: whether the text vector is of its first caption; else only the picture's counts.
    """

    row: int = 0
    told: bool = True


def find_parts(folder: Path) -> list[EmbeddedPart]:
    """The parts of a folder in the order of their numbers.

    Raises MisuseError where there is no row of any, CocuError for files that do not belong together or no tables.
    """
    if not folder.is_dir():
        raise MisuseError(f"--embeddings {folder}: no such folder; give a local one, vectors are mapped from the disk")
    parts: list[EmbeddedPart] = []
    files = _files(folder)
    names = file_names([str(table) for table, _, _ in files], [".parquet"])
    for name, (table, images, texts) in zip(names, files, strict=True):
        try:
            rows = int(pq.read_metadata(table).num_rows)
        except Exception as error:  # Arrow raises many kinds
            raise CocuError(f"{table}: cannot be read as Parquet ({one_line(error)})") from error
        start = parts[-1].start + parts[-1].rows if parts else 0
        parts.append(EmbeddedPart(Shard(name, str(table.resolve()), rows, (0, rows)), start, images, texts))
    if not any(part.rows for part in parts):
        raise MisuseError(f"--embeddings {folder}: its tables hold no row")
    return parts


def _files(folder: Path) -> list[tuple[Path, Path, Path | None]]:
    """(table, vectors of pictures, those of captions) of each part."""
    if packed := _sorted(folder, "*.npz") or _sorted(folder / "metadata", "*.npz"):
        files: list[tuple[Path, Path, Path | None]]
        files = [(path.with_suffix(".parquet"), path, path) for path in packed]
    else:
        numbered = [
            {path.stem.rpartition("_")[2]: path for path in _sorted(folder / name, pattern)}
            for name, pattern in (("metadata", "*.parquet"), ("img_emb", "*.npy"), ("text_emb", "*.npy"))
        ]
        of_tables, of_images, of_texts = numbered
        if not of_images:
            raise MisuseError(f"--embeddings {folder}: holds neither {LAYOUTS.replace(', or', ', nor')}")
        for name in of_texts.keys() - of_images.keys():
            raise CocuError(f"{of_texts[name]}: there is no img_emb/*_{name}.npy of the same pairs")
        for name in of_tables.keys() - of_images.keys():
            raise CocuError(f"{of_tables[name]}: there is no img_emb/*_{name}.npy of its rows")
        missing = folder / "metadata"
        files = [
            (of_tables.get(name, missing / f"metadata_{name}.parquet"), path, of_texts.get(name))
            for name, path in of_images.items()
        ]
    for table, images, _ in files:
        if not table.is_file():
            raise CocuError(f"{images}: there is no {table}, which would say what its vectors are of")
    return files


def _sorted(folder: Path, pattern: str) -> list[Path]:
    """By the numbers in their names: _2 before _10."""

    def numbers(path: Path) -> list[tuple[int, str]]:
        return [(int(part), part) if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.stem)]

    return sorted(folder.glob(pattern), key=numbers)


def _column(names: Sequence[str], usual: Sequence[str]) -> str | None:
    """The first usual name that a column has, in any case of letters."""
    known = {name.lower(): name for name in reversed(names)}
    return next((known[name] for name in usual if name in known), None)


def _key(column: str, cell: Any) -> str:
    text = cell.decode("utf-8", "surrogateescape") if isinstance(cell, bytes) else "" if cell is None else str(cell)
    return table_key(text) if column.lower() == "image_path" and text else text
