"""How quickly pages of `cocu explore` come, by the number of pairs: over HTTP, from a server in a process of its own.

    python -m benchmarks.speed.explore_speed --pairs 100000 1000000
    python -m benchmarks.speed.explore_speed --curated CURATED --with --index INDEX --model MODEL

The tables are synthetic: 16 concepts a pair, Zipf-distributed over 20,000, shards of 10,000 pairs, no pictures and no
index. The peer is the same list, pairs of a concept with their archives, by SQL with OFFSET over the same tables
(DuckDB), from a connection that stays open. The second command measures what asks the encoder, the index and the
pictures, of a folder that is there; what follows --with goes to `cocu explore`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.speed.measure import table
from curation.curated.query import connect
from curation.curated.tables import ARCHIVES, CONCEPTS, PAIRS
from curation.explorer.catalogue import CACHE, open_catalogue

CONCEPTS_KNOWN, KEPT, SHARD, BLOCK = 20_000, 16, 10_000, 1024
_SERVER = "import sys; from cli.main import main; main(['explore', '--port', '0', *sys.argv[1:]])"
_BY_SQL = (
    "WITH page AS (SELECT shard, key, max(score) AS score FROM archives "
    "WHERE concept_id = {concept} AND NOT in_caption GROUP BY ALL "
    "ORDER BY score DESC, shard, key LIMIT 24 OFFSET {row}) "
    "SELECT pairs.caption, archives.* FROM page JOIN pairs USING (shard, key) JOIN archives USING (shard, key)"
)


def main(arguments: list[str] | None = None) -> None:
    """Make tables, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--curated", type=Path, help="measure this folder instead")
    parser.add_argument("--with", nargs=argparse.REMAINDER, default=[], dest="options", help="for cocu explore")
    given = parser.parse_args(arguments)
    head = ["what", "first, ms", "median, ms", "slowest, ms"]
    if given.curated:
        print(table(head, searched(given.curated, given.options, given.repeats)))
        return
    for pairs in given.pairs:
        with tempfile.TemporaryDirectory() as folder:
            curated = make_curated(Path(folder) / "curated", pairs)
            print(f"{pairs:,} pairs", flush=True)
            print(table(head, measured(curated, pairs, given.repeats)))


def measured(curated: Path, pairs: int, repeats: int) -> list[list[str]]:
    """Rows of the table."""
    rows = [_row("catalogue made", [_seconds(lambda: open_catalogue(curated))])]
    rows.append(_row("catalogue opened", [_seconds(lambda: open_catalogue(curated)) for _ in range(repeats)]))
    common, rare = 0, CONCEPTS_KNOWN // 2
    last = (int(open_catalogue(curated).recovered.counts[common]) - 1) // 24 * 24
    rng = np.random.default_rng(0)
    pages: dict[str, Callable[[], str]] = {
        "start page": lambda: "/",
        "concept, first page": lambda: f"/concept/{common}",
        "concept, last page": lambda: f"/concept/{common}?at={last}",
        "rare concept": lambda: f"/concept/{rare + int(rng.integers(100))}",
        "all concepts": lambda: "/concepts",
        "pair": lambda: f"/pair/{rng.integers(pairs)}",
        "pair by key": lambda: f"/search?by=key&q=k{rng.integers(pairs):09d}",
        "keys that begin so": lambda: f"/search?by=key&q=k{rng.integers(pairs // 10):08d}",
        "draw": lambda: f"/judge/{rng.integers(pairs)}",
    }
    rows += _served([str(curated)], pages, repeats)
    with connect(curated) as connection:
        for name, row in (("first", 0), ("last", last)):
            start = time.perf_counter()
            connection.execute(_BY_SQL.format(concept=common, row=row)).fetchall()
            rows.append(_row(f"peer: {name} page by SQL", [time.perf_counter() - start]))
    shutil.rmtree(curated / CACHE)
    return rows


