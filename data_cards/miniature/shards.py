"""The miniature as WebDataset shards, with its truth: written by several processes, continued where it stopped.

A shard depends on its number and the parameters alone, so it is the same whoever writes it. Each is
written beside its share of the truth, which goes first: a shard that is there is finished.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from data_cards.cards import read_card
from data_cards.miniature.captions.names import ClassNames
from data_cards.miniature.pairs import NAME, DrawnPair, check_request, draw_pair
from files.atomic import atomic, sweep, write_json
from files.errors import CocuError, MisuseError, one_line
from files.locks import locked
from files.machine import cores
from files.shapes import ShapeFault, check_shape, count
from files.strict_json import JsonFault, read_json
from files.tar_headers import write_header
from files.workers import closing_pool

PAIRS_PER_SHARD = 1000
JPEG_QUALITY = 90  # without subsampling of colours, which would blur the textures
VISIBLE = 0.01  # share of the picture from which a class counts as visible
FORMAT = 1
_TRUTH = pa.schema([("key", pa.string()), ("object", pa.string()), ("area", pa.float32())])


@dataclass(frozen=True)
class DrawnTally:
    """Counts over pairs: visible stuff and things, and how many of them the captions (the first of each pair) name."""

    pairs: int = 0
    stuff: int = 0
    things: int = 0
    stuff_named: int = 0
    things_named: int = 0
    silent: int = 0  # captions that name nothing that shows

    def __add__(self, other: DrawnTally) -> DrawnTally:
        return DrawnTally(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    @property
    def visible(self) -> float:
        """Visible classes per picture."""
        return (self.stuff + self.things) / max(1, self.pairs)

    @property
    def named(self) -> float:
        """Share of the visible classes that the caption names."""
        return (self.stuff_named + self.things_named) / max(1, self.stuff + self.things)


@dataclass(frozen=True)
class Written:
    """What `write_miniature` did: counts of all pairs and shards; the pairs drawn this time, in how many seconds."""

    tally: DrawnTally
    shards: int
    pairs_drawn: int
    seconds: float


def write_miniature(
    out: Path,
    pairs: int,
    seed: int = 0,
    size: int = 64,
    split: str = "train",
    workers: int | None = None,
    progress: Callable[[int], None] = lambda pairs: None,
    per_shard: int = PAIRS_PER_SHARD,
) -> Written:
    """Write a split into the folder `out`: shards, truth.parquet, synonyms.json, manifest.json.

    workers: processes; None is one for each core. The same bytes come from any number of them. progress is told
    the pairs of each shard when it is finished. Run again with the same arguments, the shards that are
    missing are drawn. Raises MisuseError when an argument
    is out of range or the folder holds something else, CocuError when another run is at work there or a process dies.
    """
    check_request(split, seed, pairs, size)
    workers = workers or cores()
    asked = {"split": split, "seed": seed, "pairs": pairs, "size": size}
    parameters = {"card": NAME, **asked, "per_shard": per_shard, "version": metadata.version("cocu")}
    jobs = [
        _Job(split, seed, size, number, first, min(first + per_shard, pairs), out)
        for number, first in enumerate(range(0, pairs, per_shard))
    ]
    start = time.monotonic()
    with locked(out, "manifest.json"):
        sweep(out)
        known = _open(out, parameters, [job.shard.name for job in jobs])
        missing = [job for job in jobs if not (job.shard.is_file() and (known or job.part.is_file()))]
        try:
            _draw_all(missing, workers, progress)
        except BaseException:
            sweep(out)  # what workers were writing that were ended
            raise
        if not known:
            _finish(out, parameters, jobs)
        shutil.rmtree(out / _PARTS, ignore_errors=True)
        tally = DrawnTally(**json.loads((out / "manifest.json").read_text(encoding="utf-8"))["tally"])
    drawn = sum(job.last - job.first for job in missing)
    return Written(tally, len(jobs), drawn, time.monotonic() - start)


def members(pair: DrawnPair, split: str) -> list[tuple[str, bytes]]:
    """What a shard holds of a pair: endings of the members' names, and their bytes."""
    written = [
        (".jpg", _encoded(Image.fromarray(pair.image), "JPEG", quality=JPEG_QUALITY, subsampling=0)),
        (".json", json.dumps(annotation(pair), ensure_ascii=False, separators=(",", ":")).encode()),
        (".txt", pair.caption.encode()),
    ]
    if split == "val":
        written.append((".mask.png", _encoded(Image.fromarray(pair.mask), "PNG", compress_level=1)))
    return written


