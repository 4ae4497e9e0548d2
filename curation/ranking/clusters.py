"""Clusters of an archive (PAPER, step 4): k-means over t(c) with ceil(|A|/2) clusters, many archives at once.

Lloyd's algorithm needs only inner products: the squared distance of point i to the mean of a set S is
G_ii - 2 mean_{j in S} G_ij + mean_{j,l in S} G_jl with G the Gram matrix. Archives are small, so that a batch of them
is a stack of n x n matrices; archives of about one size share a stack, the smaller ones padded.
"""

from __future__ import annotations

import numpy as np

from curation.ranking.seeds import uniform

MAX_ITERATIONS = 25
BATCH_BYTES = 4 << 20
# Sizes of the stacks: steps of about a fifth, so that padding costs less than many small stacks would.
STEPS = np.unique([*range(3, 9), *(int(8 * 1.2**i) for i in range(100))])
# Up to this size t(c)·t(c') of all pairs of concepts is computed once, and looked up.
TABLE_BYTES = 64 << 20


class Clusterer:
    """k-means over archives of one vocabulary. vectors: t(c), unit rows float32 [C, D]."""

    def __init__(self, vectors: np.ndarray) -> None:
        self._padded = np.concatenate([vectors, np.zeros_like(vectors[:1])])  # row C: the padding
        small = 4 * len(self._padded) ** 2 <= TABLE_BYTES
        self._table = (self._padded @ self._padded.T).ravel() if small else None

    def cluster(self, offsets: np.ndarray, concept: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        """Cluster of every archive entry, int32 [P]; numbered from 0 in order of first appearance in the archive.

        offsets int64 [B+1], concept int32 [P]: the archives. seeds uint64 [B]: one per archive, so that the result
        depends on the archive alone. Archives of one or two concepts: each its own cluster.
        """
        labels = np.zeros(len(concept), np.int32)
        sizes = np.diff(offsets)
        labels[offsets[:-1][sizes == 2] + 1] = 1
        step = np.where(sizes > 2, np.searchsorted(STEPS, sizes), -1)
        for bucket in np.unique(step[step >= 0]):
            width = int(STEPS[bucket])
            members = np.flatnonzero(step == bucket)
            floats = width * (3 * width + (0 if self._table is not None else self._padded.shape[1]))
            batch = max(1, BATCH_BYTES // (4 * floats))
            for start in range(0, len(members), batch):
                part = members[start : start + batch]
                inside = np.arange(width) < sizes[part, None]
                entries = (offsets[part, None] + np.arange(width))[inside]
                points = np.full(inside.shape, len(self._padded) - 1)
                points[inside] = concept[entries]
                found = kmeans(self._gram(points), sizes[part], seeds[part])
                labels[entries] = in_order(found)[inside]
        return labels

    def _gram(self, concept: np.ndarray) -> np.ndarray:
        if self._table is not None:
            return self._table.take(concept[:, :, None] * len(self._padded) + concept[:, None, :])
        points = self._padded[concept]
        return points @ points.transpose(0, 2, 1)


def kmeans(gram: np.ndarray, sizes: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """k-means++ and Lloyd's iterations on Gram matrices float32 [B, n, n], of which the first sizes[b] points count.

    Labels int [B, n] in [0, ceil(sizes[b] / 2)), every one of them in use; those of the padding mean nothing.
    """
    k = (sizes + 1) // 2
    labels = _plus_plus(gram, sizes, k, seeds)
    inside = np.arange(gram.shape[1]) < sizes[:, None]
    unused = np.arange(int(k.max())) >= k[:, None]
    active = np.arange(len(gram))
    for _ in range(MAX_ITERATIONS):
        before = labels[active]
        after = _lloyd(gram, before, inside, unused)
        labels[active] = after
        moved = ((after != before) & inside).any(1)
        if not moved.any():
            break
        # A settled archive stays as it is: it is dropped when that saves more than copying the others costs.
        if moved.mean() < 0.7:
            active, gram, inside, unused = active[moved], gram[moved], inside[moved], unused[moved]
    return labels


def _lloyd(gram: np.ndarray, labels: np.ndarray, inside: np.ndarray, unused: np.ndarray) -> np.ndarray:
    """One iteration: every point to the nearest mean of `labels`; a cluster left empty gets the farthest point."""
    clusters = np.arange(unused.shape[1])
    member = ((labels[:, :, None] == clusters) & inside[:, :, None]).astype(np.float32)
    size = np.maximum(member.sum(1), 1)
    towards = (gram @ member) / size[:, None, :]
    centre_square = np.einsum("bnk,bnk->bk", member, towards) / size
    centre_square[unused] = np.inf
    # squared distances less G_ii, which is the same for all clusters
    distance = centre_square[:, None, :] - 2 * towards
    nearest = distance.argmin(2)
    _refill(nearest, distance, gram, inside, unused)
    return nearest


def _plus_plus(gram: np.ndarray, sizes: np.ndarray, k: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """k-means++ seeding: the index of the nearest centre of each point, int [B, n]."""
    batch, n, _ = gram.shape
    rows = np.arange(batch)
    square = np.einsum("bii->bi", gram)
    draws = uniform(seeds[:, None], np.arange(int(k.max())))
    labels = np.zeros((batch, n), np.int64)
    nearest = np.where(np.arange(n) < sizes[:, None], np.float32(np.inf), np.float32(0))
    for step in range(draws.shape[1]):
        if step == 0:
            chosen = (draws[:, 0] * sizes).astype(np.int64)
        else:
            cumulative = np.cumsum(nearest, axis=1, dtype=np.float64)
            chosen = (cumulative <= (draws[:, step] * cumulative[:, -1])[:, None]).sum(1)
        chosen = np.minimum(chosen, sizes - 1)
        distance = np.maximum(square + square[rows, chosen][:, None] - 2 * gram[rows, chosen], 0)
        closer = (distance < nearest) & (step < k)[:, None]
        np.copyto(labels, step, where=closer)
        np.copyto(nearest, distance, where=closer)
    return labels


def _refill(labels: np.ndarray, distance: np.ndarray, gram: np.ndarray, inside: np.ndarray, unused: np.ndarray) -> None:
    """Give every empty cluster the point farthest from its own centre, one at a time, in place."""
    counts = ((labels[:, :, None] == np.arange(unused.shape[1])) & inside[:, :, None]).sum(1)
    counts[unused] = 1
    if counts.all():
        return
    square = np.einsum("bii->bi", gram)
    while (poor := np.flatnonzero((counts == 0).any(1))).size:
        own = np.take_along_axis(distance[poor], labels[poor][:, :, None], 2)[:, :, 0] + square[poor]
        # a point that is alone in its cluster would only move the hole
        alone = np.take_along_axis(counts[poor], labels[poor], 1) < 2
        far = np.where(alone | ~inside[poor], -np.inf, own).argmax(1)
        empty = (counts[poor] == 0).argmax(1)
        counts[poor, labels[poor, far]] -= 1
        counts[poor, empty] += 1
        labels[poor, far] = empty
        distance[poor, far, empty] = -square[poor, far]


def in_order(labels: np.ndarray) -> np.ndarray:
    """Renumber the labels of each row [B, n] by first appearance."""
    same = labels[:, :, None] == labels[:, None, :]
    first = same.argmax(2)
    opens = first == np.arange(labels.shape[1])
    return np.take_along_axis(np.cumsum(opens, axis=1) - 1, first, 1)
