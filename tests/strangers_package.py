"""A package of a stranger, as pip leaves it in a folder of sys.path: a module, and entry points that name it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


def install(
    monkeypatch: pytest.MonkeyPatch, folder: Path, points: str, code: str, package: str = "cocu-stranger"
) -> None:
    """Put `package` on sys.path until the test ends: its entry_points.txt, and a module `stranger` of this code."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    (folder / "stranger.py").write_text(code)
    monkeypatch.delitem(sys.modules, "stranger", raising=False)
    monkeypatch.syspath_prepend(folder)
