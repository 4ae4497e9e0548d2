"""Judgements as truth: what `cocu curate score --truth` reads, of the pairs that were judged deep enough."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation.curated.judgements import read_judgements
from curation.recovery.judged import recovered_of
from files.atomic import alone
from files.errors import MisuseError

_SCHEMA = pa.schema([("key", pa.string()), ("object", pa.string()), ("area", pa.float64())])


@dataclass(frozen=True)
class WrittenTruth:
    """synonyms: the file of words beside the truth. pairs, shown: what was written. notes: what was left out."""

    synonyms: Path
    pairs: int
    shown: int
    notes: tuple[str, ...]


def write_judged_truth(curated: Path, judged: Path, out: Path, k: int) -> WrittenTruth:
    """Write the pairs of which the k best recovered concepts are all judged, as truth, and the words beside it.

    The truth of a picture is all that it shows; what was judged of it is that as far as its k best concepts go: score
    it with --top up to k. An area is not known, and is written as 1. Raises MisuseError where no pair was judged so
    deep.
    """
    if out.suffix != ".parquet":
        raise MisuseError(f"--truth {out}: give a name that ends in .parquet")
    said: dict[tuple[str, str], dict[str, bool]] = {}
    for one in read_judgements(judged):
        said.setdefault((one.shard, one.key), {})[one.concept] = one.shown
    ranked = recovered_of(curated, list(said))
    deep = {pair: said[pair] for pair, best in ranked.items() if best[:k] and set(best[:k]) <= set(said[pair])}
    often = Counter(key for _, key in deep)
    clear = {pair: of for pair, of in deep.items() if often[pair[1]] == 1}
    notes = []
    if left := len(said) - len(deep):
        notes.append(f"{left:,} of {len(said):,} judged pairs left out: not all of their {k} best recovered are judged")
    if left := len(deep) - len(clear):
        notes.append(f"{left:,} pairs left out: their keys stand in several shards")
    if not clear:
        raise MisuseError(
            f"{judged}: no pair has its {k} best recovered concepts all judged; judge on, or give less --top"
        )
    rows = list[tuple[str, str | None, float | None]]()
    words = set[str]()
    for (shard, key), of in clear.items():
        asked = [concept for concept in ranked[shard, key] if concept in of]
        words.update(asked)
        shown = [concept for concept in asked if of[concept]]
        rows += [(key, concept, 1.0) for concept in shown] or [(key, None, None)]
    columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), _SCHEMA, strict=True)]
    with alone(out) as temporary:
        pq.write_table(pa.table(columns, _SCHEMA), temporary)
    synonyms = out.with_suffix(".synonyms.json")
    with alone(synonyms) as temporary:
        listed = {word: [word] for word in sorted(words)}
        temporary.write_text(json.dumps(listed, ensure_ascii=False, indent=1), "utf-8")
    return WrittenTruth(synonyms, len(clear), sum(object is not None for _, object, _ in rows), tuple(notes))
