"""The stream of several collections: weights, epochs of their own, exact positions, and refusals to go on elsewhere."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed.tiny_pairs import write_tar
from files.errors import MisuseError
from tests.examples import examples
from tests.tiny_world import pair_members
from training.shards.files import ShardFiles
from training.shards.found import Source, find_data
from training.shards.order import EPOCH, SHARD, START, Slot
from training.shards.stream import Stream

SLOT = Slot(seed=4, stream=0, streams=1, window=16)
COUNTS = {"a": [7, 0, 12], "b": [5], "c": [1, 1, 30]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Collections a, b and c with shards of so many samples as COUNTS says."""
    folder = tmp_path_factory.mktemp("world")
    for name, counts in COUNTS.items():
        for shard, count in enumerate(counts):
            write_tar(folder / name / f"{shard}.tar", [m for i in range(count) for m in pair_members(f"{i:03d}", i)])
    return folder


def weighed(folder: Path) -> list[Source]:
    return [Source((str(folder / name),), weight) for name, weight in (("a", 6), ("b", 3), ("c", 1))]


def make(sources: list[Any], slot: Slot = SLOT, position: dict[str, Any] | None = None) -> Stream:
    shards, collections = find_data(sources)
    return Stream(collections, ShardFiles(shards), slot, position=position)


def samples(places: np.ndarray) -> list[tuple[int, int, int]]:
    return [tuple(row) for row in places[:, [SHARD, EPOCH, START]].tolist()]


def test_pooled_sources_are_seen_once_an_epoch(world: Path) -> None:
    total = sum(map(sum, COUNTS.values()))
    places = make([str(world / name) for name in COUNTS]).take(3 * total)
    assert places[:, EPOCH].tolist() == [0] * total + [1] * total + [2] * total
    assert len(set(samples(places))) == 3 * total


def test_weights_decide_how_often_and_each_collection_has_epochs_of_its_own(world: Path) -> None:
    places = make(weighed(world)).take(4000)
    of = np.array([0, 0, 0, 1, 2, 2, 2])[places[:, SHARD]]
    counts = np.bincount(of)
    np.testing.assert_allclose(counts / 4000, [0.6, 0.3, 0.1], atol=0.03)
    for number, size in enumerate(map(sum, COUNTS.values())):
        mine = places[of == number]
        whole = len(mine) // size
        assert mine[: whole * size, EPOCH].tolist() == [e for e in range(whole) for _ in range(size)]
        assert set(Counter(samples(mine)).values()) == {1}


@examples(60)
@given(st.integers(0, 300), st.integers(0, 2), st.booleans(), st.data())
def test_a_stream_goes_on_from_any_position(
    world: Path, taken: int, rank: int, pooled: bool, data: st.DataObject
) -> None:
    sources = [str(world)] if pooled else weighed(world)
    slot = replace(SLOT, stream=rank, streams=3)
    whole = make(sources, slot).take(taken + 50)
    stream, done = make(sources, slot), 0
    while done < taken:
        count = data.draw(st.integers(1, taken - done))
        np.testing.assert_array_equal(stream.take(count), whole[done : done + count])
        done += count
    position = json.loads(json.dumps(stream.position()))  # plain enough for any file
    assert position["taken"] == taken
    np.testing.assert_array_equal(make(sources, slot, position).take(50), whole[taken:])


def test_going_on_opens_only_the_shards_that_are_needed(tmp_path: Path) -> None:
    for shard in range(6):
        write_tar(tmp_path / f"{shard}.tar", [m for i in range(10) for m in pair_members(f"{i:03d}", i)])
    slot = replace(SLOT, window=10)
    stream = make([str(tmp_path)], slot)
    before = stream.take(35)
    position, after = stream.position(), stream.take(20)
    for number in set(before[:30, SHARD].tolist()) - set(before[30:, SHARD].tolist()):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(bytes(path.stat().st_size))  # of the same size, with nothing in it
    np.testing.assert_array_equal(make([str(tmp_path)], slot, position).take(20), after)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"seed": 5}, "seed: 4 then, 5 now"),
        ({"streams": 2}, "number of streams .data.streams.: 1 then, 2 now"),
        ({"window": 17}, "shuffle buffer: 16 then, 17 now"),
    ],
)
def test_another_order_is_refused(world: Path, change: dict[str, int], what: str) -> None:
    position = make([str(world)]).position()
    with pytest.raises(MisuseError, match=what):
        make([str(world)], replace(SLOT, **change), position)


def test_other_data_are_refused(world: Path) -> None:
    position = make([str(world / "a"), str(world / "b")]).position()
    with pytest.raises(MisuseError, match="number of shards: 4 then, 3 now"):
        make([str(world / "a")], position=position)
    with pytest.raises(MisuseError, match=r"shards \(a name, a size"):
        make([str(world / "b"), str(world / "a")], position=position)
    with pytest.raises(MisuseError, match="weights"):
        make(weighed(world)[:2], position=position)
    assert make([str(world / "a"), str(world / "b")], position=position).take(1).shape == (1, 6)


def test_data_may_have_moved(world: Path, tmp_path: Path) -> None:
    stream = make([str(world)])
    stream.take(20)
    (tmp_path / "elsewhere").symlink_to(world)
    moved = make([str(tmp_path / "elsewhere")], position=stream.position())
    np.testing.assert_array_equal(moved.take(30), stream.take(30))


def test_copies_of_remote_shards_go_when_they_have_been_read(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for shard in range(5):
        path = write_tar(tmp_path / f"{shard}.tar", [m for i in range(8) for m in pair_members(f"{i:03d}", i)])
        memory.pipe(f"/streamed/{shard}.tar", path.read_bytes())
    shards, collections = find_data(["memory://streamed/*.tar"])
    files = ShardFiles(shards)
    stream = Stream(collections, files, replace(SLOT, window=8))
    for _ in range(30):
        places = stream.take(4)
        assert all(Path(files.path(number)).exists() for number in places[:, SHARD].tolist())
        stream.read(stream.taken)
        # The one in use, the one before, and two on their way.
        assert len(list(Path(files.path(0)).parent.glob("*.tar"))) <= 4
    files.close()
