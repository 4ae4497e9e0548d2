"""The paper's curation, one pair at a time: the plain loop that the array code is compared with.

Written from the formulas alone (PAPER.md, "Curation"), with nothing taken from the package that it checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass
class Corpus:
    """Indexed captions: unit vectors of what they show (their picture, else their words), and the concepts named."""

    shown: list[np.ndarray]
    concepts: list[set[int]]


@dataclass
class Anchor:
    """One pair: v(x), the concepts that its own caption names, and its row in the corpus (-1: it is not there)."""

    vector: np.ndarray
    concepts: set[int]
    row: int = -1


@dataclass
class Entry:
    """What the formulas say of one concept of an archive."""

    similarity: float
    similarities: list[float]  # S(c), each at least 0
    support: int
    in_caption: bool
    globally: float = 0.0
    locally: float = 0.0

    @property
    def score(self) -> float:
        """score(c) = global(c) + local(c)."""
        return self.globally + self.locally


def most_similar(vectors: np.ndarray, query: np.ndarray, k: int) -> list[int]:
    """Rows of the k vectors with the largest inner product with the query, best first."""
    return [int(row) for row in np.argsort(-(vectors @ query), kind="stable")[:k]]


def archive(
    anchor: Anchor, retrieved: Sequence[int], corpus: Corpus, texts: np.ndarray, paper: bool
) -> dict[int, Entry]:
    """Steps 1 and 3 of the paper for one anchor: its archive with scores, by concept.

    texts: t(c) by concept. paper: the anchor counts as one of the retrieved even where it is not in the corpus.
    A caption without a picture stands in S(c) with its own vector. Negative products count as 0, and 0/0 is 0.
    """
    captions = [(corpus.shown[row], corpus.concepts[row]) for row in retrieved]
    if paper and anchor.row < 0:
        captions.append((anchor.vector, anchor.concepts))
    found: dict[int, Entry] = {}
    for concept in set().union(anchor.concepts, *(named for _, named in captions)):
        t = texts[concept]
        similarity = float(t @ anchor.vector)
        naming = [vector for vector, named in captions if concept in named]
        similarities = [max(0.0, float(t @ vector)) for vector in [*naming, anchor.vector]]
        found[concept] = Entry(similarity, similarities, len(naming), concept in anchor.concepts)
    if found:
        largest = max(max(entry.similarities) for entry in found.values())
        for entry in found.values():
            if entry.similarity > 0:
                entry.globally = entry.similarity / largest
                entry.locally = entry.similarity / (sum(entry.similarities) / len(entry.similarities))
    return found


def ranked(found: dict[int, Entry]) -> list[int]:
    """Concepts of an archive by score, highest first; ties to the smaller id."""
    return sorted(found, key=lambda concept: (-found[concept].score, concept))


def clusters(concepts: Sequence[int], texts: np.ndarray, seed: int = 0) -> tuple[list[int], float]:
    """Step 4: k-means over t(c) with ceil(|A|/2) clusters; labels and inertia. Two concepts or fewer: one each."""
    if len(concepts) <= 2:
        return list(range(len(concepts))), 0.0
    from sklearn.cluster import KMeans

    means = KMeans(n_clusters=(len(concepts) + 1) // 2, n_init=1, random_state=seed).fit(texts[list(concepts)])
    return [int(label) for label in means.labels_], float(means.inertia_)


def inertia(points: np.ndarray, labels: Sequence[int]) -> float:
    """Sum of squared distances of points [n, D] to the mean of their cluster."""
    total = 0.0
    for label in set(labels):
        members = points[[i for i, other in enumerate(labels) if other == label]].astype(np.float64)
        total += float(((members - members.mean(0)) ** 2).sum())
    return total


def merged(words: Sequence[str], singular: dict[str, str], score: dict[str, float], in_caption: set[str]) -> set[str]:
    """Words of one archive that another one stands for.

    Best first, a word goes that ends in, or is the end of, one kept before it, or is its singular or plural. What the
    caption names comes first and never goes. Of equal scores the longer name comes first, and the singular.
    """
    kept: list[str] = []
    plural = {word: singular.get(word, word) != word for word in words}
    for word in sorted(words, key=lambda w: (w not in in_caption, -score[w], -len(w.split()), plural[w])):
        twins = (
            word.endswith(" " + other)
            or other.endswith(" " + word)
            or other in (singular.get(word, word), word)
            or singular.get(other, other) == word
            for other in kept
        )
        if word in in_caption or not any(twins):
            kept.append(word)
    return {word for word in words if word not in kept}
