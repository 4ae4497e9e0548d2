"""Expansion and archives: the captions retrieved for an anchor, and the concepts that they name (PAPER, step 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation.errors import MisuseError
from curation.neighbours import NearestRows
from curation.rows import CaptionRows, pair_similarity

EXPANSIONS = ("image", "caption", "language", "mixed")
# Retrieved beyond L, so that L are left when the anchor's own captions are taken out.
OWN_MARGIN = 16


@dataclass(frozen=True)
class Anchors:
    """B pairs to curate.

    image_vectors, text_vectors: unit rows float32 [B, D].
    rows int64 [B]: their row in the index, -1 for anchors from elsewhere.
    text_hash, image_hash uint64 [B]: as in `CaptionRows`.
    concept_ids int32 [nnz], concept_counts int64 [B]: what the own captions name.
    """

    image_vectors: np.ndarray
    text_vectors: np.ndarray
    rows: np.ndarray
    text_hash: np.ndarray
    image_hash: np.ndarray
    concept_ids: np.ndarray
    concept_counts: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Retrieved:
    """Rows int64 [B, L] retrieved for B anchors, -1 where there are fewer, and their similarities float32 [B, L].

    counts_anchor bool [B]: whether the anchor's own caption counts as retrieved though it is not in `rows` (the
    paper's expansion has the anchor among its neighbours; an anchor from outside the index has to be added).
    """

    rows: np.ndarray
    similarity: np.ndarray
    counts_anchor: np.ndarray


@dataclass(frozen=True)
class Archives:
    """A(x) of B anchors, P (anchor, concept) entries sorted by anchor, then concept.

    offsets int64 [B+1]: entries of each anchor. anchor int64 [P], concept int32 [P].
    similarity float32 [P]: t(c)·v(x). support int32 [P]: |R(c)|, retrieved captions that name c.
    pictured int32 [P], similarity_sum, similarity_max float32 [P]: number, sum and maximum of t(c)·v(y) over those of
    R(c) that have a picture (sum 0 and max -inf where none has).
    weight float32 [P]: sum of the retrieval similarities of R(c). in_caption bool [P].
    """

    offsets: np.ndarray
    anchor: np.ndarray
    concept: np.ndarray
    similarity: np.ndarray
    support: np.ndarray
    pictured: np.ndarray
    similarity_sum: np.ndarray
    similarity_max: np.ndarray
    weight: np.ndarray
    in_caption: np.ndarray


def parse_expansion(text: str) -> tuple[str, ...]:
    """ "image+mixed" -> ("image", "mixed"). Raises MisuseError for an unknown or repeated one."""
    names = tuple(part.strip() for part in text.split("+"))
    unknown = [name for name in names if name not in EXPANSIONS]
    if unknown or len(set(names)) < len(names):
        wrong = unknown[0] if unknown else text
        raise MisuseError(f"--expansion {wrong}: expected {', '.join(EXPANSIONS)}, or different ones joined by '+'")
    return names


def expand(
    anchors: Anchors,
    expansions: Sequence[str],
    neighbours: int,
    images: NearestRows | None,
    captions: NearestRows,
    rows: CaptionRows,
) -> Retrieved:
    """Rows retrieved by each expansion, joined; a row that two expansions find counts once.

    `image` keeps the anchor among its L neighbours, as the paper does; the others leave out every caption of the
    anchor's own (same row, same picture, or same words). Raises MisuseError for `image` without an image index.
    """
    found = [_expand_one(anchors, name, neighbours, images, captions, rows) for name in expansions]
    joined = np.concatenate([f.rows for f in found], axis=1)
    similarity = np.concatenate([f.similarity for f in found], axis=1)
    if len(found) > 1:
        order = np.argsort(joined, axis=1, kind="stable")
        ordered = np.take_along_axis(joined, order, 1)
        again = np.zeros(joined.shape, bool)
        np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], 1)
        joined = np.where(again, -1, joined)
    return Retrieved(joined, similarity, np.any([f.counts_anchor for f in found], axis=0))


def _expand_one(
    anchors: Anchors,
    expansion: str,
    neighbours: int,
    images: NearestRows | None,
    captions: NearestRows,
    rows: CaptionRows,
) -> Retrieved:
    outside = anchors.rows < 0
    if expansion == "image":
        if images is None:
            raise MisuseError("--expansion image: the index holds no pictures")
        similarity, found = images.search(anchors.image_vectors, neighbours)
        if outside.any():  # the anchor itself takes the place of the last
            found = np.where(outside[:, None] & (np.arange(neighbours) == neighbours - 1), -1, found)
        return Retrieved(found, similarity, outside)
    queries = {
        "caption": anchors.image_vectors,
        "language": anchors.text_vectors,
        "mixed": anchors.image_vectors + anchors.text_vectors,
    }[expansion]
    if expansion == "mixed":
        queries = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-12)
    similarity, found = captions.search(queries, neighbours + OWN_MARGIN)
    own = is_own(anchors, found, rows)
    # The first L that are not the anchor's own: sorting by "own" moves those to the end and keeps the order.
    order = np.argsort(own | (found < 0), axis=1, kind="stable")[:, :neighbours]
    found = np.take_along_axis(np.where(own, -1, found), order, 1)
    return Retrieved(found, np.take_along_axis(similarity, order, 1), np.zeros(len(anchors), bool))


def is_own(anchors: Anchors, found: np.ndarray, rows: CaptionRows) -> np.ndarray:
    """bool [B, L]: whether a retrieved row [B, L] is the anchor's own caption, or another of its picture."""
    safe = np.maximum(found, 0)
    same_text = rows.text_hash[safe] == anchors.text_hash[:, None]
    image = anchors.image_hash[:, None]
    same_image = (rows.image_hash[safe] == image) & (image != 0)
    return (found == anchors.rows[:, None]) | same_text | same_image


