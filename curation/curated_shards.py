"""Curated shards: the members of every pair byte for byte as they were, and `.concepts.json` beside them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from curation.captioned_tables import ImageRow, table_rows
from curation.errors import CurationError
from curation.pairs import BLOCK, CaptionOptions, Sample, read_member, read_samples
from curation.run_folder import atomic
from curation.shards import Shard, local_tar

CONCEPTS_VERSION = 1
CONCEPTS_IN_CAPTION = 3
END_OF_ARCHIVE = bytes(2 * BLOCK)
RECORD = tarfile.RECORDSIZE


@dataclass(frozen=True, slots=True)
class PairConcepts:
    """What is written for one pair: its key, its caption, and its kept concepts, best first."""

    key: str
    caption: str
    concepts: Sequence[tuple[str, float, int, bool]]  # concept, score, cluster, in_caption

    def json(self) -> bytes:
        """The `.concepts.json` member (DESIGN, "Files")."""
        listed = [
            {"concept": concept, "score": score, "cluster": cluster, "in_caption": in_caption}
            for concept, score, cluster, in_caption in self.concepts
        ]
        return json.dumps({"version": CONCEPTS_VERSION, "concepts": listed}, ensure_ascii=False).encode()

    def enriched_caption(self) -> str:
        """ "{caption}, with {c1}, {c2} and {c3}": its best recovered concepts; the caption alone if there are none."""
        recovered = [concept for concept, _, _, in_caption in self.concepts if not in_caption][:CONCEPTS_IN_CAPTION]
        if not recovered:
            return self.caption
        listed = " and ".join(filter(None, [", ".join(recovered[:-1]), recovered[-1]]))
        return f"{self.caption.rstrip(' .!?,;')}, with {listed}"


class CuratedShard:
    """Writes one curated shard beside the reading of its source. A context manager; the file appears when it ends well.

    Pairs are given in the order of the source; samples between them (rejects of the index) are left out.
    """

    def __init__(self, shard: Shard, out: Path, options: CaptionOptions, caption_field: str | None = None) -> None:
        self.shard, self.out, self.options, self.caption_field = shard, out, options, caption_field
        self._stack = ExitStack()

    def __enter__(self) -> CuratedShard:
        with ExitStack() as stack:
            if self.shard.is_table:
                self._rows = table_rows(self.shard, self.options.columns)
            else:
                self._tar = stack.enter_context(stack.enter_context(local_tar(self.shard)).open("rb"))
                self._samples = (s for s in read_samples(self._tar) if isinstance(s, Sample))
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
            self._target.write(END_OF_ARCHIVE)
            self._target.write(bytes(-self._target.tell() % RECORD))
            self._target.flush()

    def write(self, pairs: Sequence[PairConcepts]) -> None:
        """Write pairs, the next ones in the order of the source. Raises CurationError when the source lacks one."""
        for pair in pairs:
            members = self._table_members(pair) if self.shard.is_table else self._tar_members(pair)
            self._target.write(b"".join([*members, tar_member(f"{pair.key}.concepts.json", pair.json())]))

    def _tar_members(self, pair: PairConcepts) -> Iterator[bytes]:
        sample = next((s for s in self._samples if s.key == pair.key), None)
        if sample is None:
            raise self._changed(pair.key)
        if self.caption_field is None:
            self._tar.seek(sample.start)
            raw = self._tar.read(sample.end - sample.start)
            yield raw + bytes(-len(raw) % BLOCK)  # a tar cut in its last padding
            return
        described: dict[str, Any] = {}
        for member in sample.members:
            if member.field == "json":
                described = json.loads(read_member(self._tar, member))
            else:
                self._tar.seek(member.start)
                raw = self._tar.read(member.offset + member.size - member.start)
                yield raw + bytes(-len(raw) % BLOCK)
        yield tar_member(f"{pair.key}.json", with_caption(described, self.caption_field, pair))

    def _table_members(self, pair: PairConcepts) -> Iterator[bytes]:
        row: ImageRow | None = next((row for row in self._rows if row.key == pair.key), None)
        if row is None or not row.image.is_file():
            raise self._changed(pair.key)
        yield tar_member(f"{pair.key}{row.image.suffix.lower()}", row.image.read_bytes())
        yield tar_member(f"{pair.key}.txt", pair.caption.encode())
        if self.caption_field is not None:
            yield tar_member(f"{pair.key}.json", with_caption({}, self.caption_field, pair))

    def _changed(self, key: str) -> CurationError:
        return CurationError(
            f"{self.shard.url}: pair {key!r} is in the index but no longer in the shard; "
            "the shard has changed since `cocu index build`: put the old one back, or build a new index"
        )


def with_caption(described: Any, field: str, pair: PairConcepts) -> bytes:
    """A `.json` member with the enriched caption at a dotted path; objects on the path are made as needed."""
    if not isinstance(described, dict):
        described = {"value": described}
    place = described
    *folders, last = field.split(".")
    for name in folders:
        if not isinstance(place.get(name), dict):
            place[name] = {}
        place = place[name]
    place[last] = pair.enriched_caption()
    return json.dumps(described, ensure_ascii=False).encode()


def tar_member(name: str, data: bytes) -> bytes:
    """One tar member: header, data, padding. Time and owner are zero: the same input gives the same bytes."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    header = info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    return b"".join((header, data, bytes(-len(data) % BLOCK)))


def read_concepts(data: bytes) -> list[dict[str, Any]]:
    """Concepts of a `.concepts.json` member. Raises CurationError for another version."""
    described = json.load(io.BytesIO(data))
    if described.get("version") != CONCEPTS_VERSION:
        raise CurationError(f".concepts.json of version {described.get('version')}; this reads {CONCEPTS_VERSION}")
    return list(described["concepts"])
