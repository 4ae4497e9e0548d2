"""`INDEX/lists/`, while an index is built: trained lists, and the lists that blocks of rows go to.

Whoever comes upon them goes on with them: a run that was killed, and the parts of one, each of which finds the lists of
its share of the blocks (`cocu index build --part`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from curation.index.inverted_lists import blocks, build, fill, is_listed, nearest_lists, trained, untrained, write
from curation.runs.parquet_parts import reading
from curation.runs.part import RunPart
from curation.runs.run_folder import RunFolder
from files.atomic import atomic
from files.npy import load_npy
from files.remote_folders import bring, remove
from files.saying import say

NAMES = ("images", "captions")


def build_by_lists(folder: RunFolder, name: str, vectors: np.ndarray, factory: str) -> None:
    """Write the FAISS index of this name, with what is there of its lists."""
    path = folder.path / f"{name}.faiss"
    if not train_lists(folder, name, vectors, factory):
        build(path, vectors, factory)
        return
    index = _trained(folder, name)
    find_lists(folder, name, index, vectors)
    fill(index, vectors, [load_npy(file, "r") for file in _files(folder, name, vectors)])
    write(index, path)


def train_lists(folder: RunFolder, name: str, vectors: np.ndarray, factory: str) -> bool:
    """Train the lists of an index of this factory, unless they are there; whether it is one that has such."""
    there = folder.records.get(f"@{name} lists", {}).get("factory") == factory and _file(folder, name).exists()
    if there or not is_listed(untrained(factory, vectors.shape[1])):
        return there
    folder.undo(f"@{name} lists")
    for file in folder.path.glob(f"lists/{name}-*.npy"):  # of others
        remove(file)
    write(trained(vectors, factory), _file(folder, name))
    folder.commit(f"@{name} lists", {"factory": factory})
    return True


def find_lists(
    folder: RunFolder, name: str, index: Any, vectors: np.ndarray, part: RunPart | None = None
) -> tuple[int, int]:
    """Find the lists that are not there yet, of a part's share of the blocks or of all; how many blocks those are, and
    how many are missing still."""
    files = _files(folder, name, vectors)
    bring(folder.path / "lists")
    mine = range(part.number - 1, len(files), part.count) if part else range(len(files))
    parts = blocks(len(vectors))
    for number in mine:
        if not _is_whole(files[number], parts[number], index.nlist):
            with atomic(files[number]) as temporary, temporary.open("wb") as file:
                np.save(file, nearest_lists(index, vectors, parts[number]))
    return len(mine), sum(not file.exists() for file in files)


def find_lists_of_part(folder: RunFolder, part: RunPart) -> None:
    """The share of a part, of all indexes, where `--part train` has trained lists; else nothing."""
    for name in NAMES:
        if folder.done(f"@{name} lists"):
            with reading(folder.path / "rows"):
                vectors = load_npy(folder.path / "rows" / f"{'image' if name == 'images' else 'text'}_vectors.npy", "r")
            index = _trained(folder, name)
            mine, missing = find_lists(folder, name, index, vectors, part)
            left = f"{missing:,} are missing still" if missing else "none is missing"
            say(f"{folder.path}: part {part.name} has the lists of its {mine:,} blocks of {name}; {left}")


def forget_lists(folder: RunFolder) -> None:
    """Of other rows, or of indexes that are written."""
    for name in NAMES:
        folder.undo(f"@{name} lists")
    remove(folder.path / "lists", ignore_errors=True)


def _file(folder: RunFolder, name: str) -> Path:
    return folder.path / "lists" / f"{name}.faiss"


def _trained(folder: RunFolder, name: str) -> Any:
    import faiss

    with reading(_file(folder, name)):
        return faiss.read_index(str(_file(folder, name)))


def _files(folder: RunFolder, name: str, vectors: np.ndarray) -> Sequence[Path]:
    return [folder.path / "lists" / f"{name}-{number:06d}.npy" for number in range(len(blocks(len(vectors))))]


def _is_whole(file: Path, block: slice, lists: int) -> bool:
    try:
        found = load_npy(file, "r")
    except (OSError, ValueError):
        return False
    right = (found.dtype, found.shape) == (np.int32, (block.stop - block.start,))
    return bool(right and found.min() >= 0 and found.max() < lists)
