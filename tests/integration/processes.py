"""Looking at processes: which there are in a session, whose children they are, whether they end, or stand still."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

Children = Callable[[], list[BaseProcess]]  # the fixture `children`


def session(leader: int) -> dict[int, int]:
    """The living processes of a session, without its leader: number -> parent's number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        state, parent, member_of = fields[0], int(fields[1]), int(fields[3])
        if member_of == leader and state not in "ZX" and int(path.parent.name) != leader:
            found[int(path.parent.name)] = parent
    return found


def at_work(process: int) -> bool:
    """Whether a process has not ended; one that has, and whose parent has not looked yet, does not count."""
    return state(process) not in "ZX"


def state(process: int) -> str:
    """The letter of its state: T where it has been stopped, Z where it has ended and nobody has looked, X without."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


@contextmanager
def stopped(processes: Iterable[int]) -> Iterator[None]:
    """They do nothing during the block."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        while not all(state(process) in "TZX" for process in processes):
            time.sleep(0.001)
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def workers(leader: int) -> list[int]:
    """The children of a session's leader that work for it; what only tracks their memory does not count."""
    return sorted(child for child, parent in session(leader).items() if parent == leader and not _tracks(child))


def _tracks(process: int) -> bool:
    try:
        return b"resource_tracker" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return True


def orphans(leader: int, seconds: float = 10.0) -> list[int]:
    """Processes of the session that are there still, so many seconds after its leader has ended."""
    end = time.monotonic() + seconds
    while (left := sorted(session(leader))) and time.monotonic() < end:
        time.sleep(0.05)
    return left
