"""Curated shards: the members of every pair byte for byte as they were, and `.concepts.json` beside them.

A pair whose caption lay elsewhere, in its `.json` or in a table beside the shard, gets it as `.txt`, for that is where
trainers look.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curation.curated.enriched import enriched_captions, with_caption
from curation.curated.shard_writer import ShardWriter
from curation.reading.formats import Original
from curation.reading.pairs import CAPTION_FIELDS, CaptionOptions
from curation.reading.shards import Shard
from files.concepts_json import CONCEPTS_FIELD, CONCEPTS_VERSION, KeptConcepts, concepts_json
from files.errors import CocuError
from files.tar_headers import tar_member
from files.tar_writing import Part, atomic_tar, tar_members, write_all


class CuratedShard(ShardWriter):
    """Writes a tar of whole pairs."""

    def __init__(self, shard: Shard, out: Path, options: CaptionOptions, caption_field: str | None = None) -> None:
        super().__init__(shard, options)
        self.out, self.caption_field = out, caption_field

    @contextmanager
    def writing(self) -> Iterator[None]:
        """As `ShardWriter`."""
        with super().writing(), self.originals.open(), atomic_tar(self.out) as self._target:
            yield

    def write(
        self,
        keys: Sequence[str],
        captions: Sequence[str],
        kept: KeptConcepts,
        originals: Sequence[Original] | None = None,
    ) -> None:
        """As `ShardWriter`."""
        enriched = enriched_captions(captions, kept) if self.caption_field else captions
        concepts = tar_members([f"{key}.{CONCEPTS_FIELD}" for key in keys], concepts_json(kept))
        pairs = zip(captions, enriched, self._read(keys, originals), strict=True)
        write_all(self._target, self._parts(pairs, concepts))

    def _parts(self, pairs: Iterable[tuple[str, str, Original]], concepts: Iterable[Part]) -> Iterator[Part]:
        with self.originals.reading():
            for pair, added in zip(pairs, concepts, strict=True):
                yield from self._copied(*pair)
                yield added

    def _copied(self, caption: str, enriched: str, original: Original) -> list[Part]:
        own: list[bytes] = []
        if original.data(*CAPTION_FIELDS) is None:  # its caption lay elsewhere
            own.append(tar_member(f"{original.key}.{CAPTION_FIELDS[0]}", caption.encode()))
        if not self.caption_field:
            return [original.parts({CONCEPTS_FIELD}), *own]
        described = with_caption(_parsed(original.data("json") or b"{}"), self.caption_field, enriched)
        if described is None:
            self.unenriched += 1
            return [original.parts({CONCEPTS_FIELD}), *own]
        json_member = tar_member(f"{original.key}.json", described)
        return [original.parts({CONCEPTS_FIELD, "json"}), *own, json_member]


def _parsed(data: bytes) -> Any:
    """JSON, or {} where it is broken: nobody can read it, and the caption needs a place."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return {}


def read_concepts(data: bytes) -> list[dict[str, Any]]:
    """Concepts of a `.concepts.json` member. Raises CocuError for another version."""
    described = json.load(io.BytesIO(data))
    if described.get("version") != CONCEPTS_VERSION:
        raise CocuError(f".concepts.json of version {described.get('version')}; this reads {CONCEPTS_VERSION}")
    return list(described["concepts"])
