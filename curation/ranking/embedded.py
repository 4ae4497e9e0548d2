"""Anchors of what is embedded already: pairs of the index by their rows, others by the batch that was embedded."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from curation.index.caption_rows import concept_ids_of
from curation.index.identity import picture_hashes, sketches, text_hashes
from curation.index.opened import Index
from curation.ranking.anchor import Anchors
from curation.runs.parquet_parts import arrow_to_vectors
from files.npy import wide_rows


def anchors_of(batch: pa.RecordBatch, first_row: int, index: Index) -> Anchors:
    """The pairs of an embeddings batch as anchors; first_row: their first row in the index, -1 for none.

    Of the index's own pairs the vectors are those of its rows, and the batch needs none.
    """
    ids, counts = concept_ids_of(batch["concepts"], index.vocabulary)
    inside = first_row >= 0
    part = slice(first_row, first_row + len(batch))
    rows = index.rows
    captions = [] if inside else batch["caption"].to_pylist()
    sketch = sketches(captions) if not inside else rows.sketch[part] if rows.sketch is not None else None
    return Anchors(
        wide_rows(rows.image_vectors, part) if inside else arrow_to_vectors(batch["image_vec"]).astype(np.float32),
        wide_rows(rows.text_vectors, part) if inside else arrow_to_vectors(batch["text_vec"]).astype(np.float32),
        np.arange(first_row, first_row + len(batch)) if inside else np.full(len(batch), -1),
        rows.text_hash[part] if inside else text_hashes(captions),
        rows.image_hash[part] if inside else picture_hashes(batch["image"].to_pylist()),
        ids,
        counts,
        sketch,
    )


def indexed_anchors(which: np.ndarray, index: Index) -> Anchors:
    """The pairs of these rows of the index, int64 [B], as anchors."""
    rows = index.rows
    named = [rows.concept_ids[rows.offsets[row] : rows.offsets[row + 1]] for row in which.tolist()]
    return Anchors(
        wide_rows(rows.image_vectors, which),
        wide_rows(rows.text_vectors, which),
        which,
        np.asarray(rows.text_hash[which]),
        np.asarray(rows.image_hash[which]),
        np.concatenate([rows.concept_ids[:0], *named]),
        np.array([len(one) for one in named], np.int64),
        None if rows.sketch is None else np.asarray(rows.sketch[which]),
    )
