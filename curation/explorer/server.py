"""The server: the pages of one curation, or of two and what differs, on this machine alone unless told otherwise."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import current_thread, main_thread

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route

from curation.explorer.explored import Explored
from curation.explorer.frame import Frame, Missing
from curation.explorer.guard import Guard, Token
from curation.explorer.lists import Lists
from curation.explorer.pair_pages import PairPages
from curation.explorer.sql_pages import SqlPages
from files.errors import MisuseError

_STATIC = Path(__file__).with_name("static")
_FRAME = Path(__file__).resolve().parents[2] / "files" / "templates" / "page.css"
_KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".LICENSE": "text/plain"}
_AT_ONCE = 128  # requests


def application(explored: Sequence[Explored], host: str = "127.0.0.1", names: Sequence[str] = ()) -> Starlette:
    """The pages of one curation, or of two side by side."""
    token = Token()
    if len(explored) == 1:
        frames = [Frame(explored[0], token)]
        routes: list[Route | Mount] = [*_pages(frames[0])]
    else:
        from curation.explorer.comparing import Comparing

        ends = ["/a", "/b"]
        named = [(f"{end[1:].upper()}: {one.name}", f"{end}/") for end, one in zip(ends, explored, strict=True)]
        frames = [Frame(one, token, end, [("Compare", "/"), *named]) for end, one in zip(ends, explored, strict=True)]
        compared = Comparing(*frames)
        routes = [*compared.routes(), *(Mount(frame.at, routes=_pages(frame)) for frame in frames)]

    async def wrong_address(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        said = "there is no such page" if status == 404 else str(getattr(error, "detail", error))
        answer = frames[0].told(Missing(said))
        answer.status_code = status
        return answer

    return Starlette(
        routes=[Route("/static/{name}", _static), *routes],
        middleware=[Middleware(Guard, host=host, names=names)],
        exception_handlers={HTTPException: wrong_address},
    )


def _pages(frame: Frame) -> list[Route]:
    return [route for kind in (Lists, PairPages, SqlPages) for route in kind(frame).routes()]


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name == "explorer.css":
        both = _FRAME.read_text("utf-8") + (_STATIC / name).read_text("utf-8")
        return Response(both, media_type="text/css", headers={"Cache-Control": "no-cache"})
    path = _STATIC / Path(name).name
    if not path.is_file() or path.suffix not in _KINDS:
        raise HTTPException(404)
    return FileResponse(path, media_type=_KINDS[path.suffix], headers={"Cache-Control": "no-cache"})


@contextmanager
def bound(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """A socket that listens there, and the address to open. port 0: a free one. Raises MisuseError for a taken one."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise MisuseError(f"--host {host}: is no address of this machine ({error.strerror})") from error
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(place)
            listening.listen(_AT_ONCE)
        except OSError as error:
            raise MisuseError(
                f"--host {host} --port {port}: cannot be listened on ({error.strerror}); give another port, "
                "or --port 0 for a free one"
            ) from error
        found = listening.getsockname()[1]
        shown = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
        shown = f"[{shown}]" if ":" in shown else shown
        yield listening, f"http://{shown}:{found}/"


def serve(
    explored: Sequence[Explored],
    host: str,
    port: int,
    names: Sequence[str] = (),
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until Ctrl-C. ready: called with the address when it answers."""
    with bound(host, port) as (listening, address):
        for one in explored:
            one.start()
        config = uvicorn.Config(
            application(explored, host, names),
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            limit_concurrency=_AT_ONCE,
            h11_max_incomplete_event_size=1 << 16,
            timeout_graceful_shutdown=2,
            lifespan="off",
        )
        server = uvicorn.Server(config)
        with suppress(KeyboardInterrupt):
            with _ended_by_interrupts(server):
                ready(address)
                server.run(sockets=[listening])
            for one in explored:  # Python ends badly in the middle of loading; another Ctrl-C does not wait
                one.settle()


@contextmanager
def _ended_by_interrupts(server: uvicorn.Server) -> Iterator[None]:
    """Ctrl-C, the way to end it, ends it well from here on, and not only from when it has begun to serve."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda number, frame: setattr(server, "should_exit", True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
