"""However many processes a part has, the parts take each batch once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.parts import EvalPart, parse_eval_part
from files.errors import MisuseError
from tests.examples import examples


@examples(100)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 60))
def test_each_batch_is_one_processs(worlds: list[int], batches: int) -> None:
    taken: list[int] = []
    for number, world in enumerate(worlds, 1):
        for rank in range(world):
            share = EvalPart(number, len(worlds)).share(rank, world)
            taken += range(batches)[share.number :: share.of]
    assert sorted(taken) == list(range(batches))


def test_parts_by_their_names() -> None:
    assert parse_eval_part(None) is None
    assert parse_eval_part("3/8") == EvalPart(3, 8)
    assert parse_eval_part("finish") == EvalPart(0, 0)
    for wrong in ("0/8", "9/8", "3", "train", "3/", "-1/2", ""):
        with pytest.raises(MisuseError, match="give I/N"):
            parse_eval_part(wrong)
