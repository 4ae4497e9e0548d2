"""A Ray cluster that is there: joined while a command lasts, and what it has of machines."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from files.errors import MisuseError, one_line

CALL = 10.0  # seconds for the cluster's head to answer
AUTO = "auto"  # Ray's name for the cluster that this machine is in
# How HTTP/2, which Ray's head speaks, begins: frames of 9 bytes and more, the fourth of which is their type.
SETTINGS = b"\4"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + SETTINGS + bytes(5)
DEVICES = ("auto", "cpu", "cuda")


@contextmanager
def joined(address: str | None) -> Iterator[Any]:
    """Ray, with this process in the cluster while the block lasts, or where it was in one, as it was.

    Raises MisuseError where Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ImportError:
        raise MisuseError(
            "--engine ray: Ray is not installed; it comes with an extra: pip install -c constraints.txt '.[ray]'"
        ) from None
    if ray.is_initialized():
        yield ray
        return
    asked = head = address or os.environ.get("RAY_ADDRESS") or AUTO
    try:
        if asked == AUTO:
            head = _found(ray)
        if head != AUTO:
            _call(head)
        ray.init(head, logging_level=logging.ERROR, log_to_driver=True)
    except (ConnectionError, ValueError, RuntimeError, OSError, ray.exceptions.RayError) as error:
        left = f", which left its head at {head}" if head != AUTO else ""
        of = f"--address {asked}" if asked != AUTO else f"--engine ray{left}"
        raise MisuseError(
            f"{of}: no cluster is reached from this machine ({one_line(error)}); begin one by `ray start --head`, join "
            "it from other machines by `ray start --address HOST:PORT`, and run this on one of them"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _found(ray: Any) -> str:
    """Where Ray takes the head of this machine's cluster to be, dead or alive. Raises ConnectionError for none."""
    try:
        return str(ray._private.services.get_ray_address_from_environment(AUTO, None))
    except (AttributeError, TypeError):  # of a Ray that finds it otherwise
        return AUTO


def _call(address: str) -> None:
    """Raises OSError where no head of Ray's answers, for which Ray waits without end, MisuseError for no HOST:PORT."""
    found = re.fullmatch(r"\[?([^/\[\]]+?)\]?:([0-9]{1,5})", address)
    if not found or int(found[2]) > 65535:
        raise MisuseError(f"--address {address}: give HOST:PORT of the head, such as 10.0.0.1:6379")
    with socket.create_connection((found[1], int(found[2])), timeout=CALL) as head:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):  # it speaks to those with a key alone
            return
        head.sendall(PREFACE)
        try:
            answer = head.recv(9, socket.MSG_WAITALL)
        except TimeoutError:
            answer = b""
    if answer[3:4] != SETTINGS:
        raise ConnectionError("what answers there is no head of a Ray cluster, whose port is 6379 by default")


def machines(ray: Any, needs: str) -> list[dict[str, Any]]:
    """The machines that are in the cluster and have one CPU, or GPU, at least."""
    return [one for one in ray.nodes() if one["Alive"] and one["Resources"].get(needs, 0) >= 1]


def only_on(machine: dict[str, Any]) -> Any:
    """The scheduling strategy of what is for one machine."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(machine["NodeID"], soft=False)


def sought_device(device: str, address: str | None) -> str:
    """What models of workers run on: a GPU where `auto` finds one in the cluster.

    Raises MisuseError where there is none that was asked for, and for no cluster.
    """
    if device not in DEVICES:
        raise MisuseError(f"--device {device}: expected one of {', '.join(DEVICES)}")
    with joined(address) as ray:
        if device == "cpu":
            return device
        there = machines(ray, "GPU")
    if device == "cuda" and not there:
        raise MisuseError("--device cuda: no machine of the cluster has a GPU; use --device cpu, or auto")
    return "cuda" if there else "cpu"


def why_dead(error: Exception) -> str:
    """What Ray says of an actor that is gone, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else error)
