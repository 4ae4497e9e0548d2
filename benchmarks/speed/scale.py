"""An index of growing size, grown by a tenth, and curated whole: CPU and wall seconds and memory by stage, against n.

    python -m benchmarks.speed.scale CAPTIONS.parquet --pairs 10000 100000 1000000 --folder /tmp/scale

Pairs without pictures: vectors of 512 dimensions in LAION's layout (`cocu index build --embeddings`), clustered as in
`synthetic.py` about the vectors of captions, and captions put together from halves of those of CAPTIONS.parquet (a
column `caption`), so that neighbours name the same things. The text tower has random weights; what is measured does not
depend on them. --words takes words of captions for concepts, in place of spaCy's noun phrases, whose time is that of
each caption by itself (`noun_speed`). A stage begins where the command says so. There is no peer: the last column is
the exponent of a stage's CPU seconds from one size to the next, 1 where they grow as the pairs do.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.speed import synthetic
from benchmarks.speed.measure import table
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from data_cards.prompt import PROMPT

TABLE_ROWS = 50_000
TRUE_TEXTS = 16  # of each table: `--embeddings` asks the encoder about its first captions
SOME_TEXTS = 2_000  # that tell what all texts have in common
NEAR_TOPIC = 0.5  # of a vector lies in the caption of its topic
POLL = 0.1
LONG_WORD = re.compile("[a-z]{4,}")
RUN = """
from benchmarks.speed.scale import Words
from cli.main import main
from curation.concepts.parser import PARSERS
PARSERS.add("long-words", Words)
main()
"""
LEAST_SECONDS = 0.3  # of a stage, for an exponent


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Make the pairs, measure and print; returns a record for each size, command and stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", type=Path)
    parser.add_argument("--pairs", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--memory", default="2GB", help="that the FAISS indexes may take")
    parser.add_argument("--folder", type=Path, help="where all lies, 8 kB a pair; default: temporary")
    parser.add_argument("--words", action="store_true", help="of captions are their concepts")
    parser.add_argument("--keep", action="store_true", help="what was made of each size")
    given = parser.parse_args(arguments)
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for pairs in sorted(given.pairs):
            folder = (given.folder or Path(temporary)) / str(pairs)
            shutil.rmtree(folder, ignore_errors=True)
            stages = measured(folder, given.captions, pairs, given.memory, given.words)
            records += [{"pairs": pairs, **asdict(stage)} for stage in stages]
            print(as_table([one for one in records if one["pairs"] == pairs]), flush=True)
            if not given.keep:
                shutil.rmtree(folder)
    print(f"\n{as_table(records)}")
    return records


@dataclass
class MeasuredStage:
    """A stage of a command. peak: most bytes of all its processes at a time that are their own (not files mapped);
    resident: with the pages of mapped files, which the system may drop, and count once for each process."""

    command: str
    name: str
    wall: float = 0.0
    cpu: float = 0.0
    peak: int = 0
    resident: int = 0


def measured(folder: Path, captions: Path, pairs: int, memory: str, words: bool) -> list[MeasuredStage]:
    """One size: every stage of the three commands."""
    texts = pq.read_table(captions, columns=["caption"])["caption"].to_pylist()
    tower = make_tower(folder / "tower", texts)
    space = space_of(pairs, texts, tower)
    make_pairs(folder / "pairs", texts, pairs, tower, space, 0)
    make_pairs(folder / "more", texts, max(1, pairs // 10), tower, space, 1)
    index, curated, how = folder / "index", folder / "curated", ("--model", f"local-dir:{tower}")
    vectors = ("--embeddings", folder / "pairs", "--memory", memory, *(("--parser", "long-words") if words else ()))
    built = run("build", folder, "index", "build", *vectors, "--out", index, *how)
    shutil.rmtree(folder / "pairs")
    added = run("add a tenth", folder, "index", "add", index, "--embeddings", folder / "more", *how)
    shutil.rmtree(folder / "more")
    ranked = run("curate", folder, "curate", "run", index, "--out", curated, "--output", "tables")
    parts = json.loads((curated / "manifest.json").read_text())["summary"]["stage_seconds"]
    return [*built, *added, *ranked, *(MeasuredStage("curate", name, wall=seconds) for name, seconds in parts.items())]


def run(told: str, folder: Path, *command: object) -> list[MeasuredStage]:
    """Run `cocu` and watch it; its stages, and the whole of it."""
    log = (folder / f"{told.replace(' ', '-')}.log").open("w")
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, command)],
        stdout=log,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    stages, errors = [MeasuredStage(told, "start and read")], []
    whole = MeasuredStage(told, "all")

    def listen(lines: IO[str]) -> None:
        for line in lines:
            errors.append(line)
            log.write(line)
            log.flush()
            if (name := stage_of(line)) and name != stages[-1].name:
                stages.append(MeasuredStage(told, name))

    listener = threading.Thread(target=listen, args=(process.stderr,))
    listener.start()
    before, spent = started, 0.0
    while process.poll() is None:
        own, resident, cpu = usage(process.pid)
        now, stage = time.perf_counter(), stages[-1]
        stage.wall, stage.cpu = stage.wall + now - before, stage.cpu + max(0.0, cpu - spent)
        before, spent = now, max(cpu, spent)
        for one in (stage, whole):
            one.peak, one.resident = max(one.peak, own), max(one.resident, resident)
        time.sleep(POLL)
    listener.join()
    log.close()
    if process.returncode:
        told_last = "".join(errors[-20:])
        raise RuntimeError(f"cocu {' '.join(map(str, command))} ended with {process.returncode}:\n{told_last}")
    whole.wall, whole.cpu = time.perf_counter() - started, sum(stage.cpu for stage in stages)
    print(f"{told}: {whole.cpu:,.0f} CPU s, {whole.wall:,.0f} s, {whole.resident / 1e9:.2f} GB resident", flush=True)
    return [*stages, whole]


def stage_of(line: str) -> str:
    """The stage that begins with a line that a command said; "" for none."""
    if line.startswith("ranking "):
        return "fits"
    for name in ("vocabulary", "rows"):
        if line.startswith(f"{name}: "):
            return name
    for name in ("images", "captions"):
        if line.startswith(f"{name}.faiss: "):
            return f"{name}: recall" if "recall@" in line or " added " in line else f"{name}: train and add"
    return ""


def usage(pid: int) -> tuple[int, int, float]:
    """Of a process and those below it: bytes of their own, bytes resident, CPU seconds (of ended ones, too)."""
    own = resident = 0
    cpu = 0.0
    tick = os.sysconf("SC_CLK_TCK")
    for one in family(pid):
        try:
            status = Path(f"/proc/{one}/status").read_text()
            times = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        lines = (line.split() for line in status.splitlines() if line.startswith("Rss"))
        sizes = {line[0]: int(line[1]) * 1024 for line in lines}
        own += sizes.get("RssAnon:", 0) + sizes.get("RssShmem:", 0)
        resident += sum(sizes.values())
        cpu += sum(map(int, times[11 : 15 if one == pid else 13])) / tick
    return own, resident, cpu


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for one in found:
        for thread in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, thread.read_text().split())
            except OSError:
                continue
    return found


def make_tower(folder: Path, captions: Sequence[str]) -> Path:
    """A small CLIP with random weights, of 512 dimensions, without what it would say of all texts alike:
    that made synonyms of all concepts."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    config = {
        "embed_dim": synthetic.DIM,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 256, "heads": 4, "layers": 1},
    }
    torch.manual_seed(0)
    model = open_clip.model.CLIP(**config)
    with torch.no_grad():
        model.token_embedding.weight[-2:] = 0  # of what all texts begin and end with: words tell them apart
        model.positional_embedding *= 0
        some = sorted(set(captions))[:: max(1, len(set(captions)) // SOME_TEXTS)]
        words = sorted({word for text in some for word in LONG_WORD.findall(text.lower())})[:SOME_TEXTS]
        tokens = open_clip.SimpleTokenizer(context_length=24)
        prompts = [PROMPT.format(word) for word in words]
        alike = torch.stack([model.encode_text(tokens(texts)).mean(0) for texts in (some, prompts)])
        basis = torch.linalg.qr(alike.T).Q
        model.text_projection -= model.text_projection @ basis @ basis.T
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    mean_std = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": mean_std}))
    return folder


def space_of(pairs: int, captions: list[str], tower: Path) -> synthetic.Space:
    """Where so many pairs lie: their topics in part where the vectors of captions do."""
    encoder = Encoder(EncoderSpec(f"local-dir:{tower}", None), "cpu", 256, 1)
    ordered = sorted(set(captions))
    space = synthetic.make_space(pairs)
    told = [ordered[i * len(ordered) // len(space.centres)] for i in range(len(space.centres))]
    about = encoder.encode_texts(told).astype(np.float32)
    mean = about.mean(0)
    about = about - mean
    about *= np.float32(NEAR_TOPIC) / np.linalg.norm(about, axis=1).mean()
    return replace(space, mean=mean / np.linalg.norm(mean) * np.float32(synthetic.MEAN), centres=space.centres + about)


def make_pairs(folder: Path, captions: list[str], pairs: int, tower: Path, space: synthetic.Space, seed: int) -> None:
    """So many pairs in LAION's layout."""
    for name in ("img_emb", "text_emb", "metadata"):
        (folder / name).mkdir(parents=True)
    encoder = Encoder(EncoderSpec(f"local-dir:{tower}", None), "cpu", 256, 1)
    ordered = sorted(set(captions))
    for number, first in enumerate(range(0, pairs, TABLE_ROWS)):
        rows = min(TABLE_ROWS, pairs - first)
        rng = np.random.default_rng([seed, number])
        topics = synthetic.topics_of(rows, space, seed * 1000 + number)
        texts = joined(ordered, topics, len(space.centres), rng)
        for name, of in (("img_emb", 0), ("text_emb", 1)):
            vectors = synthetic.vectors_of(topics, space, (seed * 1000 + number) * 2 + of)
            if of:
                vectors[:TRUE_TEXTS] = encoder.encode_texts(texts[:TRUE_TEXTS])
            np.save(folder / name / f"{name}_{number}.npy", vectors)
        keys = [f"{seed}-{first + row:09d}" for row in range(rows)]
        pq.write_table(pa.table({"key": keys, "caption": texts}), folder / "metadata" / f"metadata_{number}.parquet")


def joined(ordered: list[str], topics: np.ndarray, count: int, rng: np.random.Generator) -> list[str]:
    """A caption for each topic: the first half of one that stands near the topic's own, and the second of another."""
    near = max(8, 2 * len(ordered) // count)
    places = (topics * len(ordered) // count)[:, None] + rng.integers(0, near, (len(topics), 2))
    halves = (tuple(ordered[place % len(ordered)].split() for place in both) for both in places.tolist())
    return [" ".join([*one[: (len(one) + 1) // 2], *other[(len(other) + 1) // 2 :]]) for one, other in halves]


def as_table(records: list[dict[str, Any]]) -> str:
    """The records as a Markdown table, a line for a stage, and columns for each size."""
    sizes = sorted({one["pairs"] for one in records})
    by = {(one["command"], one["name"], one["pairs"]): one for one in records}
    lines = []
    for command, name in dict.fromkeys((one["command"], one["name"]) for one in records):
        here = [by[command, name, pairs] for pairs in sizes if (command, name, pairs) in by]
        cells = {one["pairs"]: cell(one) for one in here}
        exponents = [exponent(*both) for both in pairwise(here) if min(one["wall"] for one in both) > LEAST_SECONDS]
        lines.append([f"{command}: {name}", *(cells.get(pairs, "") for pairs in sizes), ", ".join(exponents)])
    return table(["CPU s / wall s / own GB / resident GB", *(f"{pairs:,}" for pairs in sizes), "exponent"], lines)


def cell(one: dict[str, Any]) -> str:
    """What the table says of a stage; of those inside a command only their seconds are known."""
    if not one["resident"]:
        return f"{one['wall']:,.1f} s"
    memory = f"{one['peak'] / 1e9:.2f} / {one['resident'] / 1e9:.2f}"
    return f"{one['cpu']:,.1f} / {one['wall']:,.1f} / {memory}"


def exponent(one: dict[str, Any], other: dict[str, Any]) -> str:
    """By how much a stage's seconds grow, as a power of the pairs; of the CPU where they are known."""
    kind = "cpu" if one["cpu"] and other["cpu"] else "wall"
    return f"{math.log(other[kind] / one[kind]) / math.log(other['pairs'] / one['pairs']):.2f}"


class Words:
    """A parser that takes words of four letters and more."""

    help = "words of four letters and more"
    needs_torch = False

    def __init__(self, options: Any) -> None:
        pass

    def concepts(self, captions: Sequence[str]) -> list[list[str]]:
        """Of each caption."""
        return [list(dict.fromkeys(LONG_WORD.findall(caption.lower()))) for caption in captions]


if __name__ == "__main__":
    main()
