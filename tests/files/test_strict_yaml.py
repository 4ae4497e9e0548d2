"""YAML: what people write is read as PyYAML reads it, and what explodes, nests or lies is refused at once."""

from __future__ import annotations

import math
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from files.strict_yaml import MOST_VALUES, YamlFault, parse_yaml

NUMBERS = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: number == 0 or 1e-4 < abs(number) < 1e15
)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12).filter(
    lambda word: not word[:1].isdigit() and word[:1] not in "-+."
)
VALUES: Any = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_values_are_those_of_pyyaml(values: Any, flow: bool) -> None:
    written = yaml.safe_dump(values, default_flow_style=flow, allow_unicode=True)
    assert parse_yaml(written).values == yaml.safe_load(written) == values


def test_numbers_are_those_of_python_and_dates_are_text() -> None:
    assert parse_yaml("[1e-3, 1.5E+2, .5, -3, 0x1f, 1_000, 2020-01-01, .inf, 1:30, 1:2:3, -0b11, 010, 0]").values == [
        *(1e-3, 150.0, 0.5, -3, 31, 1000, "2020-01-01", math.inf, "1:30", "1:2:3", -3, 8, 0)
    ]


def test_merged_and_repeated_mappings() -> None:
    text = "b: &b {x: 1, y: 2}\na: &a {<<: *b, x: 3}\nc: {<<: *a, z: [*b, *b]}\n"
    document = parse_yaml(text)
    assert document.values == yaml.safe_load(text)
    assert document.values["c"] == {"x": 3, "y": 2, "z": [{"x": 1, "y": 2}] * 2}
    assert (document.lines[("c",)], document.lines[("a", "x")], document.lines[("b", "y")]) == (3, 2, 1)


def laughs(deep: int, wide: int) -> str:
    lines = [f"a0: &a0 [{','.join(['ha'] * wide)}]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * wide)}]" for n in range(1, deep)]
    return "\n".join(lines)


def merges(deep: int) -> str:
    lines = ["m0: &m0 {" + ", ".join(f"k{n}: {n}" for n in range(10)) + "}"]
    return "\n".join(lines + [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}" for n in range(1, deep)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (laughs(9, 10), "more than 50,000 values"),
        (laughs(40, 2), "more than 50,000 values"),
        (merges(9), "more than 50,000 values"),
        ("\n".join(["a0: &a0 [1]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 90)]), "deeper than 50"),
        ("[" + "1," * (MOST_VALUES + 1) + "]", "more than 50,000 values"),
        ("[" + "1," * 600_000 + "]", "larger than the 1 MiB"),
        ("x: " + "a" * 2_000_000, "larger than the 1 MiB"),
        ("[" * 5000 + "]" * 5000, "deeper than 50"),
        ("{a: " * 3000 + "1" + "}" * 3000, "deeper than 50"),
        ("- " * 3000 + "1", "deeper than 50"),
        ("a: &a [*a]", r"\*a stands for what it is a part of"),
        ("a: &a {b: [1, {c: *a}]}", r"\*a stands for what it is a part of"),
        ("a: *b", "undefined alias"),
        ("a: " + "9" * 5000, "a number of 5,000 digits"),
        ("a: 0x" + "f" * 100_000, "a number of 100,002 digits"),
        ("a: 0x_", "'0x_' is no number"),
        ("a: 1\nb: 2\na: 3", "the key 'a' comes twice"),
        ("- {x: 1}\n- [{a: 1, a: 2}]", "the key 'a' comes twice"),
        ("~: 1", "the key '~' is no text"),
        ("1: 1", "the key '1' is no text"),
        ("yes: 1", "the key 'yes' is no text"),
        ("? [a, b]\n: 1", "a key is no text"),
        ("{{a: 1}: 3}", "a key is no text"),
        ('!!python/object/apply:os.system ["touch PWNED"]', "the tag !!python/object/apply:os.system is not read"),
        ("a: !!timestamp 2020-99-99", "the tag !!timestamp"),
        ("a: !mine x", "the tag !mine"),
        ("a: \x1b[31m", "is no YAML .*control characters"),
        ("a: \ud800", "no UTF-8"),
        ("a: [1", "did not find expected"),
        ("a: 1\n---\nb: 1", "another document"),
        ("a: =", "could not determine a constructor"),
    ],
)
def test_what_explodes_nests_or_lies_is_refused_at_once(text: str, said: str) -> None:
    began = time.process_time()
    with pytest.raises(YamlFault, match=said):
        parse_yaml(text)
    assert time.process_time() - began < 1.0


def test_the_line_of_a_fault() -> None:
    for text, line in (("a: 1\nb: 2\nb: 3\n", 3), ("a: 1\nb: [1\n\nc: 2", 4), ("a: 1\n\nb: !x 1", 3)):
        with pytest.raises(YamlFault) as raised:
            parse_yaml(text)
        assert raised.value.line == line


def test_it_is_the_only_reader_of_the_house(root: Path) -> None:
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=root, capture_output=True, text=True, check=True)
    others = [name for name in files.stdout.split() if not name.startswith(("tests/", "files/strict_yaml.py"))]
    assert [name for name in others if "yaml.load" in (text := (root / name).read_text()) or "safe_load" in text] == []
