"""What the embedding stage can feed to an accelerator: pairs/s with towers that return at once, by worker processes.

    python -m benchmarks.speed.feed                               # 640 x 480 of some 37 kB, 256 x 256 of some 15 kB
    python -m benchmarks.speed.feed --shards SHARDS... --workers 1 2 4 8 16
    python -m benchmarks.speed.feed --waiting 20 --workers 1 2 4 8    # as if there were cores for all
    python -m benchmarks.speed.feed --scaled local-dir:FOLDER     # what decoding JPEGs near the model's size gains

The stage is the one of `cocu index build` with a GPU; only the towers are left out. Its peer is itself with one worker,
in turns with the others, so that all meet the same weather. First each part of the work alone, in this process: CPU
time of a pair, and how long it holds the interpreter's lock, seen by how much a thread that only counts loses beside
it. What the main process spends on a pair is what bounds the stage on any number of cores.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from benchmarks.speed.loader_speed import photograph
from benchmarks.speed.measure import print_table
from benchmarks.speed.tiny_pairs import caption, write_tar
from curation.concepts.extractor import ConceptExtractor
from curation.concepts.noun_phrases import NounOptions
from curation.encoding.encoder import Encoder, _split_preprocess
from curation.encoding.model_names import EncoderSpec
from curation.encoding.prepared import OnDevice, Preparation
from curation.index.blocks import Naming, ShardResult
from curation.index.embedding import embed_shard, schema
from curation.index.feed import Feed
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import Shard, find_shards, read_pairs
from curation.runs.parquet_parts import vectors_to_arrow
from files.pictures import decode

KINDS = {(640, 480): 37_000, (256, 256): 15_000}  # bytes of a picture of so many pixels, as in usual shards
DISTINCT = 64
SCALED = 16
BEGINNING = 4  # parts of each worker that are not counted, as others are still beginning
DIM = 512


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure and print; returns pairs/s by pictures and workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", nargs="+", help="real shards instead of synthetic pictures")
    parser.add_argument("--model", default="ViT-B-16", help="whose preprocessing and tokenizer are used")
    parser.add_argument("--pairs", type=int, default=4096, help="synthetic pairs, in four shards")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--waiting", type=float, help="ms that a picture is waited for in place of its decoding")
    parser.add_argument("--scaled", metavar="MODEL", help="only compare decoding near its size with decoding whole")
    given = parser.parse_args(arguments)
    if given.scaled:
        return show_scaled(Encoder(EncoderSpec(given.scaled, None, "fp32"), "cpu", workers=1))
    found: dict[str, float] = {}
    kinds_drawn = {(64, 64): 2000} if given.waiting else KINDS
    with tempfile.TemporaryDirectory(prefix="feed-") as temporary:
        kinds = {"given": given.shards} if given.shards else {}
        for sides, size in kinds_drawn.items() if not kinds else ():
            folder = Path(temporary) / "x".join(map(str, sides))
            draw_shards(folder, given.pairs, sides, size)
            kinds[f"{sides[0]} x {sides[1]}"] = [str(folder)]
        for name, paths in kinds.items():
            shards = find_shards(paths)
            encoder = Instant(given.model, given.batch_size)
            if given.waiting:
                encoder._transform = Delay(given.waiting / 1000, encoder.image_size)
            else:
                show_parts(name, shards, encoder, Path(temporary) / "part.parquet")
            for workers, speed in show_speeds(shards, encoder, given.workers, given.repeats, Path(temporary)).items():
                found[f"{name}, {workers}"] = speed
    return found


class Instant(Encoder):
    """Towers that return at once, on a device that is none; what comes before them is the model's."""

    def __init__(self, model: str, batch_size: int) -> None:
        import open_clip
        from open_clip.transform import PreprocessCfg, image_transform_v2

        size = open_clip.get_model_config(model)["vision_cfg"]["image_size"]
        self.device, self.batch_size, self.dim, self.image_size = torch.device("meta"), batch_size, DIM, size
        self.seconds = 0.0
        self._decoder = None
        preprocess = image_transform_v2(PreprocessCfg(size=size), is_train=False)
        self._transform, self._mean, self._std = _split_preprocess(preprocess, torch.device("cpu"))
        self._tokenizer = open_clip.get_tokenizer(model)

    def begin_pixels(self, pixels: np.ndarray) -> OnDevice:
        """Nothing, in the right shape."""
        return OnDevice([torch.zeros(len(pixels), DIM)])

    def begin_tokens(self, tokens: np.ndarray) -> OnDevice:
        """Nothing, in the right shape."""
        return OnDevice([torch.zeros(len(tokens), DIM)])


