"""What a curated Parquet shard notes of itself in its metadata: how its rows are read as the pairs that were curated.

The note is the file's, not the schema's: who writes some of its rows anew writes none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from files.shapes import ShapeFault, check_shape, count

NOTE = b"cocu.shard"
_SHAPE = {"image": str, "caption": str, "rows": count, "pairs": count, "tar_bytes": count, "keys": {str: str}}


@dataclass(frozen=True)
class ShardNote:
    """image, caption: names of columns. rows, pairs: how many; tar_bytes: of a curated tar of the same pairs.

    keys: of pairs of which the rows tell another key, or not where they begin, by the number of their first row.
    """

    image: str
    caption: str
    rows: int
    pairs: int
    tar_bytes: int
    keys: Mapping[str, str] = field(default_factory=dict)

    def metadata(self) -> dict[bytes, bytes]:
        """As it stands in a file."""
        return {NOTE: json.dumps(asdict(self)).encode()}


def read_note(metadata: Mapping[bytes, bytes] | None, rows: int) -> ShardNote | None:
    """The note of a file of so many rows; None where it has none that can be read, or is of others."""
    try:
        noted = json.loads((metadata or {})[NOTE])
        check_shape(noted, _SHAPE)
        note = ShardNote(**{name: noted[name] for name in _SHAPE})
        return note if note.rows == rows else None
    except (KeyError, ValueError, RecursionError, ShapeFault):
        return None
