"""Vectors in NumPy's files, .npy or an array of a .npz: mapped where they lie plainly on the disk, never unpickled."""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from files.errors import CocuError, MisuseError, one_line

# An array that is packed is unpacked into memory, as long as it is no larger.
MOST_UNPACKED = 2 << 30
_LOCAL_HEADER = 30


@dataclass(frozen=True)
class VectorFile:
    """An array of float16, float32 or float64 [rows, dim] in a file.

    member: its name in a .npz. offset: where its numbers begin; None where they are packed.
    """

    path: Path
    member: str
    rows: int
    dim: int
    dtype: np.dtype[Any]
    columns_first: bool
    offset: int | None

    @classmethod
    def found(cls, path: Path | None, kind: str, dim: int) -> VectorFile | None:
        """The vectors of a file; None for no file, or a .npz with none of this kind ("img": NAME_img).

        Of several in a .npz the one of this dimension. Raises MisuseError where they are of others, CocuError where the
        file is damaged or holds something else.
        """
        if path is None:
            return None
        held = cls._headers(path, kind)
        for one in held:
            if one.dtype.kind != "f" or one.dtype.itemsize not in (2, 4, 8):
                raise CocuError(f"{path}: {one.member or 'its array'} is of {one.dtype}, not of float16 or float32")
        fitting = [one for one in held if one.dim == dim]
        if held and len(fitting) != 1:
            has = ", ".join(f"{one.member.removesuffix('.npy')} {one.dim}".lstrip() for one in held)
            what = "more than one array" if fitting else "no vectors"
            raise MisuseError(
                f"{path}: holds {what} of {dim} dimensions, which the model has ({has}); "
                "name the model that made them with --model and --pretrained"
            )
        return fitting[0] if fitting else None

    def read(self) -> np.ndarray:
        """[rows, dim], mapped if it lies plainly in the file. Raises CocuError where the file ends too early."""
        order: Any = "F" if self.columns_first else "C"
        shape = (self.rows, self.dim)
        try:
            if self.offset is not None:
                if not self.rows:
                    return np.zeros(shape, self.dtype)
                return np.memmap(self.path, self.dtype, "r", self.offset, shape, order)
            size = self.rows * self.dim * self.dtype.itemsize
            if size > MOST_UNPACKED:
                raise ValueError(f"{self.member} is packed and of {size:,} bytes; numpy.savez writes it unpacked")
            with zipfile.ZipFile(self.path) as packed, packed.open(self.member) as stream:
                _header(stream)
                return np.frombuffer(stream.read(size), self.dtype).reshape(shape, order=order)
        except Exception as error:  # of zipfile, zlib and numpy, each with kinds of its own
            raise CocuError(f"{self.path}: cannot be read ({one_line(error)})") from error

    @classmethod
    def _headers(cls, path: Path, kind: str) -> list[VectorFile]:
        try:
            with path.open("rb") as file:
                if path.suffix != ".npz":
                    return [cls(path, "", *_header(file), file.tell())]
                found = []
                with zipfile.ZipFile(file) as packed:
                    for info in packed.infolist():
                        if info.filename.endswith(f"_{kind}.npy"):
                            with packed.open(info) as stream:
                                header = _header(stream)
                                plain = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
                                offset = _start(file, info) + stream.tell() if plain else None
                            found.append(cls(path, info.filename, *header, offset))
                return found
        except Exception as error:  # of zipfile, zlib and numpy, each with kinds of its own
            raise CocuError(f"{path}: cannot be read as vectors ({one_line(error)})") from error


def _header(stream: IO[bytes]) -> tuple[int, int, np.dtype[Any], bool]:
    """(rows, dim, kind, by columns) of an array of NumPy's, read up to its numbers. Raises ValueError for another."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"is of version {version}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, columns_first, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("holds Python's objects, which are not unpickled")
    if len(shape) != 2 or min(shape) < 0:
        raise ValueError(f"is {list(shape)}, not rows of vectors")
    return shape[0], shape[1], dtype, columns_first


def _start(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin."""
    before = file.tell()
    file.seek(info.header_offset)
    name, extra = struct.unpack("<HH", file.read(_LOCAL_HEADER)[-4:])
    file.seek(before)
    return info.header_offset + _LOCAL_HEADER + int(name) + int(extra)
