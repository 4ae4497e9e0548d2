"""Synthetic corpora with the shape of real ones: clustered unit vectors, Zipf-distributed concepts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

CONCEPTS = 1921
DIM = 512
ROWS_PER_TOPIC = 30
BRANCHES = 6  # topics of a broader topic, and so on up
CHUNK = 32_768
# Chosen so that neighbours are as near, and as hard to find by inverted lists, as those of real embeddings of 6,000
# photographs and 258,000 captions. Variance by dimension: half of it in some twenty, a tenth past a hundred.
DECAY = 0.75
OFFSET = 10.0
MEAN = 0.25  # length of the mean that all vectors share, before scaling to unit length
TOPIC_SHARE = 0.5  # of the variance that lies between topics


@dataclass(frozen=True)
class Space:
    """A vector space with topics. basis [D, D]: columns scaled by the spread of each direction. centres [T, D]."""

    basis: np.ndarray
    mean: np.ndarray
    centres: np.ndarray


def make_space(rows: int, dim: int = DIM, seed: int = 0) -> Space:
    """A space for so many rows: about one topic per `ROWS_PER_TOPIC` of them."""
    rng = np.random.default_rng([seed, 1])
    spread = (np.arange(dim) + OFFSET) ** -DECAY
    spread /= np.sqrt((spread**2).sum())
    turned = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    basis = (turned * spread).T.astype(np.float32)
    mean = turned[:, -1].astype(np.float32) * np.float32(MEAN)
    topics = max(4, rows // ROWS_PER_TOPIC)
    levels = max(1, round(np.log(topics) / np.log(BRANCHES)))
    centres = np.zeros((topics, dim), np.float32)
    for level in range(levels):
        parents = rng.standard_normal((topics // BRANCHES**level + 1, dim), dtype=np.float32) @ basis
        centres += parents[np.arange(topics) // BRANCHES**level]
    return Space(basis, mean, centres * np.float32((TOPIC_SHARE / levels) ** 0.5))


def topics_of(rows: int, space: Space, seed: int = 0) -> np.ndarray:
    """A topic for each row, int64 [rows]; few topics are large, most are small."""
    rng = np.random.default_rng([seed, 2])
    weight = 1.0 / (np.arange(len(space.centres)) + 20.0) ** 0.5
    return rng.choice(len(space.centres), rows, p=weight / weight.sum())


def vectors_of(topics: np.ndarray, space: Space, seed: int = 0, out: np.ndarray | None = None) -> np.ndarray:
    """Unit vectors float16 [N, D] of rows with these topics, into `out` (which may be a memmap) if given."""
    rng = np.random.default_rng([seed, 3])
    dim = space.basis.shape[0]
    found = np.empty((len(topics), dim), np.float16) if out is None else out
    for start in range(0, len(topics), CHUNK):
        part = topics[start : start + CHUNK]
        inside = rng.standard_normal((len(part), dim), dtype=np.float32) @ space.basis
        vectors = space.mean + space.centres[part] + inside * np.float32((1 - TOPIC_SHARE) ** 0.5)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        found[start : start + len(part)] = vectors
    return found


def named_concepts(
    topics: np.ndarray, space: Space, concepts: int = CONCEPTS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Concepts that each row's caption names, as CSR (offsets int64 [N+1], ids int32 [nnz]): 1 to 6, none twice.

    Two thirds come from the twelve of the row's topic, the rest from the whole vocabulary; both by Zipf's law.
    """
    rng = np.random.default_rng([seed, 4])
    zipf = 1.0 / (np.arange(concepts) + 2.7)
    zipf /= zipf.sum()
    of_topic = rng.choice(concepts, (len(space.centres), 12), p=zipf)
    drawn = rng.choice(concepts, (len(topics), 6), p=zipf)
    local = of_topic[topics[:, None], rng.integers(0, 12, (len(topics), 6))]
    ids = np.where(rng.random((len(topics), 6)) < 2 / 3, local, drawn)
    wanted = np.arange(6) < rng.integers(1, 7, (len(topics), 1))
    ids = np.sort(np.where(wanted, ids, concepts), axis=1)
    kept = ids < concepts
    kept[:, 1:] &= ids[:, 1:] != ids[:, :-1]
    return np.concatenate([[0], np.cumsum(kept.sum(1))]), ids[kept].astype(np.int32)


def concept_vectors(space: Space, concepts: int = CONCEPTS, seed: int = 0) -> np.ndarray:
    """t(c), unit vectors float32 [C, D]; products with pictures are mostly 0.15 to 0.3, as a CLIP model's are."""
    rng = np.random.default_rng([seed, 5])
    own = rng.standard_normal((concepts, len(space.basis)), dtype=np.float32) @ space.basis
    vectors = space.mean * np.float32(4 / MEAN) + own
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_vectors(path: Path, rows: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    """Vectors of `rows` rows as a memory-mapped .npy file; returns it opened for reading."""
    space = make_space(rows, dim, seed)
    target = np.lib.format.open_memmap(path, "w+", np.float16, (rows, dim))
    vectors_of(topics_of(rows, space, seed), space, seed, target)
    target.flush()
    return np.load(path, mmap_mode="r")
