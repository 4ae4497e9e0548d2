"""What keeps strangers out of a server on one's own machine: other sites in the same browser, and hostile captions.

A page from elsewhere can make a browser send requests here, and by a name that leads here (DNS rebinding) read the
answers. So the Host header must be one that this server goes by, what writes must carry a token that only its own pages
have, and a page runs no script and fetches nothing but from here, whatever a caption says.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BODY = 32 << 20
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Around the whole application. host: what the server is bound to; names: others that it goes by."""

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", names: Iterable[str] = ()) -> None:
        self._app = app
        self._names = _LOOPBACK | {name.casefold() for name in names} | ({host.casefold()} - {""})
        self._abroad = not is_loopback(host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; every answer carries the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refused(scope["method"], headers)
        if refused:
            await PlainTextResponse(refused, 413 if refused == _TOO_LARGE else 403, dict(_HEADERS))(
                scope, receive, send
            )
            return
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MOST_BODY:  # one that did not say how long it would be
                raise OversizedBody
            return message

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    found[name] = value
                found.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._app(scope, limited, marked)
        except OversizedBody:
            await PlainTextResponse(_TOO_LARGE, 413, dict(_HEADERS))(scope, receive, send)

    def _refused(self, method: str, headers: Headers) -> str:
        host = headers.get("host", "")
        if not self._knows(host):
            return f"this server does not go by the name {host!r:.200}; start it with --name for one that it should\n"
        if method not in ("GET", "HEAD"):
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc.casefold() != host.casefold():
                return "refused: sent from a page of another site\n"
            length = headers.get("content-length", "0")
            if not length.isdecimal() or int(length) > MOST_BODY:
                return _TOO_LARGE
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return "refused: asked for by a page of another site\n"
        return ""

    def _knows(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.casefold()
        if name in self._names:
            return True
        try:  # an address itself cannot be made to lead elsewhere
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return self._abroad or address.is_loopback


_TOO_LARGE = f"too large: a request may hold {MOST_BODY >> 20} MB\n"


class OversizedBody(Exception):
    """A request that goes on and on."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that is bound there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Token:
    """What a form must carry to change anything; made anew at every start."""

    def __init__(self) -> None:
        self.value = secrets.token_urlsafe(32)

    def fits(self, given: object) -> bool:
        """Whether it is the one."""
        return isinstance(given, str) and secrets.compare_digest(given.encode(), self.value.encode())