def gather(anchors: Anchors, retrieved: Retrieved, rows: CaptionRows, concepts: np.ndarray) -> Archives:
    """Archives of a block of anchors. concepts: t(c), unit rows float32 [C, D].

    The concepts of the anchor's own caption are always in its archive, retrieved or not.
    """
    owner, slot = np.nonzero(retrieved.rows >= 0)
    row = retrieved.rows[owner, slot]
    start = rows.offsets[row]
    lengths = rows.offsets[row + 1] - start
    where = np.repeat(start - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
    own_anchor = np.repeat(np.arange(len(anchors)), anchors.concept_counts)

    # Entries: one per (retrieved caption, concept), then one per (anchor, concept of its own caption).
    anchor = np.concatenate([np.repeat(owner, lengths), own_anchor])
    concept = np.concatenate([rows.concept_ids[where], anchors.concept_ids])
    order = np.argsort(anchor * len(concepts) + concept, kind="stable")
    key = (anchor * len(concepts) + concept)[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.zeros(0, np.int64)
    anchor, concept = anchor[order][first], concept[order][first].astype(np.int32)
    similarity = pair_similarity(concepts, concept, anchors.image_vectors, anchor)

    total, own_total = len(where), len(own_anchor)
    is_own_entry = np.repeat([False, True], [total, own_total])[order]
    counted = np.concatenate([np.ones(total, bool), retrieved.counts_anchor[own_anchor]])[order]
    to_picture = np.concatenate([rows.similarity[where], np.full(own_total, np.nan, np.float32)])[order]
    weights = np.repeat(retrieved.similarity[owner, slot], lengths)
    weights = np.concatenate([weights, np.ones(own_total, np.float32)])[order]
    group = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(key))))
    # an anchor that counts as retrieved has its own picture as y
    to_picture = np.where(is_own_entry & counted, similarity[group], to_picture)
    pictured = counted & ~np.isnan(to_picture)

    def total_of(values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, first) if len(first) else values[:0]

    highest = np.where(pictured, to_picture, np.float32(-np.inf))
    return Archives(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(anchor, minlength=len(anchors)))]),
        anchor=anchor,
        concept=concept,
        similarity=similarity,
        support=total_of(counted.astype(np.int32)),
        pictured=total_of(pictured.astype(np.int32)),
        similarity_sum=total_of(np.where(pictured, to_picture, np.float32(0))),
        similarity_max=np.maximum.reduceat(highest, first) if len(first) else highest[:0],
        weight=total_of(np.where(counted, weights, np.float32(0))),
        in_caption=total_of(is_own_entry.astype(np.int32)) > 0,
    )
