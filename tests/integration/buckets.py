"""What a test looks at in a bucket of a server, by any driver."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def fetched(files: Any, place: str, folder: Path) -> Path:
    """A folder of a bucket, byte for byte."""
    for path in files.find(place):
        here = folder / path.removeprefix(f"{place}/")
        here.parent.mkdir(parents=True, exist_ok=True)
        files.get_file(path, str(here))
    return folder
