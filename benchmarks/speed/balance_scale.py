"""`cocu curate balance` on tables of many rows: seconds and peak memory.

    python -m benchmarks.speed.balance_scale --rows 1000000 100000000

Made-up archives: 16 rows a pair, concepts by Zipf's law, ten thousand pairs a shard. Every size is balanced in a
process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.speed.measure import print_table
from curation.curated.balanced import balance_curated
from curation.curated.tables import ARCHIVES, CONCEPTS, PAIRS

ROWS, PAIRS_A_SHARD, WORDS = 16, 10_000, 20_000


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure and print; returns one record per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 100_000_000], help="of the archives")
    parser.add_argument("--out", default="weights.parquet", help="weights.parquet or uids.npy")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.inside:
        print(json.dumps(measure(given.inside, given.out)))
        return []
    records = []
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), rows)
            command = [sys.executable, "-m", "benchmarks.speed.balance_scale", f"--out={given.out}", "--inside", folder]
            said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
        records.append({"rows": rows, **json.loads(said)})
    head = ["rows", "pairs", "s", "s of CPU", "million rows a s of CPU", "peak, MB", "before it, MB"]
    print_table(head, [_row(record) for record in records])
    return records


def _row(record: dict[str, Any]) -> list[str]:
    rate = record["rows"] / record["cpu"] / 1e6
    memory = [f"{record[name] / 1e6:,.0f}" for name in ("peak", "before")]
    seconds = [f"{record[name]:,.1f}" for name in ("seconds", "cpu")]
    return [f"{record['rows']:,}", f"{record['pairs']:,}", *seconds, f"{rate:.1f}", *memory]


def measure(curated: Path, out: str) -> dict[str, Any]:
    """Balance a folder; before: peak bytes of the process with everything imported."""
    before, start, cpu = peak(), time.perf_counter(), time.process_time()
    made = balance_curated(curated, curated / out)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    return {"pairs": made.concepts.pairs, "seconds": seconds, "cpu": cpu, "peak": peak(), "before": before}


def peak() -> int:
    """Most bytes that this process has had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def write(folder: Path, rows: int) -> None:
    """A curated folder as far as its tables are read here; of a shard written once, keys that differ."""
    rng = np.random.default_rng(0)
    for name in ("pairs", "archives"):
        (folder / "tables" / name).mkdir(parents=True)
    (folder / "shards").mkdir()
    ids = (1 / rng.random(PAIRS_A_SHARD * ROWS) ** 1.2).astype(np.int64) % WORDS
    words = [f"thing {i}" for i in range(WORDS)]
    shards = {}
    for number in range(-(-rows // (PAIRS_A_SHARD * ROWS))):
        shard, count = f"{number:05d}", min(PAIRS_A_SHARD, -(-rows // ROWS) - number * PAIRS_A_SHARD)
        shards[shard] = {"pairs": count}
        (folder / "shards" / f"{shard}.tar").touch()
        keys = pa.array([f"{number * PAIRS_A_SHARD + i:032x}" for i in range(count)])
        owner = np.repeat(np.arange(count), ROWS)
        archives = pa.table(
            [keys.take(pa.array(owner)), pa.array(np.roll(ids, number)[: len(owner)], pa.int32()), owner % 3 == 0],
            schema=pa.schema([ARCHIVES.field(name) for name in ("key", "concept_id", "in_caption")]),
        )
        pq.write_table(archives, folder / "tables" / "archives" / f"{shard}.parquet", compression="zstd")
        said = pa.array([[words[i] for i in ids[ROWS * n : ROWS * n + 3]] for n in range(count)])
        pairs = pa.table([keys, said], schema=pa.schema([PAIRS.field(name) for name in ("key", "caption_concepts")]))
        pq.write_table(pairs, folder / "tables" / "pairs" / f"{shard}.parquet", compression="zstd")
    counted = pa.table([np.arange(WORDS, dtype=np.int32), words, np.ones(WORDS, np.int64)], schema=CONCEPTS)
    pq.write_table(counted, folder / "tables" / "concepts.parquet")
    whole = {"kind": "curated", "format": 1, "finished": True, "parameters": {}, "inputs": [], "summary": {}}
    (folder / "manifest.json").write_text(json.dumps({**whole, "shards": shards}))


if __name__ == "__main__":
    main()
