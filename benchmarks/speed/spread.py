"""What more processes bring: pairs a second of `cocu index build` and `cocu curate run` with --processes 1 and 2.

    python -m benchmarks.speed.spread --pairs 4000
    python -m benchmarks.speed.spread --core-each     # one process has one core, two have two
    python -m benchmarks.speed.spread --engine ray    # as many workers of Ray's, beside processes
    python -m benchmarks.speed.spread --index INDEX   # curates a large one, as `curate_throughput --folder` leaves it

Pairs of the miniature and its model, in shards of 100. The peer is one process, which has all cores for its threads, or
as many as OMP_NUM_THREADS says; the runs take turns. The rate is by the times at which shards were done, from the first
of each process to the last, so that what starting takes is not in it; on cores that others keep busy it says little.
With an engine the peer is as many local processes, and the cluster is one that is there (`ray start --head`).

Beside the rates stand seconds of whole commands, starting and all.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks.speed.measure import print_table
from data_cards.miniature.shards import write_miniature

SHARD = 100


def main(arguments: list[str] | None = None) -> None:
    """Make pairs, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--core-each", action="store_true", help="a process more is a core more")
    parser.add_argument("--index", type=Path, help="curate this one to tables, and embed nothing")
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    given = parser.parse_args(arguments)
    several = ("--processes", str(given.processes))
    ways = [("--processes", "1"), several] if given.engine == "local" else [several, (*several, "--engine", "ray")]
    with tempfile.TemporaryDirectory() as folder:
        found = measured(Path(folder), given.pairs, ways, given.processes, given.repeats, given.core_each, given.index)
    rows = []
    for stage, (first, second) in found.items():
        ratios = [b / a for a, b in zip(first, second, strict=True)]
        told = f"{statistics.median(ratios):.3f} x ({min(ratios):.3f} to {max(ratios):.3f})"
        rows.append([stage, f"{statistics.median(first):,.1f}", f"{statistics.median(second):,.1f}", told])
    print_table(["what", *(" ".join(way) for way in ways), "ratio"], rows)


def measured(
    folder: Path,
    pairs: int,
    ways: Sequence[Sequence[str]],
    workers: int,
    repeats: int,
    core_each: bool = False,
    there: Path | None = None,
) -> dict[str, tuple[list[float], list[float]]]:
    """Pairs a second of each stage, and seconds of the whole command: by the first of two ways, and by the second."""
    if not there:
        write_miniature(folder / "pairs", pairs, per_shard=SHARD)
    found: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for number in range(repeats):
        for place, way in enumerate(ways):
            index, curated = there or folder / f"index-{number}-{place}", folder / f"curated-{number}-{place}"
            processes = 1 if way[:2] == ("--processes", "1") else workers
            cores = sorted(os.sched_getaffinity(0))[: processes if core_each else None]
            build = ("index", "build", folder / "pairs", "--model", "miniature", "--device", "cpu", "--out", index)
            curate = ("curate", "run", index, "--out", curated, *(("--output", "tables") if there else ()))
            stages = {"curate": (curate, curated / "tables" / "archives")}
            if not there:
                stages = {"embed": (build, index / "embeddings")} | stages
            for name, (command, written) in stages.items():
                found[f"{name}, s"][place].append(_cocu(cores, *command, *way))
                shards = json.loads((index / "manifest.json").read_text())["shards"]
                counts = {name: record["pairs"] for name, record in shards.items() if not name.startswith("@")}
                found[f"{name}, pairs/s"][place].append(rate(written, counts, processes))
    return found


def rate(folder: Path, pairs: dict[str, int], processes: int) -> float:
    """Pairs a second, by when the files of shards were written, from the first of so many processes on."""
    done = sorted((path.stat().st_mtime, pairs[path.stem]) for path in folder.glob("*.parquet"))
    later: Sequence[tuple[float, int]] = done[processes:]
    return sum(count for _, count in later) / (later[-1][0] - done[processes - 1][0])


def _cocu(cores: Sequence[int], *arguments: object) -> float:
    command = [sys.executable, "-m", "cocu", *map(str, arguments)]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, preexec_fn=lambda: os.sched_setaffinity(0, cores))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
