"""The captions that were retrieved for a pair at its curation, and which of them name a concept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation.index.opened import Index
from curation.ranking.anchor import Anchors
from curation.ranking.expansion import expand, parse_expansion
from curation.ranking.options import PAPER_NEIGHBOURS
from curation.runs.manifest import broken_manifest, read_manifest
from files.shapes import ShapeFault, check_shape, count

_SHAPE = {"parameters": {"expansion": str, "neighbours": count}, "support?": {"neighbours?": (None, count)}}


@dataclass(frozen=True)
class HowRetrieved:
    """By which expansions, and how many captions by each."""

    expansions: tuple[str, ...]
    neighbours: int


def how_retrieved(curated: Path) -> HowRetrieved:
    """As the manifest of a curation says. Raises CocuError for one that is broken."""
    manifest = read_manifest(curated, "curated")
    try:
        check_shape(manifest, _SHAPE)
    except ShapeFault as fault:
        raise broken_manifest(curated / "manifest.json", str(fault)) from None
    made, fitted = manifest["parameters"], manifest.get("support", {}).get("neighbours")
    return HowRetrieved(parse_expansion(made["expansion"]), fitted or made["neighbours"] or PAPER_NEIGHBOURS)


def witnesses(
    index: Index, how: HowRetrieved, anchors: Anchors, wanted: Sequence[Collection[int]], most: int
) -> list[dict[int, list[int]]]:
    """Of each anchor, by its wanted concepts, rows of the first `most` different retrieved captions that name one.

    Those most like the anchor come first. Raises CocuError for an index that is broken.
    """
    neighbours = min(how.neighbours, len(index.rows))
    retrieved = expand(anchors, how.expansions, neighbours, index.images, index.captions, index.rows).rows
    return [_naming(index, rows, concepts, most) for rows, concepts in zip(retrieved, wanted, strict=True)]


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
