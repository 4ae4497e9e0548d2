"""What a command that is refused leaves: the place as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.commands import World, cocu


@pytest.mark.parametrize(
    ("command", "options", "code"),
    [
        ("index build", ["--model", "nonsense"], 2),
        ("index build", ["--model", "nonsense", "--part", "1/2"], 2),
        ("index build", ["--factory", "IVFxx"], 2),
        ("index build", ["--parser", "nonsense"], 2),
        ("index build", ["--part", "finish"], 1),
        ("index merge", [], 2),
        ("index add", ["--model", "nonsense"], 2),
        ("curate run", ["--part", "finish"], 1),
        ("curate run", ["--shards-format", "parquet", "--write-caption", "said"], 2),
        ("curate run", ["--anchors", "{shards}", "--model", "nonsense"], 2),
        ("curate run", ["--localise"], 2),
        ("train", ["init=nonsense"], 2),
    ],
)
def test_a_refused_command_leaves_nothing(
    command: str, options: list[str], code: int, world: World, index: Path, curated: Path, tmp_path: Path
) -> None:
    out, shard = tmp_path / "new" / "deep" / "out", sorted(world.shards.glob("*.tar"))[0]
    given: list[object]
    if command == "index build":
        given = [shard, "--model", world.model, "--out", out]
    elif command == "index add":
        given = [index, shutil.copy(shard, tmp_path / "more.tar")]
    elif command == "index merge":  # its model is named by a folder
        other = tmp_path / "other"
        assert cocu("index", "build", shard, "--model", world.model, "--out", other).code == 0
        given = [index, other, "--out", out]
    elif command == "train":
        given = ["miniature_cocu", "--data", curated / "shards", "--out", out]
    else:
        given = [index, "--out", out]
    before = {path for place in (tmp_path, index) for path in place.rglob("*")}
    answer = cocu(*command.split(), *given, *(option.format(shards=shard) for option in options))
    assert answer.code == code, answer.err
    assert {path for place in (tmp_path, index) for path in place.rglob("*")} == before, answer.err
