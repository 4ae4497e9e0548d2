"""Room for what takes much memory for a moment: so much of it at once, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


class Room:
    """So many bytes, for the threads of a process to share; who asks first is served first.

    alone: a lock that whoever needs more than all of it takes besides; by a lock of several processes, of which each
    has a part of the room, only one of them at a time holds more than its part.
    """

    def __init__(self, size: int, alone: AbstractContextManager[object] | None = None) -> None:
        self.size, self.alone = size, alone or threading.Lock()
        self._left = size
        self._changed = threading.Condition()
        self._first = threading.Lock()

    def share(self, processes: int, alone: AbstractContextManager[object]) -> None:
        """Leave to this process its part, all of it free, whatever was held where it was forked from."""
        Room.__init__(self, self.size // processes, alone)

    @contextmanager
    def taken(self, need: int) -> Iterator[None]:
        """Inside the block so much is taken; wait for it. More than there is counts as all."""
        if need > self.size:
            with self.alone, self._held(self.size):
                yield
        else:
            with self._held(need):
                yield

    @contextmanager
    def _held(self, need: int) -> Iterator[None]:
        with self._first, self._changed:  # the first in line waits here, the others for the first
            self._changed.wait_for(lambda: self._left >= need)
            self._left -= need
        try:
            yield
        finally:
            with self._changed:
                self._left += need
                self._changed.notify()
