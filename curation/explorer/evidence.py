"""Why a concept is there: the captions that were retrieved for a pair at its curation, and which of them name it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.curator import anchors_of
from curation.explorer.space import PairSpace
from curation.explorer.tables import read_rows
from curation.ranking.anchor import Anchors
from curation.ranking.expansion import expand, parse_expansion
from curation.ranking.options import PAPER_NEIGHBOURS

SHOWN = 3


@dataclass(frozen=True)
class NamingCaption:
    """A retrieved caption. pair: number of its pair, None where it has no picture here."""

    caption: str
    key: str
    pair: int | None


def witnesses(
    space: PairSpace, manifest: dict[str, Any], pair: int, concepts: Sequence[int]
) -> dict[int, list[NamingCaption]]:
    """Of each concept the first `SHOWN` retrieved captions that name it, those most like the pair first.

    manifest: the curation's. Raises CocuError for an index that is broken.
    """
    anchor = _anchor(space, pair)
    names = parse_expansion(manifest["parameters"]["expansion"])
    fitted = manifest.get("support", {}).get("neighbours")
    neighbours = fitted or manifest["parameters"]["neighbours"] or PAPER_NEIGHBOURS
    index = space.index
    retrieved = expand(anchor, names, neighbours, index.images, index.captions, index.rows).rows[0]
    chosen: dict[int, list[int]] = {concept: [] for concept in concepts}
    for row in retrieved[retrieved >= 0].tolist():
        for concept in index.rows.concept_ids[index.rows.offsets[row] : index.rows.offsets[row + 1]].tolist():
            if concept in chosen and len(chosen[concept]) < SHOWN:
                chosen[concept].append(row)
    said = _captions(space, sorted({row for rows in chosen.values() for row in rows}))
    return {concept: [said[row] for row in rows] for concept, rows in chosen.items()}


def _anchor(space: PairSpace, pair: int) -> Anchors:
    row, rows = space.row(pair), space.index.rows
    if row < 0:
        return anchors_of(space.embedded(pair), -1, space.index)
    one, named = slice(row, row + 1), slice(rows.offsets[row], rows.offsets[row + 1])
    return Anchors(
        np.asarray(rows.image_vectors[one], np.float32),
        np.asarray(rows.text_vectors[one], np.float32),
        np.array([row]),
        np.asarray(rows.text_hash[one]),
        np.asarray(rows.image_hash[one]),
        np.asarray(rows.concept_ids[named]),
        np.array([named.stop - named.start]),
        None if rows.sketch is None else np.asarray(rows.sketch[one]),
    )


def _captions(space: PairSpace, rows: Sequence[int]) -> dict[int, NamingCaption]:
    manifest = space.index.manifest
    starts = np.cumsum([0, *(manifest["shards"][name]["pairs"] for name in manifest["order"])])
    shard_of = (np.searchsorted(starts, rows, "right") - 1).tolist()
    found: dict[int, NamingCaption] = {}
    for shard in sorted(set(shard_of)):
        these = [row for row, at in zip(rows, shard_of, strict=True) if at == shard]
        path = space.index.path / "embeddings" / f"{manifest['order'][shard]}.parquet"
        table = read_rows(path, [row - int(starts[shard]) for row in these], ("key", "caption"))
        for row, said in zip(these, table.to_pylist(), strict=True):
            found[row] = NamingCaption(said["caption"], said["key"], space.pair(row))
    return found
