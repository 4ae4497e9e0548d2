"""Clusters of an archive (PAPER, step 4): k-means over t(c) with ceil(|A|/2) clusters, many archives at once.

Lloyd's algorithm needs only inner products: the squared distance of point i to the mean of a set S is
G_ii - 2 mean_{j in S} G_ij + mean_{j,l in S} G_jl with G the Gram matrix. Archives are small, so a batch of them of
one size is a stack of n x n matrices.
"""

from __future__ import annotations

import numpy as np

MAX_ITERATIONS = 25
BATCH_BYTES = 16 << 20


def cluster(vectors: np.ndarray, offsets: np.ndarray, concept: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Cluster of every archive entry, int32 [P]; numbered from 0 in order of first appearance in the archive.

    vectors: t(c), float32 [C, D]. offsets int64 [B+1], concept int32 [P]: the archives. seeds uint64 [B]: one per
    archive, so that the result depends on the archive alone. Archives of one or two concepts: each its own cluster.
    """
    labels = np.zeros(len(concept), np.int32)
    sizes = np.diff(offsets)
    for size in np.unique(sizes[sizes > 1]):
        members = np.flatnonzero(sizes == size)
        entries = offsets[members][:, None] + np.arange(size)
        if size == 2:
            labels[entries] = np.arange(2)
            continue
        step = max(1, BATCH_BYTES // int(size * (vectors.shape[1] + 4 * size) * 4))
        for start in range(0, len(members), step):
            part = slice(start, start + step)
            points = vectors[concept[entries[part]]]
            gram = points @ points.transpose(0, 2, 1)
            labels[entries[part]] = _in_order(kmeans(gram, -(-int(size) // 2), seeds[members[part]]))
    return labels


def kmeans(gram: np.ndarray, k: int, seeds: np.ndarray) -> np.ndarray:
    """k-means++ and Lloyd's iterations on B Gram matrices [B, n, n]; labels int [B, n] in [0, k)."""
    batch = len(gram)
    square = np.einsum("bii->bi", gram)
    centres = _plus_plus(np.maximum(square[:, :, None] + square[:, None, :] - 2 * gram, 0), k, seeds)
    to_centre = np.take_along_axis(gram, centres[:, None, :], 2)
    labels = (square[:, :, None] + np.take_along_axis(square, centres, 1)[:, None, :] - 2 * to_centre).argmin(2)
    active = np.arange(batch)
    for _ in range(MAX_ITERATIONS):
        g, before = gram[active], labels[active]
        member = (before[:, :, None] == np.arange(k)).astype(np.float32)
        size = member.sum(1)
        towards = g @ member
        centre_square = np.einsum("bnk,bnk->bk", member, towards)
        safe = np.maximum(size, 1)
        distance = (
            square[active][:, :, None] - 2 * towards / safe[:, None, :] + (centre_square / (safe * safe))[:, None, :]
        )
        distance = np.where(size[:, None, :] > 0, distance, np.inf)
        after = distance.argmin(2)
        _refill(after, distance, k)
        labels[active] = after
        active = active[(after != before).any(1)]
        if not len(active):
            break
    return labels


def _plus_plus(distance: np.ndarray, k: int, seeds: np.ndarray) -> np.ndarray:
    """k-means++ seeding on squared distances [B, n, n]: indices of the centres [B, k]."""
    batch, n, _ = distance.shape
    rows = np.arange(batch)
    centres = np.empty((batch, k), np.int64)
    centres[:, 0] = np.minimum((uniform(seeds, 0) * n).astype(np.int64), n - 1)
    nearest = distance[rows, centres[:, 0]].astype(np.float64)
    for step in range(1, k):
        cumulative = np.cumsum(nearest, axis=1)
        drawn = uniform(seeds, step) * cumulative[:, -1]
        chosen = np.minimum((cumulative <= drawn[:, None]).sum(1), n - 1)
        centres[:, step] = chosen
        nearest = np.minimum(nearest, distance[rows, chosen])
    return centres


def _refill(labels: np.ndarray, distance: np.ndarray, k: int) -> None:
    """Give every empty cluster the point farthest from its own centre, one at a time, in place."""
    counts = (labels[:, :, None] == np.arange(k)).sum(1)
    while (poor := np.flatnonzero((counts == 0).any(1))).size:
        own = np.take_along_axis(distance[poor], labels[poor][:, :, None], 2)[:, :, 0]
        # a point that is alone in its cluster would only move the hole
        alone = np.take_along_axis(counts[poor], labels[poor], 1) < 2
        far = np.where(alone, -np.inf, own).argmax(1)
        empty = (counts[poor] == 0).argmax(1)
        counts[poor, labels[poor, far]] -= 1
        counts[poor, empty] += 1
        labels[poor, far] = empty
        distance[poor, far, empty] = 0


def _in_order(labels: np.ndarray) -> np.ndarray:
    """Renumber the labels of each row by first appearance."""
    same = labels[:, :, None] == labels[:, None, :]
    first = same.argmax(2)
    opens = first == np.arange(labels.shape[1])
    return np.take_along_axis(np.cumsum(opens, axis=1) - 1, first, 1)


def uniform(seeds: np.ndarray, step: int) -> np.ndarray:
    """Counter-based uniforms in [0, 1), float64 [B]: the `step`-th draw of each seed (splitmix64)."""
    with np.errstate(over="ignore"):
        z = seeds.astype(np.uint64) + np.uint64(((step + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
