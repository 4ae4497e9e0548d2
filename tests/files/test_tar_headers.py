"""Quick tar headers against Python's tarfile."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.tar import Fault, find_files
from files.tar_headers import BrokenTar, read_any, read_plain, write_header
from tests.examples import examples

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=160).filter(lambda n: n.strip("/"))


def by_tarfile(name: str, size: int, form: int = tarfile.PAX_FORMAT) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(form, "utf-8", "surrogateescape")


@examples(300)
@given(NAMES, st.one_of(st.integers(0, 10**6), st.integers(8**11 - 2, 8**11 + 2)))
def test_a_written_header_is_tarfiles(name, size):
    assert write_header(name, size) == by_tarfile(name, size)


@examples(300)
@given(
    NAMES, st.integers(0, 8**11 + 2), st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
)
def test_a_plain_header_is_read_as_tarfile_reads_it(name, size, form):
    try:
        header = by_tarfile(name, size, form)
    except ValueError:  # too long for the form
        return
    found = read_plain(header[:512], 1024)
    parsed = tarfile.TarInfo.frombuf(header[:512], "utf-8", "surrogateescape")
    if found is None:
        assert len(header) > 512 or name.endswith("/") or size >= 8**11
    else:
        following = 1536 + -(-size // 512) * 512
        assert found == (parsed.name.encode(), 1536, parsed.size, following, False)
        assert parsed.isreg()


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_other_kinds_are_left_to_tarfile(kind):
    info = tarfile.TarInfo("a.txt")
    info.type = kind
    assert read_plain(info.tobuf()[:512], 0) is None


@examples(200)
@given(st.integers(0, 511), st.integers(1, 255))
def test_a_damaged_header_is_not_plain(position, change):
    header = bytearray(by_tarfile("000000001.jpg", 20_000))
    header[position] ^= change
    found = read_plain(bytes(header), 0)
    assert found is None or found[:3] == (b"000000001.jpg", 512, 20_000)  # the padding of a number may change


def test_blocks_that_are_no_headers_are_not_plain():
    for block in (b"", bytes(512), b"x" * 512, bytes(511)):
        assert read_plain(block, 0) is None


@pytest.mark.parametrize("size", [b"00000000002\0", b"\x80" + bytes(10) + b"\x02"])  # plain, and in base 256
@pytest.mark.parametrize(
    ("magic", "name"), [(b"ustar  \0", b"d/a.jpg"), (b"ustar\x0000", b"15301630546/d/a.jpg"), (bytes(8), b"d/a.jpg")]
)
def test_only_posix_has_a_folder_where_gnu_has_times(size: bytes, magic: bytes, name: bytes) -> None:
    header = bytearray(by_tarfile("d/a.jpg", 2))
    header[124:136], header[257:265], header[345:357] = size, magic, b"15301630546\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    found = (name, 512, 2, 1024, False)
    assert read_any(io.BytesIO(bytes(header) + b"hi"), 0) == found
    assert read_plain(bytes(header), 0) == (found if size.startswith(b"0") and magic[0] else None)


def test_what_goes_for_all_files_is_passed_over() -> None:
    header = tarfile.TarInfo.create_pax_global_header({"comment": "0123", "path": "elsewhere.jpg"})
    assert read_any(io.BytesIO(header + by_tarfile("a.jpg", 0)), 0) == (b"", 512, 0, len(header), False)


def test_what_tarfile_cannot_read_is_broken() -> None:
    for block in (b"", bytes(512), b"x" * 512, bytes(511)):
        with pytest.raises(BrokenTar, match=r"\w"):
            read_any(io.BytesIO(block), 0)


def extended(kind: bytes, body: bytes) -> bytes:
    info = tarfile.TarInfo("before")
    info.type, info.size = kind, len(body)
    return info.tobuf(tarfile.GNU_FORMAT) + body + bytes(-len(body) % 512)


LONG = b"n" * 120 + b".jpg"


@pytest.mark.parametrize(
    ("before", "found"),
    [
        (extended(b"L", LONG + b"\0"), (LONG, 3)),
        (extended(b"x", b"134 path=" + LONG + b"\n"), (LONG, 3)),
        (extended(b"x", "15 path=é.jpg\n".encode()), ("é.jpg".encode(), 3)),
        (extended(b"x", b"14 path=a.jpg\n"), (b"a.jpg", 3)),
        (extended(b"x", b"11 size=12\n"), (b"a.jpg", 12)),
        (extended(b"x", b"8 path=\n"), (b"a.jpg", 3)),
        (extended(b"K", LONG) + extended(b"L", LONG), (LONG, 3)),
    ],
)
def test_what_stands_before_a_header_belongs_to_its_file(before: bytes, found: tuple[bytes, int]) -> None:
    name, data, size, following, sparse = read_any(io.BytesIO(before + by_tarfile("a.jpg", 3)), 0)
    assert (name, size) == found
    assert (data, following, sparse) == (len(before) + 512, len(before) + 1024, False)


@pytest.mark.parametrize(
    ("before", "own"),
    [
        (extended(b"L", b"b.jpg\0"), b""),  # the name of a file that is gone: it would stand in its own header
        (extended(b"x", b"14 path=b.jpg\n"), b""),
        (extended(b"L", LONG), extended(b"L", LONG)),  # the first was of a file that is gone
        (extended(b"x", b"11 size=12\n"), extended(b"L", LONG) + extended(b"x", b"11 size=13\n")),
        (extended(b"x", b"14 path=b.jpg\n"), extended(b"L", LONG)),
        (extended(b"x", b"hello"), b""),
        (extended(b"x", b"1" * 400 + b" path=x\n"), b""),
        (extended(b"x", b"13 size=-512\n"), b""),
        (extended(b"x", b"0 path=x\n"), b""),
        (extended(b"x", b"6 a=b\n" * 1001), b""),
    ],
)
def test_what_belongs_to_no_file_is_broken_and_costs_no_file(before: bytes, own: bytes) -> None:
    file = io.BytesIO(before + own + by_tarfile("a.jpg", 3) + b"abc" + bytes(1533))
    with pytest.raises(BrokenTar):
        read_any(file, 0)
    fault, found = find_files(file)
    assert isinstance(fault, Fault)
    assert fault.lost == len(before)
    assert found[:3] == (len(before), LONG[:120] if own else b"a", b"jpg")


@pytest.mark.parametrize("maps", [0, 2])
def test_a_sparse_file_ends_where_what_is_stored_of_it_ends(maps: int) -> None:
    block = bytearray(by_tarfile("a.jpg", 700, tarfile.GNU_FORMAT))
    block[156:157], block[482], block[483:495] = b"S", maps > 0, b"77777777777\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    more = [bytes(504) + bytes((i + 1 < maps,)) + bytes(7) for i in range(maps)]
    data = 512 * (1 + maps)
    assert read_any(io.BytesIO(b"".join([bytes(block), *more])), 0) == (b"a.jpg", data, 0, data + 1024, True)
    if maps:
        good = by_tarfile("b.jpg", 3)
        with pytest.raises(BrokenTar, match="a header in the map"):
            read_any(io.BytesIO(bytes(block) + good), 0)
    records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    found = read_any(io.BytesIO(extended(b"x", records) + by_tarfile("a.jpg", 700)), 0)
    assert found == (b"a.jpg", 1536, 0, 2560, True)
