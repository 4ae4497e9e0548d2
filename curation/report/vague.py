"""Which concepts are recovered often, and yet with little to say so: they are faded, with a word why."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

# A mean confidence below it: of ten pairs' other captions not one would name the concept.
FEW = 0.1


def vague_concepts(
    connection: duckdb.DuckDBPyConnection, concepts: Sequence[str], by_confidence: bool
) -> dict[str, str]:
    """Of these concepts those that are recovered on little evidence, and why: "unnamed" or "unlikely".

    Unnamed: in most of the pairs that it is recovered for, no retrieved caption names it. Unlikely: its mean
    confidence there is less than `FEW`; asked only `by_confidence`, as this means nothing where pictures count most.
    """
    rows = connection.execute(
        "SELECT concept, 2 * count(*) FILTER (support = 0) > count(*), "
        "avg(confidence) FILTER (isfinite(confidence)) < ? "
        "FROM archives WHERE NOT in_caption AND list_contains(?, concept) GROUP BY concept",
        [FEW, list(concepts)],
    ).fetchall()
    return {
        concept: "unnamed" if unnamed else "unlikely"
        for concept, unnamed, unlikely in rows
        if unnamed or (by_confidence and unlikely)
    }
