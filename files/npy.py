"""Arrays in NumPy's own files, read with one kind of error for all that a damaged header can do."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, Literal

import numpy as np


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


def let_go(array: np.ndarray) -> None:
    """Give back the pages of a mapped array, all of it, that were read; of any other array nothing.

    They stay in the system's cache while it has room, but count no longer as this process's memory.
    """
    mapped = getattr(array, "_mmap", None)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)
