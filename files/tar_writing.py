"""Tars are written: many members at once by arrays, and whatever lies in memory by few calls of the system."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from files.atomic import atomic
from files.synced import begin_sync
from files.tar_headers import BLOCK, END_OF_ARCHIVE, NAME, SIZE, SUM, tar_member, write_header

# Bytes and parts in a call: what was read last is still in the cache then, and the system takes no more parts.
AT_ONCE, MOST_PARTS = 1 << 20, 1024
Part = bytes | memoryview
_EMPTY = np.frombuffer(write_header("", 0), np.uint8)
_LEAST_SUM = int(_EMPTY.sum()) - int(_EMPTY[SUM].sum()) - int(_EMPTY[SIZE].sum()) + 8 * ord(" ")
_PADDINGS = pa.array([bytes(size) for size in range(BLOCK)], pa.binary())


def tar_members(names: Sequence[str], data: pa.Array) -> list[Part]:
    """A member of each name, as `tar_member` makes it. data: Arrow binary [B]."""
    if not names:
        return []
    raw = np.array([name.encode("utf-8", "surrogateescape") for name in names])
    if raw.itemsize > NAME.stop or not "".join(names).isascii():  # headers of several blocks
        return [tar_member(*pair) for pair in zip(names, data.to_pylist(), strict=True)]
    sizes = pc.binary_length(data).to_numpy()
    headers = np.tile(_EMPTY, (len(names), 1))
    headers[:, : raw.itemsize] = raw.view(np.uint8).reshape(len(names), -1)
    headers[:, SIZE.start : SIZE.stop - 1] = _octal(sizes, 11)
    sums = _LEAST_SUM + headers[:, NAME].sum(1, np.int64) + headers[:, SIZE].sum(1, np.int64)
    headers[:, SUM.start : SUM.start + 6] = _octal(sums, 6)
    ends = np.arange(0, headers.size + 1, BLOCK, dtype=np.int32)
    before = pa.Array.from_buffers(pa.binary(), len(names), [None, pa.py_buffer(ends), pa.py_buffer(headers)])
    made = pc.binary_join_element_wise(before, data, _PADDINGS.take(pa.array(-sizes % BLOCK)), b"")
    _, bounds, whole = made.buffers()
    memory = memoryview(whole)
    return [memory[start:stop] for start, stop in pairwise(np.frombuffer(bounds, np.int32)[: len(names) + 1].tolist())]


def _octal(values: np.ndarray, digits: int) -> np.ndarray:
    """Numbers [N] -> their last digits [N, digits], as letters."""
    return (values[:, None] >> np.arange(3 * digits - 3, -1, -3) & 7) + ord("0")


@contextmanager
def atomic_tar(path: Path) -> Iterator[BinaryIO]:
    """A tar to be written, which gets its end, and its place, when the block ends well."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        yield file
        write_end(file)


def write_all(file: BinaryIO, parts: Iterable[Part]) -> None:
    """Write parts one after the other as they come, many in a call, and past the buffer of the file."""
    file.flush()
    start = file.tell()
    waiting: list[Part] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= AT_ONCE or len(waiting) == MOST_PARTS:
            _write_now(file.fileno(), waiting)
            waiting, size = [], 0
    _write_now(file.fileno(), waiting)
    begin_sync(file.fileno(), start, file.tell())


def _write_now(file: int, left: list[Part]) -> None:
    while left:
        written = os.writev(file, left)
        done = 0
        while done < len(left) and written >= len(left[done]):
            written -= len(left[done])
            done += 1
        left = left[done:]
        if written:  # a part is cut where the disk, or a signal, cut the call
            left[0] = left[0][written:]


def tar_size(size: int) -> int:
    """Bytes of a tar whose members take so many."""
    whole = size + len(END_OF_ARCHIVE)
    return whole + -whole % tarfile.RECORDSIZE


def write_end(file: IO[bytes]) -> None:
    """The end of a tar: two blocks of zeros, and more until a record is full."""
    file.write(END_OF_ARCHIVE)
    file.write(bytes(-file.tell() % tarfile.RECORDSIZE))
