"""Curated shards: the members of every pair byte for byte as they were, and `.concepts.json` beside them.

A pair whose caption lay elsewhere, in its `.json` or in a table beside the shard, gets it as `.txt`, for that is where
trainers look.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from curation.curated.enriched import enriched_captions, with_caption
from curation.curated.originals import CHANGED, Originals
from curation.reading.formats import Original
from curation.reading.pairs import CAPTION_FIELDS, CaptionOptions, checksum_of
from curation.reading.shards import Shard
from files.addresses import unreachable
from files.atomic import atomic
from files.concepts_json import CONCEPTS_FIELD, CONCEPTS_VERSION, KeptConcepts, concepts_json
from files.errors import CocuError
from files.tar_headers import tar_member, write_all, write_end

AT_ONCE = 16  # parts of a shard in a call: the pictures among them are not copied together, and stay in the cache


class CuratedShard:
    """Writes one curated shard beside the reading of its source. A context manager; the file appears when it ends well.

    Pairs are given in the order of the source; samples between them (rejects of the index) are left out.
    `checksum` covers the pairs so far, as `checksum_of` gives it; `unenriched` counts those whose `.json` had no place
    for the enriched caption.
    """

    def __init__(self, shard: Shard, out: Path, options: CaptionOptions, caption_field: str | None = None) -> None:
        self.shard, self.out, self.caption_field = shard, out, caption_field
        self.originals = Originals(shard, options)
        self.checksum = self.unenriched = 0
        self._stack = ExitStack()

    def __enter__(self) -> CuratedShard:
        with ExitStack() as stack:
            stack.enter_context(self.originals).open()
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
        """Write pairs, whose originals are given or the next ones. Raises CocuError when the source lacks one."""
        enriched = enriched_captions(captions, kept) if self.caption_field else captions
        parts: list[bytes] = []
        for i, (key, member) in enumerate(zip(keys, concepts_json(kept), strict=True)):
            try:
                original = originals[i] if originals is not None else self.originals.find(key)
                parts += self._copied(key, captions[i], enriched[i], original)
            except OSError as error:
                raise unreachable(self.shard.url, error) from error
            parts.append(tar_member(f"{key}.{CONCEPTS_FIELD}", member))
            if len(parts) >= AT_ONCE:
                write_all(self._target, parts)
                parts = []
        write_all(self._target, parts)

    def check(self, expected: int | None) -> None:
        """Raises CocuError when the pairs written are not those of `expected`, a checksum; None: unknown."""
        if expected is not None and self.checksum != expected:
            raise CocuError(f"{self.shard.url}: other pictures or captions than the index was built from; {CHANGED}")

    def _copied(self, key: str, caption: str, enriched: str, original: Original) -> list[bytes]:
        self.checksum = checksum_of(original.checksum, self.checksum)
        own: list[bytes] = []
        if original.data(*CAPTION_FIELDS) is None:  # its caption lay elsewhere
            own.append(tar_member(f"{key}.{CAPTION_FIELDS[0]}", caption.encode()))
        if not self.caption_field:
            return [original.parts({CONCEPTS_FIELD}), *own]
        described = with_caption(_parsed(original.data("json") or b"{}"), self.caption_field, enriched)
        if described is None:
            self.unenriched += 1
            return [original.parts({CONCEPTS_FIELD}), *own]
        return [original.parts({CONCEPTS_FIELD, "json"}), *own, tar_member(f"{key}.json", described)]


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
