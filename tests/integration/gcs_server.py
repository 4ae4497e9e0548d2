"""A server of Google's storage on the loopback address: gcp-storage-emulator's, which can be told to refuse."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.integration.buckets import fetched

BUCKET = "bucket"


@dataclass
class GcsServer:
    """refuses: HTTP status of a request, by its method and address, in place of the answer; 0: none."""

    refuses: Callable[[str, str], int] = lambda method, address: 0
    environment: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def files(self) -> Any:
        """What is there, asked by a driver of the test's own."""
        from gcsfs.core import GCSFileSystem

        address = self.environment["STORAGE_EMULATOR_HOST"]
        return GCSFileSystem(token="anon", endpoint_url=address, use_listings_cache=False)

    def fetch(self, name: str, folder: Path) -> Path:
        """A folder of the bucket, byte for byte."""
        return fetched(self.files(), f"{BUCKET}/{name}", folder)


@contextmanager
def gcs_server() -> Iterator[GcsServer]:
    """A server with an empty bucket. Skips the test where gcp-storage-emulator or gcsfs is missing."""
    pytest.importorskip("gcsfs")
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    from gcp_storage_emulator.handlers.buckets import create_bucket
    from gcp_storage_emulator.storage import Storage

    server, storage = GcsServer(), Storage(use_memory_fs=True)
    create_bucket(BUCKET, storage)

    class Answer(emulator.RequestHandler):  # type: ignore[misc, name-defined]
        def __init__(self, *given: Any) -> None:
            super().__init__(storage, *given)

        def parse_request(self) -> bool:
            if not super().parse_request():
                return False
            server.asked.append((self.command, self.path))
            if not (status := server.refuses(self.command, self.path)):
                return True
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said = json.dumps({"error": {"code": status, "message": f"refused with {status}"}}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)
            return False

    class OneByOne(HTTPServer):  # the emulator knows no threads
        request_queue_size = 512

        def handle_error(self, *given: Any) -> None:
            """Who asked is gone."""

    with OneByOne(("127.0.0.1", 0), Answer) as listening:
        server.environment = {
            "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{listening.server_port}",
            "FSSPEC_GS_TOKEN": "anon",
            # Else the driver asks by gRPC, too, which the emulator does not speak, of what kind the bucket is.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }
        thread = Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listening.shutdown()
            thread.join()
