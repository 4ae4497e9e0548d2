"""Pairs and shards of the miniature: pure functions of their arguments, the same bytes however they were written."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset as wds
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.recovery.truth import read_synonyms, read_truth
from data_cards.cards import read_card
from data_cards.miniature.pairs import SPLITS, contact_sheet, draw_pair
from data_cards.miniature.shards import DrawnTally, tally, write_miniature
from files.errors import CocuError, MisuseError
from files.locks import locked
from tests.examples import examples
from tests.integration.processes import Children, at_work

NAMES = [one.name for one in read_card("miniature").classes]
ENDINGS = {"train": {"jpg", "json", "txt"}, "val": {"jpg", "json", "mask.png", "txt"}, "clip": {"jpg", "json", "txt"}}


def digests(folder: Path) -> dict[str, str]:
    """File -> hash of its bytes, of everything in the folder, hidden files too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write(out: Path, workers: int = 1, split: str = "val", pairs: int = 70, seed: int = 3, size: int = 32) -> Path:
    write_miniature(out, pairs, seed, size, split, workers, per_shard=20)
    return out


@pytest.fixture(scope="module", params=SPLITS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, write(tmp_path_factory.mktemp("world") / request.param, split=request.param)


@examples(20)
@given(
    split=st.sampled_from(SPLITS),
    seed=st.integers(0, 2**32 - 1),
    index=st.integers(0, 2**32 - 1),
    size=st.sampled_from([32, 64, 100]),
)
def test_a_pair_is_a_pure_function_of_its_arguments(split: str, seed: int, index: int, size: int) -> None:
    one = draw_pair(split, seed, index, size)
    draw_pair(split, seed, index + 1 if index < 2**32 - 1 else 0, 32)
    again = draw_pair(split, seed, index, size)
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.mask, again.mask)
    assert (one.key, one.captions, one.scene) == (again.key, again.captions, again.scene)
    assert one.image.shape == (size, size, 3)
    assert len(one.captions) == (4 if split == "clip" else 1)
    assert one.caption == one.captions[0]
    assert "." not in one.key


def test_splits_seeds_and_numbers_never_meet() -> None:
    pictures = [
        draw_pair(split, seed, index, 32).image.tobytes()
        for split in SPLITS
        for seed in (0, 1, 2)
        for index in range(20)
    ]
    assert len(set(pictures)) == len(pictures)


def test_the_same_bytes_from_one_two_and_three_workers(tmp_path: Path) -> None:
    first, *others = (digests(write(tmp_path / str(workers), workers)) for workers in (1, 2, 3))
    assert sorted(first) == [
        ".lock", "manifest.json", "synonyms.json", "truth.parquet",
        "val-000000.tar", "val-000001.tar", "val-000002.tar", "val-000003.tar",
    ]  # fmt: skip
    assert first == others[0] == others[1]
    assert digests(write(tmp_path / "other", seed=4))["val-000000.tar"] != first["val-000000.tar"]


def test_members_hold_the_pair(folder: tuple[str, Path]) -> None:
    split, path = folder
    urls = [str(shard) for shard in sorted(path.glob("*.tar"))]
    samples = list(wds.WebDataset(urls, shardshuffle=False, empty_check=False))
    assert len(samples) == 70
    for index, sample in enumerate(samples):
        pair = draw_pair(split, 3, index, 32)
        assert sample["__key__"] == pair.key
        assert {name for name in sample if not name.startswith("__")} == ENDINGS[split]
        assert sample["txt"].decode() == pair.caption
        picture = np.asarray(Image.open(io.BytesIO(sample["jpg"])), np.float32)
        assert np.abs(picture - pair.image).mean() < 6  # JPEG
        told = json.loads(sample["json"])
        assert told["scene"] == {"place": pair.scene.place, "time": pair.scene.time}
        assert [one["name"] for one in told["objects"]] == [one.name for one in pair.scene.objects]
        assert told.get("captions") == (list(pair.captions) if split == "clip" else None)
        for one, other in zip(told["objects"], pair.scene.objects, strict=True):
            assert set(one) == {"name", "kind", "area", "box", "count", "colour"}
            assert one["area"] == pytest.approx(other.area, abs=1e-6)
            assert tuple(one["box"]) == other.box
        if split == "val":
            mask = np.asarray(Image.open(io.BytesIO(sample["mask.png"])))
            np.testing.assert_array_equal(mask, pair.mask)
            assert {one["name"] for one in told["objects"]} == {NAMES[value] for value in np.unique(mask)}


