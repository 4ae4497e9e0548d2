"""Curated shards: the members of every pair byte for byte as they were, and `.concepts.json` beside them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from curation.reading.pairs import CaptionOptions, checksum_of, pair_checksum, table_pairs
from curation.reading.shards import Shard
from files.addresses import open_tar, unreachable
from files.atomic import atomic
from files.errors import CocuError
from files.rejects import Reject, is_utf8
from files.tar import Member, Sample, read_samples
from files.tar_headers import BLOCK, write_end, write_header

CONCEPTS_VERSION = 1
CONCEPTS_FIELD = "concepts.json"
CONCEPTS_IN_CAPTION = 3
CHANGED = (
    "the shard has changed since `cocu index build`: put the old one back and run the same command again, "
    "or build a new index"
)


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
    `checksum` covers the pairs so far, as `checksum_of` gives it.
    """

    def __init__(self, shard: Shard, out: Path, options: CaptionOptions, caption_field: str | None = None) -> None:
        self.shard, self.out, self.options, self.caption_field = shard, out, options, caption_field
        self.checksum = 0
        self._stack = ExitStack()

    def __enter__(self) -> CuratedShard:
        with ExitStack() as stack:
            if self.shard.is_table:
                found = table_pairs(self.shard, self.options)
                self._rows = (item for item in found if not isinstance(item, Reject))
            else:
                self._tar = stack.enter_context(open_tar(self.shard.url, self.shard.size)).file
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
            write_end(self._target)
            self._target.flush()

    def write(self, pairs: Sequence[PairConcepts]) -> None:
        """Write pairs, the next ones in the order of the source. Raises CocuError when the source lacks one."""
        for pair in pairs:
            try:
                members = list(self._table_members(pair) if self.shard.is_table else self._tar_members(pair))
            except OSError as error:
                raise unreachable(self.shard.url, error) from error
            self._target.write(b"".join([*members, tar_member(f"{pair.key}.{CONCEPTS_FIELD}", pair.json())]))

    def check(self, expected: int | None) -> None:
        """Raises CocuError when the pairs written are not those of `expected`, a checksum; None: unknown."""
        if expected is not None and self.checksum != expected:
            raise CocuError(f"{self.shard.url}: other pictures or captions than the index was built from; {CHANGED}")

    def _tar_members(self, pair: PairConcepts) -> Iterator[bytes]:
        sample = next((s for s in self._samples if s.key == pair.key), None)
        if sample is None:
            raise self._missing(pair.key)
        self._tar.seek(sample.start)
        raw = memoryview(self._tar.read(sample.end - sample.start))

        def read(member: Member) -> bytes:
            at = member.offset - sample.start
            return bytes(raw[at : at + member.size])

        self.checksum = checksum_of(pair_checksum(sample, read), self.checksum)
        replaced = {CONCEPTS_FIELD, "json"} if self.caption_field else {CONCEPTS_FIELD}
        described: Any = {}
        if all(member.field not in replaced for member in sample.members):
            yield bytes(raw) + bytes(-len(raw) % BLOCK)  # the padding may have been cut off
        else:
            for member in sample.members:
                if member.field not in replaced:
                    part = raw[member.start - sample.start : member.offset + member.size - sample.start]
                    yield bytes(part) + bytes(-len(part) % BLOCK)
                elif member.field == "json":
                    described = _parsed(read(member))
        if self.caption_field:
            yield tar_member(f"{pair.key}.json", with_caption(described, self.caption_field, pair))

    def _table_members(self, pair: PairConcepts) -> Iterator[bytes]:
        found = next((item for item in self._rows if item[0].key == pair.key), None)
        if found is None:
            raise self._missing(pair.key)
        row, source = found
        self.checksum = checksum_of(source.checksum, self.checksum)
        yield tar_member(f"{pair.key}{row.suffix}", source.image)
        yield tar_member(f"{pair.key}.txt", pair.caption.encode())
        if self.caption_field:
            yield tar_member(f"{pair.key}.json", with_caption({}, self.caption_field, pair))

    def _missing(self, key: str) -> CocuError:
        return CocuError(f"{self.shard.url}: pair {key!r} is in the index but no longer in the shard; {CHANGED}")


def _parsed(data: bytes) -> Any:
    """JSON, or {} where it is broken: nobody can read it, and the caption needs a place."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return {}


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
    text = json.dumps(described, ensure_ascii=False)
    # Texts of the web hold halves of letters, which only JSON's own escapes can write.
    return text.encode() if is_utf8(text) else json.dumps(described).encode()


def tar_member(name: str, data: bytes) -> bytes:
    """One tar member: header, data, padding. Time and owner are zero: the same input gives the same bytes."""
    return b"".join((write_header(name, len(data)), data, bytes(-len(data) % BLOCK)))


def read_concepts(data: bytes) -> list[dict[str, Any]]:
    """Concepts of a `.concepts.json` member. Raises CocuError for another version."""
    described = json.load(io.BytesIO(data))
    if described.get("version") != CONCEPTS_VERSION:
        raise CocuError(f".concepts.json of version {described.get('version')}; this reads {CONCEPTS_VERSION}")
    return list(described["concepts"])
