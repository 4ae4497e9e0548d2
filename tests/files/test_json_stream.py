"""Parts of large JSON one after the other, compared with the whole of it read at once."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files import json_stream
from files.json_stream import BrokenJson, JsonStream

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def parts(data: bytes) -> list[tuple[str, int, Any]]:
    return list(JsonStream(io.BytesIO(data)).parts())


@given(VALUES.filter(lambda value: isinstance(value, list | dict)), st.integers(1, 9), st.booleans(), st.booleans())
def test_parts_are_those_of_the_whole(value: Any, block: int, ascii_only: bool, spaced: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=2 if spaced else None)
    data = ("\ufeff" + text if spaced else text).encode("utf-8", "surrogatepass")
    named = [("", value)] if isinstance(value, list) else value.items()
    expected = [(name, part) for name, found in named for part in (found if isinstance(found, list) else [found])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_BLOCK", block)
        found = parts(data)
        assert [(name, part) for name, _, part in found] == [(name, part) for name, part in expected]
        for name, offset, part in found if isinstance(value, list) else ():
            assert next(JsonStream(io.BytesIO(data[offset:]), offset).rest()) == (offset, part), name


@pytest.mark.parametrize(
    "text", ["", "{", "[1, 2", '{"a": [1}', '{"a" 1}', "[1] 2", "[1,]", "[tru]", '["a', "7", "[nul"]
)
def test_what_is_broken(text: str) -> None:
    with pytest.raises(BrokenJson, match="not JSON"):
        parts(text.encode())


def test_a_part_that_is_too_large_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MOST_LETTERS", 100)
    monkeypatch.setattr(json_stream, "_BLOCK", 10)
    with pytest.raises(BrokenJson, match="at byte 4, has over"):
        parts(b'[1, "' + b"x" * 10_000 + b'"]')


def test_depth_and_digits_are_no_crash() -> None:
    for inner in (b"[" * 100_000, b"9" * 10_000):
        with pytest.raises(BrokenJson):
            parts(b"[" + inner)
