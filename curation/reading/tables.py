"""CSV, TSV and JSONL files, read from any row on; a row that cannot be read does not stop the others."""

from __future__ import annotations

import codecs
import csv
import json
import re
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import BinaryIO

from curation.reading.captioned_tables import BadRow, CaptionedTable, Row
from curation.reading.formats import FORMATS
from curation.reading.parts import parts_of
from files.addresses import open_bytes
from files.errors import MisuseError
from files.picture_tables import CAPTION_COLUMNS, IMAGE_COLUMNS

# Longer lines are read in pieces, which are then bad rows: a file without line breaks must not fill the memory.
MOST_LINE_BYTES = 8 << 20
# JSON lines may leave out what is null; so many of them are asked for their fields.
LINES_ASKED = 100


class Lines:
    """Lines of a file; `offset` is the byte where the next one starts. Bytes that are no UTF-8 become surrogates.

    Raises MisuseError where the first two bytes say that it is UTF-16 or UTF-32.
    """

    def __init__(self, source: BinaryIO, url: str) -> None:
        self.source, self.url, self.offset = source, url, 0
        self._line = self._ahead = b""

    def peek(self) -> str:
        """The next line, which stays the next; "" at the end."""
        offset = self.offset
        text = next(self, "")
        self.offset, self._ahead = offset, self._line
        return text

    def seek(self, offset: int) -> None:
        """Go to a byte; 0, where it stands at first, asks nothing of the source."""
        if offset:
            self.source.seek(offset)
            self.offset, self._ahead = offset, b""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._line = self._ahead or self.source.readline(MOST_LINE_BYTES)
        self._ahead = b""
        if not line:
            raise StopIteration
        if self.offset == 0 and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
            wide = "utf-32" if line.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)) else "utf-16"
            raise MisuseError(
                f"{self.url}: is {wide.upper()}, and tables are read as UTF-8; "
                f"make it so: iconv -f {wide} -t utf-8 TABLE > TABLE-UTF-8"
            )
        text = line.decode("utf-8-sig" if self.offset == 0 else "utf-8", "surrogateescape")
        self.offset += len(line)
        return text


class TextTable(CaptionedTable):
    """A table of lines of text."""

    @abstractmethod
    def rows(self, lines: Lines, offset: int) -> Iterator[tuple[int, Row]]:
        """(byte where it starts, row) from `offset` on, 0 for the beginning."""

    def cut(self, rows: int, image: str | None = None) -> list[tuple[int, int, int]]:
        """As `CaptionedTable`."""
        with open_bytes(self.url) as source:
            found = self.rows(Lines(source, self.url), 0)
            cells = ((at, row.get(image) if image and isinstance(row, dict) else None) for at, row in found)
            return parts_of(cells, rows, self.picture)

    def read(self, columns: Sequence[str]) -> Iterator[Row]:
        """As `CaptionedTable`."""
        with open_bytes(self.url, seek=True) as source:
            rows = self.rows(Lines(source, self.url), self.offset)
            yield from (row for _, row in islice(rows, self.stop - self.start))


class _Taken:
    """Lines, of which those that a row took can be taken once more, but for its first."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._row: list[tuple[int, str]] = []
        self._waiting: deque[tuple[int, str]] = deque()
        self.beyond_the_end = False

    def begin(self) -> None:
        """A row begins here."""
        self._row.clear()
        self.beyond_the_end = False

    @property
    def start(self) -> int:
        """Byte where the row begins."""
        return self._row[0][0]

    def again(self) -> bool:
        """Let the row's lines but the first come once more; whether there are any."""
        self._waiting.extendleft(reversed(self._row[1:]))
        return len(self._row) > 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._waiting:
            line = self._waiting.popleft()
        else:
            at = self._lines.offset
            text = next(self._lines, None)
            if text is None:
                self.beyond_the_end = bool(self._row)
                raise StopIteration
            line = (at, text)
        self._row.append(line)
        return line[1]


