"""Text files that people and programs write for us: UTF-8, and no larger than such a file can be."""

from __future__ import annotations

import io
from pathlib import Path


def bounded_text(path: Path, most: int) -> str:
    """The text of a file of at most `most` bytes, line ends as "\\n", without a mark before it.

    Raises OSError where it cannot be had, ValueError where it is longer or no UTF-8; its text is the reason.
    """
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"is larger than the {most >> 20} MiB that such a file may have")
    try:
        return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise ValueError(f"is no UTF-8 text ({error.reason} at byte {error.start})") from None
