"""Asking an application without a network: one request, one answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from curation.curated.judgements import Judgements
from curation.explorer.catalogue import open_catalogue
from curation.explorer.explored import Explored


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(
    app: Any,
    address: str,
    form: Mapping[str, str] | None = None,
    method: str = "",
    body: bytes | None = None,
    **headers: str,
) -> Answer:
    """form: sent as a page sends it. headers: by their names, _ for -."""
    path, _, query = address.partition("?")
    sent = {"host": "127.0.0.1:8400"} | {name.replace("_", "-"): value for name, value in headers.items()}
    data = body or b""
    if form is not None:
        data = urlencode(form).encode()
        sent |= {"content-type": "application/x-www-form-urlencoded"}
    if data:
        sent.setdefault("content-length", str(len(data)))
    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": ""},
        **{"method": method or ("GET" if form is None else "POST"), "path": path, "raw_path": path.encode()},
        **{"query_string": query.encode(), "server": ("127.0.0.1", 8400), "client": ("127.0.0.1", 1)},
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
    }
    told: list[Any] = []

    waiting = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.sleep(3600)  # nobody hangs up
        return waiting.pop()

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    asyncio.run(app(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return Answer(told[0]["status"], found, b"".join(one.get("body", b"") for one in told[1:]))


def explore(curated: Path, judged: Path | None = None) -> Explored:
    """Without an index, as of a folder that came alone."""
    return Explored(open_catalogue(curated), None, Judgements(judged or curated / "judged.sqlite"))


def token_of(app: Any, address: str) -> str:
    """What the forms of a page carry."""
    found = re.search(r'name="token" value="([^"]+)"', ask(app, address).text)
    assert found
    return found[1]
