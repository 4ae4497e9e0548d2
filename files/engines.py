"""Engines: who has the machines that a command's work is shared out to."""

from __future__ import annotations

from files.errors import MisuseError

LOCAL, RAY = "local", "ray"
ENGINES = (LOCAL, RAY)


def check_engine(engine: str, address: str | None) -> None:
    """Raises MisuseError for what is no engine, and for the address of a cluster where none is asked for."""
    if engine not in ENGINES:
        raise MisuseError(f"--engine {engine}: expected one of {', '.join(ENGINES)}")
    if address is not None and engine != RAY:
        raise MisuseError(f"--address {address}: is of a Ray cluster; give --engine {RAY}, too")
