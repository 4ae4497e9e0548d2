"""An S3 server on the loopback address: moto's, which can be told to refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.integration.buckets import fetched

BUCKET = "bucket"
SAID = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"


@dataclass
class S3Server:
    """refuses: HTTP status of a request, by its method and path, in place of the answer; 0: none."""

    application: Any
    refuses: Callable[[str, str], int] = lambda method, path: 0
    environment: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, request: dict[str, Any], answer: Any) -> Any:
        method, path = request["REQUEST_METHOD"], request["PATH_INFO"]
        self.asked.append((method, path))
        if not (status := self.refuses(method, path)):
            return self.application(request, answer)
        request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0))
        body = SAID.format(code={403: "AccessDenied"}.get(status, "InternalError")).encode()
        answer(f"{status} Refused", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    def files(self) -> Any:
        """What is there, asked by a driver of the test's own."""
        import s3fs

        return s3fs.S3FileSystem(
            key="key", secret="secret", endpoint_url=self.environment["AWS_ENDPOINT_URL"], use_listings_cache=False
        )

    def fetch(self, name: str, folder: Path) -> Path:
        """A folder of the bucket, byte for byte."""
        return fetched(self.files(), f"{BUCKET}/{name}", folder)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server with an empty bucket. Skips the test where moto or s3fs is missing."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    from werkzeug.serving import make_server

    server = S3Server(moto.DomainDispatcherApplication(moto.create_backend_app))
    listening = make_server("127.0.0.1", 0, server, threaded=True)
    server.environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{listening.port}",
        **{"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"},
        "AWS_MAX_ATTEMPTS": "1",
    }
    thread = Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        server.files().mkdir(BUCKET)
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()
