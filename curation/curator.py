"""The curator, by the steps of the paper: read, expand, gather, rank, select, cluster; then the rows of the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from curation.curated.tables import archive_rows, pair_rows
from curation.index.opened import Index
from curation.index.vocabulary import Vocabulary
from curation.ranking.anchor import Anchors
from curation.ranking.archives import Archives, gather, with_concepts
from curation.ranking.clusters import Clusterer
from curation.ranking.confidence import Entries, confidence
from curation.ranking.embedded import anchors_of
from curation.ranking.evidence import rate_of_naming, with_nearest
from curation.ranking.expansion import Retrieved, expand, parse_expansion
from curation.ranking.filters import filters_of
from curation.ranking.fitted import FittedModels, neighbours_of
from curation.ranking.localisation import Localiser
from curation.ranking.merging import LOOKED_AT_EACH
from curation.ranking.options import CurateOptions
from curation.ranking.relevance import RankingContext, rank
from curation.ranking.seeds import seeds_of
from curation.ranking.selection import select
from curation.ranking.tags import TagModel, Tags
from curation.runs.progress import Stopwatch
from files.concepts_json import REGION, KeptConcepts

BLOCK = 1024
# Pairs that are searched for together, at most: the more queries, the cheaper each.
GROUP = 8192
TOP_RECOVERED = 20


@dataclass(frozen=True)
class SearchedPairs:
    """Pairs of an embeddings file, and what is retrieved for them."""

    batch: pa.RecordBatch
    anchors: Anchors
    retrieved: Retrieved

    def blocks(self, rows: int) -> Iterator[SearchedPairs]:
        """The same in parts of at most so many pairs."""
        for start in range(0, len(self.batch), rows):
            part = slice(start, start + rows)
            yield SearchedPairs(self.batch.slice(start, rows), self.anchors.part(part), self.retrieved.part(part))


def group_rows(pairs: int) -> int:
    """How many of so many pairs to search for together: whole blocks, in groups about even."""
    blocks = max(1, -(-pairs // BLOCK))
    return BLOCK * -(-blocks // -(-blocks * BLOCK // GROUP))


@dataclass(frozen=True)
class CuratedBlock:
    """What one block of pairs gave: the rows of both tables, and what goes into the curated shard."""

    pairs: pa.Table
    archives: pa.Table
    concepts: KeptConcepts


@dataclass
class CurationTally:
    """Counts for the summary, over the blocks of one shard; seconds by stage.

    unenriched: pairs whose caption could not be written. left_out: own captions, of what was retrieved. unknown:
    concepts of captions that are not in the vocabulary. not_kept: entries of archives, by the reason. tags: those of
    other models that joined.
    """

    pairs: int = 0
    kept: int = 0
    gained: int = 0
    unenriched: int = 0
    left_out: int = 0
    unknown: int = 0
    not_kept: dict[str, int] = field(default_factory=dict)
    tags: int = 0
    recovered: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    seconds: dict[str, float] = field(default_factory=dict)
    localised: Counter[str] = field(default_factory=Counter)

    def count(self, pairs: int, anchor: np.ndarray, concept: np.ndarray, in_caption: np.ndarray, concepts: int) -> None:
        """Add a block of so many pairs, what is kept of them by entries [K], and the size of the vocabulary."""
        new = ~in_caption
        self.pairs += pairs
        self.kept += len(concept)
        self.gained += len(np.unique(anchor[new]))
        recovered = np.bincount(concept[new], minlength=concepts)
        self.recovered = recovered if not len(self.recovered) else self.recovered + recovered

    def count_out(self, reason: str, entries: int) -> None:
        """Add entries that are not kept."""
        self.not_kept[reason] = self.not_kept.get(reason, 0) + entries

    def record(self) -> dict[str, Any]:
        """What the manifest keeps of the shard; the long tail of recovered concepts is left to the tables."""
        top = np.argsort(-self.recovered, kind="stable")[: 10 * TOP_RECOVERED]
        return {
            "pairs": self.pairs,
            "concepts": self.kept,
            "gained": self.gained,
            **({"unenriched": self.unenriched} if self.unenriched else {}),
            "left_out": self.left_out,
            "unknown": self.unknown,
            "not_kept": self.not_kept,
            **({"tags": self.tags} if self.tags else {}),
            **({"localised": dict(self.localised)} if self.localised else {}),
            "recovered": {str(i): int(self.recovered[i]) for i in top if self.recovered[i]},
            "seconds": {stage: round(value, 4) for stage, value in self.seconds.items()},
        }


class Curator:
    """Curates blocks of pairs against an open index. One thread at a time may search, and one may curate.

    fitted: what is fitted to the index. localiser: what says where concepts show. witness: what --tags tell, and how
    reliably.
    """

    def __init__(
        self, index: Index, options: CurateOptions, fitted: FittedModels, localiser: Localiser | None = None
    ) -> None:
        self.index, self.options, self.localiser = index, options, localiser
        self.support, self.picture, self.judge = fitted.support, fitted.picture, fitted.judge
        self.witness: tuple[Tags, TagModel] | None = None
        self.expansions = parse_expansion(options.expansion)
        self.neighbours = neighbours_of(options, fitted.support)
        self.nearest = LOOKED_AT_EACH * (options.keep or CurateOptions.keep)
        self.filters = filters_of(options, index.rows, fitted.statistics, fitted.families)
        self.clusterer = Clusterer(index.vocabulary.vectors)

    def search(
        self, batches: Iterable[pa.RecordBatch], first_row: int, tally: CurationTally
    ) -> Iterator[SearchedPairs]:
        """Retrieve for the pairs of embeddings batches; `first_row` is their first row in the index, -1 for none."""
        index, row = self.index, first_row
        for batch in batches:
            clock = Stopwatch(tally.seconds)
            anchors = anchors_of(batch, row, index)
            clock.lap("read")
            retrieved = expand(anchors, self.expansions, self.neighbours, index.images, index.captions, index.rows)
            clock.lap("search")
            yield SearchedPairs(batch, anchors, retrieved)
            row += len(batch) if row >= 0 else 0

    def curate(
        self, shard: str, pairs: SearchedPairs, tally: CurationTally, pictures: Sequence[bytes] | None = None
    ) -> CuratedBlock:
        """Curate a block of pairs. pictures: theirs, encoded, for the localiser."""
        import faiss

        faiss.omp_set_num_threads(1)  # of this thread: the others are those that search
        options, vocabulary = self.options, self.index.vocabulary
        batch, anchors, retrieved = pairs.batch, pairs.anchors, pairs.retrieved
        clock = Stopwatch(tally.seconds)
        archives = gather(anchors, retrieved, self.index.rows, vocabulary.vectors)
        if self.picture:
            archives = with_nearest(archives, anchors, vocabulary.vectors, self.picture, self.nearest)
        keys, log_odds = batch["key"].to_pylist(), None
        if self.witness is not None:
            tags = self.witness[0].of(shard, keys)
            tally.tags += len(tags.pair)
            archives = with_concepts(archives, anchors, vocabulary.vectors, tags.pair, tags.concept)
            log_odds = self.witness[1].added(archives, tags, self.witness[0].known)
        seeds = seeds_of(keys, options.seed)
        naming = None
        if self.picture and self.support:
            naming = rate_of_naming(archives, self.support, self.judge, anchors, retrieved.rows)
        context = RankingContext(vocabulary, self.support, seeds, log_odds, self.picture, anchors.image_vectors, naming)
        scores = rank(archives, options.ranking, context)
        gone = scores.gone
        tally.count_out("without support", int(gone.sum()))
        if options.confidence > 0:
            unlikely = np.nan_to_num(self._confidence(anchors, retrieved, archives), nan=1.0) < options.confidence
            tally.count_out("in doubt", int((unlikely & ~gone).sum()))
            gone = gone | unlikely
        for leave_out in self.filters:
            before = int(gone.sum())
            gone = leave_out(archives, scores.score, gone)
            tally.count_out(leave_out.reason, int(gone.sum()) - before)
        kept = select(archives, scores.score, options.keep, options.min_score, gone)
        tally.count_out("behind the best", int((~gone).sum()) - len(kept.entries))
        clock.lap("rank")
        where: dict[str, np.ndarray] = {}
        if self.localiser and pictures is not None:
            looked = len(kept.entries)
            kept, regions = self.localiser.look(pictures, archives, kept, tally.localised)
            tally.count_out("like no part of the picture", looked - len(kept.entries))
            where = regions.columns()
            clock.lap("localise")
        entries = kept.entries
        clusters = self.clusterer.cluster(kept.offsets, archives.concept[entries], seeds)
        clock.lap("cluster")
        columns = {
            "rank": kept.rank,
            "concept_id": archives.concept[entries],
            "score": scores.score[entries],
            "global": scores.parts.globally[entries],
            "local": scores.parts.locally[entries],
            "support": archives.support[entries],
            "cluster": clusters,
            "in_caption": archives.in_caption[entries],
            "confidence": self._confidence(anchors, retrieved, archives, entries),
            **where,
        }
        anchor, concept, in_caption = archives.anchor[entries], columns["concept_id"], columns["in_caption"]
        tally.left_out += int(retrieved.left_out.sum()) if retrieved.left_out is not None else 0
        tally.unknown += len(batch["concepts"].flatten()) - len(anchors.concept_ids)
        tally.count(len(batch), anchor, concept, in_caption, len(vocabulary))
        block = CuratedBlock(
            pair_rows(shard, batch["key"], batch["caption"], batch["concepts"]),
            archive_rows(shard, batch["key"], kept.offsets, columns, vocabulary),
            _kept(kept.offsets, columns, vocabulary),
        )
        clock.lap("tables")
        return block

    def _confidence(
        self, anchors: Anchors, retrieved: Retrieved, archives: Archives, which: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """Of some entries, or all: float32 [K], not a number where the caption names the concept."""
        entries = Entries(archives.anchor[which], archives.concept[which], archives.support[which])
        named = archives.in_caption[which]
        if self.judge is None:
            return np.full(len(named), np.nan, np.float32)
        return np.where(named, np.float32(np.nan), confidence(self.judge, anchors, retrieved.rows, entries))


def _kept(offsets: np.ndarray, columns: Mapping[str, np.ndarray], vocabulary: Vocabulary) -> KeptConcepts:
    return KeptConcepts(
        offsets,
        vocabulary.names.take(pa.array(columns["concept_id"])),
        columns["score"],
        columns["cluster"],
        columns["in_caption"],
        columns["confidence"],
        np.stack([columns[name] for name in REGION], 1) if "peak" in columns else None,
    )
