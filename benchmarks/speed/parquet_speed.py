"""Making batches for training of Parquet shards against the same pairs in tars, which are read where they lie.

    python -m benchmarks.speed.parquet_speed                       # synthetic pairs: 500 x 375 pixels, some 45 kB
    python -m benchmarks.speed.parquet_speed runs/curated --size 112

The pairs of the tars are written as Parquet, in row groups as `cocu curate run --shards-format parquet` has them. Whole
loaders take turns, timed by the clock and by the CPU seconds of all their processes; an epoch goes through every shard,
so each pair is written out as a tar's once in that, as in a real run. What that alone takes is the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.speed.loader_speed import CONCEPTS, CONTEXT, draw_shards
from benchmarks.speed.measure import print_table
from training.batches.loader import BatchOptions, Loader
from training.shards.found import find_data
from training.shards.parquet_tar import write_tar
from training.shards.tar_index import index_tar, read_members

GROUP_ROWS = 1_000
TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds
CONCEPT = {"concept": pa.string(), "score": pa.float64(), "cluster": pa.int32(), "in_caption": pa.bool_()}
SCHEMA = pa.schema(
    [("image", pa.binary()), ("caption", pa.string()), ("key", pa.string()), ("concepts", pa.list_(pa.struct(CONCEPT)))]
)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure and print; returns the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="*", help="curated tars at hand; none: synthetic ones")
    parser.add_argument("--size", type=int, default=224, help="pixels of a side in training")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--batches", type=int, default=8, help="of a turn")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="parquet-speed-") as folder:
        tars = given.shards or [str(draw_shards(Path(folder) / "tars"))]
        tables = [as_parquet(shard.url, Path(folder) / f"{shard.name}.parquet") for shard in find_data(tars)[0]]
        return measure(tars, [str(table) for table in tables], given)


def as_parquet(tar: str, target: Path) -> Path:
    """The pairs of a curated tar as Parquet."""
    rows: list[dict[str, Any]] = []
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(tar, "rb") as file, pq.ParquetWriter(target, SCHEMA, compression="snappy") as writer:
        for start, stop in index_tar(tar).spans.tolist():
            file.seek(start)
            key, members = read_members(file.read(stop - start))
            listed = json.loads(bytes(members["concepts.json"]))["concepts"]
            concepts = [{name: one[name] for name in CONCEPT} for one in listed]
            image = bytes(next(data for field, data in members.items() if field not in ("txt", "concepts.json")))
            rows.append({"image": image, "caption": str(members["txt"], "utf-8"), "key": key, "concepts": concepts})
            if len(rows) == GROUP_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                rows.clear()
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    return target


def measure(tars: list[str], tables: list[str], given: argparse.Namespace) -> dict[str, float]:
    """All figures."""
    options = BatchOptions(
        batch_size=given.batch,
        image_size=given.size,
        concepts="curated-cluster",
        concepts_per_image=CONCEPTS,
        context_length=CONTEXT,
        workers=given.workers,
    )
    took: dict[str, list[tuple[float, float]]] = {"tars": [], "Parquet": []}
    for _ in range(given.turns):
        for name, shards in (("tars", tars), ("Parquet", tables)):
            took[name].append(turn(shards, options, given.batches))
    pairs = given.batch * given.batches
    clock, cpu = (
        {name: median(one[i] for one in found) / pairs * 1e6 for name, found in took.items()} for i in range(2)
    )
    ratios = {"clock": clock["tars"] / clock["Parquet"], "cpu": cpu["tars"] / cpu["Parquet"]}
    print_table(
        [f"pairs/s, {given.workers} workers, {given.size} px", "tars", "Parquet", "ratio"],
        [
            ["by the clock", *(f"{1e6 / one:,.0f}" for one in clock.values()), f"{ratios['clock']:.3f} x"],
            ["by CPU seconds", *(f"{1e6 / one:,.0f}" for one in cpu.values()), f"{ratios['cpu']:.3f} x"],
        ],
    )
    found = [written(table) for table in tables for _ in range(given.turns)]
    print(f"Parquet written as a tar: {median(one[0] for one in found):,.0f} pairs/s, ", end="")
    print(f"{median(one[1] for one in found) / 1e6:,.0f} MB/s")
    return ratios


def turn(shards: list[str], options: BatchOptions, batches: int) -> tuple[float, float]:
    """Seconds by the clock, and CPU seconds of all processes, for so many batches after the first."""
    with Loader(shards, options, samples=1 << 20) as loader:
        next(loader)
        before, start = _cpu(), time.perf_counter()
        for _ in islice(loader, batches):
            pass
        return time.perf_counter() - start, max(_cpu() - before, TICK)


def _cpu() -> float:
    """CPU seconds of this process and those that its threads have begun, by what the kernel says of each."""
    children = {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in ("self", *children)]
    return sum(int(one[11]) + int(one[12]) for one in fields) * TICK


def written(table: str) -> tuple[float, float]:
    """Pairs and bytes that a Parquet file is written as a tar of, a CPU second."""
    with tempfile.TemporaryFile() as target, open(table, "rb") as source:
        start = time.process_time()
        index = write_tar(table, source, target)
        seconds = time.process_time() - start
        return len(index) / seconds, target.tell() / seconds


if __name__ == "__main__":
    main()
