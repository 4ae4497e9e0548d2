"""Running whole commands, and a world for them: shards, captions without pictures, a table, a tiny model."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.speed.tiny_pairs import caption, write_tar
from cli.main import main
from tests.tiny_world import make_tiny_clip, pair_members, picture

# No concept of an archive leaves it.
UNFILTERED = ("--no-merge", "--no-merge-synonyms", "--no-grounded")
PAIRS = 30
SHARDS = ("00000", "00001")


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


class _Pipe(io.TextIOWrapper):
    """Takes what is printed, and has the number of a file, as a pipe has."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def fileno(self) -> int:
        return 1

    def text(self) -> str:
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined,no-any-return]


def cocu(*arguments: object) -> Answer:
    """Run a command in this process, its output taken like a pipe would."""
    out, err = _Pipe(), _Pipe()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
    return Answer(int(code or 0), out.text(), err.text())


def succeed(*arguments: object) -> Answer:
    """Run a command that must succeed."""
    answer = cocu(*arguments)
    assert answer.code == 0, answer.err + answer.out
    return answer


@dataclass(frozen=True)
class World:
    """Files of the tiny world."""

    folder: Path
    model: str

    @property
    def shards(self) -> Path:
        return self.folder / "shards"

    @property
    def extra(self) -> Path:
        return self.folder / "extra.parquet"

    def build(self, out: Path, *options: object) -> Answer:
        return succeed("index", "build", self.shards, "--model", self.model, "--out", out, *options)


def make_world(folder: Path) -> World:
    """Two shards, with captions in the .json member too, and captions without pictures, some of our own pictures."""
    for s, name in enumerate(SHARDS):
        members = []
        for i in range(PAIRS):
            key, seed = f"{name}{i:04d}", 1000 * s + i
            described = {"captions": [caption(seed), caption(seed + 500)], "id": i}
            odd = {"json": json.dumps(described).encode(), "seg.bin": bytes(range(i))}
            members += pair_members(key, seed, odd)
        write_tar(folder / "shards" / f"{name}.tar", members)
    rows = [(f"x{i}", caption(5000 + i), None) for i in range(25)]
    colours = ("red", "blue", "green", "yellow", "white", "black")
    rows += [(f"o{i}", f"a {c} zebra beside a fountain", f"{SHARDS[0]}{i:04d}.jpg") for i, c in enumerate(colours)]
    table = {name: [row[c] for row in rows] for c, name in enumerate(["key", "caption", "image"])}
    pq.write_table(pa.table(table), folder / "extra.parquet")
    return World(folder, make_tiny_clip(folder / "clip"))


def make_table(folder: Path, count: int = 12) -> Path:
    """A folder of pictures with a CSV of captions."""
    (folder / "pictures").mkdir(parents=True)
    lines = ["image,caption"]
    for i in range(count):
        (folder / "pictures" / f"p{i}.png").write_bytes(picture(i, form="PNG"))
        lines.append(f"pictures/p{i}.png,{caption(i)}")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    return folder / "captions.csv"


def members_of(path: Path) -> list[tuple[str, bytes]]:
    """Names and contents of a tar, in order."""
    with tarfile.open(path) as tar:
        return [(info.name, tar.extractfile(info).read()) for info in tar]  # type: ignore[union-attr]


def concepts_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    """`.concepts.json` of every pair of a curated shard."""
    found = {}
    for name, data in members_of(path):
        if name.endswith(".concepts.json"):
            described = json.loads(data)
            assert described["version"] == 1
            found[name.partition(".")[0]] = described["concepts"]
    return found


def manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an output folder."""
    return json.loads((folder / "manifest.json").read_text())  # type: ignore[no-any-return]


def digests(folder: Path, *parts: str) -> dict[str, str]:
    """SHA-256 of every file under some parts of a folder."""
    files = [path for part in parts for path in sorted((folder / part).rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def vectors(table: pa.Table, column: str) -> np.ndarray:
    """Float32 rows of a vector column."""
    return np.stack(table[column].to_numpy()).astype(np.float32)
