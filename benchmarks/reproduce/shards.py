"""The two bounds of what curation can give: the same shards, with all true concepts, or with those of other pairs.

    python -m benchmarks.reproduce.shards oracle runs/reproduce/curated/cocu --out runs/reproduce/curated/oracle

oracle: every class that covers at least 1 % of the picture, by the name of its card; score 1, a cluster each.
shuffled: a pair keeps the concepts of its caption, and gets the recovered ones of another pair instead of its own.

Every other member of a shard stays byte for byte. Tables are written, too, so that `cocu curate score` measures both.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.reproduce.steps import write_json
from curation.curated.shards import read_concepts
from curation.curated.tables import ARCHIVES
from curation.runs.manifest import read_manifest
from data_cards.cards import read_card
from data_cards.miniature.captions.names import ClassNames
from data_cards.miniature.shards import VISIBLE
from files.atomic import atomic
from files.concepts_json import CONCEPTS_FIELD, CONCEPTS_VERSION
from files.errors import CocuError, MisuseError
from files.rejects import Reject
from files.tar import read_samples
from files.tar_headers import tar_member
from files.tar_writing import atomic_tar

Concepts = list[dict[str, Any]]  # as in `.concepts.json`, best first


def true_concepts(annotation: Mapping[str, Any], caption: str, names: ClassNames) -> Concepts:
    """All visible classes of a pair of the miniature, the largest first."""
    said = names.named(caption)
    shown = sorted((one for one in annotation["objects"] if one["area"] >= VISIBLE), key=lambda one: -one["area"])
    return [
        {"concept": one["name"], "score": 1.0, "cluster": number, "in_caption": one["name"] in said}
        for number, one in enumerate(shown)
    ]


def donors(pairs: int, seed: int) -> list[int]:
    """For each pair another one, none twice: a random permutation without fixed points. Raises MisuseError for one."""
    if pairs < 2:
        raise MisuseError(f"{pairs} pairs cannot change places; give two or more")
    order = np.random.default_rng(seed).permutation(pairs)
    given = np.empty(pairs, np.int64)
    given[order] = np.roll(order, 1)  # one cycle through all
    return given.tolist()


def swapped(own: Concepts, donor: Concepts) -> Concepts:
    """What the caption names of `own`, and what was recovered of `donor`, by score.

    A recovered concept that this caption names is named already. Clusters of the two stay apart.
    """
    kept = [dict(one) for one in own if one["in_caption"]]
    named = {one["concept"] for one in kept}
    above = 1 + max((one["cluster"] for one in kept), default=-1)
    recovered = [one for one in donor if not one["in_caption"] and one["concept"] not in named]
    moved = [{**one, "cluster": above + one["cluster"]} for one in recovered]
    return sorted([*kept, *moved], key=lambda one: -one["score"])


# The folder.


@dataclass(frozen=True)
class StoredPair:
    """A pair as it lies in a shard: its members in order, field -> (raw blocks with header, content)."""

    key: str
    members: Mapping[str, tuple[bytes, bytes]]

    def content(self, field: str) -> bytes:
        """The content of the member `KEY.field`. Raises CocuError where there is none."""
        if field not in self.members:
            raise CocuError(f"pair {self.key!r} has no .{field} member; give a curated folder of the miniature")
        return self.members[field][1]


def stored_pairs(shard: Path) -> Iterator[StoredPair]:
    """The pairs of a tar. Raises CocuError where it is broken."""
    with shard.open("rb") as file:
        for sample in read_samples(file):
            if isinstance(sample, Reject):
                raise CocuError(f"{shard}: {sample.key} {sample.reason}; write the curated folder again")
            file.seek(sample.start)
            raw = file.read(sample.end - sample.start)
            members = {}
            for one in sample.members:
                start, data, end = (at - sample.start for at in (one.start, one.offset, one.end))
                members[one.field] = raw[start:end], raw[data : data + one.size]
            yield StoredPair(sample.key, members)


def rewrite(source: Path, out: Path, concepts_of: Callable[[StoredPair], Concepts], made: Mapping[str, Any]) -> None:
    """Write the curated folder `source` anew with other concepts: shards, tables, and last the manifest.

    made: said in the manifest of how it was made. Raises CocuError for a folder without shards.
    """
    manifest = read_manifest(source, "curated")
    shards = _shards(source)
    known = pq.read_table(source / "tables" / "concepts.parquet")
    ids = dict(zip(known["concept"].to_pylist(), known["concept_id"].to_pylist(), strict=True))
    for shard in shards:
        rows: dict[str, list[Any]] = {field.name: [] for field in ARCHIVES}
        with atomic_tar(out / "shards" / shard.name) as file:
            for pair in stored_pairs(shard):
                concepts = concepts_of(pair)
                _write(file, pair, concepts)
                _add_rows(rows, pair.key, shard.stem, concepts, ids)
        with atomic(out / "tables" / "archives" / f"{shard.stem}.parquet") as temporary:
            pq.write_table(pa.table(rows, schema=ARCHIVES), temporary, compression="zstd")
        _copy(source, out, f"tables/pairs/{shard.stem}.parquet")
    with atomic(out / "tables" / "concepts.parquet") as temporary:
        pq.write_table(_with_new(known, ids), temporary, compression="zstd")
    write_json(out / "manifest.json", {**manifest, "rewritten": {"from": str(source), **made}})


def _write(file: BinaryIO, pair: StoredPair, concepts: Concepts) -> None:
    said = json.dumps({"version": CONCEPTS_VERSION, "concepts": concepts}, ensure_ascii=False).encode()
    for field, (raw, _) in pair.members.items():
        file.write(tar_member(f"{pair.key}.{field}", said) if field == CONCEPTS_FIELD else raw)


def _add_rows(rows: dict[str, list[Any]], key: str, shard: str, concepts: Concepts, ids: dict[str, int]) -> None:
    """Rows of the archives; concepts that the vocabulary lacks get the next ids. No ranking is known of these."""
    for rank, one in enumerate(concepts, 1):
        values = {
            **{"key": key, "shard": shard, "rank": rank, "concept": one["concept"], "score": one["score"]},
            "concept_id": ids.setdefault(one["concept"], len(ids)),
            **{"cluster": one["cluster"], "in_caption": one["in_caption"]},
        }
        for column in rows:
            rows[column].append(values.get(column))


def _with_new(known: pa.Table, ids: Mapping[str, int]) -> pa.Table:
    """The table of concepts, with those that it lacked: named by no caption, and without a vector."""
    new = list(ids)[len(known) :]
    added: dict[str, list[Any]] = {name: [None] * len(new) for name in known.column_names}
    added |= {"concept_id": [ids[name] for name in new], "concept": new, "count": [0] * len(new)}
    return pa.concat_tables([known, pa.table(added, schema=known.schema)])


def _copy(source: Path, out: Path, name: str) -> None:
    with atomic(out / name) as temporary:
        temporary.write_bytes((source / name).read_bytes())


def _shards(source: Path) -> list[Path]:
    shards = sorted((source / "shards").glob("*.tar"))
    if not shards:
        raise MisuseError(f"{source}: holds no shards; give a folder that `cocu curate run` wrote")
    return shards


def write_oracle(source: Path, out: Path) -> None:
    """A curated folder of the miniature -> the same with all true concepts."""
    names = ClassNames(read_card("miniature").synonyms())

    def concepts_of(pair: StoredPair) -> Concepts:
        return true_concepts(json.loads(pair.content("json")), pair.content("txt").decode(), names)

    rewrite(source, out, concepts_of, {"how": "oracle", "visible": VISIBLE})


def write_shuffled(source: Path, out: Path, seed: int = 0) -> None:
    """A curated folder -> the same with recovered concepts of other pairs. Holds all concepts in memory."""
    concepts = [
        read_concepts(pair.content(CONCEPTS_FIELD)) for shard in _shards(source) for pair in stored_pairs(shard)
    ]
    places = iter(zip(concepts, donors(len(concepts), seed), strict=True))

    def concepts_of(pair: StoredPair) -> Concepts:
        own, donor = next(places)
        return swapped(own, concepts[donor])

    rewrite(source, out, concepts_of, {"how": "shuffled", "seed": seed})


def main(arguments: Sequence[str] | None = None) -> int:
    """Write one of the two; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("how", choices=["oracle", "shuffled"])
    parser.add_argument("curated", type=Path, help="folder that `cocu curate run` wrote")
    parser.add_argument("--out", type=Path, required=True, help="curated folder to write")
    parser.add_argument("--seed", type=int, default=0, help="of who changes places with whom")
    given = parser.parse_args(arguments)
    try:
        if given.how == "oracle":
            write_oracle(given.curated, given.out)
        else:
            write_shuffled(given.curated, given.out, given.seed)
    except Exception as error:
        if not isinstance(code := getattr(error, "exit_code", None), int):
            raise
        print(f"error: {error}", file=sys.stderr)
        return code
    print(f"wrote {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
