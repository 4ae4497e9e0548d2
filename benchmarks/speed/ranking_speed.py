"""Archives, ranking and clusters of many anchors at once against the plain loop over pairs (plain_loop.py).

    python -m benchmarks.speed.ranking_speed

Both get the same retrieved neighbours. The loop runs on a sample of the pairs, the array code on all of a few blocks;
the scores of the sample have to agree to 1e-5, and the clusters of both have to be as tight. Both run on one core, and
what is counted is CPU time, so that the ratio holds on a busy machine, too.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from benchmarks.speed import plain_loop, synthetic
from benchmarks.speed.measure import median_seconds, print_table
from curation.index.caption_rows import CaptionRows, pair_similarity
from curation.ranking.anchor import Anchors
from curation.ranking.archives import Archives, gather
from curation.ranking.clusters import Clusterer
from curation.ranking.expansion import Retrieved
from curation.ranking.relevance import paper_parts
from curation.ranking.selection import select

BLOCK = 1024
AGREE = 1e-5
CPU = time.process_time


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure and print; returns the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="indexed vectors")
    parser.add_argument("--dim", type=int, default=synthetic.DIM)
    parser.add_argument("--concepts", type=int, default=synthetic.CONCEPTS)
    parser.add_argument("--neighbours", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=8 * BLOCK, help="pairs that the array code ranks")
    parser.add_argument("--sample", type=int, default=400, help="of them, pairs that the loop ranks")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args(arguments)

    world = World(given.rows, given.dim, given.concepts, given.neighbours, given.pairs)
    sample = np.linspace(0, given.pairs - 1, min(given.sample, given.pairs)).astype(int)
    corpus, anchors = world.as_plain(sample)

    one_thread()
    blocks = [slice(start, min(start + BLOCK, given.pairs)) for start in range(0, given.pairs, BLOCK)]
    ranks = median_seconds(lambda: [world.rank(part) for part in blocks], given.repeats, CPU) / given.pairs
    both = median_seconds(lambda: [world.cluster(part) for part in blocks], given.repeats, CPU) / given.pairs

    start = CPU()
    plain = [
        plain_loop.archive(anchor, world.retrieved[i], corpus, world.texts, paper=True)
        for anchor, i in zip(anchors, sample, strict=True)
    ]
    orders = [plain_loop.ranked(found) for found in plain]
    plain_ranks = (CPU() - start) / len(sample)
    start = CPU()
    plain_inertia = sum(plain_loop.clusters(order, world.texts)[1] for order in orders)
    plain_both = plain_ranks + (CPU() - start) / len(sample)

    worst, inertia = world.compare(sample, plain)
    assert worst < AGREE, f"scores differ by {worst}"
    print(
        f"{given.rows:,} rows of {given.dim}, {given.concepts:,} concepts, L = {given.neighbours}; "
        f"{np.mean([len(found) for found in plain]):.1f} concepts an archive; {given.pairs:,} pairs by arrays, "
        f"{len(sample):,} by the loop; scores agree to {worst:.1e}; k-means inertia {inertia / plain_inertia:.3f} of "
        "scikit-learn's"
    )
    print_table(
        ["stage", "loop, CPU µs a pair", "arrays, CPU µs a pair", "ratio"],
        [
            [name, f"{slow * 1e6:,.0f}", f"{fast * 1e6:,.1f}", f"{slow / fast:,.0f} x"]
            for name, slow, fast in (
                ("archives and ranking", plain_ranks, ranks),
                ("archives, ranking and clusters", plain_both, both),
            )
        ],
    )
    return {"ranking": plain_ranks / ranks, "with clusters": plain_both / both}


def one_thread() -> None:
    """Keep FAISS, BLAS and scikit-learn to one core from now on."""
    import faiss
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    faiss.omp_set_num_threads(1)
    threadpool_limits(1)


class World:
    """A synthetic corpus, and the neighbours of its first pairs by exact search."""

    def __init__(self, rows: int, dim: int, concepts: int, neighbours: int, pairs: int) -> None:
        space = synthetic.make_space(rows, dim)
        topics = synthetic.topics_of(rows, space)
        self.vectors = synthetic.vectors_of(topics, space)
        self.texts = synthetic.concept_vectors(space, concepts)
        self.offsets, self.ids = synthetic.named_concepts(topics, space, concepts)
        owner = np.repeat(np.arange(rows), np.diff(self.offsets))
        self.rows = CaptionRows(
            self.offsets,
            self.ids,
            pair_similarity(self.texts, self.ids, self.vectors, owner),
            np.arange(rows, dtype=np.uint64),
            np.arange(rows, dtype=np.uint64),
            self.vectors,
            self.vectors,
        )
        self.clusters = Clusterer(self.texts)
        self.seeds = np.arange(pairs, dtype=np.uint64)
        self.anchor_vectors = self.vectors[:pairs].astype(np.float32)
        self.retrieved, _ = _neighbours(self.vectors, self.anchor_vectors, neighbours)

    def anchors(self, part: slice) -> Anchors:
        """Rows [start, stop) of the corpus as anchors."""
        vectors = self.anchor_vectors[part]
        first, last = self.offsets[part.start], self.offsets[part.stop]
        counts = np.diff(self.offsets[part.start : part.stop + 1])
        rows = np.arange(part.start, part.stop)
        hashes = rows.astype(np.uint64)
        return Anchors(vectors, vectors, rows, hashes, hashes, self.ids[first:last], counts)

    def rank(self, part: slice) -> tuple[Archives, np.ndarray, np.ndarray, np.ndarray]:
        """Archives of a block, their scores, and the entries by score: index and offsets."""
        nobody = np.zeros(part.stop - part.start, bool)
        retrieved = Retrieved(self.retrieved[part], nobody)
        archives = gather(self.anchors(part), retrieved, self.rows, self.texts)
        globally, locally = paper_parts(archives)
        kept = select(archives, globally + locally, keep=0)
        return archives, globally + locally, kept.entries, kept.offsets

    def cluster(self, part: slice) -> np.ndarray:
        """`rank`, and the cluster of each entry in the order of scores."""
        archives, _, entries, offsets = self.rank(part)
        return self.clusters.cluster(offsets, archives.concept[entries], self.seeds[part])

    def as_plain(self, sample: np.ndarray) -> tuple[plain_loop.Corpus, list[plain_loop.Anchor]]:
        """The same corpus and anchors as the loop takes them; lists and sets are made beforehand, not timed."""
        named = [set(ids.tolist()) for ids in np.split(self.ids, self.offsets[1:-1])]
        corpus = plain_loop.Corpus(list(self.vectors.astype(np.float32)), named)
        return corpus, [plain_loop.Anchor(corpus.shown[i], named[i], i) for i in sample.tolist()]

    def compare(self, sample: np.ndarray, plain: list[dict[int, plain_loop.Entry]]) -> tuple[float, float]:
        """Largest difference of scores in the sample, and the summed inertia of the array code's clusters."""
        worst = inertia = 0.0
        for i, found in zip(sample.tolist(), plain, strict=True):
            part = slice(i, i + 1)
            archives, score, entries, _ = self.rank(part)
            assert archives.concept.tolist() == sorted(found)
            wanted = np.array([found[concept].score for concept in archives.concept.tolist()])
            worst = max(worst, float(np.abs(wanted - score).max(initial=0)))
            inertia += plain_loop.inertia(self.texts[archives.concept[entries]], self.cluster(part).tolist())
        return worst, inertia


def _neighbours(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors.astype(np.float32))
    similarity, rows = index.search(queries, k)
    return rows, similarity


if __name__ == "__main__":
    main()
