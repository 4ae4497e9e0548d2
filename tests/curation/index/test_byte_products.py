"""Products in whole numbers, against those of the vectors that the codes stand for, in doubles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curation.index.byte_products import MIDDLE, byte_products, byte_queries, one_thread_each
from tests.examples import examples

pytestmark = pytest.mark.skipif(not byte_products(), reason="this processor multiplies no bytes")


@given(
    dim=st.sampled_from([1, 3, 32, 512, 768, 1024, 2048, 5000]),
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1e-12, 1e-3, 1.0, 50.0]),
    extreme=st.booleans(),
)
@examples(60)
def test_products_are_those_of_the_vectors(dim: int, seed: int, size: float, extreme: bool) -> None:
    """Within what rounding a query to its two bytes may cost, at most."""
    rng = np.random.default_rng(seed)
    queries = (rng.standard_normal((7, dim)) * size).astype(np.float32)
    codes = rng.integers(0, 256, (9, dim)).astype(np.uint8)
    if extreme:  # the sum that is nearest to what 32 bits hold
        queries[:] = np.where(rng.random((7, 1)) < 0.5, -size, size)
        codes[:] = np.where(rng.random((9, 1)) < 0.5, 0, 255)
    queries[3] = 0
    step, first = rng.random(dim).astype(np.float32), rng.standard_normal(dim).astype(np.float32)
    which, added = np.array([6, 0, 3, 3]), np.array([0.5, -1, 0, 2], np.float32)
    asked = byte_queries(queries, step, first)
    found = asked.products(which, codes, added)
    assert found.dtype == np.float32
    vectors = first.astype(np.float64) + codes * step.astype(np.float64)
    expected = queries[which].astype(np.float64) @ vectors.T + added[:, None]
    largest = np.abs(queries * step).max(1)[which, None]
    rounded = largest / (127 * asked.base) / 2 * np.abs(codes.astype(float) - MIDDLE).sum(1)
    sums = 1e-6 * (np.abs(queries[which]).astype(float) @ np.abs(vectors).T + np.abs(added[:, None])) * np.sqrt(dim)
    assert (np.abs(found - expected) <= rounded + sums + 1e-6).all()


@pytest.mark.parametrize(("dim", "base"), [(32, 256), (514, 256), (515, 128), (1028, 128), (1029, 64), (2056, 64)])
def test_the_low_byte_counts_as_little_as_the_sums_have_room_for(dim: int, base: int) -> None:
    asked = byte_queries(np.ones((1, dim), np.float32), np.ones(dim, np.float32), np.zeros(dim, np.float32))
    assert asked.base == base
    codes = np.array([[0] * dim, [255] * dim], np.uint8)
    found = asked.products(np.array([0]), codes, np.zeros(1, np.float32))
    np.testing.assert_allclose(found, [[0, 255 * dim]], rtol=1e-4, atol=1e-3)


def test_who_searches_leaves_other_threads_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with one_thread_each() as first:
            first()
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
