"""The whole of `cocu curate run` on synthetic pairs: pairs a second, seconds by stage, peak memory.

    python -m benchmarks.speed.curate_throughput

The corpus (shards with pictures of random bytes, which curation never decodes; clustered vectors; Zipf-distributed
concepts) and its index are made by the library's own functions without an encoder, and are not timed. Each run is a
process of its own. The peer is a plain copy of the shards, file by file, on the same disk: what any curation that
hands the pictures through has to take.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.speed import synthetic
from benchmarks.speed.measure import print_table
from curation.concepts.noun_phrases import NounOptions
from curation.encoding.model_names import EncoderSpec
from curation.index.build import IndexOptions, finish_index
from curation.index.embedding import schema
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import find_shards
from curation.runs.parquet_parts import vectors_to_arrow
from curation.runs.run_folder import RunFolder
from files.tar_headers import tar_member

PAIRS_PER_SHARD = 5_000
PRESETS = ("paper", "default")
OUTPUTS = ("shards", "sidecar", "tables")
CAPTION_WORDS = 20_000


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure and print; returns pairs a second by preset and output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--bytes", type=int, default=20_000, help="of each picture")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the corpus here, and take it from here the next time")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        index = folder / f"index-{given.pairs}"
        if not (index / "manifest.json").is_file():
            make_corpus(folder / f"shards-{given.pairs}", given.pairs, given.bytes)
            make_index(folder / f"shards-{given.pairs}", index, given.pairs)
        copies = [copy_seconds(folder / f"shards-{given.pairs}", folder / "copy") for _ in range(given.repeats)]
        copied = statistics.median(copies)
        found = {
            (preset, output): measure(index, folder / "curated", preset, output, given.repeats)
            for preset in PRESETS
            for output in OUTPUTS
        }
    manifest = (
        json.loads((index / "manifest.json").read_text()) if index.exists() else found[PRESETS[0], OUTPUTS[0]]["index"]
    )
    print(
        f"{given.pairs:,} pairs of {given.bytes:,} bytes, {os.cpu_count()} cores; "
        + "; ".join(
            f"{name} index {entry['factory']} at recall@{entry['recall_k']} {entry['recall']:.3f}"
            for name, entry in manifest["indexes"].items()
        )
    )
    rows = [["copying the shards", f"{copied:.1f}", "", f"{given.pairs / copied:,.0f}", "1.0 x", "", ""]]
    for (preset, output), run in found.items():
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in run["stages"].items())
        rate = given.pairs / run["wall"]
        ratio, memory = f"{run['wall'] / copied:.1f} x", f"{run['peak'] / 1e9:.2f}"
        cpu = f"{run['cpu']:.1f}"
        rows.append([f"{preset}, {output}", f"{run['wall']:.1f}", cpu, f"{rate:,.0f}", ratio, memory, stages])
    print_table(["", "seconds", "of CPU", "pairs/s", "of the copy", "peak GB", "seconds by stage"], rows)
    return {f"{preset}, {output}": given.pairs / run["wall"] for (preset, output), run in found.items()}


def measure(index: Path, out: Path, preset: str, output: str, repeats: int) -> dict[str, Any]:
    """The median of several runs of the command: seconds, of CPU too, peak bytes, seconds by stage."""
    runs = []
    for _ in range(repeats):
        shutil.rmtree(out, ignore_errors=True)
        command = ["curate", "run", str(index), "--out", str(out), "--preset", preset, "--output", output]
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cocu", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        errors = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"cocu {' '.join(command)} ended with {process.returncode}:\n{errors}")
        summary = json.loads((out / "manifest.json").read_text())["summary"]
        manifest = json.loads((index / "manifest.json").read_text())
        stages = summary["stage_seconds"]
        cpu = usage.ru_utime + usage.ru_stime
        runs.append({"wall": wall, "cpu": cpu, "peak": usage.ru_maxrss * 1024, "stages": stages, "index": manifest})
        shutil.rmtree(out)
    return sorted(runs, key=lambda run: run["wall"])[len(runs) // 2]


def copy_seconds(source: Path, target: Path) -> float:
    """Wall seconds to copy a folder of shards and have it on the disk."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    start = time.perf_counter()
    for path in sorted(source.iterdir()):
        copy = target / path.name
        shutil.copyfile(path, copy)
        with copy.open("rb") as written:
            os.fsync(written.fileno())
    seconds = time.perf_counter() - start
    shutil.rmtree(target)
    return seconds


