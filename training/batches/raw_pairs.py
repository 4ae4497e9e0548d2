"""A sample of a shard -> its picture's bytes, caption and concepts, or why it cannot be trained on."""

from __future__ import annotations

from dataclasses import dataclass

from files.concepts_json import CONCEPTS_FIELD
from files.pictures import FIELDS
from training.batches import concepts
from training.batches.concepts import ConceptArchive
from training.shards.tar_index import read_members

IMAGE_FIELDS = FIELDS


CAPTION_FIELDS = ("txt", "text", "caption")


NO_CONCEPTS = "none"


MODES = (NO_CONCEPTS, *concepts.MODES)


MAX_SAMPLE_BYTES = 256 << 20


class BadPair(Exception):
    """A pair that cannot be used; the message says why."""


@dataclass(frozen=True)
class RawPair:
    """A pair as it lies in the shard. archive: None where no concepts are asked for."""

    image: memoryview
    caption: str
    archive: ConceptArchive | None


def with_concepts(key: str, members: dict[str, memoryview], beside: bytes | str) -> dict[str, memoryview]:
    """The members of a sample and what lies beside it: its concepts, and its caption if it has none. Raises BadPair.

    beside: the bytes of a sample, or why they cannot be read.
    """
    if isinstance(beside, str):
        raise BadPair(f"its concepts: {beside}")
    theirs, added = read_members(beside)
    if theirs != key:
        raise BadPair(f"its concepts are those of {theirs}: the sidecar has changed since the run began")
    return {**added, **members, CONCEPTS_FIELD: added[CONCEPTS_FIELD]} if CONCEPTS_FIELD in added else members


def read_pair(members: dict[str, memoryview], mode: str) -> RawPair:
    """The picture, caption and concepts among the members of a sample. Raises BadPair."""
    image = next((members[name] for name in IMAGE_FIELDS if name in members), None)
    if image is None:
        raise BadPair("no image")
    text = next((members[name] for name in CAPTION_FIELDS if name in members), None)
    if text is None:
        raise BadPair("no caption")
    try:
        caption = str(text, "utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadPair("caption is not UTF-8") from error
    if not caption:
        raise BadPair("empty caption")
    if mode == NO_CONCEPTS:
        return RawPair(image, caption, None)
    described = members.get(CONCEPTS_FIELD)
    if described is None:
        raise BadPair(f"no .{CONCEPTS_FIELD}")
    try:
        archive = concepts.parse_concepts(bytes(described))
    except ValueError as error:
        raise BadPair(f"broken .{CONCEPTS_FIELD}: {error}") from error
    if mode == "curated-cluster" and archive.clusters is None:
        raise BadPair(f".{CONCEPTS_FIELD} without clusters")
    return RawPair(image, caption, archive)
