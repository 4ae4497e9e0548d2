"""A small random index and anchors, as arrays for the package and as plain lists for the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.speed import plain_loop as oracle
from curation.index.caption_rows import CaptionRows, pair_similarity
from curation.index.inverted_lists import build
from curation.index.neighbours import NearestRows, SearchSettings
from curation.ranking.anchor import Anchors


@dataclass
class SmallIndex:
    """N captions, the first M with pictures, C concepts."""

    rows: CaptionRows
    concepts: np.ndarray
    named: list[set[int]]
    images: NearestRows | None = None
    captions: NearestRows | None = None

    def corpus(self) -> oracle.Corpus:
        shown = [*self.rows.image_vectors, *self.rows.text_vectors[self.rows.images :]]
        return oracle.Corpus([vector.astype(np.float32) for vector in shown], self.named)

    def anchors(self, which: list[int]) -> tuple[Anchors, list[oracle.Anchor]]:
        """Indexed pairs as anchors."""
        at = np.array(which, np.int64)
        ids = [sorted(self.named[i]) for i in which]
        arrays = Anchors(
            self.rows.image_vectors[at].astype(np.float32),
            self.rows.text_vectors[at].astype(np.float32),
            at,
            self.rows.text_hash[at],
            self.rows.image_hash[at],
            np.array([concept for own in ids for concept in own], np.int32),
            np.array([len(i) for i in ids], np.int64),
        )
        plain = [oracle.Anchor(arrays.image_vectors[i], self.named[row], row) for i, row in enumerate(which)]
        return arrays, plain

    def strangers(self, count: int, seed: int = 1) -> tuple[Anchors, list[oracle.Anchor]]:
        """Anchors that are not in the index."""
        rng = np.random.default_rng(seed)
        vectors = unit(rng, 2 * count, self.concepts.shape[1]).astype(np.float32)
        named = [set(rng.choice(len(self.concepts), rng.integers(0, 4), replace=False).tolist()) for _ in range(count)]
        arrays = Anchors(
            vectors[:count],
            vectors[count:],
            np.full(count, -1),
            rng.integers(1, 2**63, count).astype(np.uint64),
            rng.integers(1, 2**63, count).astype(np.uint64),
            np.array([c for ids in named for c in sorted(ids)], np.int32),
            np.array([len(ids) for ids in named], np.int64),
        )
        return arrays, [oracle.Anchor(arrays.image_vectors[i], named[i]) for i in range(count)]


def unit(rng: np.random.Generator, rows: int, dim: int, lean: float = 1.5) -> np.ndarray:
    """Random unit vectors float16 with positive products: what most encoders give. lean 0: products of either sign."""
    vectors = rng.standard_normal((rows, dim)) + lean
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def small_index(
    folder: Path | None = None,
    seed: int = 0,
    pairs: int = 60,
    extra: int = 20,
    concepts: int = 25,
    dim: int = 16,
    lean: float = 1.5,
) -> SmallIndex:
    """An index of `pairs` pairs and `extra` captions without pictures; FAISS indexes only if there is a folder.

    Some captions name nothing; rows 1 and 2 have the same words, rows 3 and 4 the same picture.
    """
    rng = np.random.default_rng(seed)
    total = pairs + extra
    named = [set(rng.choice(concepts, rng.integers(0, 5), replace=False).tolist()) for _ in range(total)]
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in named])])
    ids = np.array([c for caption in named for c in sorted(caption)], np.int32)
    texts = unit(rng, concepts, dim, lean).astype(np.float32)
    image_vectors, text_vectors = unit(rng, pairs, dim, lean), unit(rng, total, dim, lean)
    owner = np.repeat(np.arange(total), np.diff(offsets))
    similarity = pair_similarity(texts, ids, np.concatenate([image_vectors, text_vectors[pairs:]]), owner)
    text_hash, image_hash = np.arange(1, total + 1).astype(np.uint64), np.arange(1, total + 1).astype(np.uint64)
    image_hash[pairs:] = 0
    if pairs > 4:
        text_hash[2], image_hash[4] = text_hash[1], image_hash[3]
    rows = CaptionRows(offsets, ids, similarity, text_hash, image_hash, image_vectors, text_vectors)
    found = SmallIndex(rows, texts, named)
    if folder is not None:
        nearest = []
        for name, vectors in (("images", image_vectors), ("captions", text_vectors)):
            build(folder / f"{name}.faiss", vectors, "Flat")
            nearest.append(NearestRows(folder / f"{name}.faiss", vectors, SearchSettings(), gpu=False))
        found.images, found.captions = nearest
    return found


def rows_of(named: list[set[int]], pictures: list[int] | None = None) -> CaptionRows:
    """Captions that name these, of these pictures (0: unknown); vectors are of no interest."""
    count = len(named)
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in named])]).astype(np.int64)
    ids = np.array([c for caption in named for c in sorted(caption)], np.int32)
    hashes = np.arange(1, count + 1).astype(np.uint64)
    shown = np.array(pictures, np.uint64) if pictures is not None else hashes
    vectors = np.zeros((count, 2), np.float16)
    return CaptionRows(offsets, ids, np.zeros(len(ids), np.float32), hashes, shown, vectors, vectors)
