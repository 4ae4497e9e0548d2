"""Braces in names, as shells expand them: {00000..00099}, {a,b}. What they stand for is counted before it is made."""

from __future__ import annotations

import re
from collections.abc import Sequence

from files.errors import MisuseError

MOST_NAMES = 1_000_000
_MOST_LETTERS = 1 << 30  # of all names together
_DEEPEST = 50
_RANGE = re.compile(r"(-?\d+|[A-Za-z])\.\.(-?\d+|[A-Za-z])(?:\.\.-?(\d+))?")
_MOST_DIGITS = 18
_EXAMPLE = "write shards as 'folder/{00000..00099}.tar'"


def expand_braces(name: str) -> list[str]:
    """The names that one stands for. Raises MisuseError where braces do not pair, nest deep, or stand for too many."""
    from braceexpand import braceexpand

    count = _count(name)
    if count > MOST_NAMES or count * len(name) > _MOST_LETTERS:
        raise MisuseError(f"{name}: stands for more than {MOST_NAMES:,} shards; give fewer")
    return list(braceexpand(name))


def braced(names: Sequence[str]) -> str:
    """Names as one with braces: a range where they are numbers in a row, else a list; a lone one as it is."""
    if len(names) == 1:
        return names[0]
    stem = names[0].rstrip("0123456789")
    first = names[0][len(stem) :]
    if first and list(names) == [f"{stem}{int(first) + i:0{len(first)}d}" for i in range(len(names))]:
        return f"{stem}{{{first}..{names[-1][len(stem) :]}}}"
    return f"{{{','.join(names)}}}"


def _count(name: str) -> int:
    """How many names the braces stand for; of too many, any number that is too large."""
    # Of each open brace: where it begins; of what it stands in, the names before the last comma, and since.
    opened: list[tuple[int, int, int]] = []
    before, here = 0, 1
    escaped = False
    for at, sign in enumerate(name):
        if escaped or sign == "\\":
            escaped = not escaped
        elif sign == "{":
            opened.append((at, before, here))
            before, here = 0, 1
            if len(opened) > _DEEPEST:
                raise MisuseError(f"{name}: braces in more than {_DEEPEST} braces; {_EXAMPLE}")
        elif sign == "," and opened:
            before, here = before + here, 1
        elif sign == "}":
            if not opened:
                raise MisuseError(f"{name}: unbalanced braces; {_EXAMPLE}")
            inside = before + here
            start, before, here = opened.pop()
            here = min(here * max(inside, _size_of_range(name[start + 1 : at])), MOST_NAMES + 1)
    if opened:
        raise MisuseError(f"{name}: unbalanced braces; {_EXAMPLE}")
    return here


def _size_of_range(inside: str) -> int:
    """How many names a range of numbers or letters stands for, at most; 1 for what is none."""
    if not (found := _RANGE.fullmatch(inside)):
        return 1
    if max(map(len, found.groups(""))) > _MOST_DIGITS:
        return MOST_NAMES + 1
    first, last, step = found.groups("1")
    return 52 if first.isalpha() or last.isalpha() else abs(int(last) - int(first)) // (int(step) or 1) + 1
