"""Machines of a test's own on this one: a network, processes and names that nobody else sees, and that end with it.

in_namespaces("tests.integration.MODULE", "job", ...) runs that module there, which names its jobs by `jobs(...)`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.integration.faults import ENVIRONMENT, ROOT

UNSHARE = ["unshare", "--net", "--uts", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]


def why_not() -> str:
    """Why there can be no namespaces on this machine; "" where there can."""
    if shutil.which(UNSHARE[0]) is None:
        return "there is no unshare(1)"
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True, check=False)
    return f"namespaces are not allowed: {tried.stderr.strip()}" if tried.returncode else ""


def in_namespaces(module: str, job: str, *arguments: object, mark: str, **environment: str) -> str:
    """What a job printed; it must succeed, and leave no process. mark: stands in all its processes' command lines."""
    found = subprocess.run(
        [*UNSHARE, sys.executable, "-m", module, job, *map(str, arguments)],
        cwd=ROOT,
        env={**ENVIRONMENT, **environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if mark in command_line(path)]
    assert found.returncode == 0, found.stdout + found.stderr
    assert not left
    return found.stdout + found.stderr


def jobs(*those: Callable[..., None]) -> None:
    """Do the one that the command line names."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    named = {one.__name__: one for one in those}
    named[sys.argv[1]](*sys.argv[2:])


def loopback_up(addresses: Mapping[int, str] | None = None) -> None:
    """Begin the network, of this machine alone. addresses: more of them, by number."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        flags = struct.pack("16sH14x", b"lo", 0x1 | 0x40)  # up, running
        fcntl.ioctl(one, 0x8914, flags)  # SIOCSIFFLAGS
        for number, address in (addresses or {}).items():
            name, packed = f"lo:{number}".encode(), socket.inet_aton(address)
            fcntl.ioctl(one, 0x8916, struct.pack("16sHxx4s8x", name, socket.AF_INET, packed))  # SIOCSIFADDR


def until(true: Callable[[], object], seconds: float = 300.0) -> None:
    """Wait for what must come to pass."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.005)


def command_line(path: Path) -> str:
    """Of a process, by its file `cmdline`; "" where it has ended."""
    try:
        return path.read_bytes().decode(errors="replace").replace("\0", " ")
    except OSError:
        return ""
