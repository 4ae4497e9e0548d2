from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from files.printable import printable, printable_lines
from files.saying import say

# What Unicode calls control and surrogate, and every mark of direction.
CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
DIRECTED = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}


def commands(sign: str) -> bool:
    """Whether a terminal may act on it."""
    marks = unicodedata.bidirectional(sign) in DIRECTED or sign in "\u200e\u200f\u061c"
    return unicodedata.category(sign) in CATEGORIES or marks


def test_every_sign_there_is() -> None:
    for sign in map(chr, range(0x110000)):
        one, lines = printable(sign), printable_lines(sign)
        assert not commands(one)
        assert len(one) == len(lines) == 1
        if commands(sign):
            assert sign in "\t\n" or not commands(lines)
        else:
            assert sign == one == lines
    assert printable_lines("a\tb\nc\r\x1b[2J") == "a\tb\nc␍␛[2J"
    assert printable("a\tb\nc\r\x1b[2J") == "a b c ␛[2J"


@given(st.text())
def test_lines_are_the_line_but_for_tabs_and_ends(text: str) -> None:
    plain = "".join(sign for sign in text if sign not in "\t\n\r")
    assert printable(plain) == printable_lines(plain)
    plain.translate({}).encode("utf-8", "replace")
    printable(text).encode()


def test_what_is_said_is_safe(capsys) -> None:  # type: ignore[no-untyped-def]
    say("shard \x1b]0;title\x07 of \u202egpj.exe")
    assert capsys.readouterr().err == "shard ␛]0;title␇ of \ufffdgpj.exe\n"
