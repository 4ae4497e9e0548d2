"""Folders at gs://: what comes there is, file for file, what comes to a disk, whatever is killed or refused."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.faults import SHARDS, Undisturbed, WarmCommand, build, contents, curate, running, same
from tests.integration.gcs_server import BUCKET, GcsServer, gcs_server
from tests.integration.test_remote_output import end


@pytest.fixture(scope="module")
def gcs() -> Iterator[GcsServer]:
    with gcs_server() as server:
        yield server


@pytest.fixture(scope="module")
def warm_gcs(gcs: GcsServer) -> Iterator[WarmCommand]:
    with WarmCommand(**gcs.environment) as command:
        yield command


@pytest.mark.timeout(300)
def test_gs(gcs: GcsServer, undisturbed: Undisturbed, warm_gcs: WarmCommand, tmp_path: Path) -> None:
    """In a folder that was made by hand, and is called what patterns are."""
    log, root = tmp_path / "log", f"{BUCKET}/a b[1]?*#2%20"
    index, curated = f"gs://{root}/index", f"gs://{root}/curated"
    gcs.files().pipe_file(f"{root}/index/", b"")
    end(warm_gcs, *build(undisturbed.shards, index, undisturbed.model), log=log)
    gcs.files().rm_file(f"{root}/index/")
    same(gcs.fetch(index.removeprefix(f"gs://{BUCKET}/"), tmp_path / "index"), undisturbed.index)
    said = end(warm_gcs, *curate(index, curated), log=log)
    assert "data.samples=160 --out RUN" in said
    same(gcs.fetch(curated.removeprefix(f"gs://{BUCKET}/"), tmp_path / "curated"), undisturbed.curated)
    assert "160" in end(warm_gcs, "curate", "query", curated, "SELECT count(*) FROM pairs", log=log)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_gs_is_read(gcs: GcsServer, undisturbed: Undisturbed, warm_gcs: WarmCommand, tmp_path: Path) -> None:
    """Pairs to index, whole folders, and shards to train on, by processes that load."""
    log, files, index = tmp_path / "log", gcs.files(), f"gs://{BUCKET}/read/index"
    for folder in ("shards", "index", "curated"):
        files.put(f"{undisturbed.folder / folder}/", f"{BUCKET}/read/{folder}/", recursive=True)
    end(warm_gcs, *build(f"gs://{BUCKET}/read/shards/*.tar", tmp_path / "index", undisturbed.model), log=log)
    ours, theirs = (contents(folder / "index") for folder in (tmp_path, undisturbed.folder))
    assert ours.pop("manifest.json")["summary"]["pairs"] == theirs.pop("manifest.json")["summary"]["pairs"]
    assert list(ours) == list(theirs)
    assert all(ours[name] == theirs[name] for name in theirs if name.endswith((".npy", ".faiss")))
    assert f"index {index}" in end(warm_gcs, "index", "info", index, log=log)
    train = (
        "train",
        "miniature_cocu",
        "epochs=1",
        "data.batch=16",
        "data.samples=160",
        "--workers",
        2,
        "--device",
        "cpu",
    )
    for run, data in (("far", f"gs://{BUCKET}/read/curated/shards"), ("near", undisturbed.curated / "shards")):
        end(warm_gcs, *train, "--data", data, "--out", tmp_path / run, log=log)
    weights = [next((tmp_path / run).rglob("model.safetensors")).read_bytes() for run in ("far", "near")]
    assert weights[0] == weights[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", ["index", "curated"])
def test_gs_when_runs_are_killed(
    stage: str, gcs: GcsServer, undisturbed: Undisturbed, warm_gcs: WarmCommand, tmp_path: Path
) -> None:
    log, out = tmp_path / "log", f"gs://{BUCKET}/killed/{stage}"
    index = build(undisturbed.shards, out, undisturbed.model)
    arguments = index if stage == "index" else curate(undisturbed.index, out)
    dice, kills = random.Random(3), 0
    for aim in sorted(dice.randrange(2, SHARDS) for _ in range(6)):
        gcs.asked.clear()
        process = warm_gcs.start(arguments, log)
        while running(process) and sum(method == "POST" for method, _ in gcs.asked) < aim:
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.01))
        if running(process):
            os.kill(process, signal.SIGKILL)
        kills += warm_gcs.wait() == -signal.SIGKILL
    assert kills >= 3
    end(warm_gcs, *arguments, log=log)
    same(gcs.fetch(f"killed/{stage}", tmp_path / stage), undisturbed.folder / stage)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_gs_that_refuses(gcs: GcsServer, undisturbed: Undisturbed, warm_gcs: WarmCommand, tmp_path: Path) -> None:
    """A line and no traceback, also where the driver logs one; 500 is told after half a minute of its own tries."""
    log, index, curated = tmp_path / "log", f"gs://{BUCKET}/b/index", f"gs://{BUCKET}/b/curated"
    build_it, curate_it = build(undisturbed.shards, index, undisturbed.model), curate(index, curated)
    for arguments, verb, at in (
        (build_it, "read", ("GET", "prefix=b/index", 403)),
        (build_it, "written", ("POST", "/upload/", 403)),
        (build_it, "written", ("POST", "/upload/", 401)),
        (build_it, "written", ("POST", "/upload/", 500)),
        (curate_it, "read", ("GET", "alt=media", 403)),
        (curate_it, "written", ("POST", "/upload/", 403)),
    ):
        if arguments is curate_it and verb == "read":
            end(warm_gcs, *build_it, log=log)
        gcs.refuses = lambda method, asked, at=at: at[2] * (method == at[0] and at[1] in asked)  # type: ignore[misc]
        try:
            said = end(warm_gcs, *arguments, log=log, code=1)
        finally:
            gcs.refuses = lambda method, address: 0
        last = said.strip().splitlines()[-1]
        assert last.startswith(f"error: gs://{BUCKET}/b/"), said
        assert f"cannot be {verb}: " in last, said
        assert f"refused with {at[2]}" in last, said
    end(warm_gcs, *curate_it, log=log)
    same(gcs.fetch("b/curated", tmp_path / "curated"), undisturbed.curated)
