"""What is written where the pairs stay in their shards: a tar of their concepts beside each, or nothing but the tables.

The source is not opened, unless somebody asks for its pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from curation.curated.enriched import enriched_captions, with_caption
from curation.curated.originals import Originals, check_size
from curation.reading.formats import Original
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard
from files.atomic import atomic
from files.concepts_json import CONCEPTS_FIELD, KeptConcepts, concepts_json
from files.tar_headers import tar_member, write_end


class TablesOnly:
    """Writes nothing of a shard: the tables have it all. A context manager, as `CuratedShard`.

    Raises CocuError where the shard is at hand and has not the size it had.
    """

    unenriched = 0

    def __init__(self, shard: Shard, options: CaptionOptions) -> None:
        check_size(shard)
        self.originals = Originals(shard, options)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.originals)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(
        self,
        keys: Sequence[str],
        captions: Sequence[str],
        kept: KeptConcepts,
        originals: Sequence[Original] | None = None,
    ) -> None:
        """Write a block of pairs, in the order of the source."""

    def check(self, expected: int | None) -> None:
        """Nothing was read that could differ."""


class Sidecar(TablesOnly):
    """Writes SHARD.concepts.tar: of each pair `KEY.concepts.json`, and with `caption_field` a `KEY.json` that holds
    the enriched caption and nothing else."""

    def __init__(self, shard: Shard, out: Path, options: CaptionOptions, caption_field: str | None = None) -> None:
        super().__init__(shard, options)
        self.out, self.caption_field = out, caption_field

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.originals)
            self._target: BinaryIO = stack.enter_context(stack.enter_context(atomic(self.out)).open("wb"))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            write_end(self._target)
            self._target.flush()

    def write(
        self,
        keys: Sequence[str],
        captions: Sequence[str],
        kept: KeptConcepts,
        originals: Sequence[Original] | None = None,
    ) -> None:
        """Write a block of pairs, in the order of the source."""
        members = [
            tar_member(f"{key}.{CONCEPTS_FIELD}", data) for key, data in zip(keys, concepts_json(kept), strict=True)
        ]
        if self.caption_field:
            for i, (key, caption) in enumerate(zip(keys, enriched_captions(captions, kept), strict=True)):
                members[i] += tar_member(f"{key}.json", with_caption({}, self.caption_field, caption) or b"")
        self._target.write(b"".join(members))
