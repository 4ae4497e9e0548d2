"""A package of a stranger, as pip leaves it in a folder of sys.path: a module, and entry points that name it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest


def install(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    group: str,
    entries: Mapping[str, str],
    code: str = "",
    package: str = "cocu-stranger",
) -> Path:
    """Put `package` with a module `stranger` of this code on sys.path until the test ends; returns the folder."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    with (info / "entry_points.txt").open("a") as points:
        points.write(f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items()))
    (folder / "stranger.py").write_text(code)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    monkeypatch.syspath_prepend(folder)
    return folder
