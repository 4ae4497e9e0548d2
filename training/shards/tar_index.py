"""Where the samples of a tar begin, found by hopping from header to header, and the members of one sample.

A sample is a stretch of consecutive members with one key (files/tar.py). The index of a shard is the array of its
samples' edges in bytes, so that any sample is one read away. Headers are not added up here, for speed.
"""

from __future__ import annotations

import io
import os
import tempfile
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np

from files.tar import split_name
from files.tar_headers import BLOCK, ZEROS, BrokenTar, read_any, read_plain

# Headers of small members lie together: one read covers them and the next sample's first.
READ_AHEAD = 16 * BLOCK


@dataclass(frozen=True)
class TarIndex:
    """Samples of a tar. edges int64 [n + 1]: sample i is bytes [edges[i], edges[i + 1]) of the file.

    fault: why samples may be missing at the end (cut short, broken), or "".
    """

    edges: np.ndarray
    fault: str = ""

    def __len__(self) -> int:
        return len(self.edges) - 1


def index_tar(path: str | Path) -> TarIndex:
    """Index of an uncompressed tar; reads headers only. A broken tar gives the samples before the break.

    Raises OSError where the file cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        length = os.fstat(file.fileno()).st_size
        return _index(file, length)


def _index(file: BinaryIO, length: int) -> TarIndex:
    edges: list[int] = []
    fields: set[bytes] = set()
    end = position = base = 0
    key: bytes | None = None
    window = b""
    fault = ""
    while position + BLOCK <= length:
        if not base <= position <= base + len(window) - BLOCK:
            file.seek(position)
            base, window = position, file.read(READ_AHEAD)
        block = window[position - base : position - base + BLOCK]
        if block == ZEROS:
            break
        try:
            name, data, size, following, sparse = read_plain(block, position, False) or read_any(file, position)
        except BrokenTar as error:
            fault = f"broken tar: {error} at byte {position:,} of {length:,}"
            break
        if data + size > length:
            fault = f"tar cut short at byte {length:,}"
            break
        if not sparse:
            this, field = split_name(name)
            if field and (this != key or field in fields):
                edges.append(position)
                key, fields = this, set()
            if field:
                fields.add(field)
                end = following
        position = following
    else:
        fault = f"tar cut short at byte {length:,}"
    return TarIndex(np.array([*edges, min(end, length)] if edges else [0], np.int64), fault)


def read_members(sample: bytes) -> tuple[str, dict[str, memoryview]]:
    """Key and members (lower-case field -> data) of the bytes of one sample. Raises BrokenTar."""
    view = memoryview(sample)
    members: dict[str, memoryview] = {}
    key: bytes | None = None
    position = 0
    while position + BLOCK <= len(sample):
        block = sample[position : position + BLOCK]
        if block == ZEROS:
            break
        header = read_plain(block, position, False) or read_any(io.BytesIO(sample), position)
        name, data, size, following, sparse = header
        if data + size > len(sample):
            raise BrokenTar("a member is longer than its sample")
        if not sparse:
            this, field = split_name(name)
            if field and key is None:
                key = this
            if field and this == key:
                members.setdefault(field.decode("utf-8", "replace"), view[data : data + size])
        position = following
    if key is None:
        raise BrokenTar("no member with a key")
    return key.decode("utf-8", "backslashreplace"), members


class TarIndexFolder:
    """Indexes kept on disk between runs, by the path, size and time of their tars. folder None: nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, path: str | Path) -> TarIndex:
        """Index of a tar, from the folder or from its headers. Raises OSError where the tar cannot be read."""
        if self.folder is None:
            return index_tar(path)
        status = os.stat(path)
        name = f"{os.path.abspath(path)}|{status.st_size}|{status.st_mtime_ns}"
        kept = self.folder / f"{blake2b(name.encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()}.npy"
        try:
            blocks = np.load(kept, allow_pickle=False)
            if blocks.dtype == np.uint32 and blocks.ndim == 1 and len(blocks):
                return TarIndex(blocks.astype(np.int64) * BLOCK)
        except (OSError, ValueError, EOFError):
            pass
        index = index_tar(path)
        if not index.fault and index.edges[-1] < BLOCK << 32 and not (index.edges % BLOCK).any():
            self._keep(kept, index)
        return index

    def _keep(self, kept: Path, index: TarIndex) -> None:
        """Write it, if that can be done: it only saves time."""
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=kept.parent, suffix=".part", delete=False) as file:
                np.save(file, (index.edges // BLOCK).astype(np.uint32))
            os.replace(file.name, kept)
        except OSError:
            pass
