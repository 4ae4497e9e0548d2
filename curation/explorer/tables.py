"""Single pairs out of the tables: only the row groups that hold them are read."""

from __future__ import annotations

from collections.abc import Sequence

from curation.curated.pairs import CuratedPair, RankedConcept
from curation.curated.tables import ARCHIVES, LATER
from curation.explorer.catalogue import Catalogue
from curation.runs.rows import read_rows

_PAIR = ("key", "caption", "caption_concepts")
_ARCHIVE = ("concept", "rank", "score", "support", "cluster", "in_caption", "confidence")
_LATER = [ARCHIVES.field(name) for name in LATER]


def read_pairs(catalogue: Catalogue, numbers: Sequence[int]) -> list[CuratedPair]:
    """The pairs of these numbers, in this order. Raises CocuError where a table is broken or another than it was."""
    found: dict[int, CuratedPair] = {}
    by_shard: dict[str, list[tuple[int, int]]] = {}
    for number in dict.fromkeys(numbers):
        shard, row = catalogue.place(number)
        by_shard.setdefault(shard, []).append((row, number))
    for shard, wanted in by_shard.items():
        rows = [row for row, _ in wanted]
        tables = catalogue.folder / "tables"
        pairs = read_rows(tables / "pairs" / f"{shard}.parquet", rows, _PAIR).to_pylist()
        first = int(catalogue.rows[catalogue.start(shard)])
        spans = [range(*(int(at) - first for at in catalogue.rows[number : number + 2])) for _, number in wanted]
        of_spans = [i for span in spans for i in span]
        archive = read_rows(tables / "archives" / f"{shard}.parquet", of_spans, _ARCHIVE, _LATER)
        ranked = iter([RankedConcept(**row) for row in archive.to_pylist()])
        for (_, number), pair, span in zip(wanted, pairs, spans, strict=True):
            best = sorted((next(ranked) for _ in span), key=lambda one: one.rank)
            named = tuple(pair["caption_concepts"] or ())
            found[number] = CuratedPair(pair["key"], shard, pair["caption"], named, tuple(best))
    return [found[number] for number in numbers]
