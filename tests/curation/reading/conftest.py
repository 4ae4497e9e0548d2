"""A folder with pictures."""

from pathlib import Path

import pytest

from tests.tiny_world import picture


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(8):
        (folder / f"{i}.jpg").write_bytes(picture(i))
    return tmp_path
