"""What a command says and how far it is, as lines of JSON in a file, for programs that watch it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from files.errors import MisuseError
from files.printable import called

_file: TextIO | None = None


@contextmanager
def logged_to(path: Path | None) -> Iterator[None]:
    """Inside the block events go to the end of this file. Raises MisuseError where it cannot be written."""
    global _file
    if path is None:
        yield
        return
    before = _file
    try:
        opened = path.open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise MisuseError(f"--log-json {path}: {error.strerror}; give a file in a folder that is there") from error
    _file = opened
    try:
        yield
    finally:
        _file = before
        with suppress(OSError):  # told when it was written
            opened.close()


def log_event(event: str, **what: Any) -> None:
    """A line: when (seconds since 1970), what kind of event, and what it tells. A full disk ends the log, no more."""
    global _file
    if _file is None:
        return
    told = {name: called(value) if isinstance(value, str) else value for name, value in what.items()}
    try:
        _file.write(json.dumps({"time": round(time.time(), 3), "event": event, **told}) + "\n")
    except OSError as error:
        name, _file = _file.name, None
        print(f"note: --log-json {name}: {error.strerror}; nothing more is logged", file=sys.stderr)
