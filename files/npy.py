"""Arrays in NumPy's own files, read with one kind of error for all that a damaged header can do."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, Literal

import numpy as np

APART = 4096  # rows read at a time, for 256 MB of pages at most


def load_npy(path: Path, mmap_mode: Literal["r"] | None = None) -> Any:
    """The array of a .npy file; objects are refused. mmap_mode: as of `numpy.load`.

    Raises OSError where it cannot be read, ValueError where it is damaged.
    """
    try:
        loaded = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (OSError, ValueError):
        raise
    except Exception as error:  # the header is Python's text, and its reader's kinds of errors are many
        raise ValueError(f"its header cannot be read ({' '.join(str(error).split())})") from error
    if not isinstance(loaded, np.ndarray):  # a zip by its first bytes
        raise ValueError("is no single array")
    return loaded


def wide_rows(array: np.ndarray, which: slice | np.ndarray) -> np.ndarray:
    """Rows of an array as float32 of their own; where it is mapped, their pages are given back.

    which: a slice, or rows int64 of any shape, of which so many are read at a time: around each that lies apart the
    system maps 64 kB.
    """
    if isinstance(which, slice):
        found = np.array(array[which], np.float32, order="C")
        let_go(array)
        return found
    flat = which.ravel()
    found = np.empty((len(flat), *array.shape[1:]), np.float32)
    for start in range(0, len(flat), APART):
        found[start : start + APART] = array[flat[start : start + APART]]
        let_go(array)
    return found.reshape(*which.shape, *array.shape[1:])


def let_go(array: np.ndarray) -> None:
    """Give back the pages of a mapped array, all of it, that were read; of any other array nothing.

    They stay in the system's cache while it has room, but count no longer as this process's memory.
    """
    mapped = getattr(array, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)
