"""What a curated Parquet shard notes of itself in its metadata: where its pairs lie, and how long their tar would be.

The note is the file's, not the schema's: who writes some of its rows anew writes none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from files.shapes import ShapeFault, check_shape, count

NOTE = b"cocu.shard"
_SHAPE = {"image": str, "caption": str, "rows": count, "pairs": count, "tar_bytes": count}


@dataclass(frozen=True)
class ShardNote:
    """image, caption: names of columns. rows, pairs: how many; tar_bytes: of a curated tar of the same pairs."""

    image: str
    caption: str
    rows: int
    pairs: int
    tar_bytes: int

    def metadata(self) -> dict[bytes, bytes]:
        """As it stands in a file."""
        return {NOTE: json.dumps(asdict(self)).encode()}


def read_note(metadata: Mapping[bytes, bytes] | None) -> ShardNote | None:
    """The note of a file; None where it has none that can be read."""
    try:
        noted = json.loads((metadata or {})[NOTE])
        check_shape(noted, _SHAPE)
        return ShardNote(**{name: noted[name] for name in _SHAPE})
    except (KeyError, ValueError, RecursionError, ShapeFault):
        return None
