"""`.npy` files written block by block are those that numpy writes at once."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.index.array_files import ArrayWriter
from tests.examples import examples


@given(
    st.lists(st.integers(0, 40), max_size=6),
    st.sampled_from([(), (3,), (2, 2)]),
    st.sampled_from([np.float16, np.int32, np.uint64]),
)
@examples(40)
def test_blocks_join(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], shape: tuple[int, ...], dtype: type[np.generic]
) -> None:
    path = tmp_path_factory.mktemp("a") / "a.npy"
    blocks = [np.arange(n * int(np.prod(shape))).reshape(n, *shape).astype(dtype) for n in sizes]
    with ArrayWriter(path, dtype, shape) as writer:
        for block in blocks:
            writer.write(block)
    expected = np.concatenate([np.zeros((0, *shape), dtype), *blocks])
    for mode in (None, "r"):
        found = np.load(path, mmap_mode=mode)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)


def fail(path: Path) -> None:
    with ArrayWriter(path, np.int32) as writer:
        writer.write(np.arange(5))
        raise KeyError


def test_nothing_appears_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        fail(tmp_path / "a.npy")
    assert list(tmp_path.iterdir()) == []


def test_rows_of_another_shape_are_a_bug(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="rows of"), ArrayWriter(tmp_path / "a.npy", np.int32, (3,)) as writer:
        writer.write(np.zeros((2, 4)))
