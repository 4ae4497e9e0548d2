"""SIGKILL of the command, or of one of its workers, at random moments: run again, it gives the same bytes.

After every kill nothing of the command goes on, and what is told is a message. `make test-all` tries each command and
victim `ROUNDS` times with other moments each time, `make test` some of them once.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.faults import Undisturbed, WarmCommand
from tests.integration.processes import orphans, workers
from tests.integration.training_processes import losses
from tests.integration.writing_commands import COMMANDS, Tried, tried_once

ROUNDS = 8
WITH_WORKERS = ("data", "index", "anchors", "train")
QUICK = {("index", "worker"), ("train", "worker"), ("eval", "main")}  # the others' like stand in tests of their own
TIMES = ("seconds", "stage_seconds", "date", "pictures_per_second")


@pytest.fixture(scope="module")
def known() -> dict[str, Tried]:
    """Filled as they are asked for."""
    return {}


def contents(out: Path) -> dict[str, Any]:
    """All that is in the folder, byte for byte but for times; hidden files, too."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in out.rglob("*") if not path.is_dir() and path.name != ".lock"):
        name = str(path.relative_to(out))
        if path.name in ("manifest.json", "results.json"):
            found[name] = _without_times(json.loads(path.read_text()))
        elif path.name == "log.jsonl":
            found[name] = losses(out)
        elif path.name in ("results.md", "gallery.html", "trainer.pt"):
            found[name] = None  # they hold times; what they say besides is in results.json, or comes out in the weights
        else:
            found[name] = path.read_bytes()
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(part) for name, part in value.items() if name not in (*TIMES, "command")}
    return [_without_times(part) for part in value] if isinstance(value, list) else value


def kill(victim: str, leader: int, dice: random.Random) -> bool:
    """Kill it; whether there was one."""
    if victim == "main":
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader, signal.SIGKILL)
            return True
        return False
    end = time.monotonic() + 20
    while not (found := workers(leader)) and time.monotonic() < end and Path(f"/proc/{leader}/stat").exists():
        if Path(f"/proc/{leader}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError, IndexError):
        os.kill(dice.choice(found), signal.SIGKILL)
        return True
    return False


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "victim"),
    [
        pytest.param(name, victim, marks=() if (name, victim) in QUICK else pytest.mark.slow)
        for name in COMMANDS
        for victim in ("main", "worker")
        if victim == "main" or name in WITH_WORKERS
    ],
)
def test_killed_at_a_random_moment_and_run_again(
    name: str,
    victim: str,
    known: dict[str, Tried],
    undisturbed: Undisturbed,
    warm: WarmCommand,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    thorough = "slow" in {mark.name for mark in request.node.iter_markers()} or not request.config.getoption("-m")
    if name not in known:
        known[name] = tried_once(name, tmp_path, undisturbed, warm)
    tried = known[name]
    expected = contents(tried.whole)
    dice, log, hit, halfway = random.Random(), tmp_path / "log", 0, 0
    for number in range(ROUNDS if thorough else 1):
        seed = dice.randrange(2**32)
        moments, out = random.Random(seed), tmp_path / f"out-{number}"
        leader = warm.start(tried.command.into(out), log)
        time.sleep(moments.uniform(0.05, 0.95) * tried.seconds)
        struck = kill(victim, leader, moments)
        code, said = warm.wait(), log.read_text()
        assert orphans(leader) == [], said
        if code == -signal.SIGKILL or code == 1:
            hit += 1
        else:
            assert code == 0, said  # it was too late, or nothing was left for that worker to do
        if code == 1:
            assert struck, said
            assert "died" in said or "ended unexpectedly" in said, said
        if code >= 0:
            assert "Traceback" not in said, said
            assert "bug in cocu" not in said, said
        halfway += any(out.rglob(".*.tmp"))
        leader = warm.start(tried.command.into(out), log)
        code, said = warm.wait(), log.read_text()
        if code == 2 and name == "eval":  # it had ended when it was killed
            assert "holds results" in said
            code = 0
        assert code == 0, f"seed {seed}: {said}"
        assert "Traceback" not in said, said
        assert orphans(leader) == []
        found = contents(out)
        assert list(found) == list(expected), f"seed {seed}"
        assert [name for name in found if found[name] != expected[name]] == [], f"seed {seed}"
    print(f"{name}, {victim}: {number + 1} kills, {hit} ended it, {halfway} amid a file; all equal after a rerun")