def searched(curated: Path, options: list[str], repeats: int) -> list[list[str]]:
    """Rows of the table of what asks encoder, index and pictures; the first search waits for the encoder."""
    rng = np.random.default_rng(0)
    catalogue = open_catalogue(curated)
    words = [catalogue.words[i] for i in np.argsort(-catalogue.recovered.counts)[: 4 * repeats].tolist()]

    def some_pair() -> int:
        return int(rng.integers(len(catalogue)))

    def search(by: str) -> str:
        return "/search?" + urlencode({"by": by, "q": f"a photo of a {words[int(rng.integers(len(words)))]}"})

    pages: dict[str, Callable[[], str]] = {
        "search by words": lambda: search("words"),
        "search of captions": lambda: search("captions"),
        "start page": lambda: "/",
        "pair, with reasons and neighbours": lambda: f"/pair/{some_pair()}",
        "picture": lambda: f"/picture/{some_pair()}",
        "heat map": lambda: f"/heat/{some_pair()}/0",
    }
    return _served([str(curated), *options], pages, repeats)


def _served(arguments: list[str], pages: dict[str, Callable[[], str]], repeats: int) -> list[list[str]]:
    start = time.perf_counter()
    server = subprocess.Popen([sys.executable, "-c", _SERVER, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split("  ")[0].rstrip("/")
        rows = [_row("start of the command", [time.perf_counter() - start])]
        for name, page in pages.items():
            rows.append(_row(name, [_page_seconds(address + page()) for _ in range(repeats)]))
        return rows
    finally:
        server.terminate()
        server.wait()


def make_curated(folder: Path, pairs: int, seed: int = 0) -> Path:
    """Tables as `cocu curate run` writes them, without shards."""
    rng = np.random.default_rng(seed)
    for name in ("pairs", "archives"):
        (folder / "tables" / name).mkdir(parents=True)
    words = pa.array([f"concept {i:05d}" for i in range(CONCEPTS_KNOWN)])
    weights = 1 / np.arange(1, CONCEPTS_KNOWN + 1)
    ends = np.cumsum(weights / weights.sum())
    shards = {}
    for start in range(0, pairs, SHARD):
        count, shard = min(SHARD, pairs - start), f"shard-{start // SHARD:06d}"
        shards[shard] = {"pairs": count}
        keys = pa.array([f"k{start + i:09d}" for i in range(count)])
        concept = np.searchsorted(ends, rng.random((count, KEPT)) * ends[-1]).astype(np.int32)
        concept.sort(1)
        distinct = np.ones(concept.shape, bool)
        distinct[:, 1:] = concept[:, 1:] != concept[:, :-1]
        owner, concept = np.repeat(np.arange(count), distinct.sum(1)), concept[distinct]
        rank = np.arange(len(owner)) - np.searchsorted(owner, owner) + 1
        score = (rng.random(len(owner)) / rank).astype(np.float32)
        columns = {
            "key": keys.take(pa.array(owner)),
            "shard": pa.repeat(shard, len(owner)),
            "rank": rank.astype(np.int32),
            "concept_id": concept,
            "concept": words.take(pa.array(concept)),
            **dict.fromkeys(("score", "global", "local", "confidence"), score),
            "support": rng.integers(0, 64, len(owner)).astype(np.int32),
            "cluster": (rank // 4).astype(np.int32),
            "in_caption": rng.random(len(owner)) < 0.2,
        }
        archives = pa.table([pa.array(columns[name]) for name in ARCHIVES.names], ARCHIVES)
        size = BLOCK * KEPT
        pq.write_table(archives, folder / "tables" / "archives" / f"{shard}.parquet", size, compression="zstd")
        captions = pa.array([f"a picture of thing {i} beside another one in the street" for i in range(count)])
        named = pa.array([["thing", "street"]] * count, pa.list_(pa.string()))
        table_of = pa.table([keys, pa.repeat(shard, count), captions, named], PAIRS)
        pq.write_table(table_of, folder / "tables" / "pairs" / f"{shard}.parquet", BLOCK, compression="zstd")
    numbers = pa.array(np.arange(CONCEPTS_KNOWN, dtype=np.int32))
    listed = pa.table([numbers, words, pa.array(np.full(CONCEPTS_KNOWN, 9, np.int64))], CONCEPTS)
    pq.write_table(listed, folder / "tables" / "concepts.parquet")
    manifest = {
        **{"kind": "curated", "format": 1, "finished": True, "parameters": {"output": "tables"}, "inputs": []},
        **{"shards": shards, "summary": {}},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _page_seconds(address: str) -> float:
    return _seconds(lambda: urlopen(address).read())


def _row(name: str, seconds: list[float]) -> list[str]:
    return [name, *(f"{1000 * value:,.0f}" for value in (seconds[0], float(np.median(seconds)), max(seconds)))]


if __name__ == "__main__":
    main()
