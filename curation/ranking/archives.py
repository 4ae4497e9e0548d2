"""Archives: the concepts that an anchor's retrieved captions name, and its own (PAPER, step 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.index.caption_rows import CaptionRows, pair_similarity
from curation.ranking.anchor import Anchors
from curation.ranking.expansion import Retrieved

# A vocabulary holds fewer concepts than 2 to this.
CONCEPT_BITS = 26


@dataclass(frozen=True)
class Archives:
    """A(x) of B anchors, P (anchor, concept) entries sorted by anchor, then concept.

    offsets int64 [B+1]: entries of each anchor. anchor int64 [P], concept int32 [P].
    similarity float32 [P]: t(c)·v(x). support int32 [P]: |R(c)|, retrieved captions that name c.
    similarity_sum, similarity_max float32 [P]: sum and maximum over R(c) of t(c)·v(y), or of t(c)·u(y) with the
    caption's own vector where it has no picture, each no less than 0 (0 and -inf where R(c) is empty).
    in_caption bool [P].
    retrieved int64 [B]: how many captions were retrieved for each anchor.
    """

    offsets: np.ndarray
    anchor: np.ndarray
    concept: np.ndarray
    similarity: np.ndarray
    support: np.ndarray
    similarity_sum: np.ndarray
    similarity_max: np.ndarray
    in_caption: np.ndarray
    retrieved: np.ndarray


def gather(anchors: Anchors, retrieved: Retrieved, rows: CaptionRows, concepts: np.ndarray) -> Archives:
    """Archives of a block of anchors. concepts: t(c), unit rows float32 [C, D].

    The concepts of the anchor's own caption are always in its archive, retrieved or not.
    """
    # Mentions: one per (retrieved caption, concept), then one per (anchor, concept of its own caption).
    valid = retrieved.rows >= 0
    row = retrieved.rows[valid]
    start = rows.offsets[row]
    lengths = rows.offsets[row + 1] - start
    ends = np.cumsum(lengths)
    where = np.arange(ends[-1] if len(ends) else 0) + np.repeat(start - ends + lengths, lengths)
    anchor_bits = np.arange(len(anchors)) << CONCEPT_BITS
    key = np.concatenate(
        [
            np.repeat(np.repeat(anchor_bits, valid.sum(1)), lengths) + rows.concept_ids[where],
            np.repeat(anchor_bits, anchors.concept_counts) + anchors.concept_ids,
        ]
    )
    order = np.argsort(key, kind="stable")  # quick, for the keys come by anchor already
    key = key[order]

    # Entries: runs of mentions with one key. An own mention is the last of its run.
    opens = np.ones(len(key), bool)
    np.not_equal(key[1:], key[:-1], out=opens[1:])
    first = np.flatnonzero(opens)
    ends = np.append(first[1:], len(key))[: len(first)]
    anchor, concept = key[first] >> CONCEPT_BITS, (key[first] & ((1 << CONCEPT_BITS) - 1)).astype(np.int32)
    similarity = pair_similarity(concepts, concept, anchors.image_vectors, anchor)
    in_caption = order[ends - 1] >= len(where)
    support = (ends - first - in_caption).astype(np.int32)

    def per_mention(values: np.ndarray, own: float) -> np.ndarray:
        return np.concatenate([values, np.full(len(anchors.concept_ids), own, values.dtype)])[order]

    to_retrieved = np.maximum(rows.similarity[where], 0)
    highest = _over_runs(np.maximum, per_mention(to_retrieved, -np.inf), first)
    summed = _over_runs(np.add, per_mention(to_retrieved, 0), first)
    if retrieved.counts_anchor.any():  # there y is the anchor itself
        own = in_caption & retrieved.counts_anchor[anchor]
        fits = np.maximum(similarity, 0)
        support, summed = support + own, summed + np.where(own, fits, np.float32(0))
        highest = np.where(own, np.maximum(highest, fits), highest)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(anchor, minlength=len(anchors)))])
    retrieved_count = valid.sum(1) + retrieved.counts_anchor
    return Archives(offsets, anchor, concept, similarity, support, summed, highest, in_caption, retrieved_count)


def with_concepts(
    archives: Archives, anchors: Anchors, concepts: np.ndarray, anchor: np.ndarray, concept: np.ndarray
) -> Archives:
    """Archives and, where they are not in them, more entries, which no retrieved caption names.

    anchor int64 [N], concept int32 [N]: the entries, ascending, none twice. concepts: t(c), float32 [C, D].
    """
    new = (anchor << CONCEPT_BITS) + concept
    known = (archives.anchor << CONCEPT_BITS) + archives.concept
    where = np.searchsorted(known, new)
    absent = np.append(known, -1)[where] != new
    if not absent.any():
        return archives
    anchor, concept, where = anchor[absent], concept[absent].astype(np.int32), where[absent]
    similarity = pair_similarity(concepts, concept, anchors.image_vectors, anchor)

    def joined(old: np.ndarray, values: np.ndarray | float) -> np.ndarray:
        return np.insert(old, where, values)

    return Archives(
        archives.offsets + np.concatenate([[0], np.cumsum(np.bincount(anchor, minlength=len(anchors)))]),
        joined(archives.anchor, anchor),
        joined(archives.concept, concept),
        joined(archives.similarity, similarity),
        joined(archives.support, 0),
        joined(archives.similarity_sum, 0.0),
        joined(archives.similarity_max, -np.inf),
        joined(archives.in_caption, False),
        archives.retrieved,
    )


def _over_runs(operation: np.ufunc, values: np.ndarray, first: np.ndarray) -> np.ndarray:
    return operation.reduceat(values, first) if len(first) else values[:0]
