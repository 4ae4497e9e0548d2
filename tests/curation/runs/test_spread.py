"""Shards over processes: each once, whoever dies; what cannot be done is told, and the others are done."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from curation.reading.shards import Shard
from curation.runs.attempts import attempts_at
from curation.runs.each_shard import each_shard
from curation.runs.local_workers import local_workers, seen_alone
from curation.runs.run_folder import RunFolder
from curation.runs.shard_stage import ShardStage
from curation.runs.spread import ATTEMPTS, Advance, Done, Gather, Seat, Work, spread
from files.errors import CocuError, MisuseError
from files.rejects import Reject
from tests.integration.processes import Children

SHARDS = [Shard(f"{i}", f"/data/{i}.tar", 10) for i in range(7)]


def processes(count: int) -> Gather:
    return partial(local_workers, [None] * count)


@contextmanager
def recording(folder: Path, deadly: str, deaths: int, wrong: str, seat: Seat) -> Iterator[Work]:
    """Writes down each shard that it begins; dies so many times at the deadly one; the wrong one is misuse."""

    def work(shard: Shard, advance: Advance) -> Done:
        with (folder / shard.name).open("a") as file:
            file.write(f"{os.getpid()}\n")
        if shard.name == deadly and len((folder / shard.name).read_text().split()) <= deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        if shard.name == "bad":
            raise CocuError("bad: cannot be had")
        if shard.name == wrong:
            raise MisuseError("wrong option")
        advance(3, shard.size / 3)  # weights are estimates
        return {"pairs": 3}, [Reject(shard.name, "told")]

    yield work


def begun(folder: Path) -> dict[str, int]:
    return {path.name: len(path.read_text().split()) for path in folder.iterdir()}


@pytest.mark.parametrize("deaths", [0, 1, ATTEMPTS])
def test_a_shard_of_a_worker_that_died_is_done_by_another(tmp_path: Path, deaths: int, children: Children) -> None:
    counted: list[int] = []
    weights: list[float] = []
    tried: list[tuple[str, str]] = []

    def advance(pairs: int, weight: float) -> None:
        counted.append(pairs)
        weights.append(weight)

    make = partial(recording, tmp_path, "3", deaths, "")
    found = dict(
        spread(
            *(SHARDS, make, processes(2), advance),
            lambda shard, worker, error: tried.append((shard.name, error)),
        )
    )
    assert {shard.name for shard in found} == {shard.name for shard in SHARDS}
    failed = {shard.name: outcome for shard, outcome in found.items() if isinstance(outcome, CocuError)}
    assert list(failed) == (["3"] if deaths == ATTEMPTS else [])
    assert begun(tmp_path) == {shard.name: 1 for shard in SHARDS} | {"3": min(deaths + 1, ATTEMPTS)}
    assert tried == [("3", "the worker is gone: killed by signal 9, maybe for want of memory")] * deaths
    assert sum(counted) == 3 * (len(SHARDS) - len(failed))
    assert sum(weights) == 10 * len(SHARDS)
    assert not children()


def test_the_driver_commits_and_tells_what_failed(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    shards = [*SHARDS, Shard("bad", "/data/bad.tar", 10)]
    make = partial(recording, tmp_path / "begun", "", 0, "")
    for count in (2, 1):
        with RunFolder(tmp_path / f"out{count}", "index", {}, shards) as folder, make(Seat(1, 1)) as here:
            gather = processes(count) if count > 1 else None
            with pytest.raises(CocuError, match=r"1 of 8 shards could not be read(.|\n)*bad: cannot be had"):
                each_shard(folder, "read", [ShardStage("embed", "pairs", shards, here, make)], gather)
            assert folder.missing(shards) == ["bad"]
            assert folder.to_retry(shards) == shards[-1:]
            (one,) = attempts_at(folder.path, "bad")
            assert (one["attempt"], one["error"]) == (1, "bad: cannot be had")
            assert (f"process {os.getpid()} on " in one["worker"]) == (count == 1)
            assert folder.reject_counts() == {"told": 7}
    assert (tmp_path / "out2/state/0.json").read_bytes() == (tmp_path / "out1/state/0.json").read_bytes()
    assert str(os.getpid()) not in (tmp_path / "begun" / "0").read_text().split()[0]


def test_misuse_ends_the_work_at_once(tmp_path: Path, children: Children) -> None:
    with pytest.raises(MisuseError, match="wrong option"):
        list(spread(SHARDS, partial(recording, tmp_path, "", 0, "0"), processes(1), lambda pairs, weight: None))
    assert begun(tmp_path) == {"0": 1}
    assert not children()


def test_no_shards_no_processes(tmp_path: Path) -> None:
    assert list(spread([], partial(recording, tmp_path, "", 0, ""), processes(2), lambda pairs, weight: None)) == []


class Foreseeing:
    """Dies once at a deadly shard; of others it tells whether the next one came before it was through.

    The latter half is done once another has begun the deadly one, or is about to: a death may be noticed late, when
    none is left but the shards that the dead one had, of which each worker then has one alone.
    """

    def __init__(self, folder: Path, deadly: str, count: int) -> None:
        self.folder, self.deadly, self.count = folder, deadly, count
        self.heard: list[str] = []

    def soon(self, shard: Shard) -> None:
        self.heard.append(shard.name)

    def __call__(self, shard: Shard, advance: Advance) -> Done:
        with (self.folder / shard.name).open("a") as file:
            file.write("begun\n")
        assert self.heard[0] == shard.name
        early = int(shard.name) < self.count // 2
        end = time.monotonic() + 60
        while not (len(self.heard) > 1 if early else self.begun_again()) and time.monotonic() < end:
            time.sleep(0.001)
        if shard.name == self.deadly and not self.begun_again():
            os.kill(os.getpid(), signal.SIGKILL)
        del self.heard[0]
        return {"ahead": not early or bool(self.heard)}, []

    def begun_again(self) -> bool:
        """Whether the deadly one was, or is the next here; where none is deadly, as if it were."""
        begun = self.folder / self.deadly
        if not self.deadly or self.deadly in self.heard[1:]:
            return True
        return begun.exists() and begun.read_text().count("begun") > 1


@contextmanager
def foreseeing(folder: Path, deadly: str, count: int, seat: Seat) -> Iterator[Work]:
    yield Foreseeing(folder, deadly, count)


def test_the_next_shard_comes_while_one_is_worked_at(tmp_path: Path) -> None:
    many = [Shard(f"{i}", f"/data/{i}.tar", 1) for i in range(24)]
    tried: list[str] = []
    found = spread(
        *(many, partial(foreseeing, tmp_path, "4", len(many)), processes(2), lambda pairs, weight: None),
        lambda shard, worker, error: tried.append(shard.name),
    )
    assert {shard.name: done for shard, done in found} == {shard.name: ({"ahead": True}, []) for shard in many}
    assert begun(tmp_path) == {shard.name: 1 for shard in many} | {"4": 2}
    assert tried == ["4"]


def test_the_next_one_is_told_of_where_one_process_does_all(tmp_path: Path) -> None:
    shards = [Shard(f"{i}", f"/data/{i}.tar", 1) for i in range(5)]
    with RunFolder(tmp_path / "out", "index", {}, shards) as folder:
        work = Foreseeing(tmp_path, "", 2 * len(shards) - 2)
        each_shard(folder, "read", [ShardStage("embed", "pairs", shards, work)])
        assert [folder.records[shard.name]["ahead"] for shard in shards] == [True] * len(shards)
    assert not work.heard


@contextmanager
def seeing(folder: Path, broken: str, together: int, seat: Seat) -> Iterator[Work]:
    """Tells in its record which GPU it sees, once so many have a shard; with a broken one it cannot begin."""
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
    if gpu in broken.split():
        raise CocuError(f"GPU {gpu} is broken")
    if gpu == "dead":
        os._exit(3)

    def work(shard: Shard, advance: Advance) -> Done:
        (folder / gpu).touch()
        while len(list(folder.iterdir())) < together:
            time.sleep(0.01)
        return {"gpu": gpu}, []

    yield work


def test_each_process_sees_a_gpu_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seen, expected in (("", {"0", "1"}), ("5, GPU-ab,7", {"5", "GPU-ab"})):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)
        there = tmp_path / str(len(seen))
        there.mkdir()
        make, gather = partial(seeing, there, "", 2), partial(local_workers, [0, 1])
        found = list(spread(SHARDS, make, gather, lambda pairs, weight: None))
        assert {done[0]["gpu"] for _, done in found if not isinstance(done, CocuError)} == expected
    assert [seen_alone(gpu) for gpu in (None, 2)] == [None, "7"]


def test_workers_that_cannot_begin_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: Children
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "a,dead,b")
    gather = partial(local_workers, [0, 1, 2])
    found = list(spread(SHARDS, partial(seeing, tmp_path, "a", 0), gather, lambda pairs, weight: None))
    assert [done[0]["gpu"] for _, done in found if not isinstance(done, CocuError)] == ["b"] * len(SHARDS)
    with pytest.raises(CocuError, match=r"GPU . is broken"):
        list(spread(SHARDS, partial(seeing, tmp_path, "a b", 0), gather, lambda pairs, weight: None))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "dead,dead,dead")
    with pytest.raises(CocuError, match="no worker process is left"):
        list(spread(SHARDS, partial(seeing, tmp_path, "", 0), gather, lambda pairs, weight: None))
    assert not children()
