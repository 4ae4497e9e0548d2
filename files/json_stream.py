"""JSON that is too large to hold: the parts of its lists, one after the other, with the bytes where they begin."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

_BLOCK = 1 << 20
MOST_LETTERS = 64 << 20  # of one part
_LONGEST_WORD = 16  # such as null, or an escape
_OF_NUMBERS = "+-.eE0123456789"  # and the empty text, after which one may go on
_SPACE = re.compile(r"[ \t\r\n]*")


class BrokenJson(ValueError):
    """What is no JSON, or has a part that is too large to hold."""


class JsonStream:
    """Values read off a file of JSON, of which little more than the present one is held.

    offset: the byte where what is next begins; the file stands there at first. Bytes that are no UTF-8 become
    surrogates. All raise BrokenJson.
    """

    def __init__(self, source: BinaryIO, offset: int = 0) -> None:
        self._source, self.offset = source, offset
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._at, self._ended = "", 0, False

    def parts(self) -> Iterator[tuple[str, int, Any]]:
        """(name, offset, value) of each part of the lists of the object that the file is; or of the list, by name "".

        What is in the object beside lists comes as it is, under its name.
        """
        if self._next() == "\ufeff":
            self._move(self._at + 1)
        if self._next() == "[":
            yield from self._list("")
        else:
            self._take("{")
            while self._next() != "}":
                name = str(self._value())
                self._take(":")
                if self._next() == "[":
                    yield from self._list(name)
                else:
                    offset = self.offset
                    yield name, offset, self._value()
                if self._next() != "}":
                    self._take(",")
            self._take("}")
        if self._next():
            raise BrokenJson(f"not JSON: more after its end, at byte {self.offset:,}")

    def rest(self) -> Iterator[tuple[int, Any]]:
        """(offset, value) of the parts of a list from one of them on."""
        while True:
            self._next()
            offset = self.offset
            yield offset, self._value()
            if self._next() != ",":
                self._take("]")
                return
            self._take(",")

    def _list(self, name: str) -> Iterator[tuple[str, int, Any]]:
        self._take("[")
        if self._next() == "]":
            self._take("]")
            return
        for offset, value in self.rest():
            yield name, offset, value

    def _next(self) -> str:
        """The next letter that is no space, "" at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            assert found is not None
            self._move(found.end())
            if self._at < len(self._text) or not self._more(_BLOCK):
                return self._text[self._at : self._at + 1]

    def _take(self, letter: str) -> None:
        if self._next() != letter:
            raise BrokenJson(f"not JSON: {letter!r} is missing at byte {self.offset:,}")
        self._move(self._at + 1)

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                if self._ended or self._text[end : end + 1] not in _OF_NUMBERS or self._before_end(end):
                    self._move(end)
                    return value
            except (ValueError, RecursionError) as error:
                if self._ended or not self._may_go_on(error):
                    raise BrokenJson(f"not JSON: at byte {self.offset:,}: {' '.join(str(error).split())}") from None
            held = len(self._text) - self._at
            if held > MOST_LETTERS:
                raise BrokenJson(f"one part, at byte {self.offset:,}, has over {MOST_LETTERS >> 20} million letters")
            self._more(max(_BLOCK, held))

    def _may_go_on(self, error: Exception) -> bool:
        """Whether a part may only seem broken, because its end is not read yet."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated") or not self._before_end(error.pos)

    def _before_end(self, at: int) -> bool:
        """Whether what stands there does not change by what is read later."""
        return at < len(self._text) - _LONGEST_WORD

    def _more(self, count: int) -> bool:
        """Read on; whether there was more."""
        if self._ended:
            return False
        data = self._source.read(count)
        self._ended = not data
        self._text, self._at = self._text[self._at :] + self._decoder.decode(data, final=self._ended), 0
        return not self._ended

    def _move(self, at: int) -> None:
        self.offset += len(self._text[self._at : at].encode("utf-8", "surrogateescape"))
        self._at = at


_DECODER = json.JSONDecoder()
