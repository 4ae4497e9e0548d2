"""Where the samples of a tar begin, found by hopping from header to header, and the members of one sample.

A sample is a stretch of consecutive members with one key, as in WebDataset: the name up to the first dot after the last
slash. The index of a shard is the array of its samples' edges in bytes, so that any sample is one read away.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np

BLOCK = tarfile.BLOCKSIZE
# Headers of small members lie together: one read covers them and the next sample's first.
READ_AHEAD = 16 * BLOCK
_ZEROS = bytes(BLOCK)
_PLAIN = (b"0", b"\0")


@dataclass(frozen=True)
class TarIndex:
    """Samples of a tar. edges int64 [n + 1]: sample i is bytes [edges[i], edges[i + 1]) of the file.

    fault: why samples may be missing at the end (cut short, broken), or "".
    """

    edges: np.ndarray
    fault: str = ""

    def __len__(self) -> int:
        return len(self.edges) - 1


class BrokenTar(Exception):
    """No header where one has to be; the message says what is wrong."""


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
        if block == _ZEROS:
            break
        try:
            name, data, size, following = _plain(block, position) or _any(file, position)
        except BrokenTar as error:
            fault = f"broken tar: {error} at byte {position:,} of {length:,}"
            break
        if data + size > length:
            fault = f"tar cut short at byte {length:,}"
            break
        if name:
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
        if block == _ZEROS:
            break
        name, data, size, following = _plain(block, position) or _any(io.BytesIO(sample), position)
        if data + size > len(sample):
            raise BrokenTar("a member is longer than its sample")
        if name:
            this, field = split_name(name)
            if field and key is None:
                key = this
            if field and this == key:
                members.setdefault(field.decode("utf-8", "replace").lower(), view[data : data + size])
        position = following
    if key is None:
        raise BrokenTar("no member with a key")
    return key.decode("utf-8", "backslashreplace"), members


def _plain(block: bytes, position: int) -> tuple[bytes, int, int, int] | None:
    """(name, start of the data, its size, start of the next header) of a plain file's header, else None.

    The magic and the digits are checked, the sum is not: it costs as much as all the rest.
    """
    if block[257:262] != b"ustar" or block[156:157] not in _PLAIN:
        return None
    digits = block[124:136].strip(b" \0")
    try:
        size = int(digits, 8)
    except ValueError:
        return None
    name = block[:100].partition(b"\0")[0]
    if block[345] and block[262:263] != b" ":  # GNU keeps other things where POSIX has the folder
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    data = position + BLOCK
    return name, data, size, data + -(-size // BLOCK) * BLOCK


def _any(file: BinaryIO, position: int) -> tuple[bytes, int, int, int]:
    """The same for a header of any kind, by tarfile; the name is b"" for what is not a file. Raises BrokenTar."""
    file.seek(position)
    try:
        tar = tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        info = tar.next()
    except (tarfile.TarError, ValueError, IndexError, KeyError, OverflowError, EOFError) as error:
        raise BrokenTar(str(error) or "no header") from error
    if info is None or tar.offset <= position or info.size < 0:
        raise BrokenTar("no header")
    name = info.name.encode("utf-8", "surrogateescape") if info.isreg() and not info.issparse() else b""
    return name, info.offset_data, info.size if info.isreg() else 0, tar.offset


def split_name(name: bytes) -> tuple[bytes, bytes]:
    """(key, field); field b"" for a name that belongs to no sample: hidden, without ending, or __meta__."""
    folder, slash, file = name.rpartition(b"/")
    stem, _, field = file.partition(b".")
    top = name.partition(b"/")[0]
    if not stem or (len(top) >= 4 and top.startswith(b"__") and top.endswith(b"__")):
        return name, b""
    return folder + slash + stem, field


class IndexFolder:
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
