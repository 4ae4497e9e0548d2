"""Truth by proxy for pictures with several captions: what any of them names is taken to be in the picture.

    python -m benchmarks.quality.sibling_truth SHARD --field captions --synonyms FILE --out truth.jsonl

`cocu curate score` then asks: of the objects that the other captions name and the pair's own one does not, how many are
recovered? Every object gets area 1, for captions do not tell areas.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pyarrow as pa

from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import find_shards, read_pairs
from curation.recovery.naming import named_in_texts, phrases_of
from curation.recovery.truth import read_synonyms


def main() -> None:
    """Write the truth file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+")
    parser.add_argument("--field", default="captions", help="list of captions in the .json member")
    parser.add_argument("--synonyms", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args()
    phrases = phrases_of(read_synonyms(arguments.synonyms))
    options = CaptionOptions(field=arguments.field, all_captions=True)
    pairs = [p for shard in find_shards(arguments.shards) for p in read_pairs(shard, options) if isinstance(p, Pair)]
    keys = [pair.key for pair in pairs for _ in pair.captions]
    captions = pa.array([caption for pair in pairs for caption in pair.captions])
    rows, objects = named_in_texts(captions, phrases)
    found = sorted({(keys[row], phrases.objects[thing]) for row, thing in zip(rows, objects, strict=True)})
    with arguments.out.open("w", encoding="utf-8") as out:
        for key, thing in found:
            out.write(json.dumps({"key": key, "object": thing, "area": 1.0}) + "\n")
        for key in sorted({pair.key for pair in pairs} - {key for key, _ in found}):
            out.write(json.dumps({"key": key, "object": None, "area": None}) + "\n")  # looked at, and empty
    print(f"{arguments.out}: {len(found):,} objects in {len(pairs):,} pictures")


if __name__ == "__main__":
    main()
