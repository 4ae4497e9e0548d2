"""What a person who waits is told: lines on stderr; in a notebook, of progress, one line that is written over."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from files.event_log import log_event
from files.printable import printable_lines

PLAIN_SECONDS = 10.0
NOTEBOOK_SECONDS = 0.5

_quiet = False


@contextmanager
def quietly(wanted: bool = True) -> Iterator[None]:
    """Inside the block nothing is told of what goes well, if that is `wanted`."""
    global _quiet
    before, _quiet = _quiet, wanted or _quiet
    try:
        yield
    finally:
        _quiet = before


def say(text: str) -> None:
    """A line for the person who waits."""
    log_event("said", text=text)
    if not _quiet:
        # A notebook shows stderr as if something were wrong.
        print(printable_lines(text), file=sys.stdout if in_notebook() else sys.stderr, flush=True)


def watched() -> bool:
    """Whether somebody looks at a terminal, where a bar can move."""
    return sys.stderr.isatty() and not _quiet


def in_notebook() -> bool:
    """Whether what is said lands under a notebook's cell."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class ProgressLine:
    """How far something is, said again and again where no bar can move. at_once: the first line need not wait."""

    def __init__(self, at_once: bool = False) -> None:
        self._in_place = in_notebook()
        self._seconds = NOTEBOOK_SECONDS if self._in_place else PLAIN_SECONDS
        self._last = float("-inf") if at_once else time.monotonic()
        self._shown: Any = None

    @property
    def due(self) -> bool:
        """Whether it is time for the next line."""
        return time.monotonic() - self._last >= self._seconds

    def tell(self, text: str) -> None:
        """Say it now; in a notebook in place of what this line said before."""
        self._last = time.monotonic()
        if not self._in_place:
            say(text)
        elif not _quiet:
            bundle = {"text/plain": printable_lines(text)}
            if self._shown is None:
                from IPython.display import display

                self._shown = display(bundle, raw=True, display_id=True)
            else:
                self._shown.update(bundle, raw=True)
