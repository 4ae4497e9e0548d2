"""What cannot be used is counted, named and passed over."""

import os
import re
import resource
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

import training.batches.batch
from benchmarks.speed.tiny_pairs import write_tar
from files.errors import CocuError
from tests.training.loader_world import BAD, loader, make_shards, members, take
from training.batches.batch import SampleCounts, all_counts
from training.batches.workers import _broken

# More workers than cores.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("curated"))


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_pairs_are_counted_and_passed_over(folder: Path, workers: int) -> None:
    with loader(folder, workers=workers) as batches:
        take(batches, 11)  # the whole epoch of 52, and little more
        counts = batches.counts
        assert set(counts.reasons) == set(BAD)
        assert counts.good >= 44
        assert counts.bad_share == pytest.approx(8 / 52, abs=0.06)
        assert all(example.startswith("0000") and ": " in example for example in counts.examples)
        assert counts.broken_shards == {"00002": "holds no samples"}


def test_an_epoch_without_a_good_pair_goes_by_but_data_without_any_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.batches.batch, "MOST_BAD_IN_A_ROW", 100)
    path = write_tar(tmp_path / "0.tar", list(chain.from_iterable(members(f"{i}", i, jpg=b"?") for i in range(5))))
    for workers in (0, 2):
        with (
            loader([str(path)], workers=workers) as batches,
            pytest.raises(CocuError, match=r"could not be used: 0/\d: unreadable picture") as caught,
        ):
            next(batches)
        assert caught.value.exit_code == 1
    good = members("good", 9)
    write_tar(path, [*chain.from_iterable(members(f"{i}", i, jpg=b"?") for i in range(5)), *good])
    with loader([str(path)]) as batches:
        assert [batch.keys for batch in take(batches, 3)] == [["0/good"] * 4] * 3
        assert batches.counts.bad > 50


def test_a_whole_bad_shard_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.batches.batch, "MOST_BAD_IN_A_ROW", 10)
    bad = chain.from_iterable(members(f"{i}", i, jpg=b"?") for i in range(40))
    write_tar(tmp_path / "0.tar", list(bad))
    write_tar(tmp_path / "1.tar", list(chain.from_iterable(members(f"{i}", i) for i in range(4))))
    with loader(tmp_path, shuffle_buffer=4) as batches:
        assert {key[0] for batch in take(batches, 3) for key in batch.keys} == {"1"}
        assert batches.counts.bad >= 40
    (tmp_path / "1.tar").unlink()
    write_tar(tmp_path / "2.tar", members("a", 1, txt=None))
    with loader(tmp_path, shuffle_buffer=4) as batches, pytest.raises(CocuError, match="could not be used"):
        next(batches)


def test_a_shard_cut_short_is_used_as_far_as_it_goes_and_named(folder: Path, tmp_path: Path) -> None:
    data = (folder / "00001.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2])
    with loader(tmp_path, batch_size=2) as batches:
        keys = {key for batch in take(batches, 30) for key in batch.keys}
        assert 5 < len(keys) < 25
        assert "cut short" in batches.counts.broken_shards["cut"]
        assert "cut short" in batches.counts.left_out()


def test_what_lies_behind_a_broken_stretch_is_used_and_the_stretch_named(tmp_path: Path) -> None:
    for name in "ab":
        path = write_tar(tmp_path / f"{name}.tar", [one for i in range(6) for one in members(f"{name}{i}", i)])
        data = bytearray(path.read_bytes())
        at = data.index(f"{name}2.jpg".encode())
        data[at : at + 512] = b"?" * 512
        path.write_bytes(data)
    with loader(tmp_path, batch_size=2) as batches:
        keys = {key for batch in take(batches, 20) for key in batch.keys}
        counts = batches.counts
        assert keys == {f"{name}/{name}{i}" for name in "ab" for i in (0, 1, 3, 4, 5)}
        assert set(counts.reasons) == {"no image"}  # what is left of the pair that was hit
        assert counts.lost_pairs == {"a": 1, "b": 1}
        said = counts.left_out()
        assert "empty or broken (2; what cannot be read has room for about 2 pairs): " in said
        assert f"a (tar broken: from byte {at:,} to " in said


def test_a_shard_that_vanishes_is_counted_not_fatal(folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.tar").write_bytes((folder / "00003.tar").read_bytes())
    with loader(tmp_path) as batches:
        next(batches)
        (tmp_path / "a.tar").unlink()
        assert all(key.startswith("b/") for batch in take(batches, 20)[1:] for key in batch.keys)
        assert any("No such file" in example for example in batches.counts.examples)


def test_what_was_left_out_is_said_with_its_share_and_reasons(folder: Path) -> None:
    with loader(folder) as batches:
        take(batches, 11)
        counts = batches.counts
        assert counts.bad == sum(counts.reasons.values())
        said = counts.left_out()
        assert said.startswith(f"left out: {100 * counts.bad_share:.1f}% of the pairs read ({counts.bad} of ")
        reason, count = counts.reasons.most_common(1)[0]
        assert f"{reason} ({count})" in said
        assert "shards that are empty or broken (1): 00002 (holds no samples)" in said
    assert SampleCounts(good=7).left_out() == ""
    other = SampleCounts(good=1, bad=9, reasons=Counter({f"reason {i}": 9 - i for i in range(9)}))
    total = all_counts([counts, other])
    assert (total.good, total.bad) == (counts.good + 1, counts.bad + 9)
    assert total.reasons == counts.reasons + other.reasons
    assert other.left_out().endswith("reason 3 (6), reason 4 (5) and 4 more")


def test_no_pair_is_lost_where_few_files_may_be_open(tmp_path: Path) -> None:
    for i in range(60):
        write_tar(tmp_path / f"{i}.tar", members("a", i))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len(os.listdir("/proc/self/fd")) + 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    try:
        with loader(tmp_path, batch_size=60, shuffle_buffer=60) as batches:
            assert len(set(next(batches).keys)) == 60  # of one part
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("limit", "said"), [(64, r"the limit of open files, 64, is low.*/dev/shm"), (1024, r"^((?!open files).)*/dev/shm")]
)
def test_a_process_that_ends_where_few_files_may_be_open_is_told_by_that(
    limit: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert re.search(said, str(_broken("DataLoader worker (pid(s) 7) exited unexpectedly")))
