"""A build and a curation by parts at once, one of them killed, and by several processes: as one run makes it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from curation.runs import team as teams
from tests.integration.commands import World, cocu, digests, succeed
from tests.integration.faults import Undisturbed, WarmCommand, build, curate, run, same, start
from tests.integration.processes import workers

PARTS = 3
HAS_RAY = importlib.util.find_spec("ray") is not None
NO_CLUSTER = "--address 127.0.0.1:1: no cluster is reached" if HAS_RAY else "--engine ray: Ray is not installed"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_parts_make_what_one_run_makes(undisturbed: Undisturbed, warm: WarmCommand, tmp_path: Path) -> None:
    index, curated = tmp_path / "index", tmp_path / "curated"
    build_it = build(undisturbed.shards, index, undisturbed.model)
    for command, out, expected in (
        (build_it, index, undisturbed.index),
        (curate(undisturbed.index, curated), curated, undisturbed.curated),
    ):
        log = tmp_path / "log"
        others = [start(*command, "--part", f"{number}/{PARTS}") for number in (1, 3)]
        warm.start((*command, "--part", f"2/{PARTS}"), log, renames=12)
        assert warm.wait() == -9, log.read_text()
        for other in others:
            told = "".join(other.communicate(timeout=300))
            assert other.returncode == 0, told
            assert re.search("has its 1[34] of 40 shards", told), told
        assert "shards are missing" in run(*command, "--part", "finish", code=1)
        warm.start((*command, "--part", f"2/{PARTS}"), log)
        assert warm.wait() == 0, log.read_text()
        assert "none is missing: --part finish comes next" in log.read_text()
        run(*command, "--part", "finish")
        same(expected, out)


def test_shards_that_failed_are_tried_again_alone(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.shards, tmp_path / "shards")
    index, out, whole = (tmp_path / name for name in ("index", "out", "whole"))
    common = ("--model", world.model, "--device", "cpu")
    succeed("index", "build", tmp_path / "shards", "--out", index, *common)
    succeed("curate", "run", index, "--out", whole)
    lost = sorted((tmp_path / "shards").iterdir())[0]
    kept = lost.rename(tmp_path / "kept.tar")
    command = ("curate", "run", index, "--out", out)
    record = out / "failed" / f"{lost.stem}.json"
    for number, options in enumerate([(), ("--retry-failed",), ("--retry-failed", "--processes", 2)], 1):
        answer = cocu(*command, *options)
        assert answer.code == 1
        assert f"1 of {2 if number == 1 else 1} shards could not be curated" in answer.err
        tries = json.loads(record.read_text())
        assert [one["attempt"] for one in tries] == [*range(1, number + 1)]
        assert all(lost.name in one["error"] and one["worker"].startswith("process ") for one in tries)
    kept.rename(lost)
    answer = succeed(*command, "--retry-failed")
    assert "1 of 2 shards failed, at 3 attempts, and are tried again" in answer.err
    same(whole, out)
    assert "nothing to do" in succeed(*command, "--retry-failed").err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_make_what_one_makes(undisturbed: Undisturbed, tmp_path: Path) -> None:
    run(*build(undisturbed.shards, tmp_path / "index", undisturbed.model), "--processes", 2)
    same(undisturbed.index, tmp_path / "index")
    process = start(*curate(undisturbed.index, tmp_path / "curated"), "--processes", 2)
    state = tmp_path / "curated" / "state"
    while process.poll() is None and not (state.is_dir() and any(state.iterdir())):
        time.sleep(0.005)
    for worker in workers(process.pid)[:1]:
        os.kill(worker, signal.SIGKILL)
    told = "".join(process.communicate(timeout=300))
    assert process.returncode == 0, told
    same(undisturbed.curated, tmp_path / "curated")


def test_a_machine_of_many_cores_curates_by_several_processes(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    succeed("curate", "run", index, "--out", tmp_path / "one")
    for name, value in (("cores", lambda: 8), ("memory", lambda: 64e9), ("PAIRS_EACH", 1)):
        monkeypatch.setattr(teams, name, value)
    assert "2 processes share the shards, for 8 cores" in succeed("curate", "run", index, "--out", tmp_path / "two").err
    same(tmp_path / "one", tmp_path / "two")


def test_what_one_process_does_is_not_given_to_several(index: Path, world: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for options, message in (
        (("--gpus", 2), "--gpus 2: is of --anchors and --localise"),
        (("--localise", "--device", "cpu", "--gpus", 2), "--gpus 2: there is no GPU for it"),
        (("--engine", "ray", "--address", "127.0.0.1:1"), NO_CLUSTER),
        (("--part", "finish", "--retry-failed"), "--part finish --retry-failed: it does none"),
    ):
        answer = cocu("curate", "run", index, "--out", out, *options)
        assert (answer.code, out.exists()) == (2, False)
        assert message in answer.err
    answer = cocu("index", "build", world.shards, "--out", out, "--embeddings", tmp_path, "--processes", 2)
    assert (answer.code, out.exists()) == (2, False)
    assert "--embeddings are worked by one process" in answer.err
    answer = cocu("index", "build", world.shards, "--out", out, "--part", "4/3")
    assert (answer.code, out.exists()) == (2, False)
    assert "--part 4/3: give I/N" in answer.err


def test_a_large_index_is_finished_in_parts(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.index.inverted_lists.ADD_ROWS", 16)
    options = ("--min-count", 1, "--min-recall", 0, "--workers", 1, "--factory", "IVF4,SQ8")
    world.build(tmp_path / "whole", *options)
    index = tmp_path / "index"
    for part in ("1/2", "2/2"):
        answer = world.build(index, *options, "--part", part)
        assert "blocks" not in answer.err
    answer = world.build(index, *options[:-1], "Flat", "--part", "train")
    assert "its FAISS indexes have no lists to train; --part finish comes next" in answer.err
    answer = world.build(index, *options, "--part", "train")
    assert "each part again" in answer.err
    assert not (index / "captions.faiss").exists()
    answer = world.build(index, *options, "--part", "2/2")
    assert re.search("part 2/2 has the lists of its [0-9]+ blocks of captions; [1-9]+ are missing still", answer.err)
    answer = world.build(index, *options, "--part", "1/2")
    assert re.search("part 1/2 has the lists of its [0-9]+ blocks of captions; none is missing", answer.err)
    found = {path: path.stat().st_mtime_ns for path in (index / "lists").iterdir()}
    world.build(index, *options, "--part", "train")  # once more: all is there
    assert found == {path: path.stat().st_mtime_ns for path in (index / "lists").iterdir()}
    succeed("index", "finish", world.shards, "--model", world.model, "--out", index, *options)
    parts = ("concepts.parquet", "rows", "images.faiss", "captions.faiss")
    assert digests(index, *parts) == digests(tmp_path / "whole", *parts)
    assert not (index / "lists").exists()
    answer = cocu("curate", "run", index, "--out", tmp_path / "out", "--part", "train")
    assert (answer.code, "--part train: give I/N" in answer.err) == (2, True)


def test_another_machine_goes_on_in_the_precision_of_the_first(world: World, tmp_path: Path) -> None:
    whole, index, cpu = tmp_path / "whole", tmp_path / "index", ("--device", "cpu")
    other = ("--precision", "fp16")  # what no CPU takes by itself, and a GPU does
    world.build(whole, *cpu, *other)
    world.build(index, *cpu, *other, "--part", "1/2")
    command = ("index", "build", world.shards, "--model", world.model, "--out", index, *cpu)
    answer = cocu(*command, "--precision", "fp32")
    assert (answer.code, 'precision: "fp16" there, "fp32" now' in answer.err) == (2, True)
    for part in ("2/2", "finish"):
        answer = succeed(*command, "--part", part)
        assert "was begun in fp16, and goes on so; by itself this machine would take " in answer.err
    same(whole, index)
    assert "already finished" in succeed(*command).err
