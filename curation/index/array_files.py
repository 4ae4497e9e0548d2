"""`.npy` files written block by block, so that no array has to fit in memory."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from files.atomic import atomic


class ArrayWriter:
    """Writes an array of rows of one shape. A context manager; the file appears when the block ends well.

    Written through a plain file and not a memory map: on a full disk a map kills the process without a word.
    """

    def __init__(self, path: Path, dtype: type[np.generic], row_shape: tuple[int, ...] = ()) -> None:
        self.path, self.dtype, self.row_shape = path, np.dtype(dtype), row_shape
        self.rows = 0
        self._stack = ExitStack()

    def __enter__(self) -> ArrayWriter:
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic(self.path))
            self._file: BinaryIO = stack.enter_context(temporary.open("wb"))
            self._header()
            self._start = self._file.tell()
            self._stack = stack.pop_all()
        return self

    def write(self, rows: np.ndarray) -> None:
        """Append rows [N, *row_shape]. Raises OSError where there is no room."""
        rows = np.ascontiguousarray(rows, self.dtype)
        assert rows.shape[1:] == self.row_shape, f"{self.path}: rows of {rows.shape[1:]}, not {self.row_shape}"
        self._file.write(rows.tobytes())
        self.rows += len(rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._file.seek(0)
            self._header()
            # numpy leaves room in a header for the count of rows to grow.
            assert self._file.tell() == self._start, f"{self.path}: the header has grown"

    def _header(self) -> None:
        described = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.rows, *self.row_shape),
        }
        np.lib.format.write_array_header_1_0(self._file, described)
