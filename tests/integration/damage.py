"""Damaged files, and a process that has the libraries loaded and becomes one reader of such a file after another."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.integration.faults import ENVIRONMENT, ROOT

SECONDS, BYTES = 30, 2 << 30
# Of text: what opens and does not close, repeats itself, has no end, or is of another kind than what stood there.
WORDS = [
    *(b"null", b"-1", b"1e999", b"NaN", b"true", b'""', b'"\\ud800"', b"[]", b"{}", b"9" * 5000, b"0", b"99999999999"),
    *(b"[" * 3000, b'{"a":' * 500, b"{a: " * 300, b"- " * 300, b"}", b"]", b'"', b"'", b"\\", b"\n", b"\0", b"\xff"),
    *(b": ", b"&a ", b"*a", b"<<: *a\n", b"&a [*a]", b"!!python/name:os.system ", b"---\n", b"~", b"../../"),
    *(b"\x1b[31m", b",", b"\t", b'","', b"\r\n", b"?" * 100, b"yes", b"2020-01-01", b"a" * 100_000),
]
# One change of a file: what is done, where (shares of the file), and with what.
CHANGE = st.tuples(
    st.sampled_from(["flip", "drop", "put", "repeat", "zero", "swap", "number"]),
    st.floats(0, 1),
    st.floats(0, 1),
    st.binary(min_size=1, max_size=12) | st.sampled_from(WORDS),
)
CHANGES = st.lists(CHANGE, min_size=1, max_size=4)
Change = tuple[str, float, float, bytes]


def damaged(data: bytes, changes: Sequence[Change]) -> bytes:
    """A file's bytes after the changes, one after the other."""
    for kind, first, second, put in changes:
        # By squares: half of the changes are in the first quarter, where headers are.
        at, to = sorted((int(first**2 * len(data)), int(second**2 * len(data))))
        if kind == "flip" and data:
            place = min(at, len(data) - 1)
            data = data[:place] + bytes([data[place] ^ (1 << put[0] % 8)]) + data[place + 1 :]
        elif kind == "drop":
            data = data[:at] + data[to:]
        elif kind == "put":
            data = data[:at] + put + data[at:]
        elif kind == "repeat":
            data = data[:to] + data[at:]
        elif kind == "zero":
            data = data[:at] + bytes(min(to - at, 64)) + data[at + min(to - at, 64) :]
        elif kind == "swap":
            data = data[:at] + put + data[at + len(put) :]
        else:
            data = data[:at] + (-1 - put[0]).to_bytes(8, "little", signed=True) + data[at + 8 :]
    return data


# Its forks do not collect what was there before, nor clear up behind themselves: both would copy all of its memory.
WARM = """
import gc, importlib, json, os, resource, signal, sys, traceback
import duckdb, faiss, open_clip, pyarrow.dataset, pyarrow.json, spacy, torch
import cli.main, cocu, curation.curate, curation.curated.bounded, curation.index.opened, curation.report.report
import evaluation.results.comparison, training.run.checkpoint
gc.freeze()
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        here = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (here + request["bytes"],) * 2)
        signal.setitimer(signal.ITIMER_PROF, request["seconds"])  # of computing: the machine may be busy
        code = 0
        try:
            if request["reader"] is None:
                cli.main.main(request["arguments"])
            else:
                module, _, name = request["reader"].rpartition(".")
                getattr(importlib.import_module(module), name)(*request["arguments"])
        except SystemExit as end:
            code = end.code or 0
        except BaseException as error:
            message, code = cli.main.describe(error)
            print(message)
            if "bug in cocu" in message:
                traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Reader:
    """Reads files in processes of bounded time and memory. A context manager."""

    def __enter__(self) -> Reader:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._parent = subprocess.Popen([sys.executable, "-c", WARM], cwd=ROOT, env=ENVIRONMENT, **pipes)
        return self

    def __exit__(self, *exc: object) -> None:
        self._parent.kill()
        self._parent.communicate()

    def check(self, path: Path, log: Path, *arguments: object, reader: str | None = None) -> None:
        """Run a command, or a function by its dotted name, on a damaged file.

        It reads the file all the same, or ends with 1 or 2 and a message of few lines that names it, or its folder.
        """
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        limits = {"seconds": SECONDS, "bytes": BYTES}
        request = {"arguments": [*map(str, arguments)], "log": str(log), "reader": reader, **limits}
        self._parent.stdin.write(json.dumps(request) + "\n")
        self._parent.stdin.flush()
        code, said = int(self._parent.stdout.readline()), log.read_text(errors="replace")
        assert code in (0, 1, 2), f"exit code {code}: {said}"
        for word in ("Traceback", "This is a bug", "Exception ignored"):
            assert word not in said, said
        if code:
            lines = said.splitlines()
            first = next((number for number, line in enumerate(lines) if line.startswith("error: ")), None)
            assert first is not None, said
            message = "\n".join(lines[first:])
            assert path.name in message or path.parent.name in message, message
            assert len(message) < 4000, message[:10_000]
