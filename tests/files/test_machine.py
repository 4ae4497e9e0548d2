"""What a control group leaves to a process: by its files, as Linux has them in both versions, and in a real one."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from files import machine
from files.machine import cores, fit_threads, free_memory, memory

GB = 10**9
WHOLE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
ALLOWED = len(os.sched_getaffinity(0))


def grouped(monkeypatch: pytest.MonkeyPatch, folder: Path, own: str, files: dict[str, str]) -> None:
    """As if this process were in these groups."""
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    (folder / "own").write_text(own)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(machine, "GROUPS", folder)
    monkeypatch.setattr(machine, "OWN", folder / "own")


def test_without_limits_it_is_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    none = {
        "memory.max": "max\n",
        "cpu.max": "max 100000\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "5\n",
        "cpu/cpu.cfs_quota_us": "-1\n",
        "cpu/cpu.cfs_period_us": "100000\n",
    }
    for own, files in (("", {}), ("0::/\n5:cpu:/\n4:memory:/\n", none)):
        grouped(monkeypatch, tmp_path, own, files)
        assert (cores(), memory()) == (ALLOWED, WHOLE)
        assert 0 < free_memory() <= WHOLE


def test_the_least_of_its_own_group_and_those_about_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    files = {
        "job/memory.max": f"{2 * GB}\n",
        "job/memory.current": f"{GB}\n",
        "job/memory.stat": f"anon 7\ninactive_file {GB // 2}\nactive_file {GB // 4}\n",
        "job/step/memory.max": f"{GB}\n",
        "job/step/memory.current": "1000\n",
        "job/cpu.max": "350000 100000\n",
        "job/step/cpu.max": "max 100000\n",
    }
    grouped(monkeypatch, tmp_path, "0::/job/step\n", files)
    assert (cores(), memory(), free_memory()) == (4, GB, GB - 1000)
    (tmp_path / "job/step/memory.max").write_text("max\n")
    assert (memory(), free_memory()) == (2 * GB, 2 * GB - GB // 4)


def test_the_older_version_has_a_tree_for_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    files = {
        "memory/a/memory.limit_in_bytes": f"{3 * GB}\n",
        "memory/a/memory.usage_in_bytes": f"{2 * GB}\n",
        "memory/a/memory.stat": f"inactive_file 1\ntotal_inactive_file {GB}\ntotal_active_file 0\n",
        "cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n",
        "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
    }
    grouped(monkeypatch, tmp_path, "3:memory:/a/b\n2:cpu,cpuacct:/a\n1:name=systemd:/a\n", files)
    assert (cores(), memory(), free_memory()) == (1, 3 * GB, 2 * GB)


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("100", 64), ("0", 1), ("", 64), ("all", 64)])
def test_a_task_of_slurm_has_the_cores_that_it_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    grouped(monkeypatch, tmp_path, "", {})
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", given)
    assert cores() == expected


def test_libraries_begin_as_many_threads_as_the_group_has_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    grouped(monkeypatch, tmp_path, "0::/\n", {"cpu.max": "max 100000\n"})
    fit_threads()
    assert "OMP_NUM_THREADS" not in os.environ
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    fit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "3"
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    fit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_a_container_is_told_a_path_of_the_machine_and_has_its_own_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {"memory/memory.limit_in_bytes": f"{GB}\n", "memory/memory.usage_in_bytes": f"{2 * GB}\n"}
    grouped(monkeypatch, tmp_path, "4:memory:/docker/0123\n", files)
    assert (memory(), free_memory()) == (GB, 0)


def test_memory_in_small_pieces_is_given_back() -> None:
    told = """
from files.machine import give_back

def own():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
pieces = [libc.malloc(64 << 10) for _ in range(4000)]
for piece in pieces:
    ctypes.memset(piece, 1, 64 << 10)
for number, piece in enumerate(pieces):
    if number % 8:  # what lies between holds the others fast
        libc.free(piece)
before = own()
give_back()
print(before - own())
"""
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this C library has no malloc_trim")
    assert int(found.stdout) > 100_000  # of 224,000 kB


@pytest.fixture
def group() -> Iterator[Path]:
    """A group of this machine's own, of 3 GB at most."""
    made = next(
        (base / f"cocu-{os.getpid()}" for base in (machine.GROUPS / "memory", machine.GROUPS) if base.is_dir()),
        machine.GROUPS,
    )
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        limit = next((made / name for name in ("memory.max", "memory.limit_in_bytes") if (made / name).exists()), None)
        if limit is None:
            pytest.skip("control groups here know no memory")
        limit.write_text(str(3 * GB))
        yield made
    finally:
        made.rmdir()


def test_in_a_real_group(group: Path) -> None:
    told = "from files.machine import free_memory, memory; print(memory(), free_memory())"
    enter = f'echo $$ > {group}/cgroup.procs && exec "$0" -c "$1"'
    found = subprocess.run(["sh", "-c", enter, sys.executable, told], capture_output=True, text=True, check=False)
    if "write error" in found.stderr:
        pytest.skip(f"a control group cannot be entered: {found.stderr.strip()}")
    most, free = map(int, found.stdout.split())
    assert 3 * GB - 4096 < most <= 3 * GB
    assert 0 < free <= most
