"""Tables of captions: (image path, caption) rows beside a folder of images, and captions without images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import MisuseError
from curation.shards import ROWS_PER_TABLE_SHARD, Shard, filesystem, is_remote

IMAGE_COLUMNS = ("image", "image_path", "filepath", "file_path", "file_name", "filename", "path", "file")
CAPTION_COLUMNS = ("caption", "text", "title", "sentence", "alt", "description")


@dataclass(frozen=True)
class ColumnNames:
    """Columns chosen by the user; None takes the first of the usual names that the table has."""

    image: str | None = None
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One row of an (image path, caption) table. `caption` is what the cell holds: text, a list or None."""

    key: str
    image: Path
    caption: Any


@dataclass(frozen=True, slots=True)
class CaptionRow:
    """One caption without a picture of ours. `image` names the picture that it describes, where the table says so."""

    key: str
    caption: Any
    image: str | None


def count_rows(url: str) -> int:
    """Rows of a table. Raises MisuseError when it cannot be read."""
    if url.endswith(".parquet"):
        import pyarrow.parquet as pq

        try:
            with _open(url) as source:
                return int(pq.ParquetFile(source).metadata.num_rows)
        except (OSError, ValueError) as error:
            raise MisuseError(f"{url}: cannot be read as Parquet ({error})") from error
    return sum(len(batch) for batch in _batches(url))


def table_rows(shard: Shard, columns: ColumnNames) -> Iterator[ImageRow]:
    """Rows [start, stop) of a table of (image path, caption); paths are relative to the table's folder."""
    folder = Path(shard.url).parent
    for row in _shard_rows(shard):
        image = _pick(shard.url, row, columns.image, IMAGE_COLUMNS, "image", "--image-column")
        caption = _pick(shard.url, row, columns.caption, CAPTION_COLUMNS, "caption", "--caption-column")
        path = Path(str(row[image] or ""))
        yield ImageRow(table_key(path), folder / path, row[caption])


def table_key(path: Path) -> str:
    """Key of an image path: without its suffix; dots would split the key in a WebDataset, so they become "_"."""
    return path.with_suffix("").as_posix().lstrip("./").replace(".", "_") or path.as_posix()


def caption_rows(shard: Shard) -> Iterator[CaptionRow]:
    """Rows [start, stop) of a caption-only table: a caption, and where it has them a key and an image."""
    start = shard.rows[0] if shard.rows else 0
    for i, row in enumerate(_shard_rows(shard)):
        caption = _pick(shard.url, row, None, CAPTION_COLUMNS, "caption", None)
        image = row.get("image")
        yield CaptionRow(str(row.get("key") or start + i), row[caption], str(image) if image else None)


def caption_by_key(url: str) -> dict[str, str]:
    """Captions of img2dataset's Parquet output by key; {} when it has no such columns."""
    import pyarrow.parquet as pq

    names = pq.read_schema(url).names
    caption = next((name for name in CAPTION_COLUMNS if name in names), None)
    if "key" not in names or caption is None:
        return {}
    table = pq.read_table(url, columns=["key", caption])
    pairs = zip(table["key"].to_pylist(), table[caption].to_pylist(), strict=True)
    return {str(key): text for key, text in pairs if text is not None}


def _pick(
    url: str, row: dict[str, Any], chosen: str | None, usual: tuple[str, ...], what: str, option: str | None
) -> str:
    name = chosen if chosen is not None else next((name for name in usual if name in row), None)
    if name is None or name not in row:
        wanted = f"no column {chosen!r}" if chosen else f"no {what} column (looked for {', '.join(usual)})"
        hint = f"; name it with {option}" if option else ""
        raise MisuseError(f"{url}: {wanted}; it has {', '.join(row)}{hint}")
    return name


def _shard_rows(shard: Shard) -> Iterator[dict[str, Any]]:
    start, stop = shard.rows or (0, 0)
    position = 0
    for batch in _batches(shard.url):
        if position + len(batch) > start:
            part = batch.slice(max(0, start - position), min(len(batch), stop - position) - max(0, start - position))
            yield from part.to_pylist()
        position += len(batch)
        if position >= stop:
            return


def _open(url: str) -> Any:
    return filesystem(url).open(url, "rb") if is_remote(url) else Path(url).open("rb")


def _batches(url: str) -> Iterator[Any]:
    """Arrow record batches of a table file, streamed. Raises MisuseError for a file that is no such table."""
    import pyarrow as pa
    from pyarrow import csv
    from pyarrow import json as pa_json

    try:
        with _open(url) as source:
            if url.endswith(".parquet"):
                import pyarrow.parquet as pq

                yield from pq.ParquetFile(source).iter_batches(ROWS_PER_TABLE_SHARD)
            elif url.endswith(".jsonl"):
                yield from pa_json.open_json(source)
            else:
                tab = url.endswith(".tsv")
                yield from csv.open_csv(
                    source,
                    parse_options=csv.ParseOptions(
                        delimiter="\t" if tab else ",", quote_char=False if tab else '"', newlines_in_values=not tab
                    ),
                    convert_options=csv.ConvertOptions(strings_can_be_null=False, column_types=_text_columns(url)),
                )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise MisuseError(f"{url}: cannot be read as a table ({error})") from error


def _text_columns(url: str) -> dict[str, Any]:
    # A caption or key column of digits must stay text ("000123" is not 123).
    import pyarrow as pa

    return {name: pa.string() for name in (*IMAGE_COLUMNS, *CAPTION_COLUMNS, "key")}
