"""Shards over processes: each once, whoever dies; what cannot be done is told, and the others are done."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import active_children
from pathlib import Path

import pytest

from curation.reading.shards import Shard
from curation.runs.each_shard import ShardStage, each_shard
from curation.runs.run_folder import RunFolder
from curation.runs.spread import ATTEMPTS, Advance, Done, Work, spread
from files.errors import CocuError, MisuseError
from files.rejects import Reject

SHARDS = [Shard(f"{i}", f"/data/{i}.tar", 10) for i in range(7)]


@contextmanager
def recording(folder: Path, deadly: str = "", deaths: int = 0, wrong: str = "") -> Iterator[Work]:
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
        advance(3, shard.size)
        return {"pairs": 3}, [Reject(shard.name, "told")]

    yield work


def begun(folder: Path) -> dict[str, int]:
    return {path.name: len(path.read_text().split()) for path in folder.iterdir()}


@pytest.mark.parametrize("deaths", [0, 1, ATTEMPTS])
def test_a_shard_of_a_worker_that_died_is_done_by_another(tmp_path: Path, deaths: int) -> None:
    counted: list[int] = []
    make = partial(recording, tmp_path, "3", deaths)
    found = dict(spread(SHARDS, make, 2, lambda pairs, weight: counted.append(pairs)))
    assert {shard.name for shard in found} == {shard.name for shard in SHARDS}
    failed = {shard.name: outcome for shard, outcome in found.items() if isinstance(outcome, CocuError)}
    assert list(failed) == (["3"] if deaths == ATTEMPTS else [])
    assert begun(tmp_path) == {shard.name: 1 for shard in SHARDS} | {"3": min(deaths + 1, ATTEMPTS)}
    assert sum(counted) == 3 * (len(SHARDS) - len(failed))
    assert not active_children()


def test_the_driver_commits_and_tells_what_failed(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    shards = [*SHARDS, Shard("bad", "/data/bad.tar", 10)]
    make = partial(recording, tmp_path / "begun")
    for processes in (2, 1):
        with RunFolder(tmp_path / f"out{processes}", "index", {}, shards) as folder, make() as here:
            with pytest.raises(CocuError, match=r"1 of 8 shards could not be read(.|\n)*bad: cannot be had"):
                each_shard(folder, "read", [ShardStage("embed", "pairs", shards, here, make)], processes)
            assert folder.missing(shards) == ["bad"]
            assert folder.reject_counts() == {"told": 7}
    assert (tmp_path / "out2/state/0.json").read_bytes() == (tmp_path / "out1/state/0.json").read_bytes()
    assert str(os.getpid()) not in (tmp_path / "begun" / "0").read_text().split()[0]


def test_misuse_ends_the_work_at_once(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="wrong option"):
        list(spread(SHARDS, partial(recording, tmp_path, wrong="0"), 1, lambda pairs, weight: None))
    assert begun(tmp_path) == {"0": 1}
    assert not active_children()


def test_no_shards_no_processes(tmp_path: Path) -> None:
    assert list(spread([], partial(recording, tmp_path), 2, lambda pairs, weight: None)) == []
