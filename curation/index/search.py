"""`cocu index search`: the captions nearest to a text or a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from curation.encoding.encoder import Encoder
from curation.index.opened import Index
from curation.runs.parquet_parts import reading
from files.errors import MisuseError
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
    """(shard, key, caption) of index rows, each shard read at most once."""
    order = index.manifest["order"]
    starts = np.concatenate([[0], np.cumsum([index.manifest["shards"][name]["pairs"] for name in order])])
    shard_of = np.searchsorted(starts, rows, side="right") - 1
    found: dict[int, tuple[str, str, str]] = {}
    for shard in sorted(set(shard_of.tolist())):
        name = order[shard]
        path = index.path / "embeddings" / f"{name}.parquet"
        with reading(path):
            table = pq.read_table(path, columns=["key", "caption"])
            table.validate(full=True)
            if len(table) != starts[shard + 1] - starts[shard]:
                raise ValueError(f"it holds {len(table):,} captions, the index {starts[shard + 1] - starts[shard]:,}")
        for row, at in zip(rows, shard_of, strict=True):
            if at == shard:
                place = row - int(starts[shard])
                found[row] = (name, table["key"][place].as_py(), table["caption"][place].as_py())
    return found
