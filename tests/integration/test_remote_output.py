"""Indexes and curations whose folders lie elsewhere: what comes there is, file for file, what comes to a disk."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.index.opened import open_index
from tests.integration.faults import SHARDS, Undisturbed, WarmCommand, build, contents, curate, running, same
from tests.integration.s3_server import BUCKET, S3Server, s3_server


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def warm_s3(s3: S3Server) -> Iterator[WarmCommand]:
    with WarmCommand(**s3.environment) as command:
        yield command


def end(warm: WarmCommand, *arguments: object, log: Path, code: int = 0) -> str:
    """Run a command to its end, which must be with this code; what it said."""
    warm.start(arguments, log)
    assert warm.wait() == code, log.read_text()
    said = log.read_text()
    assert "Traceback" not in said
    assert "This is a bug" not in said
    return said


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_folders_elsewhere_are_as_folders_here(undisturbed: Undisturbed, warm: WarmCommand, tmp_path: Path) -> None:
    """By a driver that is a folder of this machine: built by parts, curated, read back."""
    log, index, curated = tmp_path / "log", tmp_path / "index", tmp_path / "curated"
    build_it = build(undisturbed.shards, f"local://{index}", undisturbed.model)
    end(warm, *build_it, "--part", "2/2", log=log)
    assert not (index / "concepts.parquet").exists()
    end(warm, *build_it, "--part", "1/2", log=log)
    said = end(warm, *build_it, "--part", "finish", log=log)
    assert f"index local://{index}" in said
    assert "cocu-copy" not in said
    same(index, undisturbed.index)
    assert "already finished; nothing to do" in end(warm, *build_it, log=log)
    curate_it = curate(f"local://{index}", f"local://{curated}")
    said = end(warm, *curate_it, "--processes", 2, log=log)
    assert "a copy of these shards on a disk" in said  # by this driver none are trained on
    same(curated, undisturbed.curated)
    same(index, undisturbed.index)
    for command in (("query", "SELECT count(*) FROM archives"), ("show", "000000001")):
        told = [end(warm, "curate", command[0], one, *command[1:], log=log) for one in (f"local://{curated}", curated)]
        assert told[0] == told[1]
    end(warm, "curate", "report", f"local://{curated}", "--out", tmp_path / "report.html", log=log)
    assert "cocu-copy" not in (tmp_path / "report.html").read_text()
    assert sorted(os.listdir(tmp_path)) == ["curated", "index", "log", "report.html"]


@pytest.mark.timeout(300)
def test_s3(s3: S3Server, undisturbed: Undisturbed, warm_s3: WarmCommand, tmp_path: Path) -> None:
    log, index, curated = tmp_path / "log", f"s3://{BUCKET}/a/index", f"s3://{BUCKET}/a/curated"
    end(warm_s3, *build(undisturbed.shards, index, undisturbed.model), log=log)
    same(s3.fetch("a/index", tmp_path / "index"), undisturbed.index)
    end(warm_s3, *curate(index, curated), log=log)
    same(s3.fetch("a/curated", tmp_path / "curated"), undisturbed.curated)
    asked = end(warm_s3, "curate", "query", curated, "SELECT count(*) FROM pairs", log=log)
    assert "160" in asked
    assert f"index {index}" in end(warm_s3, "index", "info", index, log=log)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_s3_shows_what_a_disk_shows(
    s3: S3Server, undisturbed: Undisturbed, warm_s3: WarmCommand, tmp_path: Path
) -> None:
    """The index is found beside the curation there, and both are read: also of pairs from outside the index."""
    log, outside = tmp_path / "log", tmp_path / "outside"
    anchors = ("--anchors", undisturbed.shards / "00000.tar", "--model", undisturbed.model)
    end(warm_s3, *curate(undisturbed.index, outside, *anchors), log=log)
    for name, curated in (("curated", undisturbed.curated), ("outside", outside)):
        s3.files().put(str(undisturbed.index), f"{BUCKET}/{name}/c/index", recursive=True)
        s3.files().put(str(curated), f"{BUCKET}/{name}/c/{name}", recursive=True)
        there, index = f"s3://{BUCKET}/{name}/c/{name}", ("--index", undisturbed.index)
        asked = end(warm_s3, "curate", "query", there, "SELECT key FROM pairs", "--format", "csv", log=log)
        key = asked.splitlines()[-1]
        for number, command in enumerate(
            [("curate", "report"), ("curate", "show", key), ("curate", "export"), ("curate", "balance")]
        ):
            option, ending = ("--atlas" if "export" in command else "--out"), "parquet" if number > 1 else "html"
            pages = [tmp_path / f"{name}-{number}-{place}.{ending}" for place in ("there", "here")]
            verb, more = command[:2], command[2:]
            said = end(warm_s3, *verb, there, *more, option, pages[0], log=log)
            assert "without the captions" not in said
            end(warm_s3, *verb, curated, *more, option, pages[1], *(index if number < 3 else ()), log=log)
            assert pages[0].read_bytes() == pages[1].read_bytes(), command
    said = end(warm_s3, "curate", "export", there, "--truth", tmp_path / "truth.parquet", log=log, code=2)
    assert f"error: {there}: judgements are kept on a disk only; say where by --judged FILE" in said


@pytest.mark.timeout(300)
def test_balance_goes_on(undisturbed: Undisturbed, warm: WarmCommand, tmp_path: Path) -> None:
    """The next command has another copy, of the same shards."""
    log, folders = tmp_path / "log", {"there": f"local://{undisturbed.curated}", "here": undisturbed.curated}
    for name, curated in folders.items():
        for said in ("kept", "already finished; nothing to do"):
            assert said in end(warm, "curate", "balance", curated, "--out", tmp_path / name, log=log)
    there, here = (contents(tmp_path / name) for name in folders)
    for one, other in zip(there["manifest.json"]["inputs"], here["manifest.json"]["inputs"], strict=True):
        assert one.pop("url") == f"local://{other.pop('url')}"
    assert there == here


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", ["index", "curated"])
def test_s3_when_runs_are_killed(
    stage: str, s3: S3Server, undisturbed: Undisturbed, warm_s3: WarmCommand, tmp_path: Path
) -> None:
    """At random moments of their uploads, each time from another machine: nothing is left here from before."""
    log, out = tmp_path / "log", f"s3://{BUCKET}/killed/{stage}"
    index = build(undisturbed.shards, out, undisturbed.model)
    arguments = index if stage == "index" else curate(undisturbed.index, out)
    dice, kills = random.Random(3), 0
    for aim in sorted(dice.randrange(2, 4 * SHARDS) for _ in range(6)):
        s3.asked.clear()
        process = warm_s3.start(arguments, log)
        while running(process) and sum(method == "PUT" for method, _ in s3.asked) < aim // 3:
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.01))
        if running(process):
            os.kill(process, signal.SIGKILL)
        kills += warm_s3.wait() == -signal.SIGKILL
    assert kills >= 3
    end(warm_s3, *arguments, log=log)
    same(s3.fetch(f"killed/{stage}", tmp_path / stage), undisturbed.folder / stage)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_s3_when_an_index_that_grows_is_killed(
    s3: S3Server, undisturbed: Undisturbed, warm_s3: WarmCommand, tmp_path: Path
) -> None:
    """Whenever that is, an old or a new index is read there; the same command makes it the new one."""
    log, here, model = tmp_path / "log", tmp_path / "here", ("--model", undisturbed.model, "--workers", 1)
    shards = sorted(undisturbed.shards.glob("*.tar"))
    some = tmp_path / "some"
    some.mkdir()
    for shard in shards[:30]:
        (some / shard.name).symlink_to(shard)
    end(warm_s3, *build(some, here, undisturbed.model), log=log)
    s3.files().put(str(here), f"{BUCKET}/grows/old", recursive=True)
    old = s3.fetch("grows/old", tmp_path / "old")
    end(warm_s3, "index", "add", here, *shards[30:], *model, log=log)
    dice, total, kills = random.Random(5), 0, 0
    for number in range(8):
        name = f"grows/{number}"
        s3.files().put(str(old), f"{BUCKET}/{name}", recursive=True)
        s3.asked.clear()
        aim = dice.randrange(total // 2, total) if total else 1 << 30  # the first goes undisturbed
        add = ("index", "add", f"s3://{BUCKET}/{name}", *shards[30:], *model)
        process = warm_s3.start(add, log)
        while running(process) and len(s3.asked) < aim:
            time.sleep(0.001)
        if running(process):
            os.kill(process, signal.SIGKILL)
        kills += warm_s3.wait() == -signal.SIGKILL
        total = total or len(s3.asked)
        said = end(warm_s3, "index", "info", f"s3://{BUCKET}/{name}", log=log)
        seen = s3.fetch(name, tmp_path / f"seen-{number}")
        grown = "version         2" in said
        assert grown == (open_index(seen).manifest.get("version") == 2)
        if not grown:
            shutil.rmtree(seen / "next", ignore_errors=True)
        same(seen, here if grown else old)
        end(warm_s3, *add, log=log)
        same(s3.fetch(name, tmp_path / f"whole-{number}"), here)
    assert kills >= 4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_s3_that_refuses(s3: S3Server, undisturbed: Undisturbed, warm_s3: WarmCommand, tmp_path: Path) -> None:
    """Wherever it does so, the command ends with a line, and goes on from there when it does so no more."""
    log, index, curated = tmp_path / "log", f"s3://{BUCKET}/b/index", f"s3://{BUCKET}/b/curated"
    build_it = build(undisturbed.shards, index, undisturbed.model)
    curate_it = curate(index, curated)
    for arguments, verb, methods, path in (
        (build_it, "written", "PUT", "b/index/manifest.json"),
        (build_it, "written", "PUT", "b/index/embeddings/"),
        (build_it, "written", "PUT", "b/index/state/00007.json"),
        (build_it, "written", "PUT", "b/index/rows/offsets.npy"),
        (build_it, "written", "PUT", "b/index/images.faiss"),
        (curate_it, "read", "GET", f"/{BUCKET}"),
        (curate_it, "read", "GET", "b/index/rows/text_vectors.npy"),
        (curate_it, "written", "PUT", "b/curated/shards/00003.tar"),
        (curate_it, "written", "PUT", "b/curated/rejects.parquet"),
    ):
        for status in (403, 500):
            s3.refuses = lambda method, asked, at=(methods, path, status): at[2] * (method in at[0] and at[1] in asked)
            try:
                said = end(warm_s3, *arguments, log=log, code=1)
            finally:
                s3.refuses = lambda method, path: 0
            last = said.strip().splitlines()[-1]
            assert last.startswith(f"error: s3://{BUCKET}/b/"), said
            assert f"cannot be {verb}: " in last, said
            assert "then run the same command again: it goes on" in last
        if arguments is build_it and path.endswith("images.faiss"):
            end(warm_s3, *build_it, log=log)
            same(s3.fetch("b/index", tmp_path / "index"), undisturbed.index)
    end(warm_s3, *curate_it, log=log)
    same(s3.fetch("b/curated", tmp_path / "curated"), undisturbed.curated)
