"""Arrays in NumPy's own files, read with one kind of error for all that a damaged header can do."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, Literal

import numpy as np

APART = 128  # rows read at a time: around each that lies apart the system maps up to 2 MB


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

    which: a slice, or rows int64 of any shape, which are read in their order in the array, a few at a time.
    """
    if isinstance(which, slice):
        found = np.array(array[which], np.float32, order="C")
        let_go(array)
        return found
    flat = which.ravel()
    found = np.empty((len(flat), *array.shape[1:]), np.float32)
    order = np.argsort(flat, kind="stable")
    for start in range(0, len(flat), APART):
        some = order[start : start + APART]
        found[some] = array[flat[some]]
        let_go(array)
    return found.reshape(*which.shape, *array.shape[1:])


def let_go(array: np.ndarray) -> None:
    """Give back the pages of a mapped array, all of it, that were read; of any other array nothing.

    They stay in the system's cache while it has room, but count no longer as this process's memory.
    """
    mapped = getattr(array, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)
