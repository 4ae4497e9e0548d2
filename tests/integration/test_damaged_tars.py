"""Damaged and hostile tars: every pair whose bytes are untouched is delivered by curation and by training alike."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.integration.tar_reader import Read, Samples, read_in, tar_reader

BLOCK = 512
FORMATS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


@pytest.fixture(scope="module")
def reader() -> Iterator[Connection]:
    with tar_reader() as pipe:
        yield pipe


@dataclass(frozen=True)
class Tar:
    """A sound tar, and of each pair the picture, the caption, and the bytes [start, end) with its headers."""

    data: bytes
    pairs: dict[str, tuple[bytes, str, int, int]]

    def untouched(self, damages: list[tuple[int, int, bytes]]) -> Samples:
        """The pairs that no damage (offset, bytes lost, bytes put there) touches."""
        return {
            key: (image, caption)
            for key, (image, caption, start, end) in self.pairs.items()
            if all(at + lost <= start or at >= end for at, lost, _ in damages)
        }

    def damaged(self, damages: list[tuple[int, int, bytes]]) -> bytes:
        parts, position = [], 0
        for at, lost, put in sorted(damages):
            parts += [self.data[position:at], put]
            position = max(position, at + lost)
        return b"".join([*parts, self.data[position:]])


def sound_tar(count: int, form: int, seed: int) -> Tar:
    """Pairs of some kilobytes; their names need headers of their own in GNU's format; times need them in POSIX's."""
    random, out, pairs = Random(seed), io.BytesIO(), {}
    stem = "{:03d}" if form == tarfile.USTAR_FORMAT or seed % 2 else "{:03d}" + "-long" * 25
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for i in range(count):
            key, image, start = stem.format(i), random.randbytes(random.randrange(1, 4000)), out.tell()
            caption = f"picture {random.random()}"
            for field, data in (("jpg", image), ("txt", caption.encode()), ("json", b"{}" * random.randrange(400))):
                info = tarfile.TarInfo(f"{key}.{field}")
                info.size, info.mtime = len(data), random.choice([0, 1.5])
                tar.addfile(info, io.BytesIO(data))
            pairs[key] = image, caption, start, out.tell()
    return Tar(out.getvalue(), pairs)


def header(kind: bytes, size: bytes, name: bytes = b"zz.jpg", beyond: dict[int, bytes] | None = None) -> bytes:
    """A header with a right sum, whatever it says; beyond: bytes at other offsets."""
    block = bytearray(tarfile.TarInfo(name.decode()).tobuf(tarfile.GNU_FORMAT))
    block[124:136], block[156:157] = size.ljust(12, b"\0")[:12], kind
    for at, data in (beyond or {}).items():
        block[at : at + len(data)] = data
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


HOSTILE = {
    "negative": header(b"0", b"-0000001000"),
    "negative, base 256": header(b"0", b"\xff" * 12),
    "beyond the end": header(b"0", b"77777777777"),
    "sparse, 8 GB of nothing": header(b"S", b"0", beyond={483: b"77777777777"}),
    "sparse, 8 EB of nothing": header(b"S", b"0", beyond={483: b"\x80\0\0\0\x7f" + b"\xff" * 7}),
    "sparse, with a map that is not there": header(b"S", b"0", beyond={482: b"\1"}),
    "folder beyond the end": header(b"V", b"77777777777"),
    "records of 8 GB": header(b"x", b"77777777777"),
    "empty long name": header(b"L", b"0"),
    "name of another": header(b"L", b"5") + b"hello".ljust(BLOCK, b"\0"),
    "3,000 long names": (header(b"L", b"12") + b"x.jpg".ljust(BLOCK, b"\0")) * 3000,
    "3,000 records": (header(b"x", b"14") + b"12 path=abc\n".ljust(BLOCK, b"\0")) * 3000,
    "long digits": header(b"x", b"1000") + (b"1" * 400 + b" path=x\n").ljust(BLOCK, b"\0"),
    "size that is no number": header(b"x", b"13") + b"11 size=abc\n".ljust(BLOCK, b"\0"),
    "3,000 negative ones": header(b"0", b"-0000001000") * 3000,
    "3,000 early ends": (bytes(BLOCK) + header(b"0", b"0", b"x")) * 3000,
    "magic without end": b"ustar" * (BLOCK * 200),
    "noise": Random(0).randbytes(BLOCK),
    "zeros": bytes(3 * BLOCK),
}


@st.composite
def damages(draw: st.DrawFn, tar: Tar) -> list[tuple[int, int, bytes]]:
    """One to three damages that do not overlap: of bits, bytes, blocks, headers; by loss, noise, and hostile headers.

    Not lost are several whole blocks: where another header then stands at the very place of the one that is missed,
    nothing shows it.
    """
    found: list[tuple[int, int, bytes]] = []
    end = len(tar.data)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.sampled_from([start for _, _, start, _ in tar.pairs.values()]))
        at = draw(st.one_of(st.integers(0, end - 1), st.integers(0, 700).map(lambda more, start=start: start + more)))
        kind = draw(st.sampled_from(["bit", "noise", "zeros", "lost", "lost block", "added", "hostile", "cut"]))
        length = min(draw(st.integers(1, 3000)), end - at)
        if kind == "bit":
            found.append((at, 1, bytes([tar.data[at] ^ 1 << draw(st.integers(0, 7))])))
        elif kind in ("noise", "zeros"):
            found.append((at, length, Random(at).randbytes(length) if kind == "noise" else bytes(length)))
        elif kind == "lost":
            found.append((at, length - (length % BLOCK == 0), b""))
        elif kind == "lost block":
            found.append((at // BLOCK * BLOCK, BLOCK, b""))
        elif kind == "added":
            found.append((at, 0, Random(at).randbytes(length)))
        elif kind == "hostile":
            found.append((start, 0, HOSTILE[draw(st.sampled_from(sorted(HOSTILE)))]))
        else:
            found.append((at, end - at, b""))
    apart: list[tuple[int, int, bytes]] = []
    for one in sorted(found):
        if not apart or one[0] >= apart[-1][0] + max(apart[-1][1], 1):
            apart.append(one)
    return apart


def told(found: Read, tar: Tar) -> None:
    """Both readers deliver the same, and where a pair is missing, each says that something is."""
    assert found.curated == found.trained
    if not tar.pairs.keys() <= found.curated.keys():
        assert found.rejects
        assert found.fault or found.bad


@examples(30)
@given(st.data(), FORMATS, st.integers(0, 10**6))
def test_untouched_pairs_survive(
    tmp_path_factory: pytest.TempPathFactory, reader: Connection, data: st.DataObject, form: int, seed: int
) -> None:
    tar = sound_tar(6, form, seed)
    harm = data.draw(damages(tar))
    path = tmp_path_factory.mktemp("tars") / "0.tar"
    path.write_bytes(tar.damaged(harm))
    found = read_in(reader, path)
    untouched = tar.untouched(harm)
    for delivered in (found.curated, found.trained):
        assert {key: delivered.get(key) for key in untouched} == untouched
    told(found, tar)


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_costs_no_pair_and_is_told_once(tmp_path: Path, reader: Connection, name: str) -> None:
    tar = sound_tar(6, tarfile.USTAR_FORMAT, 1)
    for place in (0, 3):
        start = [*tar.pairs.values()][place][2]
        path = tmp_path / "0.tar"
        path.write_bytes(tar.damaged([(start, 0, HOSTILE[name])]))
        found = read_in(reader, path)
        assert found.curated == found.trained == tar.untouched([])
        assert len(found.rejects) == 1
        assert found.fault == found.rejects[0]


def test_a_key_of_30_000_fields_is_refused_at_once(tmp_path: Path, reader: Connection) -> None:
    tar = sound_tar(4, tarfile.USTAR_FORMAT, 1)
    start = [*tar.pairs.values()][2][2]
    many = b"".join(header(b"0", b"0", f"many.f{i}".encode()) for i in range(30_000))
    path = tmp_path / "0.tar"
    path.write_bytes(tar.damaged([(start, 0, many)]))
    found = read_in(reader, path)
    assert found.curated == found.trained == tar.untouched([])
    assert found.rejects == ["many: too many members: more than 1,000 have its key"]
    assert found.bad == ["too many members: more than 1,000 have its key"]
