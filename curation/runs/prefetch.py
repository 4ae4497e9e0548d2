"""Making the next item of a stream while the present one is used."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """`items` in order, made one ahead in a thread; their exceptions are raised here. Stops with the reader."""
    queue: Queue[Any] = Queue(maxsize=1)
    end, stop = object(), Event()

    def put(item: Any, error: BaseException | None) -> bool:
        while not stop.is_set():
            try:
                queue.put((item, error), timeout=0.2)
                return True
            except Full:
                continue
        return False

    def fill() -> None:
        try:
            for item in items:
                if not put(item, None):
                    return
            put(end, None)
        except BaseException as error:
            put(end, error)

    thread = Thread(target=fill, daemon=True)
    thread.start()
    try:
        while True:
            item, error = queue.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stop.set()
        thread.join()
