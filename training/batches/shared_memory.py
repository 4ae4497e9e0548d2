"""How many workers /dev/shm has room for: what they hand over lies in shared memory, and a container's is small."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from files.errors import MisuseError
from files.saying import say
from training.batches.loader import BatchOptions
from training.batches.workers import BATCHES_AHEAD, PARTS_AHEAD

FOLDER = Path("/dev/shm")


def free_bytes() -> int | None:
    """What is free of the shared memory; None where it is no folder of its own, and has no limit of its own."""
    if not FOLDER.is_dir():
        return None
    status = os.statvfs(FOLDER)
    return status.f_bavail * status.f_frsize


def held(options: BatchOptions, workers: int) -> int:
    """The most bytes of shared memory that batches and their parts take at once, on one rank."""
    if not workers:
        return 0
    shares = options.shares
    parts = len(shares) * -(-shares[0].pairs // options.part) + (len(shares) > 1) * len(shares)
    # A batch of one part is that part; others, and those in page-locked memory, are copies.
    batches = parts if parts > 1 or options.pin_memory else BATCHES_AHEAD + 3
    return (PARTS_AHEAD * workers + batches + 2) * options.part * 3 * options.image_size**2


def workers_that_fit(
    asked: int | None, usual: int, loaders: Sequence[BatchOptions], free: int | None, ranks: int = 1, tell: bool = True
) -> int:
    """The workers of each rank: those asked for, or as many of the usual as there is shared memory for.

    loaders: those that work at the same time. free: bytes. ranks: that share them. tell: say it where they are fewer.
    Raises MisuseError where those asked for do not fit.
    """
    wanted = usual if asked is None else asked

    def needed(workers: int) -> int:
        return ranks * sum(held(options, workers) for options in loaders)

    if free is None or needed(wanted) <= free:
        return wanted
    fitting = next(workers for workers in range(wanted, -1, -1) if needed(workers) <= free)
    short = (
        f"loading with {wanted} process{'es' * (wanted > 1)} holds up to {needed(wanted) / 1e6:,.0f} MB of shared "
        f"memory, {FOLDER} has {free / 1e6:,.0f} MB free"
    )
    larger = f"make it larger (docker run --shm-size={-(-needed(wanted) // 10**9) + 1}g)"
    if asked is not None:
        raise MisuseError(f"--workers {asked}: {short}; give --workers {fitting}, or {larger}")
    if tell:
        say(f"{short}: {fitting} are used; for more, {larger}")
    return fitting
