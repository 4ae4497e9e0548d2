"""`cocu index search`: the captions nearest to a text or a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from curation.index.opened import Index, open_encoder, open_index
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


def nearest_captions(path: Path, text: str | None, image: Path | None, k: int, device: str = "auto") -> list[Neighbour]:
    """The k captions most similar to a text, or to a picture if `text` is None, best first.

    Raises MisuseError for an unreadable picture, or when the index was built with another model.
    """
    if text is None:
        assert image is not None
        try:
            picture = image.read_bytes()
        except OSError as error:
            raise MisuseError(f"--image {image}: {error.strerror or error}") from error
    index = open_index(path)
    encoder = open_encoder(index, device)
    if text is not None:
        query = encoder.encode_texts([text])
    else:
        ((_, found),) = encoder.encode_pictures([(str(image), picture)])
        if isinstance(found, BadPicture):
            raise MisuseError(f"--image {image}: {found}")
        query = found[None]
    similarity, rows = index.captions.search(query, k)
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
        for row, at in zip(rows, shard_of, strict=True):
            if at == shard:
                place = row - int(starts[shard])
                found[row] = (name, table["key"][place].as_py(), table["caption"][place].as_py())
    return found