class CsvTable(TextTable):
    """Values under a header, or one that is given, between commas, or what else parts the first line.

    separators: what may part them; the first is what such files have by their name.
    """

    suffixes = (".csv",)
    headless = True
    separators: Sequence[str] = (",", "\t")
    separator = ","

    def columns(self) -> list[str]:
        """The header."""
        with open_bytes(self.url) as source:
            return self._header(Lines(source, self.url))

    def rows(self, lines: Lines, offset: int) -> Iterator[tuple[int, Row]]:
        """As `TextTable`."""
        header = self._header(lines)
        lines.seek(offset)
        # A quote that nobody closes makes one row of all that follows: such a row costs its first line only.
        taken = _Taken(lines)
        reader = self._reader(taken)
        while True:
            taken.begin()
            fault = ""
            try:
                cells = next(reader, None)
            except csv.Error as error:
                cells, fault = [], str(error)
            if cells is None:
                return
            if not fault and taken.beyond_the_end:
                fault = "a quote is not closed"
            elif not fault and cells and len(cells) != len(header):
                fault = f"{len(cells)} cells under a header of {len(header)}"
            if fault:
                yield taken.start, BadRow(f"broken row: {fault}")
                if taken.again():
                    reader = self._reader(taken)
            elif cells:
                yield taken.start, dict(zip(header, cells, strict=True))

    def remark(self) -> str:
        """As `CaptionedTable`: a separator that is not the usual one."""
        self.columns()
        if self.separator == self.separators[0]:
            return ""
        name = {",": "commas", "\t": "tabs"}.get(self.separator, self.separator)
        said = "first line" if self.options.columns else "header"
        return f"read with {name} between its columns, as its {said} has them"

    def _header(self, lines: Lines) -> list[str]:
        if names := self.options.columns:
            first_line = lines.peek()
            likely = sorted(self.separators, key="\t".__ne__)  # captions hold commas, seldom tabs
            fits = [one for one in likely if len(first_line.split(one)) == len(names)]
            self.separator = next(iter(fits), _separator(first_line, self.separators))
            return list(names)
        try:
            first = list(islice(lines, 1))
            self.separator = _separator("".join(first), self.separators)
            return next(self._reader(chain(first, lines)), [])
        except csv.Error as error:
            raise MisuseError(f"{self.url}: cannot be read as a table ({error})") from error

    def _reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        csv.field_size_limit(MOST_LINE_BYTES)
        return csv.reader(lines, delimiter=self.separator)


class TsvTable(CsvTable):
    """Values between tabs, never quoted."""

    suffixes = (".tsv",)
    separators = ("\t", ",")

    def _reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        if self.separator != "\t":
            return super()._reader(lines)
        csv.field_size_limit(MOST_LINE_BYTES)
        return csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)


class TxtTable(CsvTable):
    """A table that is called a text, as Flickr8k's captions.txt is; only by its name, for most texts are no tables."""

    suffixes = (".txt",)
    by_name = True


class JsonLines(TextTable):
    """A JSON object on each line."""

    suffixes = (".jsonl",)

    def columns(self) -> list[str]:
        """Fields of the first lines."""
        with open_bytes(self.url) as source:
            rows = self.rows(Lines(source, self.url), 0)
            first = (row for _, row in islice(rows, LINES_ASKED) if isinstance(row, dict))
            return list(dict.fromkeys(name for row in first for name in row))

    def rows(self, lines: Lines, offset: int) -> Iterator[tuple[int, Row]]:
        """As `TextTable`."""
        lines.seek(offset)
        start = lines.offset
        for line in lines:
            if not line.isspace():
                try:
                    row = json.loads(line)
                    yield start, row if isinstance(row, dict) else BadRow("broken row: not a JSON object")
                except (ValueError, RecursionError) as error:
                    yield start, BadRow(f"broken row: not JSON: {error}")
            start = lines.offset


FORMATS.add("csv", CsvTable)
FORMATS.add("tsv", TsvTable)
FORMATS.add("txt", TxtTable)
FORMATS.add("jsonl", JsonLines)


def _separator(header: str, separators: Sequence[str]) -> str:
    """Which of them parts a header: into most names that we know, else the first that stands outside of quotes."""
    bare = re.sub(r'"[^"]*"', '""', header)
    known = {*IMAGE_COLUMNS, *CAPTION_COLUMNS}

    def fits(separator: str) -> tuple[int, bool]:
        cells = [cell.strip('" \r\n') for cell in header.split(separator)]
        return len(known.intersection(cells)), separator in bare

    return max(separators, key=fits)
