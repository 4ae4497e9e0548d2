"""What more processes bring: pairs a second of `cocu index build` and `cocu curate run` with --processes 1 and 2.

    python -m benchmarks.speed.spread --pairs 4000

Pairs of the miniature and its model, in shards of 100. The peer is one process, which has all cores for its threads, or
as many as OMP_NUM_THREADS says; the runs take turns. The rate is by the times at which shards were done, from the first
of each process to the last, so that what starting takes is not in it; on cores that others keep busy it says little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
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
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rates = measured(Path(folder), given.pairs, given.processes, given.repeats)
    rows = []
    for stage, (one, several) in rates.items():
        ratios = [b / a for a, b in zip(one, several, strict=True)]
        told = f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append([stage, f"{statistics.median(one):,.0f}", f"{statistics.median(several):,.0f}", told])
    print_table(["stage", "one process, pairs/s", f"{given.processes} processes, pairs/s", "ratio"], rows)


def measured(folder: Path, pairs: int, processes: int, repeats: int) -> dict[str, tuple[list[float], list[float]]]:
    """Rates of each stage: by one process, and by several."""
    write_miniature(folder / "pairs", pairs, per_shard=SHARD)
    found: dict[str, tuple[list[float], list[float]]] = {"embed": ([], []), "curate": ([], [])}
    for number in range(repeats):
        for place, count in enumerate((1, processes)):
            index, curated = (folder / f"{name}-{number}-{count}" for name in ("index", "curated"))
            how = ("--processes", count)
            _cocu("index", "build", folder / "pairs", "--model", "miniature", "--device", "cpu", "--out", index, *how)
            _cocu("curate", "run", index, "--out", curated, *how)
            shards = json.loads((index / "manifest.json").read_text())["shards"]
            counts = {name: record["pairs"] for name, record in shards.items() if not name.startswith("@")}
            found["embed"][place].append(rate(index / "embeddings", counts, count))
            found["curate"][place].append(rate(curated / "tables" / "archives", counts, count))
    return found


def rate(folder: Path, pairs: dict[str, int], processes: int) -> float:
    """Pairs a second, by when the files of shards were written, from the first of so many processes on."""
    done = sorted((path.stat().st_mtime, pairs[path.stem]) for path in folder.glob("*.parquet"))
    later: Sequence[tuple[float, int]] = done[processes:]
    return sum(count for _, count in later) / (later[-1][0] - done[processes - 1][0])


def _cocu(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "cocu", *map(str, arguments)], check=True, capture_output=True)


if __name__ == "__main__":
    main()
