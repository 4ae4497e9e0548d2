"""Tags as a tagger of known quality would give them, drawn from the truth about pictures: to try `curate run --tags`.

    python -m benchmarks.quality.made_up_tagger TRUTH --recall 0.7 --false 0.01 --out tags.parquet

Of the objects that are there, so many get a tag, and so many of those that are not. Scores overlap: Beta(5, 2) for
those that are there, Beta(2, 5) for the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.recovery.truth import Truth, read_truth


def main(arguments: list[str] | None = None) -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path, help="as for `cocu curate score --truth`")
    parser.add_argument("--recall", type=float, default=0.7)
    parser.add_argument("--false", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    table = made_up_tags(read_truth(given.truth), given.recall, given.false, given.seed)
    pq.write_table(table, given.out)
    print(f"{given.out}: {table.num_rows:,} tags")


def made_up_tags(truth: Truth, recall: float, false: float, seed: int) -> pa.Table:
    """key, concept, score; a picture without tags has a row without concept."""
    rng = np.random.default_rng(seed)
    there = ~np.isnan(truth.area)
    tagged = rng.random(there.shape) < np.where(there, recall, false)
    scores = np.where(there, rng.beta(5, 2, there.shape), rng.beta(2, 5, there.shape))
    pair, thing = np.nonzero(tagged)
    silent = np.flatnonzero(~tagged.any(1))
    keys = [truth.keys[i] for i in (*pair, *silent)]
    concepts = [truth.objects[i] for i in thing] + [None] * len(silent)
    score = np.concatenate([scores[pair, thing], np.zeros(len(silent))]).astype(np.float32)
    return pa.table({"key": keys, "concept": pa.array(concepts, pa.string()), "score": score})


if __name__ == "__main__":
    main()
