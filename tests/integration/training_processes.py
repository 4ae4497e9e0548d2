"""`cocu train` in processes of its own, forks of one that has loaded the libraries and does nothing else."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["training.run.trainer", "cli.main"])
TINY = [
    *("model.image_size=16", "model.width=16", "model.layers=1", "model.projection_width=16"),
    *("model.text.width=16", "model.text.layers=1", "model.text.context_length=24"),
    *("data.batch=12", "optimizer.base_batch=12", "log_every=1", "concepts=curated-cluster"),
]


def arguments(run: Path, data: Path, *settings: str) -> list[str]:
    """Those of a run so small that a step takes milliseconds."""
    options = ["--device", "cpu", "--workers", "1", "--no-tensorboard"]
    return ["train", "miniature", "--data", str(data), "--out", str(run), *options, *TINY, *settings]


class Running:
    """The command at work on `ranks` ranks, as torchrun would start them. Its output goes to a file beside the run.

    halt: a step whose checkpoint it is about to put in place when it stands still, until it is told to go on: a test
    may be slower than its steps.
    """

    def __init__(self, run: Path, data: Path, *settings: str, ranks: int = 1, halt: int = 0) -> None:
        self.run = run
        self.log = run.with_name(f"{run.name}.out")
        self._go = run.with_name(f"{run.name}.go")
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = str(found.getsockname()[1])
        self.processes = []
        for rank in range(ranks):
            place = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(ranks),
                "LOCAL_WORLD_SIZE": str(ranks),
            }
            environment = {**place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} if ranks > 1 else {}
            halting = (f"step-{halt:08d}", self._go) if halt else None
            asked = (arguments(run, data, *settings), str(self.log), environment, halting)
            process = SERVER.Process(target=_become, args=asked, daemon=False)
            process.start()
            self.processes.append(process)

    def wait_for_step(self, step: int) -> None:
        """Until the log has this step."""
        while max(losses(self.run), default=0) < step:
            assert all(process.is_alive() for process in self.processes), self.log.read_text()
            time.sleep(0.005)

    def go_on(self) -> None:
        """Where it stands still."""
        self._go.touch()

    def signal(self, number: int) -> None:
        """Send a signal to all ranks."""
        for process in self.processes:
            assert process.pid is not None
            os.kill(process.pid, number)

    def end(self, code: int = 0) -> str:
        """Wait for the end, which must be with this exit code; what was printed."""
        for process in self.processes:
            process.join()
        printed = self.log.read_text()
        assert [process.exitcode for process in self.processes] == [code] * len(self.processes), printed
        assert "Traceback" not in printed, printed
        return printed


def _become(command: Sequence[str], log: str, environment: dict[str, str], halting: tuple[str, Path] | None) -> None:
    def halt(event: str, given: tuple[Any, ...]) -> None:
        while halting and event == "os.rename" and str(given[1]).endswith(halting[0]) and not halting[1].exists():
            time.sleep(0.01)

    sys.addaudithook(halt)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    multiprocessing.set_start_method("fork", force=True)  # as in a process that was started in the usual way
    os.environ.update(environment)
    os.chdir(ROOT)
    import torch

    from cli.main import main

    torch.set_num_threads(1)
    main(command)


def losses(run: Path) -> dict[int, float]:
    """The loss after each step, by the log; a line that is being written is not looked at."""
    return {line["step"]: line["loss"] for line in _lines(run) if line["event"] == "train"}


def validations(run: Path) -> dict[int, dict[str, float]]:
    """The figures of each validation, by the log."""
    known = ("event", "step", "time")
    lines = [line for line in _lines(run) if line["event"] == "validation"]
    return {line["step"]: {name: value for name, value in line.items() if name not in known} for line in lines}


def _lines(run: Path) -> list[dict[str, Any]]:
    path = run / "log.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
