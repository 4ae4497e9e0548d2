"""Where the samples of a tar begin and end, found by hopping from header to header, and the members of one sample.

A sample is a stretch of consecutive members with one key (files/tar.py). The index of a shard is the array of its
samples' bytes, so that any sample is one read away.
"""

from __future__ import annotations

import io
import os
import tempfile
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from files.npy import load_npy
from files.tar import MOST_MEMBERS, TOO_MANY, Fault, group_files, split_name
from files.tar_headers import BLOCK, ZEROS, BrokenTar, read_any, read_plain

_VERSION = 2  # of the indexes that are kept


@dataclass(frozen=True)
class TarIndex:
    """Samples of a tar. spans int64 [n, 2]: sample i is bytes [spans[i, 0], spans[i, 1]) of the file.

    fault: why samples are missing (broken, cut short), or "". lost: about how many, as far as is known.
    """

    spans: np.ndarray
    fault: str = ""
    lost: int = 0

    def __len__(self) -> int:
        return len(self.spans)


def index_tar(path: str | Path) -> TarIndex:
    """Index of an uncompressed tar; reads headers only. A broken tar gives the samples that are whole.

    Raises OSError where the file cannot be read.
    """
    starts: list[int] = []
    stops: list[int] = []
    faults: list[Fault] = []
    with open(path, "rb", buffering=0) as file:
        length = os.fstat(file.fileno()).st_size
        for files in group_files(file):
            if isinstance(files, Fault):
                faults.append(files)
            else:
                starts.append(files[0][0])
                stops.append(min(files[-1][5], length))
    if not faults:
        return TarIndex(between(np.array([*starts, *stops[-1:]], np.int64)))
    spans = np.array([starts, stops], np.int64).T
    lost = sum(fault.lost for fault in faults)
    size = float(np.diff(spans, axis=1).mean()) if starts else 1.0
    more = f"; and {len(faults) - 1:,} more faults" if len(faults) > 1 else ""
    return TarIndex(spans, faults[0].reason + more, -(-lost // max(1, int(size))) if starts else 0)


def between(edges: np.ndarray) -> np.ndarray:
    """Edges [n + 1] as spans [n, 2] of the same memory; what lies between two samples is the first one's."""
    return np.lib.stride_tricks.sliding_window_view(edges, 2) if len(edges) else np.empty((0, 2), np.int64)


def read_members(sample: bytes) -> tuple[str, dict[str, memoryview]]:
    """Key and members (lower-case field -> data) of the bytes of one sample. Raises BrokenTar."""
    view = memoryview(sample)
    members: dict[str, memoryview] = {}
    key: bytes | None = None
    position = count = 0
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
                count += 1
                if count > MOST_MEMBERS:
                    raise BrokenTar(TOO_MANY)
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
        name = f"{_VERSION}|{os.path.abspath(path)}|{status.st_size}|{status.st_mtime_ns}"
        kept = self.folder / f"{blake2b(name.encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()}.npy"
        try:
            blocks = load_npy(kept)
            if blocks.dtype == np.uint32 and blocks.ndim == 1 and len(blocks):
                return TarIndex(between(blocks.astype(np.int64) * BLOCK))
        except (OSError, ValueError):
            pass
        index = index_tar(path)
        edges = np.append(index.spans[:, 0], index.spans[-1:, 1])
        if not index.fault and len(edges) and edges[-1] < BLOCK << 32 and not (edges % BLOCK).any():
            self._keep(kept, edges)
        return index

    def _keep(self, kept: Path, edges: np.ndarray) -> None:
        """Write it, if that can be done: it only saves time."""
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=kept.parent, suffix=".part", delete=False) as file:
                np.save(file, (edges // BLOCK).astype(np.uint32))
            os.replace(file.name, kept)
        except OSError:
            pass
