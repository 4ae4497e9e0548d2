"""Shards as local, unpacked files that any worker reads at any offset, with their indexes.

A local tar is read where it lies. What is remote, packed or no tar becomes a plain tar in a folder first, the next ones
while the present ones are in use, and is removed when no sample of it is wanted any more (unless the folder is the
user's own cache).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import IO

import numpy as np

from files.addresses import BLOCK, is_full, is_remote, no_room, open_stream, unpack, unreachable
from files.errors import CocuError, MisuseError
from files.scratch import scratch_folder
from files.shard_names import LOOKUPS_AT_ONCE
from files.shard_note import ShardNote
from training.shards.beside import pair_up
from training.shards.found import TarShard
from training.shards.parquet_tar import read_footer, write_tar
from training.shards.tar_index import TarIndex, TarIndexFolder, index_tar

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
        self._held: dict[int, int] = {}
        self._coming: dict[int, Future[TarIndex | None]] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._copies = copies
        self._cleanup: Callable[[], object] = lambda: None
        paired = any(shard.beside for shard in shards)
        needy = paired or any(shard.needs_copy for shard in shards)
        if paired or any(shard.needs_copy and not self._is_kept(shard) for shard in shards):
            stack = ExitStack()
            self._scratch = stack.enter_context(scratch_folder("cocu-shards-"))
            self._cleanup = weakref.finalize(self, stack.close)
        if needy:
            self._pool = ThreadPoolExecutor(COPIES_AT_ONCE, thread_name_prefix="shard")

    def path(self, number: int) -> str:
        """Where the unpacked tar of a shard lies, or will lie once its spans have been asked for."""
        shard = self.shards[number]
        if not shard.needs_copy:
            return shard.url
        folder = self._copies if self._copies and self._is_kept(shard) else self._scratch
        return str(folder / f"{blake2b(shard.url.encode(), digest_size=16).hexdigest()}.tar")

    def beside(self, number: int) -> str:
        """Where the concepts of a shard lie once its spans have been asked for; "" where they lie in it."""
        beside = self.shards[number].beside
        name = blake2b(beside.whole.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest() if beside else ""
        return str(self._scratch / f"{name}.concepts.tar") if beside else ""

    def spans(self, number: int) -> np.ndarray:
        """Bytes of its samples in the unpacked tar, int64 [n, 2], or [n, 6] where their concepts lie beside it.

        Waits for a copy that is on its way. Raises CocuError when the shard, or what is beside it, cannot be had.
        """
        if self._is_fetched(number):
            self.prefetch([number])
            made = self._coming[number].result()
            if made is not None:
                if made.fault or not (len(made) or self.shards[number].beside):
                    self.faults[number] = made.fault or NO_SAMPLES, made.lost
                return made.spans
        found = self._spans.pop(number, None)
        self._spans[number] = self._index(number).spans if found is None else found
        if len(self._spans) > MOST_INDEXES:
            del self._spans[next(iter(self._spans))]
        return self._spans[number]

    def count(self, processes: int = 0) -> int:
        """Samples of all shards, by reading headers, with so many processes.

        Of Parquet those that its footer tells: the pairs, or else the rows. Raises MisuseError where shards would have
        to be copied for it, CocuError where one cannot be read.
        """
        counted = (shard for shard in self.shards if not shard.beside and not shard.is_table)
        if far := next((shard for shard in counted if shard.needs_copy), None):
            raise MisuseError(
                f"{far.url}: the samples of remote or packed shards are not counted; say how many there are: "
                "data.samples=N"
            )
        total, todo = sum(note.pairs if note else rows for rows, note in self._footers().values()), list[int]()
        for number, shard in enumerate(self.shards):
            if shard.beside:
                total += shard.beside.count()
            elif shard.is_table:
                continue
            elif (spans := self._spans.get(number)) is None:
                todo.append(number)
            else:
                total += len(spans)
        if processes < 2 or len(todo) < MANY_SHARDS:
            return total + sum(len(self._index(number)) for number in todo)
        with ProcessPoolExecutor(processes) as pool:
            jobs = [(self._indexes, shard.url) for shard in (self.shards[number] for number in todo)]
            return total + sum(pool.map(_count, *zip(*jobs, strict=True), chunksize=4))

    def prefetch(self, numbers: Iterable[int]) -> None:
        """Begin to copy shards that will be wanted soon, and to find their concepts."""
        for number in numbers:
            if self._is_fetched(number) and number not in self._coming:
                assert self._pool is not None
                self._coming[number] = self._pool.submit(
                    _fetch, self.shards[number], self.path(number), self.beside(number)
                )

    def hold(self, number: int) -> None:
        """Say that samples of the shard are going to be read."""
        self._held[number] = self._held.get(number, 0) + 1

    def release(self, number: int) -> None:
        """Say that they have been read; a temporary copy that nobody else holds is removed."""
        self._held[number] -= 1
        shard = self.shards[number]
        if self._held[number] or not self._is_fetched(number):
            return
        coming = self._coming.pop(number, None)
        if coming is not None and not coming.cancel():
            coming.exception()
            if shard.needs_copy and not self._is_kept(shard):
                Path(self.path(number)).unlink(missing_ok=True)
            if beside := self.beside(number):
                Path(beside).unlink(missing_ok=True)

    def measure(self, processes: int = 0, beside: bool = True) -> None:
        """Let what is no whole curated tar, but holds the same, be as long as that is: by that, streams share it alike.

        Of Parquet that takes a look at its footer, which tells it of curated shards; of shards at hand with their
        concepts beside them, if `beside`, a walk over the headers of each. Raises as `spans`.
        """
        todo = [i for i, shard in enumerate(self.shards) if beside and shard.beside and not shard.needs_copy]
        several = processes > 1 and len(todo) >= MANY_SHARDS
        with ProcessPoolExecutor(processes) if several else ExitStack() as pool:
            jobs = [self.shards[number] for number in todo]
            found = pool.map(_length, jobs) if isinstance(pool, ProcessPoolExecutor) else map(_length, jobs)
            sizes = dict(zip(todo, found, strict=True))
        sizes |= {i: note.tar_bytes for i, (_, note) in self._footers().items() if note}
        self.shards = [replace(shard, size=sizes.get(i, shard.size)) for i, shard in enumerate(self.shards)]

    def close(self) -> None:
        """Stop copying and remove the temporary folder."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._cleanup()

    def _footers(self) -> dict[int, tuple[int, ShardNote | None]]:
        """Of the Parquet files rows and note, by number."""
        tables = [i for i, shard in enumerate(self.shards) if shard.is_table and not shard.beside]
        with ThreadPoolExecutor(LOOKUPS_AT_ONCE) as pool:
            return dict(zip(tables, pool.map(lambda i: read_footer(self.shards[i].url), tables), strict=True))

    def _is_kept(self, shard: TarShard) -> bool:
        """Whether its copy stays in the folder of copies: what is made of a table at hand would grow old there."""
        return self._copies is not None and (is_remote(shard.url) or not shard.is_table)

    def _is_fetched(self, number: int) -> bool:
        return self.shards[number].needs_copy or self.shards[number].beside is not None

    def _index(self, number: int) -> TarIndex:
        try:
            # The index of a copy that will vanish is not worth a file.
            temporary = self.shards[number].needs_copy and not self._is_kept(self.shards[number])
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


