"""What the tests of faults share: the command as a process of its own, and folders compared content for content."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.integration.processes import state
from tests.tiny_world import make_shards, make_tiny_clip

ROOT = Path(__file__).resolve().parents[2]
# One thread: quick for a tiny model, and sums in one order.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
TIMES = ("seconds", "stage_seconds")

SHARDS, PAIRS = 40, 4


@dataclass(frozen=True)
class Undisturbed:
    """Many small shards, and the folders that commands made of them without a fault."""

    folder: Path
    model: str

    @property
    def shards(self) -> Path:
        return self.folder / "shards"

    @property
    def index(self) -> Path:
        return self.folder / "index"

    @property
    def curated(self) -> Path:
        return self.folder / "curated"


def make_undisturbed(folder: Path) -> Undisturbed:
    """The tiny world, indexed and curated by real processes."""
    found = Undisturbed(folder, make_tiny_clip(folder / "clip"))
    make_shards(found.shards, SHARDS, PAIRS)
    run(*build(found.shards, found.index, found.model))
    run(*curate(found.index, found.curated))
    return found


def start(*arguments: object, **more: str) -> subprocess.Popen[str]:
    """`cocu ARGUMENTS` as a process that leads a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cocu", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**ENVIRONMENT, **more},
        start_new_session=True,
    )


def run(*arguments: object, code: int = 0, **more: str) -> str:
    """`cocu ARGUMENTS` to its end; what it printed, without a traceback. It must end with this exit code."""
    process = start(*arguments, **more)
    out, err = process.communicate(timeout=110)
    assert process.returncode == code, f"exit code {process.returncode}, not {code}:\n{err}{out}"
    for word in ("Traceback", "This is a bug", "Exception ignored"):
        assert word not in err + out, err + out
    return err + out


# Loads all that the command will need, and then becomes the command over and over: by forks, which take no time.
WARM = """
import json, os, signal, sys
import duckdb, faiss, open_clip, pyarrow.parquet, spacy, torch
import cli.main, curation.concepts.extractor, curation.curate, curation.index
curation.concepts.extractor.POOL_THRESHOLD = 1  # more than one worker is more than one at the first caption
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        if request["renames"] is not None:
            left = [request["renames"]]
            def count(event, arguments):
                if event == "os.rename":
                    left[0] -= 1
                    if left[0] == -1 and request["later"]:
                        signal.setitimer(signal.ITIMER_PROF, request["later"])
                    elif left[0] == -1:
                        os.kill(os.getpid(), request["sent"])
            sys.addaudithook(count)
        cli.main.main(request["arguments"])
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class WarmCommand:
    """The command in processes that have loaded its libraries already. A context manager; one process at a time."""

    def __init__(self, **more: str) -> None:
        self._environment = {**ENVIRONMENT, **more}

    def __enter__(self) -> WarmCommand:
        self._parent = subprocess.Popen(
            [sys.executable, "-c", WARM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=self._environment,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self._parent.kill()
        self._parent.communicate()

    def start(
        self,
        arguments: tuple[object, ...],
        log: Path,
        renames: int | None = None,
        sent: int = signal.SIGKILL,
        later: float = 0.0,
    ) -> int:
        """Start a command whose output goes to `log`; its process id, which is its group's, too.

        renames: it sends itself a signal when it is about to put one file more than so many in place, so that this
        comes to pass whoever is quicker, the command or its test; it does not for what its workers put in place.
        later: SIGPROF, of which it dies as of SIGKILL, when it has computed for so many seconds more.
        """
        assert self._parent.stdin is not None
        request = {"arguments": [*map(str, arguments)], "log": str(log)}
        request |= {"renames": renames, "sent": int(sent), "later": later}
        self._parent.stdin.write(json.dumps(request) + "\n")
        self._parent.stdin.flush()
        self._command = self._line()
        return self._command

    def stands(self) -> bool:
        """Wait for a SIGSTOP that the command that was started last sends itself; whether it came to that."""
        while (now := state(self._command)) not in "TZX":
            time.sleep(0.001)
        return now == "T"

    def wait(self) -> int:
        """Wait for the end of the command that was started last; its exit code, negative for a signal."""
        return self._line()

    def _line(self) -> int:
        assert self._parent.stdout is not None
        return int(self._parent.stdout.readline())


def running(process: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def build(shards: object, out: object, model: str, *options: object) -> tuple[object, ...]:
    """Arguments of `cocu index build` for the tiny world."""
    common = ("--precision", "fp32", "--workers", 1, "--device", "cpu")
    return ("index", "build", shards, "--out", out, "--model", model, *common, *options)


def curate(index: object, out: object, *options: object) -> tuple[object, ...]:
    """Arguments of `cocu curate run` for the tiny world."""
    return ("curate", "run", index, "--out", out, "--neighbours", 8, *options)


def contents(folder: Path) -> dict[str, Any]:
    """Everything in an output folder by name: Parquet as tables, the manifest without times, else bytes.

    Not what curations keep of their fits with an index: that depends on which have been run.
    """
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name == ".lock" or path.parent.name == "fits":
            continue
        name = str(path.relative_to(folder))
        if path.suffix == ".parquet":
            found[name] = pq.read_table(path)
        elif path.name == "manifest.json":
            found[name] = _without_times(json.loads(path.read_text()))
        else:
            found[name] = path.read_bytes()
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(part) for name, part in value.items() if name not in TIMES}
    return [_without_times(part) for part in value] if isinstance(value, list) else value


def same(folder: Path, other: Path) -> None:
    """Assert that two output folders hold the same, content for content."""
    left, right = contents(folder), contents(other)
    assert list(left) == list(right)
    for name, value in left.items():
        if hasattr(value, "equals"):
            assert value.schema == right[name].schema, name
            assert value.equals(right[name]), name
        else:
            assert value == right[name], name


def rejects(folder: Path) -> set[tuple[str, str, str]]:
    """(shard, key, kind of reason) of rejects.parquet."""
    rows = pq.read_table(folder / "rejects.parquet").to_pylist()
    return {(row["shard"], row["key"], row["reason"].partition(":")[0]) for row in rows}
