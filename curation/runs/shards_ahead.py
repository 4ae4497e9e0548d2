"""What is made of shards, ahead by one thread: at the end of one it begins with the next."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, Queue, SimpleQueue
from threading import Event, Lock, Semaphore, Thread
from typing import Generic, TypeVar

from curation.reading.shards import Shard

Item = TypeVar("Item")
Tally = TypeVar("Tally")
POLL = 0.2


@dataclass
class _Asked(Generic[Item, Tally]):
    """A shard, and what is made of it; one item at a time waits to be taken. None is the end."""

    shard: Shard
    tally: Tally
    made: SimpleQueue[tuple[Item] | BaseException | None] = field(default_factory=SimpleQueue)
    room: Semaphore = field(default_factory=lambda: Semaphore(1))
    left: Event = field(default_factory=Event)  # nobody takes any more


class ShardsAhead(Generic[Item, Tally]):
    """make: the items of a shard, in order, counting into its tally. tally: a new one."""

    def __init__(self, make: Callable[[Shard, Tally], Iterator[Item]], tally: Callable[[], Tally]) -> None:
        self._make, self._tally = make, tally
        self._queue: Queue[_Asked[Item, Tally]] = Queue()
        self._asked: dict[str, _Asked[Item, Tally]] = {}
        self._lock, self._closed = Lock(), Event()
        self._thread: Thread | None = None

    def soon(self, shard: Shard) -> None:
        """This one comes after those that were told of before."""
        with self._lock:
            self._ask(shard)

    @contextmanager
    def of(self, shard: Shard) -> Generator[tuple[Tally, Iterator[Item]]]:
        """A shard's tally and items, as they are made; raises with them what making them raised.

        Those that were to come before are given up.
        """
        with self._lock:
            asked = self._ask(shard)
            while (before := next(iter(self._asked))) != shard.name:
                self._asked.pop(before).left.set()
        try:
            yield asked.tally, _taken(asked)
        finally:
            asked.left.set()
            with self._lock:
                self._asked.pop(shard.name, None)

    def close(self) -> None:
        """Make no more."""
        self._closed.set()
        if self._thread:
            self._thread.join()

    def _ask(self, shard: Shard) -> _Asked[Item, Tally]:
        if shard.name not in self._asked:
            self._asked[shard.name] = asked = _Asked[Item, Tally](shard, self._tally())
            self._queue.put(asked)
        if not self._thread:
            self._thread = Thread(target=self._run, daemon=True)
            self._thread.start()
        return self._asked[shard.name]

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                asked = self._queue.get(timeout=POLL)
            except Empty:
                continue
            try:
                if all(self._put(asked, item) for item in self._make(asked.shard, asked.tally)):
                    asked.made.put(None)
            except BaseException as error:
                asked.made.put(error)

    def _put(self, asked: _Asked[Item, Tally], item: Item) -> bool:
        while not (self._closed.is_set() or asked.left.is_set()):
            if asked.room.acquire(timeout=POLL):
                asked.made.put((item,))
                return True
        return False


def _taken(asked: _Asked[Item, Tally]) -> Iterator[Item]:
    while (made := asked.made.get()) is not None:
        if isinstance(made, BaseException):
            raise made
        asked.room.release()
        yield made[0]
