"""What is no head of a Ray cluster is told at once, and not waited for."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Thread
from types import SimpleNamespace

import pytest

from files import ray_cluster
from files.errors import MisuseError


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray as far as it is needed here, which waits for whoever answers."""

    def init(*given: object, **named: object) -> None:
        raise AssertionError("waits without end")

    errors = SimpleNamespace(RayError=KeyError)
    fake = SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: None, exceptions=errors)
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(ray_cluster, "CALL", 60.0)


@contextmanager
def refusing() -> Iterator[str]:
    """An address at which nobody listens, nor can."""
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def begin(address: str | None) -> None:
    with ray_cluster.joined(address):
        pass


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", None, bytes(9)])
def test_others_that_answer_are_told_apart(answer: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if answer is None:
        monkeypatch.setattr(ray_cluster, "CALL", 0.5)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            one, _ = server.accept()
            with one:
                one.recv(100)
                if answer is None:  # nothing, and it does not hang up
                    one.recv(1)
                else:
                    one.sendall(answer)

        serving = Thread(target=serve)
        serving.start()
        with pytest.raises(MisuseError, match=rf"--address 127.0.0.1:{port}: .*what answers there is no head"):
            begin(f"127.0.0.1:{port}")
        serving.join()


def test_a_head_is_joined() -> None:
    def serve() -> None:
        with server.accept()[0] as one:
            one.recv(100)
            one.sendall(ray_cluster.PREFACE[24:])

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        serving = Thread(target=serve)
        serving.start()
        with pytest.raises(AssertionError, match="waits without end"):
            begin(f"127.0.0.1:{server.getsockname()[1]}")
        serving.join()


def test_where_nobody_answers() -> None:
    with refusing() as address, pytest.raises(MisuseError, match=r"no cluster is reached .*refused"):
        begin(address)


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "10.0.0.1", "head:", "head:99999", "http://head:8265"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(MisuseError, match=f"--address {address}: give HOST:PORT of the head"):
        begin(address)


def test_a_head_that_has_died_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with refusing() as left:
        services = SimpleNamespace(get_ray_address_from_environment=lambda address, folder: left)
        monkeypatch.setattr(sys.modules["ray"], "_private", SimpleNamespace(services=services), raising=False)
        with pytest.raises(MisuseError, match=rf"--engine ray, which left its head at {left}: .*refused"):
            begin(None)