class Delay:
    """A transform that takes its time, and no core."""

    def __init__(self, seconds: float, size: int) -> None:
        self.seconds, self.size = seconds, size

    def __call__(self, _: Image.Image) -> np.ndarray:
        """Black."""
        time.sleep(self.seconds)
        return np.zeros((self.size, self.size, 3), np.uint8)


def show_parts(name: str, shards: Sequence[Shard], encoder: Instant, out: Path) -> None:
    """Each part of the work alone, in one thread."""
    pairs = [pair for pair in read_pairs(shards[0], CaptionOptions()) if isinstance(pair, Pair)]
    work = FeedWork(encoder.preparation, pairs, out)
    parts: dict[str, Callable[[], Any]] = {
        "read": lambda: list(read_pairs(shards[0], CaptionOptions())),
        "decode and resize": work.decode,
        "tokens": work.tokens,
        "noun phrases": work.concepts,
        "write": work.write,
    }
    size = sum(len(pair.image) for pair in pairs) / len(pairs)
    print(f"\n{name}: {len(pairs):,} pairs of a shard, pictures of {size / 1000:.1f} kB, {os.cpu_count()} cores")
    rows = []
    for part, call in parts.items():
        call()
        start = time.process_time()
        call()
        spent = (time.process_time() - start) / len(pairs)
        held = min(spent, lock_seconds(call) / len(pairs))
        rows.append([part, f"{spent * 1e3:.3f}", f"{held * 1e3:.3f}", f"{held / spent:.0%}"])
    print_table(["part", "CPU ms a pair", "of it with the lock", "share"], rows)


class FeedWork:
    """What processes do to these pairs, and this one when they are embedded."""

    def __init__(self, preparation: Preparation, pairs: Sequence[Pair], out: Path) -> None:
        self.preparation, self.pairs, self.out = preparation, pairs, out
        self.naming = Naming(ConceptExtractor(NounOptions()))
        self.named = self.naming.concepts(pairs, ShardResult())
        self.vectors = np.random.default_rng(0).standard_normal((len(pairs), DIM)).astype(np.float16)

    def decode(self) -> None:
        """Pictures to pixels."""
        for pair in self.pairs:
            self.preparation.pixels(pair.image)

    def tokens(self) -> None:
        """Captions to tokens."""
        self.preparation.tokens(self.naming.texts(self.pairs))

    def concepts(self) -> None:
        """Captions to concepts."""
        self.naming.concepts(self.pairs, ShardResult())

    def write(self) -> None:
        """All of them to a table."""
        keys, texts = [pair.key for pair in self.pairs], [pair.captions[0] for pair in self.pairs]
        columns = schema(DIM)
        arrays = [pa.array(c, t) for c, t in zip((keys, keys, texts, self.named), columns.types, strict=False)]
        table = pa.Table.from_arrays([*arrays, *[vectors_to_arrow(self.vectors)] * 2], schema=columns)
        pq.write_table(table, self.out, compression="zstd")


def lock_seconds(call: Callable[[], Any]) -> float:
    """Seconds that a call holds the interpreter's lock: what a thread that counts beside it falls behind.

    That thread wants a core of its own; where others take it, the least of several tries is the best.
    """
    done = threading.Event()
    counted = [0]

    def count() -> None:
        while not done.is_set():
            counted[0] += 1

    def rate(beside: Callable[[], Any]) -> tuple[float, float]:
        counted[0] = 0
        done.clear()
        counter = threading.Thread(target=count)
        counter.start()
        start = time.perf_counter()
        beside()
        seconds = time.perf_counter() - start
        done.set()
        counter.join()
        return counted[0] / seconds, seconds

    alone = median(rate(lambda: time.sleep(0.2))[0] for _ in range(5))
    tries = [rate(call) for _ in range(3)]
    return min(max(0.0, 1 - beside / alone) * seconds for beside, seconds in tries)


