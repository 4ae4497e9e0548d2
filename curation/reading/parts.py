"""Where a table is cut into parts: after so many rows, but not between rows of one picture that follow each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


def parts_of(rows: Iterable[tuple[int, Any]], length: int, picture: Callable[[Any], str]) -> list[tuple[int, int, int]]:
    """(first row, row after the last, offset of the first) of each part, `length` rows of it or a little more.

    rows: (offset, cell that names the picture; nothing where the row is bad) of each. picture: what a cell names, asked
    for at the seams only. Bad rows between those of a picture do not part it, and no part takes three times its length.
    """
    starts: list[tuple[int, int]] = []
    seam: tuple[int, int] | None = None
    last: Any = None
    number = -1
    for number, (offset, cell) in enumerate(rows):
        if not starts:
            starts.append((0, offset))
        beyond = number - starts[-1][0] - length
        if beyond >= 0:
            goes_on = bool(cell and last) and (cell == last or picture(cell) == picture(last))
            if goes_on and beyond < length:
                seam = None
            else:
                seam = seam or (number, offset)
                waited = number - seam[0] >= length
                if cell or waited:  # a bad row may lie among those of one picture: the next good one tells
                    starts.append(seam)
                    seam = (number, offset) if waited and not goes_on else None
        last = cell or last
    if seam:
        starts.append(seam)
    stops = [start for start, _ in starts[1:]] + [number + 1]
    return [(start, stop, offset) for (start, offset), stop in zip(starts, stops, strict=True)] if starts else []
