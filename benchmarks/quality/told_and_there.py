"""Whether confidence comes true: of new claims, concept by concept, what was told and how many are in the picture.

python -m benchmarks.quality.told_and_there CURATED --truth TRUTH --synonyms FILE
"""

from __future__ import annotations

import argparse
from pathlib import Path

import duckdb
import numpy as np

from curation.recovery.naming import named_by_concepts, named_in_texts, phrases_of
from curation.recovery.truth import read_synonyms, read_truth

EDGES = (0.1, 0.2, 0.3, 0.5)


def main() -> None:
    """Read, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curated", type=Path)
    parser.add_argument("--truth", required=True, type=Path)
    parser.add_argument("--synonyms", required=True, type=Path)
    given = parser.parse_args()
    truth, words = read_truth(given.truth), read_synonyms(given.synonyms)
    phrases = phrases_of(words | {name: (name,) for name in truth.objects if name not in words})
    row = {key: i for i, key in enumerate(truth.keys)}
    column = {name: i for i, name in enumerate(truth.objects)}
    tables = given.curated / "tables"
    ask = duckdb.connect().execute
    pairs = ask(f"SELECT key, caption, caption_concepts FROM '{tables}/pairs/*.parquet'").fetchall()
    claims = ask(
        f"SELECT key, concept, confidence FROM '{tables}/archives/*.parquet' WHERE NOT in_caption AND confidence > 0"
    ).fetchall()
    said = named_in_texts([pair[1] for pair in pairs], phrases)
    named = {(pairs[i][0], int(one)) for i, one in zip(*said, strict=True)}
    own = [(pair[0], concept) for pair in pairs for concept in pair[2]]
    named |= set(zip([key for key, _ in own], named_by_concepts([c for _, c in own], phrases).tolist(), strict=True))
    told, there = [], []
    for (key, _, said), one in zip(claims, named_by_concepts([claim[1] for claim in claims], phrases), strict=True):
        if key in row and one >= 0 and (key, int(one)) not in named:
            place = column.get(phrases.objects[one])
            told.append(said)
            there.append(place is not None and not np.isnan(truth.area[row[key], place]))
    bins, shares, right = np.digitize(told, EDGES), np.array(told), np.array(there)
    print("| told | on average | there | claims |\n|---|---|---|---|")
    for i in range(len(EDGES) + 1):
        if (mine := bins == i).any():
            least = EDGES[i - 1] if i else 0
            print(f"| {least} and more | {shares[mine].mean():.2f} | {right[mine].mean():.2f} | {mine.sum()} |")


if __name__ == "__main__":
    main()
