"""A balanced curation, written: every pair's weight, the keys or uids of a subset drawn by the weights, or its shards.

    FILE.parquet            shard, key, weight: all pairs
    FILE.parquet, subset    shard, key: those drawn
    FILE.npy                DataComp's subsets: the 128 bits of each uid as two u8, sorted
    FOLDER                  manifest.json and shards/SHARD.tar, members byte for byte; of Parquet those of the
                            curated tar of the same pairs

Files appear when they are whole; a folder goes on where it stopped. The same options give the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from hashlib import blake2b
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.curated.balance import TAIL, Balance, count_concepts, drawn, pair_weights, tail_cap
from curation.curated.outputs import PARQUET, output_of
from curation.curated.shown import SHOWN
from curation.curated.sources import read_options, shard_of
from curation.reading.formats import NewMembers, Original
from curation.reading.pairs import CaptionOptions
from curation.reading.parquet_tables import ParquetTable, WholeRows
from curation.reading.shards import Shard
from curation.runs.manifest import read_manifest
from curation.runs.parquet_parts import count_rows
from curation.runs.progress import Progress
from curation.runs.run_folder import RunFolder
from files.atomic import alone
from files.concepts_column import CONCEPTS_COLUMN, concepts_members
from files.concepts_json import CONCEPTS_FIELD
from files.errors import CocuError, MisuseError, check_numbers
from files.saying import say
from files.shapes import count
from files.tar_writing import atomic_tar, write_all

KEYS = pa.schema([("shard", pa.string()), ("key", pa.string())])
WEIGHTS = KEYS.append(pa.field("weight", pa.float32()))
UID = np.dtype("u8,u8")
_UID = re.compile(r"[0-9a-fA-F]{32}")
_NOT_WRITTEN = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".tar")

# Keys [B] and weights [B] of the pairs of a shard, block by block; of a subset those drawn, and weights of 1.
Drawn = Callable[[str], Iterator[tuple[pa.Array, np.ndarray]]]


def balance_curated(
    curated: Path,
    out: Path,
    cap: int | None = None,
    tail: float = TAIL,
    concepts: str = "shown",
    subset: bool = False,
    seed: int = 0,
) -> Balance:
    """Weigh the pairs of a curated folder and write what the ending of `out` says.

    cap: T; None: by `tail`. subset: of a .parquet, the keys drawn; the others always are. Raises MisuseError for
    arguments that are wrong, CocuError for tables or shards that cannot be read.
    """
    check_numbers(1, cap=cap)
    check_numbers(0, 1, tail=tail)
    if concepts not in SHOWN:
        raise MisuseError(f"--concepts {concepts}: give one of {', '.join(SHOWN)}")
    suffix = out.suffix.lower()
    if suffix in _NOT_WRITTEN:
        raise MisuseError(f"--out {out}: is written as .parquet or .npy, or as a folder of shards")
    write = {".parquet": _write_table, ".npy": _write_uids}.get(suffix, _write_shards)
    subset = subset or write is not _write_table
    output = output_of(read_manifest(curated, "curated"))
    if write is _write_shards and output not in ("shards", PARQUET):
        raise MisuseError(
            f"--out {out}: a folder of shards is drawn from whole curated ones, and {curated} has none (its --output "
            f"is {output}); give FILE.parquet, for `cocu train --weights`"
        )
    found = count_concepts(curated, concepts)
    cap = cap or tail_cap(found.counts, tail)
    balance = Balance(cap, found, subset, np.zeros(len(found.counts)))
    chance = np.minimum(1.0, cap / np.maximum(1, found.counts))

    with Progress("balance", found.pairs) as bar:

        def draw(shard: str) -> Iterator[tuple[pa.Array, np.ndarray]]:
            for block in found.blocks(shard):
                weights = pair_weights(len(block.keys), block.pair, chance[block.concept])
                keys = block.keys
                if subset:
                    mine = drawn(weights, keys.to_pylist(), shard, seed)
                    weights, keys = mine.astype(np.float64), keys.filter(pa.array(mine))
                balance.add(block, weights)
                yield keys, weights[weights > 0] if subset else weights
                bar.advance(len(block.keys), len(block.keys))

        write(balance, out, draw, {"cap": cap, "concepts": concepts, "seed": seed if subset else None})
    return balance


def _write_table(balance: Balance, out: Path, draw: Drawn, parameters: dict[str, object]) -> None:
    schema = (KEYS if balance.subset else WEIGHTS).with_metadata({"cocu.balance": json.dumps(parameters)})
    with alone(out) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for shard in balance.concepts.rows:
            for keys, weights in draw(shard):
                columns = [pa.repeat(pa.scalar(shard), len(keys)), keys, pa.array(weights, pa.float32())]
                writer.write_table(pa.table(columns[: len(schema)], schema=schema))


def _write_uids(balance: Balance, out: Path, draw: Drawn, parameters: dict[str, object]) -> None:
    parts = [np.empty(0, UID)]
    for shard in balance.concepts.rows:
        with ExitStack() as stack:
            find = cache(lambda: stack.enter_context(_pairs_of(_shard(balance, shard), balance)))  # noqa: B023
            for keys, _ in draw(shard):
                uids = [key if _UID.fullmatch(key) else _uid_of(find()(key), shard) for key in keys.to_pylist()]
                parts.append(np.array([(int(uid[:16], 16), int(uid[16:], 16)) for uid in uids], UID))
    every = np.concatenate(parts)
    unique = np.unique(every)
    if repeated := len(every) - len(unique):
        balance.notes.append(f"{repeated:,} pairs have the uid of another; it is there once")
    with alone(out) as temporary, temporary.open("wb") as file:
        np.save(file, unique)


def _write_shards(balance: Balance, out: Path, draw: Drawn, parameters: dict[str, object]) -> None:
    shards = [_shard(balance, name) for name in balance.concepts.rows]
    shards = [replace(one, rows=(0, count_rows(Path(one.url)))) if one.rows else one for one in shards]
    counts = blake2b(balance.concepts.counts.tobytes(), digest_size=8).hexdigest()
    empty = 0
    with RunFolder(out, "balanced", {**parameters, "counts": counts}, shards, record={"pairs": count}) as folder:
        if folder.was_finished:
            say(f"{out}: already finished; nothing to do")
        for shard in shards:
            if folder.done(shard.name):
                kept = sum(len(keys) for keys, _ in draw(shard.name))
            else:
                kept = _write_shard(shard, balance, out / "shards" / f"{shard.name}.tar", draw)
                folder.commit(shard.name, {"pairs": kept})
            empty += not kept
        if not folder.was_finished:
            before, after = balance.shares
            summary = {"pairs": int(balance.kept), "without_concepts": balance.without}
            folder.finish({**summary, "rare_before": round(before, 6), "rare_after": round(after, 6)})
    if empty:
        balance.notes.append(f"{empty:,} of {len(shards):,} shards keep no pair and are not written")


def _write_shard(shard: Shard, balance: Balance, out: Path, draw: Drawn) -> int:
    """Copy the pairs drawn; how many. No file for none."""
    kept = 0
    with _pairs_of(shard, balance) as find:
        blocks = (keys for keys, _ in draw(shard.name))
        first = next((keys for keys in blocks if len(keys)), None)
        if first is None:
            return 0
        with atomic_tar(out) as tar:
            for keys in chain([first], blocks):
                write_all(tar, (find(key).parts(()) for key in keys.to_pylist()))
                kept += len(keys)
    return kept


def _shard(balance: Balance, name: str) -> Shard:
    curated = balance.concepts.curated
    shard = shard_of(curated, name)
    if shard is None:
        raise CocuError(f"{curated}: neither its shard {name} nor the source of it is there; put one back")
    return shard


@contextmanager
def _pairs_of(shard: Shard, balance: Balance) -> Iterator[Callable[[str], Original]]:
    """What finds the pairs of a curated shard by key, asked for in their order, as a curated tar has them."""
    whole = isinstance(shard.reader, ParquetTable) and CONCEPTS_COLUMN in shard.reader.columns()
    options = read_options(balance.concepts.curated, shard) if whole else CaptionOptions()
    with shard.reader.originals(options, **({"whole": True} if whole else {})) as originals:

        def find(key: str) -> Original:
            for original in originals:
                if original.key == key:
                    return _with_concepts(original) if isinstance(original, WholeRows) else original
            raise CocuError(f"{shard.url}: has no pair {key!r}, which the tables have; curate into a new folder")

        yield find


def _with_concepts(pair: WholeRows) -> Original:
    (concepts,) = concepts_members(pair.rows[0][CONCEPTS_COLUMN])
    return NewMembers(pair.key, pair.checksum, [*pair.members, (CONCEPTS_FIELD, concepts or b"")])


def _uid_of(pair: Original, shard: str) -> str:
    try:
        uid = json.loads(pair.data("json") or b"null")["uid"]
    except (ValueError, TypeError, KeyError, RecursionError):
        uid = None
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise CocuError(
            f"shard {shard}, pair {pair.key!r}: has no uid, 32 hexadecimal digits as its key or the uid of its .json; "
            "write keys instead (--subset --out FILE.parquet)"
        )
    return uid
