"""The members that columns give, against json.dumps of each pair."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from files.concepts_json import CONCEPTS_VERSION, REGION, KeptConcepts, concepts_json, recovered

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
PLAIN = st.characters(exclude_categories=["Cs"])
ROWS = st.lists(
    st.tuples(
        st.text(PLAIN, min_size=1),
        FLOATS,
        st.integers(0, 2**31 - 1),
        st.booleans(),
        st.none() | st.floats(0, 1, width=32),
        st.none() | st.lists(st.floats(-2, 2) | st.floats(-1e20, 1e20), min_size=6, max_size=6),
    ),
    max_size=6,
)


def expected(rows: list[tuple[Any, ...]], looked: bool) -> bytes:
    listed = []
    for concept, score, cluster, named, confidence, region in rows:
        one = {"concept": concept, "score": round(float(np.float32(score)), 5), "cluster": cluster, "in_caption": named}
        if confidence is not None:
            one["confidence"] = round(float(np.float32(confidence)), 4)
        if looked:
            seen = region and {"box": [round(x, 3) for x in region[:4]], "area": round(region[4], 4)}
            one |= seen | {"peak": round(region[5], 4)} if seen else dict.fromkeys(("box", "area", "peak"))
        listed.append(one)
    return json.dumps({"version": CONCEPTS_VERSION, "concepts": listed}, ensure_ascii=False).encode()


@given(st.lists(ROWS, max_size=4), st.booleans())
def test_members_are_what_json_writes(pairs: list[list[tuple[Any, ...]]], looked: bool) -> None:
    rows = [row for pair in pairs for row in pair]
    unseen = [np.nan] * len(REGION)
    kept = KeptConcepts(
        np.cumsum([0, *map(len, pairs)]),
        pa.array([row[0] for row in rows], pa.string()),
        np.array([row[1] for row in rows], np.float32),
        np.array([row[2] for row in rows], np.int32),
        np.array([row[3] for row in rows], bool),
        np.array([np.nan if row[4] is None else row[4] for row in rows], np.float32),
        np.array([row[5] or unseen for row in rows]).reshape(-1, 6) if looked else None,
    )
    assert concepts_json(kept).to_pylist() == [expected(pair, looked) for pair in pairs]
    assert recovered(kept, 2) == [[row[0] for row in pair if not row[3]][:2] for pair in pairs]
