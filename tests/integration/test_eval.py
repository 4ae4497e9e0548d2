"""`cocu eval` on several ranks, as torchrun starts them; and in training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evaluation import ranks
from tests.evaluation.tiny_checkpoints import make_checkpoint, make_miniature
from tests.integration.commands import cocu, succeed
from tests.training.curated_world import make_curated

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_miniature(tmp_path_factory.mktemp("val"), 13)


def test_two_ranks_count_what_one_counts(tmp_path: Path, val: Path) -> None:
    options = ["--benchmark", f"miniature={val}", "--device", "cpu", "--batch-size", "3", "--gallery", "1"]
    command = ["eval", str(make_checkpoint(tmp_path / "run")), *options]
    succeed(*command, "--out", tmp_path / "one")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(Path(sys.executable).with_name("cocu")), *command, "--out", str(tmp_path / "two")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    assert sum(line.startswith("pictures/s") for line in done.stdout.splitlines()) == 1, "one rank prints"
    with (
        np.load(tmp_path / "one" / "miniature" / "counts.npz") as one,
        np.load(tmp_path / "two" / "miniature" / "counts.npz") as two,
    ):
        assert sorted(one) == sorted(two)
        assert all(np.array_equal(one[name], two[name]) for name in one)
    found = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two")]
    assert [each["processes"] for each in found] == [1, 2]
    first, second = (each["benchmarks"][0] for each in found)
    for changing in ("seconds", "pictures_per_second"):
        del first[changing], second[changing]
    assert first == second


def test_parts_count_what_one_run_counts(tmp_path: Path, val: Path) -> None:
    options = ["--benchmark", f"miniature={val}", "--device", "cpu", "--batch-size", "3", "--gallery", "1"]
    command = ["eval", str(make_checkpoint(tmp_path / "run")), *options]
    one, out = tmp_path / "one", tmp_path / "parts"
    succeed(*command, "--out", one)
    command += ["--out", str(out)]
    missing = cocu(*command, "--part", "finish")
    assert (missing.code, "parts are missing: all" in missing.err) == (1, True)
    for number in (3, 1):
        answer = succeed(*command, "--part", f"{number}/3")
        assert f"part {number}/3 has counted" in answer.err
    assert not (out / "results.json").exists()
    missing = cocu(*command, "--part", "finish")
    assert (missing.code, "parts are missing: 2/3;" in missing.err) == (1, True)
    succeed(*command, "--part", "2/3", "--limit", 5)
    other = cocu(*command, "--part", "finish")
    assert (other.code, "2 of 3: was counted with other options" in other.err) == (2, True)
    succeed(*command, "--part", "2/3")
    wrong = cocu(*command, "--part", "1/4")
    assert wrong.code == 0
    other = cocu(*command, "--part", "finish")
    assert (other.code, "holds parts of 3 and of 4" in other.err) == (2, True)
    shutil.rmtree(out / "parts" / "miniature" / "1 of 4")
    broken = out / "parts" / "miniature" / "1 of 3" / "matrix.npy"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:50])
    other = cocu(*command, "--part", "finish")
    assert (other.code, "1 of 3: cannot be read" in other.err) == (1, True)
    broken.write_bytes(whole)
    succeed(*command, "--part", "finish")
    with np.load(one / "miniature" / "counts.npz") as first, np.load(out / "miniature" / "counts.npz") as second:
        assert sorted(first) == sorted(second)
        assert all(np.array_equal(first[each], second[each]) for each in first)
    found = [json.loads((folder / "results.json").read_text())["benchmarks"][0] for folder in (one, out)]
    for each in found:
        del each["seconds"], each["pictures_per_second"]
    assert found[0] == found[1]
    assert {path.name for path in out.iterdir()} == {path.name for path in one.iterdir()}
    refused = cocu(*command, "--part", "1/3")
    assert (refused.code, "holds results" in refused.err) == (2, True)
    refused = cocu(*command, "--part", "3/2", "--overwrite")
    assert (refused.code, "--part 3/2: give I/N" in refused.err) == (2, True)


def test_processes_of_its_own_count_what_one_counts(tmp_path: Path, val: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["eval", make_checkpoint(tmp_path / "run"), "--benchmark", f"miniature={val}", "--device", "cpu"]
    for count in (1, 2):
        monkeypatch.setattr(ranks, "wanted_ranks", lambda device, gpus, count=count: count)
        told = succeed(*command, "--gallery", 1, "--out", tmp_path / str(count)).out
        assert sum(line.startswith("pictures/s") for line in told.splitlines()) == 1
    one, two = (json.loads((tmp_path / name / "results.json").read_text()) for name in "12")
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["benchmarks"][0]["mean_iou"] == two["benchmarks"][0]["mean_iou"]
    with np.load(tmp_path / "1/miniature/counts.npz") as first, np.load(tmp_path / "2/miniature/counts.npz") as second:
        assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_run_is_measured_on_a_benchmark_while_it_trains(tmp_path: Path, val: Path) -> None:
    data = make_curated(tmp_path / "data", shards=1, pairs=16, side=20)
    sizes = ["model.image_size=16", "model.width=16", "model.layers=1", "model.projection_width=16"]
    text = ["model.text.width=16", "model.text.layers=1", "model.text.heads=2"]
    settings = [*sizes, *text, "data.batch=8", "steps=4", "validation.every_steps=2", "validation.batch=8"]
    options = ["--device", "cpu", "--workers", 0, "--no-tensorboard", "--benchmark", f"miniature={val}"]
    common = ["train", "miniature", "--data", data, "--out", tmp_path / "run", *options]
    answer = cocu(*common, *settings)
    assert answer.code == 2
    assert "give --val" in answer.err
    answer = succeed(*common, "--val", data, *settings)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    measured = {line["step"]: line["miou"] for line in lines if line["event"] == "validation"}
    assert set(measured) == {2, 4}
    assert f"validation miou {max(measured.values()):.4f}" in answer.out
    # The best checkpoint, evaluated by itself, has the figure that the run saw; the run encodes with its own precision.
    best = tmp_path / "run" / "best"
    succeed(
        "eval", best, "--benchmark", f"miniature={val}", "--out", tmp_path / "out", "--gallery", 0, "--batch-size", 16
    )
    (one,) = json.loads((tmp_path / "out" / "results.json").read_text())["benchmarks"]
    assert one["mean_iou"]["value"] == pytest.approx(max(measured.values()), abs=1e-6)