def _fetch(shard: TarShard, path: str, beside: str) -> TarIndex | None:
    """Copy a shard, if it must be, and find its concepts, if they lie beside it.

    Returns where its pairs lie, if that is known by then.
    """
    made = _copied(shard, Path(path)) if shard.needs_copy else None
    if shard.beside is None:
        return made
    try:
        return TarIndex(pair_up(path, shard.beside, shard.url, Path(beside), tables=shard.is_table)[0])
    except OSError as error:
        if is_full(error):
            raise no_room(str(shard.beside.curated), Path(beside).parent, _ADVICE) from error
        raise unreachable(shard.url, error) from error


def _length(shard: TarShard) -> int:
    assert shard.beside is not None
    try:
        return pair_up(shard.url, shard.beside, shard.url)[1]
    except OSError as error:
        raise unreachable(shard.url, error) from error


def _copied(shard: TarShard, target: Path) -> TarIndex | None:
    """Make a plain tar of a shard, with several tries; the file appears when it is whole. Its index, if it was made.

    Raises CocuError.
    """
    if target.exists():  # of an earlier epoch or run
        return _faulty(target)
    wait = FIRST_WAIT
    for attempt in range(1, TRIES + 1):
        try:
            return _copy_once(shard, target)
        except CocuError:
            raise
        except Exception as error:  # every driver has kinds of its own
            if not is_remote(shard.url) or attempt == TRIES:
                raise unreachable(shard.url, error) from error
            time.sleep(wait)
            wait *= 2
    return None


def _copy_once(shard: TarShard, target: Path) -> TarIndex | None:
    target.parent.mkdir(parents=True, exist_ok=True)
    made = None
    try:
        with ExitStack() as stack, _part(target) as part:
            if not shard.is_table:
                unpack(stack.enter_context(open_stream(shard.url)), part)
            else:
                table: IO[bytes] = stack.enter_context(open_stream(shard.url))
                if is_remote(shard.url):  # it is read from its end, and here and there
                    whole = stack.enter_context(tempfile.TemporaryFile(dir=target.parent, prefix="cocu-"))
                    shutil.copyfileobj(table, whole, BLOCK)
                    table = whole
                made = write_tar(shard.url, table, part)
                if made.fault:
                    _note_of(target).write_text(json.dumps([made.fault, made.lost]), "utf-8")
    except BaseException as error:
        if is_full(error):
            raise no_room(shard.url, target.parent, _ADVICE) from error
        raise
    return made


@contextmanager
def _part(target: Path) -> Iterator[IO[bytes]]:
    """A file that takes its place when the block ends well."""
    with tempfile.NamedTemporaryFile(dir=target.parent, suffix=".part", delete=False) as part:
        try:
            yield part
            part.close()
            os.replace(part.name, target)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise


def _note_of(target: Path) -> Path:
    """Where it stands what could not be read of a shard, beside its copy: this has no sign of it."""
    return target.with_suffix(".fault")


def _faulty(target: Path) -> TarIndex | None:
    try:
        fault, lost = json.loads(_note_of(target).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return TarIndex(index_tar(target).spans, str(fault), int(lost))
