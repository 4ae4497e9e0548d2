"""Arrays of NumPy's in their files: found by kind and width, mapped where that goes, and nothing run or overrun."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from files.errors import CocuError, MisuseError
from files.vector_files import VectorFile

VECTORS = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float16)


def found(path: Path, kind: str = "img", dim: int = 5) -> VectorFile:
    one = VectorFile.found(path, kind, dim)
    assert one is not None
    return one


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("form", ["npy", "npz", "packed"])
def test_every_form_gives_the_same_numbers(tmp_path: Path, dtype: str, order: Any, form: str) -> None:
    vectors, path = np.array(VECTORS, dtype, order=order), tmp_path / f"a.{form[:3].replace('pac', 'npz')}"
    others = {"b32_txt": vectors + 1, "l14_img": np.zeros((7, 9), dtype), "dedup": np.zeros(3)}
    if form == "npy":
        np.save(path, vectors)
    else:
        (np.savez if form == "npz" else np.savez_compressed)(path, b32_img=vectors, **others)
    one = found(path)
    assert (one.rows, one.dim) == (7, 5)
    read = one.read()
    np.testing.assert_array_equal(read, vectors)
    assert isinstance(read, np.memmap) == (form != "packed")
    if form != "npy":
        np.testing.assert_array_equal(found(path, "txt").read(), vectors + 1)
        assert found(path, dim=9).member == "l14_img.npy"


def test_no_file_and_no_such_array_are_no_vectors(tmp_path: Path) -> None:
    assert VectorFile.found(None, "txt", 5) is None
    np.savez(tmp_path / "a.npz", b32_img=VECTORS)
    assert VectorFile.found(tmp_path / "a.npz", "txt", 5) is None


def test_other_widths_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VECTORS)
    with pytest.raises(MisuseError, match=r"a\.npy: holds no vectors of 8 dimensions, which the model has \(5\)"):
        VectorFile.found(tmp_path / "a.npy", "img", 8)
    np.savez(tmp_path / "a.npz", x_img=VECTORS, y_img=VECTORS)
    with pytest.raises(MisuseError, match=r"more than one array of 5 dimensions.*\(x_img 5, y_img 5\)"):
        VectorFile.found(tmp_path / "a.npz", "img", 5)


def written(array: np.ndarray, **options: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **options)
    return out.getvalue()


HEADER = written(VECTORS)[:128]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read as vectors"),
        (b"no array at all", "cannot be read as vectors"),
        (written(np.array([{}, []], object)), "Python's objects, which are not unpickled"),
        (written(np.zeros(4)), "not rows of vectors"),
        (written(np.zeros((2, 5), int)), "is of int64, not of float16"),
        (written(np.zeros((2, 5), [("a", "f4")])), "not of float16"),
        (HEADER.replace(b"(7, 5)", b"(-7,5"), "cannot be read as vectors"),
        (HEADER.replace(b"'shape'", b"'shade'"), "cannot be read as vectors"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65_535, "cannot be read as vectors"),
        (b"\x93NUMPY\x09\x00" + HEADER[8:], "is of version"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_vectors_is_told_with_its_file(tmp_path: Path, content: bytes, reason: str, packed: bool) -> None:
    path = tmp_path / ("hostile.npz" if packed else "hostile.npy")
    if packed:
        with zipfile.ZipFile(path, "w") as out:
            out.writestr("b32_img.npy", content)
    else:
        path.write_bytes(content)
    with pytest.raises(CocuError, match=rf"hostile\.np[yz]: .*{reason}"):
        VectorFile.found(path, "img", 5)


def test_files_that_end_too_early(tmp_path: Path) -> None:
    whole = written(VECTORS)
    (tmp_path / "a.npy").write_bytes(whole[:-1])
    np.savez_compressed(tmp_path / "b.npz", b_img=np.random.default_rng(0).random((7, 5)))
    with zipfile.ZipFile(tmp_path / "c.npz", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("c_img.npy", whole[:-1])
    for name in ("a.npy", "c.npz"):
        with pytest.raises(CocuError, match=rf"{name}: cannot be read"):
            found(tmp_path / name).read()
    data = (tmp_path / "b.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(CocuError, match=r"b\.npz: cannot be read as vectors"):
        found(tmp_path / "b.npz")


def test_no_more_is_unpacked_than_the_vectors_take(tmp_path: Path) -> None:
    """Behind the numbers 200 MB of zeros follow; and an array that says that it is of 40 GB is not begun."""
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as out, out.open("b_img.npy", "w") as member:
        member.write(written(VECTORS))
        for _ in range(200):
            member.write(bytes(1 << 20))
    tracemalloc.start()
    np.testing.assert_array_equal(found(tmp_path / "bomb.npz").read(), VECTORS)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()
    with zipfile.ZipFile(tmp_path / "large.npz", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("b_img.npy", HEADER.replace(b"(7, 5), }   ", b"(4000000000, 5), }")[:118] + b" " * 9 + b"\n")
    with pytest.raises(CocuError, match=r"b_img\.npy is packed and of 40,000,000,000 bytes"):
        found(tmp_path / "large.npz").read()
