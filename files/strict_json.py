"""The one reader of JSON that others may have written: what is read can be written again, and comes at once.

JSON in its letters: UTF-8, each key once, numbers that are finite and of a length that people write, nesting that a
program can follow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

DEEPEST = 100
MOST_DIGITS = 64
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class JsonFault(ValueError):
    """What is wrong with a text of JSON."""


def parse_json(data: str | bytes) -> Any:
    """Read a text. Raises JsonFault for what is no JSON, and for more than that (see above)."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        value = json.loads(
            text,
            object_pairs_hook=_once_each,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_no_number,
        )
        if text.count("[") + text.count("{") > DEEPEST:
            _check_depth(value)
        if _SURROGATE.search(text):  # half of a letter, perhaps
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise JsonFault(f"is no UTF-8 text: {error.reason} at byte {error.start}") from None
    except UnicodeEncodeError as error:
        raise JsonFault(f"holds half of a letter, {error.object[error.start]!r}") from None
    except json.JSONDecodeError as error:
        raise JsonFault(f"is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    return value


def read_json(path: Path) -> Any:
    """What a file says. Raises OSError where it cannot be had, JsonFault as `parse_json`."""
    return parse_json(path.read_bytes())


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set[str]()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonFault(f"the key {twice!r:.80} comes twice")
    return found


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise JsonFault(f"a number of {len(digits):,} digits is not read; the most are {MOST_DIGITS}")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if number - number:  # not 0 for what is infinite
        _no_number(digits)
    return number


def _no_number(word: str) -> NoReturn:
    raise JsonFault(f"{word:.40} is no finite number")


def _check_depth(value: Any) -> None:
    level: Iterable[Any] = [value]
    for _ in range(DEEPEST + 1):
        held = [one for one in level if isinstance(one, dict | list)]
        if not held:
            return
        level = [inner for one in held for inner in (one.values() if isinstance(one, dict) else one)]
    raise _too_deep()


def _too_deep() -> JsonFault:
    return JsonFault(f"nests deeper than {DEEPEST} levels")
