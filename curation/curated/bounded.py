"""A query in a process of its own, that no function of SQL can outlast its time or its memory.

DuckDB looks at its limits, and for an interrupt, between one vector and the next. A single call, such as range(1e9),
is neither counted nor stopped; a process can be limited, and ended at once.
"""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from curation.curated.query import SPILL, TOO_MUCH, Answer, run_query
from files.errors import CocuError, MisuseError
from files.machine import free_memory
from files.scratch import scratch_folder

TIMEOUT = 300.0
# What a process may take beside DuckDB's own limit: rows on their way, and stacks, for each core.
BESIDE, STACK = 512 << 20, 16 << 20
PIECE, LARGEST_ROW = 8 << 20, 64 << 20
_HOUSE = str(Path(__file__).resolve().parents[2])
_PROGRAM = f"import sys; sys.path.insert(0, {_HOUSE!r}); from curation.curated.bounded import serve; serve()"
_ERROR = "error.json"


@contextmanager
def bounded_query(
    curated: Path, sql: str, timeout: float = TIMEOUT, memory: int | None = None, waiting: Waiting | None = None
) -> Iterator[Answer]:
    """`run_query` within `timeout` seconds of waiting for its rows, and `memory` bytes; None: half of what is free.

    waiting: has the process ready. Raises as run_query does, CocuError over a limit, MisuseError for a row of more than
    64 MB.
    """
    memory = memory or free_memory() // 2
    child = waiting.take() if waiting else _started()
    with scratch_folder(SPILL) as spill, _asked(child, curated, sql, timeout, memory, spill) as answer:
        yield answer


class Waiting:
    """A process that is started ahead of its query, for what it imports takes longer than most answers."""

    def __init__(self) -> None:
        self._spare: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Start one, if there is none."""
        with self._lock:
            if self._spare is None or self._spare.poll() is not None:
                self._spare = _started()

    def take(self) -> subprocess.Popen[bytes]:
        """The one that was started, or a new one."""
        with self._lock:
            spare, self._spare = self._spare, None
        return spare if spare is not None and spare.poll() is None else _started()

    def close(self) -> None:
        """End the one that nobody has taken."""
        with self._lock:
            if self._spare is not None:
                _ended(self._spare)
            self._spare = None


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for this process, which ends the other
    )


def _ended(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


@contextmanager
def _asked(
    child: subprocess.Popen[bytes], curated: Path, sql: str, timeout: float, memory: int, spill: Path
) -> Iterator[Answer]:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        request = {"curated": str(curated), "sql": sql, "memory": memory, "spill": str(spill)}
        with suppress(BrokenPipeError):
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()  # left open: its end is the sign that this process has died
        rows = _Rows(child.stdout, timeout)

        def batches(reader: Any) -> Iterator[pa.RecordBatch]:
            while True:
                with _explained(child, rows, spill):
                    batch = next(reader, None)
                    if batch is None:
                        _check_end(child, spill)
                if batch is None:
                    return
                yield batch

        with _explained(child, rows, spill):
            reader = pa.ipc.open_stream(pa.PythonFile(rows, mode="r"))
        yield Answer(reader.schema, batches(reader))
    finally:
        _ended(child)


class _Rows:
    """The child's output as a file; what was waited for it is taken from the time that is left."""

    closed = False

    def __init__(self, source: IO[bytes], seconds: float) -> None:
        self._source, self.seconds, self.left = source, seconds, seconds

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end. Raises TimeoutError."""
        found = bytearray()
        while len(found) < size:
            start = time.monotonic()
            ready, _, _ = select.select([self._source], [], [], max(0.0, self.left))
            self.left -= time.monotonic() - start
            if not ready:
                raise TimeoutError
            part = os.read(self._source.fileno(), min(size - len(found), 1 << 20))
            if not part:
                break
            found += part
        return bytes(found)


@contextmanager
def _explained(child: subprocess.Popen[bytes], rows: _Rows, spill: Path) -> Iterator[None]:
    """What goes wrong with the rows, by its cause: the time, the query, the memory."""
    try:
        yield
    except CocuError:
        raise
    except (pa.ArrowException, OSError) as error:
        if rows.left <= 0:
            raise CocuError(
                f"the query took more than {rows.seconds:g} s; ask for less, or give it longer by --timeout"
            ) from error
        _check_end(child, spill)
        raise


def _check_end(child: subprocess.Popen[bytes], spill: Path) -> None:
    """Raises what the child has said, or what its death says, unless it ended well."""
    code = child.wait()
    if (spill / _ERROR).is_file():
        said = json.loads((spill / _ERROR).read_text("utf-8"))
        raise (MisuseError if said["misuse"] else CocuError)(said["text"])
    if code:
        raise CocuError(f"the query needs more memory than it may have, or crashed ({code}).\n{TOO_MUCH}")


def serve() -> None:
    """The other process: read a request from standard input, write rows to standard output as an Arrow stream."""
    request = json.loads(sys.stdin.buffer.readline())
    spill = Path(request["spill"])
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # DuckDB draws a bar there when a query takes long
    threading.Thread(target=_end_with_parent, args=(spill,), daemon=True).start()
    most = _data_size() + request["memory"] + BESIDE + STACK * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        with run_query(Path(request["curated"]), request["sql"], request["memory"], spill) as answer:
            with pa.ipc.new_stream(out, answer.schema) as stream:
                for batch in answer.batches:
                    for piece in _pieces(batch):
                        stream.write_batch(piece)
                    out.flush()
            out.flush()
    except BrokenPipeError:
        os._exit(0)
    except CocuError as error:
        _tell(spill, isinstance(error, MisuseError), str(error))
    except MemoryError:
        _tell(spill, False, f"the query needs more memory than it may have.\n{TOO_MUCH}")
    os._exit(0)  # at once: the connection has nothing to keep


def _tell(spill: Path, misuse: bool, text: str) -> None:
    (spill / _ERROR).write_text(json.dumps({"misuse": misuse, "text": text}), "utf-8")


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in parts of which none takes much memory to show."""
    if batch.nbytes <= PIECE:
        yield batch
    elif batch.num_rows > 1:
        half = batch.num_rows // 2
        yield from _pieces(batch.slice(0, half))
        yield from _pieces(batch.slice(half))
    elif batch.nbytes <= LARGEST_ROW:
        yield batch
    else:
        raise MisuseError(
            f"a row of the answer takes {batch.nbytes:,} bytes, the limit is {LARGEST_ROW:,}; select less of it"
        )


def _data_size() -> int:
    """Bytes that count against RLIMIT_DATA so far."""
    pages = Path("/proc/self/statm").read_text().split()[5]
    return int(pages) * resource.getpagesize()


def _end_with_parent(spill: Path) -> None:
    sys.stdin.buffer.read()
    shutil.rmtree(spill, ignore_errors=True)
    os._exit(1)
