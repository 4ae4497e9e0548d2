"""`cocu train` as real processes: killed, asked to end, and on several ranks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.training_processes import ROOT, Running, arguments, losses, validations
from tests.training.curated_world import make_curated


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_curated(tmp_path_factory.mktemp("train"), shards=2, pairs=24, side=20)


def test_a_run_killed_in_mid_epoch_goes_on_bit_by_bit(tmp_path: Path, data: Path) -> None:
    # 48 pairs in batches of 12: an epoch is 4 steps; checkpoints come at 7, 14, ...
    settings = ("steps=40", "checkpoints.every_steps=7", "model.drop_path=0.2")
    killed = Running(tmp_path / "killed", data, *settings, halt=14)
    killed.wait_for_step(14)
    killed.signal(signal.SIGKILL)
    killed.end(-signal.SIGKILL)
    assert max(losses(tmp_path / "killed")) == 14
    printed = Running(tmp_path / "killed", data, *settings).end()
    assert "going on from" in printed
    assert "trained 40 steps" in printed

    Running(tmp_path / "undisturbed", data, *settings).end()
    found, expected = losses(tmp_path / "killed"), losses(tmp_path / "undisturbed")
    assert list(found) == list(range(1, 41))
    assert found == expected
    weights = [tmp_path / run / "checkpoints/step-00000040/model.safetensors" for run in ("killed", "undisturbed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_run_asked_to_end_saves_first(tmp_path: Path, data: Path, number: int, code: int) -> None:
    run = tmp_path / "run"
    running = Running(run, data, "steps=100000")
    running.wait_for_step(3)
    assert "another run is at work on this folder" in Running(run, data, "steps=100000").end(1)
    asked = time.monotonic()
    running.signal(number)
    assert "same command" in running.end(code)
    assert time.monotonic() - asked < 60
    assert [path.name for path in (run / "checkpoints").iterdir()] == [f"step-{max(losses(run)):08d}"]


def test_a_run_asked_to_end_does_so_whatever_its_workers_do(tmp_path: Path, data: Path) -> None:
    run = tmp_path / "run"
    running = Running(run, data, "steps=100000")
    running.wait_for_step(3)
    (leader,) = running.processes
    tasks = Path(f"/proc/{leader.pid}/task").glob("*/children")
    (worker,) = [int(child) for task in tasks for child in task.read_text().split()]
    os.kill(worker, signal.SIGSTOP)
    time.sleep(1)  # what had been made before is used up
    asked = time.monotonic()
    running.signal(signal.SIGTERM)
    assert "same command" in running.end(0)
    assert time.monotonic() - asked < 80
    assert [path.name for path in (run / "checkpoints").iterdir()] == [f"step-{max(losses(run)):08d}"]
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


# With all that is drawn at random for a sample.
WHOLE = ("data.batch=24", "data.streams=4", "data.augment=deit", "model.drop_path=0.3", "steps=6")


def test_two_ranks_are_one_with_the_same_batches(tmp_path: Path, data: Path) -> None:
    printed = Running(tmp_path / "two", data, *WHOLE, ranks=2).end()
    assert printed.count("trained 6 steps") == 1
    Running(tmp_path / "pieces", data, *WHOLE, "data.micro_batch=7", ranks=2).end()
    Running(tmp_path / "one", data, *WHOLE).end()
    one, two, pieces = (losses(tmp_path / run) for run in ("one", "two", "pieces"))
    assert len(one) == 6
    assert one[6] < one[1]
    assert two == pytest.approx(one, rel=1e-4)
    assert pieces == pytest.approx(one, rel=1e-4)


def test_two_ranks_end_together_and_go_on_exactly(tmp_path: Path, data: Path) -> None:
    settings = ("steps=30", "checkpoints.every_steps=5", "model.drop_path=0.2")
    asked = Running(tmp_path / "asked", data, *settings, ranks=2, halt=10)
    asked.wait_for_step(10)
    os.kill(asked.processes[1].pid or 0, signal.SIGTERM)  # one rank alone hears of it
    asked.go_on()
    asked.end()
    assert 10 <= max(losses(tmp_path / "asked")) < 30
    Running(tmp_path / "asked", data, *settings, ranks=2).end()
    Running(tmp_path / "undisturbed", data, *settings, ranks=2).end()
    assert losses(tmp_path / "asked") == losses(tmp_path / "undisturbed")


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_a_run_goes_on_with_another_number_of_ranks(tmp_path: Path, data: Path, before: int, after: int) -> None:
    run, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    settings = (
        *WHOLE,
        "checkpoints.every_steps=3",
        "checkpoints.keep=9",
        "validation.every_steps=2",
        "validation.batch=7",
    )
    Running(run, data, *settings, "--val", str(data), ranks=before).end()
    shutil.copytree(run, undisturbed, symlinks=True)
    for later in (4, 6):
        shutil.rmtree(run / f"checkpoints/step-0000000{later}")
    printed = Running(run, data, *settings, "--val", str(data), ranks=after).end()
    assert f"{after} x cpu, 6 steps, going on from {run / 'checkpoints/step-00000003'}" in printed
    assert losses(run) == pytest.approx(losses(undisturbed), rel=1e-4)
    found, expected = validations(run), validations(undisturbed)
    assert list(found) == [2, 4, 6]
    for step, figures in expected.items():
        assert found[step] == pytest.approx(figures, rel=1e-4)


def test_every_rank_reports_what_the_leading_one_refuses(tmp_path: Path, data: Path) -> None:
    printed = Running(tmp_path / "run", data, "data.batch=13", ranks=2).end(2)
    assert "data.batch 13 cannot be shared evenly by 2 processes" in printed
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    printed = Running(tmp_path / "other", data, ranks=2).end(2)
    assert printed.count("holds other files (file)") == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_under_torchrun(tmp_path: Path, data: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(Path(sys.executable).with_name("cocu")), *arguments(tmp_path / "two", data, *WHOLE)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stderr
    Running(tmp_path / "one", data, *WHOLE).end()
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("asked", ["a process", "torchrun", "all", "all but torchrun"])
def test_asked_to_end_under_torchrun(tmp_path: Path, data: Path, asked: str) -> None:
    launch = ["-m", "torch.distributed.run", "--no-python", "--standalone", "--nproc-per-node", "2"]
    shell = ["env"]
    if asked == "all but torchrun":
        shell, launch = ["sh", "-c", "trap '' TERM; exec \"$@\"", "sh"], [*launch, "--signals-to-handle", "SIGINT"]
    run = tmp_path / "run"
    cocu = [str(Path(sys.executable).with_name("cocu")), *arguments(run, data, "steps=100000")]
    with (tmp_path / "err").open("w") as err:
        torchrun = subprocess.Popen([*shell, sys.executable, *launch, *cocu], stdout=err, stderr=err, cwd=ROOT)
    while max(losses(run), default=0) < 3:
        assert torchrun.poll() is None, (tmp_path / "err").read_text()
        time.sleep(0.05)
    ranks = [int(pid) for pid in Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split()]
    every = [torchrun.pid, *ranks]
    for pid in {"a process": ranks[:1], "torchrun": every[:1]}.get(asked, every):
        os.kill(pid, signal.SIGTERM)
    code = torchrun.wait()
    printed = (tmp_path / "err").read_text()
    assert code == (1 if asked in ("torchrun", "all") else 0), printed
    assert printed.count("same command") == 1, printed
    assert [path.name for path in (run / "checkpoints").iterdir()] == [f"step-{max(losses(run)):08d}"]
