"""Small curated folders, written as `cocu curate run` writes them, for the tests that read them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from curation.curated.tables import ARCHIVES, PAIRS
from files.concepts_json import KeptConcepts

CONCEPTS = pa.schema([("concept_id", pa.int32()), ("concept", pa.string()), ("count", pa.int64())])
REJECTS = pa.schema([("shard", pa.string()), ("key", pa.string()), ("reason", pa.string())])


def jpeg(color: str = "green", size: tuple[int, int] = (64, 48)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, color).save(stream, "JPEG")
    return stream.getvalue()


@dataclass(frozen=True)
class MadePair:
    """concepts: (concept, score, in_caption), best first. image None: no picture in the shard."""

    key: str
    caption: str = "a dog on grass"
    caption_concepts: Sequence[str] = ("dog",)
    concepts: Sequence[tuple[str, float, bool]] = (("grass", 1.9, False), ("dog", 1.8, True))
    image: bytes | None = field(default_factory=jpeg)
    suffix: str = "jpg"


def kept(pairs: Sequence[Sequence[tuple[str, float, int, bool, float | None]]]) -> KeptConcepts:
    """The columns of pairs of (concept, score, cluster, in_caption, confidence)."""
    rows = [row for pair in pairs for row in pair]
    concept, score, cluster, in_caption, confidence = (
        (list(column) for column in zip(*rows, strict=True)) if rows else [[] for _ in range(5)]
    )
    return KeptConcepts(
        np.cumsum([0, *map(len, pairs)]),
        pa.array(concept, pa.string()),
        np.array(score, np.float32),
        np.array(cluster, np.int32),
        np.array(in_caption, bool),
        np.array(confidence, np.float32),
    )


def make_curated(
    folder: Path,
    shards: Mapping[str, Sequence[MadePair]],
    rejects: Sequence[tuple[str, str, str]] = (),
    **manifest: Any,
) -> Path:
    """Write `folder`, with the pairs of each shard; `manifest` overrides keys of the manifest."""
    (folder / "tables" / "archives").mkdir(parents=True)
    (folder / "tables" / "pairs").mkdir()
    (folder / "shards").mkdir()
    counts: dict[str, int] = {}
    for pairs in shards.values():
        for pair in pairs:
            for name in (*pair.caption_concepts, *(concept for concept, _, _ in pair.concepts)):
                counts[name] = counts.get(name, 0) + 1
    ids = {concept: number for number, concept in enumerate(counts)}
    for shard, pairs in shards.items():
        _write_tables(folder, shard, pairs, ids)
        _write_tar(folder / "shards" / f"{shard}.tar", pairs)
    concepts = [{"concept_id": ids[c], "concept": c, "count": n} for c, n in counts.items()]
    pq.write_table(pa.Table.from_pylist(concepts, CONCEPTS), folder / "tables" / "concepts.parquet")
    rows = [dict(zip(REJECTS.names, reject, strict=True)) for reject in rejects]
    pq.write_table(pa.Table.from_pylist(rows, REJECTS), folder / "rejects.parquet")
    whole = {
        "kind": "curated",
        "format": 1,
        "finished": True,
        "parameters": {"neighbours": 8},
        "inputs": [],
        "shards": {shard: {"pairs": len(pairs)} for shard, pairs in shards.items()},
        "summary": {},
    }
    (folder / "manifest.json").write_text(json.dumps(whole | manifest))
    return folder


def _write_tables(folder: Path, shard: str, pairs: Sequence[MadePair], ids: Mapping[str, int]) -> None:
    rows = [
        {
            **{"key": pair.key, "shard": shard, "rank": rank, "concept_id": ids[concept]},
            **{"concept": concept, "score": score, "global": score / 2, "local": score / 2},
            **{"support": 9 - rank % 8, "cluster": rank // 2, "in_caption": named},
        }
        for pair in pairs
        for rank, (concept, score, named) in enumerate(pair.concepts, 1)
    ]
    table = pa.Table.from_pylist(rows, ARCHIVES)
    pq.write_table(table, folder / "tables" / "archives" / f"{shard}.parquet")
    captions = [
        {
            **{"key": pair.key, "shard": shard, "caption": pair.caption},
            "caption_concepts": list(pair.caption_concepts),
        }
        for pair in pairs
    ]
    table = pa.Table.from_pylist(captions, PAIRS)
    pq.write_table(table, folder / "tables" / "pairs" / f"{shard}.parquet")


def _write_tar(path: Path, pairs: Sequence[MadePair]) -> None:
    with tarfile.open(path, "w") as tar:
        for pair in pairs:
            members = {"txt": pair.caption.encode()}
            if pair.image is not None:
                members = {pair.suffix: pair.image} | members
            concepts = [{"concept": c, "score": s, "in_caption": n} for c, s, n in pair.concepts]
            members["concepts.json"] = json.dumps({"version": 1, "concepts": concepts}).encode()
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"{pair.key}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
