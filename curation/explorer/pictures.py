"""Pictures by their place in a shard: its headers are walked once, what is shown is decoded once, and kept small."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from curation.curated.sources import pictures_of, shard_of
from curation.explorer.catalogue import Catalogue, shard_keys
from curation.reading.pairs import IMAGE_FIELDS, MAX_IMAGE_BYTES
from curation.reading.shards import Shard
from curation.report.thumbnails import thumbnail
from curation.runs.parquet_parts import reading
from files.atomic import atomic
from files.npy import load_npy
from files.rejects import Reject
from files.tar import read_samples

_KEPT_BYTES = 96 << 20


class Pictures:
    """The pictures of a curated folder; where this has no shards, those of the shards that it was made from."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._shards: dict[str, Shard | None] = {}
        self._places: dict[str, np.ndarray] = {}
        self._lock = Lock()
        self._small = Kept(_KEPT_BYTES)

    def small(self, pair: int, side: int) -> bytes | None:
        """A JPEG of at most `side` pixels a side; None where there is no picture that can be shown."""
        return self._small.get((pair, side), lambda: self._thumbnail(pair, side))

    def whole(self, pair: int) -> bytes | None:
        """The picture as the shard holds it; None where there is none."""
        name, row = self._catalogue.place(pair)
        with self._lock:  # a page asks for many pictures of a shard at once
            if name not in self._shards:  # the manifest is long, and the shard may come from elsewhere
                self._shards[name] = shard_of(self._catalogue.folder, name)
            shard = self._shards[name]
        if shard is None:
            return None
        tar = Path(shard.url)
        if tar.suffix != ".tar":  # a table, or a compressed tar: gone through from its beginning
            key = shard_keys(self._catalogue.folder, name)[row].as_py()
            return next((data for _, data in pictures_of(self._catalogue.folder, name, [key])), None)
        offset, size = self._places_in(name, tar)[row].tolist()
        if size < 0:
            return None
        with reading(tar), tar.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def _thumbnail(self, pair: int, side: int) -> bytes | None:
        data = self.whole(pair)
        return None if data is None else thumbnail(data, side)

    def _places_in(self, shard: str, tar: Path) -> np.ndarray:
        """Offset and size of each pair's picture, int64 [pairs, 2]; -1 where there is none."""
        with self._lock:
            if shard not in self._places:
                with reading(tar):
                    status = tar.stat()
                kept = self._catalogue.cache / f"pictures-{status.st_size}-{status.st_mtime_ns}-{shard}.npy"
                if not kept.is_file():
                    found = _places(tar, shard_keys(self._catalogue.folder, shard).to_pylist())
                    with atomic(kept) as temporary, temporary.open("wb") as file:
                        np.save(file, found)
                with reading(kept):
                    self._places[shard] = load_npy(kept)
            return self._places[shard]


def _places(tar: Path, keys: list[str]) -> np.ndarray:
    row = {key: number for number, key in enumerate(keys)}
    found = np.full((len(keys), 2), -1, np.int64)
    with reading(tar), tar.open("rb") as file:
        for sample in read_samples(file):
            if isinstance(sample, Reject) or sample.key not in row:
                continue
            member = sample.member(IMAGE_FIELDS)
            if member is not None and member.size <= MAX_IMAGE_BYTES:
                found[row[sample.key]] = member.offset, member.size
    return found


class Kept:
    """What was made last, up to so many bytes of it; safe among threads."""

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._found: OrderedDict[Hashable, tuple[int, Any]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What is kept of this key, or is made now. Two threads may make it twice."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key][1]
        made = make()
        size = getattr(made, "nbytes", None) or (len(made) if isinstance(made, bytes) else 1)
        with self._lock:
            if key not in self._found:
                self._found[key] = size, made
                self._bytes += size
            while self._bytes > self._most and len(self._found) > 1:
                self._bytes -= self._found.popitem(last=False)[1][0]
        return made
