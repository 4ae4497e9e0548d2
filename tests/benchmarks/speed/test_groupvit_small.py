"""The study of GroupViT's groups: its table and curves, and a run of it in small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.speed.groupvit_small import SETTINGS, batch, draw, main, read_log, row
from tests.integration.commands import succeed


def lines(groups: list[float]) -> list[dict[str, object]]:
    trained = [
        {"event": "train", "step": 10 * step, "health/groups": value, "health/entropy_stage1": 0.5}
        | {"health/groups_stage1": 7.0}
        for step, value in enumerate(groups, 1)
    ]
    return [*trained, {"event": "validation", "step": 10 * len(groups), "loss": 9.876, "miou": 0.1234}]


def test_a_row_is_the_mean_of_the_last_lines() -> None:
    setting = SETTINGS[0]
    assert row(setting, lines([8.0, 1.0, 2.0, 3.0, 4.0, 5.0]), 64) == [
        f"`{setting.name}`: {setting.says}",
        *("3,840", "3.00", "7.00", "0.50", "-", "9.88", "0.123"),  # one stage has no entropy of a second
    ]


def test_settings_have_names_of_their_own_and_begin_from_others() -> None:
    names = [setting.name for setting in SETTINGS]
    assert len(set(names)) == len(names)
    assert all(setting.after in (None, *names) for setting in SETTINGS)
    assert {batch(setting, 64) for setting in SETTINGS} == {64, 256}
    for setting in SETTINGS:
        keys = [override.partition("=")[0] for override in setting.overrides()]
        assert len(set(keys)) == len(keys)
        assert set(setting.changes) <= set(setting.overrides())


def test_curves_are_drawn(tmp_path: Path) -> None:
    draw({SETTINGS[0]: lines([2.0, 3.0]), SETTINGS[1]: lines([1.0, 1.0])}, 64, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width > 1000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_study_runs_and_does_not_train_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, index, curated = tmp_path / "pairs", tmp_path / "index", tmp_path / "curated"
    succeed("data", "miniature", "--out", pairs, "--pairs", 48, "--split", "val")
    succeed("index", "build", pairs, "--model", "miniature", "--out", index)
    succeed("curate", "run", index, "--out", curated)
    out = tmp_path / "runs"
    arguments = ["--data", curated / "shards", "--val", curated / "shards", "--benchmark", f"miniature={pairs}"]
    arguments += ["--out", out, "--pairs", 48, "--batch", 16, "--write", tmp_path / "curves"]
    arguments += ["--only", "paper", "noise-then-none"]
    for _ in range(2):
        main([str(argument) for argument in arguments])
        assert "noise-then-none" in capsys.readouterr().out
    for name in ("paper", "noise-then-none"):
        log = read_log(out / name)
        trained = [line for line in log if line["event"] == "train"]
        assert [line["step"] for line in trained] == [3]
        assert "health/groups" in trained[0]
    assert json.loads((out / "paper" / "log.jsonl").read_text("utf-8").splitlines()[-1])["miou"] >= 0
    assert (tmp_path / "curves.png").is_file()
