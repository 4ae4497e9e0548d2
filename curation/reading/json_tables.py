"""JSON files of captions: a list of objects, each a row; or COCO's, whose captions are grouped by picture."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from curation.reading.captioned_tables import BadRow, CaptionedTable, Row
from curation.reading.formats import FORMATS
from curation.reading.parts import parts_of
from curation.reading.tables import LINES_ASKED
from files.addresses import is_remote, open_bytes
from files.errors import MisuseError
from files.json_stream import BrokenJson, JsonStream

_BATCH = 100_000
_LOOKED_FOR = 100  # pictures


class JsonTable(CaptionedTable):
    """A list of objects, or COCO's object of the lists `images` (id, file_name) and `annotations` (image_id, caption).

    Only by its name, for most such files hold no captions. Of COCO's all captions are held, as bytes.
    """

    suffixes = (".json",)
    by_name = True

    def columns(self) -> list[str]:
        """Fields of the first rows."""
        if self._is_coco:
            return ["image", "caption"]
        with self._stream() as stream:
            rows = (value for _, _, value in islice(stream.parts(), LINES_ASKED))
            return list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))

    def cut(self, rows: int, image: str | None = None) -> list[tuple[int, int, int]]:
        """As `CaptionedTable`."""
        if self._is_coco:
            if image is not None:
                self._check_images()
            names = ((0, name) for batch in self._coco().to_batches() for name in batch["image"].to_pylist())
            return parts_of(names, rows, self.picture)
        with self._stream() as stream:
            cells = ((at, row.get(image) if image and isinstance(row, dict) else None) for _, at, row in stream.parts())
            return parts_of(cells, rows, self.picture)

    def _check_images(self) -> None:
        """COCO's pictures seldom lie beside their captions. Raises MisuseError for none, and no folder told."""
        first = [name for name in self._coco()["image"][:_LOOKED_FOR].to_pylist() if name is not None]
        paths = [self.picture(name) for name in first]
        if self.options.images is None and paths and not any(is_remote(p) or Path(p).exists() for p in paths):
            raise MisuseError(f"{self.url}: no {paths[0]}; say in which folder its pictures lie: --images DIR")

    def read(self, columns: Sequence[str]) -> Iterator[Row]:
        """As `CaptionedTable`."""
        count = self.stop - self.start
        if self._is_coco:
            for row in self._coco().slice(self.start, count).to_pylist():
                yield (
                    row if row["image"] is not None else BadRow("no image: a caption of an image_id that is not there")
                )
        elif count:
            with self._stream(self.offset) as stream:
                for _, row in islice(stream.rest(), count):
                    yield row if isinstance(row, dict) else BadRow("broken row: not a JSON object")

    @property
    def _is_coco(self) -> bool:
        with open_bytes(self.url) as source:
            return source.read(_BOM_AND_SPACE).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")

    @contextmanager
    def _stream(self, offset: int = 0) -> Iterator[JsonStream]:
        with open_bytes(self.url, seek=offset > 0) as source, _told(self.url):
            if offset:
                source.seek(offset)
            yield JsonStream(source, offset)

    def _coco(self) -> Any:
        file = None if is_remote(self.url) else Path(self.url).stat()
        return _coco_captions(self.url, file and (file.st_ino, file.st_mtime_ns, file.st_size))


FORMATS.add("json", JsonTable)
_BOM_AND_SPACE = 1024


@lru_cache(maxsize=1)  # each part of the table asks for it
def _coco_captions(url: str, stamp: object) -> Any:
    """Arrow table of (image, caption), as bytes, in the order of the pictures; then captions of no picture.

    A picture without caption has a row, too.
    """
    import pyarrow as pa

    places: dict[Any, int] = {}  # of each id, in either list
    files: list[Any] = []
    order: list[int] = []
    owner = array("q")
    captions: list[bytes | None] = []
    chunks: list[Any] = []
    lists: set[str] = set()

    def place(key: Any) -> int:
        try:
            number = places.setdefault(key, len(files))
        except TypeError:  # a list, say
            number = places.setdefault(str(key), len(files))
        if number == len(files):
            files.append(None)
        return number

    with open_bytes(url) as source, _told(url):
        for name, _, value in JsonStream(source).parts():
            lists.add(name)
            fields = value if isinstance(value, dict) else {}
            if name == "images":
                number = place(fields.get("id"))
                if files[number] is None:
                    order.append(number)
                    files[number] = _bytes(fields.get("file_name"))
            elif name == "annotations":
                owner.append(place(fields.get("image_id")))
                captions.append(_bytes(fields.get("caption")))
                if len(captions) == _BATCH:
                    chunks.append(pa.array(captions, pa.large_binary()))
                    captions = []
    held = pa.chunked_array([*chunks, pa.array(captions, pa.large_binary())])
    if not {"images", "annotations"} <= lists or (len(held) and held.null_count == len(held)):
        raise MisuseError(
            f"{url}: holds no captions as COCO has them (images: id, file_name; annotations: image_id, caption); "
            "give its captions_*.json, or a list of objects"
        )
    rank = np.full(len(files), len(files), np.int64)
    rank[order] = np.arange(len(order))
    owners = np.frombuffer(owner, np.int64) if owner else np.zeros(0, np.int64)
    silent = np.setdiff1d(np.array(order, np.int64), owners)
    owners = np.concatenate([owners, silent])
    held = pa.chunked_array([*held.chunks, pa.nulls(len(silent), pa.large_binary())])
    sorted_rows = np.argsort(rank[owners], kind="stable")
    names = pa.array([files[number] for number in owners[sorted_rows]], pa.large_binary())
    return pa.table({"image": names, "caption": held.take(pa.array(sorted_rows))})


def _bytes(text: Any) -> bytes | None:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) and text else None


@contextmanager
def _told(url: str) -> Iterator[None]:
    try:
        yield
    except BrokenJson as error:
        raise MisuseError(f"{url}: cannot be read as a table ({error})") from error
