"""Truth by proxy for pictures with several captions: what any of them names is taken to be in the picture.

    python -m benchmarks.quality.sibling_truth SHARD --field captions --synonyms FILE --out truth.jsonl

`cocu curate score` then asks: of the objects that the other captions name and the pair's own one does not, how many are
recovered? Every object gets area 1, for captions do not tell areas. The ending of --out tells its format: .parquet, or
.jsonl or .ndjson for JSON lines.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import find_shards, read_pairs
from curation.recovery.naming import named_in_texts, phrases_of
from curation.recovery.truth import read_synonyms
from files.atomic import atomic

TRUTH = pa.schema([("key", pa.string()), ("object", pa.string()), ("area", pa.float64())])


def main() -> None:
    """Write the truth file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--field", default="captions", help="list of captions in the .json member")
    parser.add_argument("--synonyms", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args()
    if arguments.out.suffix.lower() not in (".parquet", ".jsonl", ".ndjson"):
        parser.error(f"--out {arguments.out}: the ending tells no format; give .parquet, .jsonl or .ndjson")
    phrases = phrases_of(read_synonyms(arguments.synonyms))
    options = CaptionOptions(field=arguments.field, all_captions=True)
    keys: list[str] = []
    captions: list[str] = []
    for shard in find_shards(arguments.shards):
        for pair in read_pairs(shard, options):
            if isinstance(pair, Pair):
                keys += [pair.key] * len(pair.captions)
                captions += pair.captions
    rows, objects = named_in_texts(pa.array(captions, pa.string()), phrases)
    found = sorted({(keys[row], phrases.objects[thing]) for row, thing in zip(rows, objects, strict=True)})
    shown: list[tuple[str, str | None]] = [*found]
    shown += [(key, None) for key in sorted({*keys} - {key for key, _ in found})]  # looked at, and empty
    write_truth(arguments.out, shown)
    print(f"{arguments.out}: {len(found):,} objects in {len({*keys}):,} pictures")


def write_truth(path: Path, shown: Sequence[tuple[str, str | None]]) -> None:
    """Write (key, object) as a truth file, by the ending of its name; object None: the picture shows none."""
    rows = [{"key": key, "object": thing, "area": 1.0 if thing else None} for key, thing in shown]
    with atomic(path) as temporary:
        if path.suffix.lower() == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows, TRUTH), temporary)
        else:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