def test_headers_are_those_of_tarfile(folder: tuple[str, Path]) -> None:
    shard = min(folder[1].glob("*.tar"))
    with tarfile.open(shard) as tar:
        members = tar.getmembers()
        again = io.BytesIO()
        with tarfile.open(fileobj=again, mode="w", format=tarfile.USTAR_FORMAT) as other:
            for member in members:
                assert (member.mtime, member.uid, member.gid, member.mode) == (0, 0, 0, 0o644)
                plain = tarfile.TarInfo(member.name)
                plain.size = member.size
                other.addfile(plain, tar.extractfile(member))
    written = shard.read_bytes()
    assert again.getvalue().rstrip(b"\0") == written.rstrip(b"\0")
    assert len(written) % 512 == 0
    assert written.endswith(bytes(1024))


def test_the_truth_is_what_scoring_reads(folder: tuple[str, Path]) -> None:
    split, path = folder
    truth = read_truth(path / "truth.parquet")
    assert truth.notes == ()
    assert list(truth.keys) == [f"{split}-{index:08d}" for index in range(70)]
    for row in range(70):
        pair = draw_pair(split, 3, row, 32)
        expected = {one.name: one.area for one in pair.scene.objects}
        found = {name: area for name, area in zip(truth.objects, truth.area[row], strict=True) if not np.isnan(area)}
        assert found == pytest.approx(expected, abs=1e-6)
    assert set(read_synonyms(path / "synonyms.json")) == set(NAMES) >= set(truth.objects)
    assert pq.read_schema(path / "truth.parquet").names == ["key", "object", "area"]


def test_captions_name_between_25_and_40_percent_of_what_shows() -> None:
    total = sum((tally(draw_pair("train", 11, index)) for index in range(1200)), DrawnTally())
    assert total.pairs == 1200
    assert 5 <= total.visible <= 6
    assert 0.25 <= total.named <= 0.40
    assert total.stuff_named / total.stuff < 0.1 < 0.5 < total.things_named / total.things
    assert 0.015 < total.silent / total.pairs < 0.06
    # Of the split that a CLIP learns from, captions name stuff as they name things.
    full = sum((tally(draw_pair("clip", 11, index)) for index in range(400)), DrawnTally())
    assert full.stuff_named / full.stuff > 0.25


def test_a_finished_folder_is_left_as_it_is_and_a_lost_shard_is_drawn_again(tmp_path: Path) -> None:
    out = write(tmp_path / "world")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("[!.]*")}
    again = write_miniature(out, 70, 3, 32, "val", 1, per_shard=20)
    assert again.pairs_drawn == 0
    assert again.tally.pairs == 70
    assert {path: path.stat().st_mtime_ns for path in out.rglob("[!.]*")} == before
    held = digests(out)
    (out / "val-000002.tar").unlink()
    assert write_miniature(out, 70, 3, 32, "val", 1, per_shard=20).pairs_drawn == 20
    assert digests(out) == held


# What Python runs as it begins: after ten shards a process stands still, as a test may be slower than it is.
HALTING = """
import sys, time
def halt(event, given):
    while event == "os.rename" and str(given[1]).endswith(".tar") and "-00000" not in str(given[1]):
        time.sleep(0.1)
sys.addaudithook(halt)
"""


@pytest.fixture
def halting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of processes that are begun from here."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HALTING)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


