"""Precision of new claims against recall, by a plain loop over thresholds."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation.recovery.curve import precision_by_recall
from tests.examples import examples

PAIRS, OBJECTS = 4, 3
masks = st.lists(st.booleans(), min_size=PAIRS * OBJECTS, max_size=PAIRS * OBJECTS).map(
    lambda bits: np.array(bits).reshape(PAIRS, OBJECTS)
)
rows = st.lists(
    st.tuples(st.integers(0, PAIRS - 1), st.integers(-1, OBJECTS - 1), st.sampled_from([math.nan, 0.0, 0.2, 0.5, 0.9])),
    max_size=25,
)


@examples(200)
@given(rows, masks, masks, masks, st.lists(st.sampled_from([0.1, 0.3, 0.5, 1.0]), unique=True).map(sorted))
def test_points_are_those_of_the_plain_loop(
    rows: list[tuple[int, int, float]],
    present: np.ndarray,
    captioned: np.ndarray,
    large: np.ndarray,
    recalls: list[float],
) -> None:
    gaps = present & large & ~captioned
    pair, named, confidence = (np.array([row[i] for row in rows]) for i in range(3))
    got = precision_by_recall(
        pair.astype(int), named.astype(int), confidence.astype(float),
        gaps=gaps, present=present, captioned=captioned, recalls=recalls,
    )  # fmt: skip
    wanted = {}
    for recall in recalls:
        for least in (0.9, 0.5, 0.2, 0.0):
            claims = {(p, o) for p, o, sure in rows if o >= 0 and sure >= least and not captioned[p, o]}
            reached = sum(gaps[claim] for claim in claims) / max(gaps.sum(), 1)
            if claims and reached >= recall:
                wanted[least] = (reached, len(claims), sum(present[claim] for claim in claims) / len(claims), least)
                break
    assert [(p.recall, p.claims, p.precision_new, p.confidence) for p in got] == list(wanted.values())
