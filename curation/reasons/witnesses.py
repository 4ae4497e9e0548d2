"""The captions that were retrieved for a pair at its curation, and which of them name a concept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.curated.rows import read_rows
from curation.index.opened import Index
from curation.ranking.anchor import Anchors
from curation.ranking.expansion import expand, parse_expansion
from curation.ranking.options import PAPER_NEIGHBOURS
from curation.reasons.made_from import shard_starts


@dataclass(frozen=True)
class NamingCaption:
    """A retrieved caption; row: its own in the index."""

    caption: str
    key: str
    row: int


Witnesses = dict[int, list[NamingCaption]]  # by the number of a concept


def witnesses(
    index: Index, manifest: dict[str, Any], anchors: Anchors, wanted: Sequence[Collection[int]], most: int
) -> list[Witnesses]:
    """Of each anchor, by its wanted concepts, the first `most` different retrieved captions that name one.

    Those most like the anchor come first. manifest: the curation's. Raises CocuError for an index that is broken.
    """
    names = parse_expansion(manifest["parameters"]["expansion"])
    fitted = manifest.get("support", {}).get("neighbours")
    neighbours = fitted or manifest["parameters"]["neighbours"] or PAPER_NEIGHBOURS
    retrieved = expand(anchors, names, neighbours, index.images, index.captions, index.rows).rows
    chosen = [_naming(index, rows, concepts, most) for rows, concepts in zip(retrieved, wanted, strict=True)]
    said = _captions(index, sorted({row for one in chosen for rows in one.values() for row in rows}))
    return [{concept: [said[row] for row in rows] for concept, rows in one.items()} for one in chosen]


def _naming(index: Index, retrieved: np.ndarray, concepts: Collection[int], most: int) -> dict[int, list[int]]:
    """Rows by concept; a caption of the same words is no further witness."""
    chosen: dict[int, list[int]] = {concept: [] for concept in concepts}
    offsets, named, words = index.rows.offsets, index.rows.concept_ids, index.rows.text_hash
    for row in retrieved[retrieved >= 0].tolist():
        for concept in named[offsets[row] : offsets[row + 1]].tolist():
            rows = chosen.get(concept)
            if rows is not None and len(rows) < most and words[row] not in words[rows]:
                rows.append(row)
    return chosen


def _captions(index: Index, rows: Sequence[int]) -> dict[int, NamingCaption]:
    starts = shard_starts(index.manifest)
    names, firsts = list(starts), np.array([*starts.values()], np.int64)
    by_shard: dict[int, list[int]] = {}
    for row, shard in zip(rows, (np.searchsorted(firsts, rows, "right") - 1).tolist(), strict=True):
        by_shard.setdefault(shard, []).append(row)
    found: dict[int, NamingCaption] = {}
    for shard, these in by_shard.items():
        path = index.path / "embeddings" / f"{names[shard]}.parquet"
        table = read_rows(path, [row - int(firsts[shard]) for row in these], ("key", "caption"))
        for row, said in zip(these, table.to_pylist(), strict=True):
            found[row] = NamingCaption(said["caption"], said["key"], row)
    return found