def make_corpus(folder: Path, pairs: int, size: int) -> None:
    """Shards of pairs with pictures of `size` random bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).bytes(size + pairs)
    for first in range(0, pairs, PAIRS_PER_SHARD):
        with (folder / f"{first // PAIRS_PER_SHARD:05d}.tar").open("wb") as tar:
            for i in range(first, min(first + PAIRS_PER_SHARD, pairs)):
                tar.write(tar_member(f"{i:09d}.jpg", noise[i : i + size]) + tar_member(f"{i:09d}.txt", caption(i)))
            tar.write(bytes(1024))


def caption(pair: int) -> bytes:
    """Caption of a pair, like no other: its concepts are given to the index directly.

    Captions of one template would be taken for the anchor's own, and each anchor would be searched for several times.
    """
    return " ".join(name(word) for word in Random(pair).choices(range(CAPTION_WORDS), k=10)).encode()


class SyntheticEncoder:
    """What the index wants of an encoder: vectors of concepts, and a fingerprint."""

    def __init__(self, vectors: np.ndarray, names: list[str]) -> None:
        self.vectors, self.ids = vectors, {name: i for i, name in enumerate(names)}

    def encode_concepts(self, concepts: list[str], prompt: str) -> np.ndarray:
        """t(c), unit vectors float16 [C, D]."""
        return self.vectors[[self.ids[concept] for concept in concepts]].astype(np.float16)

    def fingerprint(self) -> list[float]:
        """Tells this model from others."""
        return [float(x) for x in self.vectors[0]]


def concept_names(count: int) -> list[str]:
    """Made-up nouns; every fifth is the head of the one after it, so that there is something to merge."""
    return [f"kind {name(i - 1)}" if i % 5 == 1 else name(i) for i in range(count)]


def name(i: int) -> str:
    """A made-up word."""
    return "".join(chr(ord("a") + int(digit)) for digit in f"{i:05d}") + "ex"


def make_index(shards: Path, out: Path, pairs: int) -> None:
    """The index of the synthetic pairs: embeddings as an encoder would have left them, then the library's own steps."""
    space = synthetic.make_space(pairs)
    topics = synthetic.topics_of(pairs, space)
    images = synthetic.vectors_of(topics, space, seed=0)
    texts = synthetic.vectors_of(topics, space, seed=1)
    offsets, ids = synthetic.named_concepts(topics, space)
    names = concept_names(synthetic.CONCEPTS)
    encoder: Any = SyntheticEncoder(synthetic.concept_vectors(space), names)
    options = IndexOptions(EncoderSpec("synthetic", None), CaptionOptions(), NounOptions())
    found = find_shards([str(shards)])
    with RunFolder(out, "index", options.parameters("fp32"), found) as folder:
        (out / "embeddings").mkdir(exist_ok=True)
        words = pa.array(names).take(pa.array(ids))
        for i, shard in enumerate(found):
            part = slice(i * PAIRS_PER_SHARD, min((i + 1) * PAIRS_PER_SHARD, pairs))
            rows = range(part.start, part.stop)
            keys = pa.array([f"{row:09d}" for row in rows])
            start, stop = offsets[part.start], offsets[part.stop]
            lengths = pa.array((offsets[part.start : part.stop + 1] - start).astype(np.int32))
            columns = [
                keys,
                keys,
                pa.array([caption(row).decode() for row in rows]),
                pa.ListArray.from_arrays(lengths, words[start:stop]),
                vectors_to_arrow(images[part]),
                vectors_to_arrow(texts[part]),
            ]
            table = pa.Table.from_arrays(columns, schema=schema(images.shape[1]))
            pq.write_table(table, out / "embeddings" / f"{shard.name}.parquet", compression="zstd", row_group_size=1024)
            folder.commit(shard.name, {"pairs": len(rows), "cut_captions": 0, "seconds": {}})
        finish_index(folder, found, [], encoder, options)


if __name__ == "__main__":
    main()
