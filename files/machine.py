"""What this process may take of its machine: of cores and memory, no more than its control group (cgroups of Linux,
version 1 or 2: a container, a job of a scheduler) leaves to it."""

from __future__ import annotations

import ctypes
import gc
import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
UNLIMITED = 1 << 60  # version 1 has no other word for it than a number so large


def cores() -> int:
    """How many it may use at a time."""
    allowed = len(os.sched_getaffinity(0))
    if (given := os.environ.get("SLURM_CPUS_PER_TASK", "")).isdecimal():  # to which not every cluster holds its jobs
        allowed = min(allowed, max(1, int(given)))
    for group in _groups("cpu"):
        quota, period = (
            _numbers(group / "cpu.max")
            or (
                *_numbers(group / "cpu.cfs_quota_us"),
                *_numbers(group / "cpu.cfs_period_us"),
            )
            or (0, 0)
        )
        if quota > 0 and period > 0:
            allowed = min(allowed, max(1, math.ceil(quota / period)))
    return allowed


def fit_threads() -> None:
    """For libraries that are loaded after it: where the group leaves fewer cores than the machine has, they would begin
    a thread for each of these, which then wait for each other."""
    if (some := cores()) < len(os.sched_getaffinity(0)):
        os.environ.setdefault("OMP_NUM_THREADS", str(some))


def memory() -> int:
    """Bytes of memory that it may have."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([whole, *(limit for limit, _ in _limits())])


def free_memory() -> int:
    """Bytes that could be taken now; all that it may have where the machine does not say."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        free = memory()
    return max(0, min([free, *(limit - used for limit, used in _limits())]))


def give_back() -> None:
    """Give memory back that nobody holds any more: what Python has in circles, and small pieces, which glibc keeps for
    itself until it is asked."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def _limits() -> Iterator[tuple[int, int]]:
    """Of each group that has one: the limit, and what is used of it but for files' pages, which can be dropped."""
    for group in _groups("memory"):
        for limit, used, dropped in (
            ("memory.max", "memory.current", ("inactive_file", "active_file")),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
        ):
            if (most := next(iter(_numbers(group / limit)), UNLIMITED)) < UNLIMITED:
                pages = dict(line.split() for line in _text(group / "memory.stat").splitlines())
                taken = next(iter(_numbers(group / used)), 0)
                yield most, max(0, taken - sum(int(pages.get(name, 0)) for name in dropped))


def _groups(controller: str) -> Iterator[Path]:
    """The folders of this process's group and of those that it lies in. In a container the path may be the machine's,
    and the folder that is mounted the container's own."""
    for line in _text(OWN).splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        root = GROUPS / names if names else GROUPS
        if names and not root.is_dir():
            root = GROUPS / controller
        group = root / path.lstrip("/")
        yield from (one for one in (group, *group.parents) if one == root or root in one.parents)


def _numbers(file: Path) -> tuple[int, ...]:
    """Those of a file of one line; none where there is no file, or no limit."""
    try:
        return tuple(map(int, _text(file).split()))
    except ValueError:  # "max"
        return ()


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
