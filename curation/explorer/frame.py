"""What all pages of a curation share: their frame, their errors, and what may be in an address or a form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from curation.explorer.explored import Explored
from curation.explorer.guard import Token
from files.errors import CocuError, MisuseError
from files.page import page
from files.printable import called

BY = {"words": "pictures like words", "captions": "captions like words", "concept": "concept", "key": "key"}
_TEMPLATES = Path(__file__).with_name("templates")
_MOST_TEXT = 2000


class Missing(MisuseError):
    """What an address stands for is not there."""


class Frame:
    """Around the pages of one curation. at: where its addresses begin, "" or "/a". beside: (name, address) of more."""

    def __init__(self, explored: Explored, token: Token, at: str = "", beside: Sequence[tuple[str, str]] = ()) -> None:
        self.explored, self.token, self.at, self.beside = explored, token, at, beside

    def page(self, template: str, status: int = 200, /, **values: Any) -> Response:
        """A page of a template, which finds there what all of them need, too."""
        shared = {
            "at": self.at,
            "name": self.explored.name,
            "beside": self.beside,
            "token": self.token.value,
            "by_words": BY,
            "encoder": self.explored.encoder_missing,
        }
        told = {name: called(value) if isinstance(value, str) else value for name, value in (shared | values).items()}
        return Response(page(_TEMPLATES / template, **told), status, media_type="text/html")

    def to(self, path: str) -> Response:
        """On to another page."""
        return RedirectResponse(self.at + path, 303)

    def told(self, error: Exception) -> Response:
        """A page for what went wrong."""
        status = 404 if isinstance(error, Missing) else 400 if isinstance(error, MisuseError) else 500
        return self.page("wrong.html.j2", status, said=str(error))

    def pair_of(self, request: Request) -> int:
        """The pair that an address is of. Raises Missing."""
        number, pairs = int(request.path_params["pair"]), len(self.explored.catalogue)
        if number >= pairs:
            raise Missing(f"there are {pairs:,} pairs, counted from 0; {number} is none of them")
        return number

    def got(self, path: str, answer: Callable[[Request], Response]) -> Route:
        """A page to look at."""

        def endpoint(request: Request) -> Response:
            return self._answered(answer, request)

        return Route(path, endpoint, methods=["GET"])

    def posted(self, path: str, answer: Callable[[Request, FormData], Response]) -> Route:
        """What a form of our own pages is sent to."""

        async def endpoint(request: Request) -> Response:
            async with request.form(max_files=1, max_fields=16) as form:
                if not self.token.fits(form.get("token")):
                    said = "this form is of an earlier start of the explorer: go back, load its page again, and repeat"
                    return self.page("wrong.html.j2", 403, said=said)
                return await run_in_threadpool(self._answered, answer, request, form)

        return Route(path, endpoint, methods=["POST"])

    def _answered(self, answer: Callable[..., Response], *given: Any) -> Response:
        try:
            return answer(*given)
        except CocuError as error:
            return self.told(error)


def asked_text(request: Request, name: str, most: int = _MOST_TEXT) -> str:
    """What an address says, cut where it is too long."""
    return request.query_params.get(name, "")[:most]


def asked_number(request: Request, name: str) -> int:
    """A number of an address; 0 where it is none."""
    given = request.query_params.get(name, "0")
    return int(given) if given.isascii() and given.isdecimal() and len(given) < 10 else 0


def asked_choice(request: Request, name: str, known: Iterable[str]) -> str:
    """One of some words; the first where an address says another."""
    known = list(known)
    given = request.query_params.get(name, known[0])
    return given if given in known else known[0]


def field(form: FormData, name: str, most: int = _MOST_TEXT) -> str:
    """What a form says; "" for a file."""
    value = form.get(name, "")
    return value[:most] if isinstance(value, str) else ""


def further(request: Request, at: int, step: int, total: int) -> dict[str, str]:
    """Addresses of this page from the rows after those shown, and before; "" where there are none."""

    def address(row: int) -> str:
        asked = {name: value for name, value in request.query_params.items() if name != "at"}
        return "?" + urlencode(asked | ({"at": str(row)} if row else {}), errors="replace")

    return {
        "more": address(at + step) if at + step < total else "",
        "less": address(max(0, at - step)) if at else "",
    }
