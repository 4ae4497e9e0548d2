"""FAISS indexes of growing size under one `--memory`: build time, bytes, peak memory, recall and search time.

    python -m benchmarks.speed.search_scaling --write docs/scaling
    python -m benchmarks.speed.search_scaling --rows 1000000 --factory IVF4096,SQfp16 auto

Every size runs in a process of its own. The peer is exact search by matrix products (NumPy) over the same vectors, in
the same process. Search times are for batches of queries, as curation searches.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed import synthetic
from benchmarks.speed.measure import median_seconds, table
from curation.index.inverted_lists import build
from curation.index.neighbours import NearestRows, SearchSettings, auto_factory, tune
from files.npy import wide_rows

CELLS = 1 << 22  # floats at a time, of the peer
MINIMUM = 0.95
HEAD = [
    "vectors",
    "factory",
    "lists probed",
    "build, s",
    "index, MB",
    "peak, GB",
    "recall@8",
    "ms a query",
    "exact, ms a query",
    "ratio",
]


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure and print, and write the table and the plot; returns one record per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--factory", nargs="+", default=["auto"], help="of FAISS's, each measured")
    parser.add_argument("--dim", type=int, default=synthetic.DIM)
    parser.add_argument("--memory", type=int, default=2_000_000_000, help="bytes that an index may take")
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--write", type=Path, help="write FILE.md's table to FILE-search.md and the plot to FILE.png")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.inside:
        how = (given.factory[0], given.dim, given.memory, given.queries, given.repeats)
        print(json.dumps(measure(given.rows[0], *how)))
        return []
    records = []
    for rows, factory in product(given.rows, given.factory):
        options = [f"--{name}={getattr(given, name)}" for name in ("dim", "memory", "queries", "repeats")]
        options += [f"--rows={rows}", f"--factory={factory}"]
        command = [sys.executable, "-m", "benchmarks.speed.search_scaling", "--inside", *options]
        answer = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        records.append(json.loads(answer.stdout.splitlines()[-1]))
        print(as_table(records[-1:]), flush=True)
    print(f"\n{given.dim} dimensions, --memory {given.memory:,} bytes\n\n{as_table(records)}")
    if given.write:
        given.write.with_name(f"{given.write.name}-search.md").write_text(as_table(records) + "\n")
        plot(records, given.write.with_suffix(".png"))
    return records


def measure(rows: int, factory: str, dim: int, memory: int, count: int, repeats: int) -> dict[str, Any]:
    """One size: every figure of the table."""
    with tempfile.TemporaryDirectory() as folder:
        vectors = synthetic.write_vectors(Path(folder) / "vectors.npy", rows, dim)
        factory = auto_factory(rows, dim, memory) if factory == "auto" else factory
        path = Path(folder) / "index.faiss"
        start = time.perf_counter()
        build(path, vectors, factory)
        built = time.perf_counter() - start
        rng = np.random.default_rng(0)
        chosen = np.sort(rng.choice(rows, min(count, rows), replace=False))
        queries = np.asarray(vectors[chosen], np.float32)
        index = NearestRows(path, vectors, SearchSettings())
        start = time.perf_counter()
        settings, reached = tune(index, queries, MINIMUM)
        tuned = time.perf_counter() - start
        searched = median_seconds(lambda: index.search(queries, 8), repeats) / len(queries)
        start = time.perf_counter()
        brute_force(vectors, queries, 8)
        exact = (time.perf_counter() - start) / len(queries)
        return {
            "rows": rows,
            "factory": factory,
            "lists": index.lists,
            "nprobe": settings.nprobe,
            "rerank": settings.rerank,
            "build": built,
            "tune": tuned,
            "bytes": path.stat().st_size,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "recall": reached.value,
            "search": searched,
            "exact": exact,
        }


def brute_force(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """The peer: similarities [Q, k] of the k best rows by NumPy's products and partitions, best first."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    step = max(k, CELLS // max(1, len(queries)))
    for start in range(0, len(vectors), step):
        block = queries @ wide_rows(vectors, slice(start, start + step)).T
        if block.shape[1] > k:
            block.partition(block.shape[1] - k, axis=1)
        best = np.sort(np.concatenate([best, block[:, -k:]], axis=1), axis=1)[:, -k:]
    return best[:, ::-1]


def as_table(records: list[dict[str, Any]]) -> str:
    """The records as a Markdown table."""
    return table(
        HEAD,
        [
            [
                f"{r['rows']:,}",
                r["factory"] + (f", {r['rerank']} x re-ranked" if r["rerank"] > 1 else ""),
                f"{r['nprobe']:,} of {r['lists']:,}" if r["lists"] else "all",
                f"{r['build']:.1f}",
                f"{r['bytes'] / 1e6:,.0f}",
                f"{r['peak'] / 1e9:.2f}",
                f"{r['recall']:.3f}",
                f"{r['search'] * 1e3:.3f}",
                f"{r['exact'] * 1e3:.3f}",
                f"{r['exact'] / r['search']:.1f} x",
            ]
            for r in records
        ],
    )


def plot(records: list[dict[str, Any]], path: Path) -> None:
    """Time and memory against the number of vectors."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [r["rows"] for r in records]
    figure, (times, memory) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    times.loglog(rows, [r["exact"] * 1e3 for r in records], "o--", color="0.6", label="exact search (NumPy)")
    times.loglog(rows, [r["search"] * 1e3 for r in records], "o-", color="tab:blue", label="the index")
    times.set(xlabel="vectors", ylabel="milliseconds a query", title="Search")
    memory.loglog(
        rows, [r["peak"] / 1e6 for r in records], "o--", color="0.6", label="peak of the process that builds it"
    )
    memory.loglog(rows, [r["bytes"] / 1e6 for r in records], "o-", color="tab:blue", label="the index")
    memory.set(xlabel="vectors", ylabel="MB", title="Memory")
    for axes in (times, memory):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