@pytest.mark.usefixtures("halting")
def test_killed_and_run_again_it_writes_the_same_bytes(tmp_path: Path) -> None:
    out, whole = tmp_path / "killed", tmp_path / "whole"
    call = f"write_miniature(Path({str(out)!r}), 800, 3, 32, 'val', 2, per_shard=20)"
    order = f"from pathlib import Path; from data_cards.miniature.shards import write_miniature; {call}"
    process = subprocess.Popen(
        [sys.executable, "-c", order], cwd=Path(__file__).parents[3], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        wait_until(lambda: len(list(out.glob("*.tar"))) >= 2)
        workers = children(process.pid)
        assert len(workers) >= 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait_until(lambda: not any(at_work(worker) for worker in workers))  # nobody goes on without it
    shards = len(list(out.glob("*.tar")))
    assert shards <= 10
    assert not json.loads((out / "manifest.json").read_text())["finished"]
    again = write_miniature(out, 800, 3, 32, "val", 1, per_shard=20)
    assert again.pairs_drawn == 20 * (40 - shards)
    write_miniature(whole, 800, 3, 32, "val", 1, per_shard=20)
    left = {name: digest for name, digest in digests(out).items() if not name.endswith(".tmp")}
    assert left == digests(whole)


@pytest.mark.usefixtures("halting")
def test_a_worker_that_dies_ends_the_run_with_a_message_and_nothing_is_lost(tmp_path: Path, children: Children) -> None:
    out = tmp_path / "world"
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(write, out, 2, "train", 600)
        wait_until(lambda: len(list(out.glob("*.tar"))) >= 1 or run.done())
        children()[0].kill()
        with pytest.raises(CocuError, match=r"one of 2 worker processes died.*with fewer --workers") as raised:
            run.result()
    assert raised.value.exit_code == 1
    assert not children()
    shards = len(list(out.glob("*.tar")))
    assert 1 <= shards <= 10
    assert write_miniature(out, 600, 3, 32, "train", 1, per_shard=20).pairs_drawn == 600 - 20 * shards


def wait_until(holds, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def children(parent: int) -> list[int]:
    """Worker processes; the tracker of shared resources, which ends by itself, left out."""
    return [
        int(one)
        for one in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 4}, "seed 3, now 4"),
        ({"pairs": 71}, "pairs 70, now 71"),
        ({"size": 64}, "size 32, now 64"),
        ({"split": "train"}, "split 'val', now 'train'"),
    ],
)
def test_other_parameters_in_the_same_folder_are_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    out = write(tmp_path / "world")
    held = digests(out)
    with pytest.raises(MisuseError) as raised:
        write(out, **change)  # type: ignore[arg-type]
    assert said in str(raised.value)
    assert str(out) in str(raised.value)
    assert raised.value.exit_code == 2
    assert digests(out) == held


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(MisuseError, match=r"holds other files \(photo\.jpg\) and no manifest\.json; give a new"):
        write(tmp_path)
    assert digests(tmp_path).keys() == {"photo.jpg"}
    with pytest.raises(MisuseError, match="is a file; give a folder"):
        write(tmp_path / "photo.jpg")
    other = tmp_path / "other"
    other.mkdir()
    for content in ("{}", "[1]", "nothing", '{"parameters": 3, "finished": true}'):
        (other / "manifest.json").write_text(content)
        with pytest.raises(MisuseError, match="not one of `cocu data miniature`"):
            write(other)


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with locked(tmp_path, "manifest.json"), pytest.raises(CocuError, match="another run is at work on this folder"):
        write(tmp_path)
    write(tmp_path, pairs=1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": "test"}, "split 'test': give one of train, val, clip"),
        ({"seed": -1}, "seed -1: give a whole number from 0 to 4294967295"),
        ({"pairs": 0}, "pairs 0: give a whole number from 1"),
        ({"size": 16}, "size 16: give a whole number from 32 to 256"),
        ({"size": 1000}, "size 1000"),
    ],
)
def test_arguments_out_of_range_are_named_and_nothing_is_made(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    with pytest.raises(MisuseError, match=said):
        write(tmp_path / "world", **change)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_the_contact_sheet_holds_the_first_pictures() -> None:
    sheet = np.asarray(contact_sheet("train", 0, rows=2, columns=3, size=32, scale=2))
    assert sheet.shape == (2 * (2 * 32 + 1), 2 * (3 * 32 + 2), 3)
    np.testing.assert_array_equal(sheet[66:130:2, 132:196:2], draw_pair("train", 0, 5, 32).image)
