"""`cocu index search`: the captions nearest to a text or a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.encoding.encoder import Encoder
from curation.index.opened import Index
from curation.runs.parquet_parts import count_rows
from curation.runs.rows import read_rows
from files.errors import CocuError, MisuseError
from files.pictures import BadPicture


@dataclass(frozen=True)
class Neighbour:
    """One indexed caption and its similarity to the query."""

    similarity: float
    shard: str
    key: str
    caption: str


def nearest_captions(index: Index, encoder: Encoder, query: str | Path, k: int) -> list[Neighbour]:
    """The k captions most similar to a text, or to the picture in a file if `query` is a Path, best first.

    encoder: the index's own (`open_encoder`). Raises MisuseError for a picture that cannot be read.
    """
    if isinstance(query, str):
        vectors = encoder.encode_texts([query])
    else:
        try:
            picture = query.read_bytes()
        except OSError as error:
            raise MisuseError(f"--image {query}: {error.strerror or error}") from error
        ((_, found),) = encoder.encode_pictures([(str(query), picture)])
        if isinstance(found, BadPicture):
            raise MisuseError(f"--image {query}: {found}")
        vectors = found[None]
    similarity, rows = index.captions.search(vectors, k)
    wanted = [(float(s), int(row)) for s, row in zip(similarity[0], rows[0], strict=True) if row >= 0]
    captions = read_captions(index, [row for _, row in wanted])
    return [Neighbour(s, *captions[row]) for s, row in wanted]


def read_captions(index: Index, rows: list[int]) -> dict[int, tuple[str, str, str]]:
    """(shard, key, caption) of index rows; of each shard only what holds them is read. Raises CocuError."""
    order = index.manifest["order"]
    starts = np.concatenate([[0], np.cumsum([index.manifest["shards"][name]["pairs"] for name in order])])
    by_shard: dict[int, list[int]] = {}
    for row, shard in zip(rows, (np.searchsorted(starts, rows, side="right") - 1).tolist(), strict=True):
        by_shard.setdefault(shard, []).append(row)
    found: dict[int, tuple[str, str, str]] = {}
    for shard, these in by_shard.items():
        name, first, pairs = order[shard], int(starts[shard]), int(starts[shard + 1] - starts[shard])
        path = index.path / "embeddings" / f"{name}.parquet"
        if (held := count_rows(path)) != pairs:
            raise CocuError(f"{path}: it holds {held:,} captions, the index {pairs:,}; build the index again")
        said = read_rows(path, [row - first for row in these], ("key", "caption")).to_pylist()
        found |= {row: (name, one["key"], one["caption"]) for row, one in zip(these, said, strict=True)}
    return found