def show_speeds(
    shards: Sequence[Shard], encoder: Instant, workers: Sequence[int], repeats: int, folder: Path
) -> dict[int, float]:
    """Pairs/s of the whole stage by number of workers."""
    runs: dict[int, list[np.ndarray]] = {number: [] for number in workers}
    for _ in range(repeats):
        for number in workers:
            runs[number].append(one_run(shards, encoder, number, folder / "out.parquet"))
    medians = {number: np.median(found, axis=0).tolist() for number, found in runs.items()}
    first = medians[workers[0]][0]
    rows = [
        [
            f"{n}",
            f"{speed:,.0f}",
            f"{speed / first:.2f} x",
            f"{everything * 1e3:.2f}",
            f"{main * 1e3:.3f}",
            f"{1 / main:,.0f}",
        ]
        for n, (speed, everything, main) in medians.items()
    ]
    head = ["workers", "pairs/s", "of the first", "CPU ms a pair", "of it the main process", "so at most, pairs/s"]
    print_table(head, rows)
    return {number: speed for number, (speed, *_) in medians.items()}


def one_run(shards: Sequence[Shard], encoder: Instant, workers: int, out: Path) -> np.ndarray:
    """From when all workers are at work to the last pair: pairs/s, CPU seconds a pair of all processes, of this one."""
    tasks = [(shard, CaptionOptions()) for shard in shards]
    with ConceptExtractor(NounOptions()) as extractor, Feed(tasks, encoder, Naming(extractor), workers) as feed:
        clocks: list[np.ndarray] = []
        counted, skipped = 0, BEGINNING * workers

        def read_clocks() -> None:
            own, others = (
                time.process_time(),
                sum(cpu_seconds(process.pid) for process in multiprocessing.active_children()),
            )
            clocks.append(np.array([time.perf_counter(), own + others, own]))

        def advance(pairs: int, weight: float) -> None:
            nonlocal counted
            read_clocks()
            counted += pairs if len(clocks) > skipped else 0

        for shard in shards:
            embed_shard(shard, out, encoder, extractor, CaptionOptions(), None, advance, feed)
        read_clocks()
    wall, everything, own = clocks[-1] - clocks[skipped - 1]
    return np.array([counted / wall, everything / counted, own / counted])


def cpu_seconds(process: int | None) -> float:
    """CPU time of another process so far (Linux)."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def show_scaled(encoder: Encoder) -> dict[str, float]:
    """JPEGs decoded at 1/2, 1/4 or 1/8 where that is enough, as always, and whole; returns the ratios of times."""
    rows, found = [], {}
    for sides in ((640, 480), (1500, 1000), (3000, 2000)):
        pictures = [photograph(seed, sides) for seed in range(SCALED)]
        pixels, seconds = [], []
        for size in (encoder.image_size, None):
            decoded = [decode(data, encoder.preparation.transform, size) for data in pictures]
            pixels.append(np.stack([one for one in decoded if isinstance(one, np.ndarray)]))
            start = time.process_time()
            for data in pictures:
                decode(data, encoder.preparation.transform, size)
            seconds.append((time.process_time() - start) / len(pictures))
        near, whole = (encoder.encode_pixels(one).astype(np.float64) for one in pixels)
        cosines = (near * whole).sum(1)
        name = f"{sides[0]} x {sides[1]}"
        found[name] = seconds[1] / seconds[0]
        size_text = f"{np.mean([len(data) for data in pictures]) / 1000:,.0f}"
        times = [f"{1e3 * one:.2f}" for one in seconds]
        rows.append([name, size_text, *times, f"{found[name]:.1f} x", f"{cosines.mean():.4f}", f"{cosines.min():.4f}"])
    print_table(["pixels", "kB", "near the size, CPU ms", "whole, CPU ms", "ratio", "cosine, mean", "least"], rows)
    return found


def draw_shards(folder: Path, pairs: int, sides: tuple[int, int], size: int) -> None:
    """Four shards of photograph-like JPEGs of about `size` bytes."""
    pictures = [Image.open(io.BytesIO(photograph(seed, sides))) for seed in range(DISTINCT)]
    quality = next(q for q in range(95, 5, -3) if len(encoded(pictures[0], q)) < size or q < 9)
    files = [encoded(picture, quality) for picture in pictures]
    for shard in range(4):
        members = []
        for i in range(shard, pairs, 4):
            members += [(f"{i:06d}.jpg", files[i % DISTINCT]), (f"{i:06d}.txt", caption(i).encode())]
        write_tar(folder / f"{shard:05d}.tar", members)


def encoded(picture: Image.Image, quality: int) -> bytes:
    """A JPEG."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


if __name__ == "__main__":
    main()
