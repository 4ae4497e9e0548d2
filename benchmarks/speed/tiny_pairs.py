"""Captions and tars of a few lines: small pairs for tests and benchmarks."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

THINGS = ["dog", "cat", "horse", "boat", "car", "tree", "street", "beach"]
THINGS += ["ball", "bench", "umbrella", "kite", "bus", "truck", "bird", "sheep"]
PLACES = ["field", "park", "road", "lake", "river", "kitchen"]


def caption(seed: int) -> str:
    """A caption that names two or three of `THINGS` and a place."""
    rng = np.random.default_rng(seed)
    first, second = rng.choice(THINGS, 2, replace=False)
    return f"A {first} and a {second} in the {rng.choice(PLACES)}"


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    """A tar of the given files, in order; a name may come twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
