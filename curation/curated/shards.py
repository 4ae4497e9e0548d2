"""Curated shards: the members of every pair byte for byte as they were, and `.concepts.json` beside them.

A pair whose caption lay elsewhere, in its `.json` or in a table beside the shard, gets it as `.txt`, for that is where
trainers look.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from curation.reading.formats import Original
from curation.reading.pairs import CAPTION_FIELDS, IMAGE_FIELDS, CaptionOptions, checksum_of
from curation.reading.shards import Shard
from files.addresses import unreachable
from files.atomic import atomic
from files.errors import CocuError
from files.rejects import is_utf8
from files.tar_headers import tar_member, write_end

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
    concepts: Sequence[tuple[str, float, int, bool, float | None]]  # concept, score, cluster, in_caption, confidence
    regions: Sequence[Mapping[str, Any]] = ()  # of each, where it shows: box, area, peak

    def json(self) -> bytes:
        """The `.concepts.json` member (DESIGN, "Files"); the confidence stands where it is known."""
        listed: list[dict[str, Any]] = [
            {"concept": concept, "score": score, "cluster": cluster, "in_caption": in_caption}
            | ({"confidence": confidence} if confidence is not None else {})
            for concept, score, cluster, in_caption, confidence in self.concepts
        ]
        for one, region in zip(listed, self.regions, strict=False):
            one.update(region)
        return json.dumps({"version": CONCEPTS_VERSION, "concepts": listed}, ensure_ascii=False).encode()

    def enriched_caption(self) -> str:
        """ "{caption}, with {c1}, {c2} and {c3}": its best recovered concepts; the caption alone if there are none."""
        recovered = [concept for concept, _, _, in_caption, _ in self.concepts if not in_caption][:CONCEPTS_IN_CAPTION]
        if not recovered:
            return self.caption
        listed = " and ".join(filter(None, [", ".join(recovered[:-1]), recovered[-1]]))
        return f"{self.caption.rstrip(' .!?,;')}, with {listed}"


class CuratedShard:
    """Writes one curated shard beside the reading of its source. A context manager; the file appears when it ends well.

    Pairs are given in the order of the source; samples between them (rejects of the index) are left out.
    `checksum` covers the pairs so far, as `checksum_of` gives it; `unenriched` counts those whose `.json` had no place
    for the enriched caption.
    """

    def __init__(self, shard: Shard, out: Path, options: CaptionOptions, caption_field: str | None = None) -> None:
        self.shard, self.out, self.options, self.caption_field = shard, out, options, caption_field
        self.checksum = self.unenriched = 0
        self._stack = ExitStack()

    def __enter__(self) -> CuratedShard:
        with ExitStack() as stack:
            self._originals = stack.enter_context(self.shard.reader.originals(self.options))
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

    def write(self, pairs: Sequence[PairConcepts], originals: Sequence[Original] | None = None) -> None:
        """Write pairs, whose originals are given or the next ones. Raises CocuError when the source lacks one."""
        for i, pair in enumerate(pairs):
            try:
                members = self._copied(pair, originals[i] if originals is not None else self.original(pair.key))
            except OSError as error:
                raise unreachable(self.shard.url, error) from error
            self._target.write(b"".join([*members, tar_member(f"{pair.key}.{CONCEPTS_FIELD}", pair.json())]))

    def check(self, expected: int | None) -> None:
        """Raises CocuError when the pairs written are not those of `expected`, a checksum; None: unknown."""
        if expected is not None and self.checksum != expected:
            raise CocuError(f"{self.shard.url}: other pictures or captions than the index was built from; {CHANGED}")

    def original(self, key: str) -> Original:
        """What the source holds of a pair, the next one of this key. Raises CocuError when there is none."""
        original = next((one for one in self._originals if one.key == key), None)
        if original is None:
            raise CocuError(f"{self.shard.url}: pair {key!r} is in the index but no longer in the shard; {CHANGED}")
        return original

    def with_pictures(self, keys: Sequence[str]) -> tuple[list[Original], list[bytes]]:
        """The originals of these pairs and their encoded pictures, all read: another thread may write them."""
        try:
            originals = [self.original(key) for key in keys]
            return originals, [one.data(*IMAGE_FIELDS) or b"" for one in originals]
        except OSError as error:
            raise unreachable(self.shard.url, error) from error

    def _copied(self, pair: PairConcepts, original: Original) -> list[bytes]:
        self.checksum = checksum_of(original.checksum, self.checksum)
        own: list[bytes] = []
        if all(original.data(field) is None for field in CAPTION_FIELDS):  # its caption lay elsewhere
            own.append(tar_member(f"{pair.key}.{CAPTION_FIELDS[0]}", pair.caption.encode()))
        if not self.caption_field:
            return [original.parts({CONCEPTS_FIELD}), *own]
        described = _parsed(original.data("json") or b"{}")
        enriched = with_caption(described, self.caption_field, pair)
        if enriched is None:
            self.unenriched += 1
            return [original.parts({CONCEPTS_FIELD}), *own]
        return [original.parts({CONCEPTS_FIELD, "json"}), *own, tar_member(f"{pair.key}.json", enriched)]


def _parsed(data: bytes) -> Any:
    """JSON, or {} where it is broken: nobody can read it, and the caption needs a place."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return {}


def with_caption(described: Any, field: str, pair: PairConcepts) -> bytes | None:
    """A `.json` member with the enriched caption at a dotted path; objects on the path are made as needed.

    What stands at the path itself is replaced; None where a value on the way to it, that is no object, would be lost.
    """
    if not isinstance(described, dict):
        described = {"value": described}
    place = described
    *folders, last = field.split(".")
    for name in folders:
        if place.get(name) is None:
            place[name] = {}
        place = place[name]
        if not isinstance(place, dict):
            return None
    place[last] = pair.enriched_caption()
    text = json.dumps(described, ensure_ascii=False)
    # Texts of the web hold halves of letters, which only JSON's own escapes can write.
    return text.encode() if is_utf8(text) else json.dumps(described).encode()


def read_concepts(data: bytes) -> list[dict[str, Any]]:
    """Concepts of a `.concepts.json` member. Raises CocuError for another version."""
    described = json.load(io.BytesIO(data))
    if described.get("version") != CONCEPTS_VERSION:
        raise CocuError(f".concepts.json of version {described.get('version')}; this reads {CONCEPTS_VERSION}")
    return list(described["concepts"])
