"""What 29 million, 400 million and a billion pairs take, on paper: bytes by file, GPU-hours, cores, steps, money.

    python -m benchmarks.speed.on_paper

Nothing is run. Bytes follow from formats, times from what was measured of a pair or a row, which stands below with the
command that measured it. The kind of FAISS index is what `--factory auto` takes for half of the machine's memory.
"""

from __future__ import annotations

import argparse

from benchmarks.speed.measure import print_table
from curation.index.inverted_lists import TRAIN_ROWS_PER_LIST
from curation.index.neighbours import auto_factory, index_bytes

PAIRS = (29_000_000, 400_000_000, 1_000_000_000)
DIM = 512
# Bytes of a pair beside its vectors, in the index of a million of `scale`: embeddings (compressed), arrays; and of the
# tables of 1,000 photographs' curation, and of a picture of 640 x 480 (`feed`).
EMBEDDED, ARRAYS, TABLES, PICTURE = 2_048, 106, 475, 35_000
# Pictures and captions of 77 tokens a second, towers alone, weights in half precision, on an H100.
ENCODERS = {"ViT-B/16": (9_992, 24_276), "ViT-L/14": (2_535, 15_779)}
# Milliseconds of a hardware thread that a pair takes to be read, decoded, parsed and written: 16 beside one H100 passed
# 4,018 pairs a second at 640 x 480 (`gpu_share`).
FEED_MS = 3.98
# CPU microseconds a row of what one process does at the end of an index: `scale` at a million pairs.
VOCABULARY_US, ROWS_US = 4.4, 29.0
# Multiplications and additions a second and core, of k-means and of finding lists: the same, 112 s for 1.08e13.
FLOPS = 96e9
ITERATIONS = 8
# CPU milliseconds of a pair, curated to tables: all but its search, and that among so many, which grows as their root;
# the same, 228 microseconds among 110,000 (without the start), 301 among 1,100,000.
CURATE_MS, SEARCH_MS, SEARCHED = 0.194, 0.107, 1_100_000
# Amazon's p5.48xlarge: 8 H100, 192 hardware threads, 2 TiB, 30 TB of NVMe; Capacity Blocks in the US, dollars an hour,
# as its price page had them until 1 January 2025.
GPUS, THREADS, CORES, MEMORY, DOLLARS = 8, 192, 96, 1 << 41, 39.33
HOUR = 3600.0


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=PAIRS)
    parser.add_argument("--dollars", type=float, default=DOLLARS, help="an hour of the machine")
    given = parser.parse_args(arguments)
    sizes = [f"{pairs / 1e6:,.0f} million" for pairs in given.pairs]
    tables = [files(pairs) for pairs in given.pairs]
    print_table(["file", *sizes], [[name, *(table[name] for table in tables)] for name in tables[0]])
    print()
    tables = [hours(pairs, given.dollars) for pairs in given.pairs]
    print_table(["", *sizes], [[name, *(table[name] for table in tables)] for name in tables[0]])


def files(pairs: int) -> dict[str, str]:
    """Bytes of every file, in words."""
    factory = factory_of(pairs)
    vectors = 2 * DIM
    return {
        "pictures and captions, as they are": size(pairs * PICTURE),
        "embeddings/*.parquet": size(pairs * EMBEDDED),
        "rows/*_vectors.npy": size(pairs * 2 * vectors),
        "rows/, the rest": size(pairs * ARRAYS),
        "lists/, until the index is finished": size(pairs * 2 * 4),
        "images.faiss and captions.faiss": f"{size(2 * index_bytes(factory, pairs, DIM))}, {factory}",
        "curated tables": size(pairs * TABLES),
        "curated shards (sidecars: the tables' size)": size(pairs * PICTURE),
    }


def hours(pairs: int, dollars: float) -> dict[str, str]:
    """Hours of each step on the machine, in words."""
    factory = factory_of(pairs)
    lists = int(factory.removeprefix("IVF").partition(",")[0])
    train = 2 * 2 * TRAIN_ROWS_PER_LIST * lists * lists * DIM * ITERATIONS / FLOPS / CORES / HOUR
    find = 2 * 2 * pairs * lists * DIM / FLOPS / CORES / HOUR
    alone = pairs * (VOCABULARY_US + ROWS_US) * 1e-6 / HOUR
    curate = pairs * (CURATE_MS + SEARCH_MS * (pairs / SEARCHED) ** 0.5) * 1e-3 / CORES / HOUR
    told: dict[str, str] = {}
    for name, (pictures, texts) in ENCODERS.items():
        of_gpus = pairs * (1 / pictures + 1 / texts) / HOUR
        of_threads = pairs * FEED_MS * 1e-3 / THREADS / HOUR
        embed = max(of_gpus / GPUS, of_threads)
        whole = embed + alone + train + find + curate
        told |= {
            f"{name}: GPU-hours": f"{of_gpus:,.0f}",
            f"{name}: threads that feed a GPU": f"{FEED_MS * 1e-3 / (1 / pictures + 1 / texts):.1f}",
            f"{name}: embedding, hours": f"{embed:,.1f}{', by its feed' if of_threads > of_gpus / GPUS else ''}",
            f"{name}: all, hours": f"{whole:,.0f}",
            f"{name}: all, dollars": f"{whole * dollars:,.0f}",
        }
    return told | {
        "concepts and arrays, one process, hours": f"{alone:,.1f}",
        "lists trained, all cores, hours": f"{train:,.1f}",
        "rows' lists, in parts, hours": f"{find:,.1f}",
        "curate to tables, in parts, hours": f"{curate:,.1f}",
    }


def factory_of(pairs: int) -> str:
    """Of each of the two indexes, in half of the machine's memory."""
    return auto_factory(pairs, DIM, MEMORY // 4)


def size(count: float) -> str:
    """Bytes in words."""
    return f"{count / 1e12:,.2f} TB" if count >= 1e12 else f"{count / 1e9:,.1f} GB"


if __name__ == "__main__":
    main()
