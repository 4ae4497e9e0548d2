"""docs/python.md is true: its commands and its blocks of Python run, from top to bottom, in one folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.integration.commands import succeed


def test_the_guide_runs_from_top_to_bottom(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (root / "docs" / "python.md").read_text("utf-8")
    commands = re.findall(r"^    cocu (.*)$", guide, re.M)
    blocks = re.findall(r"^```python\n(.*?)^```$", guide, re.M | re.S)
    assert (len(commands), len(blocks)) == (2, 10)
    monkeypatch.chdir(tmp_path)
    for command in commands:
        succeed(*shlex.split(command))
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)  # as a reader runs it, cell by cell
    assert str(names["index"]).startswith("<index index: 160 pairs, ")
    assert str(names["curated"]).startswith("<curated curated: 160 pairs, ")
    assert names["count"] == names["table"].num_rows == len(names["frame"]) > 0
    assert names["run"].best == Path("run/best")
    assert len(names["losses"]) == 3
    assert 0 <= names["results"].miou["miniature"] <= 1
    assert str(names["card"]).startswith("<score of 160 pairs: of ")