def annotation(pair: DrawnPair) -> dict[str, Any]:
    """The `.json` member: scene and objects; all captions where there are several."""
    scene = pair.scene
    objects = [{**vars(one), "area": round(one.area, 6)} for one in scene.objects]
    said = {"captions": list(pair.captions)} if len(pair.captions) > 1 else {}
    return {"scene": {"place": scene.place, "time": scene.time}, "objects": objects, **said}


def tally(pair: DrawnPair) -> DrawnTally:
    """The counts of one pair."""
    said = _names().named(pair.caption)
    shown = [one for one in pair.scene.objects if one.area >= VISIBLE]
    stuff = [one.name in said for one in shown if one.kind == "stuff"]
    things = [one.name in said for one in shown if one.kind == "thing"]
    return DrawnTally(1, len(stuff), len(things), sum(stuff), sum(things), not any(stuff + things))


@cache
def _names() -> ClassNames:
    return ClassNames(read_card(NAME).synonyms())


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# The folder and its files.

_TALLY = {one.name: count for one in fields(DrawnTally)}
_PARTS = "parts"  # of the truth, one for each shard, until all are there


@dataclass(frozen=True)
class _Job:
    """One shard: its pairs are first..last-1."""

    split: str
    seed: int
    size: int
    number: int
    first: int
    last: int
    out: Path

    @property
    def shard(self) -> Path:
        return self.out / f"{self.split}-{self.number:06d}.tar"

    @property
    def part(self) -> Path:
        return self.out / _PARTS / f"{self.shard.stem}.parquet"


def _draw_shard(job: _Job) -> int:
    rows: list[tuple[str, str, float]] = []
    total = DrawnTally()
    with atomic(job.shard) as temporary:
        with temporary.open("wb") as file:
            for index in range(job.first, job.last):
                pair = draw_pair(job.split, job.seed, index, job.size)
                for ending, content in members(pair, job.split):
                    file.write(write_header(pair.key + ending, len(content)))
                    file.write(content)
                    file.write(bytes(-len(content) % tarfile.BLOCKSIZE))
                rows.extend((pair.key, one.name, one.area) for one in pair.scene.objects)
                total += tally(pair)
            file.write(bytes(2 * tarfile.BLOCKSIZE))
        columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), _TRUTH.types, strict=True)]
        noted = _TRUTH.with_metadata({"tally": json.dumps(asdict(total))})
        with atomic(job.part) as part:
            pq.write_table(pa.Table.from_arrays(columns, schema=noted), part)
    return total.pairs


def _finish(out: Path, parameters: dict[str, Any], jobs: Sequence[_Job]) -> None:
    total = DrawnTally()
    with (
        atomic(out / "truth.parquet") as temporary,
        pq.ParquetWriter(temporary, _TRUTH, compression="zstd") as writer,
    ):
        for job in jobs:
            try:
                part = pq.read_table(job.part)
                total += DrawnTally(**json.loads((part.schema.metadata or {}).get(b"tally", b"")))
                writer.write_table(part.replace_schema_metadata(None))
            except (pa.ArrowException, ValueError, TypeError) as error:
                job.part.unlink()
                raise CocuError(
                    f"{job.part}: broken ({one_line(error)}), and removed; run the same command again"
                ) from error
    write_json(out / "synonyms.json", read_card(NAME).synonyms())
    write_json(
        out / "manifest.json", {"format": FORMAT, "parameters": parameters, "finished": True, "tally": asdict(total)}
    )


def _open(out: Path, parameters: dict[str, Any], shards: Sequence[str]) -> bool:
    """Whether the folder was finished before. Raises MisuseError when it holds something else."""
    path = out / "manifest.json"
    if not path.is_file():
        write_json(path, {"format": FORMAT, "parameters": parameters, "finished": False})
        return False
    try:
        manifest = read_json(path)
        check_shape(manifest, {"parameters": dict, "finished": bool})
        before, finished = manifest["parameters"], manifest["finished"]
        if finished:
            check_shape(manifest, {"tally": _TALLY})
            if manifest["tally"]["pairs"] != before.get("pairs"):
                raise ShapeFault("tally: is of other pairs")
    except (JsonFault, ShapeFault) as fault:
        raise MisuseError(f"{path}: not one of `cocu data miniature` ({fault}); give another --out") from None
    if before != parameters:
        changed = [name for name in {**before, **parameters} if before.get(name) != parameters.get(name)]
        said = ", ".join(f"{name} {before.get(name)!r}, now {parameters.get(name)!r}" for name in changed)
        raise MisuseError(f"--out {out}: begun with other parameters ({said}); give the old ones or another --out")
    return finished


# The processes.


def _draw_all(jobs: Sequence[_Job], workers: int, progress: Callable[[int], None]) -> None:
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            progress(_draw_shard(job))
        return
    with closing_pool(min(workers, len(jobs))) as pool:
        for done in pool.each(_draw_shard, jobs):
            progress(done)
