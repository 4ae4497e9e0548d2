"""Curating shard by shard: search, rank and write side by side, into the next shard while one is ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from curation.curated.outputs import shard_writer
from curation.curated.shard_writer import ShardWriter
from curation.curated.tables import ARCHIVES, LOCALISED, PAIRS, TableWriter
from curation.curator import BLOCK, CuratedBlock, CurationTally, Curator, SearchedPairs, group_rows
from curation.index.caption_rows import COLUMNS, OWN_COLUMNS
from curation.reading.formats import Original
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard
from curation.runs.parquet_parts import count_rows, parquet_batches
from curation.runs.prefetch import ahead
from curation.runs.shards_ahead import ShardsAhead
from curation.runs.spread import Advance, Done


@dataclass
class Curating:
    """Curates shards into a folder, as a `Work`.

    embeddings: the folder of theirs. places: of each the checksum of its source, and the row in the index of its first
    pair, -1 for none. Closed, it searches no more.
    """

    curator: Curator
    out: Path
    embeddings: Path
    places: Mapping[str, tuple[int | None, int]]
    captions: CaptionOptions
    searches: ShardsAhead[SearchedPairs, CurationTally] = field(init=False)

    def __post_init__(self) -> None:
        self.searches = ShardsAhead(self._search, CurationTally)

    def soon(self, shard: Shard) -> None:
        """This one is searched for when those before are."""
        self.searches.soon(shard)

    def close(self) -> None:
        """End what is searched for ahead."""
        self.searches.close()

    def __call__(self, shard: Shard, advance: Advance) -> Done:
        """As `Work`; its record is a `CurationTally`'s."""
        with self.searches.of(shard) as (tally, groups):
            self._curate(shard, advance, tally, groups)
        return tally.record(), ()

    def _source(self, shard: Shard) -> Path:
        return self.embeddings / f"{shard.name}.parquet"

    def _search(self, shard: Shard, tally: CurationTally) -> Iterator[SearchedPairs]:
        source, (_, first_row) = self._source(shard), self.places[shard.name]
        columns = COLUMNS if first_row < 0 else OWN_COLUMNS
        batches = parquet_batches(source, group_rows(max(1, count_rows(source))), columns)
        return self.curator.search(batches, first_row, tally)

    def _curate(self, shard: Shard, advance: Advance, tally: CurationTally, groups: Iterator[SearchedPairs]) -> None:
        curator, options = self.curator, self.curator.options
        total = max(1, count_rows(self._source(shard)))
        localiser = curator.localiser

        def blocks(tar: ShardWriter) -> Iterator[tuple[CuratedBlock, list[Original] | None]]:
            # Pictures are held until they are written, so there are few at a time.
            rows = localiser.encoder.encoder.batch_size if localiser else BLOCK
            for pairs in (block for group in groups for block in group.blocks(rows)):
                keys = pairs.batch["key"].to_pylist() if localiser else []
                originals, pictures = tar.originals.with_pictures(keys) if localiser else (None, None)
                yield curator.curate(shard.name, pairs, tally, pictures), originals

        least, columns = (BLOCK, LOCALISED) if localiser else (0, ARCHIVES)
        tables, written = self.out / "tables", 0.0
        with (
            shard_writer(options.left, shard, self.out, self.captions, options.write_caption, options.localise) as tar,
            TableWriter(tables / "pairs" / f"{shard.name}.parquet", PAIRS, least) as pairs,
            TableWriter(tables / "archives" / f"{shard.name}.parquet", columns, least) as archives,
        ):
            # Writing is Python and disk, curating is array code without the GIL: they run side by side.
            for block, originals in ahead(blocks(tar)):
                start = time.perf_counter()
                pairs.write(block.pairs)
                archives.write(block.archives)
                tar.write(block.pairs["key"].to_pylist(), block.pairs["caption"].to_pylist(), block.concepts, originals)
                advance(len(block.pairs), shard.size * len(block.pairs) / total)
                written += time.perf_counter() - start
            tar.check(self.places[shard.name][0])
            tally.unenriched = tar.unenriched
            tally.seconds["write"] = written
