"""Small curated shards, good pairs and bad ones, and the loader that the tests read them with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from hashlib import blake2b
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.tiny_pairs import THINGS, caption, write_tar
from tests.tiny_world import picture
from training.batches.batch import Batch
from training.batches.loader import BatchOptions, Loader

SMALL: dict[str, Any] = {
    "image_size": 16,
    "context_length": 24,
    "concepts": "curated-cluster",
    "shuffle_buffer": 25,
    "seed": 5,
}


def concepts_of(seed: int) -> list[dict[str, Any]]:
    """Up to eight concepts, the first two in the caption."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(THINGS)[: int(rng.integers(0, 9))].tolist()
    scores = sorted(rng.uniform(0, 2, len(names)).round(4).tolist(), reverse=True)
    return [
        {"concept": name, "score": score, "cluster": i // 2, "in_caption": i < 2}
        for i, (name, score) in enumerate(zip(names, scores, strict=True))
    ]


def members(key: str, seed: int, **replaced: bytes | None) -> list[tuple[str, bytes]]:
    """A curated pair; None leaves a member out."""
    described = json.dumps({"version": 1, "concepts": concepts_of(seed)}).encode()
    whole = {"jpg": picture(seed), "txt": caption(seed).encode(), "concepts": described} | replaced
    names = {"jpg": "jpg", "txt": "txt", "concepts": "concepts.json"}
    return [(f"{key}.{names[kind]}", data) for kind, data in whole.items() if data is not None]


BAD: dict[str, dict[str, bytes | None]] = {
    "no image": {"jpg": None},
    "no caption": {"txt": None},
    "no .concepts.json": {"concepts": None},
    "empty caption": {"txt": b" \n"},
    "caption is not UTF-8": {"txt": b"caf\xe9"},
    "broken .concepts.json": {"concepts": b'{"version": 1'},
    "truncated picture": {"jpg": picture(0)[:-200]},
    "unreadable picture": {"jpg": b"<html>"},
}


def make_shards(folder: Path) -> Path:
    """Shards of 3, 31, 0 and 18 pairs; eight of them are bad, each in a way of its own."""
    bad = iter(BAD.values())
    for shard, count in enumerate([3, 31, 0, 18]):
        pairs = [members(f"{i:03d}", 100 * shard + i, **(next(bad, {}) if i % 6 == 2 else {})) for i in range(count)]
        write_tar(folder / f"{shard:05d}.tar", list(chain.from_iterable(pairs)))
    assert next(bad, None) is None
    return folder


GOOD = {f"{s:05d}/{i:03d}" for s, count in enumerate([3, 31, 0, 18]) for i in range(count) if i % 6 != 2} | {
    "00003/014"
}


def loader(folder: Path | Sequence[Any], **options: Any) -> Loader:
    sources = [str(folder)] if isinstance(folder, Path) else folder
    given = {"batch_size": 4, **SMALL, **options}
    shared = {field.name: given.pop(field.name) for field in fields(BatchOptions) if field.name in given}
    return Loader(sources, BatchOptions(**shared), **given)


def take(source: Iterator[Batch], count: int) -> list[Batch]:
    return list(islice(source, count))


def digest(batch: Batch) -> str:
    """Hash of all that training sees of a batch."""
    found = blake2b(str((batch.keys, batch.seeds.tolist())).encode())
    for tensor in (batch.pixels, batch.erase, batch.captions, batch.caption_ids, batch.concepts, batch.concept_ids):
        found.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()
