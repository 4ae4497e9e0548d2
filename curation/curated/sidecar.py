"""What is written where the pairs stay in their shards: a tar of their concepts beside each, or nothing but the tables.

The source is not opened, unless somebody asks for its pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from curation.curated.enriched import enriched_captions, with_caption
from curation.curated.originals import check_size
from curation.curated.shard_writer import ShardWriter
from curation.reading.formats import Original
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard
from files.concepts_json import CONCEPTS_FIELD, KeptConcepts, concepts_json
from files.tar_headers import tar_member
from files.tar_writing import atomic_tar, tar_members, write_all


class TablesOnly(ShardWriter):
    """Writes nothing of a shard: the tables have it all.

    Raises CocuError where the shard is at hand and has not the size it had.
    """

    checksum = None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """As `ShardWriter`."""
        check_size(self.shard)
        with super().writing():
            yield

    def write(
        self,
        keys: Sequence[str],
        captions: Sequence[str],
        kept: KeptConcepts,
        originals: Sequence[Original] | None = None,
    ) -> None:
        """As `ShardWriter`."""


class Sidecar(TablesOnly):
    """Writes SHARD.concepts.tar: of each pair `KEY.concepts.json`, and with `caption_field` a `KEY.json` that holds
    the enriched caption and nothing else."""

    def __init__(self, shard: Shard, out: Path, options: CaptionOptions, caption_field: str | None = None) -> None:
        super().__init__(shard, options)
        self.out, self.caption_field = out, caption_field

    @contextmanager
    def writing(self) -> Iterator[None]:
        """As `ShardWriter`."""
        with super().writing(), atomic_tar(self.out) as self._target:
            yield

    def write(
        self,
        keys: Sequence[str],
        captions: Sequence[str],
        kept: KeptConcepts,
        originals: Sequence[Original] | None = None,
    ) -> None:
        """As `ShardWriter`."""
        members = tar_members([f"{key}.{CONCEPTS_FIELD}" for key in keys], concepts_json(kept))
        if field := self.caption_field:
            told = (with_caption({}, field, caption) or b"" for caption in enriched_captions(captions, kept))
            named = [tar_member(f"{key}.json", data) for key, data in zip(keys, told, strict=True)]
            members = [part for both in zip(members, named, strict=True) for part in both]
        write_all(self._target, members)
