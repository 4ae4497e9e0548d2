"""Shards as local, unpacked files that any worker reads at any offset, with their indexes.

A local tar is read where it lies. What is remote or packed is copied to a folder first, the next ones while the present
ones are in use, and removed when no sample of it is wanted any more (unless the folder is the user's own cache).
"""

from __future__ import annotations

import os
import tempfile
import time
import weakref
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from hashlib import blake2b
from pathlib import Path

import numpy as np

from files.addresses import is_full, is_remote, no_room, open_stream, unpack, unreachable
from files.errors import CocuError, MisuseError
from files.scratch import scratch_folder
from training.shards.found import TarShard
from training.shards.tar_index import TarIndex, TarIndexFolder

COPIES_AT_ONCE = 2
MOST_INDEXES = 1000  # in memory: some 80 MB of shards of 10,000 samples
MANY_SHARDS = 16  # worth processes to count them
TRIES = 4
NO_SAMPLES = "holds no samples"
FIRST_WAIT = 1.0  # seconds; doubled after each failure
_ADVICE = "set TMPDIR to a folder with room, or give a smaller shuffle buffer"


class ShardFiles:
    """The shards of a run by number. Not to be shared between processes, but for `path`.

    copies: folder that keeps copies for good; None: a temporary one, emptied as the run goes on.
    indexes: folder that keeps indexes for good, None: kept in memory only.
    """

    def __init__(self, shards: Sequence[TarShard], copies: Path | None = None, indexes: Path | None = None) -> None:
        self.shards = shards
        self.faults: dict[int, tuple[str, int]] = {}  # shard -> why samples of it are missing, and about how many
        self._indexes = TarIndexFolder(indexes)
        self._spans: dict[int, np.ndarray] = {}
        self._keep = copies is not None
        self._held: dict[int, int] = {}
        self._coming: dict[int, Future[None]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._folder = copies
        if any(shard.needs_copy for shard in shards):
            if copies is None:
                stack = ExitStack()
                self._folder = stack.enter_context(scratch_folder("cocu-shards-"))
                self._cleanup = weakref.finalize(self, stack.close)
            self._pool = ThreadPoolExecutor(COPIES_AT_ONCE, thread_name_prefix="shard")

    def path(self, number: int) -> str:
        """Where the unpacked tar of a shard lies, or will lie once its spans have been asked for."""
        shard = self.shards[number]
        if not shard.needs_copy:
            return shard.url
        assert self._folder is not None
        return str(self._folder / f"{blake2b(shard.url.encode(), digest_size=16).hexdigest()}.tar")

    def spans(self, number: int) -> np.ndarray:
        """Bytes of its samples in the unpacked tar, int64 [n, 2]; waits for a copy that is on its way.

        Raises CocuError when the shard cannot be had.
        """
        if self.shards[number].needs_copy:
            self.prefetch([number])
            self._coming[number].result()
        found = self._spans.pop(number, None)
        self._spans[number] = self._index(number).spans if found is None else found
        if len(self._spans) > MOST_INDEXES:
            del self._spans[next(iter(self._spans))]
        return self._spans[number]

    def count(self, processes: int = 0) -> int:
        """Samples of all shards, by reading headers, with so many processes.

        Raises MisuseError where shards would have to be copied for it, CocuError where one cannot be read.
        """
        if far := next((shard for shard in self.shards if shard.needs_copy), None):
            raise MisuseError(
                f"{far.url}: the samples of remote or packed shards are not counted; say how many there are (samples=N)"
            )
        total, todo = 0, []
        for number in range(len(self.shards)):
            if (spans := self._spans.get(number)) is None:
                todo.append(number)
            else:
                total += len(spans)
        if processes < 2 or len(todo) < MANY_SHARDS:
            return total + sum(len(self._index(number)) for number in todo)
        with ProcessPoolExecutor(processes) as pool:
            jobs = [(self._indexes, shard.url) for shard in (self.shards[number] for number in todo)]
            return total + sum(pool.map(_count, *zip(*jobs, strict=True), chunksize=4))

    def prefetch(self, numbers: Iterable[int]) -> None:
        """Begin to copy shards that will be wanted soon."""
        for number in numbers:
            if self.shards[number].needs_copy and number not in self._coming:
                assert self._pool is not None
                path = Path(self.path(number))
                self._coming[number] = self._pool.submit(_copy, self.shards[number].url, path)

    def hold(self, number: int) -> None:
        """Say that samples of the shard are going to be read."""
        self._held[number] = self._held.get(number, 0) + 1

    def release(self, number: int) -> None:
        """Say that they have been read; a temporary copy that nobody else holds is removed."""
        self._held[number] -= 1
        if self._held[number] == 0 and self.shards[number].needs_copy and not self._keep:
            coming = self._coming.pop(number, None)
            if coming is not None and not coming.cancel():
                coming.exception()
                Path(self.path(number)).unlink(missing_ok=True)

    def close(self) -> None:
        """Stop copying and remove the temporary folder."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            if not self._keep:
                self._cleanup()

    def _index(self, number: int) -> TarIndex:
        try:
            # The index of a copy that will vanish is not worth a file.
            temporary = self.shards[number].needs_copy and not self._keep
            found = (TarIndexFolder(None) if temporary else self._indexes).get(self.path(number))
        except OSError as error:
            raise unreachable(self.shards[number].url, error) from error
        if found.fault or not len(found):
            self.faults[number] = found.fault or NO_SAMPLES, found.lost
        return found


def _count(indexes: TarIndexFolder, url: str) -> int:
    try:
        return len(indexes.get(url))
    except OSError as error:
        raise unreachable(url, error) from error


def _copy(url: str, target: Path) -> None:
    """Copy and unpack a tar, with several tries; the file appears when it is whole. Raises CocuError."""
    if target.exists():  # of an earlier epoch or run
        return
    wait = FIRST_WAIT
    for attempt in range(1, TRIES + 1):
        try:
            _copy_once(url, target)
            return
        except CocuError:
            raise
        except Exception as error:  # every driver has kinds of its own
            if not is_remote(url) or attempt == TRIES:
                raise unreachable(url, error) from error
            time.sleep(wait)
            wait *= 2


def _copy_once(url: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".part", delete=False) as part:
        try:
            with open_stream(url) as source:
                unpack(source, part)
            part.close()
            os.replace(part.name, target)
        except BaseException as error:
            Path(part.name).unlink(missing_ok=True)
            if is_full(error):
                raise no_room(url, target.parent, _ADVICE) from error
            raise
