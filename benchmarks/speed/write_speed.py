"""Writing curated shards, and nothing else, against a plain copy of the same shards on the same disk.

    python -m benchmarks.speed.write_speed

Shards of random pictures, as `curate_throughput` makes them, and made-up concepts, a dozen a pair; what ranks, searches
or fills tables does not run. Copies and writings take turns, each ends with what it wrote on the disk; medians. Warm:
the shards lie in memory before. Cold: they are dropped from there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.speed.curate_throughput import PAIRS_PER_SHARD, copy_seconds, make_corpus
from benchmarks.speed.measure import print_table
from curation.curated.shards import CuratedShard
from curation.curator import BLOCK
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import find_shards
from files.concepts_json import KeptConcepts

CONCEPTS_A_PAIR = 12
CONCEPTS = 2_000


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure and print; returns CPU seconds of the writing over those of the copy, warm and cold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=10, help=f"of {PAIRS_PER_SHARD:,} pairs each")
    parser.add_argument("--bytes", type=int, default=20_000, help="of each picture")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args(arguments)
    pairs = given.shards * PAIRS_PER_SHARD
    blocks = [made_concepts(min(BLOCK, PAIRS_PER_SHARD - start)) for start in range(0, PAIRS_PER_SHARD, BLOCK)]
    rows, ratios = [], {}
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary, "shards"), Path(temporary, "out")
        make_corpus(source, pairs, given.bytes)
        ways: dict[str, Callable[[], object]] = {
            "copying the shards": lambda: copy_seconds(source, target),
            "writing curated shards": lambda: write_shards(source, target, blocks),
        }
        for state in ("warm", "cold"):
            runs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for _ in range(given.repeats):
                for name, way in ways.items():
                    prepare(source, state == "cold")
                    runs[name].append(seconds_of(way))
            medians = [[statistics.median(part) for part in zip(*taken, strict=True)] for taken in runs.values()]
            for name, (wall, cpu) in zip(ways, medians, strict=True):
                ratio = f"{wall / medians[0][0]:.1f} x", f"{cpu / medians[0][1]:.1f} x"
                each = f"{wall / pairs * 1e6:.0f}", f"{cpu / pairs * 1e6:.0f}"
                rows.append([f"{name}, {state}", *each, *ratio])
            ratios[state] = medians[1][1] / medians[0][1]
    print(f"{pairs:,} pairs of {given.bytes:,} bytes, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print_table(["", "µs a pair", "of CPU", "of the copy", "CPU of its"], rows)
    return ratios


def write_shards(source: Path, target: Path, blocks: Sequence[KeptConcepts]) -> None:
    """Curated shards of all of a folder."""
    pair = 0
    for shard in find_shards([str(source)]):
        with CuratedShard(shard, target / f"{shard.name}.tar", CaptionOptions()) as writer:
            for kept in blocks:
                keys = [f"{pair + i:09d}" for i in range(len(kept.offsets) - 1)]
                writer.write(keys, ["a caption"] * len(keys), kept)
                pair += len(keys)
    shutil.rmtree(target)


def made_concepts(pairs: int) -> KeptConcepts:
    """Concepts of so many pairs."""
    rng = np.random.default_rng(pairs)
    count = pairs * CONCEPTS_A_PAIR
    names = pa.array([f"thing of kind {i}" for i in range(CONCEPTS)])
    return KeptConcepts(
        np.arange(0, count + 1, CONCEPTS_A_PAIR),
        names.take(pa.array(rng.integers(0, CONCEPTS, count))),
        rng.random(count, np.float32),
        rng.integers(0, 5, count).astype(np.int32),
        rng.random(count) < 0.3,
        np.full(count, np.nan, np.float32),
    )


def prepare(folder: Path, cold: bool) -> None:
    """Have the files in memory, or not there; nothing waits to be written."""
    os.sync()
    for path in folder.iterdir():
        with path.open("rb") as file:
            if cold:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while not cold and file.read(1 << 20):
                pass


def seconds_of(call: Callable[[], object]) -> tuple[float, float]:
    """(wall seconds, CPU seconds of this process)."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


if __name__ == "__main__":
    main()
