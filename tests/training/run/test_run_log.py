"""The log of a run: what is on the terminal, in the file, and left of a run that was killed."""

from __future__ import annotations

import json
import os
import pty
import select
import sys
from pathlib import Path

import pytest

from training.run.run_log import RunLog

FIGURES = {"loss": 2.5, "lr": 1e-3, "pairs_per_s": 1234.5, "data_wait": 0.015, "memory_gb": 1.25, "skipped": 0.0}
GROUPS = {"health/groups": 5.5, "health/groups_stage1": 20.0}


def log(run: Path, start: int = 0) -> RunLog:
    return RunLog(run, start, 100, {}, tensorboard=False)


def entries(run: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_what_is_not_finite_is_null_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with log(tmp_path) as out:
        out.train(1, {**FIGURES, "loss": float("nan"), "grad_norm": float("inf")})
        out.skipped(1, float("nan"), ["a/1", "b/2"])
    assert [(e["event"], e["loss"]) for e in entries(tmp_path)] == [("train", None), ("skipped", None)]
    assert json.loads((tmp_path / "skipped.jsonl").read_text()) == {"step": 1, "loss": None, "keys": ["a/1", "b/2"]}
    assert "not finite (nan); skipped" in capsys.readouterr().err


def test_lines_of_steps_that_come_again_go(tmp_path: Path) -> None:
    with log(tmp_path) as out:
        for step in (1, 2, 3):
            out.train(step, FIGURES)
        out.validation(2, {"loss": 1.0})
        out.skipped(3, 1.0, ["a"])
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"event": "train", "st')
    with log(tmp_path, start=2) as out:
        out.train(3, FIGURES)
    assert [(e["event"], e["step"]) for e in entries(tmp_path)] == [
        *(("train", 1), ("train", 2), ("validation", 2), ("train", 3)),
    ]
    assert (tmp_path / "skipped.jsonl").read_text() == ""


def test_lines_away_from_a_terminal_are_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with log(tmp_path) as out:
        for step in range(1, 101):
            out.train(step, {**FIGURES, **GROUPS, "skipped": 3.0, "bad_pairs": 0.0123, "broken_shards": 2})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2  # the first, and the last of the run
    assert lines[1] == (
        "step 100 of 100: loss 2.5000, lr 1.00e-03, 1,234 pairs/s, groups 5.50, data wait 2%, 1.2 GB, skipped 3, "
        "bad pairs 1.2%, broken shards 2"
    )


def test_a_bar_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pty.openpty()
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with log(tmp_path) as out:
            out.train(42, {**FIGURES, **GROUPS})
            out.validation(42, {"loss": 1.5})
        shown = ""
        while not ("validation: loss 1.5" in shown and "42/100" in shown) and select.select([reader], [], [], 10)[0]:
            shown += os.read(reader, 100_000).decode()  # the kernel hands it over piece by piece
    os.close(reader)
    assert "42/100" in shown
    assert "loss 2.5000, lr 1.00e-03, 1,234 pairs/s" in shown
    assert "step 42, validation: loss 1.5" in shown
