"""The order of samples: exactly once an epoch for any shards, ranks and windows, and exactly on from any place."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from files.errors import CocuError
from tests.examples import examples
from training.shards.order import (
    BESIDE,
    EPOCH,
    SHARD,
    START,
    STOP,
    Order,
    Piece,
    Slot,
    cut,
    permutation,
    raw_bits,
    spread,
)


class Arrays:
    """Shards that are arrays of edges only, with a count of those that are held."""

    def __init__(self, edges: Sequence[np.ndarray]) -> None:
        self.all, self.held = edges, Counter[int]()

    def spans(self, number: int) -> np.ndarray:
        assert self.held[number] > 0
        return np.stack([self.all[number][:-1], self.all[number][1:]], 1)

    def prefetch(self, numbers: Sequence[int]) -> None:
        assert all(0 <= number < len(self.all) for number in numbers)

    def hold(self, number: int) -> None:
        self.held[number] += 1

    def release(self, number: int) -> None:
        self.held[number] -= 1
        assert self.held[number] >= 0


def shard(sizes: Sequence[int], packed: float) -> tuple[np.ndarray, int]:
    """Edges of samples of these sizes, and the size of the file, by how far it is packed (0: size unknown)."""
    edges = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return edges, int((edges[-1] + 3) * packed) if packed in (0, 1) else max(1, int(edges[-1] * packed))


SHARDS = st.lists(
    st.builds(shard, st.lists(st.integers(1, 50), max_size=9), st.sampled_from([1, 1, 1, 0, 0.3, 1.7])),
    min_size=1,
    max_size=7,
)


def order_of(shards: list[tuple[np.ndarray, int]], slot: Slot, **rest: object) -> Order:
    edges, sizes = zip(*shards, strict=True)
    return Order(range(len(shards)), list(sizes), Arrays(edges), slot, **rest)  # type: ignore[arg-type]


def rows(places: np.ndarray) -> list[tuple[int, ...]]:
    assert not places[:, BESIDE:].any()
    return [tuple(row) for row in places[:, :BESIDE].tolist()]


@examples(150)
@given(SHARDS, st.integers(1, 5), st.integers(1, 20), st.booleans(), st.integers(0, 3), st.integers(1, 3))
def test_every_epoch_gives_each_sample_to_exactly_one_rank(
    shards: list[tuple[np.ndarray, int]], ranks: int, window: int, shuffle: bool, seed: int, epochs: int
) -> None:
    samples = [(i, int(a), int(b)) for i, (edges, _) in enumerate(shards) for a, b in pairwise(edges)]
    expected = [(i, epoch, a, b) for i, a, b in samples for epoch in range(epochs)]
    found = []
    for rank in range(ranks):
        order = order_of(shards, Slot(seed, rank, ranks, window, shuffle), epochs=epochs)
        mine = rows(order.take(len(expected) + 7))
        assert [row[EPOCH] for row in mine] == sorted(row[EPOCH] for row in mine)
        assert len(order.take(1)) == 0
        found += mine
    assert sorted(found) == sorted(expected)


@examples(100)
@given(SHARDS, st.integers(1, 4), st.integers(1, 20), st.data())
def test_it_goes_on_from_any_place(
    shards: list[tuple[np.ndarray, int]], ranks: int, window: int, data: st.DataObject
) -> None:
    if not any(len(edges) > 1 for edges, _ in shards):
        return
    slot = Slot(data.draw(st.integers(0, 9)), data.draw(st.integers(0, ranks - 1)), ranks, window)
    taken, after = data.draw(st.integers(0, 150)), data.draw(st.integers(1, 60))
    whole = rows(order_of(shards, slot).take(taken + after))
    order, done = order_of(shards, slot), 0
    while done < taken:  # in pieces of any size
        count = data.draw(st.integers(1, taken - done))
        assert rows(order.take(count)) == whole[done : done + count]
        done += count
    position = order.position()
    assert all(type(value) is int for value in position.values())
    again = order_of(shards, slot, position=position)
    assert rows(again.take(after)) == whole[taken:] == rows(order.take(after))


@examples(100)
@given(SHARDS, st.integers(1, 10), st.lists(st.integers(0, 15), max_size=20))
def test_shards_are_held_as_long_as_their_samples_are_awaited(
    shards: list[tuple[np.ndarray, int]], window: int, takes: list[int]
) -> None:
    if not any(len(edges) > 1 for edges, _ in shards):
        return
    edges, sizes = zip(*shards, strict=True)
    arrays = Arrays(edges)
    order = Order(range(len(shards)), sizes, arrays, Slot(0, 0, 1, window))
    for count in takes:
        places = order.take(count)
        assert all(arrays.held[number] > 0 for number in places[:, SHARD].tolist())
        for number in order.spent():
            arrays.release(number)
    assert arrays.held.total() <= max(window, len(shards)) + len(shards)


def test_ranks_get_equal_shares_however_unequal_the_shards() -> None:
    sizes = [1000, 10, 10, 3, 700]
    shards = [(np.arange(0, (n + 1) * 512, 512), n * 512) for n in sizes]
    shares = [len(order_of(shards, Slot(1, rank, 4, 100), epochs=1).take(5000)) for rank in range(4)]
    assert sum(shares) == sum(sizes)
    assert max(shares) - min(shares) <= 1


def test_with_fewer_samples_than_ranks_every_rank_gets_one_in_the_end() -> None:
    shards = [(np.array([0, 512]), 512)]
    for rank in range(3):
        places = order_of(shards, Slot(0, rank, 3, 10)).take(4)
        assert places[:, [START, STOP]].tolist() == [[0, 512]] * 4
        assert np.diff(places[:, EPOCH]).tolist() == [3, 3, 3]


def test_shards_without_any_sample_are_an_error() -> None:
    for rank in range(2):
        with pytest.raises(CocuError, match="no samples in 2 shards"):
            order_of([(np.array([0]), 1024)] * 2, Slot(0, rank, 2, 10)).take(1)


def test_epochs_and_seeds_differ_in_order_and_ranks_in_their_stretch() -> None:
    shards = [(np.arange(0, 51 * 512, 512), 50 * 512) for _ in range(8)]

    def first_epochs(seed: int, rank: int) -> list[list[tuple[int, ...]]]:
        places = order_of(shards, Slot(seed, rank, 2, 100), epochs=2).take(1000)
        return [[(s, a) for s, e, a, _ in rows(places) if e == epoch] for epoch in range(2)]

    (one, two), (other, _) = first_epochs(0, 0), first_epochs(1, 0)
    assert one != two
    assert set(one) != set(two)
    assert one != other
    assert not set(one) & set(first_epochs(0, 1)[0])


def test_a_window_is_shuffled_and_nothing_leaves_it() -> None:
    shards = [(np.arange(0, 1001 * 512, 512), 1000 * 512)]
    start = order_of(shards, Slot(0, 0, 1, 100), epochs=1).take(1000)[:, START] // 512
    windows = start.reshape(10, 100)
    assert [sorted(window) for window in windows.tolist()] == np.arange(1000).reshape(10, 100).tolist()
    offsets = windows - np.arange(0, 1000, 100)[:, None]
    assert len({tuple(window) for window in offsets.tolist()}) == 10  # each in an order of its own
    assert np.corrcoef(offsets.ravel(), np.tile(np.arange(100), 10))[0, 1] < 0.15


def test_without_shuffling_the_order_is_that_of_the_files() -> None:
    shards = [(np.arange(0, 4 * 512, 512), 3 * 512) for _ in range(3)]
    places = order_of(shards, Slot(0, 0, 1, 2, shuffle=False), epochs=1).take(100)
    assert places[:, [SHARD, START]].tolist() == [[i, j * 512] for i in range(3) for j in range(3)]


@given(st.lists(st.integers(1, 100), min_size=1, max_size=8), st.integers(1, 9))
def test_stretches_cover_the_tape_once(lengths: list[int], stretches: int) -> None:
    order = [int(i) for i in permutation(len(lengths), "x")]
    covered: dict[int, list[tuple[int, int]]] = {}
    for stretch in range(stretches):
        for piece in cut(order, lengths, stretch, stretches):
            assert piece.first < piece.last
            covered.setdefault(piece.shard, []).append((piece.first, piece.last))
    for number, length in enumerate(lengths):
        parts = sorted(covered[number])
        assert parts[0][0] == 0
        assert parts[-1][1] == length
        assert all(left[1] == right[0] for left, right in pairwise(parts))


def test_a_stretch_without_a_byte_has_no_piece() -> None:
    assert [cut([0], [2], stretch, 4) for stretch in range(4)] == [[Piece(0, 2, 0, 1)], [], [Piece(0, 2, 1, 2)], []]
    # Its shard is neither held nor read: nobody knows what it costs to fetch.
    arrays = Arrays([np.array([0, 1, 2])])
    order = Order([0], [2], arrays, Slot(0, 1, 4, 10, shuffle=False), epochs=1)
    assert len(order.take(1)) == 0
    assert not arrays.held
    assert not order.spent()


def test_permutations_are_uniform() -> None:
    drawn = Counter(tuple(permutation(4, 5, i).tolist()) for i in range(12_000))
    assert len(drawn) == 24
    assert chisquare(list(drawn.values())).pvalue > 1e-4


def test_random_bits_stay_the_same_from_version_to_version() -> None:
    assert raw_bits(2, 0, "shards", 0, 0).tolist() == [8121922018767852285, 9800395112059864943]


def test_collections_are_drawn_by_weight() -> None:
    weights = [0.5, 0.3, 0.2]
    drawn = spread(weights, 0, 30_000, 1, "sources", 0)
    counts = np.bincount(drawn, minlength=3)
    assert chisquare(counts, np.array(weights) * 30_000).pvalue > 1e-4
    # Any part of the draws by itself.
    for first, count in [(0, 10), (4090, 20), (8192, 1), (12_345, 9000), (77, 0)]:
        assert spread(weights, first, count, 1, "sources", 0).tolist() == drawn[first : first + count].tolist()
    assert spread(weights, 0, 100, 1, "sources", 1).tolist() != drawn[:100].tolist()
