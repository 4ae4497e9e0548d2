"""SQL from a page, as safe as `cocu curate query`: in a process of its own, started while the question is written."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curation.curated.answers import is_number, text_rows
from curation.curated.bounded import Waiting, bounded_query
from curation.explorer.frame import Frame, asked_text, field
from files.errors import CocuError
from files.printable import called, printable

_SECONDS, _MEMORY, _ROWS, _LETTERS = 30.0, 1 << 30, 200, 20_000


@dataclass(frozen=True)
class SqlAnswer:
    """Rows of an answer as texts, or what is wrong with the question. more: whether there are further rows."""

    columns: tuple[str, ...] = ()
    numbers: tuple[bool, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    more: bool = False
    wrong: str = ""


class SqlPages:
    """Questions to one curation."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self._waiting = Waiting()

    def routes(self) -> list[Route]:
        """For an application."""
        return [self.frame.got("/sql", self.write), self.frame.posted("/sql", self.run)]

    def write(self, request: Request) -> Response:
        """Where SQL is written."""
        self._waiting.prepare()
        return self.frame.page("sql.html.j2", sql=asked_text(request, "q", _LETTERS), answer=None)

    def run(self, request: Request, form: FormData) -> Response:
        """The answer to a reading statement."""
        sql = field(form, "q", _LETTERS)
        answer = self._answer(sql)
        self._waiting.prepare()
        return self.frame.page("sql.html.j2", sql=sql, answer=answer)

    def close(self) -> None:
        """No more questions."""
        self._waiting.close()

    def _answer(self, sql: str) -> SqlAnswer:
        curated = self.frame.explored.folder
        try:
            with bounded_query(curated, sql, _SECONDS, _MEMORY, self._waiting) as answer:
                rows = [tuple(row) for row in text_rows(answer, _ROWS + 1)]
            names = tuple(map(printable, answer.schema.names))
            numbers = tuple(is_number(field.type) for field in answer.schema)
            return SqlAnswer(names, numbers, tuple(rows[:_ROWS]), len(rows) > _ROWS)
        except CocuError as error:
            return SqlAnswer(wrong=called(str(error)))
