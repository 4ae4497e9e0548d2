"""JSON: what programs write is read as Python reads it, and what nests, lies or cannot be written again is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.strict_json import JsonFault, parse_json, read_json

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.integers(-(10**60), 10**60) | st.floats(allow_nan=False, allow_infinity=False)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_values_are_those_of_python(values: Any, escaped: bool) -> None:
    text = json.dumps(values, ensure_ascii=escaped)
    assert parse_json(text) == parse_json(text.encode()) == parse_json(b"\xef\xbb\xbf" + text.encode()) == values


def test_brackets_in_texts_are_not_nesting(tmp_path: Path) -> None:
    values = {"a": ["[{" * 500, {"b": [[]] * 500}]}
    (tmp_path / "a.json").write_text(json.dumps(values))
    assert read_json(tmp_path / "a.json") == values
    assert parse_json('"' + "\\ud83d\\ude00" + '"') == "\U0001f600"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000 + "]" * 100_000, "deeper than 100"),
        ('{"a":' * 500 + "1" + "}" * 500, "deeper than 100"),
        ('["\\ud800"]', "half of a letter"),
        ('{"\\udfff": 1}', "half of a letter"),
        ("[" + "9" * 5000 + "]", "5,000 digits"),
        ("[" + "9" * 65 + "]", "65 digits"),
        ("[1e999]", "1e999 is no finite number"),
        ("[-1e999]", "-1e999 is no finite number"),
        ("[NaN]", "NaN is no finite number"),
        ("[-Infinity]", "-Infinity is no finite number"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' comes twice"),
        ("[1,", "is no JSON: Expecting value in line 1, column 4"),
        ("", "is no JSON"),
        (b'["\xff"]', "is no UTF-8 text: invalid start byte at byte 2"),
        (b"\xff\xfe[\x001\x00]\x00", "is no UTF-8 text"),
        ("[1] x", "is no JSON: Extra data"),
    ],
)
def test_what_nests_or_lies_is_refused_at_once(text: str | bytes, said: str) -> None:
    began = time.process_time()
    with pytest.raises(JsonFault, match=said):
        parse_json(text)
    assert time.process_time() - began < 1.0
