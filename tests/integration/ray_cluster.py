"""Ray clusters of several nodes on this machine, in namespaces of their own: Ray listens on every address it finds.

on_a_cluster("job", ...) runs `job(...)` of this file there, and whatever it has begun ends with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from curation.reading.shards import Shard
from curation.runs.ray_workers import ray_workers
from curation.runs.spread import ATTEMPTS, spread
from files.errors import CocuError, MisuseError
from files.ray_cluster import joined, machines
from tests.curation.runs.test_spread import SHARDS, foreseeing, recording
from tests.integration.faults import build, curate, run, same, start
from tests.integration.namespaces import command_line, in_namespaces, jobs, loopback_up, until
from tests.integration.processes import session

PORT = 6399
# A node that is killed is missed within seconds; one that is not, on a machine that is busy, by Ray's own patience.
IMPATIENCE = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "10"}


def on_a_cluster(job: str, *arguments: object, kills: bool = False) -> str:
    """What a job printed; it must succeed, and leave no process. kills: whether it kills nodes."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # of a short name: sockets lie there
        more = {**(IMPATIENCE if kills else {}), "RAY_TMPDIR": folder}
        return in_namespaces("tests.integration.ray_cluster", job, *arguments, mark=folder, **more)


class Node:
    """A node at an address of the loopback; the one at 127.0.0.1 is the head.

    own: a folder that is empty there, and its own.
    """

    def __init__(self, host: int, cpus: int, own: Path | None = None) -> None:
        self.address = f"127.0.0.{host}"
        place = ["--head", "--port", str(PORT)] if host == 1 else ["--address", f"127.0.0.1:{PORT}"]
        size = ["--num-cpus", str(cpus), "--object-store-memory", "100000000"]
        quiet = ["--include-dashboard", "false"] if host == 1 else []
        hidden = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs own "$0" && exec "$@"', str(own)] if own else []
        self._process = subprocess.Popen(
            [
                *hidden,
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
                *("--node-ip-address", self.address, *place, *size, *quiet),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if host == 1:
            until(lambda: answers(PORT))

    def kill(self) -> None:
        """As if the machine were gone."""
        for process in (self._process.pid, *session(self._process.pid)):
            with _if_there():
                os.kill(process, signal.SIGKILL)
        self._process.wait()


@contextmanager
def _if_there() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return


def wait_for_shards(process: subprocess.Popen[str], made: Path, count: int) -> None:
    """Until so many shards are done by a command that is at work still."""
    until(lambda: process.poll() is not None or len(list((made / "state").glob("[!@]*.json"))) >= count)
    assert process.poll() is None, "".join(process.communicate())


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def hands() -> int:
    """How many workers of a run there are."""
    return sum(command_line(path).startswith("ray::Hand") for path in Path("/proc").glob("[0-9]*/cmdline"))


# The jobs.


def spreads(folder: str) -> None:
    """What is asked of any workers (tests/curation/runs/test_spread.py), of one node's two."""
    Node(1, 2)
    there = Path(folder)
    seen: list[tuple[int, bool]] = []

    def two(cores: int, memory: float) -> int:
        seen.append((cores, memory > 1e8))
        return 2

    gather = partial(ray_workers, None, "cpu", None, None, usual=two)
    make = partial(recording, there, "3", ATTEMPTS, "")
    counted: list[int] = []
    tried: list[str] = []
    shards = [*SHARDS, Shard("bad", "/data/bad.tar", 10)]
    with joined(f"127.0.0.1:{PORT}"):
        outcomes = spread(
            *(shards, make, gather, lambda pairs, weight: counted.append(pairs)),
            lambda shard, worker, error: tried.append(shard.name),
        )
        failed = sorted(shard.name for shard, outcome in outcomes if isinstance(outcome, CocuError))
        assert failed == ["3", "bad"], failed
        assert seen == [(2, True)], seen
        assert sorted(tried) == ["3"] * ATTEMPTS + ["bad"], tried
        assert sum(counted) == 3 * (len(shards) - len(failed))
        begun = {path.name: len(path.read_text().split()) for path in there.iterdir() if path.is_file()}
        assert begun == {shard.name: 1 for shard in shards} | {"3": ATTEMPTS}, begun
        many = [Shard(f"{i}", f"/data/{i}.tar", 1) for i in range(24)]
        (there / "ahead").mkdir()
        make = partial(foreseeing, there / "ahead", "4", len(many))
        found = dict(spread(many, make, gather, lambda pairs, weight: None))
        assert set(found) == set(many)
        assert all(done == ({"ahead": True}, []) for done in found.values()), found
        with pytest.raises(MisuseError, match="wrong option"):
            list(spread(SHARDS, partial(recording, there, "", 0, "0"), gather, lambda pairs, weight: None))
        until(lambda: hands() == 0)


def elsewhere(shards: str, model: str, index: str, curated: str, folder: str) -> None:
    """Both stages, on a node that has no folder in common with the driver but those that lie at an address."""
    Node(1, 0)
    own, out = Path(folder) / "own", Path(folder) / "out"
    own.mkdir()
    Node(2, 2, own)
    engine = ("--engine", "ray", "--address", f"127.0.0.1:{PORT}", "--processes", 2)
    for command, made, expected in (
        (build(shards, f"local://{out}/index", model), out / "index", Path(index)),
        (curate(f"local://{out}/index", f"local://{out}/curated"), out / "curated", Path(curated)),
    ):
        process = start(*command, *engine, TMPDIR=str(own))
        told = "".join(process.communicate(timeout=400))
        assert process.returncode == 0, told
        same(expected, made)
    assert not list(own.glob("cocu-*"))


def stages(shards: str, model: str, index: str, curated: str, folder: str) -> None:
    """Both stages, by a head that drives alone and nodes that are killed and come: as `index` and `curated` are."""
    Node(1, 0)
    out = Path(folder)
    host = 2
    node = Node(host, 1)
    engine = ("--engine", "ray", "--address", f"127.0.0.1:{PORT}")
    for command, made, expected in (
        (build(shards, out / "index", model), out / "index", Path(index)),
        (curate(Path(index), out / "curated"), out / "curated", Path(curated)),
    ):
        # One node alone, which is killed at its work; the next one joins when the command has none.
        process = start(*command, *engine)
        wait_for_shards(process, made, 3)
        node.kill()
        with joined(f"127.0.0.1:{PORT}") as ray:
            until(lambda ray=ray: not machines(ray, "CPU"))
        host += 1
        node = Node(host, 1)
        told = "".join(process.communicate(timeout=600))
        assert process.returncode == 0, told
        assert " is gone: " in told, told
        assert "waiting for one to join" in told, told
        same(expected, made)
        # Two nodes, of which one is killed.
        shutil.rmtree(made)
        host += 1
        other = Node(host, 1)
        process = start(*command, *engine)
        wait_for_shards(process, made, 1)
        other.kill()
        told = "".join(process.communicate(timeout=600))
        assert process.returncode == 0, told
        same(expected, made)
        until(lambda: hands() == 0)
    assert "already finished" in run(*command, *engine)


def evaluates(checkpoint: str, benchmark: str, folder: str) -> None:
    """`cocu eval` by two nodes, one of which dies at the first try, and by one process."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # all that there is
    Node(1, 1)
    node = Node(2, 1)
    out = Path(folder)
    command = ("eval", checkpoint, "--benchmark", f"miniature={benchmark}", "--device", "cpu", "--gallery", 1)
    engine = ("--engine", "ray", "--address", f"127.0.0.1:{PORT}")
    run(*command, "--out", out / "one")
    with joined(f"127.0.0.1:{PORT}") as ray:
        until(lambda: len(machines(ray, "CPU")) == 2)
    run(*command, "--out", out / "two", *engine)
    one, two = (json.loads((out / name / "results.json").read_text()) for name in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["benchmarks"][0]["mean_iou"] == two["benchmarks"][0]["mean_iou"]
    process = start(*command, "--out", out / "three", *engine)
    until(lambda: (out / "three").exists())
    node.kill()
    told = "".join(process.communicate(timeout=400))
    assert process.returncode == 1, told
    assert "a process of the cluster is gone: " in told, told
    run(*command, "--out", out / "three", *engine)


if __name__ == "__main__":
    loopback_up()
    jobs(spreads, elsewhere, stages, evaluates)
