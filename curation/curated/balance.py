"""Balance: how often a pair is to be seen, so that what many pictures show does not drown what few do.

MetaCLIP's cap (Xu et al., ICLR 2024), over the concepts that pictures show and not only over those that captions name.
A concept c that count(c) pairs show draws each of them with probability min(1, T / count(c)), so that about T of them
come by each concept; a pair comes if any of its concepts draws it:

    weight = 1 - prod over its concepts of (1 - min(1, T / count(c)))

T by itself: the count up to which the concepts are the tail, which has a share of 6 % in all mentions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation.curated.shown import ShownBlock, read_words, shown_blocks
from curation.runs.manifest import read_manifest
from curation.runs.parquet_parts import count_rows
from curation.runs.progress import Progress
from files.errors import CocuError

TAIL = 0.06


def tail_cap(counts: np.ndarray, tail: float) -> int:
    """T: the count up to which concepts have the share of all mentions that is nearest to `tail`; counts: int64 [V]."""
    ascending = np.sort(counts[counts > 0])
    shares = np.cumsum(ascending) / ascending.sum()
    # Of equal counts all belong to the tail, or none.
    last = np.append(np.flatnonzero(np.diff(ascending)), len(ascending) - 1)
    return int(ascending[last][np.abs(shares[last] - tail).argmin()])


def pair_weights(pairs: int, pair: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """weight float64 [pairs], 0 for a pair without concepts.

    pair, chance: [M], a pair and min(1, T / count) of a concept that it shows.
    """
    with np.errstate(divide="ignore"):
        missed = np.log1p(-chance)
    return -np.expm1(np.bincount(pair, weights=missed, minlength=pairs))


def drawn(weights: np.ndarray, keys: Sequence[str], shard: str, seed: int) -> np.ndarray:
    """bool [B]: which pairs a subset has. A function of seed, shard and key alone, whatever the order."""
    digests = b"".join(blake2b(f"{seed}/{shard}/{key}".encode(), digest_size=8).digest() for key in keys)
    return (np.frombuffer(digests, "<u8") >> np.uint64(11)) * 2.0**-53 < weights


@dataclass(frozen=True)
class Concepts:
    """How often the pairs of a curated folder show each concept.

    which: a name of SHOWN. words: [V]. counts: int64 [V]. outside: mentions of what is not in the vocabulary.
    """

    curated: Path
    which: str
    words: pa.Array
    rows: dict[str, int]  # pairs of each shard
    counts: np.ndarray
    outside: int = 0

    @property
    def pairs(self) -> int:
        """Pairs of all shards."""
        return sum(self.rows.values())

    def blocks(self, shard: str) -> Iterator[ShownBlock]:
        """The pairs of a shard."""
        return shown_blocks(self.curated, shard, self.which, self.words)


def count_concepts(curated: Path, which: str) -> Concepts:
    """One pass over the tables, with memory for a count of each concept.

    Raises MisuseError for a folder that is no finished curation, CocuError where no pair shows anything.
    """
    shards = sorted(read_manifest(curated, "curated")["shards"])
    words = read_words(curated)
    rows = {shard: count_rows(curated / "tables" / "pairs" / f"{shard}.parquet") for shard in shards}
    counts, outside = np.zeros(len(words), np.int64), 0
    found = Concepts(curated, which, words, rows, counts)
    with Progress("count", found.pairs) as bar:
        for shard in shards:
            for block in found.blocks(shard):
                counts += np.bincount(block.concept, minlength=len(words))
                outside += block.outside
                bar.advance(len(block.keys), len(block.keys))
    if not counts.any():
        raise CocuError(f"{curated}: none of {found.pairs:,} pairs has a concept to balance by (--concepts {which})")
    return replace(found, outside=outside)


@dataclass
class Balance:
    """What came of it. before: int64 [V], pairs that show each concept; after: float64 [V], those that are left.

    Where no subset is drawn, what is left are expectations. pairs; kept: how many are left; without: pairs of no
    concept, which have weight 0. shares: of the rare concepts, which are those of at most T pairs, in all mentions.
    """

    cap: int
    concepts: Concepts
    subset: bool
    after: np.ndarray
    kept: float = 0.0
    without: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, block: ShownBlock, weights: np.ndarray) -> None:
        """Count a block. weights: [B], of a subset 1 and 0."""
        self.after += np.bincount(block.concept, weights=weights[block.pair], minlength=len(self.after))
        self.kept += float(weights.sum())
        self.without += len(block.keys) - len(np.unique(block.pair))

    @property
    def shares(self) -> tuple[float, float]:
        """Of the rare concepts in all mentions, before and after."""
        before = self.concepts.counts
        rare = before <= self.cap
        return float(before[rare].sum() / before.sum()), float(self.after[rare].sum() / max(self.after.sum(), 1e-300))

    def curve(self) -> list[tuple[str, str, int, float]]:
        """Quantile, concept there, its pairs before and after: from the rarest concept to the commonest."""
        before = self.concepts.counts
        order = np.argsort(before, kind="stable")
        order = order[before[order] > 0]
        at = [order[round(share * (len(order) - 1))] for share in np.linspace(0, 1, 11)]
        names = ["rarest", *(f"{percent} %" for percent in range(10, 100, 10)), "commonest"]
        return [
            (name, self.concepts.words[int(i)].as_py(), int(before[i]), float(self.after[i]))
            for name, i in zip(names, at, strict=True)
        ]
